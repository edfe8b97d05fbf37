"""Processor time, from /proc: of both monitors, of their vCPU threads, of everyone else."""

import os

TICK = os.sysconf("SC_CLK_TCK")


def process_seconds(pid):
    """utime + stime of a process, threads that have ended included."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def machine_busy_seconds():
    """What all processors of this machine together have spent on anything."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def resident_mib(pid):
    """What a process keeps in memory: all of it, and what is its own (not shared with a file)."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in f
               if line.startswith(("VmRSS", "RssAnon", "RssShmem"))}
    return {"all": kib["VmRSS"] / 1024, "own": kib["RssAnon"] / 1024}


def thread_names(pid):
    names = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as f:
                names[tid] = f.read().strip()
        except FileNotFoundError:
            pass
    return names


def is_vcpu(name):
    return name.startswith("vcpu-") or name.startswith("CPU ")


class Meter:
    """What was spent between start and stop.

    A vCPU's thread may end before the migration is over and its own time goes with it, so sample()
    is called now and then; what it misses is the time since the last call.  The processes' sums
    miss nothing.
    """

    def __init__(self, pids):
        self.pids = pids
        self.processes = sum(map(process_seconds, pids))
        self.own = sum(os.times()[:2])
        self.busy = machine_busy_seconds()
        self.vcpu_begin = {}
        self.vcpu_now = {}
        self.most_own_mib = 0.0
        self.sample()

    def sample(self):
        self.most_own_mib = max(self.most_own_mib, resident_mib(self.pids[0])["own"])
        for pid in self.pids:
            for tid, name in thread_names(pid).items():
                if is_vcpu(name):
                    self._sample_thread(pid, tid)

    def _sample_thread(self, pid, tid):
        try:
            with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
                now = int(f.read().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            return
        self.vcpu_begin.setdefault(tid, 0.0 if self.vcpu_now else now)
        self.vcpu_now[tid] = now

    def stop(self):
        """Seconds: of both processes, of their vCPU threads, of everything else on the machine."""
        self.sample()
        processes = sum(map(process_seconds, self.pids)) - self.processes
        vcpus = sum(now - self.vcpu_begin[tid] for tid, now in self.vcpu_now.items())
        busy = machine_busy_seconds() - self.busy
        own = sum(os.times()[:2]) - self.own
        return {"all": processes, "vcpus": vcpus, "others": max(0.0, busy - processes - own)}
