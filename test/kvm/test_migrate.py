"""A machine moves while it runs, and its guest proves that nothing happened to it."""

import time

import pytest

from flight import assert_unharmed, destination, launch, move, together, witness_line
from harness.qmp import QmpError

SPECIFICATIONS = [(2, "8G"), (4, "8G"), (4, "16G"), (8, "16G"), (16, "32G"), (32, "64G")]


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_moves(machine, tmp_path, transport):
    source, target, answer = together(machine, tmp_path, transport, vcpus=1)
    ram = answer["ram"]
    assert ram["transferred"] > 32 << 20
    assert ram["dirty-sync-count"] >= 1
    assert ram["remaining"] == 0
    assert answer["downtime"] <= answer["total-time"]
    assert_unharmed(target)
    assert source.witness.complaints() == []


@pytest.mark.parametrize("vcpus,memory", SPECIFICATIONS)
def test_specifications(machine, tmp_path, vcpus, memory):
    """The mission's sizes; RAM the guest does not touch is sparse on both sides."""
    _, target, answer = together(machine, tmp_path, vcpus=vcpus, memory=memory, static=64, ws=64,
                                 rate=16, above4g=1, idle_us=20000, verify_ms=4000)
    assert_unharmed(target, rounds=1, timeout=150)
    assert answer["ram"]["transferred"] < 2 << 30


def test_there_and_back_again(machine, tmp_path):
    here = launch(machine, vcpus=2)
    for trip in range(4):
        there, uri = destination(machine, tmp_path, f"stop{trip}", "unix" if trip % 2 else "tcp")
        move(here, there, uri)
        assert here.quit() == 0
        here = there
    assert_unharmed(here)


def test_fifty_in_a_row(machine, tmp_path):
    here = launch(machine, vcpus=2, static=64, ws=32, rate=100)
    for trip in range(50):
        there, uri = destination(machine, tmp_path, f"stop{trip}", "unix" if trip % 2 else "tcp")
        move(here, there, uri)
        assert here.witness.complaints() == []
        here.quit()
        here = there
    assert_unharmed(here)


def test_paused_arrives_paused(machine, tmp_path):
    source = launch(machine)
    source.qmp.command("stop")
    target, uri = destination(machine, tmp_path)
    source.migrate(uri)
    assert source.wait_migration()["status"] == "completed"
    assert target.status() == "paused"
    target.qmp.command("cont")
    assert_unharmed(target)


def test_paused_moves_twice_and_time_stands_still(machine, tmp_path):
    source = launch(machine)
    clock = source.witness.wait("W")["clock_us"]
    began = time.monotonic()
    source.qmp.command("stop")
    stopped = time.monotonic()
    for name in ("first", "second"):
        target, uri = destination(machine, tmp_path, name)
        source.migrate(uri)
        assert source.wait_migration()["status"] == "completed"
        source = target
        time.sleep(2)
    paused = time.monotonic() - stopped
    source.qmp.command("cont")
    passed = (source.witness.wait("W")["clock_us"] - clock) / 1e6
    elapsed = time.monotonic() - began
    assert passed < elapsed - paused / 2, "the guest's clock ran while it was paused"
    assert_unharmed(source)


def test_stop_during_migration_arrives_paused(machine, tmp_path):
    source = launch(machine, static=64)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=40 << 20)
    source.migrate(uri)
    time.sleep(0.3)
    source.qmp.command("stop")
    source.set(max_bandwidth=0)
    assert source.wait_migration()["status"] == "completed"
    assert target.status() == "paused"
    target.qmp.command("cont")
    assert_unharmed(target)


def test_guest_reset_during_migration(machine, tmp_path):
    source = launch(machine, static=64, reset_ms=1200)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=30 << 20)
    source.migrate(uri)
    source.qmp.wait_event("RESET")
    source.set(max_bandwidth=0)
    answer = source.wait_migration()
    assert answer["status"] == "completed", answer
    assert target.status() == "running"
    # rebooted at the source or, from the kernel that travelled, at the destination
    target.witness.wait("W", 60)


