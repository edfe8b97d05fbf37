"""A link that is cut during precopy suspends the migration, not the guest, whatever way it is sent."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from faults import (Fault, Trip, assert_runs, quick, quick_witness, wait_listening)
from flight import assert_unharmed

RING = ("-accel", "kvm,dirty-ring-size=1024")
CERTS = pathlib.Path(__file__).resolve().parents[1] / "tls-certs"
PATIENCE = {"network_timeout": 10000, "downtime_limit": 300}
SHORT = 1000  # ms of network-timeout where nobody comes back


class Way(Trip):
    """A trip of machines that are started with more arguments; opaque: what passes is encrypted."""

    def __init__(self, machine, network, folder, here=(), there=(), tls=False):
        self.machine, self.folder = machine, folder
        self.source = quick_witness(machine, args=here)
        self.target = quick(machine("destination", incoming="defer", args=there))
        if tls:
            self.source.set(tls_creds="tls0", tls_hostname="alpha.example")
            self.target.set(tls_creds="tls0")
        self.target.qmp.command("migrate-incoming", {"uri": "tcp:127.0.0.1:0"})
        self.direct_uri = self.target.listening_uri()
        self.proxy = network(self.direct_uri)
        self.proxy.opaque = tls
        self.patience()

    def patience(self, **more):
        for m in (self.source, self.target):
            m.set(**{**PATIENCE, **more})

    def suspend(self, act):
        """Returns while there is no link."""
        self.proxy.arm(Fault(act, lane_bytes=2 << 20))
        self.source.migrate(self.proxy.uri)
        self.proxy.wait()
        # Until it is noticed, by link-timeout; connections that are refused are not tried for long.
        time.sleep(2 if act == "silence" else 0.1)
        assert self.source.migration()["status"] == "active"
        assert self.source.status() == "running"

    def arrive(self):
        self.proxy.heal(deliver=False)
        answer = self.source.wait_migration()
        assert answer["status"] == "completed", answer
        assert answer["reconnections"] >= 1, answer
        assert_runs([self.target], [self.source])
        assert_unharmed(self.target)


@pytest.fixture
def way(machine, network, tmp_path):
    return lambda **more: Way(machine, network, tmp_path, **more)


@pytest.mark.parametrize("act", ["reset", "silence"])
def test_goes_on(way, act):
    w = way()
    w.suspend(act)
    w.arrive()


def test_goes_on_with_the_dirty_ring(way):
    w = way(here=RING, there=RING)
    w.suspend("reset")
    w.arrive()


def test_goes_on_compressed_encrypted_with_differences(way, tmp_path):
    subprocess.run([CERTS, tmp_path / "certs"], check=True)
    creds = f"tls-creds-x509,id=tls0,dir={tmp_path}/certs/good,endpoint="
    w = way(here=("-object", creds + "client"), there=("-object", creds + "server"), tls=True)
    w.source.enable("xbzrle")
    w.source.set(multifd_compression="lz4", multifd_channels=2)
    w.suspend("reset")
    w.arrive()


def test_patience_ends(way):
    """network-timeout: the reason is told, the guest runs on, and the next migration succeeds."""
    w = way()
    w.patience(network_timeout=2500)
    w.suspend("silence")
    answer = w.source.wait_migration()
    assert answer["status"] == "failed"
    assert "network-timeout" in answer["error-desc"], answer
    assert_runs([w.source], [w.target])
    w.proxy.heal(deliver=False)
    wait_listening(w.target)
    assert_unharmed(w.next_move(w.source, w.target))


def test_canceled_without_a_link(way):
    w = way()
    w.suspend("silence")
    began = time.monotonic()
    w.source.qmp.command("migrate_cancel")
    assert w.source.wait_migration()["status"] == "cancelled"
    assert time.monotonic() - began < 1
    assert_runs([w.source], [w.target])
    w.proxy.heal()
    assert_unharmed(w.next_move(w.source))


def test_source_killed_without_a_link(way, machine):
    w = way()
    w.patience(network_timeout=SHORT)
    w.suspend("reset")
    w.source.kill()
    wait_listening(w.target)
    w.proxy.heal()
    again = quick_witness(machine, "again")
    assert_unharmed(w.next_move(again, w.target))


def test_destination_killed_without_a_link(way):
    w = way()
    w.patience(network_timeout=SHORT)
    w.suspend("reset")
    w.target.kill()
    w.proxy.heal()
    answer = w.source.wait_migration()
    assert answer["status"] == "failed", answer
    assert_runs([w.source], [w.target])
    assert_unharmed(w.next_move(w.source))


# ---- killed at what is new on the way


@pytest.mark.parametrize("record, towards", [("rehearsal", "destination"), ("digest", "destination")])
@pytest.mark.parametrize("who", ["source", "target"])
def test_killed_at(way, machine, record, towards, who):
    """The rehearsal, and the proof that the memory is the same: before READY nothing is decided."""
    w = way()
    w.patience(network_timeout=SHORT)
    victim = getattr(w, who)
    w.proxy.arm(Fault(lambda: os.kill(victim.pid, signal.SIGKILL), record=record, towards=towards))
    w.source.migrate(w.proxy.uri)
    w.proxy.wait()
    if who == "source":
        wait_listening(w.target)
        again = quick_witness(machine, "again")
        assert_unharmed(w.next_move(again, w.target))
    else:
        assert w.source.wait_migration()["status"] == "failed"
        assert_runs([w.source], [w.target])
        assert_unharmed(w.next_move(w.source))


@pytest.mark.parametrize("who", ["source", "target"])
def test_killed_while_it_waits_to_switch(way, machine, who):
    w = way()
    w.patience(network_timeout=SHORT)
    w.source.enable("pause-before-switchover")
    w.source.migrate(w.proxy.uri)
    w.source.wait_migration(("pre-switchover",))
    getattr(w, who).kill()
    if who == "source":
        wait_listening(w.target)
        again = quick_witness(machine, "again")
        assert_unharmed(w.next_move(again, w.target))
    else:
        assert w.source.wait_migration()["status"] == "failed"
        assert_runs([w.source], [w.target])
        w.source.enable("pause-before-switchover", False)
        assert_unharmed(w.next_move(w.source))


def test_source_killed_during_the_second_look(way):
    """It has completed: the machine lives at the destination, whether it is proven or not."""
    w = way()
    w.source.migrate(w.proxy.uri)
    assert w.source.wait_migration()["status"] == "completed"
    w.source.kill()
    assert_runs([w.target], [w.source])
    assert_unharmed(w.target)
