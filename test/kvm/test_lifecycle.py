"""What people do to a machine while it moves has the outcome that doc/architecture.md states.

(What a guest does, `stop`, and `quit` at the source: test_migrate.py.)"""

import time

import pytest

from flight import assert_unharmed, destination, move, witness_line
from harness.proxy import SOURCE, Fault
from harness.qmp import QmpError

MIB = 1 << 20
SMALL = {"static": 16, "ws": 4, "rate": 20, "verify_ms": 200, "period_ms": 100, "idle_us": 4000}
COMMANDS = ("stop", "cont", "system_reset", "system_powerdown")


@pytest.fixture
def under_way(machine, tmp_path):
    """(source, destination, URI): the first of them in precopy until max-bandwidth is lifted."""
    source = machine("source", append=witness_line(**SMALL))
    source.witness.wait("READY", 60)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=2 * MIB)
    source.migrate(uri)
    deadline = time.monotonic() + 20
    while source.migration().get("ram", {}).get("transferred", 0) < MIB // 8:
        assert time.monotonic() < deadline, source.migration()
        time.sleep(0.005)
    return source, target, uri


def arrive(source, target):
    source.set(max_bandwidth=0)
    answer = source.wait_migration()
    assert answer["status"] == "completed", answer
    return target.status()


def test_powerdown_presses_the_button(under_way):
    """The witness has no driver for it: a guest that ignores the button moves on."""
    source, target, _ = under_way
    source.qmp.command("system_powerdown")
    source.qmp.wait_event("POWERDOWN")
    assert arrive(source, target) == "running"
    assert_unharmed(target)


def test_stop_and_cont(under_way):
    source, target, _ = under_way
    source.qmp.command("cont")  # it runs already
    source.qmp.command("stop")
    assert source.status() == "paused"
    source.qmp.command("cont")
    assert source.status() == "running"
    assert arrive(source, target) == "running"
    assert_unharmed(target)


def test_reset_by_a_person(under_way):
    """It boots again at the source; wherever that ends, nothing of the old life is left."""
    source, target, _ = under_way
    source.qmp.command("system_reset")
    event = source.qmp.wait_event("RESET")
    assert event["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
    assert arrive(source, target) == "running"
    deadline = time.monotonic() + 60
    while len(source.witness.all("READY")) + len(target.witness.all("READY")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert_unharmed(target)


def test_quit_at_the_destination(under_way, machine, tmp_path):
    source, target, _ = under_way
    assert target.quit() == 0
    answer = source.wait_migration()
    assert answer["status"] == "failed" and answer["error-desc"]
    assert source.status() == "running"
    source.set(max_bandwidth=0)
    there, uri = destination(machine, tmp_path, "next")
    move(source, there, uri)
    assert_unharmed(there)


def test_where_the_machine_is_not(under_way):
    """Neither before it arrived, nor after it left; the texts say which."""
    source, target, _ = under_way
    for command in COMMANDS:
        with pytest.raises(QmpError, match="has not arrived yet"):
            target.qmp.command(command)
    arrive(source, target)
    for command in COMMANDS:
        with pytest.raises(QmpError, match="runs at its destination now"):
            source.qmp.command(command)
    assert_unharmed(target)


def test_between_stop_and_the_end(machine, network, tmp_path):
    """The destination's READY does not come: refused, with where to ask again; then it runs on."""
    source = machine("source", append=witness_line(**SMALL))
    source.witness.wait("READY", 60)
    target, uri = destination(machine, tmp_path)
    proxy = network(uri)
    proxy.arm(Fault("silence", record="ready", towards=SOURCE))
    source.set(ready_timeout=3000, link_timeout=3000, downtime_limit=300)
    source.migrate(proxy.uri)
    proxy.wait()
    for command in COMMANDS:
        with pytest.raises(QmpError, match="query-migrate"):
            source.qmp.command(command)
    assert source.wait_migration()["status"] == "failed"
    assert source.status() == "running"
    assert_unharmed(source)
