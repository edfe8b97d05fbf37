"""A link of a known speed: two network namespaces of our own, a pair of ends, a token bucket."""

import os
import subprocess


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Link:
    """Two hosts, `megabits` between them in either direction. Use with `with`."""

    address = "192.0.2.2"  # of the second host

    def __init__(self, megabits):
        self.megabits = megabits
        self.names = [f"gw{os.getpid()}{side}" for side in "ab"]

    def enter(self, side):
        """The command before a command that shall run on this host."""
        return ("ip", "netns", "exec", self.names[side])

    def __enter__(self):
        a, b = self.names
        for name in self.names:
            ip("netns", "add", name)
        ip("-n", a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b)
        for side, name in enumerate(self.names):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", f"192.0.2.{side + 1}/24", "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
            subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", "wire", "root", "tbf", "rate",
                            f"{self.megabits}mbit", "burst", "256kb", "latency", "20ms"], check=True)
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False)
