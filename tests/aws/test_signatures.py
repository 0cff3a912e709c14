"""Random requests under the SDK's own signer: what it signs is accepted, and nothing else."""
import http.client
import json
import random
import socket

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode

from conftest import KEY, SECRET

ARN = "arn%3Aaws%3Akafka%3Aus-east-1%3A1%3Acluster%2Fname%2Fu-1"


def send(connection, method, target, headers, body):
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    return response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read()


def signed(port, method, target, headers, body):
    request = AWSRequest(method, f"http://127.0.0.1:{port}{target}", headers=headers, data=body)
    SigV4Auth(Credentials(KEY, SECRET), "kafka", "us-east-1").add_auth(request)
    out = [(name, value) for name, value in request.headers.items()]
    if not any(name.lower() == "host" for name, _ in out):
        out.append(("Host", f"127.0.0.1:{port}"))
    return out


def text(chance, most):
    alphabet = "abzAZ019-._~ :/?#[]@!$&'()*+,;=%\"<>\\^`{|}é漢🙂"
    return "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, most)))


def target_of(chance):
    parts = []
    for _ in range(chance.randrange(1, 5)):
        kind = chance.randrange(8)
        if kind == 0:
            parts.append(chance.choice(["", ".", "..", "v1", "clusters", ARN]))
        elif kind == 1:
            parts.append("a:b@c+d,e;f=g~h!$'()*")  # what a path may have as it is
        else:
            parts.append(percent_encode(text(chance, 12), safe=chance.choice(["", ":", "~"])))
    target = "/" + "/".join(parts)
    if chance.random() < 0.6:
        pairs = [(chance.choice(["a", "b", text(chance, 5)]), chance.choice(["", text(chance, 9)]))
                 for _ in range(chance.randrange(1, 6))]
        target += "?" + "&".join(f"{percent_encode(k)}={percent_encode(v)}" for k, v in pairs)
    return target


def headers_of(chance):
    headers = {}
    for _ in range(chance.randrange(4)):
        headers[f"X-Test-{chance.randrange(9)}"] = chance.choice(["a", "a   b", "  a  ", "a,b", '"a  b"', ""])
    if chance.random() < 0.3:
        headers["Content-Type"] = "application/json; charset=utf-8"
    return headers


@pytest.mark.parametrize("seed", range(4))
def test_what_the_sdk_signs_is_accepted(port, seed):
    chance = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(150):
        method, target, headers = chance.choice(["GET", "PUT", "POST", "DELETE"]), target_of(chance), headers_of(chance)
        body = b"" if method == "GET" else json.dumps({"a": text(chance, 50)}).encode()
        sent = signed(port, method, target, headers, body)
        status, got, answer = send(connection, method, target, sent, body)
        assert status in (200, 404, 405), (method, target, headers, answer.decode())
        assert got["x-amzn-requestid"]
        # The same signature on anything else.
        other = chance.randrange(3)
        if other == 0:
            target += "x"
        elif other == 1:
            method = "PATCH"
        else:
            body += b" "
        status, got, answer = send(connection, method, target, sent, body)
        assert (status, got["x-amzn-errortype"]) == (403, "InvalidSignatureException"), (method, target)
    connection.close()


@pytest.mark.parametrize("method,target,operation", [
    ("GET", "/v1/clusters/" + ARN, "DescribeCluster"),
    ("GET", "/v1/clusters/" + ARN.replace("%3A", ":"), "DescribeCluster"),
    ("PUT", "/v1/clusters/" + ARN + "/nodes/count", "UpdateBrokerCount"),
    ("GET", "/api/v2/clusters/" + ARN, "DescribeClusterV2"),
])
def test_an_arn_is_one_segment(port, method, target, operation):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    status, _, answer = send(connection, method, target, signed(port, method, target, {}, b""), b"")
    asked = json.loads(answer)
    assert (status, asked["operation"]) == (200, operation)
    assert list(asked["labels"].values()) == ["arn:aws:kafka:us-east-1:1:cluster/name/u-1"]
    plain = target.replace("%2F", "/")
    status, got, _ = send(connection, method, plain, signed(port, method, plain, {}, b""), b"")
    assert (status, got["x-amzn-errortype"]) == (404, "UnknownOperationException")
    connection.close()


@pytest.mark.parametrize("sent,status", [
    (b"GET /v1/clusters HTTP/1.1\r\nHost: h\r\n\r\n", 403),
    (b"GET /v1/clusters HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    (b"POST /v1/clusters HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999\r\n\r\n", 413),
    (b"POST /v1/clusters HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 413),
    (b"POST /v1/clusters HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client that came to the wrong door\r\n\r\n", 400),
])
def test_strangers_get_json(port, sent, status):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        peer.sendall(sent)
        response = http.client.HTTPResponse(peer)
        response.begin()
        assert response.status == status
        assert response.getheader("x-amzn-errortype") and response.getheader("x-amzn-requestid")
        assert json.loads(response.read())["message"]


def test_a_body_that_waits_to_be_asked_for(port):
    body = b'{"clusterName": "x"}'
    headers = signed(port, "POST", "/v1/clusters", {}, body)
    head = "POST /v1/clusters HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)
    head += f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        peer.sendall(head.encode())
        assert peer.recv(100).startswith(b"HTTP/1.1 100 ")
        peer.sendall(body)
        response = http.client.HTTPResponse(peer)
        response.begin()
        assert response.status == 200
        assert json.loads(response.read())["body"] == {"clusterName": "x"}


def test_a_content_length_that_is_signed(port):
    """As the SDK for Go signs it."""
    body = b'{"clusterName": "x"}'
    headers = signed(port, "POST", "/v1/clusters", {"Content-Length": str(len(body)), "Accept-Encoding": "gzip"}, body)
    head = "POST /v1/clusters HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
    assert "content-length" in head.split("SignedHeaders=")[1]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        peer.sendall(head.encode() + body)
        response = http.client.HTTPResponse(peer)
        response.begin()
        assert response.status == 200
        assert json.loads(response.read())["body"] == {"clusterName": "x"}
