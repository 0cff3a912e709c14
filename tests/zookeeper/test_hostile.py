"""Any bytes on the port: the connection ends or an error comes, memory stays, others go on."""
import os
import random
import socket
import struct

import pytest

import wire as w
from servers import until, word
from wire import Wire, blob, i32, i64, text

pytestmark = pytest.mark.ours


def memory_kib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


@pytest.fixture
def others(zk, wire, root):
    """Another client, which must not notice anything."""
    other = wire()
    yield other
    other.set(root, b"still here")
    assert other.get(root)[0] == b"still here"
    assert word(zk.port, "ruok") == "imok"


def raw(zk, data, half_close=False):
    s = socket.create_connection(("127.0.0.1", zk.port), timeout=15)
    s.sendall(data)
    if half_close:
        s.shutdown(socket.SHUT_WR)
    return s


def ends(s):
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass
    s.close()
    return True


CONNECT = i32(0) + i64(0) + i32(30000) + i64(0) + blob(b"\0" * 16) + b"\0"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # a TLS hello
        struct.pack(">i", -1),
        struct.pack(">i", 0x7FFFFFFF),
        struct.pack(">i", 1_048_576) + b"x" * 100,
        i32(0),
        i32(4) + b"abcd",
        i32(28) + i32(0) + i64(0) + i32(30000) + i64(0) + i32(1_000_000),  # a password that is not there
        i32(28) + i32(0) + i64(0) + i32(30000) + i64(0) + i32(-7),
    ],
)
def test_what_is_no_session(zk, others, data):
    assert ends(raw(zk, data))


def test_a_cut_frame(zk, others):
    assert ends(raw(zk, i32(len(CONNECT)) + CONNECT[:10], half_close=True))


@pytest.mark.parametrize("body", [b"", b"\0\0\0\1", b"\0" * 7])
def test_a_request_without_its_header(zk, others, wire, body):
    c = wire()
    c.send(body)
    assert c.closed()


LIES = [0x7FFFFFFF, -2, -(2**31), 1_000_000, 60]


@pytest.mark.parametrize("request_type", [w.CREATE, w.SET_ACL, w.SET_WATCHES, w.SET_WATCHES2, w.MULTI, w.GET_DATA, w.AUTH])
@pytest.mark.parametrize("lie", LIES)
def test_lengths_that_lie(wire, others, root, request_type, lie):
    c = wire()
    bodies = {
        w.CREATE: text(root) + blob(b"") + i32(lie),
        w.SET_ACL: text(root) + i32(lie),
        w.SET_WATCHES: i64(0) + i32(0) + i32(0) + i32(lie),
        w.SET_WATCHES2: i64(0) + i32(lie),
        w.MULTI: i32(w.CREATE) + b"\0" + i32(-1) + i32(lie),
        w.GET_DATA: i32(lie),
        w.AUTH: i32(0) + i32(lie),
    }
    assert c.call(request_type, bodies[request_type])[0] == w.MARSHALLING


def test_random_requests(zk, others, wire, root):
    chance = random.Random(7)
    kinds = [*range(-12, 30), *range(99, 110)]
    for _ in range(60):
        c = wire()
        try:
            for _ in range(30):
                body = bytes(chance.choice([0, 0, 0, 1, 4, 47, 97, 255]) for _ in range(chance.randrange(80)))
                err, _ = c.call(chance.choice(kinds), body)
                assert -128 < err <= 0
        except w.Closed:
            pass
    assert zk.process.poll() is None


def test_a_client_that_never_reads(zk, others, root):
    with Wire(zk.port).connect() as big:
        big.set(root, b"x" * 1_000_000)
    before = memory_kib(zk)
    c = Wire(zk.port).connect()
    c.socket.setblocking(False)
    frame = i32(1) + i32(w.GET_DATA) + text(root) + b"\0"
    data = (i32(len(frame)) + frame) * 5000  # five gigabytes of answers
    sent = quiet = 0
    with Wire(zk.port).connect() as other:
        # Until the server takes no more: it has answered another client many times and read none of these bytes.
        while sent < len(data) and quiet < 200:
            try:
                sent += c.socket.send(data[sent:])
                quiet = 0
            except BlockingIOError:
                other.stat(root)
                quiet += 1
            except ConnectionError:
                break
    assert memory_kib(zk) - before < 200 * 1024
    c.close()


def test_silent_connections_are_closed(zk, others):
    mute = raw(zk, b"")
    half = raw(zk, b"\0\0")
    started = i32(len(CONNECT)) + CONNECT[:4]
    part = raw(zk, started)
    for s in (mute, half, part):
        assert ends(s)


def test_events_for_one_who_does_not_read_are_bounded(zk, others, root):
    c = Wire(zk.port).connect(timeout_ms=60000)
    c.ok(w.ADD_WATCH, text(root) + i32(1))
    before = memory_kib(zk)
    writer = Wire(zk.port).connect()
    name = root + "/" + "n" * 500_000
    for _ in range(60):
        writer.create(name)
        assert writer.delete(name) == w.OK
    assert memory_kib(zk) - before < 250 * 1024
    c.close()
    writer.close()


def test_many_auths_of_one_connection(others, wire):
    c = wire()
    results = []
    try:
        for i in range(200):
            results.append(c.auth("digest", b"user%d:pw" % i))
    except w.Closed:
        pass
    assert results[0] == w.OK and w.AUTH_FAILED in results and len(results) < 100


def test_path_as_long_as_a_frame(wire, others, root):
    c = wire()
    path = root + "/" + "x" * 1_000_000
    assert c.stat(path, watch=True) is None
    c.create(path)
    assert c.take_events() == [(w.CREATED, path)]
    assert c.delete(path) == w.OK


def test_a_folder_in_use_is_refused(own):
    server = own()
    from servers import ZkServer

    second = ZkServer("ours", f"second-{os.getpid()}", dataDir=server.folder / "data")
    with pytest.raises(AssertionError, match="in use by another process"):
        second.start()
    second.remove()
    assert until("the first one serves", server.answers)
