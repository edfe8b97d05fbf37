"""Disks of a machine that moves: who holds an image when, and what must be the same on both sides.

The witness has the disk but does not use it: what is shown here is the monitor's part."""

import hashlib
import os
import subprocess
import time

import pytest

from flight import assert_unharmed, destination, move, witness_line
from harness import MONITOR, WITNESS
from harness.machine import MORE_ARGUMENTS

MIB = 1 << 20
SMALL = {"static": 8, "ws": 4, "rate": 20, "verify_ms": 200, "period_ms": 100, "idle_us": 4000}
ELSEWHERE = "another machine holds it"
ARRIVING = "the destination of a migration, has reserved it"


@pytest.fixture
def image(tmp_path):
    """A disk full of bytes that nobody has a reason to change."""
    path = tmp_path / "root.img"
    path.write_bytes(os.urandom(MIB) * 4)
    before = hashlib.sha256(path.read_bytes()).digest()
    yield path
    assert hashlib.sha256(path.read_bytes()).digest() == before


def drive(path, **more):
    words = {"file": path, "id": "root", **more}
    return ["-drive", ",".join(f"{k}={v}" for k, v in words.items())]


def disk(path, device="virtio-blk-pci,drive=root,id=disk0", **more):
    return [*drive(path, **more), "-device", device]


def witness(machine, name, args):
    m = machine(name, append=witness_line(**SMALL), args=args)
    m.witness.wait("READY", 60)
    return m


