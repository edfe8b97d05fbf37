"""Taps of a machine that moves: one machine at a time has one, and the network hears where it is.

Everything is in a network namespace of the test's own: a bridge with two taps.  The witness does not
use its card; what is shown here is the monitor's part."""

import concurrent.futures
import ctypes
import errno
import fcntl
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import time

import pytest

from flight import assert_unharmed, move, witness_line

SMALL = {"static": 8, "ws": 4, "rate": 20, "verify_ms": 200, "period_ms": 100, "idle_us": 4000}
MIB = 1 << 20
MAC = "52:54:00:f1:19:47"
ETH_P_RARP = 0x8035
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000
CLONE_NEWNET = 0x40000000
SETUP = """
ip link set lo up
ip link add bridge0 type bridge forward_delay 0
ip link set bridge0 up
for tap in alaska tasmania; do
    ip tuntap add dev $tap mode tap vnet_hdr
    ip link set $tap master bridge0 up
done
echo there
exec sleep 600
"""


def network_missing():
    if os.geteuid() != 0:
        return "needs root, for a network of its own"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    missing = [tool for tool in ("ip", "bridge", "unshare", "nsenter") if not shutil.which(tool)]
    return f"needs {', '.join(missing)}" if missing else None


pytestmark = pytest.mark.skipif(network_missing() is not None, reason=str(network_missing()))


class Network:
    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-ec", SETUP],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "there\n":
            pytest.skip(f"no network namespace: {self.holder.stderr.read()}")
        self.wrap = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
        self.ear = self.inside(self._listen)

    def inside(self, what):
        """Calls it on a thread in the namespace; descriptors it makes stay in there."""
        def call():
            with open(f"/proc/{self.holder.pid}/ns/net") as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) == 0
                return what()

        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(call).result()

    @staticmethod
    def _listen():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_RARP))
        s.bind(("bridge0", ETH_P_RARP))
        s.setblocking(False)
        return s

    def heard(self):
        """The frames of ethertype RARP that passed the bridge since the last time."""
        frames = []
        while True:
            try:
                frames.append(self.ear.recv(2048))
            except BlockingIOError:
                return frames

    def run(self, *command):
        return subprocess.run([*self.wrap, *command], check=True, capture_output=True,
                              text=True).stdout

    def learnt(self, mac=MAC):
        """Behind which port the bridge has seen this address."""
        for line in self.run("bridge", "fdb", "show", "br", "bridge0").splitlines():
            words = line.split()
            if words[0] == mac and "permanent" not in words:
                return words[words.index("dev") + 1]
        return None

    def take(self, ifname):
        """As another machine would; returns a descriptor."""
        def attach():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", ifname.encode(), flags))
            return fd
        return self.inside(attach)

    def close(self):
        self.ear.close()
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def network():
    n = Network()
    yield n
    n.close()


def holds(m, ifname):
    """Whether a descriptor of this process is attached to the tap."""
    found = 0
    for info in pathlib.Path(f"/proc/{m.pid}/fdinfo").iterdir():
        try:
            found += f"iff:\t{ifname}\n" in info.read_text()
        except FileNotFoundError:
            continue  # it was closed as we looked
    assert found <= 1, f"{m.name} holds {ifname} {found} times"
    return bool(found)


def netdev(ifname="alaska"):
    return ["-netdev", f"tap,id=net0,ifname={ifname}"]


def card(ifname="alaska", device=f"virtio-net-pci,netdev=net0,id=card0,mac={MAC}"):
    return [*netdev(ifname), "-device", device]


class Host:
    """Starts machines in the network."""

    def __init__(self, machine, network, folder):
        self.machine, self.network, self.folder = machine, network, folder
        journals = str(folder / "journals")
        self.env = {"GODWIT_STATE_DIR": journals, "GODWIT_RUN_DIR": journals}

    def source(self, args=None, name="source"):
        m = self.machine(name, env=self.env, append=witness_line(**SMALL),
                         wrap=self.network.wrap, args=args or card())
        m.witness.wait("READY", 60)
        return m

    def destination(self, args=None, name="destination"):
        uri = f"unix:{self.folder}/{name}.mig"
        return self.machine(name, env=self.env, incoming=uri, wrap=self.network.wrap,
                            args=args or netdev()), uri


@pytest.fixture
def host(machine, network, tmp_path):
    return Host(machine, network, tmp_path)


def hold_in_precopy(source, uri):
    source.set(max_bandwidth=2 * MIB)
    source.migrate(uri)
    deadline = time.monotonic() + 20
    while source.migration().get("ram", {}).get("transferred", 0) < MIB // 8:
        assert time.monotonic() < deadline, source.migration()
        time.sleep(0.005)


