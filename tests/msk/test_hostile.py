"""What strangers, and those with a key, may send over HTTP: each is answered in JSON with a client's error or cut off, and
the service goes on. Requests are signed by botocore where it says so, and sent byte by byte."""
import http.client
import json
import re
import socket
import threading
import time
import urllib.parse

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import wait
from model import KNOWN, example, wire_name

MODEL = botocore.session.Session().get_service_model("kafka")
NOWHERE = "arn:aws:kafka:us-east-1:000000000000:cluster/none/11111111-1111-4111-8111-111111111111-2"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def place(plane):
    url = urllib.parse.urlsplit(plane.settings["AWS_ENDPOINT_URL"])
    return url.hostname, url.port


@pytest.fixture(scope="module")
def key(plane):
    return Credentials(plane.settings["AWS_ACCESS_KEY_ID"], plane.settings["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture(autouse=True)
def service_goes_on(session_kafka):
    yield
    assert session_kafka.list_kafka_versions(MaxResults=1)["KafkaVersions"]


class Wire:
    """Signs as botocore does, and sends what it is told."""

    def __init__(self, place, key):
        self.place, self.key = place, key

    def head(self, method, target, body=b"", headers=(), length=True):
        host = f"{self.place[0]}:{self.place[1]}"
        request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers), data=body)
        SigV4Auth(self.key, "kafka", "us-east-1").add_auth(request)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "host"]
        if length:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def connect(self):
        return socket.create_connection(self.place, timeout=20)

    def answers(self, sent, count=1):
        """The first answers to these bytes: (status, headers, JSON); None where the connection ends."""
        out = []
        with self.connect() as peer:
            try:
                peer.sendall(sent)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was refused before it was whole
            reader = peer.makefile("rb")
            for _ in range(count):
                answer = read_answer(reader)
                out.append(answer)
                if answer is None:
                    break
        return out if count > 1 else out[0]

    def call(self, method, target, body=b"", **how):
        return self.answers(self.head(method, target, body, **how) + body)


def read_answer(reader):
    """One answer of a stream. Bytes of the next stay in it."""
    line = reader.readline()
    if not line:
        return None
    status, headers = int(line.split()[1]), http.client.parse_headers(reader)
    body = reader.read(int(headers.get("Content-Length", 0)))
    return status, headers, json.loads(body) if body else {}


@pytest.fixture(scope="module")
def wire(place, key):
    return Wire(place, key)


def refused(answer, status, code=None):
    assert answer is not None, "no answer"
    assert answer[0] == status, answer
    assert answer[1]["x-amzn-requestid"] and answer[1]["x-amzn-errortype"] and answer[2]["message"]
    if code:
        assert answer[1]["x-amzn-errortype"] == code, answer


# --- bodies

@pytest.mark.parametrize("body", [
    b"{", b"}", b"[]", b"null", b"1", b'"text"', b"{'clusterName': 'x'}", b'{"clusterName": }', b'{"clusterName": "x",}',
    b'{"clusterName": "x"} {}', b'{"clusterName": "\xff\xfe"}', b'{"clusterName": "\\ud800"}', b'{"clusterName": "a\x00b"}', b"\x00",
    b"\xef\xbb\xbf{}", b'{"n": 01}', b'{"n": NaN}', b'{"n": 1e999999999}', b'{"a": ' * 40 + b"1" + b"}" * 40, b'{"a":' * 100_000,
    b"[" * 500_000, b'{"a": "' + b"x" * 500_000, b'{"' + b"k" * 500_000 + b'": 1}',
    b"{" + b",".join(b'"%d": {}' % n for n in range(40_000)) + b"}",
], ids=lambda body: repr(body[:24]))
def test_a_body_that_is_no_request(wire, body):
    refused(wire.call("POST", "/v1/clusters", body), 400, "BadRequestException")


def test_a_name_with_every_kind_of_byte(wire):
    for name in ("\u0000", "a/b", "../..", "é", "🙂", "a" * 64 + "\n", "%2F", "-", "a b", "a\u202eb"):
        answer = wire.call("POST", "/v1/clusters", json.dumps({"clusterName": name, "kafkaVersion": "3.9.x"}).encode())
        refused(answer, 400, "BadRequestException")
        assert answer[2]["invalidParameter"] == "clusterName"