def test_guest_resets_at_the_destination(machine, tmp_path):
    """Nobody there has its kernel file: it came with the machine."""
    _, target, _ = together(machine, tmp_path)
    target.qmp.command("system_reset")
    target.witness.wait("READY")
    assert_unharmed(target)


def test_guest_poweroff_during_migration(machine, tmp_path):
    source = launch(machine, static=64, off_ms=1500)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=10 << 20)
    source.migrate(uri)
    assert source.process.wait(20) == 0
    target.wait_status("inmigrate")
    assert target.alive()


def test_quit_during_migration(machine, tmp_path):
    source = launch(machine, static=64)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=10 << 20)
    source.migrate(uri)
    time.sleep(0.3)
    assert source.quit() == 0
    again = launch(machine, "again", static=16)
    move(again, target, uri)
    assert_unharmed(target)


def test_cancel_then_migrate(machine, tmp_path):
    source = launch(machine, static=64)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=20 << 20)
    source.migrate(uri)
    time.sleep(0.5)
    began = time.monotonic()
    source.qmp.command("migrate_cancel")
    answer = source.wait_migration()
    assert answer["status"] == "cancelled"
    assert time.monotonic() - began < 1.0
    assert source.status() == "running"
    assert_unharmed(source)
    source.set(max_bandwidth=0)
    move(source, target, uri)
    assert_unharmed(target)


def test_refused_with_every_reason(machine, tmp_path):
    source = launch(machine, vcpus=2, memory="512M")
    target, uri = destination(machine, tmp_path, args=["-m", "256M", "-smp", "1"])
    source.migrate(uri)
    answer = source.wait_migration()
    assert answer["status"] == "failed"
    assert "-m: 512 MiB at the source, 256 MiB here" in answer["error-desc"]
    assert "-smp: 2 at the source, 1 here" in answer["error-desc"]
    assert source.status() == "running"
    assert_unharmed(source)


def test_full_command_line_destination(machine, tmp_path):
    """As StratoVirt and QEMU need it: accepted, and checked."""
    source = launch(machine, vcpus=2)
    target = machine("destination", append=witness_line(2), vcpus=2, incoming="tcp:127.0.0.1:0")
    move(source, target, target.listening_uri())
    assert_unharmed(target)


def test_incoming_defer(machine, tmp_path):
    source = launch(machine)
    target = machine("destination", incoming="defer")
    target.qmp.command("migrate-incoming", {"uri": f"unix:{tmp_path}/later"})
    move(source, target, f"unix:{tmp_path}/later")
    assert_unharmed(target)


def test_nobody_listens(machine):
    source = launch(machine)
    source.migrate("tcp:127.0.0.1:1")
    answer = source.wait_migration()
    assert answer["status"] == "failed"
    assert "127.0.0.1" in answer["error-desc"] and "refused" in answer["error-desc"]
    assert_unharmed(source)


def test_destination_is_sparse(machine, tmp_path):
    """Memory the guest never touched is not allocated where it arrives."""
    _, target, _ = together(machine, tmp_path, memory="4G", static=16, ws=16)
    rss = 0
    for line in open(f"/proc/{target.pid}/smaps_rollup"):
        if line.startswith("Rss:"):
            rss = int(line.split()[1])
    assert rss < 400 << 10, f"{rss} KiB resident of a 4 GiB machine with 32 MiB of data"


def test_one_migration_at_a_time(machine, tmp_path):
    source = launch(machine, static=64)
    _, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=10 << 20)
    source.migrate(uri)
    with pytest.raises(QmpError, match="under way"):
        source.migrate(uri)
    source.qmp.command("migrate_cancel")
    assert source.wait_migration()["status"] == "cancelled"


def test_events(machine, tmp_path):
    source, target, _ = together(machine, tmp_path)
    seen = [e["event"] for e in source.qmp.poll_events()]
    assert "MIGRATION_PASS" in seen and "STOP" in seen
    states = [e["data"]["status"] for e in source.qmp.events if e["event"] == "MIGRATION"]
    assert states == ["setup", "active", "completed"]
    assert all({"seconds", "microseconds"} == set(e["timestamp"]) for e in source.qmp.events)
    target.qmp.wait_event("RESUME")
