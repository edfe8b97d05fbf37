"""One measured migration: a witness, a move, and what the guest and both monitors say of it."""

import dataclasses
import pathlib
import subprocess
import tempfile
import time

from harness.witness import Log

from .cpu import Meter, machine_busy_seconds

WARM = pathlib.Path(__file__).resolve().parent.parent / "warm"
SAMPLE_S = 0.02
FLIGHT_TIMEOUT_S = 120
PATIENCE_S = 240  # with a witness on a crowded machine
QUIET = 0.15  # processors
MARGIN_MIB = 256  # beside the guests' own memory: socket buffers, the monitors themselves
MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Guest:
    """A witness and what it does meanwhile."""

    name: str
    vcpus: int = 1
    static_mib: int = 1024
    ws_mib: int = 256
    rate: int = 100
    paused: bool = False

    @property
    def data_mib(self):
        return self.static_mib + self.ws_mib

    @property
    def memory_mib(self):
        return self.data_mib + 256

    @property
    def memory(self):
        return f"{self.memory_mib}M"

    def line(self):
        return (f"smp={self.vcpus} static_mib={self.static_mib} ws_mib={self.ws_mib} "
                f"rate={self.rate} verify_ms=2000 period_ms=250 idle=spin")


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


def joined_log(folder, source, destination):
    """The guest's whole output: the line that was being printed at the stop has two halves."""
    path = folder / "joined.serial"
    path.write_bytes(source.serial.read_bytes() + destination.serial.read_bytes())
    return Log(path)


def guest_view(folder, source, destination, before):
    """What the guest saw of it, from its W lines since the migration began.

    blackout: the stop that spans the switch, by the guest's own clock; gap: the longest time
    without progress from the start of the migration to the first report from the destination.
    """
    switch = destination.witness.wait("W", PATIENCE_S,
                                      test=lambda w: w["stops"] > before["stops"])
    lines = joined_log(folder, source, destination).all("W")
    during = [w for w in lines if before["n"] < w["n"] <= switch["n"]]
    return {"blackout_ms": max(w["stop_us"] for w in during) / 1000,
            "gap_ms": max(w["blackout_us"] for w in during) / 1000}


def prove(source, destination):
    """All memory compared again at the destination, and nothing found."""
    first = destination.witness.wait("W", PATIENCE_S)
    destination.witness.wait("W", PATIENCE_S, test=lambda w: w["pass"] >= first["pass"] + 2 and
                             w["gen"] >= first["gen"] + 1)
    complaints = source.witness.complaints() + destination.witness.complaints()
    if complaints:
        raise Harmed("; ".join(complaints))


def move(peer, guest, source, destination, uri):
    """The migration itself, and what it cost."""
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
            "answer_destination": destination.migration()}


def measure(peer, guest, source, destination, uri, folder):
    source.witness.wait("W", PATIENCE_S, test=lambda w: w["pass"] >= 1 and w["gen"] >= 1)
    peer.prepare(source)
    if guest.paused:
        source.qmp.command("stop")
    warm(guest.memory_mib + MARGIN_MIB)
    before = source.witness.last()
    found = move(peer, guest, source, destination, uri)
    if guest.paused:
        destination.qmp.command("cont")
    prove(source, destination)
    if not guest.paused:
        found.update(guest_view(folder, source, destination, before))
    return found


def fly(peer, guest, transport, patience=60.0):
    """One run of one monitor; a dictionary of what was measured. Raises Harmed."""
    load = wait_quiet(QUIET, patience)
    source = destination = None
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as name:
        folder = pathlib.Path(name)
        try:
            warm(2 * guest.memory_mib + MARGIN_MIB)
            source = peer.source(folder, guest)
            source.witness.wait("READY", PATIENCE_S)
            destination, uri = peer.destination(folder, guest, transport)
            found = measure(peer, guest, source, destination, uri, folder)
        finally:
            for machine in (source, destination):
                if machine:
                    machine.close()
    return {"peer": peer.name, "load_before": load, **found}
