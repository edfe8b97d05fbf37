"""The record that both sides leave of a migration, and its picture."""

import json
import subprocess
import time
import xml.etree.ElementTree

import pytest
from flight import witness_line
from harness import BUILD

DRAW = BUILD / "src" / "cmd" / "draw" / "godwit-draw"
SVG = "{http://www.w3.org/2000/svg}"


def records(machine):
    folder = machine.folder / "journals" / "records"
    return {p.name: json.loads(p.read_text()) for p in folder.glob("*.json")}


def proven_records(source, count=2, timeout=20):
    """Those of a migration that went well, once memory has been compared."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = records(source)
        verdicts = [r["migration"]["verified"] for r in found.values()]
        if len(found) == count and verdicts == ["identical"] * count:
            return found
        time.sleep(0.02)
    raise AssertionError(records(source))


@pytest.fixture
def moved(machine):
    """A pair between which a machine has just moved."""
    source = machine("source", append=witness_line(1, static=64, ws=16, rate=50), memory="256M")
    target = machine("target", incoming="tcp:127.0.0.1:0")
    source.witness.wait("READY", 60)
    source.migrate(target.listening_uri())
    assert source.wait_migration()["status"] == "completed"
    target.wait_status("running")
    return source, target


def test_both_sides_leave_one_under_the_same_id(moved):
    source, _target = moved
    identity = source.migration()["id"]
    found = proven_records(source)
    assert set(found) == {f"{identity}-source.json", f"{identity}-destination.json"}
    ours, theirs = found[f"{identity}-source.json"], found[f"{identity}-destination.json"]
    assert (ours["format"], ours["role"], theirs["role"]) == (1, "source", "destination")
    assert ours["machine"] == theirs["machine"]
    m = ours["migration"]
    assert m["status"] == "completed" and m["verified"] == "identical"
    assert sum(r["sent-bytes"] for r in m["rounds"]) <= m["ram"]["transferred"]
    assert m["rounds"][0]["sent-bytes"] > 64 << 20
    assert m["rounds"] == sorted(m["rounds"], key=lambda r: r["start-us"])
    # Half a round trip is an estimate; all else was measured.
    assert 0 < m["blackout-us"] <= m["downtime-us"] + m["rtt-us"]
    assert all(0 <= us <= m["downtime-us"] + m["rtt-us"] for us in m["phases"].values())
    assert sum(m["phases"].values()) >= m["blackout-us"] / 2


def test_the_picture_shows_every_round_and_decision(moved, tmp_path):
    source, _target = moved
    proven_records(source)
    path = next((source.folder / "journals" / "records").glob("*-source.json"))
    subprocess.run([DRAW, path, tmp_path / "out.svg"], check=True)
    root = xml.etree.ElementTree.parse(tmp_path / "out.svg").getroot()
    m = json.loads(path.read_text())["migration"]
    bars = [r for r in root.iter(SVG + "rect") if r.get("class", "").startswith("sent")]
    assert len(bars) == len(m["rounds"])
    texts = " ".join(t.text for t in root.iter(SVG + "text"))
    assert m["id"] in texts
    for decision in m["decisions"]:
        assert decision["why"] in texts


def test_a_migration_that_failed_says_why(machine):
    source = machine("source", append=witness_line(1, static=16, ws=16, rate=50), memory="256M")
    target = machine("target", incoming="tcp:127.0.0.1:0", args=("-m", "512M"))
    source.witness.wait("READY", 60)
    source.migrate(target.listening_uri())
    answer = source.wait_migration()
    assert answer["status"] == "failed"
    source.qmp.command("query-status")  # the record is written before the next answer
    (record,) = [r for r in records(source).values() if r["role"] == "source"]
    assert record["migration"]["status"] == "failed"
    assert record["migration"]["error-desc"] == answer["error-desc"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 2, "migration": {}}', "\0" * 64,
                                  '{"format": 1, "migration": 5}'])
def test_what_is_no_record_is_refused_in_words(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    done = subprocess.run([DRAW, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and str(path) in done.stderr and not done.stdout


def test_strange_numbers_do_not_hurt_the_picture(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"format": 1, "migration": {
        "status": "<failed> & so", "total-time": -5, "rounds": [{"start-us": 1e300}] * 300 + [7],
        "decisions": [{"what": "x" * 999, "why": None}] * 70, "phases": {"pause-us": "no"}}}))
    done = subprocess.run([DRAW, path], capture_output=True, text=True, check=True)
    xml.etree.ElementTree.fromstring(done.stdout)
    assert "nan" not in done.stdout and "inf" not in done.stdout


def test_who_quits_after_it_waits_for_the_verdict(machine):
    source = machine("source", append=witness_line(1, static=400, ws=16, rate=50), memory="640M")
    target = machine("target", incoming="tcp:127.0.0.1:0")
    source.witness.wait("READY", 60)
    source.migrate(target.listening_uri())
    assert source.wait_migration()["status"] == "completed"
    assert source.quit() == 0
    proven_records(source)


def test_a_destination_that_quits_leaves_one(machine):
    source = machine("source", append=witness_line(1, static=64, ws=16, rate=50), memory="256M")
    target = machine("target", incoming="tcp:127.0.0.1:0")
    source.witness.wait("READY", 60)
    source.set(max_bandwidth=4 << 20)
    source.migrate(target.listening_uri())
    source.wait_migration(("active",))
    identity = source.migration()["id"]
    assert target.quit() == 0
    found = records(target)[f"{identity}-destination.json"]
    assert found["migration"]["status"] == "failed"
    assert found["machine"]["uuid"] and source.wait_migration()["status"] == "failed"


def test_who_quits_leaves_one(machine):
    source = machine("source", append=witness_line(1, static=64, ws=16, rate=50), memory="256M")
    target = machine("target", incoming="tcp:127.0.0.1:0")
    source.witness.wait("READY", 60)
    source.set(max_bandwidth=4 << 20)
    source.migrate(target.listening_uri())
    identity = source.migration()["id"]
    assert source.quit() == 0
    assert records(source)[f"{identity}-source.json"]["migration"]["status"] == "cancelled"
