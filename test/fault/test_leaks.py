"""Migrations that fail, or are canceled, leave nothing behind: descriptors, threads, slowed guests."""

import os
import time

import pytest

from faults import (DESTINATION, QUICK, SOURCE, Fault, assert_runs, assert_unresolved, resolve,
                    wait_listening)
from flight import assert_unharmed

VARIED = ["hello", "manifest", "precopy", "state", "ready"]


def possessions(m):
    """What it holds: descriptors by what they are, threads by name."""
    def read(folder, look):
        found = []
        for entry in os.listdir(folder):
            try:
                found.append(look(f"{folder}/{entry}"))
            except FileNotFoundError:  # it went away just now
                pass
        return sorted(found)

    def kind(path):  # sockets and files have numbers in their names
        return os.readlink(path).split(":")[0]

    def comm(path):
        with open(path + "/comm") as f:
            return f.read().strip()

    return (read(f"/proc/{m.pid}/fd", kind), read(f"/proc/{m.pid}/task", comm))


def settled(m, expected, timeout=5.0):
    """What it holds, once what still ends has ended."""
    deadline = time.monotonic() + timeout
    while possessions(m) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return possessions(m)


def fail_at(t, stage, act="reset"):
    t.begin(stage, act)
    assert t.source.wait_migration()["status"] == "failed"
    if stage == "ready":
        assert_unresolved(t.target)
        resolve(t.target, False)
    t.proxy.heal()
    wait_listening(t.target)


def test_failed_migrations_leave_nothing(trip):
    """The object of the last migration stays to answer query-migrate: one, however many there
    were. So the count begins after the first."""
    fail_at(trip, "precopy")
    time.sleep(0.5)
    source, target = possessions(trip.source), possessions(trip.target)
    for stage in VARIED:
        fail_at(trip, stage)
    assert settled(trip.source, source) == source
    assert settled(trip.target, target) == target
    assert_unharmed(trip.next_move(trip.source, trip.target))
    # In order: a sanitized monitor would report lost memory by its exit status.
    assert trip.source.quit() == 0, trip.source.stderr_text()
    assert trip.target.quit() == 0, trip.target.stderr_text()


def test_completed_source_holds_no_guest(trip):
    """Answering query-migrate takes no memory, vCPU threads or sockets of the guest that left."""
    source = possessions(trip.source)
    trip.source.set(downtime_limit=300)
    trip.next_move(trip.source, trip.target)
    descriptors, threads = possessions(trip.source)
    assert not [t for t in threads if t.startswith(("vcpu", "lane"))]
    assert len(descriptors) < len(source[0])
    with open(f"/proc/{trip.source.pid}/smaps_rollup") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("Rss:"))
    assert rss < 32 << 10, f"{rss} KiB resident without a guest"


# ---- cancel

# Each stage, and how the destination keeps the source there: by saying nothing more.
HELD_AT = {
    "hello": Fault("silence", "welcome", SOURCE),
    "manifest": Fault("silence", "accept", SOURCE),
    "precopy": Fault("silence", lane_bytes=2 << 20),
    "state": Fault("silence", "state", DESTINATION),
    "ready": Fault("silence", "ready", SOURCE),
}


@pytest.mark.parametrize("stage", HELD_AT)
def test_cancel_at_every_stage(trip, stage):
    trip.source.set(downtime_limit=300, link_timeout=20000, ready_timeout=20000)
    trip.proxy.arm(HELD_AT[stage])
    trip.source.migrate(trip.proxy.uri)
    trip.proxy.wait()
    began = time.monotonic()
    trip.source.qmp.command("migrate_cancel")
    answer = trip.source.wait_migration(("cancelled", "failed", "completed"))
    took = time.monotonic() - began
    assert answer["status"] == "cancelled", answer
    assert took < 0.5, f"{took:.3f} s"  # 0.1 by the engine, and two loaded cores
    assert_runs([trip.source], [trip.target])
    trip.proxy.heal(deliver=stage != "ready")  # or else ABORT is heard
    trip.source.set(**QUICK)
    wait_listening(trip.target)
    assert_unharmed(trip.source)
    trip.next_move(trip.source, trip.target)
    assert trip.source.quit() == 0, trip.source.stderr_text()
    assert trip.target.quit() == 0, trip.target.stderr_text()


def test_cancel_comes_too_late_after_the_commit(trip):
    trip.begin("running", "silence")
    with pytest.raises(Exception, match="too late"):
        trip.source.qmp.command("migrate_cancel")
    trip.proxy.heal()
    assert trip.source.wait_migration(("completed", "failed"))["status"] == "completed"
    assert_runs([trip.target], [trip.source])
