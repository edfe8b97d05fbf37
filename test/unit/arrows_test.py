#!/usr/bin/python3
"""Checks every include of src/ and include/ against the arrows between the rooms.

ARROWS is the list of doc/architecture.md, read the other way round: a room and the rooms it stands
directly on. An arrow reaches through: hv stands on state, state on wire, wire on base, so hv may
include all three. (The engine's glue and the devices need base/err.h and mem/ without the list
naming every pair, and what a room stands on is part of what it is built with anyway.) What must not
reach through is kept apart in the table itself: stream/native stands on wire alone, not on state as
stream/xen does, so that libgodwit = base + wire + transport + stream/native + migrate never sees
state, hv, mem, device or vmm; NEVER says so once more, whatever the table becomes.

Run by meson as unit/arrows; by hand: arrows_test.py [-v].
"""
import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

ARROWS = {
    "godwit": {"base"},  # include/godwit, libgodwit's public headers
    "base": set(),
    "wire": {"base"},
    "state": {"wire"},
    "transport": {"base", "godwit"},
    "stream/native": {"wire", "godwit"},
    "stream/xen": {"state"},
    "migrate": {"stream/native", "transport", "godwit"},
    "mem": {"base"},
    "hv": {"state", "mem"},
    "cpu": {"base"},
    "verdict": {"cpu"},
    "block": {"wire"},
    "device": {"hv", "mem", "block", "state"},
    "machine": {"device", "wire"},
    "qmp": {"base"},
    "vmm": {"machine", "migrate", "transport", "stream/native", "stream/xen", "qmp", "verdict",
            "state"},
    "node": {"verdict", "qmp", "transport"},
    "cmd/vmm": {"vmm"},
    "cmd/draw": {"base"},
    "cmd/godwit": {"stream/native", "stream/xen", "state", "transport", "qmp", "verdict"},
}

ENGINE = ["godwit", "base", "wire", "transport", "stream/native", "migrate"]
NEVER = {"state", "hv", "mem", "device", "machine", "vmm"}  # for the rooms of libgodwit
NO_KVM = [*ENGINE, "state"]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def reach(room, arrows):
    """Every room that `room` may include: itself and all it stands on, directly or not."""
    found, todo = set(), [room]
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            todo.extend(arrows[at])
    return found


def room_of(path):
    """The room of a path below src/ or include/: its first folder, or two of stream and cmd."""
    parts = pathlib.PurePosixPath(path).parts[:-1]
    if not parts:
        return None
    return "/".join(parts[:2]) if parts[0] in ("stream", "cmd") else parts[0]


class Tree:
    def __init__(self, root, arrows):
        self.tops = [root / "src", root / "include"]
        self.arrows = arrows
        self.checked = 0

    def files(self):
        for top in self.tops:
            for path in sorted(top.rglob("*.[chS]")):
                yield top, path

    def target(self, path, name):
        """The file an include means, relative to its top, and that top; None: not the project's."""
        for top in self.tops:
            if (top / name).is_file():
                return name
            beside = path.parent / name
            if beside.is_file() and top in beside.resolve().parents:
                return beside.resolve().relative_to(top).as_posix()
        return None

    def check_include(self, room, path, quoted, angled):
        if angled == "linux/kvm.h" and room in NO_KVM:
            return f"{room} knows no KVM, but includes <{angled}>"
        target = self.target(path, quoted or angled)
        if target is None:
            return f'"{quoted}" is no file of src/ or include/' if quoted else None
        other = room_of(target)
        self.checked += 1
        if other not in self.arrows:
            return f"{other} is no room of the table"
        if room in ENGINE and other in NEVER:
            return f'{room} must never include {other} ("{target}")'
        if other not in reach(room, self.arrows):
            return f'{room} includes {other} ("{target}"), and no arrow allows it'
        return None

    def problems(self):
        for top, path in self.files():
            room = room_of(path.relative_to(top).as_posix())
            if room not in self.arrows:
                yield f"{path}: {room} is no room of the table"
                continue
            for match in INCLUDE.finditer(path.read_text()):
                problem = self.check_include(room, path, *match.groups())
                if problem:
                    yield f"{path}: {problem}"


class TheTable(unittest.TestCase):
    def test_has_no_circles(self):
        for room, below in ARROWS.items():
            for other in below:
                self.assertNotIn(room, reach(other, ARROWS), f"{room} and {other}")

    def test_keeps_the_engine_apart(self):
        for room in ENGINE:
            self.assertLessEqual(reach(room, ARROWS), set(ENGINE))


class TheSources(unittest.TestCase):
    def test_follow_the_arrows(self):
        tree = Tree(ROOT, ARROWS)
        problems = list(tree.problems())
        self.assertEqual(problems, [], "\n" + "\n".join(problems))
        self.assertGreater(tree.checked, 20)  # it did look


class TheChecker(unittest.TestCase):
    """What it must find, in small trees made for it."""

    def problems(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            for name, text in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return list(Tree(root, ARROWS).problems())

    def test_takes_arrows_that_reach_through(self):
        self.assertEqual(self.problems(**{
            "src/hv/hv.c": '#include "base/err.h"\n#include "mem/mem.h"\n#include <linux/kvm.h>\n',
            "src/base/err.h": "", "src/mem/mem.h": '#include "base/err.h"\n'}), [])

    def test_finds_an_arrow_turned_round(self):
        found = self.problems(**{"src/base/a.c": '  #  include "wire/crc.h"\n',
                                 "src/wire/crc.h": ""})
        self.assertEqual(len(found), 1)
        self.assertIn("base includes wire", found[0])

    def test_finds_it_in_angle_brackets_and_by_a_relative_path(self):
        for include in ("<vmm/vm.h>", '"../vmm/vm.h"'):
            found = self.problems(**{"src/device/a.h": f"#include {include}\n",
                                     "src/vmm/vm.h": ""})
            self.assertEqual(len(found), 1, include)

    def test_keeps_state_out_of_the_engine(self):
        found = self.problems(**{"src/stream/native/a.c": '#include "state/field.h"\n',
                                 "src/state/field.h": ""})
        self.assertIn("must never include state", found[0])

    def test_keeps_kvm_out_of_the_engine(self):
        found = self.problems(**{"src/migrate/a.c": "#include <linux/kvm.h>\n"})
        self.assertIn("knows no KVM", found[0])

    def test_finds_rooms_and_files_that_are_not_there(self):
        found = self.problems(**{"src/attic/a.c": "", "src/base/b.c": '#include "base/gone.h"\n'})
        self.assertEqual(len(found), 2)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
