"""Reading what the witness prints (guest/README.md has the grammar)."""

import re
import time

# A W line without them lost characters on its way: a crowded host's serial port does that.
W_KEYS = {"n", "up_ms", "alive", "pass", "bad", "lost", "gen", "work", "stop_us", "stops"}
# Not `dropped`: a slow host's serial port loses lines, and the counters count all the same.
ZERO_KEYS = ("bad", "lost", "newer", "mangled", "state_bad", "tsc_back")


def parse(line):
    """A line's word and its values (numbers where they are), or None: not a whole witness line."""
    match = re.match(r"^(WITNESS 1|READY|W|MARK|H|BAD|FATAL)((?: \w+=\S+)*)$", line)
    if not match:
        return None
    values = {}
    for pair in match.group(2).split():
        key, value = pair.split("=", 1)
        try:
            values[key] = int(value, 0)
        except ValueError:
            try:
                values[key] = float(value)
            except ValueError:
                values[key] = value
    if match.group(1) == "W" and not W_KEYS <= values.keys():
        return None
    return match.group(1), values


class Log:
    """The serial output of one or several monitors a witness ran on, in order."""

    def __init__(self, path):
        self.path = path

    def lines(self):
        try:
            text = self.path.read_text(errors="replace")
        except FileNotFoundError:
            return []
        return [p for p in map(parse, text.split("\n")[:-1]) if p]

    def all(self, word):
        return [values for kind, values in self.lines() if kind == word]

    def last(self, word="W"):
        found = self.all(word)
        return found[-1] if found else None

    def wait(self, word, timeout=60.0, after=0, test=lambda v: True):
        """The first line of that word beyond the first `after` ones that passes the test."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for values in self.all(word)[after:]:
                if test(values):
                    return values
            fatal = self.last("FATAL")
            if fatal:
                raise AssertionError(f"witness: {fatal}")
            time.sleep(0.02)
        raise TimeoutError(f"no {word} line within {timeout} s in {self.path}; last W: "
                           f"{self.last()}")

    def complaints(self):
        """BAD lines and non-zero counters of the last W line: empty when nothing was harmed."""
        found = [f"BAD {v}" for v in self.all("BAD")]
        last = self.last()
        if last:
            found += [f"{key}={last[key]}" for key in ZERO_KEYS if last.get(key, 0)]
            if last["alive"] != last["vcpus"]:
                found.append(f"alive={last['alive']} of {last['vcpus']}")
        return found
