"""What QMP offers around a migration: parameters, capabilities, what is told of it and when."""

import re
import time

import pytest

from flight import assert_unharmed, destination, launch, move, together
from harness.qmp import QmpError

MIB = 1 << 20
INT64_MAX = (1 << 63) - 1
NUMBERS = {  # name: default, least, most
    "announce-initial": (50, 1, 550),  # not more than announce-max
    "announce-max": (550, 50, 100000),
    "announce-rounds": (5, 0, 1000),
    "announce-step": (100, 0, 10000),
    "avail-switchover-bandwidth": (0, 0, INT64_MAX),
    "cpu-throttle-increment": (10, 1, 99),
    "cpu-throttle-initial": (20, 1, 99),
    "deadline": (0, 0, 31536000),
    "downtime-limit": (100, 1, 2000000),
    "handover-timeout": (15000, 100, 3600000),
    "link-timeout": (10000, 100, 3600000),
    "max-bandwidth": (0, 0, INT64_MAX),
    "max-cpu-throttle": (99, 20, 99),
    "max-slowdown": (30, 0, 99),
    "multifd-channels": (0, 0, 64),
    "multifd-zstd-level": (1, 1, 20),
    "network-timeout": (30000, 100, 3600000),
    "ready-timeout": (5000, 100, 3600000),
    "vcpu-dirty-limit": (1, 1, 1 << 20),
    "xbzrle-cache-size": (64 * MIB, 1 << 16, 1 << 40),
}
OTHERS = {  # name: default, another, refused
    "multifd-compression": ("auto", "lz4", "zlib"),
    "on-timeout": ("continue", "cancel", "postcopy"),
    "tls-authz": ("", "", "authz0"),
    "tls-creds": ("", "tls0", "x" * 256),
    "tls-hostname": ("", "host-b", "x" * 256),
    "verify-ram": (True, False, 1),
}
CAPABILITIES = {"auto-converge": False, "dirty-limit": False, "events": True, "multifd": True,
                "pause-before-switchover": False, "return-path": True, "validate-uuid": False,
                "xbzrle": False}


def parameters(m):
    return m.qmp.command("query-migrate-parameters")


def set_one(m, name, value):
    m.qmp.command("migrate-set-parameters", {name: value})


def capabilities(m):
    return {c["capability"]: c["state"] for c in m.qmp.command("query-migrate-capabilities")}


def switch(m, **states):
    m.qmp.command("migrate-set-capabilities", {"capabilities": [
        {"capability": name.replace("_", "-"), "state": state} for name, state in states.items()]})


@pytest.fixture
def idle(machine):
    """A monitor to ask: it waits for a machine."""
    return machine("idle", incoming="defer")


# ---- parameters

def test_defaults(idle):
    expected = {name: values[0] for name, values in (NUMBERS | OTHERS).items()}
    assert parameters(idle) == expected


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number(idle, name):
    default, least, most = NUMBERS[name]
    for good in (least, most, default):
        set_one(idle, name, good)
        assert parameters(idle)[name] == good
    for bad in [least - 1] + [most + 1] * (most < INT64_MAX):
        with pytest.raises(QmpError) as refused:
            set_one(idle, name, bad)
        assert name in refused.value.desc and str(bad) in refused.value.desc
        assert re.search(r"\b(must be|must not be)\b", refused.value.desc)
    for bad in ("1", 1.5, True, None):
        with pytest.raises(QmpError, match=f"'{name}', expected: integer"):
            set_one(idle, name, bad)
    assert parameters(idle)[name] == default


@pytest.mark.parametrize("name", OTHERS)
def test_a_word_or_a_switch(idle, name):
    default, other, bad = OTHERS[name]
    set_one(idle, name, other)
    assert parameters(idle)[name] == other
    for wrong in (bad, 7):
        with pytest.raises(QmpError, match=name):
            set_one(idle, name, wrong)
        assert parameters(idle)[name] == other
    set_one(idle, name, None if default == "" else default)  # texts: null unsets
    assert parameters(idle)[name] == default


