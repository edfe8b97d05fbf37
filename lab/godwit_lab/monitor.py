"""The programs that can run the guest: godwit-vmm, and QEMU as the control that proves the lab."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from .host import Host, HostError
from .images import Programs

GUEST_MAC = "52:54:00:09:00:64"
GUEST_ADDRESS = "10.9.0.100"
MIGRATION_PORT = 4446

FIRMWARE = ("/usr/share/qemu/pvh.bin", "/usr/share/qemu/linuxboot_dma.bin",
            "/usr/share/qemu/kvmvapic.bin", "/usr/share/seabios/bios-256k.bin",
            "/usr/share/seabios/bios-microvm.bin")


@dataclass(frozen=True)
class Machine:
    """The machine that moves, in the words both monitors share."""

    board: str                   # q35 or microvm
    kernel: str
    append: str
    initrd: str = ""
    disk: str = ""               # as the hosts name it; none if empty
    network: bool = False        # a tap on the host's bridge
    memory: str = "256M"
    cpus: int = 1

    @classmethod
    def stock(cls, board: str, disk: str, cpus: int = 1) -> "Machine":
        """A stock Debian kernel with a disk and a network."""
        return cls(board, "/guest/vmlinuz", "console=ttyS0 panic=1 mitigations=off quiet "
                   f"lab.address={GUEST_ADDRESS}", "/guest/initrd", disk, network=True, cpus=cpus)

    @classmethod
    def witness(cls, memory: str, words: str) -> "Machine":
        """The self-proving guest."""
        return cls("q35", "/guest/witness.elf", words, memory=memory)

    def device(self, kind: str) -> str:
        """How a virtio device is called on this board."""
        return f"virtio-{kind}-{'pci' if self.board == 'q35' else 'device'}"

    def boot_options(self) -> list[str]:
        """Board, size and what to boot: the same for both monitors."""
        initrd = ["-initrd", self.initrd] if self.initrd else []
        return ["-machine", self.board, "-m", self.memory, "-smp", str(self.cpus),
                "-kernel", self.kernel, *initrd, "-append", self.append]


class Monitor:
    """How one program is installed, started and spoken to."""

    name = ""
    is_control = False           # its clock jumps are shown, not counted against it

    def __init__(self, extra: str = "") -> None:
        self.extra = shlex.split(extra)  # options given to every machine and destination

    def programs(self) -> Programs:
        raise NotImplementedError

    def machine_options(self, machine: Machine) -> list[str]:
        """The whole command line of a machine, without instance-specific parts."""
        raise NotImplementedError

    def incoming_options(self, machine: Machine) -> list[str]:
        """What a destination is given of it."""
        return self.machine_options(machine)


class Qemu(Monitor):
    """Debian's QEMU."""

    name = "qemu"
    is_control = True

    def programs(self) -> Programs:
        return Programs({"/usr/bin/monitor": Path("/usr/bin/qemu-system-x86_64")},
                        {path: Path(path) for path in FIRMWARE})

    def machine_options(self, machine: Machine) -> list[str]:
        options = ["-L", "/usr/share/qemu", "-L", "/usr/share/seabios", "-accel", "kvm",
                   "-cpu", "qemu64,-svm", "-nodefaults", "-display", "none", "-no-reboot",
                   *machine.boot_options()]
        if machine.disk:
            options += ["-drive", f"file={machine.disk},id=root,format=raw,if=none,cache=none",
                        "-device", f"{machine.device('blk')},drive=root,id=root0"]
        if machine.network:
            no_rom = ",romfile=" if machine.board == "q35" else ""
            options += ["-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no",
                        "-device", f"{machine.device('net')},netdev=n0,mac={GUEST_MAC}{no_rom}"]
        return options


