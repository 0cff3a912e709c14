"""Any bytes on any port: closed or answered with the protocol's error, memory bounded, others served on."""
import os
import random
import re
import socket
import struct
import threading
import time

import pytest
from support import wire
from support.clients import create_topic, produce, read, values, watermarks
from support.server import raise_descriptor_limit
from support.wait import wait_for

MIB = 1 << 20


def served(server):
    """Others go on: a request on a new connection is answered."""
    assert wire.answers(server.host, server.port)


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(server, seed):
    chance = random.Random(seed)
    for _ in range(25):
        with server.connection(timeout=15) as c:
            try:
                c.raw(chance.randbytes(chance.randrange(1, 3000)))
                c.finish()
                assert c.closed()
            except ConnectionError:
                pass
    served(server)


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
                                  b"ruok", b"\0" * 4096, b"\xff" * 4096], ids=["http", "tls", "zookeeper", "zeros", "ones"])
def test_other_protocols(server, text):
    """HTTP, TLS and so on: their first four bytes are a length that is too large, negative or nonsense."""
    with server.connection(timeout=15) as c:
        try:
            c.raw(text)
            c.finish()
            assert c.closed()
        except ConnectionError:
            pass
    served(server)


@pytest.mark.parametrize("length", [-1, -(1 << 31), (1 << 31) - 1, 104857601])
def test_length_out_of_range(server, length):
    """A negative length, or one above socket.request.max.bytes: closed at once, nothing is allocated for it."""
    before = server.broker.memory()
    with server.connection() as c:
        c.raw(struct.pack(">i", length) + b"x" * 100)
        assert c.closed()
    assert server.broker.memory() < before + 64 * MIB
    served(server)


def test_length_larger_than_what_comes(server):
    """Many peers promise 100 MB and send nothing: no memory is taken for a promise."""
    if server.target == "kafka":
        pytest.skip("Kafka takes the memory")
    before = server.broker.memory()
    promises = [server.connection() for _ in range(40)]
    for c in promises:
        c.raw(struct.pack(">i", 100_000_000) + wire.header(wire.PRODUCE, 3))
    served(server)
    assert server.broker.memory() < before + 100 * MIB
    for c in promises:
        c.close()
    served(server)