def test_all_or_nothing(idle):
    before = parameters(idle)
    with pytest.raises(QmpError, match="'no-such-parameter'"):
        idle.qmp.command("migrate-set-parameters",
                         {"downtime-limit": 7, "no-such-parameter": 1, "deadline": 5})
    with pytest.raises(QmpError, match="max-slowdown"):
        idle.qmp.command("migrate-set-parameters", {"downtime-limit": 7, "max-slowdown": 100})
    assert parameters(idle) == before
    idle.qmp.command("migrate-set-parameters", before)  # what is told can be set
    assert parameters(idle) == before


def test_set_during_a_migration(machine, tmp_path):
    """Each is taken; the last, which lets the machine go, has its effect."""
    source = launch(machine, static=64)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=4 * MIB)
    source.migrate(uri)
    source.wait_migration(("active",))
    for name, (default, least, most) in NUMBERS.items():
        if name != "max-bandwidth":
            set_one(source, name, most)
            assert parameters(source)[name] == most
            set_one(source, name, default)
    assert source.migration()["status"] == "active"
    source.set(max_bandwidth=0)
    assert source.wait_migration()["status"] == "completed"
    assert_unharmed(target)


# ---- capabilities

def test_capabilities(idle):
    assert capabilities(idle) == CAPABILITIES
    for name, state in CAPABILITIES.items():
        if name in ("return-path", "dirty-limit"):
            continue
        for new in (not state, state):
            switch(idle, **{name: new})
            assert capabilities(idle) == CAPABILITIES | {name: new}


@pytest.mark.parametrize("name,state,text", [
    ("return-path", False, "return-path"),
    ("dirty-limit", True, "-accel kvm,dirty-ring-size="),
    ("postcopy-ram", True, "postcopy-ram"),
    ("zero-copy-send", True, "zero-copy-send"),
    ("no-such-thing", False, "no capability 'no-such-thing'"),
])
def test_capabilities_refused(idle, name, state, text):
    with pytest.raises(QmpError) as refused:
        switch(idle, xbzrle=True, **{name: state})
    assert text in refused.value.desc
    assert capabilities(idle) == CAPABILITIES
    switch(idle, postcopy_ram=False)  # off it is


def test_dirty_limit_needs_the_ring(machine):
    m = machine("idle", incoming="defer", args=["-accel", "kvm,dirty-ring-size=4096"])
    switch(m, dirty_limit=True)
    assert capabilities(m) == CAPABILITIES | {"dirty-limit": True}


def test_without_events(machine, tmp_path):
    source = launch(machine)
    switch(source, events=False)
    target, uri = destination(machine, tmp_path)
    move(source, target, uri)
    target.qmp.wait_event("MIGRATION")
    assert "MIGRATION" in [e["event"] for e in target.qmp.poll_events()]
    assert [e["event"] for e in source.qmp.poll_events()] == ["STOP"]


def test_one_lane_without_multifd(machine, tmp_path):
    source = launch(machine)
    source.set(multifd_channels=4)
    switch(source, multifd=False)
    target, uri = destination(machine, tmp_path)
    assert move(source, target, uri)["channels"] == 1


UUIDS = ("6d0d2b4a-1c5f-4f0c-9f57-1d8f4d2d9a01", "6d0d2b4a-1c5f-4f0c-9f57-1d8f4d2d9a02")


@pytest.mark.parametrize("given,texts", [(["-uuid", UUIDS[1]], UUIDS), ([], (UUIDS[0], "-uuid"))],
                         ids=["another", "none"])
def test_validate_uuid(machine, tmp_path, given, texts):
    source = launch(machine, args=["-uuid", UUIDS[0]])
    target, uri = destination(machine, tmp_path, args=given)
    switch(target, validate_uuid=True)
    source.migrate(uri)
    answer = source.wait_migration()
    assert answer["status"] == "failed"
    for text in texts:
        assert text in answer["error-desc"]
    target.quit()
    target, uri = destination(machine, tmp_path, "same", args=["-uuid", UUIDS[0]])
    switch(target, validate_uuid=True)
    move(source, target, uri)


# ---- what is told

RAM = {"transferred": int, "remaining": int, "total": int, "duplicate": int, "skipped": int,
       "normal": int, "normal-bytes": int, "page-size": int, "mbps": float,
       "pages-per-second": int, "dirty-pages-rate": int, "dirty-sync-count": int,
       "dirty-sync-missed-zero-copy": int, "precopy-bytes": int, "downtime-bytes": int,
       "postcopy-bytes": int, "postcopy-requests": int, "multifd-bytes": int}
