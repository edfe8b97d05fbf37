"""The ends of what -m, -smp, -mem-path and -mem-prealloc take."""

import pathlib
import subprocess

import pytest

from flight import assert_unharmed, destination, move, witness_line
from harness import MONITOR, WITNESS
from harness.machine import MORE_ARGUMENTS

OVERCOMMIT = pathlib.Path("/proc/sys/vm/overcommit_memory")
SMALL = {"static": 8, "ws": 4, "rate": 20, "verify_ms": 200, "period_ms": 100, "idle_us": 4000}


def rss_kib(m):
    for line in pathlib.Path(f"/proc/{m.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    raise AssertionError("no Rss")


def maps_in(m, folder):
    return str(folder) in pathlib.Path(f"/proc/{m.pid}/maps").read_text()


def test_mem_path(machine, tmp_path):
    """RAM lies in a file of that folder which has no name, so that nothing stays behind."""
    memory = tmp_path / "memory"
    memory.mkdir()
    here = machine("source", append=witness_line(**SMALL), args=["-mem-path", memory])
    here.witness.wait("READY", 60)
    assert maps_in(here, memory) and list(memory.iterdir()) == []
    for name, args in (("plain", []), ("back", ["-mem-path", memory])):
        there, uri = destination(machine, tmp_path, name, args=args)
        move(here, there, uri)
        assert maps_in(there, memory) == bool(args)
        here.quit()
        here = there
    assert_unharmed(here)


def test_mem_path_that_is_none():
    done = subprocess.run([MONITOR, *MORE_ARGUMENTS, "-kernel", WITNESS, "-serial", "none",
                           "-mem-path", "/no/such/folder"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "/no/such/folder" in done.stderr


def test_mem_prealloc(machine, tmp_path):
    """All of RAM is there from the start, on both sides where both ask for it."""
    source = machine("source", append=witness_line(**SMALL), memory="128M", args=["-mem-prealloc"])
    source.witness.wait("READY", 60)
    assert rss_kib(source) >= 128 << 10
    target, uri = destination(machine, tmp_path, args=["-mem-prealloc"])
    move(source, target, uri)
    assert rss_kib(target) >= 128 << 10
    assert_unharmed(target)


@pytest.mark.skipif(OVERCOMMIT.read_text().strip() == "2", reason="vm.overcommit_memory=2: no memory "
                    "is promised here that is not there")
def test_most_memory(machine):
    """512 GiB, all but 16 MiB of them sparse; the witness uses both ends."""
    m = machine("source", append=witness_line(above4g=1, **SMALL), memory="512G")
    m.witness.wait("READY", 60)
    assert m.witness.last("WITNESS 1")["ram_mib"] >= (512 << 10) - 2
    assert rss_kib(m) < 1 << 20
    assert_unharmed(m)


def test_most_vcpus(machine, tmp_path):
    """254 are made, and their state moves.  They are not started: as they boot they all spin, and
    two cores would be busy for minutes."""
    source = machine("source", vcpus=254, append=witness_line(254, **SMALL), args=["-S"])
    assert len(source.qmp.command("query-cpus-fast")) == 254
    target, uri = destination(machine, tmp_path)
    source.migrate(uri)
    answer = source.wait_migration()
    assert answer["status"] == "completed", answer
    assert target.status() == "paused"
    assert len(target.qmp.command("query-cpus-fast")) == 254
