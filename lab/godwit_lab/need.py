"""What the lab needs from the machine it runs on."""

import shutil
import subprocess


class CannotRun(Exception):
    """The lab cannot run here; the text says what is missing and what would help."""


class StepFailed(Exception):
    """A program the lab ran here failed; the text is its command line and output."""


# Program -> Debian package.
PROGRAMS = {
    "apt-get": "apt",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "debugfs": "e2fsprogs",
    "dpkg": "dpkg",
    "e2fsck": "e2fsprogs",
    "exportfs": "nfs-kernel-server",
    "lz4": "lz4",
    "mke2fs": "e2fsprogs",
    "qemu-system-x86_64": "qemu-system-x86",
    "rpc.mountd": "nfs-kernel-server",
    "tc": "iproute2",
}

# Administrators' programs are not on an ordinary user's path.
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def which(program: str) -> str:
    """The path of a program the lab needs."""
    path = shutil.which(program, path=PATH)
    if path is None:
        package = PROGRAMS.get(program, program)
        raise CannotRun(f"{program} is missing: install the Debian package {package}")
    return path


def check_programs() -> None:
    """Names everything that is missing at once."""
    missing = {package for program, package in PROGRAMS.items()
               if shutil.which(program, path=PATH) is None}
    if missing:
        raise CannotRun("missing Debian packages: " + " ".join(sorted(missing)))


def run(*argv: object, **options: object) -> subprocess.CompletedProcess:
    """Runs a build step; its output is shown only when it fails."""
    command = [which(str(argv[0])), *map(str, argv[1:])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise StepFailed(f"{' '.join(command)} failed:\n{done.stdout}")
    return done
