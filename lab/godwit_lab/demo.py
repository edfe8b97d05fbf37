"""lab/demo: the self-proving guest moves, live, between two emulated hosts.

This is what make demo shows where there is no usable /dev/kvm. The guest (guest/README.md)
re-verifies all its data without end and measures by its own clock how long it did not run.
"""

import argparse
import re
import time
from pathlib import Path

from . import images, kernel
from .checks import Checks
from .host import Boot, HostError, clock_options
from .monitor import MIGRATION_PORT, Instance, Machine
from .options import built, framed, monitor_of, parser
from .site import Link, Site

MIB = 2**20
READY_S = 60
MOVE_S = 90
PROOF_PASSES = 2                 # full passes over the data, at the destination
FAULTS = ("bad", "lost", "newer", "mangled", "state_bad")


def words_of(line: str) -> dict[str, str]:
    """The key=value words of one of the witness's lines."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def last_report(instance: Instance) -> dict[str, str]:
    """The latest whole W line on a machine's serial port, empty before the first."""
    _, said = instance.host.try_run(
        f"grep -a '^W .* dropped=[0-9]' {instance.serial} | tail -n 1")
    return words_of(said)


def wait_for_pass(instance: Instance, number: int) -> dict[str, str]:
    """Waits until the witness has verified all its data so often; its latest report."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and instance.alive():
        report = last_report(instance)
        if int(report.get("pass", 0)) >= number:
            return report
        time.sleep(0.5)
    tail = instance.host.run(f"tail -n 5 {instance.serial}; cat {instance.output}")
    raise HostError(f"the witness did not get there; it said:\n{tail}")


def progress(statistics: dict) -> str:
    """One line about a migration that runs."""
    ram = statistics.get("ram", {})
    page = ram.get("page-size", 4096)
    return (f"  round {ram.get('dirty-sync-count', 0):>2}  "
            f"sent {ram.get('transferred', 0) / MIB:7.1f} MiB  "
            f"remaining {ram.get('remaining', 0) / MIB:7.1f} MiB  "
            f"dirtied {ram.get('dirty-pages-rate', 0) * page / MIB:6.1f} MiB/s  "
            f"bandwidth {ram.get('mbps', 0):6.0f} Mbit/s  "
            f"expected downtime {statistics.get('expected-downtime', 0)} ms")


def move(source: Instance, target: Instance) -> dict:
    """Migrates with a line a second; the final statistics."""
    source.qmp("migrate", uri=f"tcp:{target.host.plan.lan}:{MIGRATION_PORT}")
    deadline, next_line = time.monotonic() + MOVE_S, 0.0
    while time.monotonic() < deadline:
        statistics = source.qmp("query-migrate")
        if statistics.get("status") in ("completed", "failed", "cancelled", "canceled"):
            return statistics
        if time.monotonic() >= next_line:
            print(progress(statistics), flush=True)
            next_line = time.monotonic() + 1
        time.sleep(0.1)
    raise HostError(f"the migration did not end within {MOVE_S} s; "
                    f"the source said:\n{source.said()}\nthe destination:\n{target.said()}")


def report(checks: Checks, statistics: dict, witness: dict[str, str]) -> None:
    """The closing figures, two of them with a verdict."""
    ram = statistics.get("ram", {})
    status = statistics.get("status", "none")
    print(f"\n  total time            {statistics.get('total-time', 0)} ms\n"
          f"  sent                  {ram.get('transferred', 0) / MIB:.1f} MiB "
          f"in {ram.get('dirty-sync-count', 0)} rounds\n"
          f"  downtime (engine)     {statistics.get('downtime', 0)} ms\n"
          f"  blackout (guest)      {int(witness['max_blackout_us']) / 1000:.1f} ms\n"
          f"  words verified        {int(witness['words']):,}\n", flush=True)
    checks.check("migrates", status == "completed", status)
    faults = {name: int(witness[name]) for name in FAULTS}
    checks.check("memory-identical", not any(faults.values()),
                 f"{witness['pass']} passes over all data: "
                 + " ".join(f"{name}={count}" for name, count in faults.items()))


def tell(args: argparse.Namespace, folder: Path, checks: Checks) -> None:
    """The whole story."""
    monitor, labtool = monitor_of(args), built(args, "lab/labtool")
    linux = kernel.obtain(args.refresh_kernel)
    witness = built(args, "guest/witness.elf")
    print(f"Two emulated hosts are booting: a is {args.cpu_a}, b is {args.cpu_b}.", flush=True)
    initrd = images.host_initrd(folder, linux, labtool, monitor.programs(),
                                {"witness.elf": witness})
    boot = Boot(linux.image, initrd, clock_options(labtool))
    with Site(folder, boot, {"a": args.cpu_a, "b": args.cpu_b}) as site:
        site.impair(Link(args.delay, args.loss, args.rate))
        site.align_clocks()
        words = f"static_mib={args.static_mib} ws_mib={args.ws_mib} rate={args.rate_mib}"
        machine = Machine.witness(f"{args.static_mib + args.ws_mib + 64}M", words)
        source = Instance(monitor, machine, site.a, "source")
        target = Instance(monitor, machine, site.b, "target")
        source.start()
        before = wait_for_pass(source, 1)
        print(f"The guest runs on a: {args.static_mib} MiB of data verified without end, "
              f"{args.ws_mib} MiB rewritten at {before['dirty_mibs']} MiB/s.\n"
              "It moves to b:", flush=True)
        target.start(incoming=True)
        statistics = move(source, target)
        if statistics["status"] != "completed":
            raise HostError(f"the migration {statistics['status']}: "
                            f"{statistics.get('error-desc', '')}\n{source.said()}")
        passes = int(last_report(source).get("pass", before["pass"]))
        report(checks, statistics, wait_for_pass(target, passes + PROOF_PASSES))
        for side in (source, target):
            said = side.host.run(f"cat {side.serial}")
            (folder / f"witness-on-{side.host.name}.serial").write_text(said)
            for line in re.findall(r"^(?:BAD|FATAL) .*", said, re.MULTILINE):
                checks.note(f"witness-on-{side.host.name}", line)


def main(argv: list[str]) -> int:
    """The exit status: 0, 1 for a failed check, 77 when it cannot run here."""
    p = parser(__doc__)
    p.add_argument("--static-mib", type=int, default=128, help="data that must not change")
    p.add_argument("--ws-mib", type=int, default=16, help="data that is rewritten all the time")
    p.add_argument("--rate-mib", type=int, default=20, help="MiB/s of rewriting")
    return framed(p.parse_args(argv), tell)
