"""Verdicts: each check has a name, prints one line, and a failure makes the lab fail."""

import time


class Ledger:
    """What all checks of a run came to."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.started = time.monotonic()


class Checks:
    """Gives verdicts under a scope, which is the front part of their names."""

    def __init__(self, *scope: str, ledger: Ledger | None = None) -> None:
        self._scope = scope
        self.ledger = ledger or Ledger()

    def scoped(self, *scope: str) -> "Checks":
        """The same run's checks one level down."""
        return Checks(*self._scope, *scope, ledger=self.ledger)

    def check(self, name: str, good: bool, said: str = "") -> bool:
        """One verdict."""
        if good:
            self.ledger.passed += 1
        else:
            self.ledger.failed.append(self._full(name))
        self._line("PASS" if good else "FAIL", name, said)
        return good

    def note(self, name: str, said: str) -> None:
        """A measurement without a verdict."""
        self._line("note", name, said)

    def summary(self) -> int:
        """The closing line; the exit status of the lab."""
        ledger = self.ledger
        elapsed = time.monotonic() - ledger.started
        print(f"lab: {ledger.passed} passed, {len(ledger.failed)} failed in {elapsed:.0f} s"
              + (": " + ", ".join(ledger.failed) if ledger.failed else ""), flush=True)
        return 1 if ledger.failed else 0

    def _full(self, name: str) -> str:
        return ".".join((*self._scope, name))

    def _line(self, word: str, name: str, said: str) -> None:
        print(f"{word} {self._full(name):<34} {said}".rstrip(), flush=True)
