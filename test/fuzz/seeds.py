#!/usr/bin/python3
"""Writes the seed corpora of the wire, state and transport fuzzers into test/fuzz/corpus/.

The seeds are checked in; run this again after a format changes. Written from the format's
description and not with the project's own encoder, so that the two check each other.
"""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(kind, flags, body):
    head = struct.pack("<IIQ", kind, flags | 1, len(body) + 4)
    whole = head + body + struct.pack("<I", crc32c(head + body))
    return whole + bytes(-len(whole) % 8)


def string(text):
    return struct.pack("<H", len(text)) + text.encode()


TYPES = {"u8": (1, "B"), "u16": (2, "H"), "u32": (3, "I"), "u64": (4, "Q")}


def field(name, kind, values, flags=0):
    if kind == "bytes":
        code, body = 5, bytes(values)
    elif kind == "struct":
        version, elements = values
        code, values = 6, elements
        body = struct.pack("<I", version) + b"".join(
            struct.pack("<I", len(e)) + b"".join(e) for e in elements)
    else:
        code, fmt = TYPES[kind]
        body = struct.pack(f"<{len(values)}{fmt}", *values)
    return string(name) + struct.pack("<B3xI", code | flags, len(values)) + body


def section(name, version, instance, fields):
    return string(name) + struct.pack("<III", version, instance, len(fields)) + b"".join(fields)


def inner(a):
    return [field("a", "u16", [a]), field("b", "u8", range(6))]


def outer(used=2, version=2, extra=()):
    fields = [
        field("u8", "u8", [0x12]), field("u16", "u16", [0x1234]),
        field("u32", "u32", [0x12345678]), field("u64", "u64", [0x123456789ABCDEF0]),
        field("array", "u64", [1, 2, 3, 2**64 - 1]), field("blob", "bytes", range(16)),
        field("var", "u32", range(used)),
        field("pairs", "struct", (1, [inner(i) for i in range(used)])),
        field("one", "struct", (1, [inner(7)])), *extra]
    return section("outer", version, 3, fields)


def nested(depth):
    value = field("leaf", "u8", [1])
    for _ in range(depth):
        value = field("nest", "struct", (1, [[value]]), 0x80)
    return value


SEEDS = {
    "wire-reader": {
        "numbers": bytes([4, 0, 0, 1, 0, 2, 0, 3, 0]) + bytes(range(15)),
        "string": bytes([2, 6, 40, 7, 3]) + string("godwit"),
        "views": bytes([3, 5, 16, 4, 16, 5, 255]) + bytes(32),
    },
    "wire-record": {
        "one": record(1, 0, b"hello"),
        "empty-body": record(2, 0, b""),
        "several": record(1, 0, bytes(12)) + record(2, 1 << 31, b"optional") + record(3, 0, b"x"),
        "no-crc": struct.pack("<IIQ", 7, 0, 8) + bytes(8),
    },
    "state-field": {
        "newest": outer(extra=[field("newer", "u32", [9], 0x80)]),
        "older": outer(version=1),
        "full": outer(used=3, version=1),
        "none": outer(used=0, version=1),
        "unknown-optional": outer(version=1, extra=[field("later", "u64", [1, 2], 0x80),
                                                    nested(3)]),
        "deep": outer(version=1, extra=[nested(12)]),
        "unknown": outer(version=1, extra=[field("later", "u8", [1])]),
    },
    "transport-address": {
        "ipv4": b"tcp:192.0.2.7:4446", "ipv6": b"tcp:[2001:db8::7]:4446",
        "scope": b"tcp:[fe80::1%eth0]:1", "name": b"tcp:host-1.example.org:65535",
        "any": b"tcp::0", "unix": b"unix:/run/godwit/incoming.sock",
        "file": b"file:/srv/m.gws,offset=4096", "file-comma": b"file:,offset=0$a,offset=0",
    },
}

OPEN, DATA, END, CREDIT = range(4)


def frame(channel, kind, payload=b""):
    return struct.pack("<IBBH", len(payload), channel, kind, 0) + payload


SEEDS |= {
    # Channel 0 is the fuzzer's own.
    "transport-mux": {
        "one": frame(1, OPEN) + frame(1, DATA, b"hello") + frame(1, END),
        "two": (frame(1, OPEN) + frame(2, OPEN) + frame(2, DATA, bytes(300)) + frame(0, DATA, b"x")
                + frame(1, DATA, b"y") + frame(1, CREDIT, struct.pack("<I", 100)) + frame(2, END)),
        "credit": frame(0, CREDIT, struct.pack("<I", 1 << 31)),
        "window": frame(1, OPEN) + b"".join(frame(1, DATA, bytes(60000)) for _ in range(3)),
    },
    "transport-psk": {
        "two": b"qemu:" + b"0123456789abcdef" * 4 + b"\nbob:" + b"ff" * 16 + b"\n",
        "comment": b"# keys\r\n\r\nqemu:" + b"AB" * 32 + b"\r\n",
        "short": b"qemu:0011\n",
        "twice": b"a:" + b"11" * 16 + b"\na:" + b"22" * 16,
        "colons": b"a:b:" + b"33" * 16 + b"\n:\n",
    },
}

if __name__ == "__main__":
    for fuzzer, seeds in SEEDS.items():
        folder = CORPUS / fuzzer
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)
