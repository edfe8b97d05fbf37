"""The monitors that are compared: how each is started, told what to do and asked how it went."""

import shutil
import subprocess

from harness import WITNESS
from harness.machine import Machine

DOWNTIME_LIMIT_MS = 100
UNLIMITED = 100 << 30  # bytes a second: more than any link here


class Godwit:
    """godwit-vmm as a user gets it: its own number of lanes, no limit on bandwidth."""

    name = "godwit"

    def source(self, folder, guest):
        return Machine(folder, "source", append=guest.line(), memory=guest.memory,
                       vcpus=guest.vcpus)

    def destination(self, folder, _guest, transport):
        """A machine that waits for the guest, and the address it waits at."""
        uri = "tcp:127.0.0.1:0" if transport == "tcp" else f"unix:{folder}/migration"
        machine = Machine(folder, "destination", incoming=uri)
        return machine, machine.listening_uri()

    def prepare(self, source):
        source.set(downtime_limit=DOWNTIME_LIMIT_MS)

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

    def enable(self, capability):
        self.qmp.command("migrate-set-capabilities",
                         {"capabilities": [{"capability": capability, "state": True}]})


class Qemu:
    """QEMU, told to use what the link gives."""

    def __init__(self, channels=0):
        self.channels = channels
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
        machine.enable("events")
        if self.channels:
            machine.enable("multifd")
            machine.set(multifd_channels=self.channels)

    def downtime_ms(self, answer):
        return answer["downtime"]

    def version(self):
        text = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True,
                              check=True).stdout
        return text.splitlines()[0]


def qemu_missing():
    """Why QEMU cannot be measured here, or None."""
    return None if shutil.which("qemu-system-x86_64") else "no qemu-system-x86_64"
