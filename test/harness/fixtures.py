"""pytest's fixtures of all tests that start monitors; a conftest.py takes them by import."""

import pathlib

import pytest

from . import kvm_missing
from .machine import Machine
from .proxy import Proxy


def skip_without_kvm(items, folder):
    """For pytest_collection_modifyitems: skips, with the reason, what lies in this folder."""
    reason = kvm_missing()
    for item in items:
        if reason and pathlib.Path(item.fspath).parent.name == folder:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def machine(tmp_path):
    """Starts machines in the test's folder: machine(name, ...). Ends them whatever happens."""
    started = []

    def start(name, env=None, folder=tmp_path, **keywords):
        m = Machine(folder, name, start=False, **keywords)
        started.append(m)
        m.start(env)
        return m

    yield start
    for m in started:
        m.close()


@pytest.fixture
def network():
    """Opens networks that can be broken: network(target_uri, listen_uri="tcp:127.0.0.1:0")."""
    opened = []

    def start(*arguments):
        opened.append(Proxy(*arguments))
        return opened[-1]

    yield start
    for proxy in opened:
        proxy.close()
