#!/usr/bin/python3
"""Writes the seed corpora of the virtio fuzzers into test/fuzz/corpus/device-*.

The seeds are checked in; run this again after a format changes.
"""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent.parent / "corpus"

NEXT, WRITE, INDIRECT = 1, 2, 4
U8, U16, U32, U64, BYTES, STRUCT = 1, 2, 3, 4, 5, 6


def write(name, inputs):
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for title, data in inputs.items():
        (folder / title).write_bytes(data)


def desc(addr, length, flags=0, following=0):
    return struct.pack("<QIHH", addr, length, flags, following)


# virtq: table at 0x1000, available ring at 0x2000, so ring entries lie at +0x1004 of the RAM part

def ram(table, entries, more=b""):
    image = bytearray(0x1000 + 4 + 2 * len(entries))
    image[:len(table)] = table
    image[0x800:0x800 + len(more)] = more
    image[0x1004:] = struct.pack("<%dH" % len(entries), *entries)
    return bytes(image)


def virtq():
    chain = desc(0x10000, 16, NEXT, 1) + desc(0x11000, 512, NEXT | WRITE, 2) + desc(0x12000, 1, WRITE)
    table = desc(0x10000, 16, NEXT, 1) + desc(0x13000, 100, WRITE)
    return {
        "chain": struct.pack("<BBH", 3, 0, 1) + ram(chain, [0]),
        "event-idx": struct.pack("<BBH", 3, 1, 3) + ram(chain, [0, 2, 0]),
        "indirect": struct.pack("<BBH", 3, 2, 1) + ram(desc(0x1800, 32, INDIRECT), [0], table),
        "wrap": struct.pack("<BBH", 2, 4, 65532) + ram(chain, [0, 0, 0, 0]),
    }


# virtio: a program

def probe(dev):
    return bytes([6, dev])


def put(at, data):
    return struct.pack("<BHB", 2, at // 16, len(data)) + data


def offer(dev, queue, table):
    base = (dev * 3 + queue + 1) * 0x4000
    return (put(base, table) + put(base + 0x1000, struct.pack("<HHH", 0, 1, 0)) +
            bytes([3, dev, queue, 4]))


def blk(kind, sector, middle):
    head = struct.pack("<IIQ", kind, 0, sector)
    table = desc(0x40000, 16, NEXT, 1)
    if middle:
        table += desc(0x50000, *middle, 2) + desc(0x60000, 1, WRITE)
    else:
        table += desc(0x60000, 1, WRITE)
    return probe(0) + put(0x40000, head) + offer(0, 0, table)


def programs():
    zeroes = struct.pack("<QII", 8, 8, 1)
    return {
        "blk-read": blk(0, 3, (1024, NEXT | WRITE)),
        "blk-write": blk(1, 3, (512, NEXT)),
        "blk-flush": blk(4, 0, None),
        "blk-id": blk(8, 0, (20, NEXT | WRITE)),
        "blk-discard": put(0x50000, struct.pack("<QII", 8, 8, 0)) + blk(11, 0, (16, NEXT)),
        "blk-zeroes": put(0x50000, zeroes) + blk(13, 0, (16, NEXT)),
        "net-send": probe(1) + offer(1, 1, desc(0x50000, 80)),
        "net-receive": probe(1) + offer(1, 0, desc(0x50000, 2048, WRITE)) + bytes([5, 100, 4]),
        "net-control": probe(1) + put(0x40000, bytes([3, 0])) +
                       offer(1, 2, desc(0x40000, 2, NEXT, 1) + desc(0x50000, 1, WRITE)),
        "rng": probe(2) + offer(2, 0, desc(0x50000, 100, WRITE)),
        "registers": b"".join(bytes([1, 0, reg]) for reg in range(0, 0x50)),
    }


# virtio-state: a device and a section, see src/state/field.h

def string(text):
    return struct.pack("<H", len(text)) + text.encode()


def field(name, kind, values, count=None):
    if isinstance(values, bytes):
        body, count = values, count or len(values)
    else:
        width = {U8: "B", U16: "H", U32: "I", U64: "Q"}[kind]
        count = len(values)
        body = struct.pack("<%d%s" % (count, width), *values)
    return string(name) + struct.pack("<BBBBI", kind, 0, 0, 0, count) + body


def structs(name, version, members):
    body = struct.pack("<I", version)
    for fields in members:
        body += struct.pack("<I", len(fields)) + b"".join(fields)
    return field(name, STRUCT, body, len(members))


def queue(size, at=0, index=0):
    enabled = 1 if at else 0
    return [field("desc", U64, [at]), field("avail", U64, [at + 0x1000 if at else 0]),
            field("used", U64, [at + 0x2000 if at else 0]), field("size", U16, [size]),
            field("last_avail", U16, [index]), field("used_idx", U16, [index]),
            field("signalled", U16, [index]), field("vector", U16, [0xffff]),
            field("enabled", U8, [enabled]), field("signalled_valid", U8, [0]),
            field("broken", U8, [0])]


def section(name, kind, offered, status, queues, config):
    empty = queue(0)
    inner = [field("device_id", U32, [kind]), field("offered", U64, [offered]),
             field("accepted", U64, [offered if status & 8 else 0]), field("status", U8, [status]),
             field("generation", U8, [0]), field("nqueues", U32, [len(queues)]),
             structs("queues", 1, queues + [empty] * (4 - len(queues))),
             field("config", U8, list(config))]
    fields = [field("id", BYTES, name.encode().ljust(64, b"\0")), structs("virtio", 1, [inner]),
              field("device_features_sel", U32, [0]), field("driver_features_sel", U32, [0]),
              field("queue_sel", U32, [0]), field("interrupt_status", U32, [1])]
    return string("virtio-mmio") + struct.pack("<III", 1, 0, len(fields)) + b"".join(fields)


ALWAYS = 1 << 32 | 1 << 29 | 1 << 28


def states():
    disk = bytearray(60)
    struct.pack_into("<Q", disk, 0, (1 << 20) // 512)
    struct.pack_into("<I", disk, 20, 512)
    card = bytes([0x52, 0x54, 0, 1, 2, 3, 1, 0])
    return {
        "blk": bytes([0]) + section("disk", 2, ALWAYS | 1 << 9, 15, [queue(8, 0x4000, 7)], disk),
        "net": bytes([1]) + section("nic", 1, ALWAYS | 1 << 5 | 1 << 16 | 1 << 17, 15,
                                    [queue(256, 0x4000), queue(8, 0x10000), queue(64)], card),
        "rng": bytes([2]) + section("rng", 4, ALWAYS, 15, [queue(64, 0x8000, 65535)], b""),
        "rng-reset": bytes([2]) + section("rng", 4, ALWAYS, 0, [queue(64)], b""),
    }


if __name__ == "__main__":
    write("device-virtq", virtq())
    write("device-virtio", programs())
    write("device-virtio-state", states())