def to_wire(shape, value):
    if shape.type_name == "structure":
        return {wire_name(name, shape.members[name]): to_wire(shape.members[name], inner) for name, inner in value.items()}
    if shape.type_name == "list":
        return [to_wire(shape.member, inner) for inner in value]
    return value.decode() if isinstance(value, bytes) else value


def request_of(operation, known):
    """Method, path and body of an example."""
    shape, path, body = operation.input_shape, operation.http["requestUri"].split("?")[0], {}
    for name, value in example(shape, "", known).items():
        member = shape.members[name]
        where, wire = member.serialization.get("location"), wire_name(name, member)
        if where == "uri":
            path = path.replace("{%s}" % wire, urllib.parse.quote(str(value), safe=""))
        elif where != "querystring":
            body[wire] = to_wire(member, value)
    return operation.http["method"], path, body


@pytest.mark.parametrize("operation", sorted(n for n in MODEL.operation_names if MODEL.operation_model(n).http["method"] in ("POST", "PUT", "PATCH")))
def test_values_of_every_wrong_type(wire, operation, cluster_for_types):
    """Each member of the body, in turn, is something of another type."""
    known = {**KNOWN, "ClusterArn": cluster_for_types["ClusterArn"], "CurrentVersion": cluster_for_types["CurrentVersion"], "TopicName": "none",
             "ResourceArn": NOWHERE, "Arn": NOWHERE, "ReplicatorArn": NOWHERE, "TargetClusterArn": NOWHERE, "VpcConnectionArn": NOWHERE}
    model = MODEL.operation_model(operation)
    method, path, body = request_of(model, known)
    for name, member in model.input_shape.members.items():
        if member.serialization.get("location"):
            continue
        fits = {"string": str, "blob": str, "integer": int, "long": int, "boolean": bool, "structure": dict, "list": list, "map": dict}[member.type_name]
        for value in ([], {}, [[]], [{}], [None], {"x": {"x": []}}, "", "x" * 3000, -1, 2**63, 2**64, 1.5, True):
            if type(value) is fits:
                continue
            wrong = json.dumps({**body, wire_name(name, member): value}).encode()
            answer = wire.call(method, path, wrong)
            assert 400 <= answer[0] < 500 and answer[2]["message"], (name, value, answer)


@pytest.fixture(scope="module")
def cluster_for_types(session_kafka):
    """That of `weir up`: no update of it is taken, whatever else is wrong."""
    wait(lambda: session_kafka.list_clusters(ClusterNameFilter="local")["ClusterInfoList"])
    return session_kafka.list_clusters(ClusterNameFilter="local")["ClusterInfoList"][0]


def test_bodies_that_are_too_large(wire):
    body = b'{"clusterName": "' + b"x" * (2 * MIB) + b'"}'
    refused(wire.call("POST", "/v1/clusters", body), 413, "RequestEntityTooLargeException")
    refused(wire.answers(b"POST /v1/clusters HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999\r\n\r\n"), 413)
    refused(wire.answers(b"POST /v1/clusters HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n"), 400)
    endless = b"POST /v1/clusters HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40
    refused(wire.answers(endless), 413)


# --- targets

@pytest.mark.parametrize("path", ["/v1/clusters/{}", "/v1/clusters/{}/nodes", "/v1/clusters/{}/bootstrap-brokers", "/v1/clusters/{}/policy",
                                  "/v1/clusters/{}/topics", "/v1/clusters/{}/topics/t/partitions", "/api/v2/clusters/{}", "/v1/operations/{}",
                                  "/api/v2/operations/{}", "/v1/configurations/{}", "/v1/configurations/{}/revisions/1", "/v1/tags/{}",
                                  "/v1/vpc-connection/{}", "/replication/v1/replicators/{}", "/v1/clusters/{}/scram-secrets"])
def test_arns_of_nothing(wire, path):
    for arn in (NOWHERE, NOWHERE.replace("us-east-1", "mars-1"), NOWHERE.replace("0000", "1111"), NOWHERE.replace("cluster/", "topic/"),
                "x", "arn:", "arn:::::::", "arn:aws:kafka:us-east-1:000000000000:cluster/", NOWHERE + "/x", NOWHERE + "\0", ".", "..",
                "../../..", "/", "%2F", "é", "\x01", "*", "a" * 7000, "arn:aws:kafka:us-east-1:000000000000:cluster/a/../b"):
        target = path.format(urllib.parse.quote(arn, safe=""))
        answer = wire.call("GET", target)
        assert answer[0] in (400, 404), (arn, answer)
        refused(answer, answer[0])