def test_length_smaller_than_the_request(server, name):
    """The frame ends inside the request: an error or a closed connection, never a wait or a guess."""
    create_topic(server, name)
    whole = wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"x"] * 10))
    for cut in (3, 9, 20, 40, len(whole) // 2, len(whole) - 1):
        with server.connection(timeout=15) as c:
            c.raw(wire.frame(whole[:cut]))
            c.finish()
            assert c.closed()
    assert watermarks(server, name) == (0, 0)
    served(server)


def test_counts_that_lie(server, name):
    """Arrays that claim two thousand million elements."""
    for body in (struct.pack(">i", (1 << 31) - 1), struct.pack(">i", 1) + struct.pack(">h", 32767) + b"abc", struct.pack(">i", -7)):
        before = server.broker.memory()
        with server.connection(timeout=15) as c:
            c.send(wire.METADATA, 1, body)
            c.finish()
            assert c.closed()
        assert server.broker.memory() < before + 64 * MIB
    served(server)


@pytest.mark.parametrize("api, version", [(9999, 0), (-1, 0), (wire.PRODUCE, 99), (wire.FETCH, -1), (wire.METADATA, 32767)])
def test_unknown_api_or_version(server, api, version):
    with server.connection(timeout=15) as c:
        c.send(api, version, b"\0" * 16)
        assert c.closed()
    served(server)


def test_unknown_version_of_api_versions(server):
    """Every client starts with it: a version that is too new is answered in the oldest form, with what is known."""
    for version in (5, 99, 32767):
        with server.connection() as c:
            answer = c.ask(wire.API_VERSIONS, version, b"\0\x06tests\x021\0")
            error, count = struct.unpack(">hi", answer[:6])
            assert error == wire.UNSUPPORTED_VERSION and count >= 1
            apis = {key: (low, high) for key, low, high in struct.iter_unpack(">hhh", answer[6:6 + 6 * count])}
            assert apis[wire.API_VERSIONS][1] >= 3
            assert struct.unpack(">h", c.ask(wire.API_VERSIONS, 0)[:2])[0] == 0  # the connection lives on


@pytest.mark.parametrize("records, errors", [
    (wire.batch([b"x"], spoil_crc=True), {2}),
    (wire.batch([b"x"], length=10), {2, 87}),
    (wire.batch([b"x"], length=5000), {2, 87}),
    (wire.batch([b"x"], length=-1), {2, 87}),
    (wire.batch([b"x"] * 3, count=2), {2, 87}),
    (wire.batch([b"x"] * 3, count=-1), {2, 87}),
    (wire.batch([b"x"], count=(1 << 31) - 1), {2, 87}),
    (wire.batch([b"x"], attributes=1), {2, 87, -1}),                    # gzip, and is not
    (wire.batch([b"x"], attributes=7), {2, 87, 76, -1}),                # no such compression
    (wire.batch([b"x"], attributes=1 << 5), {87, 2}),                   # a control batch, from a client
    (wire.batch([b"x"])[:-3], {2, 87}),
    (wire.batch([b"x"])[:20], {2, 87}),
    (b"garbage", {2, 87}),
    (wire.batch([b"x"]) * 2, {87}),                                     # two batches: one a partition since v3
], ids=["wrong crc", "length too small", "length too large", "length negative", "count too small", "count negative", "count huge",
        "no gzip", "compression unknown", "control", "cut", "only a head", "garbage", "two batches"])
def test_bad_batches(server, name, records, errors):
    create_topic(server, name)
    with server.connection(timeout=20) as c:
        try:
            error, _ = wire.produce(c, name, records)
            assert error in errors
        except ConnectionError:
            pass  # closed is fine too
    assert watermarks(server, name) == (0, 0)
    with server.connection() as c:
        assert wire.produce(c, name, wire.batch([b"good"])) == (0, 0)
    assert values(read(server, name, 1)) == [b"good"]


@pytest.mark.weir
@pytest.mark.parametrize("version", [0, 2, 3])
def test_produce_without_records(server, name, version):
    """Null in place of records, in versions before batches v2 too: refused, and the connection goes on."""
    create_topic(server, name)
    transactional_id = struct.pack(">h", -1) if version >= 3 else b""
    body = (transactional_id + struct.pack(">hi", -1, 10_000) + struct.pack(">i", 1) + wire.string(name)
            + struct.pack(">iii", 1, 0, -1))
    with server.connection() as c:
        answer = c.ask(wire.PRODUCE, version, body)
        assert struct.unpack(">h", answer[4 + 2 + len(name) + 4 + 4:][:2])[0] == 87  # INVALID_RECORD
        assert wire.produce(c, name, wire.batch([b"good"])) == (0, 0)


def test_produce_to_what_is_not_there(server, name):
    create_topic(server, name)
    with server.connection() as c:
        assert wire.produce(c, f"{name}-missing", wire.batch([b"x"]))[0] == 3
        answer = c.ask(wire.PRODUCE, 3, wire.produce_body(name, wire.batch([b"x"]), partition=9))
        assert wire.produce_result(answer)[0] == 3
        answer = c.ask(wire.PRODUCE, 3, wire.produce_body(name, wire.batch([b"x"]), acks=7))
        assert wire.produce_result(answer)[0] == 21  # INVALID_REQUIRED_ACKS


def test_a_client_that_never_reads(make_server, name):
    """It asks for the same megabyte thousands of times and reads no answer: memory stays, the others are served."""
    server = make_server({"queued.max.request.bytes": 32 * MIB, "socket.request.max.bytes": 16 * MIB})
    create_topic(server, name)
    produce(server, name, [b"x" * 1000] * 4000)
    before = server.broker.memory()
    greedy = [server.connection(timeout=5, receive_buffer=4096) for _ in range(4)]
    try:
        for c in greedy:
            request = wire.frame(wire.header(wire.FETCH, 4) + wire.fetch_body(name, 0, max_bytes=4 * MIB))
            try:
                for _ in range(5000):
                    c.raw(request)
            except (TimeoutError, ConnectionError):
                pass  # the server no longer reads: as it should
        began = time.monotonic()
        served(server)
        assert len(read(server, name, 4000)) == 4000
        assert time.monotonic() - began < 30
        if server.target == "weir":
            assert server.broker.memory() < before + 150 * MIB
    finally:
        for c in greedy:
            c.close()
    served(server)


def test_slow_clients_cost_others_nothing(server, name):
    """A hundred clients each send a request byte by byte; others are answered meanwhile."""
    create_topic(server, name)
    slow = [server.connection() for _ in range(100)]
    request = wire.frame(wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"slow"])))
    for at in range(len(request)):
        for c in slow:
            c.raw(request[at:at + 1])
        if at % 20 == 0:
            served(server)
    assert sorted(wire.produce_result(c.receive()[1]) for c in slow) == [(0, i) for i in range(100)]
    for c in slow:
        c.close()