def assert_refused(path, why, **more):
    """A machine of a third party does not start; nothing of it stays, so this can be asked often."""
    done = subprocess.run([MONITOR, *MORE_ARGUMENTS, "-kernel", WITNESS, "-append", witness_line(),
                           "-serial", "none", *disk(path, **more)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"disk image '{path}' is in use" in done.stderr and why in done.stderr, done.stderr


def locked(m):
    """Whether this monitor says that it holds the image."""
    return any(d["locked"] for d in m.qmp.command("query-block") if d["device"] == "root")


def hold_in_precopy(source, uri):
    """Until max-bandwidth is lifted or somebody ends it; the destination has reserved its disks."""
    source.set(max_bandwidth=2 * MIB)
    source.migrate(uri)
    deadline = time.monotonic() + 20
    while source.migration().get("ram", {}).get("transferred", 0) < MIB // 8:  # pages, by then
        assert time.monotonic() < deadline, source.migration()
        time.sleep(0.005)


# ---- there and back

@pytest.mark.parametrize("board,device,more", [
    ("q35", "virtio-blk-pci", {}),
    ("q35", "virtio-blk-pci", {"direct": "on"}),
    ("microvm", "virtio-blk-device", {}),
    ("microvm", "virtio-blk-device", {"direct": "on"})])
def test_there_and_back(machine, tmp_path, image, board, device, more):
    """A destination that knows its back-ends only, and the first host again."""
    if more:
        try:
            os.close(os.open(image, os.O_RDWR | os.O_DIRECT))
        except OSError:
            pytest.skip("the file system of the tests' folder does not do direct I/O")
    here = witness(machine, "source", ["-machine", board,
                                       *disk(image, f"{device},drive=root,id=disk0", **more)])
    for trip in range(2):
        assert locked(here)
        there, uri = destination(machine, tmp_path, f"stop{trip}", args=drive(image, **more))
        assert not locked(there)
        move(here, there, uri)
        assert locked(there) and not locked(here)
        here = there
    assert_unharmed(here)


def test_the_commands_of_the_stratovirt_page(machine, tmp_path, image):
    """As printed there, but for the program, the kernel, and where the sockets and serial ports are.
    (The words behind root= are the witness's.)"""
    page = ["-machine", "q35", "-kernel", WITNESS, "-append",
            f"console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda {witness_line(**SMALL)}",
            "-drive", f"file={image},id=rootfs,readonly=off,direct=off",
            "-device", "virtio-blk-pci,drive=rootfs,id=rootfs,bus=pcie.0,addr=0"]
    source = machine("socket1", args=page)
    source.witness.wait("READY", 60)
    target = machine("socket2", args=page, incoming=f"unix:{tmp_path}/stratovirt-migrate.socket")
    for m in (source, target):
        assert m.log_text().count("pci=off") == 1, m.log_text()
    move(source, target, f"unix:{tmp_path}/stratovirt-migrate.socket")
    source.quit()
    back = machine("socket1", args=page, incoming="tcp:127.0.0.1:0")
    move(target, back, back.listening_uri())
    assert_unharmed(back)


def test_no_warning_without_reason(machine, image):
    """Nobody misses PCI on a board that has none, or disks on a machine that has none."""
    append = f"pci=off {witness_line(**SMALL)}"
    for name, args in (("microvm", ["-machine", "microvm", *disk(
            image, "virtio-blk-device,drive=root")]), ("diskless", [])):
        m = machine(name, append=append, args=args)
        m.witness.wait("READY", 60)
        assert "pci=off" not in m.log_text()
        m.quit()


# ---- who holds the image

def test_one_machine_an_image(machine, tmp_path, image):
    """At no moment of a move, and not after it, is there room for a third party."""
    source = witness(machine, "source", disk(image))
    assert_refused(image, ELSEWHERE)
    target, uri = destination(machine, tmp_path, args=drive(image))
    assert_refused(image, ELSEWHERE)  # that somebody waits for a machine reserves nothing
    hold_in_precopy(source, uri)
    assert_refused(image, ARRIVING)
    assert_refused(image, ARRIVING, readonly="on")
    assert source.migration()["status"] == "active"
    source.set(max_bandwidth=0)
    assert source.wait_migration()["status"] == "completed"
    assert_refused(image, ELSEWHERE)
    source.quit()
    assert_refused(image, ELSEWHERE)
    assert_unharmed(target)
    target.quit()
    witness(machine, "next", disk(image))


def test_a_canceled_move_gives_the_reservation_back(machine, tmp_path, image):
    source = witness(machine, "source", disk(image))
    target, uri = destination(machine, tmp_path, args=drive(image))
    hold_in_precopy(source, uri)
    assert_refused(image, ARRIVING)
    source.qmp.command("migrate_cancel")
    assert source.wait_migration()["status"] == "cancelled"
    target.wait_migration(("failed", "cancelled", "none"), 10)
    assert locked(source) and not locked(target)
    assert_refused(image, ELSEWHERE)
    source.set(max_bandwidth=0)
    move(source, target, uri)
    assert_unharmed(target)


def test_a_destination_that_dies_leaves_no_reservation(machine, tmp_path, image):
    source = witness(machine, "source", disk(image))
    target, uri = destination(machine, tmp_path, args=drive(image))
    hold_in_precopy(source, uri)
    target.kill()
    assert source.wait_migration()["status"] == "failed"
    assert locked(source)
    assert_refused(image, ELSEWHERE)
    source.set(max_bandwidth=0)
    move(source, *destination(machine, tmp_path, "next", args=drive(image)))


def test_an_image_that_another_machine_holds(machine, tmp_path, image):
    """The destination's copy is in use: the machine never ran there, and goes on at home."""
    copy = tmp_path / "copy.img"
    copy.write_bytes(image.read_bytes())
    source = witness(machine, "source", disk(image))
    other = witness(machine, "other", disk(copy))
    target, uri = destination(machine, tmp_path, args=drive(copy))
    for _ in range(2):
        source.migrate(uri)
        answer = source.wait_migration()
        assert answer["status"] == "failed"
        assert str(copy) in answer["error-desc"] and ELSEWHERE in answer["error-desc"]
        assert source.status() == "running" and locked(source) and locked(other)
        target.wait_status("inmigrate")
    assert_refused(image, ELSEWHERE)
    other.quit()
    move(source, target, uri)
    assert_unharmed(target)


def test_read_only_disks_are_shared(machine, tmp_path, image):
    """By any number of machines, one of which moves; nobody may write meanwhile."""
    mover = witness(machine, "mover", disk(image, readonly="on"))
    other = witness(machine, "other", disk(image, readonly="on"))
    assert_refused(image, ELSEWHERE)
    target, uri = destination(machine, tmp_path, args=drive(image, readonly="on"))
    move(mover, target, uri)
    assert_unharmed(target)
    assert locked(target) and locked(other)
    mover.quit()
    other.quit()
    assert_refused(image, ELSEWHERE)


# ---- what must be the same

def test_every_difference_is_named(machine, tmp_path, image):
    """And refused, before anything of the machine moves; the source does not feel it."""
    small = tmp_path / "small.img"
    small.write_bytes(bytes(MIB))
    source = witness(machine, "source",
                     disk(image, "virtio-blk-pci,drive=root,id=disk0,addr=4,serial=flight"))
    cases = {
        "size": (drive(small), "disk 'root' size: 4 MiB at the source, 1 MiB here"),
        "readonly": (drive(image, readonly="on"),
                     "disk 'root' access: writable at the source, read-only here"),
        "absent": ([], "disk 'root': present at the source, absent here"),
        "other-id": (["-drive", f"file={image},id=data"],
                     "disk 'root': present at the source, absent here"),
        "serial": (disk(image, "virtio-blk-pci,drive=root,id=disk0,addr=4,serial=ostrich"),
                   "-device id=disk0: serial: flight at the source, ostrich here"),
        "addr": (disk(image, "virtio-blk-pci,drive=root,id=disk0,addr=5,serial=flight"),
                 "-device id=disk0: addr: 4 at the source, 5 here"),
        "device-id": (disk(image, "virtio-blk-pci,drive=root,id=disk1,addr=4"),
                      "-device id=disk1: absent at the source, present here"),
        "count": ([*disk(image, "virtio-blk-pci,drive=root,id=disk0,addr=4"), "-device",
                   "virtio-rng-pci,id=rng0,addr=6"],
                  "number of -device: 1 at the source, 2 here"),
        "board": (["-machine", "microvm", *disk(image, "virtio-blk-device,drive=root,id=disk0")],
                  "-machine: q35-1.0 at the source, microvm-1.0 here"),
    }
    for name, (args, text) in cases.items():
        target, uri = destination(machine, tmp_path, name, args=args)
        source.migrate(uri)
        answer = source.wait_migration()
        assert answer["status"] == "failed" and answer["ram"]["transferred"] < MIB, (name, answer)
        assert text in answer["error-desc"], (name, answer["error-desc"])
        assert source.status() == "running" and locked(source)
        assert target.status() == "inmigrate"
        target.quit()
    assert_refused(image, ELSEWHERE)
    assert_unharmed(source)
    same = disk(image, "virtio-blk-pci,drive=root,id=disk0,addr=4,serial=flight")
    move(source, *destination(machine, tmp_path, args=same))
