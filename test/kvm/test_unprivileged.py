"""A user in group kvm can do everything but create taps.

The user is two bare numbers, and the /dev/kvm that the group may open lies in a mount namespace of
each machine: nothing of the host is changed."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from flight import assert_unharmed, move, witness_line
from harness import MONITOR, WITNESS

USER, GROUP, KVM_GROUP = 54321, 54321, 54322
WRAP = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
        'mount -t tmpfs -o mode=755 none "$0"; mknod "$0/kvm" c 10 232; '
        f'chgrp {KVM_GROUP} "$0/kvm"; chmod 660 "$0/kvm"; mount --bind "$0/kvm" /dev/kvm; '
        'export HOME="$1"; shift; unset XDG_RUNTIME_DIR XDG_STATE_HOME; '
        f'exec setpriv --reuid {USER} --regid {GROUP} --groups {KVM_GROUP} --inh-caps=-all "$@"']


def user_cannot(what):
    """Why the bare user cannot be had here, or ""."""
    if os.geteuid() != 0:
        return "needs root, to become someone else"
    for tool in ("unshare", "setpriv"):
        if not shutil.which(tool):
            return f"needs {tool}"
    for path in what:
        if subprocess.run(["setpriv", "--reuid", str(USER), "--regid", str(GROUP),
                           "--clear-groups", "test", "-r", path]).returncode != 0:
            return f"the user may not read {path}"
    return ""


@pytest.fixture
def user(machine):
    """Starts machines of the user, in a folder of theirs: user(name, ...); user.home."""
    reason = user_cannot([MONITOR, WITNESS])
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="godwit-user-") as folder:
        home = pathlib.Path(folder) / "home"
        device = pathlib.Path(folder) / "dev"
        home.mkdir()
        device.mkdir()
        for path in (folder, home):
            os.chown(path, USER, GROUP)

        def start(name, **keywords):
            return machine(name, wrap=[*WRAP, str(device), str(home)], folder=folder, **keywords)

        start.home = home
        start.folder = folder
        yield start


def assert_is_the_user(m):
    fields = dict(line.split(":\t", 1) for line in
                  pathlib.Path(f"/proc/{m.pid}/status").read_text().splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {str(USER)}
    assert set(fields["Gid"].split()) == {str(GROUP)}
    assert fields["Groups"].split() == [str(KVM_GROUP)]
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0


def test_moves(user):
    source = user("source", append=witness_line(2), vcpus=2)
    assert_is_the_user(source)
    source.witness.wait("READY")
    assert "/memfd:" in pathlib.Path(f"/proc/{source.pid}/maps").read_text()
    target = user("destination", incoming=f"unix:{user.folder}/flight")
    assert_is_the_user(target)
    move(source, target, f"unix:{user.folder}/flight")
    assert_unharmed(target, rounds=1, timeout=120)
    journals = user.home / ".local/state/godwit"
    assert journals.stat().st_uid == USER and journals.stat().st_mode & 0o777 == 0o750
    assert source.quit() == 0
    assert list(journals.glob("*.intent")) == [], "the story ended well: nothing to remember"


def test_daemon_ends_and_cleans_up(user):
    m = user("source", append=witness_line(), args=["-pidfile", f"{user.folder}/pid"])
    assert m.quit() == 0
    assert not os.path.exists(f"{user.folder}/pid") and not m.qmp_path.exists()