def assert_announced(network, port, mac=MAC):
    """Of five frames those count that came when the bridge had seen that its port is up again."""
    frames, deadline = [], time.monotonic() + 5
    while len(frames) < 2 and time.monotonic() < deadline:
        frames += network.heard()
        time.sleep(0.01)
    sender = bytes.fromhex(mac.replace(":", ""))
    assert len(frames) >= 2, f"{len(frames)} announcements heard"
    for frame in frames:
        assert frame[:14] == b"\xff" * 6 + sender + struct.pack("!H", ETH_P_RARP)
        assert frame[14:22] == struct.pack("!HHBBH", 1, 0x800, 6, 4, 3)
        assert frame[22:28] == frame[32:38] == sender
    assert network.learnt(mac) == port


# ---- moves

@pytest.mark.parametrize("board,device", [("q35", "virtio-net-pci"),
                                          ("microvm", "virtio-net-device")])
def test_one_tap_there_and_back(host, network, board, device):
    """On one host it is attached late: the source has it until the guest has stopped."""
    device += f",netdev=net0,id=card0,mac={MAC}"
    here = host.source(["-machine", board, *card(device=device)])
    assert holds(here, "alaska")
    assert network.heard() == []
    for trip in range(2):
        there, uri = host.destination(name=f"stop{trip}")
        hold_in_precopy(here, uri)
        assert holds(here, "alaska") and not holds(there, "alaska")
        here.set(max_bandwidth=0)
        assert here.wait_migration()["status"] == "completed"
        assert holds(there, "alaska") and not holds(here, "alaska")
        assert_announced(network, "alaska")
        here.quit()
        here = there
    assert_unharmed(here)


def test_the_bridge_learns_where_the_machine_went(host, network):
    """As between two hosts: its frames go to another port from then on."""
    source = host.source()
    for name, there, ifname in (("there", "tasmania", "tasmania"), ("back", "alaska", "alaska")):
        target, uri = host.destination(netdev(there), name=name)
        move(source, target, uri)
        assert_announced(network, ifname)
        source.quit()
        source = target
    assert_unharmed(source)


def test_a_paused_machine_is_announced_when_it_runs(host, network):
    """Nobody answers for it before."""
    source = host.source()
    source.qmp.command("stop")
    target, uri = host.destination()
    source.migrate(uri)
    assert source.wait_migration()["status"] == "completed"
    assert target.status() == "paused" and holds(target, "alaska")
    time.sleep(1.5)
    assert network.heard() == []
    target.qmp.command("cont")
    assert_announced(network, "alaska")
    assert_unharmed(target)


def test_a_descriptor_instead_of_a_name(host, network):
    """Given by whoever starts the monitor, which then needs no privilege for it."""
    attach = (f"import fcntl, os, sys; fd = os.open('/dev/net/tun', os.O_RDWR); "
              f"fcntl.ioctl(fd, {TUNSETIFF}, __import__('struct').pack('16sH22x', "
              f"sys.argv[1].encode(), {IFF_TAP | IFF_NO_PI | IFF_VNET_HDR})); os.dup2(fd, 9); "
              f"os.close(fd); os.execv(sys.argv[2], sys.argv[2:])")
    by_fd = ["-netdev", "tap,id=net0,fd=9"]

    def wrap(ifname):
        return [*network.wrap, "/usr/bin/python3", "-c", attach, ifname]

    source = host.machine("source", env=host.env, append=witness_line(**SMALL),
                          wrap=wrap("alaska"),
                          args=[*by_fd, "-device", f"virtio-net-pci,netdev=net0,mac={MAC}"])
    source.witness.wait("READY", 60)
    uri = f"unix:{host.folder}/destination.mig"
    target = host.machine("destination", env=host.env, incoming=uri, wrap=wrap("tasmania"),
                          args=by_fd)
    move(source, target, uri)
    assert_announced(network, "tasmania")
    assert holds(target, "tasmania")
    assert_unharmed(target)


def test_not_announced_when_not_wanted(host, network):
    source = host.source()
    target, uri = host.destination(netdev("tasmania"))
    target.set(announce_rounds=0)
    move(source, target, uri)
    assert hear(network, 1, 0.3) == 0
    target.qmp.command("announce-self", {"rounds": 5})
    assert_announced(network, "tasmania")


# ---- without a move

