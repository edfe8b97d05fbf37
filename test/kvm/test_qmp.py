"""QMP on a live machine: shapes, errors, several clients, and how long an answer takes."""

import json
import os
import socket
import time

import pytest

from flight import destination, launch
from harness.qmp import Qmp, QmpError

LIMIT_S = 0.050


def test_greeting_and_no_capabilities_needed(machine):
    m = launch(machine)
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(m.qmp_path))
    f = s.makefile("rw")
    greeting = json.loads(f.readline())["QMP"]
    assert greeting["capabilities"] == []
    assert set(greeting["version"]) == {"Godwit", "package"}
    f.write('{"execute":"query-status"}\n')
    f.flush()
    assert json.loads(f.readline())["return"]["status"] == "running"


def test_every_listed_query_answers(machine):
    m = launch(machine)
    names = [c["name"] for c in m.qmp.command("query-commands")]
    for name in names:
        if name.startswith("query-"):
            m.qmp.command(name)
    for name in ("migrate", "migrate_cancel", "getfd", "stop", "cont", "quit", "system_reset",
                 "system_powerdown", "migrate-incoming", "migrate-set-parameters"):
        assert name in names


def test_errors(machine):
    m = launch(machine)
    with pytest.raises(QmpError, match="CommandNotFound"):
        m.qmp.command("no-such-command")
    with pytest.raises(QmpError, match="uri"):
        m.qmp.command("migrate")
    with pytest.raises(QmpError, match="downtime-limit"):
        m.set(downtime_limit=0)


def test_getfd(machine):
    m = launch(machine)
    r, w = os.pipe()
    m.qmp.command("getfd", {"fdname": "pipe"}, fd=r)
    with pytest.raises(QmpError, match="no file descriptor"):
        m.qmp.command("getfd", {"fdname": "pipe"})
    os.close(r)
    os.close(w)


def test_several_clients_hear_events(machine):
    m = launch(machine)
    others = [Qmp(m.qmp_path) for _ in range(3)]
    m.qmp.command("stop")
    for other in others:
        other.wait_event("STOP")
        other.close()


def latencies(qmp, seconds):
    found = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        qmp.command("query-status")
        found.append(time.monotonic() - began)
        time.sleep(0.002)
    return sorted(found)


def test_answers_at_every_moment(machine, tmp_path):
    """p99 of both sides' answers while a busy machine of two vCPUs moves."""
    source = launch(machine, vcpus=2, memory="1G", static=512, ws=64, rate=200, idle="spin")
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=300 << 20)
    source.migrate(uri)
    found = {"source": [], "destination": []}
    while source.migration()["status"] in ("setup", "active"):
        found["source"] += latencies(source.qmp, 0.2)
        found["destination"] += latencies(target.qmp, 0.2)
    assert source.migration()["status"] == "completed"
    for side, values in found.items():
        values.sort()
        assert len(values) > 50, f"the migration was too short to measure ({side})"
        p99 = values[int(len(values) * 0.99)]
        assert p99 < LIMIT_S, f"{side}: p99 {p99 * 1000:.1f} ms, worst {values[-1] * 1000:.1f} ms"
