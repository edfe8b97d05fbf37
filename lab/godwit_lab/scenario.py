"""A stock guest boots on a, moves to b under load, moves back, and everything is checked."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from .checks import Checks
from .host import Host, HostError
from .monitor import GUEST_ADDRESS, MIGRATION_PORT, Instance, Machine, Monitor
from .need import StepFailed, run
from .samples import ENOUGH, Samples
from .site import Site

BOOT_S = 60
SETTLE_S = 3                     # of samples on either side of a move
CALM_S = 30                      # a guest may take to answer promptly again
PROBE_MS = 10
PROBE_TAIL = 900                 # lines, of three machines: the last three seconds
CLOCK_LIMIT_MS = 20.0
GAP_LIMIT_MS = 10_000.0          # beyond it connections of ordinary clients begin to break

# What a stock kernel prints when its time or its devices stood still, or worse. Not among it:
# "Long readout interval, skipping watchdog check", by which the kernel says that it was itself
# held up between two readings, as happens in an emulated host, and finds no fault with a clock;
# and "Marking TSC unstable due to TSCs unsynchronized", its guess at boot about any AMD machine of
# several processors without an invariant TSC.
COMPLAINTS = re.compile(
    r"clocksource.*(unstable|skew|timekeeping watchdog)|soft lockup|hard LOCKUP|"
    r"rcu.*(stall|starved)|blocked for more than|NETDEV WATCHDOG|I/O error|"
    r"EXT4-fs (error|warning)|BUG:|Oops|WARNING:|Call Trace|TSC warp|"
    r"Marking TSC unstable due to (?!TSCs unsynchronized)")

# How the monitors say that somebody else has the disk.
REFUSED_LOCK = re.compile(r"Failed to get .* lock|is in use")


@dataclass
class Leg:
    """One move, with its ends on the store's monotonic clock."""

    source: Instance
    target: Instance
    watched: int = 0             # when the probe began
    started: int = 0
    ended: int = 0
    calm: int = 0                # when the target answered promptly again
    statistics: dict | None = None

    @property
    def name(self) -> str:
        return f"{self.source.host.name}-{self.target.host.name}"