def hear(network, count, seconds=5.0):
    """So many frames, and no more for a while."""
    frames, deadline = [], time.monotonic() + seconds
    while len(frames) < count and time.monotonic() < deadline:
        frames += network.heard()
        time.sleep(0.005)
    time.sleep(0.2)
    return len(frames + network.heard())


def test_announced_when_asked(host, network):
    """By either name of the card, on the schedule of the command or of the parameters."""
    m = host.source()
    schedule = {"initial": 10, "max": 20, "rounds": 3, "step": 10}
    for card_name in ("net0", "card0"):
        m.qmp.command("announce-self", {**schedule, "interfaces": [card_name]})
        assert hear(network, 3) == 3
    m.set(announce_rounds=2, announce_initial=10)
    m.qmp.command("announce-self")
    assert hear(network, 2) == 2
    m.qmp.command("announce-self", {"rounds": 0})
    assert hear(network, 1, 0.2) == 0
    m.qmp.command("stop")
    m.qmp.command("announce-self")
    assert hear(network, 1, 0.2) == 0  # nobody would answer
    m.qmp.command("cont")
    assert hear(network, 2) == 2


# ---- moves that fail

def assert_still_home(source, network):
    assert source.status() == "running"
    assert holds(source, "alaska")
    assert network.heard() == [], "the machine was announced, but it had not moved"
    with pytest.raises(OSError) as busy:
        os.close(network.take("alaska"))
    assert busy.value.errno == errno.EBUSY


def test_canceled(host, network):
    source = host.source()
    target, uri = host.destination()
    hold_in_precopy(source, uri)
    source.qmp.command("migrate_cancel")
    assert source.wait_migration()["status"] == "cancelled"
    assert_still_home(source, network)
    source.set(max_bandwidth=0)
    move(source, target, uri)
    assert_announced(network, "alaska")


def test_destination_killed(host, network):
    source = host.source()
    target, uri = host.destination()
    hold_in_precopy(source, uri)
    target.kill()
    assert source.wait_migration()["status"] == "failed"
    assert_still_home(source, network)
    source.set(max_bandwidth=0)
    move(source, *host.destination(name="next"))
    assert_announced(network, "alaska")


def test_a_tap_that_is_taken_at_the_destination(host, network, tmp_path):
    """The machine never ran there; it gets its tap and its disk back, as often as that happens."""
    image = tmp_path / "root.img"
    image.write_bytes(bytes(MIB))
    drive = ["-drive", f"file={image},id=root"]
    source = host.source([*card(), *drive, "-device", "virtio-blk-pci,drive=root"])
    target, uri = host.destination([*netdev("tasmania"), *drive])
    thief = network.take("tasmania")
    for _ in range(4):
        source.migrate(uri)
        answer = source.wait_migration()
        assert answer["status"] == "failed"
        assert "tap 'tasmania' is in use by another process" in answer["error-desc"]
        assert_still_home(source, network)
        assert [d["locked"] for d in source.qmp.command("query-block")] == [True]
        target.wait_status("inmigrate")
        assert not holds(target, "tasmania")
    assert_unharmed(source)
    os.close(thief)
    move(source, target, uri)
    assert_announced(network, "tasmania")
    assert_unharmed(target)


# ---- what must be the same

OTHER_MAC = "52:54:00:f1:19:48"


@pytest.mark.parametrize("args,texts", [
    (card(device=f"virtio-net-pci,netdev=net0,id=card0,mac={OTHER_MAC}"), [MAC, OTHER_MAC]),
    (["-nodefaults"], ["nic 'net0'", "absent here", "-netdev tap,id=net0"]),
    (card(device=f"virtio-net-pci,netdev=net0,id=card1,mac={MAC}"), ["id=card1"]),
    (card(device=f"virtio-net-pci,netdev=net0,id=card0,addr=9,mac={MAC}"), ["id=card0", "addr"]),
], ids=["mac", "absent", "device-id", "addr"])
def test_a_difference_is_named(host, network, args, texts):
    source = host.source()
    target, uri = host.destination(args)
    source.migrate(uri)
    answer = source.wait_migration()
    assert answer["status"] == "failed" and answer["ram"]["transferred"] < MIB
    for text in texts:
        assert text in answer["error-desc"]
    assert_still_home(source, network)
    target.quit()
    move(source, *host.destination(card(), name="same"))


def test_a_mac_that_the_machine_does_not_have(host):
    """The source's was made up by its monitor; it is the machine's all the same."""
    source = host.source(card(device="virtio-net-pci,netdev=net0,id=card0"))
    _, uri = host.destination(card())
    source.migrate(uri)
    answer = source.wait_migration()
    assert answer["status"] == "failed", answer
    assert MAC in answer["error-desc"]
