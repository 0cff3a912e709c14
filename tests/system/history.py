"""Writes a history down as it happens (the events are in checker.py's head comment), and reads replicas from disk into it."""
import json
import struct
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

HEADER = struct.Struct(">qiibIhiqqqhii")  # of a record batch, version 2


def value(id, size):
    """What is produced for an id: the id, and bytes that follow from it, so that a spoilt value is seen."""
    pad = f"{zlib.crc32(id.encode()):08x}".encode()
    return (id.encode() + b" " + pad * (size // 8 + 1))[:max(size, len(id) + 9)]


def id_of(data):
    """The id of a value that was read; of a spoilt one something that nobody wrote."""
    if data is None:
        return "spoilt: no value"
    id = data.split(b" ", 1)[0].decode(errors="replace")
    return id if data == value(id, len(data)) else f"spoilt: {data[:60]!r}"


class History:
    def __init__(self, path):
        self.path = Path(path)
        self.file = open(path, "w", encoding="utf-8", buffering=1 << 16)
        self.lock = threading.Lock()
        self.counts = Counter()

    def add(self, e, **fields):
        line = json.dumps({"e": e, **fields}, separators=(",", ":")) + "\n"
        with self.lock:
            self.file.write(line)
            self.counts[e] += 1

    def now(self, e, **fields):
        self.add(e, t=round(time.monotonic(), 4), **fields)

    def fault(self, what):
        self.now("fault", what=what)

    def close(self):
        with self.lock:
            if not self.file.closed:
                self.file.close()

    def replicas(self, broker, folder, partitions):
        """What one broker has of these partitions in its log directory; it does not run any more."""
        for path in sorted(Path(folder).iterdir()):
            topic, _, partition = path.name.rpartition("-")
            if partition.isdigit() and (topic, int(partition)) in partitions:
                records = list(records_of(path))
                start = records[0][0] if records else 0
                self.add("replica", broker=broker, topic=topic, partition=int(partition), start=start, records=records)


def records_of(folder):
    """(offset, id, producer id, producer epoch) of all records in a partition's folder, in the order of the files."""
    for segment in sorted(Path(folder).glob("*.log")):
        data = segment.read_bytes()
        at = 0
        while at + 12 <= len(data):
            base, size = struct.unpack_from(">qi", data, at)
            if size <= 0 or at + 12 + size > len(data):
                break  # the rest is preallocated, or torn
            yield from batch(data[at:at + 12 + size])
            at += 12 + size


def batch(data):
    base, _, _, magic, _, attributes, _, _, _, producer, epoch, _, count = HEADER.unpack_from(data)
    if magic != 2:
        raise ValueError(f"a batch of format {magic}")
    if attributes & 0x20:
        return  # a control batch
    body = data[HEADER.size:]
    codec = attributes & 7
    if codec == 1:
        body = zlib.decompress(body, 31)
    elif codec == 3:
        import lz4.frame
        body = lz4.frame.decompress(body)
    elif codec == 4:
        import zstandard
        body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    elif codec:
        raise ValueError(f"compression {codec} is not used here")
    at = 0

    def varint():
        nonlocal at
        shift = result = 0
        while True:
            byte = body[at]
            at += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (result >> 1) ^ -(result & 1)
            shift += 7

    for _ in range(count):
        size = varint()
        end = at + size
        at += 1
        varint()
        offset = base + varint()
        key = varint()
        at += max(key, 0)
        length = varint()
        yield offset, id_of(None if length < 0 else body[at:at + length]), producer, epoch
        at = end
