"""An engine broken through its callbacks is caught by the guest: the proof that the witness proves.

test/fault/broken.c drops one dirty page, or flips one bit of one word of a vCPU's state.
"""

import pytest

from faults import quick_destination, quick_witness
from flight import assert_unharmed, move
from harness import BUILD

BROKEN = BUILD / "test" / "fault" / "broken-vmm"


def fly(machine, folder, by):
    source = quick_witness(machine, env={"BROKEN_BY": by}, monitor=BROKEN)
    target, uri = quick_destination(machine, folder)
    move(source, target, uri)
    return source, target


def test_control(machine, tmp_path):
    """With nothing lost the same program harms nobody."""
    _, target = fly(machine, tmp_path, "")
    assert_unharmed(target)


def test_dropped_page(machine, tmp_path):
    source = quick_witness(machine, env={"BROKEN_BY": "page"}, monitor=BROKEN)
    target, uri = quick_destination(machine, tmp_path)
    source.set(max_bandwidth=4 << 20)  # slow, until there was a dirty page to drop
    source.migrate(uri)
    dropped = int(source.wait_log("dropped page ").split()[0], 16)
    source.set(max_bandwidth=0)
    assert source.wait_migration()["status"] == "completed"
    found = target.witness.wait("BAD", 30)
    assert found["kind"] == "lost", found
    assert found["gpa"] == dropped, (found, dropped)
    assert found["got"] < found["want"]
    target.witness.wait("W", 10, test=lambda w: w["lost"] == 1)
    assert any("lost" in c for c in target.witness.complaints())
    with pytest.raises(AssertionError):
        assert_unharmed(target)


@pytest.mark.parametrize("word,what", [("dr", "dr"), ("msr", "lstar"), ("xmm", "xmm"),
                                       ("lapic", "lapic")])
def test_wrong_word(machine, tmp_path, word, what):
    _, target = fly(machine, tmp_path, word)
    found = target.witness.wait("BAD", 30)
    assert (found["kind"], found["what"]) == ("state", what), found
    assert bin(found["want"] ^ found["got"]).count("1") == 1, found
    target.witness.wait("W", 10, test=lambda w: w["state_bad"] > 0)
    with pytest.raises(AssertionError):
        assert_unharmed(target)
