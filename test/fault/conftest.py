"""Fixtures of the faults: the machines of test/kvm, and a network to break between them."""

import pathlib
import sys

import pytest

TEST = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TEST), str(TEST / "kvm"), str(TEST / "fault")]
pytest.register_assert_rewrite("flight", "faults", "harness.machine")

from harness import kvm_missing  # noqa: E402
from harness.machine import Machine  # noqa: E402
from harness.proxy import Proxy  # noqa: E402


def pytest_collection_modifyitems(items):
    reason = kvm_missing()
    for item in items:
        if reason and pathlib.Path(item.fspath).parent.name == "fault":
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def machine(tmp_path):
    """Starts machines in the test's folder: machine(name, ...)."""
    started = []

    def start(name, **keywords):
        m = Machine(tmp_path, name, start=False, **keywords)
        started.append(m)
        m.start()
        return m

    yield start
    for m in started:
        m.close()


@pytest.fixture
def network():
    """Opens proxies: network(target_uri, listen_uri="tcp:127.0.0.1:0")."""
    opened = []

    def start(*arguments):
        opened.append(Proxy(*arguments))
        return opened[-1]

    yield start
    for proxy in opened:
        proxy.close()