class Godwit(Monitor):
    """godwit-vmm as meson built it."""

    name = "godwit"

    def __init__(self, program: Path, extra: str = "") -> None:
        super().__init__(extra)
        self.program = program

    def programs(self) -> Programs:
        return Programs({"/usr/bin/monitor": self.program})

    def machine_options(self, machine: Machine) -> list[str]:
        # Emulated AMD-V lets XSETBV through to the host unseen (QEMU's TCG does not intercept it),
        # so no guest on it can be given XSAVE; QEMU's qemu64 above has none either.
        options = ["-cpu", "host,-xsave", *machine.boot_options(),
                   *self.incoming_options(machine)]
        if machine.disk:
            options += ["-device", f"{machine.device('blk')},drive=root,id=root0"]
        if machine.network:
            options += ["-device", f"{machine.device('net')},netdev=n0,mac={GUEST_MAC}"]
        return options

    def incoming_options(self, machine: Machine) -> list[str]:
        # The machine itself comes with the stream; only the host's own paths are named.
        disk = ["-drive", f"file={machine.disk},id=root,format=raw"] if machine.disk else []
        return disk + (["-netdev", "tap,id=n0,ifname=tap0"] if machine.network else [])


class Instance:
    """One process of a monitor on a host."""

    def __init__(self, monitor: Monitor, machine: Machine, host: Host, name: str) -> None:
        self.monitor = monitor
        self.machine = machine
        self.host = host
        self.name = name
        self.serial = f"/tmp/{name}.serial"
        self.output = f"/tmp/{name}.output"
        self.socket = f"/tmp/{name}.qmp"
        self._pid = f"/tmp/{name}.pid"
        # A zombie still has an id, but no program.
        self._exists = f"[ -e /proc/$(cat {self._pid})/exe ]"

    def start(self, incoming: bool = False) -> None:
        """Starts it with a tap of its own on the host's bridge."""
        options = (self.monitor.incoming_options if incoming
                   else self.monitor.machine_options)(self.machine)
        options += [*self.monitor.extra, "-serial", f"file:{self.serial}", "-qmp", f"unix:{self.socket},server,nowait"]
        if incoming:
            options += ["-incoming", f"tcp:0.0.0.0:{MIGRATION_PORT}"]
        if self.machine.network:
            self.host.run(
                "[ -d /sys/class/net/tap0 ] || { tunctl -t tap0 && brctl addif br0 tap0 && "
                "ip link set tap0 up; }")
        self.host.run(f"rm -f {self.socket}; monitor {shlex.join(options)} "
                      f"> {self.output} 2>&1 < /dev/null & echo $! > {self._pid}")
        ready = f"[ -S {self.socket} ]"
        if incoming:
            ready += f" && grep -q ':{MIGRATION_PORT:04X} .* 0A ' /proc/net/tcp*"
        self.host.run(f"for i in $(seq 200); do {ready} && exit; {self._exists} || break; "
                      f"usleep 50000; done; cat {self.output}; exit 1")

    def alive(self) -> bool:
        """Whether the process still exists."""
        return self.host.try_run(self._exists)[0] == 0

    def said(self) -> str:
        """What it printed."""
        return self.host.run(f"cat {self.output}").strip()

    def qmp(self, command: str, **arguments: object) -> dict:
        """One QMP command: what it returned."""
        message = {"execute": command} | ({"arguments": arguments} if arguments else {})
        answer = self.host.run(f"labtool qmp {self.socket} {shlex.quote(json.dumps(message))}")
        decoded = json.loads(answer)
        if "error" in decoded:
            raise HostError(f"{self.name} refused {command}: {decoded['error']['desc']}")
        return decoded["return"]

    def wait_for_end(self, seconds: int) -> bool:
        """Waits for the process to end by itself."""
        status, _ = self.host.try_run(f"for i in $(seq {seconds * 10}); do {self._exists} || "
                                      "exit 0; usleep 100000; done; exit 1")
        return status == 0

    def quit(self) -> None:
        """Tells it to end and waits until it has."""
        self.host.try_run(f"labtool qmp {self.socket} '{{\"execute\":\"quit\"}}'")
        if not self.wait_for_end(5):
            self.kill()

    def kill(self) -> None:
        """Ends it, if it is still there."""
        self.host.try_run(f"{self._exists} && kill -9 $(cat {self._pid})")
