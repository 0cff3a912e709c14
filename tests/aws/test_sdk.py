"""boto3 as users have it: every operation of its kafka model, and what it says when a call is refused."""
import datetime
import json
import shutil
import subprocess
import threading
from urllib.parse import unquote

import boto3
import botocore.auth
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from conftest import INACTIVE, KEY, SECRET

ARN = "arn:aws:kafka:us-east-1:000000000000:cluster/my+cluster %é/0f0f-2"
OPERATIONS = sorted(Loader().load_service_model("kafka", "service-2")["operations"])


def client(port, key=KEY, secret=SECRET, token=None, scheme="http", service="kafka", **more):
    config = Config(retries={"total_max_attempts": 1}, read_timeout=20, request_min_compression_size_bytes=1 << 20)
    return boto3.client(service, region_name="us-east-1", endpoint_url=f"{scheme}://127.0.0.1:{port}",
                        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token, config=config,
                        **more)


def echo(response):
    return json.loads(unquote(response["ResponseMetadata"]["HTTPHeaders"]["x-echo"]))


def value_of(shape, depth=0):
    """Something of that shape, each member set."""
    kind = shape.type_name
    if kind == "structure":
        return {name: value_of(member, depth + 1) for name, member in shape.members.items() if depth < 4}
    if kind == "list":
        return [value_of(shape.member, depth + 1)]
    if kind == "map":
        return {"a key": value_of(shape.value, depth + 1)}
    if kind in ("integer", "long"):
        return 7
    if kind in ("double", "float"):
        return 1.0
    if kind == "boolean":
        return True
    if kind == "blob":
        return b"auto.create.topics.enable = true\n"
    if kind == "timestamp":
        return datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    return shape.enum[0] if getattr(shape, "enum", None) else "a text of é, + and %2F"


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_understood(name, port, model):
    operation = model.operation_model(name)
    members = operation.input_shape.members if operation.input_shape else {}
    labels, query, body, parameters = {}, [], {}, {}
    for member, shape in members.items():
        where, wire = shape.serialization.get("location"), shape.serialization.get("name", member)
        given = value_of(shape)
        if where == "uri":
            given = ARN if shape.type_name == "string" else given
            labels[wire] = str(given)
        elif where == "querystring":
            given = ["b c", "a&=", "é"] if shape.type_name == "list" else given
            query += [[wire, str(v)] for v in (given if isinstance(given, list) else [given])]
        else:
            body[wire] = given
        parameters[member] = given
    api = client(port)
    method = {api.meta.method_to_api_mapping[m]: m for m in api.meta.method_to_api_mapping}[name]
    asked = echo(getattr(api, method)(**parameters))
    assert asked["operation"] == name
    assert (asked["service"], asked["caller"], asked["region"]) == ("kafka", KEY, "us-east-1")
    assert asked["labels"] == labels
    assert asked["query"] == sorted(query, key=lambda pair: pair[0])
    assert set(asked["body"]) == set(body)


def refused(call, code, status=403):
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    assert response["Error"]["Code"] == code
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["ResponseMetadata"]["RequestId"]
    return response["Error"]["Message"]


def test_who_may_not_call(port):
    message = refused(client(port, secret="not the secret").list_clusters, "InvalidSignatureException")
    assert message.startswith("The request signature we calculated does not match the signature you provided.")
    for who in ({"key": "AKIANOBODY"}, {"key": INACTIVE}, {"token": "of a session that we did not give"}):
        message = refused(client(port, **who).list_clusters, "UnrecognizedClientException")
        assert message == "The security token included in the request is invalid."
    message = refused(client(port, service="kinesis").list_streams, "InvalidSignatureException")
    assert message == "Credential should be scoped to correct service: 'kafka'. "


@pytest.mark.parametrize("minutes,start", [(-6, "Signature expired: "), (6, "Signature not yet current: ")])
def test_a_clock_that_is_wrong(port, monkeypatch, minutes, start):
    wrong = botocore.auth.get_current_datetime() + datetime.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *a, **k: wrong)
    assert refused(client(port).list_clusters, "InvalidSignatureException").startswith(start)


def test_tls(tls):
    port, certificate = tls
    asked = echo(client(port, scheme="https", verify=certificate).list_clusters(MaxResults=3))
    assert asked["operation"] == "ListClusters"
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        client(port, scheme="https").list_clusters()


def test_many_at_once(port):
    """More clients than the endpoint has connections for wait their turn; each gets its own answer."""
    wrong = []

    def work(number):
        api = client(port)
        for i in range(3):
            arn = f"arn:{number}/{i}"
            if echo(api.describe_cluster(ClusterArn=arn))["labels"] != {"clusterArn": arn}:
                wrong.append(arn)
        api.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_signs_too(port):
    done = subprocess.run(["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:kafka", "--user", f"{KEY}:{SECRET}",
                           f"http://127.0.0.1:{port}/v1/clusters?maxResults=5"], capture_output=True, text=True)
    assert json.loads(done.stdout)["query"] == [["maxResults", "5"]], done
