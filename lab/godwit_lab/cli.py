"""lab/run: a stock guest boots under the monitor, moves from host to host and back under load."""

import argparse
from pathlib import Path

from . import images, kernel
from .checks import Checks
from .host import Boot, clock_options
from .monitor import Machine
from .need import run
from .options import built, framed, monitor_of, parser
from .scenario import Journey, check_disk
from .site import Link, Site

RAW_DEVICE = "/dev/vda"          # the first disk of hosts a and b, where they have one

# Journey -> the board of its machine. "raw" has its disk beyond the reach of locks.
JOURNEYS = {"q35": "q35", "microvm": "microvm", "raw": "q35"}


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = parser(__doc__)
    p.add_argument("--only", choices=JOURNEYS, action="append", help="only these journeys")
    p.add_argument("--short", action="store_const", const=["q35"], dest="only",
                   help="the journey on q35 only")
    p.add_argument("--smp", type=int, default=1, metavar="N", help="vCPUs of the guest")
    p.add_argument("--patience", type=int, default=90, metavar="S", help="for one move")
    return p.parse_args(argv)


def disk_of(name: str) -> str:
    """Where the hosts see a journey's disk."""
    return RAW_DEVICE if name == "raw" else f"/shared/{name}.img"


def travel(args: argparse.Namespace, folder: Path, checks: Checks) -> None:
    """Builds everything, makes every journey, and judges the disks."""
    monitor, labtool = monitor_of(args), built(args, "lab/labtool")
    names = args.only or list(JOURNEYS)
    linux = kernel.obtain(args.refresh_kernel)
    print(f"lab: {monitor.name} on {linux.version}; a is {args.cpu_a}, b is {args.cpu_b}",
          flush=True)
    initrd = images.host_initrd(
        folder, linux, labtool, monitor.programs(),
        {"vmlinuz": linux.image, "initrd": images.guest_initrd(folder, linux)})
    raw = images.guest_disk(folder, labtool)
    on_store = [name for name in names if name != "raw"]
    store = images.store_disk(folder, raw, [f"{name}.img" for name in on_store])
    boot = Boot(linux.image, initrd, clock_options(labtool))
    cpus = {"a": args.cpu_a, "b": args.cpu_b}
    with Site(folder, boot, cpus, store, raw) as site:
        site.impair(Link(args.delay, args.loss, args.rate))
        for name in names:
            machine = Machine.stock(JOURNEYS[name], disk_of(name), args.smp)
            Journey(name, site, monitor, machine, checks, args.patience).run()
        site.power_off()
    for name in on_store:
        run("debugfs", "-R", f"dump /{name}.img {folder}/{name}.img", store)
    for name in names:
        disk = raw if name == "raw" else folder / f"{name}.img"
        check_disk(checks.scoped(name), disk, folder)


def main(argv: list[str]) -> int:
    """The exit status: 0, 1 for a failed check, 77 when the lab cannot run here."""
    return framed(parse(argv), travel)
