"""The lab's own arithmetic: it must see gaps and moved clocks where there are some."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from godwit_lab.samples import Samples  # noqa: E402 (the path comes first)

MS = 1_000_000
SECOND = 1000 * MS
BEFORE, AFTER = (0, 3 * SECOND), (4 * SECOND, 7 * SECOND)


def record(jump_ms: float = 0, host_jump_ms: float = 0, gap: tuple[int, int] = (0, 0),
           slow_every: int = 0) -> Samples:
    """Answers each 10 ms for 7 s; what happens, happens at 3.5 s."""
    lines = []
    for i in range(700):
        sent = i * 10 * MS
        late = sent >= 3.5 * SECOND
        # A slow answer's way back is the slow one, as when a host is busy.
        slow = 40 * MS if slow_every and i % slow_every == 0 else 0
        received = sent + 2 * MS + slow
        read = sent + MS
        if not gap[0] <= sent < gap[1]:
            clock = read + 5 * SECOND + int(jump_ms * MS if late else 0)
            lines.append(f"guest {i} {sent} {received} {clock} {clock + 9 * SECOND}")
        lines.append(f"a {i} {sent} {received} 0 {read}")
        lines.append(f"b {i} {sent} {received} 0 {read + int(host_jump_ms * MS)}")
    return Samples("\n".join(lines))


def test_quiet_record_shows_no_move_and_no_gap() -> None:
    samples = record()
    assert samples.longest_silence("guest", 0, 7 * SECOND) == pytest.approx(10, abs=0.1)
    for clock in ("monotonic", "realtime"):
        assert samples.moved("guest", clock, BEFORE, AFTER) == pytest.approx(0)


@pytest.mark.parametrize("jump_ms", [-250, -21, 21, 21_000])
@pytest.mark.parametrize("clock", ["monotonic", "realtime"])
def test_a_jump_is_measured(clock: str, jump_ms: float) -> None:
    moved = record(jump_ms).moved("guest", clock, BEFORE, AFTER)
    assert moved == pytest.approx(jump_ms, abs=0.01)


def test_slow_answers_do_not_look_like_a_moved_clock() -> None:
    moved = record(slow_every=2).moved("guest", "realtime", BEFORE, AFTER)
    assert moved == pytest.approx(0, abs=0.01)


def test_slow_answers_alone_tell_nothing() -> None:
    assert record(slow_every=1).moved("guest", "realtime", BEFORE, AFTER) is None


def test_the_hosts_own_difference_is_not_the_guests() -> None:
    samples = record(jump_ms=7, host_jump_ms=7)
    moved = samples.moved_against_hosts("guest", "realtime", ("a", "b"), BEFORE, AFTER)
    assert moved == pytest.approx(0, abs=0.01)


def test_a_gap_is_measured_to_its_end() -> None:
    samples = record(gap=(2 * SECOND, 2 * SECOND + 300 * MS))
    assert samples.longest_silence("guest", 0, 7 * SECOND) == pytest.approx(310, abs=0.1)


def test_silence_until_the_end_counts() -> None:
    samples = record(gap=(SECOND, 7 * SECOND))
    assert samples.longest_silence("guest", 0, 7 * SECOND) == pytest.approx(6008, abs=0.1)
    assert math.isinf(samples.longest_silence("guest", 2 * SECOND, 7 * SECOND))
    assert samples.moved("guest", "realtime", BEFORE, AFTER) is None
