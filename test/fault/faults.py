"""What the fault tests share: quick machines, the stages at which faults strike, who runs."""

import time

from flight import destination, move, witness_line
from harness.proxy import DESTINATION, SOURCE, Fault

# Short, so that what waits for them is quick; long enough for two loaded cores.
QUICK = {"link_timeout": 1500, "ready_timeout": 1500, "handover_timeout": 1500,
         "network_timeout": 1500}
PATIENT = {"link_timeout": 10000, "ready_timeout": 10000, "downtime_limit": 300}

# Where a fault strikes: the arguments of Fault beside `act`.
STAGES = {
    "hello": {"record": "hello"},
    "manifest": {"record": "manifest", "when": "within"},
    "precopy": {"lane_bytes": 2 << 20},
    "later-round": {"record": "round", "nth": 3, "when": "after"},
    "state": {"record": "state", "when": "within"},
    "ready": {"record": "ready", "towards": SOURCE},
    "commit": {"record": "commit"},
    "running": {"record": "running", "towards": SOURCE},
}
BEFORE_READY = ("hello", "manifest", "precopy", "later-round", "state")
WITNESS_LINE = witness_line(static=8, ws=4, rate=20, verify_ms=200, period_ms=100,
                            idle_us=4000)


def quick(m):
    m.set(**QUICK)
    return m


def quick_witness(machine, name="source", env=None, **more):
    """A small one, verified in a fifth of a second; `more` goes to Machine."""
    m = machine(name, env=env, append=WITNESS_LINE, **more)
    m.witness.wait("READY", 60)
    return quick(m)


def quick_destination(machine, folder, name="destination", transport="tcp"):
    target, uri = destination(machine, folder, name, transport)
    return quick(target), uri


class Trip:
    """A source and a destination with a network between them that fails at a stage."""

    def __init__(self, machine, network, folder, transport="tcp"):
        self.machine, self.folder = machine, folder
        self.source = quick_witness(machine)
        self.target, self.direct_uri = quick_destination(machine, folder, transport=transport)
        self.proxy = network(self.direct_uri, *([f"unix:{folder}/proxy.mig"]
                                                if transport == "unix" else []))

    def begin(self, stage, act):
        """Migrates, and returns when the fault has struck."""
        self.proxy.arm(Fault(act, **STAGES[stage]))
        # Rounds go on for ever while no prediction can be good enough.
        self.source.set(downtime_limit=1 if stage == "later-round" else 300)
        self.source.migrate(self.proxy.uri)
        self.proxy.wait()

    def next_move(self, here, there=None):
        """The machine goes on to a fresh destination, or to this one: directly."""
        uri = self.direct_uri
        if there is None:
            there, uri = quick_destination(self.machine, self.folder, "next")
        here.set(**PATIENT)
        there.set(**PATIENT)
        move(here, there, uri)
        assert_runs([there], [here])
        return there


def assert_runs(running, others, seconds=0.6):
    """These progress (and say `running`), those do not: by what the witness itself prints."""
    looked = time.monotonic()
    before = {m: len(m.witness.all("W")) for m in (*running, *others)}
    for m in running:
        assert m.status() == "running", (m.name, m.status(), m.migration())
        first = m.witness.wait("W", 10, after=before[m])
        m.witness.wait("W", 10, after=before[m], test=lambda w: w["work"] > first["work"])
    time.sleep(max(0.0, seconds - (time.monotonic() - looked)))
    for m in others:
        assert not m.alive() or m.status() != "running", (m.name, m.migration())
        # A line that was begun as the guest stopped, or as its process died, may be finished.
        assert len(m.witness.all("W")) <= before[m] + 1, f"{m.name} runs too"
    assert_never_two(*running, *others)


def assert_never_two(*machines):
    """The guest's TSC goes on across migrations, so lines of all sides sort by it: two that ran at
    the same time would alternate."""
    lines = sorted((w["tsc"], m.name) for m in machines for w in m.witness.all("W"))
    owners = [name for i, (_, name) in enumerate(lines) if i == 0 or lines[i - 1][1] != name]
    assert len(owners) <= len(set(owners)) + 1, f"the machine ran in turns: {owners}"


def assert_unresolved(m, timeout=10.0):
    """It says so in both places, and that a person may decide."""
    m.wait_status("unresolved", timeout)
    answer = m.migration()
    assert answer["status"] == "unresolved", answer
    assert answer["error-desc"]


def wait_listening(target, timeout=10.0):
    target.wait_status("inmigrate", timeout)
    target.wait_migration(("failed", "none"), timeout)  # none: it never heard of the migration


def resolve(m, run):
    """A person's word; it is carried out soon."""
    is_source = "-incoming" not in m.argv
    m.qmp.command("migrate-resolve", {"winner": "source" if run == is_source else "destination"})
    if run:
        m.wait_status("running")


__all__ = ["BEFORE_READY", "DESTINATION", "Fault", "QUICK", "SOURCE", "STAGES", "Trip",
           "assert_never_two", "assert_runs", "assert_unresolved", "quick", "quick_destination",
           "quick_witness", "resolve", "wait_listening"]
