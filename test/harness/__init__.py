"""What the tests, the demo and the benchmarks share: machines, QMP, and the witness's lines."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GODWIT_BUILD", ROOT / "build"))
MONITOR = pathlib.Path(os.environ.get("GODWIT_VMM", BUILD / "godwit-vmm"))
WITNESS = BUILD / "guest" / "witness.elf"


def kvm_missing():
    """Why /dev/kvm cannot be used here, or None."""
    if not os.path.exists("/dev/kvm"):
        return "no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission for /dev/kvm (join group kvm)"
    return None
