"""How KVM tells what the guest writes: by its bitmap or by the vCPUs' rings, with the same result."""

import os
import time

import pytest

from flight import assert_unharmed, destination, launch, move

RING = ("-accel", "kvm,dirty-ring-size=1024")


@pytest.mark.parametrize("here, there", [(RING, ()), ((), RING), (RING, RING)],
                         ids=["ring-bitmap", "bitmap-ring", "ring-ring"])
def test_moves_by_either(machine, tmp_path, here, there):
    """A guest that rewrites its memory all the time, and whose ring fills many times."""
    source = launch(machine, vcpus=2, ws=32, rate=200, args=here)
    target, uri = destination(machine, tmp_path, args=there)
    answer = move(source, target, uri)
    assert answer["ram"]["dirty-sync-count"] >= 2
    assert_unharmed(target)


def test_cancelled_and_moved_again(machine, tmp_path):
    """A log that was ended begins again."""
    source = launch(machine, vcpus=2, ws=32, rate=200, args=RING)
    target, uri = destination(machine, tmp_path)
    source.set(max_bandwidth=8 << 20)
    source.migrate(uri)
    time.sleep(0.5)
    source.qmp.command("migrate_cancel")
    assert source.wait_migration()["status"] == "cancelled"
    assert_unharmed(source)
    source.set(max_bandwidth=0)
    move(source, target, uri)
    assert_unharmed(target)


def free_huge_pages():
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines
                        if line.startswith("HugePages_Free"))
    except (OSError, StopIteration):
        return 0


@pytest.mark.parametrize("log", [(), RING], ids=["bitmap", "ring"])
def test_memory_from_the_pool_of_huge_pages(machine, tmp_path, log):
    """Pages of 2 MiB, and yet what is dirty is known by 4 KiB: a guest that writes little sends
    little."""
    if not os.path.ismount("/dev/hugepages") or free_huge_pages() < 256:
        pytest.skip("needs 256 huge pages: mount -t hugetlbfs none /dev/hugepages; "
                    "echo 256 > /proc/sys/vm/nr_hugepages")
    args = ("-mem-path", "/dev/hugepages") + log
    source = launch(machine, memory="256M", ws=16, rate=20, args=args)
    target, uri = destination(machine, tmp_path, args=log)
    answer = move(source, target, uri)
    assert answer["ram"]["transferred"] < 128 << 20
    assert_unharmed(target)
