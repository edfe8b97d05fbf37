"""The faults use what test/kvm uses, and a network to break between the machines."""

import pathlib
import sys

import pytest

TEST = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TEST), str(TEST / "kvm"), str(TEST / "fault")]
pytest.register_assert_rewrite("flight", "faults", "harness.machine")

from faults import Trip  # noqa: E402
from harness.fixtures import machine, network, skip_without_kvm  # noqa: E402

__all__ = ["machine", "network", "trip"]


def pytest_collection_modifyitems(items):
    skip_without_kvm(items, "fault")


@pytest.fixture
def trip(request, machine, network, tmp_path):
    """A source and a destination, by TCP, and by UNIX sockets where links are cut by closing them."""
    parameters = getattr(request.node, "callspec", None)
    act = parameters.params.get("act") if parameters else None
    return Trip(machine, network, tmp_path, "unix" if act == "cut" else "tcp")