def test_one_arn_in_every_way_to_write_it(wire, cluster_for_types):
    arn = cluster_for_types["ClusterArn"]
    every = urllib.parse.quote(arn, safe="")
    lower = re.sub("%..", lambda m: m[0].lower(), every)
    for target in (every, lower, every.replace("%3A", ":"), "".join(f"%{c:02X}" for c in arn.encode())):
        answer = wire.call("GET", f"/v1/clusters/{target}")
        assert answer[0] == 200 and answer[2]["clusterInfo"]["clusterArn"] == arn
    refused(wire.call("GET", f"/v1/clusters/{every.replace('%2F', '/')}"), 404, "UnknownOperationException")
    refused(wire.call("GET", f"/v1/clusters/{every.replace('%', '%25')}"), 400)
    for bad in ("%", "%2", "%zz", every[:-1] + "%"):
        refused(wire.call("GET", f"/v1/clusters/{bad}"), 400)


def test_queries_that_make_no_sense(wire):
    for query in ("maxResults=", "maxResults=x", "maxResults=1&maxResults=x", "nextToken=%00", "nextToken=" + "A" * 8000, "a" * 8000,
                  "maxResults=%zz", "clusterNameFilter=" + "%FF" * 1000):
        answer = wire.call("GET", f"/v1/clusters?{query}")
        assert answer[0] in (200, 400, 403), (query, answer)  # 403: what is no query has no signature


@pytest.mark.parametrize("target", ["*", "x", "http://elsewhere/v1/clusters", "//v1//clusters", "/v1/clusters/", "/V1/clusters", "/v1/clusters/../clusters/x/y/z",
                                    "/" + "a/" * 8000, "/" + "%2F" * 5000, "/v1/clusters#x"])
