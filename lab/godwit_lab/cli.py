"""lab/run: arguments, what is built, in which order."""

import argparse
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from . import images, kernel
from .checks import Checks
from .host import HostError
from .monitor import Godwit, Machine, Monitor, Qemu
from .need import CannotRun, check_programs, run
from .scenario import Journey, check_disk
from .site import Link, Site

CANNOT_RUN = 77                  # what test harnesses take for "skipped"
ROOT = images.LAB.parent


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="lab/run", description=__doc__)
    p.add_argument("--monitor", choices=("godwit", "qemu"), default="godwit",
                   help="qemu is the control: it shows that the lab itself is right")
    p.add_argument("--short", action="store_true", help="q35 only")
    p.add_argument("--machine", choices=("q35", "microvm"), action="append",
                   help="only these machines")
    p.add_argument("--build", type=Path, default=ROOT / "build", metavar="DIR",
                   help="where meson built godwit-vmm and labtool")
    p.add_argument("--cpu-a", default="EPYC,-avx2,-bmi2", help="QEMU CPU model of host a")
    p.add_argument("--cpu-b", default="EPYC-Rome", help="QEMU CPU model of host b")
    p.add_argument("--delay", default="", help="of the link between a and b, e.g. 20ms")
    p.add_argument("--loss", default="", help="of the link, e.g. 0.5%%")
    p.add_argument("--rate", default="", help="of the link, e.g. 200mbit")
    p.add_argument("--raw-device", action="store_true",
                   help="the guest's disk is a block device both hosts see, beyond locks' reach")
    p.add_argument("--refresh-kernel", action="store_true", help="ask apt for a newer kernel")
    p.add_argument("--keep", action="store_true", help="keep disks and logs even on success")
    return p.parse_args(argv)


def monitor_of(args: argparse.Namespace) -> Monitor:
    """The program under test."""
    if args.monitor == "qemu":
        return Qemu()
    program = args.build / "godwit-vmm"
    if not program.exists():
        program = args.build / "src" / "cmd" / "vmm" / "godwit-vmm"
    if not program.exists():
        raise CannotRun(f"no godwit-vmm in {args.build}: run make first")
    return Godwit(program)


def labtool_of(args: argparse.Namespace) -> Path:
    """The helper that goes into hosts and guests."""
    tool = args.build / "lab" / "labtool"
    if not tool.exists():
        raise CannotRun(f"no lab/labtool in {args.build}: run make first")
    return tool


def boards_of(args: argparse.Namespace) -> list[str]:
    """The machines to take on the journey."""
    if args.machine:
        return args.machine
    return ["q35"] if args.short else ["q35", "microvm"]


def travel(args: argparse.Namespace, folder: Path, checks: Checks) -> None:
    """Builds everything, runs every machine, and judges the disks."""
    monitor, labtool, boards = monitor_of(args), labtool_of(args), boards_of(args)
    linux = kernel.obtain(args.refresh_kernel)
    print(f"lab: {monitor.name} on {linux.version}; a is {args.cpu_a}, b is {args.cpu_b}")
    initrd = images.host_initrd(folder, linux, labtool, monitor.programs(),
                                images.guest_initrd(folder, linux))
    guest = images.guest_disk(folder, labtool)
    store = images.store_disk(folder, guest, [f"{board}.img" for board in boards])
    site = Site(folder, linux, initrd, {"a": args.cpu_a, "b": args.cpu_b}, store,
                guest if args.raw_device else None)
    with site:
        site.impair(Link(args.delay, args.loss, args.rate))
        for board in boards:
            disk = "/dev/vda" if args.raw_device else f"/shared/{board}.img"
            Journey(site, monitor, Machine(board, disk), checks).run()
        site.power_off()
    for board in boards:
        checks.scoped(board)
        disk = guest
        if not args.raw_device:
            disk = folder / f"{board}.img"
            run("debugfs", "-R", f"dump /{board}.img {disk}", store)
        check_disk(checks, disk, folder)


def main(argv: list[str]) -> int:
    """Returns the exit status: 0, 1 for a failed check, 77 when the lab cannot run here."""
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    checks = Checks()
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="godwit-lab."))
        try:
            check_programs()
            travel(args, folder, checks)
        except CannotRun as reason:
            print(f"lab: cannot run: {reason}")
            run("rm", "-rf", folder)
            return CANNOT_RUN
        except HostError as error:
            checks.check("hosts", False, str(error))
        if not checks.failed and not args.keep:
            stack.callback(run, "rm", "-rf", folder)
        else:
            print(f"lab: disks and logs are kept in {folder}")
        return checks.summary()
