"""Fixtures of the tests on /dev/kvm: machines that are ended whatever happens."""

import pathlib
import sys

import pytest

pytest.register_assert_rewrite("flight", "harness.machine")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.fixtures import machine, network, skip_without_kvm  # noqa: E402

__all__ = ["machine", "network"]


def pytest_collection_modifyitems(items):
    skip_without_kvm(items, "kvm")
