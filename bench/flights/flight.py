"""One measured migration: a witness, a move, and what the guest and both monitors say of it."""

import dataclasses
import json
import pathlib
import subprocess
import tempfile
import time

from harness import BUILD
from harness.witness import Log

from .cpu import Meter, machine_busy_seconds, resident_mib

WARM = pathlib.Path(__file__).resolve().parent.parent / "warm"
LIMIT = BUILD / "bench" / "limit"
SAMPLE_S = 0.02
FLIGHT_TIMEOUT_S = 300
PATIENCE_S = 300  # with a witness on a crowded machine
QUIET = 0.15  # processors
MARGIN_MIB = 256  # beside the guests' own memory: socket buffers, the monitors themselves
MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Guest:
    """A witness and what it does meanwhile."""

    name: str
    vcpus: int = 1
    static_mib: int = 1792
    ws_mib: int = 256
    rate: int = 100
    idle: str = "spin"
    text: int = 0
    paused: bool = False
    ram_mib: int = 0  # 0: a little more than the data
    verify_ms: int = 4000

    @property
    def data_mib(self):
        return self.static_mib + self.ws_mib

    @property
    def memory_mib(self):
        return self.ram_mib or self.data_mib + 256

    @property
    def memory(self):
        return f"{self.memory_mib}M"

    def line(self):
        return (f"smp={self.vcpus} static_mib={self.static_mib} ws_mib={self.ws_mib} "
                f"rate={self.rate} verify_ms={self.verify_ms} period_ms=250 idle={self.idle} "
                f"idle_us=200 text={self.text}")


class Harmed(Exception):
    """A migration that did not work or hurt its guest: nothing to measure."""


def warm(mib):
    subprocess.run([WARM, str(mib)], check=True)


def others_load(seconds=0.3):
    """How many processors the rest of the machine keeps busy just now."""
    began = machine_busy_seconds()
    time.sleep(seconds)
    return (machine_busy_seconds() - began) / seconds


def wait_quiet(limit, timeout):
    """Waits for a quiet machine, not for ever; returns the load found at last."""
    deadline = time.monotonic() + timeout
    while (load := others_load()) > limit and time.monotonic() < deadline:
        time.sleep(1)
    return load


def stamp(event):
    return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6


def event_of(machine, name, status=None):
    for event in machine.qmp.poll_events():
        if event["event"] == name and status in (None, event.get("data", {}).get("status")):
            return event
    return None


def await_end(source, destination, running, meter):
    """Both ends' own stamps: the source says completed, the destination runs."""
    deadline = time.monotonic() + FLIGHT_TIMEOUT_S
    while time.monotonic() < deadline:
        if event_of(source, "MIGRATION", "failed"):
            raise Harmed(f"migration failed: {source.migration()}")
        completed = event_of(source, "MIGRATION", "completed")
        runs = event_of(destination, "RESUME" if running else "MIGRATION",
                        None if running else "completed")
        if completed and runs:
            return stamp(completed), stamp(runs)
        meter.sample()
        time.sleep(SAMPLE_S)
    raise Harmed(f"no end within {FLIGHT_TIMEOUT_S} s: {source.migration()}")


# ---- what the guest saw ----------------------------------------------------------------------


def joined_log(folder, source, destination):
    """The guest's whole output: the line that was being printed at the stop has two halves."""
    path = folder / "joined.serial"
    path.write_bytes(source.serial.read_bytes() + destination.serial.read_bytes())
    return Log(path)


def usual_gap_ms(machine, periods=4):
    """The longest time without progress that this guest sees while nothing happens."""
    first = machine.witness.last()["n"]
    machine.witness.wait("W", PATIENCE_S, test=lambda w: w["n"] > first + periods)
    return max(w["blackout_us"] for w in machine.witness.all("W") if w["n"] > first) / 1000


def work_rate(machine, periods=4):
    """Pages stamped in a second while nothing happens."""
    first = machine.witness.last()
    last = machine.witness.wait("W", PATIENCE_S, test=lambda w: w["n"] > first["n"] + periods)
    return (last["work"] - first["work"]) * 1000 / (last["up_ms"] - first["up_ms"])