DELTA = {"cache-size": int, "bytes": int, "pages": int, "cache-hit": int, "cache-miss": int,
         "cache-miss-rate": float, "encoding-rate": float, "overflow": int}
COMPRESSION = {"pages": int, "busy": int, "busy-rate": float, "compressed-size": int,
               "compression-rate": float}
ROUND = {"start-us": int, "duration-us": int, "dirty-bytes": int, "sent-bytes": int,
         "dirty-rate": int, "bandwidth": int, "predicted-downtime-us": int, "throttle": int}
LANE = {"bytes": int, "pages": int, "blocked-us": int, "compression": str}
DECISION = {"at-ms": int, "what": str, "why": str}
PHASES = {f"{p}-us": int for p in ("pause", "drain", "last-pages", "state", "commit", "resume")}
COMPLETED = {"id": str, "peer": str, "status": str, "stage": str, "total-time": int,
             "setup-time": int, "downtime": int, "downtime-us": int, "expected-downtime": int, "expected-downtime-us": int,
             "bandwidth": int, "channels": int, "reconnections": int, "state-bytes": int,
             "ram": dict, "xbzrle-cache": dict, "compression": dict, "stages": list,
             "rounds": list, "lanes": list, "decisions": list, "phases": dict,
             "prediction": dict, "verified": str, "progress": int}


def assert_shape(o, shape):
    assert {k: type(o.get(k)) for k in shape} == shape


def assert_told(answer):
    assert_shape(answer, COMPLETED)
    assert set(answer["ram"]) == set(RAM)
    assert_shape(answer["ram"], RAM)
    assert_shape(answer["xbzrle-cache"], DELTA)
    assert_shape(answer["compression"], COMPRESSION)
    assert_shape(answer["phases"], PHASES)
    assert_shape(answer["prediction"], {"downtime-us": int, "total-ms": int})
    for items, shape in (("rounds", ROUND), ("lanes", LANE), ("decisions", DECISION)):
        for item in answer[items]:
            assert_shape(item, shape)


def test_everything_is_told(machine, tmp_path):
    source, target, answer = together(machine, tmp_path, static=64)
    assert_told(answer)
    assert_told(target.migration())
    ram = answer["ram"]
    assert ram["normal-bytes"] == ram["normal"] * ram["page-size"] >= 64 * MIB
    assert ram["precopy-bytes"] + ram["downtime-bytes"] == ram["transferred"]
    assert answer["progress"] == target.migration()["progress"] == 100
    assert "the machine has moved away" in answer["blocked-reasons"][0]
    assert "blocked-reasons" not in target.migration()
    assert [s["stage"] for s in answer["stages"]] == ["hello", "manifest", "precopy", "stop",
                                                      "state", "ready", "commit", "running", "done"]


def test_nothing_to_tell(machine, idle):
    assert idle.migration() == {"status": "none", "blocked-reasons":
                                ["there is no machine here to migrate yet"]}
    assert launch(machine).migration() == {"status": "none"}


def test_progress_never_runs_backwards(machine, tmp_path):
    """While the guest writes as fast as the link is, and what remains goes up and down."""
    source = launch(machine, static=32, ws=32, rate=100)
    _, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=100 * MIB, downtime_limit=1, max_slowdown=0)
    source.migrate(uri)
    seen, remaining, until = [], [], time.monotonic() + 2
    while time.monotonic() < until:
        answer = source.migration()
        assert answer["status"] in ("setup", "active"), answer
        seen.append(answer["progress"])
        remaining.append(answer["ram"]["remaining"])
    assert seen == sorted(seen) and 0 < seen[-1] < 100
    assert any(later > before for before, later in zip(remaining, remaining[1:]))
    source.set(max_bandwidth=0, downtime_limit=1000)
    assert source.wait_migration()["status"] == "completed"
    assert source.migration()["progress"] == 100


