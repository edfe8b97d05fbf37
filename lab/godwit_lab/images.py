"""What the lab boots: initramfs images and disks, all made without root and without mounts."""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .kernel import Kernel
from .need import run, which

LAB = Path(__file__).resolve().parent.parent

HOST_MODULES = ["kvm-amd", "virtio_pci", "virtio_net", "virtio_blk", "virtio_console", "bridge",
                "tun", "nfsv4", "nfsd", "sch_netem", "sch_tbf"]
GUEST_MODULES = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio-rng"]

GUEST_DISK_MIB = 96
STORE_DISK_MIB = 512


@dataclass
class Programs:
    """Programs and data files to put into the hosts, by the path they get there."""

    executables: dict[str, Path] = field(default_factory=dict)
    data: dict[str, Path] = field(default_factory=dict)


def libraries(program: Path) -> list[Path]:
    """The shared libraries a program loads, its interpreter included."""
    listed = subprocess.run([which("ldd"), program], capture_output=True, text=True, check=False)
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listed.stdout)]


def copy(source: Path, root: Path, where: str) -> None:
    """Copies one file, following links, to the absolute path it has inside root."""
    target = root / where.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def pack(root: Path, archive: Path) -> None:
    """Makes an initramfs of a tree."""
    run("sh", "-c", f"find . | cpio -o -H newc -R 0:0 --quiet | lz4 -l -1 -f - '{archive}'",
        cwd=root)


def base_tree(root: Path, kernel: Kernel, modules: list[str]) -> None:
    """Busybox, and the modules with the order in which to load them."""
    copy(Path(which("busybox")), root, "/bin/busybox")
    order = kernel.module_order(modules)
    for module in order:
        copy(module, root, f"/modules/{module.name}")
    (root / "modules" / "order").write_text("".join(f"{m.name}\n" for m in order))


def guest_initrd(scratch: Path, kernel: Kernel) -> Path:
    """The initramfs that takes a guest to its disk."""
    root, archive = scratch / "guest-initrd", scratch / "guest-initrd.lz4"
    base_tree(root, kernel, GUEST_MODULES)
    copy(LAB / "guest" / "init", root, "/init")
    pack(root, archive)
    return archive


def guest_disk(scratch: Path, labtool: Path) -> Path:
    """A guest's ext4 root: the raw device as it is, and the model of those on the store."""
    root, disk = scratch / "guest-root", scratch / "raw.img"
    for folder in ("bin", "dev", "proc", "run", "sbin", "sys", "work"):
        (root / folder).mkdir(parents=True)
    copy(Path(which("busybox")), root, "/bin/busybox")
    copy(labtool, root, "/bin/labtool")
    copy(LAB / "guest" / "rc", root, "/sbin/init")
    copy(LAB / "guest" / "workload", root, "/sbin/workload")
    (root / "bin" / "sh").symlink_to("busybox")
    shutil.copytree(LAB / "guest" / "cgi-bin", root / "www" / "cgi-bin")
    make_ext4(root, disk, GUEST_DISK_MIB)
    return disk


def store_disk(scratch: Path, guest: Path, names: list[str]) -> Path:
    """The disk the storage host exports: a copy of the guest's disk for each name."""
    root, disk = scratch / "store-root", scratch / "store.img"
    root.mkdir()
    for name in names:
        copy(guest, root, f"/{name}")
    make_ext4(root, disk, STORE_DISK_MIB)
    return disk


def make_ext4(root: Path, disk: Path, mib: int) -> None:
    """An ext4 image filled from a folder."""
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d", root, disk, f"{mib}M")


def host_initrd(scratch: Path, kernel: Kernel, labtool: Path, programs: Programs,
                guest_files: dict[str, Path]) -> Path:
    """The one initramfs all hosts boot; the kernel's command line tells them apart.

    guest_files is what monitors boot, by its name in /guest.
    """
    root, archive = scratch / "host", scratch / "host.lz4"
    base_tree(root, kernel, HOST_MODULES)
    for folder in ("dev", "proc", "sys", "tmp", "run", "etc", "var/lib/nfs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for script in ("init", "agent", "serve-storage"):
        copy(LAB / "host" / script, root, f"/{script}")
    copy(labtool, root, "/bin/labtool")
    for name, source in guest_files.items():
        copy(source, root, f"/guest/{name}")
    tools = {f"/usr/sbin/{name}": Path(which(name)) for name in ("exportfs", "rpc.mountd", "tc")}
    for where, source in (tools | programs.executables).items():
        copy(source, root, where)
        for library in libraries(source):
            copy(library, root, str(library))
    for where, source in programs.data.items():
        copy(source, root, where)
    pack(root, archive)
    return archive