def test_many_idle_connections(server):
    count = min(2000, raise_descriptor_limit() // 3)
    before = server.broker.memory()
    idle = [server.connection() for _ in range(count)]
    for c in idle[::10]:
        c.ask(wire.API_VERSIONS, 0)
    served(server)
    if server.target == "weir":
        assert server.broker.memory() - before < count * 32 * 1024, "an idle connection costs little"
    descriptors = server.broker.descriptors()
    for c in idle:
        c.close()
    wait_for(lambda: server.broker.descriptors() < descriptors - count * 0.9, "they are closed")
    served(server)


def test_connection_limits(make_server):
    server = make_server({"max.connections.per.ip": 10})
    kept = []
    with pytest.raises((ConnectionError, TimeoutError)):
        for _ in range(15):
            c = server.connection(timeout=10)
            kept.append(c)
            c.ask(wire.API_VERSIONS, 0)
    assert 8 <= len(kept) <= 11
    for c in kept:
        c.close()
    wait_for(lambda: wire.answers(server.host, server.port), "there is room again")


def test_idle_connections_are_closed(make_server):
    server = make_server({"connections.max.idle.ms": 1000})
    with server.connection() as c:
        c.ask(wire.API_VERSIONS, 0)
        assert c.closed()
    served(server)


@pytest.mark.weir
def test_a_trickle_is_not_idle(make_server, name):
    """A byte now and then of a large request, for longer than connections.max.idle.ms; who sends nothing is closed."""
    server = make_server({"connections.max.idle.ms": 2000})
    create_topic(server, name)
    request = wire.frame(wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"x" * 900_000])))
    with server.connection() as c, server.connection() as silent:
        for some in (c, silent):
            some.raw(request[:5000])
        for at in range(5000, 5014):
            c.raw(request[at:at + 1])
            time.sleep(0.5)
        assert silent.closed()
        c.raw(request[5014:])
        assert wire.produce_result(c.receive()[1]) == (0, 0)


def test_request_size_limit(make_server, name):
    server = make_server({"socket.request.max.bytes": 100_000})
    create_topic(server, name)
    with server.connection() as c:
        c.raw(wire.frame(wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"x" * 90_000]))))
        assert wire.produce_result(c.receive()[1]) == (0, 0)
        try:
            c.raw(wire.frame(wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"x" * 110_000]))))
            assert c.closed()
        except ConnectionError:
            pass
    assert watermarks(server, name) == (0, 1)


