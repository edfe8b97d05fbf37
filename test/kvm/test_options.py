"""Options about the process itself: its background, its log, its console, its QMP sockets."""

import fcntl
import os
import pathlib
import re
import signal
import socket
import subprocess
import termios
import time

import pytest

from flight import launch, witness_line
from harness import MONITOR, WITNESS
from harness.machine import MORE_ARGUMENTS
from harness.qmp import Qmp


def command(folder, *more):
    return [str(MONITOR), *MORE_ARGUMENTS, "-kernel", str(WITNESS), "-append", witness_line(),
            "-qmp", f"unix:{folder}/qmp,server,nowait", *map(str, more)]


def wait_for(what, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.01)
    raise TimeoutError(f"{what} within {seconds} s")


def main_thread_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/task/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_does_not_spin(m, seconds=1.0):
    before = main_thread_seconds(m.pid)
    time.sleep(seconds)
    spent = main_thread_seconds(m.pid) - before
    assert spent < seconds / 5, f"the main loop used {spent} s of {seconds} s"


# ---- background, pid file, log

@pytest.fixture
def daemon(tmp_path):
    """Starts one in the background; ends it by the pid in its file."""
    pidfile = tmp_path / "pid"

    def start(*more):
        done = subprocess.run(
            command(tmp_path, "-daemonize", "-pidfile", pidfile, "-D", tmp_path / "log", *more),
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return int(pidfile.read_text())

    yield start
    if pidfile.exists():
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


def test_daemonize(daemon, tmp_path):
    pid = daemon()
    assert os.readlink(f"/proc/{pid}/exe") == str(MONITOR.resolve())
    assert os.getsid(pid) != os.getsid(0)
    qmp = Qmp(tmp_path / "qmp")
    assert qmp.command("query-status")["status"] == "running"
    qmp.command("quit")
    wait_for(lambda: not (tmp_path / "pid").exists())
    wait_for(lambda: not (tmp_path / "qmp").exists())
    log = (tmp_path / "log").read_text()
    assert "prelaunch -> running" in log and "ending: host-qmp-quit" in log


def test_pidfile_is_one_machines(daemon, tmp_path):
    daemon()
    second = subprocess.run(command(tmp_path / "..", "-pidfile", tmp_path / "pid"),
                            capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "still runs" in second.stderr


@pytest.mark.parametrize("more", [[], ["-daemonize"]])
def test_a_failing_start_is_told_where_it_was_asked_for(tmp_path, more):
    done = subprocess.run([MONITOR, *MORE_ARGUMENTS, "-kernel", "/no/such/kernel", "-D",
                           tmp_path / "log", *more], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == ("godwit-vmm: -kernel /no/such/kernel: cannot open: "
                           "No such file or directory\n")
    assert "/no/such/kernel" in (tmp_path / "log").read_text()


def test_an_unknown_option_is_named():
    done = subprocess.run([MONITOR, "-kernle", "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "-kernle" in done.stderr and "-kernel" in done.stderr


# ---- serial ports

def read_lines(fd, wanted, seconds=10.0):
    """Whole lines of the witness from a descriptor."""
    text = b""
    deadline = time.monotonic() + seconds
    while len(re.findall(rb"\nW .*\n", text)) < wanted:
        assert time.monotonic() < deadline, text
        try:
            text += os.read(fd, 4096)
        except BlockingIOError:
            time.sleep(0.01)
    return text


def test_serial_pty(machine):
    m = start_with(machine, "pty")
    path = re.search(r"serial port on (/dev/pts/\d+)", m.stderr_text()).group(1)
    for _ in range(2):  # whoever leaves can come again
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        read_lines(fd, 2)
        assert not termios.tcgetattr(fd)[3] & (termios.ECHO | termios.ICANON)
        os.close(fd)
    assert_does_not_spin(m)


def start_with(machine, serial):
    m = machine("source", append=witness_line(), args=["-serial", serial])
    assert m.status() == "running"
    return m


def client(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    return s


def test_serial_unix(machine, tmp_path):
    path = tmp_path / "console"
    m = start_with(machine, f"unix:{path},server,nowait")
    first = client(path)
    read_lines(first.fileno(), 1)
    second = client(path)
    second.settimeout(5)
    assert b"another client" in second.recv(100)
    assert second.recv(100) == b""
    # More than the port holds, for a guest that does not read: what waits keeps nobody out.
    first.send(b"x" * 1000)
    time.sleep(0.1)
    first.close()
    assert_does_not_spin(m)
    third = client(path)
    read_lines(third.fileno(), 1)
    third.close()
    assert m.quit() == 0
    assert not path.exists()


def test_serial_stdio(tmp_path):
    """stdin's end is no end, and descriptors shared with the starter are left as they were."""
    theirs, ours = os.pipe()
    out, stdout = os.pipe()
    p = subprocess.Popen(command(tmp_path, "-serial", "stdio"), stdin=theirs, stdout=stdout)
    try:
        os.write(ours, b"x" * 100)
        read_lines(out, 1)
        os.close(ours)
        read_lines(out, 1)
        assert fcntl.fcntl(stdout, fcntl.F_GETFL) & os.O_NONBLOCK
        p.terminate()
        assert p.wait(20) == 0
        for fd in (theirs, stdout):
            assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    finally:
        p.kill()
        p.wait()
        for fd in (theirs, out, stdout):
            os.close(fd)


# ---- QMP

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_qmp_on_loopback(machine):
    port = free_port()
    m = launch(machine, args=["-qmp", f"tcp:127.0.0.1:{port},server,nowait"])
    qmp = Qmp(("127.0.0.1", port))
    assert qmp.command("query-status")["status"] == "running"
    assert m.status() == "running"
    qmp.close()


def test_qmp_nowhere_else():
    done = subprocess.run([MONITOR, "-kernel", WITNESS, "-qmp", "tcp:0.0.0.0:4444,server,nowait"],
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert "0.0.0.0" in done.stderr and "loopback" in done.stderr


def test_qmp_socket_is_its_users_alone(machine):
    m = launch(machine)
    assert m.qmp_path.stat().st_mode & 0o777 == 0o600
