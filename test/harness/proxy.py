"""A network that fails on demand, between a source and a destination.

It relays TCP or UNIX connections and reads the native stream's record frames on the way (16 bytes
of header {u32 type, u32 flags, u64 length}, the body padded to 8; doc/spec/stream.md).  One thread
does everything, so that nothing passes while a fault is being injected:

    up      bytes pass
    silent  nothing passes, nothing is closed: a pulled cable.  New connections are taken by the
            kernel and never answered
    down    every connection is closed, new ones are refused: a firewall, a dead switch port

A Fault says at which record the mode changes, or what else is done there.
"""

import dataclasses
import pathlib
import queue
import selectors
import socket
import struct
import threading
import time
import typing

TYPES = ("hello", "welcome", "error", "manifest", "accept", "round", "pages", "mark", "state",
         "ready", "commit", "running", "never-ran", "abort", "query", "ping", "pong",
         "passed", "packed", "resume", "rehearsal", "rehearsed", "times", "digest", "differs", "view",
         "seen")
ROLES = ("control", "lane", "again")
SOURCE, DESTINATION = "source", "destination"

HEADER = struct.Struct("<IIQ")
ROLE_AT = HEADER.size + 16  # magic, version, architecture
CHUNK = 1 << 18
FLUSH_SECONDS = 5


@dataclasses.dataclass
class Fault:
    """Strikes once, at the nth such record on a control channel, or after so many bytes of a lane.

    when: "before" (nothing of the record passes), "within" (half of it does), "after" (all of it).
    act: "silence", "cut" (FIN), "reset" (RST), or a callable, after which what had not passed of the
    record is lost and the network stays as it is.
    """
    act: typing.Union[str, typing.Callable[[], None]]
    record: str = ""
    towards: str = DESTINATION
    nth: int = 1
    when: str = "before"
    lane_bytes: int = 0


def parse_uri(uri):
    """(family, address) for the socket module."""
    kind, rest = uri.split(":", 1)
    if kind == "unix":
        return socket.AF_UNIX, rest
    host, port = rest.rsplit(":", 1)
    return socket.AF_INET, (host, int(port))


def close(sock, reset=False):
    if reset and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Flow:
    """One direction of a connection."""

    def __init__(self, connection, towards, reader, writer):
        self.connection = connection
        self.towards = towards
        self.reader = reader
        self.writer = writer
        self.pending = bytearray()  # the beginning of a record
        self.out = bytearray()
        self.eof = False

    def records(self):
        """Takes the whole records off what is pending."""
        while len(self.pending) >= HEADER.size:
            kind, _, length = HEADER.unpack_from(self.pending)
            size = HEADER.size + (length + 7) // 8 * 8
            if len(self.pending) < size:
                return
            data = bytes(self.pending[:size])
            del self.pending[:size]
            yield TYPES[kind - 1] if 0 < kind <= len(TYPES) else "unknown", data

    def send_some(self):
        try:
            sent = self.writer.send(self.out[:CHUNK])
        except BlockingIOError:
            return
        except OSError:  # it is gone: what is under way to it is lost
            self.out.clear()
            return
        del self.out[:sent]

    def flush(self):
        deadline = time.monotonic() + FLUSH_SECONDS
        while self.out and time.monotonic() < deadline:
            self.send_some()
            time.sleep(0.001 if self.out else 0)


class Connection:
    def __init__(self, client, server):
        client.setblocking(False)
        server.setblocking(False)
        self.role = ""
        self.flows = (Flow(self, DESTINATION, client, server), Flow(self, SOURCE, server, client))

    def close(self, reset=False):
        for flow in self.flows:
            close(flow.reader, reset)


