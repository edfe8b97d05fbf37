"""lab/run: a stock guest boots under the monitor, moves from host to host and back under load."""

import argparse
from pathlib import Path

from . import images, kernel
from .checks import Checks
from .monitor import Machine
from .need import run
from .options import built, framed, monitor_of, parser
from .scenario import Journey, check_disk
from .site import Link, Site

RAW_DEVICE = "/dev/vda"          # the first disk of hosts a and b, where they have one


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = parser(__doc__)
    p.add_argument("--short", action="store_true", help="q35 only")
    p.add_argument("--machine", choices=("q35", "microvm"), action="append",
                   help="only these machines")
    p.add_argument("--patience", type=int, default=90, metavar="S", help="for one move")
    p.add_argument("--raw-device", action="store_true",
                   help="the guest's disk is a block device both hosts see, beyond locks' reach")
    return p.parse_args(argv)


def boards_of(args: argparse.Namespace) -> list[str]:
    """The machines to take on the journey."""
    if args.machine:
        return args.machine
    return ["q35"] if args.short else ["q35", "microvm"]


def travel(args: argparse.Namespace, folder: Path, checks: Checks) -> None:
    """Builds everything, runs every machine, and judges the disks."""
    monitor, labtool, boards = monitor_of(args), built(args, "lab/labtool"), boards_of(args)
    linux = kernel.obtain(args.refresh_kernel)
    print(f"lab: {monitor.name} on {linux.version}; a is {args.cpu_a}, b is {args.cpu_b}",
          flush=True)
    initrd = images.host_initrd(
        folder, linux, labtool, monitor.programs(),
        {"vmlinuz": linux.image, "initrd": images.guest_initrd(folder, linux)})
    guest = images.guest_disk(folder, labtool)
    store = images.store_disk(folder, guest, [f"{board}.img" for board in boards])
    cpus = {"a": args.cpu_a, "b": args.cpu_b}
    with Site(folder, linux, initrd, cpus, store, guest if args.raw_device else None) as site:
        site.impair(Link(args.delay, args.loss, args.rate))
        for board in boards:
            disk = RAW_DEVICE if args.raw_device else f"/shared/{board}.img"
            Journey(site, monitor, Machine.stock(board, disk), checks, args.patience).run()
        site.power_off()
    if args.raw_device:
        check_disk(checks.scoped("raw"), guest, folder)
        return
    for board in boards:
        disk = folder / f"{board}.img"
        run("debugfs", "-R", f"dump /{board}.img {disk}", store)
        check_disk(checks.scoped(board), disk, folder)


def main(argv: list[str]) -> int:
    """The exit status: 0, 1 for a failed check, 77 when the lab cannot run here."""
    return framed(parse(argv), travel)