class Journey:
    """The life of one machine in the lab; its name is that of its checks and files."""

    def __init__(self, name: str, site: Site, monitor: Monitor, machine: Machine, checks: Checks,
                 patience: int = 90) -> None:
        self.name = name
        self.site = site
        self._patience = patience  # seconds a move may take
        self.monitor = monitor
        self.machine = machine
        self.checks = checks.scoped(name)
        self._instances: list[Instance] = []

    def instance(self, host: Host) -> Instance:
        """A monitor that has not been started yet, with files of its own on the host."""
        instance = Instance(self.monitor, self.machine, host,
                            f"{self.name}-{len(self._instances) + 1}")
        self._instances.append(instance)
        return instance

    def run(self) -> None:
        """The whole journey; whatever happens, no monitor of it is left."""
        try:
            self._travel()
        except HostError as error:
            self.checks.check("journey", False, str(error))
        finally:
            for instance in self._instances:
                instance.kill()

    def _travel(self) -> None:
        """Boot, a to b, b to a, verify, power off."""
        here = self.instance(self.site.a)
        here.start()
        if not self._booted(here):
            return
        self._say_what_locks_guard(here)
        clocksource = self._status().get("clocksource")
        for host in (self.site.b, self.site.a):
            leg = Leg(here, self.instance(host))
            if not self._move(leg):
                break
            here = leg.target
        now = self._status().get("clocksource")
        self.checks.check("keeps-clocksource", now == clocksource, f"{clocksource}, then {now}")
        self._verify_inside(here)

    def _booted(self, here: Instance) -> bool:
        started = time.monotonic()
        while time.monotonic() < started + BOOT_S and here.alive():
            if self._status(timeout=2).get("written"):
                took = time.monotonic() - started
                return self.checks.check("boots", True, f"stock kernel at work after {took:.1f} s")
            time.sleep(0.2)
        tail = here.host.run(f"tail -n 15 {here.serial}; cat {here.output}")
        return self.checks.check("boots", False, f"no answer; it said:\n{tail}")

    def _ask_guest(self, what: str, timeout: int = 30) -> str:
        """An answer of the guest's web server, asked from the store; empty if there is none."""
        # Not wget: the static busybox's looks up a service's name and crashes.
        _, said = self.site.store.try_run(
            f"printf 'GET /cgi-bin/{what} HTTP/1.0\\r\\n\\r\\n' | "
            f"timeout {timeout} nc {GUEST_ADDRESS} 80")
        head, _, body = said.replace("\r", "").partition("\n\n")
        return body if "200 OK" in head else ""

    def _status(self, timeout: int = 30) -> dict[str, str]:
        """What the guest says of itself (guest/cgi-bin/status); empty without an answer."""
        return dict(re.findall(r"(\w+)=(\S+)", self._ask_guest("status", timeout)))

    def _written(self) -> int:
        return int(self._status().get("written", -1))

    def _say_what_locks_guard(self, here: Instance) -> None:
        if not self.machine.disk.startswith("/dev/"):
            self._locks_reach()
        elif not self.monitor.is_control:
            said = [line for line in here.said().splitlines() if "lock" in line.lower()]
            self.checks.check("says-locks-end-here", any("this host only" in x for x in said),
                              said[0] if said else "not a word about locks")

    def _locks_reach(self) -> None:
        """A second machine with the same disk must be refused on the other host."""
        thief = self.instance(self.site.b)
        try:
            thief.start()
            refused = thief.wait_for_end(5)
        except HostError:        # it ended before its QMP socket could be spoken to
            refused = True
        words = thief.said().splitlines()
        named = [line for line in words if REFUSED_LOCK.search(line)]
        self.checks.check("lock-reaches-b", refused and bool(named),
                          "a second machine there: " + "; ".join(named or words or ["ran"]))
        if not refused:
            thief.quit()

    def _move(self, leg: Leg) -> bool:
        checks = self.checks.scoped(leg.name)
        written = self._written()
        leg.target.start(incoming=True)
        for host, said in self.site.align_clocks().items():
            checks.note(f"clock-of-{host}", said)
        leg.watched = self._now()
        self._start_probe()
        self._wait_until_calm(leg.source.host, leg.watched)
        status = self._migrate(leg)
        leg.calm = self._wait_until_calm(leg.target.host, leg.ended)
        samples = self._stop_probe(leg)
        statistics = leg.statistics or {}
        good = checks.check("migrates", status == "completed", self._summary(status, statistics))
        for side in () if good else (leg.source, leg.target):
            checks.note(f"output-on-{side.host.name}", side.said() or "(nothing)")
        leg.source.quit() if good else leg.target.quit()
        self._judge_gap(checks, leg, samples)
        if good:
            self._judge_clocks(checks, leg, samples)
        now = self._written()
        checks.check("works-on", now > written, f"files written: {written} before, {now} after")
        return good

    @staticmethod
    def _summary(status: str, statistics: dict) -> str:
        ram = statistics.get("ram", {})
        return (f"{status}: total {statistics.get('total-time', '?')} ms, downtime "
                f"{statistics.get('downtime', '?')} ms, "
                f"{ram.get('transferred', 0) / 2**20:.0f} MiB sent"
                + (f", {statistics['error-desc']}" if "error-desc" in statistics else ""))

    def _now(self) -> int:
        """The store's monotonic clock, coarsely: /proc/uptime counts the same from boot."""
        return int(float(self.site.store.run("cut -d' ' -f1 /proc/uptime")) * 1e9)

    def _migrate(self, leg: Leg) -> str:
        uri = f"tcp:{leg.target.host.plan.lan}:{MIGRATION_PORT}"
        deadline = time.monotonic() + self._patience
        leg.started = self._now()
        leg.source.qmp("migrate", uri=uri)
        while True:
            leg.statistics = leg.source.qmp("query-migrate")
            status = leg.statistics.get("status", "none")
            if status in ("completed", "failed", "cancelled", "canceled"):
                break
            if time.monotonic() > deadline:
                status = f"still {status} after {self._patience} s"
                break
            time.sleep(0.1)
        leg.ended = self._now()
        return status

    def _start_probe(self) -> None:
        site = self.site
        self.site.store.run(
            f"labtool probe {PROBE_MS} /tmp/probe guest={GUEST_ADDRESS}:7 "
            f"a={site.a.plan.san}:7 b={site.b.plan.san}:7 > /tmp/probe.out 2>&1 & "
            "echo $! > /tmp/probe.pid")

    def _wait_until_calm(self, host: Host, since: int) -> int:
        """Lets the guest work off what queued up: slow answers cannot tell how late its clock is.

        Returns when it and its host have answered promptly often enough, or patience ended.
        """
        deadline = time.monotonic() + CALM_S
        time.sleep(SETTLE_S)
        while True:
            latest = Samples(self.site.store.run(f"tail -n {PROBE_TAIL} /tmp/probe"))
            now = self._now()
            if time.monotonic() > deadline or all(
                    len(latest.prompt(name, since, now)) == ENOUGH
                    for name in ("guest", host.name)):
                return now
            time.sleep(1)

    def _stop_probe(self, leg: Leg) -> Samples:
        text = self.site.store.run("p=$(cat /tmp/probe.pid); kill $p; "
                                   "while [ -e /proc/$p/exe ]; do usleep 10000; done; "
                                   "cat /tmp/probe.out /tmp/probe")
        (self.site.folder / f"{self.name}.{leg.name}.probe").write_text(text)
        return Samples(text)

    def _judge_gap(self, checks: Checks, leg: Leg, samples: Samples) -> None:
        usual = samples.longest_silence("guest", leg.watched, leg.started)
        gap = samples.longest_silence("guest", leg.started, leg.calm)
        checks.check("answers-through-it", gap < GAP_LIMIT_MS,
                     f"longest ping gap {gap:.0f} ms (before the move {usual:.0f} ms)")

    def _judge_clocks(self, checks: Checks, leg: Leg, samples: Samples) -> None:
        before, after = (leg.watched, leg.started), (leg.ended, leg.calm)
        hosts = (leg.source.host.name, leg.target.host.name)
        for clock in ("monotonic", "realtime"):
            moved = samples.moved_against_hosts("guest", clock, hosts, before, after)
            ruler = samples.moved("guest", clock, before, after)
            if moved is None or ruler is None:
                checks.check(f"clock-{clock}", False, "too few prompt answers to tell")
                continue
            said = f"moved {moved:+.1f} ms against the hosts', {ruler:+.1f} ms against the store's"
            if self.monitor.is_control:
                checks.note(f"clock-{clock}", said)
            else:
                checks.check(f"clock-{clock}", abs(moved) <= CLOCK_LIMIT_MS, said)

    def _verify_inside(self, here: Instance) -> None:
        """What the guest itself can tell: its files, its memory, its kernel's log."""
        checks = self.checks
        said = self._ask_guest("verify", timeout=60)
        for where in ("disk", "ram"):
            lines = [line for line in said.splitlines() if line.startswith(where + " ")]
            bad = [line for line in lines if not line.endswith(": OK")]
            checks.check(f"{where}-checksums", bool(lines) and not bad,
                         f"{len(lines)} files right" if not bad else "; ".join(bad[:5]))
        log = self._ask_guest("dmesg")
        (self.site.folder / f"{self.name}.dmesg").write_text(log)
        bad = [line for line in log.splitlines() if COMPLAINTS.search(line)]
        checks.check("dmesg-quiet", len(log) > 1000 and not bad,
                     "\n".join(bad[:20]) if bad else f"{len(log.splitlines())} lines, none bad")
        self._ask_guest("off")
        checks.check("powers-off", here.wait_for_end(20))


def check_disk(checks: Checks, disk: Path, scratch: Path) -> None:
    """A guest's disk after everything has ended, judged from outside: fsck and checksums."""
    fsck = run_status("e2fsck", "-f", "-n", disk)
    checks.check("fsck", fsck[0] == 0, "clean" if fsck[0] == 0 else fsck[1])
    work = scratch / f"work-{disk.stem}"
    work.mkdir()
    run("debugfs", "-R", f"rdump /work {work}", disk)
    sums = sorted((work / "work").glob("*.sha256"))
    bad = [path.name for path in sums
           if run_status("sha256sum", "--quiet", "-c", path.name, cwd=work / "work")[0] != 0]
    checks.check("disk-checksums-outside", bool(sums) and not bad,
                 f"{len(sums)} files right" if not bad else "wrong: " + " ".join(bad[:5]))


def run_status(*argv: object, **options: object) -> tuple[int, str]:
    """A judge's exit status and words."""
    try:
        return 0, run(*argv, **options).stdout
    except StepFailed as error:
        return 1, str(error)
