#!/usr/bin/python3
"""Writes the corpus of the two fuzzers here: python3 seeds.py (needs test/golden/stream-v1.bin)."""
import pathlib
import struct

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
