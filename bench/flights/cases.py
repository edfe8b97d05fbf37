"""The cases: which guest, over what, who is compared, and what is promised about it."""

import contextlib
import dataclasses
from statistics import median

from .flight import Guest
from .network import Link
from .peers import Godwit, Limit, Qemu
from .table import values

US = "godwit"
QEMUS = ("QEMU", "QEMU multifd x2")
GIGABIT = 1000


@dataclasses.dataclass
class Case:
    """One table. peers(link) makes who is compared; bars(runs) yields (text, kept)."""

    guest: Guest
    transport: str
    peers: object
    bars: object
    columns: tuple
    megabits: int = 0

    @property
    def name(self):
        return self.guest.name

    def link(self):
        return Link(self.megabits) if self.megabits else contextlib.nullcontext()


def middle(runs, peer, key):
    found = values(runs, peer, key)
    return median(found) if found else None


def best(runs, peers, key):
    return min(m for m in (middle(runs, p, key) for p in peers) if m is not None)


def at_most(text, got, bound, digits=2):
    return f"{text}: {got:.{digits}f}, at most {bound:.{digits}f}", got <= bound


# ---- the bars --------------------------------------------------------------------------------


def bars_full(share):
    def bars(runs):
        total = middle(runs, US, "total_ms")
        limit = middle(runs, "limit", "total_ms")
        yield f"of bench/limit: {limit / total:.2f}, at least 0.90", limit / total >= 0.9
        if share:
            yield at_most("total beside QEMU's best", total / best(runs, QEMUS, "total_ms"), share)
        cpu = middle(runs, US, "monitor_cpu_s_per_gib")
        yield at_most("CPU s/GiB without vCPUs beside QEMU's best",
                      cpu / best(runs, QEMUS, "monitor_cpu_s_per_gib"), 0.6)
    return bars


def bars_blackout(runs):
    ours = middle(runs, US, "blackout_ms")
    yield at_most("blackout, ms", ours, 2.0)
    yield at_most("blackout beside QEMU's best", ours / best(runs, QEMUS, "blackout_ms"), 0.6)
    yield f"(the longest gap without a migration: {middle(runs, US, 'usual_gap_ms'):.2f} ms)", True


def bars_sparse(runs):
    yield at_most("total beside QEMU's best",
                  middle(runs, US, "total_ms") / best(runs, QEMUS, "total_ms"), 0.3)
    touched = SPARSE.data_mib
    yield at_most("destination's resident memory over what was touched",
                  middle(runs, US, "resident_mib") / touched, 1.05)


def bars_flat_out(runs):
    for key, text in (("total_ms", "total"), ("work_lost_s", "guest work lost, s")):
        yield at_most(f"{text} beside QEMU's best", middle(runs, US, key), best(runs, QEMUS, key))


def bars_text(runs):
    gain = middle(runs, "godwit, none", "total_ms") / middle(runs, US, "total_ms")
    yield f"faster than without compression: {gain:.2f} times, at least 2.00", gain >= 2


def bars_random(runs):
    yield at_most("beside no compression",
                  middle(runs, US, "total_ms") / middle(runs, "godwit, none", "total_ms"), 1.03)


def bars_digest(runs):
    yield at_most("with the digest beside without",
                  middle(runs, US, "total_ms") / middle(runs, "godwit, no digest", "total_ms"), 1.05)


# ---- who ------------------------------------------------------------------------------------


def everyone(_link):
    return (Godwit(), Qemu(), Qemu(channels=2), Limit())


def monitors(_link):
    return (Godwit(), Qemu(), Qemu(channels=2))


def converging(_link):
    return (Godwit(capabilities=("auto-converge",)), Qemu(capabilities=("auto-converge",)),
            Qemu(channels=2, capabilities=("auto-converge",)))


def compressing(link):
    return (Godwit(link=link), Godwit("godwit, none", {"multifd_compression": "none"}, link=link))


def hashing(_link):
    return (Godwit(), Godwit("godwit, no digest", {"verify_ram": False}))


# ---- the list -------------------------------------------------------------------------------

BUSY = Guest("busy")
PAUSED = Guest("paused", paused=True)
IDLE = Guest("idle", idle="hlt")
SMP = Guest("smp", vcpus=2)
SPARSE = Guest("sparse", static_mib=448, ws_mib=64, rate=20, idle="hlt", ram_mib=16384)
FLAT_OUT = Guest("flat-out", static_mib=1024, ws_mib=1024, rate=0, verify_ms=60000)
TEXT = Guest("text", static_mib=960, ws_mib=64, rate=10, idle="hlt", text=1)
RANDOM = Guest("random", static_mib=960, ws_mib=64, rate=10, idle="hlt")

TOTALS = ("total_ms", "blackout_ms", "gap_ms", "downtime_ms", "cpu_s_per_gib",
          "monitor_cpu_s_per_gib")
GAPS = ("blackout_ms", "gap_ms", "usual_gap_ms", "downtime_ms", "total_ms")
SPACE = ("total_ms", "resident_mib", "blackout_ms", "cpu_s_per_gib")
WORK = ("total_ms", "work_lost_s", "blackout_ms", "gap_ms", "cpu_s_per_gib")

CASES = [
    Case(BUSY, "tcp", everyone, bars_full(0.6), TOTALS),
    Case(BUSY, "unix", everyone, bars_full(0.5), TOTALS),
    Case(PAUSED, "tcp", everyone, bars_full(None), TOTALS),
    Case(PAUSED, "unix", everyone, bars_full(None), TOTALS),
    Case(IDLE, "tcp", monitors, bars_blackout, GAPS),
    Case(IDLE, "unix", monitors, bars_blackout, GAPS),
    Case(SPARSE, "tcp", monitors, bars_sparse, SPACE),
    Case(FLAT_OUT, "tcp", converging, bars_flat_out, WORK),
    Case(TEXT, "tcp", compressing, bars_text, TOTALS, GIGABIT),
    Case(RANDOM, "tcp", compressing, bars_random, TOTALS, GIGABIT),
    Case(Guest("digest"), "unix", hashing, bars_digest, TOTALS),
    Case(SMP, "tcp", monitors, lambda runs: (), TOTALS),
]
