"""Strangers at the -incoming address do not use the listener up, and a second source is told why."""

import os
import socket
import struct
import time

import pytest

from faults import assert_runs, quick_destination, quick_witness
from flight import assert_unharmed, move
from harness.proxy import HEADER, parse_uri

TLS_HELLO = bytes.fromhex("16030100a5010000a10303") + os.urandom(159)
HALF_A_HELLO = HEADER.pack(1, 1, 52) + struct.pack("<Q", 0x544957444F470A0D)
ENDLESS_HELLO = HEADER.pack(1, 1, 1 << 40)

STRANGERS = {
    "silent": b"",
    "garbage": os.urandom(4096),
    "zeros": bytes(64),
    "tls": TLS_HELLO,
    "http": b"GET / HTTP/1.1\r\nHost: vm\r\n\r\n",
    "half-a-hello": HALF_A_HELLO,
    "endless-hello": ENDLESS_HELLO,
}


def call(uri, data=b""):
    family, address = parse_uri(uri)
    s = socket.socket(family)
    s.connect(address)
    try:
        s.sendall(data)
    except OSError:  # it may hang up at the first byte
        pass
    return s


def hang_up(sockets):
    for s in sockets:
        s.close()


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_strangers(machine, tmp_path, transport):
    """All of them, each several times, and still there as the machine comes."""
    target, uri = quick_destination(machine, tmp_path, transport=transport)
    strangers = [call(uri, data) for data in STRANGERS.values() for _ in range(3)]
    for s in strangers[::2]:
        s.close()
    assert target.status() == "inmigrate"
    source = quick_witness(machine)
    strangers += [call(uri, data) for data in STRANGERS.values()]
    move(source, target, uri)
    hang_up(strangers)
    assert_unharmed(target)


def test_fifty_that_stay_silent(machine, tmp_path):
    target, uri = quick_destination(machine, tmp_path)
    source = quick_witness(machine)
    crowd = [call(uri) for _ in range(50)]
    move(source, target, uri)
    hang_up(crowd)
    assert_unharmed(target)


def test_more_than_it_has_room_for(machine, tmp_path):
    """The oldest silent ones make room for whoever comes."""
    target, uri = quick_destination(machine, tmp_path)
    source = quick_witness(machine)
    crowd = [call(uri, HALF_A_HELLO) for _ in range(200)]
    move(source, target, uri)
    hang_up(crowd)
    assert_unharmed(target)


def test_strangers_during_a_migration(machine, tmp_path):
    target, uri = quick_destination(machine, tmp_path)
    source = quick_witness(machine)
    source.set(max_bandwidth=20 << 20)
    source.migrate(uri)
    crowd = [call(uri, data) for data in STRANGERS.values() for _ in range(3)]
    time.sleep(0.3)
    source.set(max_bandwidth=0)
    assert source.wait_migration()["status"] == "completed"
    hang_up(crowd)
    assert_runs([target], [source])
    assert_unharmed(target)


def test_second_source_is_refused(machine, tmp_path):
    """With the reason; the first goes on."""
    target, uri = quick_destination(machine, tmp_path)
    first, second = quick_witness(machine, "first"), quick_witness(machine, "second")
    first.set(max_bandwidth=10 << 20)
    first.migrate(uri)
    target.wait_migration(("active",))
    second.migrate(uri)
    answer = second.wait_migration()
    assert answer["status"] == "failed"
    assert "another migration is arriving here" in answer["error-desc"], answer
    assert second.status() == "running"
    first.set(max_bandwidth=0)
    assert first.wait_migration()["status"] == "completed"
    assert target.status() == "running"
    second.migrate(uri)
    answer = second.wait_migration()
    assert "already runs a machine" in answer["error-desc"], answer
    assert_runs([target], [first])
    assert_unharmed(target)
    assert_unharmed(second)
