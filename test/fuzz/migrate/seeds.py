#!/usr/bin/python3
"""Writes the corpus of the fuzzers here: python3 seeds.py.

Needs test/golden/stream-v1.bin, and the commands lz4 and zstd."""
import pathlib
import struct
import subprocess

here = pathlib.Path(__file__).resolve().parent
corpus = here.parent / "corpus"

(HELLO, WELCOME, ERROR, MANIFEST, ACCEPT, ROUND, PAGES, MARK, STATE, READY, COMMIT, RUNNING,
 NEVER_RAN, ABORT, QUERY, PING, PONG) = range(1, 18)
CONTROL, LANE0, LANE1, RAW = 0, 1, 2, 0x80
TOKEN = b"sixteen bytes!!\0"


def item(where, kind, body):
    return struct.pack("<BBH", where, kind, len(body)) + body


def manifest(lanes, sizes, text=b"a machine"):
    body = struct.pack("<II", lanes, len(sizes))
    for i, size in enumerate(sizes):
        name = b"ram%d" % i
        body += struct.pack("<QH", size, len(name)) + name
    return body + struct.pack("<I", len(text)) + text


def pages(region, runs):
    body = struct.pack("<II", region, len(runs))
    for first, count, kind in runs:
        body += struct.pack("<QII", first, count, kind)
    body += bytes(8)
    return body + b"".join(b"\x5a" * 4096 * count for _, count, kind in runs if kind == 0)


def mark(sequence, last):
    return struct.pack("<QI", sequence, last)


def word(text=b""):
    return TOKEN + struct.pack("<H", len(text)) + text


def whole(end):
    return (item(CONTROL, MANIFEST, manifest(1, [65536, 4096]))
            + item(LANE0, PAGES, pages(0, [(0, 2, 0), (3, 5, 1)]))
            + item(LANE0, MARK, mark(1, 0))
            + item(CONTROL, ROUND, struct.pack("<QQ", 2, 8192))
            + item(LANE0, PAGES, pages(1, [(0, 1, 0)]))
            + item(LANE0, PAGES, pages(0, [(0, 2, 1)]))
            + item(LANE0, MARK, mark(2, 1))
            + item(CONTROL, STATE, struct.pack("<QII", 2, 1, 5) + b"state")
            + end)


seeds = {
    "commit": whole(item(CONTROL, COMMIT, word())),
    "abort": whole(item(CONTROL, ABORT, word(b"changed my mind"))),
    "query": whole(item(CONTROL, QUERY, word()) + item(CONTROL, COMMIT, word())),
    "lost": whole(b""),
    "early-abort": item(CONTROL, MANIFEST, manifest(2, [4096])) + item(CONTROL, ABORT, word()),
    "two-lanes": (item(CONTROL, MANIFEST, manifest(2, [131072]))
                  + item(LANE0, MARK, mark(1, 1)) + item(LANE1, PAGES, pages(0, [(31, 1, 0)]))
                  + item(LANE1, MARK, mark(1, 1))
                  + item(CONTROL, STATE, struct.pack("<QII", 1, 0, 0))),
    "raw": item(CONTROL | RAW, 0, b"GET / HTTP/1.0\r\n\r\n"),
    "unknown": item(CONTROL, 77, b"from the future") + item(CONTROL, PING, bytes(8)),
    "error": item(CONTROL, ERROR, struct.pack("<IH", 5, 0) + struct.pack("<H", 0)),
}

target = corpus / "migrate-sink"
target.mkdir(parents=True, exist_ok=True)
for name, data in seeds.items():
    (target / name).write_bytes(data)

golden = here.parent.parent / "golden" / "stream-v1.bin"
target = corpus / "migrate-stream"
target.mkdir(parents=True, exist_ok=True)
(target / "stream-v1").write_bytes(golden.read_bytes())


# ---- PACKED: the fuzzer makes the checksum right ------------------------------------------------
PACKED = 19
LZ4, ZSTD, DELTA = 1, 2, 3


def packed(codec, runs, data):
    body = struct.pack("<IIII", 0, codec, len(runs), len(data))
    for first, count, kind in runs:
        body += struct.pack("<QII", first, count, kind)
    body += bytes(8) + data
    return struct.pack("<IIQ", PACKED, 0, len(body)) + body + bytes(-len(body) % 8)


def run_tool(data, *command):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def lz4_block(data):
    """The one block of the frame that the command writes: magic, FLG, BD, checksum, size, block."""
    frame = run_tool(data, "lz4", "-1", "-c", "--no-frame-crc")
    size, = struct.unpack_from("<I", frame, 7)
    return frame[11:11 + size]


def zstd_frame(data):
    return run_tool(data, "zstd", "-1", "-c", "--no-check", "-q")


def differences(*lists):
    return b"".join(struct.pack("<H", len(d)) + d for d in map(bytes, lists))