class Proxy:
    def __init__(self, target_uri, listen_uri="tcp:127.0.0.1:0"):
        self.target = parse_uri(target_uri)
        self.family, self.address = parse_uri(listen_uri)
        self.mode = "up"
        self.opaque = False  # what passes is no records that could be read: all counts as lane_bytes
        self.fault = None
        self.counts = {}     # records met since the fault was armed
        self.lane_bytes = 0
        self.struck = threading.Event()
        self.seen = []  # (towards, record) of control channels, in order
        self.accepted = 0
        self.connections = []
        self.orders = queue.Queue()
        self.ear, self.mouth = socket.socketpair()
        self.listener = None
        self.ended = False
        self._listen()
        self.thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self.thread.start()

    @property
    def uri(self):
        if self.family == socket.AF_UNIX:
            return f"unix:{self.address}"
        return f"tcp:{self.address[0]}:{self.address[1]}"

    # ---- for the test's thread

    def arm(self, fault):
        def order():
            self.fault = fault
            self.counts = {}
            self.lane_bytes = 0
            self.struck.clear()
        self._order(order)

    def silence(self):
        self._order(lambda: self._strike("silence"))

    def cut(self, reset=False):
        self._order(lambda: self._strike("reset" if reset else "cut"))

    def heal(self, deliver=True):
        """Up again. What was held in silence is delivered late, or lost with its connections."""
        def order():
            if not deliver:
                self._drop_all(reset=True)
            self.mode = "up"
            self._listen()
        self._order(order)

    def wait(self, timeout=30.0):
        """Until the fault has struck."""
        if not self.struck.wait(timeout):
            raise TimeoutError(f"the fault {self.fault} never struck; seen: {self.seen}")

    def close(self):
        self.orders.put((lambda: setattr(self, "ended", True), threading.Event()))
        self.mouth.send(b"!")
        self.thread.join(10)

    def _order(self, what):
        done = threading.Event()
        self.orders.put((what, done))
        self.mouth.send(b"!")
        if not done.wait(10):
            raise TimeoutError("the proxy is stuck")

    # ---- the proxy's thread

    def _listen(self):
        if self.listener:
            return
        listener = socket.socket(self.family)
        if self.family == socket.AF_UNIX:
            pathlib.Path(self.address).unlink(missing_ok=True)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.address)
        listener.listen(64)
        self.address = listener.getsockname()
        self.listener = listener

    def _unlisten(self):
        if self.listener:
            self.listener.close()
            self.listener = None

    def _drop_all(self, reset):
        for connection in self.connections:
            connection.close(reset)
        self.connections = []

    def _strike(self, act):
        if callable(act):
            act()
        elif act == "silence":
            self.mode = "silent"
        else:
            self.mode = "down"
            self._unlisten()
            self._drop_all(act == "reset")

    def _run(self):
        while not self.ended:
            for key, events in self._select():
                if self.ended or key.fileobj.fileno() < 0:
                    break  # the rest belongs to connections that were just closed
                key.data(events)
                if key.data == self._obey:
                    break
        self._unlisten()
        self._drop_all(reset=False)

    def _select(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.ear, selectors.EVENT_READ, self._obey)
            if self.mode == "up":
                selector.register(self.listener, selectors.EVENT_READ, self._accept)
                for connection in self.connections:
                    self._register(selector, connection)
            return selector.select()

    def _register(self, selector, connection):
        there, back = connection.flows
        for flow, other in ((there, back), (back, there)):  # flow.reader is other.writer
            events = 0
            if not flow.eof and len(flow.out) < CHUNK:
                events |= selectors.EVENT_READ
            if other.out:
                events |= selectors.EVENT_WRITE
            if events:
                selector.register(flow.reader, events,
                                  lambda e, f=flow, o=other: self._serve(f, o, e))

    def _obey(self, _):
        self.ear.recv(1)
        what, done = self.orders.get()
        what()
        done.set()

    def _accept(self, _):
        client, _ = self.listener.accept()
        self.accepted += 1
        server = socket.socket(self.target[0])
        try:
            server.connect(self.target[1])
        except OSError:  # nobody is there: as if the client had met that itself
            close(client, reset=True)
            return
        self.connections.append(Connection(client, server))
        if self.opaque:
            self.connections[-1].role = "lane"

    def _serve(self, flow, other, events):
        if events & selectors.EVENT_WRITE:
            other.send_some()
        if events & selectors.EVENT_READ and not flow.eof:
            self._read(flow)
        if flow.eof and not flow.out and flow.connection in self.connections:
            flow.connection.close()
            self.connections.remove(flow.connection)

    def _read(self, flow):
        try:
            data = flow.reader.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            flow.eof = True
            flow.out += flow.pending
            flow.flush()
        elif flow.connection.role == "lane":
            self._relay_lane(flow, data)
        else:
            flow.pending += data
            self._relay_records(flow)

    def _relay_lane(self, flow, data):
        flow.out += data
        self.lane_bytes += len(data)
        fault = self.fault
        if fault and fault.lane_bytes and self.lane_bytes >= fault.lane_bytes:
            self._inject(flow, fault, b"")
        else:
            flow.send_some()

    def _relay_records(self, flow):
        for kind, data in flow.records():
            if kind == "hello" and flow.towards == DESTINATION:
                flow.connection.role = ROLES[struct.unpack_from("<I", data, ROLE_AT)[0]]
            if flow.connection.role != "lane":
                self.seen.append((flow.towards, kind))
                if self._strikes_at(flow, kind):
                    self._inject(flow, self.fault, data)
                    if self.mode != "up":
                        return
                    continue
            flow.out += data
            if flow.connection.role == "lane":  # what follows are pages
                flow.out += flow.pending
                flow.pending.clear()
        flow.send_some()

    def _strikes_at(self, flow, kind):
        fault = self.fault
        if not fault or kind != fault.record or flow.towards != fault.towards:
            return False
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return self.counts[kind] == fault.nth

    def _inject(self, flow, fault, data):
        """What passes, passes before the fault strikes; what is held by silence may come late."""
        self.fault = None
        passes = {"before": 0, "within": len(data) // 2, "after": len(data)}[fault.when]
        flow.out += data[:passes]
        flow.flush()
        self._strike(fault.act)
        if fault.act == "silence":
            flow.out += data[passes:]
        self.struck.set()
