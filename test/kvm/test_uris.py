"""Addresses that are no network's: descriptors and commands."""

import os
import shlex
import socket
import subprocess
import sys

import pytest

from flight import assert_unharmed, launch, move
from harness.qmp import QmpError

# Connects its standard input and output with a unix socket: what nc -U does.
RELAY = """
import os, select, socket, sys
s = socket.socket(socket.AF_UNIX)
if sys.argv[2] == "listen":
    s.bind(sys.argv[1] + ".new")
    s.listen(1)
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    s = s.accept()[0]
else:
    s.connect(sys.argv[1])
ends = {0: s.fileno(), s.fileno(): 1}
while ends:
    for fd in select.select(list(ends), [], [])[0]:
        data = os.read(fd, 1 << 16)
        if not data:
            if fd == 0:
                s.shutdown(socket.SHUT_WR)
                del ends[0]
                continue
            sys.exit()
        while data:
            data = data[os.write(ends[fd], data):]
"""


def listening(m):
    """fd: and exec: have no address to be told."""
    m.wait_log("listening for a machine on fd:")


def test_fd_by_getfd(machine):
    source = launch(machine)
    target = machine("destination", incoming="defer")
    ours, theirs = socket.socketpair()
    for m, end in ((source, ours), (target, theirs)):
        m.qmp.command("getfd", {"fdname": "link"}, fd=end.fileno())
        end.close()
    target.qmp.command("migrate-incoming", {"uri": "fd:link"})
    move(source, target, "fd:link")
    assert source.migration()["channels"] == 1
    assert_unharmed(target)


TAKE_OVER = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
os.dup2(s.fileno(), 9, inheritable=True)
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_fd_that_is_inherited(machine, tmp_path):
    journals = {name: str(tmp_path / "journals") for name in ("GODWIT_STATE_DIR", "GODWIT_RUN_DIR")}
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "door"))
        door.listen(1)
        target = machine("destination", incoming="fd:9", env=journals,
                         wrap=(sys.executable, "-c", TAKE_OVER, tmp_path / "door"))
        end = door.accept()[0]
    listening(target)
    source = launch(machine)
    source.qmp.command("getfd", {"fdname": "link"}, fd=end.fileno())
    end.close()
    move(source, target, "fd:link")
    assert_unharmed(target)


def test_peer_of_fd_goes(machine):
    """The one connection ends: the guest runs on, and can move another way."""
    source = launch(machine)
    ours, theirs = socket.socketpair()
    source.qmp.command("getfd", {"fdname": "link"}, fd=ours.fileno())
    ours.close()
    source.migrate("fd:link")
    theirs.recv(8)
    theirs.close()
    answer = source.wait_migration(timeout=40)
    assert answer["status"] == "failed"
    assert source.status() == "running"
    target = machine("destination", incoming="tcp:127.0.0.1:0")
    move(source, target, target.listening_uri())


def test_fd_errors(machine):
    m = machine("empty", incoming="defer")
    for uri, text in (("fd:nothing", "no descriptor of this name was passed by getfd"),
                      ("fd:0", "not started with a socket there"),
                      ("fd:900", "not started with a socket there")):
        with pytest.raises(QmpError, match=text):
            m.qmp.command("migrate-incoming", {"uri": uri})


def relay(path, how):
    return f"exec:exec {sys.executable} -c {shlex.quote(RELAY)} {path} {how}"


def test_exec_both_sides(machine, tmp_path):
    spawn = ("-sandbox", "on,spawn=allow")
    path = tmp_path / "relay"
    source = launch(machine, args=spawn)
    target = machine("destination", incoming=relay(path, "listen"), args=spawn)
    listening(target)
    while not path.exists():
        assert target.alive()
    move(source, target, relay(path, "connect"))
    assert_unharmed(target)
    # What was started ends with the connection, and is not left as a zombie.
    helper = subprocess.run(["pgrep", "-P", str(source.pid)], stdout=subprocess.PIPE, text=True)
    for _ in range(500):
        if subprocess.run(["pgrep", "-P", helper.stdout.strip()], stdout=subprocess.PIPE).returncode:
            return
        subprocess.run(["sleep", "0.01"], check=True)
    raise AssertionError("what exec: started at the source is still there")


def test_exec_that_fails(machine):
    source = launch(machine, args=("-sandbox", "on,spawn=allow"))
    source.migrate("exec:exit 3")
    answer = source.wait_migration(timeout=40)
    assert answer["status"] == "failed"
    assert source.status() == "running"


def test_exec_needs_leave(machine):
    source = launch(machine)
    with pytest.raises(QmpError, match="-sandbox on,spawn=allow"):
        source.migrate("exec:cat")


def test_helper_ends_with_the_monitor(machine):
    m = machine("empty", incoming="defer", args=("-sandbox", "on,spawn=allow"))
    helper = subprocess.run(["pgrep", "-P", str(m.pid)], stdout=subprocess.PIPE, text=True,
                            check=True).stdout.strip()
    m.process.kill()
    m.process.wait()
    for _ in range(500):
        if not os.path.exists(f"/proc/{helper}"):
            return
        subprocess.run(["sleep", "0.01"], check=True)
    raise AssertionError("the helper lives")
