"""Fixtures of the tests on /dev/kvm: machines that are ended whatever happens."""

import pathlib
import sys

import pytest

pytest.register_assert_rewrite("flight", "harness.machine")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import kvm_missing  # noqa: E402
from harness.machine import Machine  # noqa: E402


def pytest_collection_modifyitems(items):
    reason = kvm_missing()
    if not reason:
        return
    for item in items:
        if pathlib.Path(item.fspath).parent.name in ("kvm", "fault"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def machine(tmp_path):
    """Starts machines in the test's folder: machine(name, ...)."""
    started = []

    def start(name, folder=tmp_path, **keywords):
        m = Machine(folder, name, start=False, **keywords)
        started.append(m)
        m.start()
        return m

    yield start
    for m in started:
        m.close()
