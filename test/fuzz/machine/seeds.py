#!/usr/bin/python3
"""Writes the seed corpora of the machine's fuzzers into test/fuzz/corpus/machine-*.

The seeds are checked in; run this again after a format changes. Written from the formats'
descriptions (boot.rst, the ELF gABI, state/field.h) and not with the project's own code.
"""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent.parent / "corpus"


def put(image, at, fmt, value):
    struct.pack_into("<" + fmt, image, at, value)


def bzimage():
    image = bytearray(1024 + 2048)
    image[0x1f1] = 1
    put(image, 0x1fe, "H", 0xAA55)
    image[0x200:0x206] = b"\xeb\x6aHdrS"
    put(image, 0x206, "H", 0x020F)
    image[0x211] = 1
    put(image, 0x22c, "I", 0x7FFFFFFF)
    put(image, 0x236, "H", 3)
    put(image, 0x238, "I", 2047)
    put(image, 0x258, "Q", 0x1000000)
    put(image, 0x260, "I", 0x400000)
    return bytes(image)


def elf(note=b""):
    segment = b"\xcc" * 64
    notes_at = 64 + 2 * 56
    segment_at = notes_at + len(note)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x200010, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, segment_at, 0, 0x200000, len(segment), 4096, 4096)
    notes = struct.pack("<IIQQQQQQ", 4, 4, notes_at, 0, 0, len(note), len(note), 4)
    return header + load + notes + note + segment


def xen_note(kind, desc):
    padded = desc + bytes(-len(desc) % 4)
    return struct.pack("<III", 4, len(desc), kind) + b"Xen\0" + padded


def string(text):
    return struct.pack("<H", len(text)) + text.encode()


def field(name, code, fmt, values):
    body = struct.pack(f"<{len(values)}{fmt}", *values)
    return string(name) + struct.pack("<B3xI", code, len(values)) + body


def u8(name, *values):
    return field(name, 1, "B", values)


def u16(name, *values):
    return field(name, 2, "H", values)


def u32(name, *values):
    return field(name, 3, "I", values)


def u64(name, *values):
    return field(name, 4, "Q", values)


def blob(name, data):
    return field(name, 5, "B", data)


def section(name, ident, *fields):
    head = string(name) + struct.pack("<III", 1, 0, len(fields) + 1)
    return head + blob("id", ident.encode().ljust(64, b"\0")) + b"".join(fields)


def serial():
    registers = ["divisor_low", "divisor_high", "ier", "fcr", "lcr", "mcr", "scr", "lsr_errors",
                 "msr_delta", "thre_pending"]
    values = [1, 0, 5, 0x81, 0x1b, 0x0b, 0x5a, 0, 0, 1]
    return section("serial", "serial0", *map(u8, registers, values), u8("rx", *b"hello"))


def rtc():
    cmos = bytearray(128)
    cmos[10:14] = 0x26, 0x72, 0x00, 0x80
    now = (1700000000 + 2208988800) * 10**9
    return section("rtc", "rtc0", u8("index", 0x0c), blob("cmos", cmos),
                   u64("offset_ns", 2**64 - 10**9), u64("frozen_ns", 0), u64("seen_ns", now))


def acpi_pm():
    return section("acpi-pm", "acpi-pm0", u16("pm1_status", 0x100), u16("pm1_enable", 0x120),
                   u16("pm1_control", 0x1400))


def pci_host():
    config = bytearray(256)
    struct.pack_into("<HHHHI", config, 0, 0x8086, 0x29C0, 6, 0, 0x06000000)
    struct.pack_into("<HH", config, 0x2C, 0x8086, 0x29C0)
    return section("pci-host", "pcie.0", u32("address", 0x80000040), blob("config", config))


def accesses(board, *ops):
    return bytes([board]) + b"".join(struct.pack("<BBBBI", *op) for op in ops)


READ, WRITE, MMIO = 0, 1, 2
BYTE, WORD, DWORD, QWORD = 0, 4, 8, 12


def guest():
    """Accesses as drivers make them: (what, where, offset, high offset, value)."""
    probe = [(MMIO | DWORD, 0, reg, 0, 0) for reg in range(0, 0x40, 4)]
    size = [(MMIO | DWORD | w, 0, bar, 0, 0xFFFFFFFF) for bar in (0x14, 0x20, 0x24) for w in (1, 0)]
    place = [(MMIO | DWORD | WRITE, 0, 0x14, 0, 0xC0000000),
             (MMIO | DWORD | WRITE, 0, 0x20, 0, 0), (MMIO | DWORD | WRITE, 0, 0x24, 0, 4),
             (MMIO | WORD | WRITE, 0, 4, 0, 6)]
    msix = [(MMIO | DWORD | WRITE, 2, 0, 0, 0xFEE00000), (MMIO | DWORD | WRITE, 2, 8, 0, 0x41),
            (MMIO | DWORD | WRITE, 2, 12, 0, 0), (MMIO | WORD | WRITE, 0, 0x42, 0, 0x8000)]
    common = [(MMIO | BYTE | WRITE, 4, 0x14, 0, v) for v in (0, 1, 3, 0xB, 0xF)]
    ports = [(BYTE | WRITE, 0, 1, 0, 7), (BYTE | WRITE, 0, 4, 0, 0x18), (BYTE | WRITE, 0, 0, 0, 65),
             (BYTE, 0, 0, 0, 0), (BYTE, 0, 2, 0, 0), (BYTE, 0, 5, 0, 0)]
    clock = [(BYTE | WRITE, 1, 0, 0, 0x0B), (BYTE | WRITE, 1, 1, 0, 0x72), (BYTE | WRITE, 1, 0, 0, 9),
             (BYTE | WRITE, 1, 1, 0, 0x99), (BYTE | WRITE, 1, 0, 0, 0x0C), (BYTE, 1, 1, 0, 0)]
    power = [(WORD | WRITE, 2, 2, 0, 0x121), (WORD | WRITE, 2, 4, 0, 0x2000), (DWORD, 2, 8, 0, 0),
             (DWORD | WRITE, 3, 0, 0, 0x80000010), (DWORD, 3, 4, 0, 0), (BYTE | WRITE, 5, 0, 0, 6)]
    mmio = [(MMIO | DWORD | WRITE, 6, 0x70, 0, v) for v in (0, 1, 3, 0xB)]
    mmio += [(MMIO | DWORD, 6, reg, 0, 0) for reg in (0, 4, 8, 0x10, 0x34, 0x44, 0x60, 0xFC)]
    return {"pci": accesses(0, *probe, *size, *place, *msix, *common),
            "ports": accesses(0, *ports, *clock, *power),
            "mmio": accesses(1, *mmio, *ports)}


def write(name, seeds):
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed, content in seeds.items():
        (folder / seed).write_bytes(content)


def main():
    pvh = xen_note(6, b"v5\0\0") + xen_note(18, struct.pack("<Q", 0x200020))
    write("machine-kernel", {"bzimage": bzimage(), "elf": elf(), "elf-pvh": elf(pvh),
                             "elf-pvh32": elf(xen_note(18, struct.pack("<I", 0x200020))),
                             "flat": b"\x90" * 4096})
    reset = section("reset", "reset0", u8("control", 2))
    parts = {"serial": serial(), "rtc": rtc(), "acpi-pm": acpi_pm(), "reset": reset,
             "pci-host": pci_host()}
    write("machine-state", {**parts, "all": b"".join(parts.values())})
    write("machine-guest", guest())


if __name__ == "__main__":
    main()
