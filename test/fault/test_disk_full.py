"""A file system without room for what a migration writes down: it refuses to begin what it could not
remember, and the machine runs on."""

import subprocess

import pytest

from faults import assert_runs, quick_destination, quick_witness
from flight import assert_unharmed, move


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few pages, and how to fill it."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", folder],
                          stderr=subprocess.PIPE, check=False)
    if made.returncode:
        pytest.skip(f"needs a file system of its own: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    rest = folder / "rest"
    try:
        with rest.open("wb", buffering=0) as f:
            while True:
                f.write(bytes(4096))
    except OSError:
        return rest


def test_no_room_for_the_intent(machine, tmp_path, small_disk):
    """A machine whose intent cannot be remembered is not given away; with room it is."""
    source = quick_witness(machine, env={"GODWIT_STATE_DIR": str(small_disk)})
    target, uri = quick_destination(machine, tmp_path)
    rest = fill(small_disk)
    source.migrate(uri)
    answer = source.wait_migration()
    assert answer["status"] == "failed", answer
    assert "No space left on device" in answer["error-desc"], answer
    assert_runs([source], [target])
    rest.unlink()
    target.wait_migration(("failed", "none"))
    move(source, target, uri)
    assert_unharmed(target)


def test_no_room_for_ready(machine, tmp_path, small_disk):
    """A destination that could not remember the machine does not say that it is ready."""
    source = quick_witness(machine)
    target = machine("destination", incoming="tcp:127.0.0.1:0",
                     env={name: str(small_disk) for name in ("GODWIT_STATE_DIR", "GODWIT_RUN_DIR")})
    uri = target.listening_uri()
    rest = fill(small_disk)
    source.migrate(uri)
    answer = source.wait_migration()
    assert answer["status"] == "failed", answer
    assert "No space left on device" in answer["error-desc"], answer
    assert_runs([source], [target])
    rest.unlink()
    target.wait_migration(("failed", "none"))
    move(source, target, uri)
    assert_runs([target], [source])
    assert_unharmed(target)
