"""What lab/run and lab/demo share: arguments, the programs they put in, the frame of a run."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from . import images
from .checks import Checks
from .host import HostError
from .monitor import Godwit, Monitor, Qemu
from .need import CannotRun, StepFailed, check_programs, run

CANNOT_RUN = 77                  # what test harnesses take for "skipped"
ROOT = images.LAB.parent


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments every program of the lab has."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--monitor", choices=("godwit", "qemu"), default="godwit",
                   help="qemu is the control: it shows that the lab itself is right")
    p.add_argument("--extra", default="", metavar="WORDS", help="more options for the monitor")
    p.add_argument("--build", type=Path, default=ROOT / "build", metavar="DIR",
                   help="where meson built what is put into the hosts")
    p.add_argument("--cpu-a", default="EPYC,-avx2,-bmi2", help="QEMU CPU model of host a")
    p.add_argument("--cpu-b", default="EPYC-Rome", help="QEMU CPU model of host b")
    p.add_argument("--delay", default="", help="of the link between a and b, e.g. 20ms")
    p.add_argument("--loss", default="", help="of the link, e.g. 0.1%%")
    p.add_argument("--rate", default="", help="of the link, e.g. 200mbit")
    p.add_argument("--refresh-kernel", action="store_true", help="ask apt for a newer kernel")
    p.add_argument("--keep", action="store_true", help="keep disks and logs even on success")
    return p


def built(args: argparse.Namespace, *places: str) -> Path:
    """A program that meson built, at the first of these places that has it."""
    for place in places:
        if (args.build / place).exists():
            return args.build / place
    raise CannotRun(f"no {places[0]} in {args.build}: run make first")


def monitor_of(args: argparse.Namespace) -> Monitor:
    """The program under test."""
    if args.monitor == "qemu":
        return Qemu(args.extra)
    return Godwit(built(args, "godwit-vmm"), args.extra)


def framed(args: argparse.Namespace, story: Callable[[argparse.Namespace, Path, Checks], None]
           ) -> int:
    """Runs a story in a folder of its own: 0, 1 for a failed check, 77 when it cannot run here.

    The folder is kept when something failed, for its logs and disks.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    checks = Checks()
    folder = Path(tempfile.mkdtemp(prefix="godwit-lab."))
    keep = True
    try:
        check_programs()
        story(args, folder, checks)
        keep = bool(checks.ledger.failed) or args.keep
    except CannotRun as reason:
        print(f"lab: cannot run: {reason}", flush=True)
        keep = False
        return CANNOT_RUN
    except (HostError, StepFailed) as error:
        checks.check("lab", False, str(error))
    finally:
        if keep:
            print(f"lab: disks and logs are kept in {folder}", flush=True)
        else:
            run("rm", "-rf", folder)
    return checks.summary()