def test_events_come_in_order(machine, tmp_path):
    source, target, answer = together(machine, tmp_path)
    seen = [(e["event"], e.get("data", {})) for e in source.qmp.poll_events()]
    order = [name if name != "MIGRATION" else data["status"] for name, data in seen
             if not name.startswith("MIGRATION_")]
    assert order == ["setup", "active", "STOP", "completed"]
    passes = [data["pass"] for name, data in seen if name == "MIGRATION_PASS"]
    assert passes == list(range(passes[0], passes[0] + len(passes)))
    assert passes[-1] == answer["ram"]["dirty-sync-count"]
    decisions = [data for name, data in seen if name == "MIGRATION_DECISION"]
    assert len(decisions) == len(answer["decisions"]) and decisions[-1]["what"] == "switch"
    for event, decision in zip(decisions, answer["decisions"]):
        assert decision.items() <= event.items()
    assert {data["id"] for name, data in seen if name.startswith("MIGRATION")} == {answer["id"]}
    assert target.migration()["id"] == answer["id"]
    assert f"{answer['id']}: completed" in source.log_text()
    assert f"{answer['id']}: completed" in target.log_text()


# ---- pause-before-switchover

def go_on(m, state="pre-switchover"):
    m.qmp.command("migrate-continue", {"state": state})


def held(machine, tmp_path):
    """A machine that waits for the word, paused."""
    source = launch(machine)
    target, uri = destination(machine, tmp_path)
    switch(source, pause_before_switchover=True)
    source.migrate(uri)
    answer = source.wait_migration(("pre-switchover", "failed", "completed"))
    assert answer["status"] == "pre-switchover", answer
    return source, target


def test_pause_before_switchover(machine, tmp_path):
    source, target = held(machine, tmp_path)
    seen = len(source.witness.all("W"))
    time.sleep(0.3)
    assert source.migration()["status"] == "pre-switchover"
    assert len(source.witness.all("W")) <= seen + 1
    assert target.status() == "inmigrate"
    with pytest.raises(QmpError, match="must be pre-switchover, not 'active'"):
        go_on(source, "active")
    go_on(source)
    assert source.wait_migration()["status"] == "completed"
    with pytest.raises(QmpError, match="waits in pre-switchover"):
        go_on(source)
    states = [e["data"]["status"] for e in source.qmp.poll_events() if e["event"] == "MIGRATION"]
    assert states[:3] == ["setup", "active", "pre-switchover"] and states[-1] == "completed"
    assert_unharmed(target)


def test_cancelled_before_the_switchover(machine, tmp_path):
    source, target = held(machine, tmp_path)
    source.qmp.command("migrate_cancel")
    assert source.wait_migration()["status"] == "cancelled"
    assert source.status() == "running"
    assert_unharmed(source)
    switch(source, pause_before_switchover=False)
    move(source, target, target.listening_uri())


# ---- commands that are refused

def test_resolve_needs_something_to_resolve(machine, idle):
    with pytest.raises(QmpError, match="source or destination, not 'me'"):
        idle.qmp.command("migrate-resolve", {"winner": "me"})
    for m in (idle, launch(machine)):
        with pytest.raises(QmpError, match="no migration to resolve"):
            m.qmp.command("migrate-resolve", {"winner": "source"})


def test_continue_needs_one_that_waits(machine, idle):
    for m in (idle, launch(machine)):
        with pytest.raises(QmpError, match="waits in pre-switchover"):
            go_on(m)


def test_tls_is_never_forgotten(machine, tmp_path):
    """Credentials that are not there: nothing goes in the clear instead."""
    source = launch(machine)
    source.set(tls_creds="tls0")
    with pytest.raises(QmpError, match="tls0"):
        source.migrate(f"unix:{tmp_path}/nobody")


def test_announce_self_refuses(machine, idle):
    m = launch(machine)
    with pytest.raises(QmpError, match="not arrived"):
        idle.qmp.command("announce-self")
    with pytest.raises(QmpError, match="announce-rounds must be 0 to 1000"):
        m.qmp.command("announce-self", {"rounds": 1001})
    with pytest.raises(QmpError, match="'net7'"):
        m.qmp.command("announce-self", {"interfaces": ["net7"]})
    m.qmp.command("announce-self", {"initial": 1, "max": 1, "rounds": 1, "step": 1, "id": "x"})
