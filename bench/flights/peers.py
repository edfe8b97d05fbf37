"""What is compared: how each monitor is started, told what to do and asked how it went."""

import shutil
import subprocess

from harness import WITNESS
from harness.machine import Machine

DOWNTIME_LIMIT_MS = 100
UNLIMITED = 100 << 30  # bytes a second: more than any link here


class Godwit:
    """godwit-vmm as a user gets it: its own choices, no limit on bandwidth.

    parameters: others than the defaults; capabilities: switched on; link: a network.Link to cross."""

    plain = False

    def __init__(self, name="godwit", parameters=None, capabilities=(), link=None):
        self.name = name
        self.parameters = parameters or {}
        self.capabilities = capabilities
        self.link = link

    def _wrap(self, side):
        return self.link.enter(side) if self.link else ()

    def source(self, folder, guest):
        return Machine(folder, "source", append=guest.line(), memory=guest.memory,
                       vcpus=guest.vcpus, wrap=self._wrap(0))

    def destination(self, folder, _guest, transport):
        """A machine that waits for the guest, and the address it waits at."""
        host = self.link.address if self.link else "127.0.0.1"
        uri = f"tcp:{host}:0" if transport == "tcp" else f"unix:{folder}/migration"
        machine = Machine(folder, "destination", incoming=uri, wrap=self._wrap(1))
        return machine, machine.listening_uri()

    def prepare(self, source):
        for name in self.capabilities:
            source.enable(name)
        source.set(downtime_limit=DOWNTIME_LIMIT_MS, **self.parameters)

    def downtime_ms(self, answer):
        return answer["downtime-us"] / 1000

    def version(self):
        return "the build under test"


class QemuMachine(Machine):
    """A QEMU with the surface of the harness's Machine."""

    BASE = ["qemu-system-x86_64", "-accel", "kvm", "-machine", "q35", "-cpu", "qemu64",
            "-no-user-config", "-nodefaults", "-display", "none"]

    def __init__(self, folder, name, guest, incoming):
        super().__init__(folder, name, start=False)
        self.argv = self.BASE + [
            "-name", f"{name},debug-threads=on", "-m", guest.memory, "-smp", str(guest.vcpus),
            "-kernel", str(WITNESS), "-append", guest.line(), "-serial", f"file:{self.serial}",
            "-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        if incoming:
            self.argv += ["-incoming", "defer"]
        self.start()


class Qemu:
    """QEMU, told to use what the link gives."""

    plain = False

    def __init__(self, channels=0, capabilities=()):
        self.channels = channels
        self.capabilities = capabilities
        self.name = f"QEMU multifd x{channels}" if channels else "QEMU"

    def source(self, folder, guest):
        return QemuMachine(folder, "source", guest, incoming=False)

    def destination(self, folder, guest, transport):
        machine = QemuMachine(folder, "destination", guest, incoming=True)
        self._configure(machine)
        if transport == "unix":
            uri = f"unix:{folder}/migration"
            machine.qmp.command("migrate-incoming", {"uri": uri})
            return machine, uri
        machine.qmp.command("migrate-incoming", {"uri": "tcp:127.0.0.1:0"})
        address = machine.migration()["socket-address"][0]
        return machine, f"tcp:127.0.0.1:{address['port']}"

    def prepare(self, source):
        self._configure(source)
        source.set(downtime_limit=DOWNTIME_LIMIT_MS, max_bandwidth=UNLIMITED)

    def _configure(self, machine):
        for name in ("events", *self.capabilities):
            machine.enable(name)
        if self.channels:
            machine.enable("multifd")
            machine.set(multifd_channels=self.channels)

    def downtime_ms(self, answer):
        return answer["downtime"]

    def version(self):
        text = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True,
                              check=True).stdout
        return text.splitlines()[0]


class Limit:
    """No monitor: plain sockets (limit.c), with as many bytes and lanes as godwit-vmm's last run."""

    name = "limit"
    plain = True
    transferred = 0
    lanes = 2

    def source(self, folder, guest):
        return Godwit().source(folder, guest)

    def learn(self, run):
        self.transferred = run["transferred"]
        self.lanes = run["answer"]["channels"]

    def prepare(self, source):
        pass


def qemu_missing():
    """Why QEMU cannot be measured here, or None."""
    return None if shutil.which("qemu-system-x86_64") else "no qemu-system-x86_64"
