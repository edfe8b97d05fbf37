"""The faults use what test/kvm uses, and a network to break between the machines."""

import pathlib
import sys

import pytest

TEST = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TEST), str(TEST / "kvm"), str(TEST / "fault")]
pytest.register_assert_rewrite("flight", "faults", "harness.machine")

from harness.fixtures import machine, network, skip_without_kvm  # noqa: E402

__all__ = ["machine", "network"]


def pytest_collection_modifyitems(items):
    skip_without_kvm(items, "fault")
