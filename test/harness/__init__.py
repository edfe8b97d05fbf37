"""What the tests, the demo and the benchmarks share: machines, QMP, and the witness's lines."""

import fcntl
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GODWIT_BUILD", ROOT / "build"))
MONITOR = pathlib.Path(os.environ.get("GODWIT_VMM", BUILD / "godwit-vmm"))
WITNESS = BUILD / "guest" / "witness.elf"
KVM_GET_API_VERSION = 0xAE00


def kvm_missing():
    """Why /dev/kvm cannot be used here, or None."""
    if not os.path.exists("/dev/kvm"):
        return "no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission for /dev/kvm (join group kvm)"
    with open("/dev/kvm", "rb", buffering=0) as device:
        try:
            if fcntl.ioctl(device, KVM_GET_API_VERSION) == 12:
                return None
        except OSError:
            pass
    return "/dev/kvm is there, but does not answer as KVM does"