def test_targets_that_are_no_path_of_ours(wire, target):
    answer = wire.answers(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert answer[0] in (400, 403, 404), answer
    refused(answer, answer[0])


# --- heads

@pytest.mark.parametrize("sent,status", [
    (b"\r\n\r\n\r\n", 400), (b"\x00" * 4000 + b"\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"GET /\r\n\r\n", 400), (b"GET / HTTP/9.9\r\nHost: h\r\n\r\n", (400, 505)),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)), (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n: no name\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nA\x00B: x\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nA: x\x00y\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: h\n\n", (400, 505)), (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", (400, 403)), (b"G\xffT / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(2500)) + b"\r\n", (403, 431)),
    (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431), (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n", 431), (b"A" * 50_000, 431),
    (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400), (b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
    (b"POST /v1/clusters HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    (b"POST /v1/clusters HTTP/1.1\r\nTransfer-Encoding: gzip, identity\r\n\r\nxx", 400),
], ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "")
def test_heads_that_are_no_http(wire, sent, status):
    with wire.connect() as peer:
        try:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = read_answer(peer.makefile("rb"))
    assert answer is not None, "cut off without an answer"
    assert answer[0] in (status if isinstance(status, tuple) else (status,)), answer
    refused(answer, answer[0])


@pytest.mark.parametrize("value", [
    "", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e/f/g, SignedHeaders=host, Signature=0", "Basic YTpi",
    "Bearer x", "AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/kafka/aws4_request, SignedHeaders=" + "a;" * 8000 + ", Signature=0",
    "AWS4-HMAC-SHA256 " + "Credential=x," * 1000, "AWS4-ECDSA-P256-SHA256 Credential=x, SignedHeaders=host, Signature=0", "\xe9" * 50, ",,,,====,,,,", "AWS4-HMAC-SHA256 " + "=" * 9000,
], ids=lambda value: repr(value[:30]))
def test_signatures_that_are_none(wire, value):
    head = f"GET /v1/clusters HTTP/1.1\r\nHost: h\r\nX-Amz-Date: 20261123T000000Z\r\nAuthorization: {value}\r\n\r\n".encode("latin-1")
    refused(wire.answers(head), 403)


def test_two_signatures_are_one_too_many(wire):
    head = wire.head("GET", "/v1/clusters")
    other = b"Authorization: AWS4-HMAC-SHA256 Credential=x/20261123/us-east-1/kafka/aws4_request, SignedHeaders=host, Signature=0\r\n"
    answer = wire.answers(head[:-2] + other + b"\r\n")
    assert answer[0] in (200, 403)  # the first counts, or none
    answer = wire.answers(head.replace(b"\r\nHost", b"\r\n" + other + b"Host", 1))
    refused(answer, 403)


# --- streams

def test_garbage_behind_a_request(wire):
    good = wire.head("GET", "/v1/kafka-versions?maxResults=1")
    first, second, end = wire.answers(good + b"\x00garbage\r\n\r\n" + good, 3)
    assert first[0] == 200 and second[0] == 400 and end is None


def test_many_requests_at_once_on_one_connection(wire):
    good, bad = wire.head("GET", "/v1/kafka-versions?maxResults=1"), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    answers = wire.answers((good + bad) * 100, 200)
    assert [a[0] for a in answers] == [200, 403] * 100


def chunked(body, sizes):
    out, at = b"", 0
    for size in sizes:
        out += b"%x\r\n%s\r\n" % (len(body[at:at + size]), body[at:at + size])
        at += size
    return out + b"0\r\n\r\n"


def test_bodies_in_chunks(wire):
    body = json.dumps({"clusterName": "-"}).encode()
    head = wire.head("POST", "/v1/clusters", body, length=False)[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    for sizes in ([len(body)], [1] * len(body), [5, 3, len(body)]):
        answer = wire.answers(head + chunked(body, [s for s in sizes if s]))
        refused(answer, 400, "BadRequestException")
        assert answer[2]["invalidParameter"] == "clusterName"
    for bad in (b"x\r\n\r\n", b"-1\r\n\r\n", b"5\r\nabc", b"5\r\nabcdefgh\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"5;" + b"x" * 100_000):
        with wire.connect() as peer:
            peer.sendall(head + bad)
            peer.shutdown(socket.SHUT_WR)
            answer = read_answer(peer.makefile("rb"))
        assert answer is None or answer[0] in (400, 413, 431), (bad[:20], answer)


def test_those_who_are_slow_hold_up_nobody(wire, session_kafka):
    """A hundred who begin a request and do not end it; others are served meanwhile, and in no time."""
    slow = [wire.connect() for _ in range(100)]
    stop = threading.Event()

    def drip():
        head = wire.head("GET", "/v1/clusters")
        for at in range(len(head) - 4):
            if stop.wait(0.05):
                return
            for peer in slow:
                peer.send(head[at:at + 1])

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        began = time.monotonic()
        for _ in range(20):
            assert session_kafka.list_kafka_versions(MaxResults=1)
        assert time.monotonic() - began < 10
    finally:
        stop.set()
        thread.join()
        for peer in slow:
            peer.close()


def test_those_who_keep_all_places_and_say_nothing(wire):
    """More than there are places; who comes to ask is served, and they go."""
    idle = [wire.connect() for _ in range(300)]
    try:
        began = time.monotonic()
        for _ in range(5):
            assert wire.call("GET", "/v1/kafka-versions?maxResults=1")[0] == 200
        assert time.monotonic() - began < 10
    finally:
        for peer in idle:
            peer.close()


def test_connections_that_end_anywhere(wire):
    whole = wire.head("POST", "/v1/configurations", b'{"name": "-"}') + b'{"name": "-"}'
    for at in range(1, len(whole), 7):
        with wire.connect() as peer:
            peer.sendall(whole[:at])
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset


def test_nothing_of_all_this_stays(plane, wire):
    """The memory of the control plane after hundreds of requests that are too large, too deep, or cut off."""
    state = json.loads((plane.data / "run/state.json").read_text())
    pid = next(p["pid"] if "pid" in p else p["process"]["pid"] for p in state["processes"] if p["role"] == "control")

    def resident():
        with open(f"/proc/{pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def storm():
        for _ in range(100):
            wire.call("POST", "/v1/clusters", b'{"a":' * 20_000)
            with wire.connect() as peer:
                peer.sendall(b"POST /v1/clusters HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n" + b"x" * 300_000)

    storm()
    before = resident()
    storm()
    assert resident() - before < 32 * 1024
