"""Which lines of a guest's kernel log the lab takes for complaints."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from godwit_lab.scenario import COMPLAINTS  # noqa: E402 (the path comes first)


@pytest.mark.parametrize("line", [
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:97]",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "rcu: INFO: rcu_sched detected stalls on CPUs/tasks: { 1 }",
    "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because "
    "the skew is too large:",
    "tsc: Marking TSC unstable due to clocksource watchdog",
    "INFO: task kworker/0:1:23 blocked for more than 120 seconds.",
    "NETDEV WATCHDOG: eth0 (virtio_net): transmit queue 0 timed out",
    "blk_update_request: I/O error, dev vda, sector 2048 op 0x1:(WRITE)",
    "EXT4-fs error (device vda): ext4_lookup:1855: inode #2: comm sh: deleted inode referenced",
])
def test_trouble_is_seen(line: str) -> None:
    assert COMPLAINTS.search(line)


@pytest.mark.parametrize("line", [
    "clocksource: Switched to clocksource kvm-clock",
    "clocksource: Long readout interval, skipping watchdog check: cs_nsec: 1021727067 "
    "wd_nsec: 1021726650",
    "tsc: Marking TSC unstable due to TSCs unsynchronized",
    "NMI watchdog: Perf NMI watchdog permanently disabled",
    "EXT4-fs (vda): mounted filesystem with ordered data mode. Quota mode: none.",
])
def test_ordinary_lines_are_not(line: str) -> None:
    assert not COMPLAINTS.search(line)