def test_noise_under_load(server, name):
    """Producers and noise at once: nothing of the producers' is lost."""
    create_topic(server, name)
    stop = threading.Event()

    def noise(seed):
        chance = random.Random(seed)
        while not stop.is_set():
            try:
                with server.connection(timeout=5) as c:
                    body = chance.randbytes(chance.randrange(200))
                    c.raw(wire.frame(wire.header(chance.randrange(70), chance.randrange(15)) + body))
                    c.socket.settimeout(0.05)
                    c.socket.recv(1000)
            except OSError:
                pass

    threads = [threading.Thread(target=noise, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    sent = [str(i).encode() for i in range(30_000)]
    try:
        produce(server, name, sent, enable_idempotence=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert values(read(server, name, len(sent))) == sent


@pytest.mark.weir
def test_bad_input_on_the_other_ports(server):
    """ZooKeeper's port and the metrics' port take any bytes too."""
    chance = random.Random(7)
    for port in (server.zookeeper_port, server.metrics_port):
        for data in [os.urandom(1) * 3000, struct.pack(">i", (1 << 31) - 1), struct.pack(">i", -5) + b"x" * 50,
                     b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"] + [chance.randbytes(500) for _ in range(20)]:
            with socket.create_connection((server.host, port), timeout=15) as c:
                try:
                    c.sendall(data)
                    c.shutdown(socket.SHUT_WR)
                    while c.recv(65536):
                        pass
                except OSError:
                    pass  # closed in the middle of it
    served(server)
    assert server.zookeeper.alive() and server.zookeeper.memory() < 200 * MIB


def announced(server, size, sent=b""):
    c = server.connection(timeout=60)
    c.raw(struct.pack(">i", size) + sent)
    return c


@pytest.mark.weir
def test_memory_that_is_only_announced(make_server, name):
    """Three sockets announce all the memory there is and send nothing: small requests are answered at once, large ones as
    soon as the silent have been so for some seconds. The log says who waits, and who was closed for it."""
    server = make_server({"socket.request.max.bytes": 1_000_000, "queued.max.request.bytes": 2_000_000})
    create_topic(server, name)
    silent = [announced(server, 990_000) for _ in range(3)]
    wait_for(lambda: wire.answers(server.host, server.port), "small requests are answered")
    with server.connection(timeout=60) as c:
        assert wire.produce(c, name, wire.batch([b"x" * 900_000])) == (0, 0)
    text = server.broker.text()
    assert "waits to send a request of" in text and "of 2000000 bytes are taken" in text, text[-2000:]
    assert "for a request of 990000 bytes, of which 0 have come" in text, text[-2000:]
    for c in silent:
        c.close()
    served(server)


@pytest.mark.weir
def test_a_slow_client_alone_keeps_its_connection(make_server, name):
    """Nobody waits for the memory that it holds: it is not closed, however long it takes."""
    server = make_server({"socket.request.max.bytes": 1_000_000, "queued.max.request.bytes": 2_000_000})
    create_topic(server, name)
    request = wire.frame(wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"x" * 900_000])))
    with server.connection(timeout=60) as c:
        c.raw(request[:5000])
        with server.connection() as other:
            for i in range(12):  # longer than it could be silent if somebody waited
                assert wire.produce(other, name, wire.batch([b"y" * 100_000])) == (0, i)
                time.sleep(0.5)
        c.raw(request[5000:])
        assert wire.produce_result(c.receive()[1]) == (0, 12)


@pytest.mark.weir
def test_memory_of_large_requests_is_bounded(make_server, name):
    """Five sockets announce 100 MiB each, send 99 and stop: two of them have their memory at a time."""
    server = make_server({"queued.max.request.bytes": 210 * MIB})
    create_topic(server, name)
    before = server.broker.memory()
    stopped = []

    def send(c):
        piece = b"x" * MIB
        try:
            for _ in range(99):
                c.raw(piece)
        except OSError:
            pass  # closed: others waited
        stopped.append(c)

    large = [announced(server, 100 * MIB) for _ in range(5)]
    threads = [threading.Thread(target=send, args=(c,)) for c in large]
    for thread in threads:
        thread.start()
    most = 0

    def all_stopped():
        nonlocal most
        most = max(most, server.broker.memory())
        return len(stopped) == len(large)

    try:
        wait_for(all_stopped, "each had its turn", seconds=120)
        served(server)
    finally:
        for c in large:
            c.close()
        for thread in threads:
            thread.join()
    assert most < before + 250 * MIB
    wait_for(lambda: server.broker.memory() < before + 50 * MIB, "it is given back")
    served(server)


@pytest.mark.weir
def test_every_kind_of_bad_input_has_its_line(make_server, name):
    """One kind does not hide another, and how many were left out is told though nothing like it comes again."""
    server = make_server({"connections.max.idle.ms": 3000})
    create_topic(server, name)
    produce_99 = b"\0\0\0\x63" + struct.pack(">i", 1) + struct.pack(">h", 5) + b"tests" + b"\xff" * 20
    whole = wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"x"]))
    closing = {
        "a request of -1 bytes": struct.pack(">i", -1),
        "a request of 2147483647 bytes": struct.pack(">i", (1 << 31) - 1),
        "this looks like HTTP": b"GET / HTTP/1.1\r\n\r\n",
        "this looks like TLS": b"\x16\x03\x01\x02\0\x01\0\x01",
        "request for API 9999, which is not served": wire.frame(wire.header(9999, 0)),
        "Produce request of version 99, served are": wire.frame(produce_99),
        "Fetch request of version 99, served are": wire.frame(wire.header(wire.FETCH, 99)),
        "malformed request of API 3": wire.frame(wire.header(wire.METADATA, 1) + struct.pack(">i", (1 << 31) - 1)),
        f"produce with acks=0 to {name}-0 failed": wire.frame(
            wire.header(wire.PRODUCE, 3) + wire.produce_body(name, wire.batch([b"x"], spoil_crc=True), acks=0)),
        f"ended within a request: 40 of its {len(whole)} bytes had come": wire.frame(whole)[:44],
    }
    for _ in range(5):
        for data in closing.values():
            with server.connection() as c:
                try:
                    c.raw(data)
                    c.finish()
                    c.closed()
                except ConnectionError:
                    pass
    with server.connection() as c:
        assert wire.produce(c, name, wire.batch([b"x"], spoil_crc=True))[0] == 2

    def told(what):
        """How often it happened by the log: a line each, or as the number of those left out."""
        count = 0
        for line in server.broker.text().splitlines():
            if what in line:
                left_out = re.search(r"(\d+) more like it left out in ", line)
                count += int(left_out[1]) if left_out else 1
        return count

    text = server.broker.text()
    assert [line for line in closing if line not in text] == []
    assert f"refused records for {name}-0 of client tests from" in text and "CORRUPT_MESSAGE" in text, text[-4000:]
    wait_for(lambda: all(told(line) == 5 for line in closing), "what was left out is told", seconds=40)


@pytest.mark.weir
def test_the_log_says_why_and_not_too_often(make_server):
    server = make_server()
    for _ in range(300):
        with server.connection() as c:
            c.raw(struct.pack(">i", -1))
            assert c.closed()
    new = server.broker.text()
    lines = [line for line in new.splitlines() if "127.0.0.1" in line and ("size" in line or "length" in line or "larger" in line or "byte" in line)]
    assert 1 <= len(lines) <= 50, new[-2000:]