text = b"".join(b"line %d of a page of text\n" % (i * i) for i in range(1000))[:8192]
same = b"Z" * 8192
seeds = {
    "lz4-text": packed(LZ4, [(0, 1, 0), (1, 9, 1), (20, 1, 0)], lz4_block(text)),
    "lz4-same": packed(LZ4, [(5, 2, 0)], lz4_block(same)),
    "zstd-text": packed(ZSTD, [(0, 2, 0), (7, 1, 1)], zstd_frame(text)),
    "zstd-same": packed(ZSTD, [(1, 1, 0), (3, 1, 0)], zstd_frame(same)),
    "delta": packed(DELTA, [(0, 3, 0)],
                    differences([16, 3, 97, 98, 99, 8, 1, 7], [], [0xff, 0x1f, 1, 1])),
    "delta-many": packed(DELTA, [(0, 64, 0)], differences(*[[i, 2, i, 255] for i in range(64)])),
}
target = corpus / "migrate-packed"
target.mkdir(parents=True, exist_ok=True)
for name, data in seeds.items():
    (target / name).write_bytes(data)


# ---- what the destination says, to fuzz_source.c ------------------------------------------------
(PASSED, _, RESUME, REHEARSAL, REHEARSED, TIMES, DIGEST, DIFFERS, VIEW, SEEN) = range(18, 28)
MENDED, VERIFIED, PACKS = 1, 2, 4
CLOSE, AT_ONCE = 0x10, 0x20


def answers(settings, *items):
    return bytes([settings]) + b"".join(items)


def number(kind, value, where=CONTROL):
    return item(where, kind, struct.pack("<Q", value))


welcome = struct.pack("<QI", 0x544957444F470A0D, 1)
start = item(CONTROL, WELCOME, welcome) + item(CONTROL, ACCEPT, word())
start += item(LANE0, WELCOME, welcome) + item(LANE1, WELCOME, welcome) + number(PONG, 0)
rounds = number(PASSED, 1) + number(PASSED, 2)
resume = struct.pack("<QIIQQ", 1, 2, 0, 0, 0)
span = struct.pack("<IIQQ", 0, 0, 0, 0)
asked = struct.pack("<IIQQ", 0, 16, 0, 1) + bytes(8 * 16)
times = struct.pack("<II", 0, 0) + bytes(8 * 8) + struct.pack("<H", 0)
seeds = {
    "moves": answers(0, start, rounds, item(CONTROL, READY, word()),
                     item(CONTROL, RUNNING, word()), item(CONTROL, TIMES, times)),
    "verified": answers(VERIFIED, start, rounds, item(CONTROL, READY, word()),
                        item(CONTROL, RUNNING, word()), item(CONTROL, DIGEST, bytes(24)),
                        item(CONTROL, DIFFERS, asked)),
    "packed": answers(PACKS, start, rounds, item(CONTROL, READY, word()),
                      item(CONTROL, RUNNING, word())),
    "never-ran": answers(0, start, rounds, item(CONTROL, READY, word()),
                         item(CONTROL, NEVER_RAN, word(b"no disk"))),
    "differs": answers(VERIFIED, start, rounds, item(CONTROL, DIFFERS, span),
                       item(CONTROL, DIFFERS, asked)),
    "refuses": answers(0, item(CONTROL, WELCOME, welcome),
                       item(CONTROL, ERROR, struct.pack("<IH", 22, 2) + b"no"
                            + struct.pack("<H", 0))),
    "cut": answers(MENDED | VERIFIED, start, number(PASSED, 1) + item(CONTROL | CLOSE, PING, bytes(8)),
                   item(3, WELCOME, welcome), item(3, RESUME, resume),
                   item(4, WELCOME, welcome), item(5, WELCOME, welcome), number(PASSED, 2, 3),
                   item(3, READY, word())),
    "cut-after-ready": answers(0, start, rounds, item(CONTROL | CLOSE, READY, word()),
                               item(3, WELCOME, welcome), item(3, RUNNING, word())),
    "early": answers(0, start, item(CONTROL | AT_ONCE, RUNNING, word())),
    "views": answers(0, start, item(LANE0, VIEW, struct.pack("<II", 0, 0)), rounds),
    "rehearsed": answers(0, start, item(CONTROL, REHEARSED, struct.pack("<IIQ", 1, 0, 1000000)),
                         rounds),
    "garbled": answers(0, start, item(CONTROL | RAW, 0, struct.pack("<IIQ", READY, 1, 1 << 20)
                                      + bytes(4000))),
    "raw": answers(0, item(CONTROL | RAW, 0, b"HTTP/1.1 400 Bad Request\r\n\r\n")),
}
target = corpus / "migrate-source"
target.mkdir(parents=True, exist_ok=True)
for name, data in seeds.items():
    (target / name).write_bytes(data)
