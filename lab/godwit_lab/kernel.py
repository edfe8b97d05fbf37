"""A stock Debian cloud kernel: one package gives the hosts' and the guests' kernel and modules."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .need import CannotRun, StepFailed, run, which

# Debian 12's own series; any other cloud kernel will do where it is not offered.
PREFERRED = r"linux-image-6\.1\.0-\d+-cloud-amd64"
ANY = r"linux-image-\d[^ ]*-cloud-amd64"


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    image: Path
    modules: Path
    version: str

    def module_order(self, names: list[str]) -> list[Path]:
        """The files of these modules and of all they depend on, in an order that loads.

        Names that are built in have no file and are left out.
        """
        files = {path.stem.replace("-", "_"): path for path in self.modules.rglob("*.ko")}
        order: list[Path] = []

        def visit(name: str) -> None:
            path = files.get(name.replace("-", "_"))
            if path is None or path in order:
                return
            for dependency in depends(path):
                visit(dependency)
            order.append(path)

        for name in names:
            visit(name)
        return order


def depends(module: Path) -> list[str]:
    """The modules a module names as needed before it (its .modinfo section)."""
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [name for name in found[1].decode().split(",") if name] if found else []


def cache_folder() -> Path:
    """Where kernels are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "godwit-lab"


def newest_offered() -> str:
    """The newest kernel package apt knows."""
    listed = subprocess.run([which("apt-cache"), "pkgnames", "linux-image-"],
                            capture_output=True, text=True, check=True).stdout.split()
    for pattern in (PREFERRED, ANY):
        matching = [name for name in listed if re.fullmatch(pattern, name)]
        if matching:
            return max(matching, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
    raise CannotRun("apt offers no linux-image-*-cloud-amd64: run apt-get update")


def download(package: str, target: Path) -> None:
    """Fetches and unpacks a kernel package; target appears complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        try:
            run("apt-get", "download", package, cwd=scratch)
        except StepFailed as error:
            raise CannotRun(f"cannot download {package}: {error}") from error
        deb = next(Path(scratch).glob("*.deb"))
        run("dpkg", "-x", deb, f"{scratch}/tree")
        shutil.move(f"{scratch}/tree", target)


def obtain(refresh: bool = False) -> Kernel:
    """The kernel from the cache, else the newest apt offers."""
    cached = sorted(cache_folder().glob("linux-image-*"), key=lambda path: path.stat().st_mtime)
    if refresh or not cached:
        package = newest_offered()
        tree = cache_folder() / package
        if not tree.exists():
            download(package, tree)
    else:
        tree = cached[-1]
    image = next((tree / "boot").glob("vmlinuz-*"))
    version = image.name.removeprefix("vmlinuz-")
    return Kernel(image, tree / "lib" / "modules" / version, version)
