"""A source that is killed and started anew, with nothing but its journal: it asks the destination,
and starts the machine only when that says that it never ran there."""

import os
import signal
import time

import pytest

from faults import (Trip, assert_runs, assert_unresolved, quick_witness, resolve, wait_listening)
from flight import assert_unharmed

UUID = "6f1c0a52-8a34-4a55-9d0e-0b5f5a1f7c11"
NAMED = {"args": ["-uuid", UUID]}


class Restart(Trip):
    """The machine has a name that its next process has too."""

    def __init__(self, machine, network, folder):
        super().__init__(machine, network, folder)
        self.source.quit()
        self.source = quick_witness(machine, "named", **NAMED)

    def kill_source(self, stage):
        self.begin(stage, lambda: os.kill(self.source.pid, signal.SIGKILL))
        self.source.process.wait()

    def again(self):
        """The witness's machine, started anew; or the reason why not."""
        said = self.source.folder / "again.stderr"
        said.unlink(missing_ok=True)
        try:
            return quick_witness(self.machine, "again", **NAMED)
        except (RuntimeError, OSError):  # it ended before, or while, QMP was spoken to
            deadline = time.monotonic() + 5
            while "journal" not in said.read_text() and time.monotonic() < deadline:
                time.sleep(0.01)
            return said.read_text()

    def journals(self):
        return sorted(p.name for p in (self.source.folder / "journals").iterdir()
                      if ".source." in p.name)


@pytest.fixture
def restart(machine, network, tmp_path):
    return Restart(machine, network, tmp_path)


def assert_started(r, others=()):
    m = r.again()
    assert not isinstance(m, str), m
    assert r.journals() == []
    assert_runs([m], others)
    return m


def test_killed_before_the_intent(restart):
    restart.kill_source("precopy")
    assert restart.journals() == []
    assert_started(restart, [restart.target])


def test_killed_before_ready(restart):
    """The destination dropped what had arrived, and says so."""
    restart.kill_source("state")
    assert restart.journals() != []
    wait_listening(restart.target)
    assert_started(restart, [restart.target])


def test_killed_before_the_commit_arrived(restart):
    """It waits there for a word: a person gives it up there, and only then it starts here."""
    restart.kill_source("commit")
    assert_unresolved(restart.target)
    refusal = restart.again()
    assert "migrate-resolve" in refusal and restart.proxy.uri in refusal, refusal
    assert_unresolved(restart.target)  # asking has changed nothing
    resolve(restart.target, False)
    wait_listening(restart.target)
    assert_started(restart, [restart.target])


def test_killed_after_the_commit_arrived(restart):
    """It runs there: here it starts when a person has removed the journal, and not before."""
    restart.kill_source("running")
    restart.target.wait_status("running")
    before = restart.journals()
    refusal = restart.again()
    assert f"runs at {restart.proxy.uri}" in refusal, refusal
    assert restart.journals() == before
    assert_runs([restart.target], [])
    assert_unharmed(restart.target)


def test_killed_when_all_was_well(restart):
    """Whoever restarts what was killed must not start a second one."""
    restart.source.migrate(restart.proxy.uri)
    restart.source.wait_migration(("completed",))
    restart.source.wait_status("postmigrate")
    os.kill(restart.source.pid, signal.SIGKILL)
    restart.source.process.wait()
    assert "runs at" in restart.again()
    assert_runs([restart.target], [])


def test_the_destination_cannot_be_asked(restart):
    restart.kill_source("running")
    restart.target.wait_status("running")
    os.kill(restart.target.pid, signal.SIGKILL)
    restart.target.process.wait()
    refusal = restart.again()
    assert "cannot be asked" in refusal, refusal
    folder = restart.source.folder / "journals"
    for name in restart.journals():  # a person's decision
        assert name in refusal or name.endswith(".journal")
        (folder / name).unlink()
    assert_started(restart)


def test_quit_in_good_order_leaves_nothing(restart):
    restart.source.migrate(restart.proxy.uri)
    restart.source.wait_migration(("completed",))
    assert restart.source.quit() == 0
    assert restart.journals() == []
