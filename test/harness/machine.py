"""Monitors under test: started, watched, ended by process id."""

import os
import pathlib
import shlex
import signal
import subprocess
import time

from . import MONITOR, WITNESS
from .qmp import Qmp
from .witness import Log

# More arguments for every monitor: "-sandbox off" where a sanitizer's tracer must not be confined.
MORE_ARGUMENTS = shlex.split(os.environ.get("GODWIT_VMM_ARGS", ""))
ENDED = ("completed", "failed", "cancelled", "unresolved")


class Machine:
    """One godwit-vmm process with a QMP socket and its serial port in a file.

    wrap: a command that executes its arguments in its own place, as another user for example."""

    def __init__(self, folder, name, args=(), incoming=None, append=None, memory="256M", vcpus=1,
                 env=None, monitor=MONITOR, start=True, wrap=()):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.qmp_path = self.folder / f"{name}.qmp"
        self.serial = self.folder / f"{name}.serial"
        self.log_path = self.folder / f"{name}.log"
        self.stderr_path = self.folder / f"{name}.stderr"
        self.argv = [*wrap, str(monitor), "-qmp", f"unix:{self.qmp_path},server,nowait", "-serial",
                     f"file:{self.serial}", "-D", str(self.log_path)]
        if append is not None:
            self.argv += ["-m", memory, "-smp", str(vcpus), "-kernel", str(WITNESS), "-append",
                          append]
        if incoming:
            self.argv += ["-incoming", incoming]
        self.argv += [*MORE_ARGUMENTS, *(str(a) for a in args)]
        # Journals beside the sockets, and not in the folders of this host's real machines.
        self.env = {} if wrap else {"GODWIT_STATE_DIR": str(self.folder / "journals"),
                                    "GODWIT_RUN_DIR": str(self.folder / "journals")}
        self.witness = Log(self.serial)
        self.qmp = None
        self.process = None
        if start:
            self.start(env)

    def start(self, env=None):
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stderr=stderr,
                                            stdout=stderr, env={**os.environ, **self.env, **(env or {})})
        deadline = time.monotonic() + 30
        while not self.qmp_path.exists() and self.process.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: no QMP socket")
            time.sleep(0.002)
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: "
                               f"{self.stderr_text()}")
        self.qmp = Qmp(self.qmp_path)

    def stderr_text(self):
        return self.stderr_path.read_text(errors="replace").strip()

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def status(self):
        return self.qmp.command("query-status")["status"]

    def migration(self):
        return self.qmp.command("query-migrate")

    def set(self, **parameters):
        self.qmp.command("migrate-set-parameters",
                         {k.replace("_", "-"): v for k, v in parameters.items()})

    def enable(self, capability, state=True):
        self.qmp.command("migrate-set-capabilities",
                         {"capabilities": [{"capability": capability, "state": state}]})

    def migrate(self, uri):
        self.qmp.command("migrate", {"uri": uri})

    def wait_migration(self, statuses=ENDED, timeout=120.0):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            answer = self.migration()
            if answer["status"] in statuses:
                return answer
            time.sleep(0.01)
        raise TimeoutError(f"{self.name}: migration still {self.migration()}")

    def wait_status(self, status, timeout=20.0):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.status() == status:
                return
            time.sleep(0.01)
        raise TimeoutError(f"{self.name} is {self.status()}, not {status}")

    def listening_uri(self, timeout=10.0):
        """The address of -incoming, with its real port, as the log tells it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for line in self.log_text().splitlines():
                if "listening for a machine on " in line:
                    return line.rsplit(" on ", 1)[1]
            time.sleep(0.005)
        raise TimeoutError(f"{self.name} does not say where it listens")

    def wait_log(self, text, timeout=20.0):
        """What follows this text in the first line of the log that has it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for line in self.log_text().splitlines():
                if text in line:
                    return line.split(text, 1)[1]
            time.sleep(0.01)
        raise TimeoutError(f"{self.name} logged no line with {text!r}")

    def quit(self, timeout=20.0):
        if self.alive():
            try:
                self.qmp.command("quit")
            except (ConnectionError, OSError):
                pass
            self.process.wait(timeout)
        if self.qmp:
            self.qmp.close()
        return self.process.returncode

    def kill(self, sig=signal.SIGKILL):
        if self.alive():
            os.kill(self.process.pid, sig)
        self.process.wait(20)

    def close(self):
        """Ends it whatever its state."""
        if self.qmp:
            self.qmp.close()
        if self.process and self.process.poll() is None:
            self._end()

    def _end(self):
        if "ASAN_OPTIONS" in os.environ:  # leaks are reported by a process that ends by itself
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        self.process.wait()
