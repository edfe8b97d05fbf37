"""The lab's short form: a stock guest on q35 moves a -> b -> a between emulated hosts.

One run of lab/run serves all tests of this file; each looks at one of its verdicts, and a
verdict that was never reached is a failure too.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GODWIT_BUILD", ROOT / "build"))
CANNOT_RUN = 77
LIMIT_S = 420

LEGS = ("a-b", "b-a")
VERDICTS = ["q35.boots", "q35.lock-reaches-b",
            *(f"q35.{leg}.{name}" for leg in LEGS
              for name in ("migrates", "answers-through-it", "clock-monotonic", "clock-realtime",
                           "works-on")),
            "q35.keeps-clocksource", "q35.disk-checksums",
            "q35.ram-checksums", "q35.dmesg-quiet", "q35.powers-off",
            "q35.fsck", "q35.disk-checksums-outside"]


@pytest.fixture(scope="module", name="said")
def fixture_said() -> str:
    """What one short run of the lab printed."""
    done = subprocess.run([ROOT / "lab" / "run", "--short", "--build", BUILD], timeout=LIMIT_S,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == CANNOT_RUN:
        pytest.skip(done.stdout.strip())
    print(done.stdout)
    return done.stdout


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(said: str, name: str) -> None:
    """Each check of the journey was made and passed."""
    lines = re.findall(rf"^(?:PASS|FAIL) {re.escape(name)}(?: .*)?$", said, re.MULTILINE)
    assert len(lines) == 1, f"no verdict on {name}; the lab said:\n{said}"
    assert lines[0].startswith("PASS"), f"{lines[0]}\n\nthe lab said:\n{said}"


def test_no_other_failure(said: str) -> None:
    """Nothing failed beside the named checks."""
    assert not re.findall(r"^FAIL .*$", said, re.MULTILINE), said
