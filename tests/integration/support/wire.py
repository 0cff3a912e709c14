"""Kafka's protocol by hand, just enough to say what no client library would say."""
import socket
import struct
import time

from crc32c import crc32c

from .wait import wait_for

PRODUCE, FETCH, LIST_OFFSETS, METADATA, FIND_COORDINATOR, API_VERSIONS, INIT_PRODUCER_ID = 0, 1, 2, 3, 10, 18, 22
UNSUPPORTED_VERSION, CORRUPT_MESSAGE, INVALID_RECORD = 35, 2, 87


def string(value):
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def header(api, version, correlation=1, client="tests"):
    return struct.pack(">hhi", api, version, correlation) + string(client)


def frame(payload):
    return struct.pack(">i", len(payload)) + payload


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def record(value, offset_delta=0, timestamp_delta=0):
    body = b"\0" + varint(timestamp_delta) + varint(offset_delta) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def batch(values, *, timestamp=None, producer=(-1, -1, -1), attributes=0, spoil_crc=False, count=None, length=None):
    """A record batch v2; `producer` is (id, epoch, first sequence)."""
    timestamp = int(time.time() * 1000) if timestamp is None else timestamp  # Kafka forgets producers of old records
    records = b"".join(record(value, i) for i, value in enumerate(values))
    count = len(values) if count is None else count
    after_crc = struct.pack(">hiqqqhii", attributes, len(values) - 1, timestamp, timestamp, *producer, count) + records
    crc = crc32c(after_crc) ^ (1 if spoil_crc else 0)
    rest = struct.pack(">ibI", -1, 2, crc) + after_crc
    return struct.pack(">qi", 0, len(rest) if length is None else length) + rest


def produce_body(topic, records, acks=-1, partition=0, timeout_ms=10_000):
    """Produce v3 to v8."""
    return (string(None) + struct.pack(">hi", acks, timeout_ms) + struct.pack(">i", 1) + string(topic)
            + struct.pack(">i", 1) + struct.pack(">i", partition) + struct.pack(">i", len(records)) + records)


def fetch_body(topic, offset, *, partition=0, wait_ms=500, min_bytes=1, max_bytes=1 << 20):
    """Fetch v4."""
    return (struct.pack(">iiiib", -1, wait_ms, min_bytes, max_bytes, 0) + struct.pack(">i", 1) + string(topic)
            + struct.pack(">i", 1) + struct.pack(">iqi", partition, offset, max_bytes))


class Connection:
    def __init__(self, host, port, timeout=20, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, api, version, body=b""):
        self.correlation += 1
        self.raw(frame(header(api, version, self.correlation) + body))
        return self.correlation

    def receive_exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionError(f"closed after {len(data)} of {size} bytes")
            data += more
        return data

    def receive(self):
        """(correlation, body) of the next answer."""
        size, = struct.unpack(">i", self.receive_exactly(4))
        payload = self.receive_exactly(size)
        return struct.unpack(">i", payload[:4])[0], payload[4:]

    def ask(self, api, version, body=b""):
        wanted = self.send(api, version, body)
        got, answer = self.receive()
        assert got == wanted, f"answer to {got}, asked {wanted}"
        return answer

    def finish(self):
        """Nothing more will be sent; the peer may be gone already."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def closed(self):
        """Whether the peer closes; waits for it (the socket's time-out says no)."""
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def produce_result(answer):
    """(error, base offset) of a Produce v3 answer with one topic and one partition."""
    topics, length = struct.unpack(">ih", answer[:6])
    assert topics == 1
    at = 6 + length
    partitions, _, error, offset = struct.unpack(">iihq", answer[at:at + 18])
    assert partitions == 1
    return error, offset


def produce(connection, topic, records, acks=-1):
    return produce_result(connection.ask(PRODUCE, 3, produce_body(topic, records, acks)))


def answers(host, port):
    """Whether someone there answers an ApiVersions request."""
    with Connection(host, port, timeout=5) as connection:
        return struct.unpack(">h", connection.ask(API_VERSIONS, 0)[:2])[0] == 0


def api_versions(host, port):
    with Connection(host, port) as connection:
        answer = connection.ask(API_VERSIONS, 0)
    error, count = struct.unpack(">hi", answer[:6])
    assert error == 0
    return {key: (low, high) for key, low, high in struct.iter_unpack(">hhh", answer[6:6 + 6 * count])}


def init_producer(connection):
    """A new producer's (id, epoch); waits while the coordinator loads."""
    def ask():
        answer = connection.ask(INIT_PRODUCER_ID, 0, string(None) + struct.pack(">i", 60000))
        _, error, producer_id, epoch = struct.unpack(">ihqh", answer)
        assert error in (0, 14, 15, 16), error
        return (producer_id, epoch) if error == 0 else None

    return wait_for(ask, "a producer id")
