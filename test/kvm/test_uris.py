"""Addresses that are no network's: descriptors, commands, files."""

import os
import shlex
import socket
import subprocess
import sys

import pytest

from flight import assert_unharmed, launch, move
from harness import MONITOR
from harness.machine import MORE_ARGUMENTS
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
    for number in range(3, 40):  # its own are not for that, sockets or not
        with pytest.raises(QmpError, match="not started with a socket there"):
            m.qmp.command("migrate-incoming", {"uri": f"fd:{number}"})
    assert m.status() == "inmigrate"


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


def save(source, path):
    source.migrate(f"file:{path}")
    return source.wait_migration(timeout=60)


def test_file(machine, tmp_path):
    """Saved, and twice taken from the file: by the command line, and by migrate-incoming."""
    path = tmp_path / "machine"
    source = launch(machine)
    answer = save(source, path)
    assert answer["status"] == "completed", answer
    assert source.status() == "postmigrate"
    assert [p.name for p in tmp_path.glob("machine*")] == ["machine"]
    assert path.stat().st_mode & 0o077 == 0
    source.quit()
    target = machine("destination", incoming=f"file:{path}")
    target.wait_status("running")
    assert_unharmed(target)
    answer = save(target, path)  # in place of the older
    assert answer["status"] == "completed", answer
    target.quit()
    last = machine("last", incoming="defer")
    last.qmp.command("migrate-incoming", {"uri": f"file:{path}"})
    last.wait_status("running")
    assert_unharmed(last)


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_disk_full(machine, tiny_disk, tmp_path):
    source = launch(machine)
    answer = save(source, tiny_disk / "machine")
    assert answer["status"] == "failed"
    assert "machine.part': No space left on device" in answer["error-desc"]
    assert list(tiny_disk.iterdir()) == []
    assert source.status() == "running"
    assert_unharmed(source)
    assert save(source, tmp_path / "machine")["status"] == "completed"


def test_file_errors(machine, tmp_path):
    source = launch(machine)
    with pytest.raises(QmpError, match="cannot make '/nowhere/x.part': No such file"):
        source.migrate("file:/nowhere/x")
    (tmp_path / "odd").write_bytes(b"this is no machine")
    m = machine("empty", incoming="defer")
    with pytest.raises(QmpError, match="holds no machine"):
        m.qmp.command("migrate-incoming", {"uri": f"file:{tmp_path / 'odd'}"})
    bad = subprocess.run([MONITOR, "-incoming", "file:/nowhere", *MORE_ARGUMENTS],
                         stderr=subprocess.PIPE, text=True, timeout=20)
    assert bad.returncode == 1
    assert "cannot read '/nowhere': No such file" in bad.stderr
