"""QMP on a live machine: shapes, errors, several clients, and answers while it moves."""

import json
import os
import socket

import pytest

from flight import destination, launch
from harness.qmp import Qmp, QmpError


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
                 "system_powerdown", "migrate-incoming", "migrate-set-parameters",
                 "migrate-set-capabilities", "migrate-continue", "migrate-resolve", "announce-self",
                 "calc-dirty-rate", "set-vcpu-dirty-limit", "cancel-vcpu-dirty-limit"):
        assert name in names


def test_errors(machine):
    m = launch(machine)
    with pytest.raises(QmpError, match="CommandNotFound"):
        m.qmp.command("no-such-command")
    with pytest.raises(QmpError, match="uri"):
        m.qmp.command("migrate")
    with pytest.raises(QmpError, match="downtime-limit"):
        m.set(downtime_limit=0)


def test_a_migration_is_known_as_soon_as_it_is_asked_for(machine):
    """Whoever polls until it is no longer under way must not be told that there is none."""
    m = launch(machine)
    for _ in range(30):
        m.migrate("tcp:127.0.0.1:1")
        assert m.migration()["status"] != "none"
        assert m.wait_migration()["status"] == "failed"


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


def test_answers_throughout_a_migration(machine, tmp_path):
    """On both sides, in every stage (how fast is bench/qmp's to say)."""
    source = launch(machine, vcpus=2, memory="512M", static=256, ws=64, rate=200, idle="spin")
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=150 << 20)
    source.migrate(uri)
    answered = 0
    while source.migration()["status"] in ("setup", "active"):
        assert target.status() in ("inmigrate", "running")
        answered += 1
    assert source.migration()["status"] == "completed"
    assert answered > 20
