"""One emulated host: a QEMU process, its control console and its log."""

import ctypes
import platform
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .need import which

BOOT_S = 60
COMMAND_S = 120


PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Asks the kernel to end this process with its parent, so that a killed lab leaves nothing."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class HostError(Exception):
    """A host did not boot, died, or a command on it failed."""


@dataclass(frozen=True)
class Plan:
    """What a host is made of, before it exists."""

    name: str
    cpu: str
    address: int                 # the last number of its addresses on both networks
    ports: list[str]             # QEMU arguments of its two network ports
    disks: list[Path]            # /dev/vda, /dev/vdb …, shared with whoever else names them
    memory_mib: int = 1024
    cpus: int = 1

    @property
    def lan(self) -> str:
        """Where guests and migrations live."""
        return f"10.9.0.{self.address}"

    @property
    def san(self) -> str:
        """Where storage and the comparison of clocks live; never delayed or lossy."""
        return f"10.9.1.{self.address}"


@dataclass(frozen=True)
class Boot:
    """What all hosts boot."""

    kernel: Path
    initrd: Path
    clock: str                   # kernel options about time, see clock_options


def clock_options(labtool: Path) -> str:
    """Keeps an emulated host from doubting its time-stamp counter.

    The counter is this machine's own, but hosts calibrate and check it against emulated timers,
    which stand still whenever this machine is busy: some then believed in 69 MHz. So they are told.
    """
    if platform.machine() != "x86_64":
        return "tsc=nowatchdog"  # the counter is emulated like the timers, and agrees with them
    measured = subprocess.run([labtool, "tsc"], capture_output=True, text=True, check=True)
    return f"tsc=nowatchdog tsc_early_khz={int(measured.stdout)}"


class Host:
    """A running host. The creator stops it."""

    def __init__(self, plan: Plan, boot: Boot, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.log = folder / f"{plan.name}.log"
        self._console_path = folder / f"{plan.name}.console"
        self._console: socket.socket | None = None
        self._stream = None
        with open(folder / f"{plan.name}.qemu", "wb") as output:
            self.process = subprocess.Popen(self._command(boot), stdout=output,
                                            stderr=output, stdin=subprocess.DEVNULL,
                                            preexec_fn=end_with_parent)

    @property
    def name(self) -> str:
        return self.plan.name

    def _command(self, boot: Boot) -> list[str]:
        plan = self.plan
        append = (f"console=ttyS0 panic=1 mitigations=off quiet {boot.clock} "
                  f"lab.name={plan.name} lab.lan={plan.lan} lab.san={plan.san}")
        command = [
            which("qemu-system-x86_64"), "-name", f"lab-{plan.name}", "-accel", "tcg",
            "-cpu", plan.cpu, "-smp", str(plan.cpus), "-m", str(plan.memory_mib),
            "-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(boot.kernel),
            "-initrd", str(boot.initrd), "-append", append, "-serial", f"file:{self.log}",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=console,path={self._console_path},server=on,wait=off",
            "-device", "virtserialport,chardev=console", *plan.ports]
        for i, disk in enumerate(plan.disks):
            # Not locked: a shared disk is one that several hosts have open.
            command += ["-drive", f"file={disk},id=disk{i},if=none,format=raw,file.locking=off",
                        "-device", f"virtio-blk-pci,drive=disk{i},share-rw=on"]
        return command

    def wait_until_up(self) -> None:
        """Waits for the console's greeting."""
        deadline = time.monotonic() + BOOT_S
        while not self._console_path.exists():
            self._fail_if_late(deadline)
            time.sleep(0.02)
        self._console = socket.socket(socket.AF_UNIX)
        self._console.connect(str(self._console_path))
        self._console.settimeout(BOOT_S)
        self._stream = self._console.makefile("rb")
        try:
            greeting = self._stream.readline()
        except TimeoutError:
            greeting = b""
        if greeting != b"ready\n":
            raise HostError(f"host {self.name} did not boot; its log ends:\n{self.log_tail()}")

    def _fail_if_late(self, deadline: float) -> None:
        if self.process.poll() is not None or time.monotonic() > deadline:
            said = (self.folder / f"{self.name}.qemu").read_text(errors="replace")
            raise HostError(f"host {self.name} did not start: {said}")

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the host's kernel log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def try_run(self, command: str, timeout: float = COMMAND_S) -> tuple[int, str]:
        """Runs one line of shell on the host: its status and its output."""
        self._console.settimeout(timeout)
        try:
            self._console.sendall(command.encode() + b"\n")
            header = self._stream.readline().split()
            output = self._stream.read(int(header[1]))
        except (OSError, IndexError, ValueError) as error:
            raise HostError(f"host {self.name} did not answer '{command}' ({error}); its log "
                            f"ends:\n{self.log_tail()}") from error
        return int(header[0]), output.decode(errors="replace")

    def run(self, command: str, timeout: float = COMMAND_S) -> str:
        """The same for a command that must succeed: its output."""
        status, output = self.try_run(command, timeout)
        if status != 0:
            raise HostError(f"'{command}' on host {self.name} gave {status}: {output}")
        return output

    def power_off(self) -> None:
        """Ends the host in order, so that its disks are clean."""
        if self.process.poll() is None and self._console is not None:
            self._console.sendall(b"sync; poweroff -f\n")
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """Ends the process, whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._stream is not None:
            self._stream.close()
            self._console.close()
