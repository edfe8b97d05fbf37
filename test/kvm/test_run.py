"""A machine runs: it boots, works on all its vCPUs and memory, answers, resets and ends."""

import time

import pytest

from flight import assert_unharmed, launch, witness_line


@pytest.mark.parametrize("board", ["q35", "microvm"])
def test_boots_and_works(machine, board):
    m = launch(machine, args=["-machine", board])
    assert m.status() == "running"
    assert_unharmed(m)


@pytest.mark.parametrize("vcpus", [2, 4, 32])
def test_every_vcpu_works(machine, vcpus):
    m = launch(machine, vcpus=vcpus, memory="512M", static=64, ws=64)
    last = m.witness.wait("W", test=lambda w: w["alive"] == vcpus)
    assert last["vcpus"] == vcpus
    assert len(m.qmp.command("query-cpus-fast")) == vcpus


def test_memory_above_4g(machine):
    m = launch(machine, memory="6G", above4g=1)
    config = m.witness.last("WITNESS 1")
    assert config["high_mib"] == 6144 - 2048
    assert_unharmed(m)


def test_stop_and_cont(machine):
    m = launch(machine)
    m.qmp.command("stop")
    assert m.status() == "paused"
    lines = len(m.witness.lines())
    time.sleep(0.5)
    assert len(m.witness.lines()) == lines, "a stopped machine printed"
    m.qmp.command("cont")
    assert_unharmed(m)


def test_starts_paused(machine):
    m = machine("paused", append=witness_line(), args=["-S"])
    assert m.status() == "prelaunch"
    assert not m.witness.lines()
    m.qmp.command("cont")
    m.witness.wait("READY")


def test_reset_boots_again(machine):
    m = launch(machine)
    m.qmp.command("system_reset")
    m.witness.wait("READY", after=1)
    assert m.qmp.wait_event("RESET")["data"]["guest"] is False


def test_guest_reset(machine):
    m = launch(machine, reset_ms=1500)
    m.witness.wait("READY", after=1)
    assert m.qmp.wait_event("RESET")["data"]["guest"] is True


def test_no_reboot_ends_instead(machine):
    m = launch(machine, args=["-no-reboot"], reset_ms=1000)
    assert m.process.wait(20) == 0


def test_guest_poweroff_ends_the_monitor(machine):
    m = launch(machine, off_ms=1000)
    assert m.process.wait(20) == 0


def test_quit(machine):
    m = launch(machine)
    assert m.quit() == 0


def test_sandbox_off(machine):
    m = launch(machine, args=["-sandbox", "off"])
    assert_unharmed(m)


def test_threads_are_named(machine):
    m = launch(machine, vcpus=2)
    names = set()
    import pathlib
    for task in pathlib.Path(f"/proc/{m.pid}/task").iterdir():
        names.add((task / "comm").read_text().strip())
    assert {"vcpu-0", "vcpu-1"} <= names
