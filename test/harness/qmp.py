"""A small QMP client: one command at a time, events kept in order."""

import array
import json
import socket
import time


class QmpError(Exception):
    """The monitor answered a command with an error."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error['class']}: {error['desc']}")
        self.desc = error["desc"]


class Qmp:
    """Connected to a unix socket's path, or to a (host, port)."""

    def __init__(self, address, timeout=30.0):
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self._connect(address if isinstance(address, tuple) else str(address), timeout)
        self.buffer = b""
        self.events = []
        self.next_id = 0
        self.greeting = self._message(timeout)
        self.command("qmp_capabilities")

    def _connect(self, address, timeout):
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.sock.connect(address)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def close(self):
        self.sock.close()

    def _message(self, timeout):
        self.sock.settimeout(timeout)
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the monitor closed its QMP socket")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def command(self, name, arguments=None, fd=None, timeout=30.0):
        """Executes and returns the answer; raises QmpError."""
        self.next_id += 1
        request = {"execute": name, "id": self.next_id}
        if arguments is not None:
            request["arguments"] = arguments
        data = json.dumps(request).encode() + b"\n"
        if fd is None:
            self.sock.sendall(data)
        else:
            rights = array.array("i", [fd])
            self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        while True:
            message = self._message(timeout)
            if "event" in message:
                self.events.append(message)
            elif message.get("id") == self.next_id:
                if "error" in message:
                    raise QmpError(name, message["error"])
                return message["return"]

    def poll_events(self):
        """Takes in what has arrived, without waiting."""
        try:
            while True:
                message = self._message(0.001)
                if "event" in message:
                    self.events.append(message)
        except (TimeoutError, socket.timeout, ConnectionError):
            pass
        return self.events

    def wait_event(self, name, timeout=10.0):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for event in self.poll_events():
                if event["event"] == name:
                    return event
            time.sleep(0.005)
        raise TimeoutError(f"no {name} event within {timeout} s; seen: "
                           f"{[e['event'] for e in self.events]}")
