"""The sandbox is on, on every thread, and nothing that a machine does needs it to be off."""

import os
import pathlib
import shutil
import subprocess

import pytest

from flight import assert_unharmed, destination, launch, move
from harness.machine import MORE_ARGUMENTS

NET_ADMIN = 1 << 12

pytestmark = pytest.mark.skipif("-sandbox" in MORE_ARGUMENTS, reason="GODWIT_VMM_ARGS says -sandbox")
needs_taps = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/net/tun") or
    not all(map(shutil.which, ("unshare", "nsenter", "ip"))),
    reason="needs root, /dev/net/tun, unshare, nsenter and ip")


def threads(m):
    """{name: {field of /proc/PID/task/TID/status: text}}"""
    found = {}
    for task in pathlib.Path(f"/proc/{m.pid}/task").iterdir():
        try:
            lines = (task / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended as we looked
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        found[f"{task.name} {fields['Name']}"] = fields
    return found


def assert_confined(m, capabilities=0):
    seen = threads(m)
    assert seen
    for name, fields in seen.items():
        assert fields["Seccomp"] == "2", name
        assert fields["NoNewPrivs"] == "1", name
        for which in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            has = int(fields[which], 16)
            assert has & ~capabilities == 0, f"{name}: {which} {has:x}"
    return seen


def test_every_thread_is_confined(machine, tmp_path):
    """Those of a migration too, on both sides; and a name can still be looked up."""
    source = launch(machine, vcpus=2, static=64)
    assert_confined(source)
    target, uri = destination(machine, tmp_path)
    assert_confined(target)
    source.set(max_bandwidth=40 << 20)
    source.migrate(uri.replace("127.0.0.1", "localhost"))
    names = set()
    while source.migration()["status"] in ("setup", "active"):
        names |= {name.split(" ", 1)[1] for name in assert_confined(source)}
        assert_confined(target)
        if len([n for n in names if n.startswith("lane")]) > 1:
            source.set(max_bandwidth=0)
    assert source.migration()["status"] == "completed", source.migration()
    assert {"vcpu-0", "vcpu-1"} <= names and any(n.startswith("lane") for n in names), names
    assert_confined(target)
    assert_unharmed(target, rounds=1, timeout=120)


def test_a_name_nobody_has(machine):
    """The resolver runs confined, and its error is one."""
    source = launch(machine)
    source.migrate("tcp:no-such-host.invalid:4446")
    answer = source.wait_migration()
    assert answer["status"] == "failed"
    assert "no-such-host.invalid" in answer["error-desc"]
    assert source.status() == "running"


@needs_taps
def test_a_named_tap_costs_one_capability(machine):
    """A tap that must be attached again after a migration; in a network of the machine's own."""
    wrap = ["unshare", "-n", "sh", "-c",
            'ip tuntap add dev flight mode tap vnet_hdr && exec "$@"', "sh"]
    m = machine("source", append="static_mib=16 ws_mib=8", wrap=wrap,
                args=["-netdev", "tap,id=net0,ifname=flight", "-device",
                      "virtio-net-pci,netdev=net0"])
    m.witness.wait("READY")
    for fields in assert_confined(m, NET_ADMIN).values():
        assert int(fields["CapEff"], 16) == NET_ADMIN


@pytest.fixture
def network_namespace():
    """One that two machines can share."""
    holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && ip tuntap add dev "
                               "flight mode tap vnet_hdr && echo up && exec sleep 600"],
                              stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"up\n"
    yield ["nsenter", "-n", "-t", str(holder.pid)]
    holder.kill()
    holder.wait()
    holder.stdout.close()


@needs_taps
@pytest.mark.parametrize("board,bus", [("q35", "pci"), ("microvm", "device")])
def test_every_device_moves_confined(machine, tmp_path, network_namespace, board, bus):
    """Disks, named tap and entropy are taken over with no more than the sandbox leaves."""
    for disk in ("cached", "direct"):
        with open(tmp_path / disk, "wb") as f:
            f.truncate(16 << 20)
    backends = ["-drive", f"file={tmp_path}/cached,id=a", "-drive",
                f"file={tmp_path}/direct,id=b,direct=on", "-netdev", "tap,id=n,ifname=flight"]
    devices = ["-machine", board, "-device", f"virtio-blk-{bus},drive=a", "-device",
               f"virtio-blk-{bus},drive=b", "-device", f"virtio-net-{bus},netdev=n", "-device",
               f"virtio-rng-{bus}"]
    here = launch(machine, args=backends + devices, wrap=network_namespace)
    for name in ("there", "back"):
        uri = f"unix:{tmp_path}/{name}.mig"
        there = machine(name, incoming=uri, args=backends, wrap=network_namespace)
        move(here, there, uri)
        assert_confined(there, NET_ADMIN)
        here = there
    assert_unharmed(here, rounds=1, timeout=120)


def test_off_is_off(machine):
    m = launch(machine, args=["-sandbox", "off"])
    assert {fields["Seccomp"] for fields in threads(m).values()} == {"0"}
