"""Verdicts: each check has a name, prints one line, and a failure makes the lab fail."""

import time


class Checks:
    """Counts what passed and what failed."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self._scope: tuple[str, ...] = ()
        self._started = time.monotonic()

    def scoped(self, *scope: str) -> "Checks":
        """Names the checks that follow."""
        self._scope = scope
        return self

    def check(self, name: str, good: bool, said: str = "") -> bool:
        """One verdict."""
        full = ".".join((*self._scope, name))
        if good:
            self.passed += 1
        else:
            self.failed.append(full)
        self._line("PASS" if good else "FAIL", full, said)
        return good

    def note(self, name: str, said: str) -> None:
        """A measurement without a verdict."""
        self._line("note", ".".join((*self._scope, name)), said)

    def _line(self, word: str, name: str, said: str) -> None:
        print(f"{word} {name:<34} {said}".rstrip(), flush=True)

    def summary(self) -> int:
        """The closing line; the exit status of the lab."""
        elapsed = time.monotonic() - self._started
        print(f"lab: {self.passed} passed, {len(self.failed)} failed in {elapsed:.0f} s"
              + (": " + ", ".join(self.failed) if self.failed else ""), flush=True)
        return 1 if self.failed else 0