def guest_view(folder, source, destination, before, rate):
    """What the guest saw of it, from its W lines since the migration began.

    blackout: the stop that spans the switch, by the guest's own clock; gap: the longest time
    without progress from the start of the migration to the first report from the destination;
    work lost: the seconds of its own work that it was behind one second after it arrived.
    """
    switch = destination.witness.wait("W", PATIENCE_S,
                                      test=lambda w: w["stops"] > before["stops"])
    after = destination.witness.wait("W", PATIENCE_S, test=lambda w: w["n"] >= switch["n"] + 4)
    lines = joined_log(folder, source, destination).all("W")
    during = [w for w in lines if before["n"] < w["n"] <= switch["n"]]
    passed = (after["up_ms"] - before["up_ms"]) / 1000
    return {"blackout_ms": max(w["stop_us"] for w in during) / 1000,
            "gap_ms": max(w["blackout_us"] for w in during) / 1000,
            "work_lost_s": passed - (after["work"] - before["work"]) / rate if rate else 0}


def prove(source, destination):
    """All memory compared again at the destination, and nothing found."""
    first = destination.witness.wait("W", PATIENCE_S)
    destination.witness.wait("W", PATIENCE_S, test=lambda w: w["pass"] >= first["pass"] + 2 and
                             w["gen"] >= first["gen"] + 1)
    complaints = source.witness.complaints() + destination.witness.complaints()
    if complaints:
        raise Harmed("; ".join(complaints))


# ---- a flight --------------------------------------------------------------------------------


def move(peer, guest, source, destination, uri):
    """The migration itself, and what it cost."""
    before = resident_mib(source.pid)
    meter = Meter([source.pid, destination.pid])
    began = time.time()
    source.migrate(uri)
    completed, runs = await_end(source, destination, not guest.paused, meter)
    cpu = meter.stop()
    answer = source.migration()
    gib = guest.data_mib / 1024
    return {"total_ms": (max(completed, runs) - began) * 1000,
            "completed_ms": (completed - began) * 1000, "runs_ms": (runs - began) * 1000,
            "downtime_ms": peer.downtime_ms(answer), "cpu_s": cpu,
            "cpu_s_per_gib": cpu["all"] / gib,
            "monitor_cpu_s_per_gib": (cpu["all"] - cpu["vcpus"]) / gib, "answer": answer,
            "transferred": answer["ram"]["transferred"],
            "resident_mib": resident_mib(destination.pid)["all"],
            "source_grew_mib": meter.most_own_mib - before["own"],
            "answer_destination": destination.migration()}


def measure(peer, guest, source, destination, uri, folder):
    source.witness.wait("W", PATIENCE_S, test=lambda w: w["pass"] >= 1 and w["gen"] >= 1)
    peer.prepare(source)
    found = {"usual_gap_ms": usual_gap_ms(source)}
    rate = work_rate(source)
    if guest.paused:
        source.qmp.command("stop")
    warm(guest.data_mib + MARGIN_MIB)
    before = source.witness.last()
    found.update(move(peer, guest, source, destination, uri))
    if guest.paused:
        destination.qmp.command("cont")
    else:
        found.update(guest_view(folder, source, destination, before, rate))
    prove(source, destination)
    return found


def move_plainly(peer, guest, source, transport):
    """The same bytes over plain sockets, while the guest goes on as it does."""
    source.witness.wait("W", PATIENCE_S, test=lambda w: w["pass"] >= 1 and w["gen"] >= 1)
    if guest.paused:
        source.qmp.command("stop")
    warm(2 * guest.data_mib + MARGIN_MIB)
    size = peer.transferred or guest.data_mib * MIB
    answer = subprocess.run([LIMIT, str(size), str(peer.lanes), transport], check=True,
                            capture_output=True, text=True).stdout
    told = json.loads(answer)
    gib = guest.data_mib / 1024
    return {"total_ms": told["seconds"] * 1000, "cpu_s_per_gib": told["cpu_seconds"] / gib,
            "monitor_cpu_s_per_gib": told["cpu_seconds"] / gib, "transferred": size,
            "cpu_s": {"all": told["cpu_seconds"], "vcpus": 0.0, "others": 0.0}}


def fly(peer, guest, transport, patience=60.0):
    """One run of one peer; a dictionary of what was measured. Raises Harmed."""
    load = wait_quiet(QUIET, patience)
    source = destination = None
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as name:
        folder = pathlib.Path(name)
        try:
            warm(2 * guest.data_mib + MARGIN_MIB)
            source = peer.source(folder, guest)
            source.witness.wait("READY", PATIENCE_S)
            if peer.plain:
                found = move_plainly(peer, guest, source, transport)
            else:
                destination, uri = peer.destination(folder, guest, transport)
                found = measure(peer, guest, source, destination, uri, folder)
        finally:
            for machine in (source, destination):
                if machine:
                    machine.close()
    return {"peer": peer.name, "load_before": load, **found}
