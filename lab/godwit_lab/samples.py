"""What the probe on the store recorded, and what it says about gaps and clocks.

All times are in nanoseconds. The store's monotonic clock is the ruler: it is neither set nor
paused, so whatever moves against it is the other side.
"""

from dataclasses import dataclass
from statistics import median

MILLISECOND = 1_000_000
PROMPT = 20 * MILLISECOND        # a round trip that bounds the error of an offset well enough
ENOUGH = 25                      # answers for one offset


@dataclass(frozen=True)
class Sample:
    """One answered question."""

    sent: int
    received: int
    monotonic: int
    realtime: int

    @property
    def round_trip(self) -> int:
        return self.received - self.sent

    def offset(self, clock: str) -> float:
        """How far the answerer's clock is ahead of the ruler."""
        return getattr(self, clock) - (self.sent + self.received) / 2


class Samples:
    """The answers of each machine, in the order in which they came."""

    def __init__(self, text: str) -> None:
        self._of: dict[str, list[Sample]] = {}
        for line in text.splitlines():
            name, _, *numbers = line.split()
            self._of.setdefault(name, []).append(Sample(*map(int, numbers)))

    def within(self, name: str, start: int, end: int) -> list[Sample]:
        """One machine's answers to questions asked in an interval of the ruler."""
        return [s for s in self._of.get(name, []) if start <= s.sent < end]

    def longest_silence(self, name: str, start: int, end: int) -> float:
        """The longest time between two answers, in ms; endless if they stopped coming."""
        times = sorted(s.received for s in self.within(name, start, end))
        if not times:
            return float("inf")
        edges = [*times, end]
        return max(b - a for a, b in zip(edges, edges[1:])) / MILLISECOND

    def prompt(self, name: str, start: int, end: int) -> list[Sample]:
        """A machine's answers in an interval that tell its clock well: the shortest round trips.

        The others were held up on one of their two ways, nobody knows which.
        """
        good = [s for s in self.within(name, start, end) if s.round_trip <= PROMPT]
        return sorted(good, key=lambda s: s.round_trip)[:ENOUGH]

    def offset(self, name: str, clock: str, start: int, end: int) -> float | None:
        """A clock's offset from the ruler in an interval; None if too few answers were prompt."""
        best = self.prompt(name, start, end)
        return median(s.offset(clock) for s in best) if len(best) == ENOUGH else None

    def moved(self, name: str, clock: str, before: tuple[int, int],
              after: tuple[int, int]) -> float | None:
        """How far a clock moved against the ruler between two intervals, in ms."""
        first, then = self.offset(name, clock, *before), self.offset(name, clock, *after)
        return None if first is None or then is None else (then - first) / MILLISECOND

    def moved_against_hosts(self, name: str, clock: str, hosts: tuple[str, str],
                            before: tuple[int, int], after: tuple[int, int]) -> float | None:
        """The same against the wall clock of the host it was on, then of the one it is on."""
        then, now = (self.offset(host, "realtime", *window)
                     for host, window in zip(hosts, (before, after)))
        moved = self.moved(name, clock, before, after)
        return None if None in (then, now, moved) else moved - (now - then) / MILLISECOND
