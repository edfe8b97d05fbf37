"""Whatever dies, wherever: exactly one machine runs, or none does and whoever is left says so.

Each test strikes once at a stage, looks who runs, lets a person or the healed network decide where
that is needed, and then moves the machine once more.
"""

import os
import signal

import pytest

from faults import (BEFORE_READY, assert_never_two, assert_runs, assert_unresolved,
                    quick_witness, resolve, wait_listening)
from flight import assert_unharmed, move


def killer(m):
    return lambda: os.kill(m.pid, signal.SIGKILL)


def fails_at_home(t):
    """The source noticed, and its guest runs on as if nothing had happened."""
    answer = t.source.wait_migration()
    assert answer["status"] == "failed", answer
    assert answer["error-desc"]
    assert_runs([t.source], [t.target])
    assert_unharmed(t.source)


# ---- a source that dies


@pytest.mark.parametrize("stage", BEFORE_READY)
def test_source_killed_before_ready(trip, machine, stage):
    """The machine died with its process; the destination holds nothing and serves the next."""
    trip.begin(stage, killer(trip.source))
    wait_listening(trip.target)
    assert_runs([], [trip.source, trip.target])
    again = quick_witness(machine, "again")
    move(again, trip.target, trip.direct_uri)
    assert_unharmed(trip.target)


@pytest.mark.parametrize("stage", ["ready", "commit"])
@pytest.mark.parametrize("run", [True, False])
def test_source_killed_before_its_word_arrived(trip, machine, stage, run):
    """The destination cannot know: it waits for a person."""
    trip.begin(stage, killer(trip.source))
    assert_unresolved(trip.target)
    assert_runs([], [trip.source, trip.target])
    resolve(trip.target, run)
    if run:
        assert_runs([trip.target], [trip.source])
        assert_unharmed(trip.target)
        trip.next_move(trip.target)
    else:
        wait_listening(trip.target)
        move(quick_witness(machine, "again"), trip.target, trip.direct_uri)
        assert_unharmed(trip.target)


def test_source_killed_after_the_commit_arrived(trip):
    trip.begin("running", killer(trip.source))
    trip.target.wait_status("running")
    assert_runs([trip.target], [trip.source])
    assert_unharmed(trip.target)
    assert_unharmed(trip.next_move(trip.target))


# ---- a destination that dies


@pytest.mark.parametrize("stage", [*BEFORE_READY, "ready"])
def test_destination_killed_before_the_commit(trip, stage):
    trip.begin(stage, killer(trip.target))
    fails_at_home(trip)
    assert_unharmed(trip.next_move(trip.source))


@pytest.mark.parametrize("stage", ["commit", "running"])
@pytest.mark.parametrize("run", [True, False])
def test_destination_killed_after_the_commit(trip, stage, run):
    """It may have run, for all the source knows: only a person may start the machine here again."""
    trip.begin(stage, killer(trip.target))
    assert_unresolved(trip.source)
    assert_runs([], [trip.source, trip.target])
    resolve(trip.source, run)
    if run:
        assert_runs([trip.source], [trip.target])
        assert_unharmed(trip.source)
        trip.next_move(trip.source)
    else:
        assert trip.source.wait_migration(("failed", "completed"))["status"] == "failed"
        assert trip.source.status() == "postmigrate"
        assert_runs([], [trip.source, trip.target])
        assert trip.source.quit() == 0


# ---- a connection that is cut, or falls silent


@pytest.mark.parametrize("stage", BEFORE_READY)
@pytest.mark.parametrize("act", ["cut", "reset", "silence"])
def test_link_lost_before_ready(trip, stage, act):
    """Nothing was given away; both sides go back to where they were."""
    trip.begin(stage, act)
    fails_at_home(trip)
    trip.proxy.heal()
    wait_listening(trip.target)
    assert_unharmed(trip.next_move(trip.source, trip.target))


@pytest.mark.parametrize("act", ["cut", "silence"])
def test_link_lost_at_ready(trip, act):
    """The source has not committed and goes on; the destination cannot know that."""
    trip.begin("ready", act)
    fails_at_home(trip)
    assert_unresolved(trip.target)
    assert_runs([trip.source], [trip.target])
    trip.proxy.heal()
    resolve(trip.target, False)
    wait_listening(trip.target)
    assert_unharmed(trip.next_move(trip.source, trip.target))


@pytest.mark.parametrize("act", ["cut", "silence"])
def test_link_lost_at_commit(trip, act):
    """Given away, and not arrived: neither may run until they meet again."""
    trip.begin("commit", act)
    assert_unresolved(trip.source)
    assert_unresolved(trip.target)
    assert_runs([], [trip.source, trip.target])
    trip.proxy.heal()
    trip.target.wait_status("running", 10)
    assert trip.source.wait_migration(("completed", "failed"))["status"] == "completed"
    assert trip.source.status() == "postmigrate"
    assert_runs([trip.target], [trip.source])
    assert_unharmed(trip.target)
    trip.next_move(trip.target)


@pytest.mark.parametrize("act", ["cut", "silence"])
def test_link_lost_at_running(trip, act):
    """It runs there; the source may not, and learns why when they meet again."""
    trip.begin("running", act)
    assert_unresolved(trip.source)
    assert_runs([trip.target], [trip.source])
    trip.proxy.heal()
    assert trip.source.wait_migration(("completed", "failed"))["status"] == "completed"
    assert trip.source.status() == "postmigrate"
    assert_runs([trip.target], [trip.source])
    assert_unharmed(trip.target)
    trip.next_move(trip.target)


# ---- and comes back in time: nobody has to decide anything


@pytest.mark.parametrize("stage", ["commit", "running"])
@pytest.mark.parametrize("act", ["reset", "silence"])
def test_link_flaps_after_the_commit(trip, stage, act):
    trip.begin(stage, act)
    trip.proxy.heal(deliver=False)
    assert trip.source.wait_migration(("completed", "failed"))["status"] == "completed"
    assert_runs([trip.target], [trip.source])
    assert_unharmed(trip.target)


def test_link_flaps_at_ready(trip):
    """The source tells the destination that it goes on itself."""
    trip.begin("ready", "reset")
    trip.proxy.heal()
    fails_at_home(trip)
    wait_listening(trip.target)
    assert_unharmed(trip.next_move(trip.source, trip.target))


def test_two_winners_would_be_noticed(machine):
    """The judge itself, before a case that must not happen: two that run at the same time."""
    one, two = quick_witness(machine, "one"), quick_witness(machine, "two")
    with pytest.raises(AssertionError):
        assert_runs([one], [two])
    one.witness.wait("W", after=5)
    two.witness.wait("W", after=5)
    with pytest.raises(AssertionError, match="in turns"):
        assert_never_two(one, two)
