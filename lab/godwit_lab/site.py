"""The three hosts and what joins them: a and b run machines, store serves disks and watches.

The store's QEMU process holds both networks as hubs, so that no frame between a and b costs
an emulated instruction anywhere else:

    a ──lan── hub ──lan── b        guests, migrations; delay, loss and rate when asked
              │
            store
              │
    a ──san── hub ──san── b        NFSv4, clock comparison; always clean
"""

import time
from dataclasses import dataclass
from pathlib import Path

from .host import Boot, Host, HostError, Plan

NETWORKS = ("lan", "san")
STORE_ADDRESS, A_ADDRESS, B_ADDRESS = 9, 1, 2


@dataclass(frozen=True)
class Link:
    """What the lan does to frames, in netem's own words ("20ms", "1%", "200mbit")."""

    delay: str = ""
    loss: str = ""
    rate: str = ""

    def netem(self) -> str:
        words = {"delay": self.delay, "loss": self.loss, "rate": self.rate}
        return " ".join(f"{word} {value}" for word, value in words.items() if value)


def mac(network: int, address: int) -> str:
    """A locally administered address that says whose it is."""
    return f"52:54:00:09:{network:02x}:{address:02x}"


def nic(network: int, address: int) -> str:
    """A host's network device. Jumbo frames: emulated hosts pay by the frame."""
    return (f"virtio-net-pci,netdev={NETWORKS[network]},mac={mac(network, address)},"
            f"host_mtu=9000,romfile=")


def port(folder: Path, network: int, host: str, address: int) -> list[str]:
    """QEMU arguments of a host's end of the cable to the store's hub."""
    name = NETWORKS[network]
    return ["-netdev", f"stream,id={name},server=off,addr.type=unix,"
                       f"addr.path={folder}/{name}-{host}.cable",
            "-device", nic(network, address)]


def hub(folder: Path, network: int, hosts: tuple[str, ...]) -> list[str]:
    """QEMU arguments of a hub with a cable to each host and a port of the store's own."""
    name = NETWORKS[network]
    arguments = []
    for host in hosts:
        arguments += [
            "-netdev", f"stream,id={name}-{host},server=on,addr.type=unix,"
                       f"addr.path={folder}/{name}-{host}.cable",
            "-netdev", f"hubport,id={name}-{host}-port,hubid={network},netdev={name}-{host}"]
    return arguments + [
        "-netdev", f"hubport,id={name},hubid={network}",
        "-device", nic(network, STORE_ADDRESS)]


class Site:
    """A running lab. Use as a context: leaving it ends every host it started."""

    def __init__(self, folder: Path, boot: Boot, cpus: dict[str, str],
                 store_disk: Path | None = None, raw_disk: Path | None = None) -> None:
        self.folder = folder
        self._boot = boot
        self._has_storage = store_disk is not None
        shared = [raw_disk] if raw_disk else []
        self._plans = [Plan("store", "EPYC", STORE_ADDRESS,
                            hub(folder, 0, ("a", "b")) + hub(folder, 1, ("a", "b")),
                            [store_disk] if store_disk else [], memory_mib=512)]
        for name, address in (("a", A_ADDRESS), ("b", B_ADDRESS)):
            ports = port(folder, 0, name, address) + port(folder, 1, name, address)
            self._plans.append(Plan(name, cpus[name], address, ports, shared))
        self._hosts: dict[str, Host] = {}

    def __enter__(self) -> "Site":
        try:
            for plan in self._plans:
                self._start(plan)
            for host in self._hosts.values():
                host.wait_until_up()
            if self._has_storage:
                self._share_storage()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts.values():
            host.kill()

    def _start(self, plan: Plan) -> None:
        self._hosts[plan.name] = Host(plan, self._boot, self.folder)
        if plan.name == "store":
            self._wait_for_cables()

    def _wait_for_cables(self) -> None:
        wanted = [self.folder / f"{name}-{host}.cable" for name in NETWORKS for host in "ab"]
        deadline = time.monotonic() + 10
        while not all(path.exists() for path in wanted):
            if time.monotonic() > deadline or self.store.process.poll() is not None:
                said = (self.folder / "store.qemu").read_text(errors="replace")
                raise HostError(f"the store's networks did not appear: {said}")
            time.sleep(0.02)

    def _share_storage(self) -> None:
        self.store.run("/serve-storage")
        for host in (self.a, self.b):
            host.run(f"labtool mount-nfs {self.store.plan.san} / /shared {host.plan.san}")

    def impair(self, link: Link) -> None:
        """Makes the lan between a and b slow, long or lossy, in both directions."""
        for host in (self.a, self.b):
            if link.netem():
                # By its path: busybox's shell would take its own tc, which knows no netem.
                host.run("/usr/sbin/tc qdisc replace dev eth0 root netem limit 10000 "
                         + link.netem())

    def align_clocks(self) -> dict[str, str]:
        """Sets a's and b's wall clocks by the store's; says how close they are."""
        return {host.name: host.run(f"labtool clock {self.store.plan.san} 7 set").strip()
                for host in (self.a, self.b)}

    def power_off(self) -> None:
        """Ends all hosts in order, the store last."""
        for name in ("a", "b", "store"):
            self._hosts[name].power_off()

    @property
    def store(self) -> Host:
        return self._hosts["store"]

    @property
    def a(self) -> Host:
        return self._hosts["a"]

    @property
    def b(self) -> Host:
        return self._hosts["b"]
