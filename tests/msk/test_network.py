"""`weir control` alone with its API on every address of the machine: by TLS, under a name that can be used, as `weir env`
tells a shell that was set up for elsewhere."""
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.parse

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError
from conftest import AWS, ROOT, WEIR, settings, wait, weir
from support.ports import free_port

ELSEWHERE = {"AWS_PROFILE": "nobody", "AWS_DEFAULT_PROFILE": "nobody", "AWS_SESSION_TOKEN": "of elsewhere", "AWS_SECURITY_TOKEN": "x",
             "AWS_ENDPOINT_URL_KAFKA": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
             "AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_REGION": "mars-west-1",
             "AWS_DEFAULT_REGION": "mars-west-1", "AWS_CREDENTIAL_EXPIRATION": "2001-01-01T00:00:00Z", "AWS_ACCESS_KEY_ID": "AKIAELSEWHERE"}


def started(*arguments):
    """A process of weir that serves."""
    read, write = os.pipe()
    process = subprocess.Popen([WEIR, *map(str, arguments), "--ready-fd", str(write)], pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as ready:
        assert ready.readline() == "ready\n", f"{arguments} did not start"
    return process


def ended(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.fixture(scope="module", params=["0.0.0.0", pytest.param("[::]", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))])
def open_plane(request):
    data = ROOT / f"build/msk/network-{os.getpid()}"
    shutil.rmtree(data, ignore_errors=True)
    zookeeper_port, port = free_port(), free_port()
    processes = [started("zookeeper", "--data", data / "zookeeper", "--listen", f"127.0.0.1:{zookeeper_port}")]
    try:
        processes.append(started("control", "--data", data, "--zookeeper", f"127.0.0.1:{zookeeper_port}",
                                 "--api", f"{request.param}:{port}", "--addresses", f"127.{160 + os.getpid() % 40}"))
        yield data
    finally:
        for process in reversed(processes):
            ended(process)
        shutil.rmtree(data, ignore_errors=True)


def of_machine(data):
    url = urllib.parse.urlsplit(settings(data)["AWS_ENDPOINT_URL"])
    return url.hostname, url.port


def client(data, endpoint, **how):
    e = settings(data)
    return boto3.client("kafka", endpoint_url=endpoint, region_name=e["AWS_REGION"], aws_access_key_id=e["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=e["AWS_SECRET_ACCESS_KEY"], config=Config(retries={"total_max_attempts": 1}), **how)


def test_the_api_has_a_name_that_can_be_used(open_plane):
    e = settings(open_plane)
    host, _ = of_machine(open_plane)
    assert e["AWS_ENDPOINT_URL"].startswith("https://") and host not in ("0.0.0.0", "::", "")
    listed = client(open_plane, e["AWS_ENDPOINT_URL"], verify=e["AWS_CA_BUNDLE"]).list_clusters()
    assert listed["ClusterInfoList"] == []
    assert "NAME" in weir("cluster", "list", "--data", open_plane) or json.loads(weir("cluster", "list", "--json", "--data", open_plane))
    with pytest.raises(SSLError):
        client(open_plane, e["AWS_ENDPOINT_URL"], verify=True).list_clusters()


def test_its_certificate_is_for_every_way_to_it(open_plane):
    e = settings(open_plane)
    host, port = of_machine(open_plane)
    hosts = [host, "127.0.0.1", "localhost"]
    if ":" in host:
        hosts.append("::1")
    for each in hosts:
        shown = f"[{each}]" if ":" in each else each
        assert client(open_plane, f"https://{shown}:{port}", verify=e["AWS_CA_BUNDLE"]).list_kafka_versions(MaxResults=1)
    with socket.create_connection((host, port), timeout=20) as plain:
        context = ssl.create_default_context(cafile=e["AWS_CA_BUNDLE"])
        with context.wrap_socket(plain, server_hostname=host) as connection:
            certificate = connection.getpeercert()
    names = {(kind, str(ipaddress.ip_address(value)) if kind == "IP Address" else value) for kind, value in certificate["subjectAltName"]}
    assert {("DNS", "localhost"), ("IP Address", "127.0.0.1"), ("IP Address", host)} <= names or host == "localhost"
    assert ("DNS", socket.gethostname()) in names
    with pytest.raises(ssl.SSLCertVerificationError):
        with socket.create_connection((host, port), timeout=20) as plain:
            context.wrap_socket(plain, server_hostname="elsewhere.example")


def test_what_comes_without_tls_is_not_answered(open_plane):
    host, port = of_machine(open_plane)
    with socket.create_connection((host, port), timeout=20) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"HTTP/1.1 200" not in plain.recv(1000)


def test_a_shell_that_was_set_up_for_elsewhere(open_plane):
    if ":" in of_machine(open_plane)[0]:
        pytest.skip("the other address family has shown it")
    env = {"PATH": os.environ["PATH"], "HOME": str(open_plane), **ELSEWHERE}
    shell = f'eval "$({WEIR} env --data {open_plane})" && {AWS} kafka list-kafka-versions --max-results 1 --output json'
    done = subprocess.run(["sh", "-c", shell], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["KafkaVersions"][0]["Version"] == "1.1.1"


def test_another_name_by_which_it_is_reached(tmp_path):
    zookeeper_port, port = free_port(), free_port()
    zookeeper = started("zookeeper", "--data", tmp_path / "zookeeper", "--listen", f"127.0.0.1:{zookeeper_port}")
    control = started("control", "--data", tmp_path, "--zookeeper", f"127.0.0.1:{zookeeper_port}", "--api", f"0.0.0.0:{port}",
                      "--advertise", "kafka.lan.example")
    try:
        assert settings(tmp_path)["AWS_ENDPOINT_URL"] == f"https://kafka.lan.example:{port}"
        context = ssl.create_default_context(cafile=settings(tmp_path)["AWS_CA_BUNDLE"])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            context.wrap_socket(plain, server_hostname="kafka.lan.example").close()
        assert weir("cluster", "list", "--data", tmp_path)  # this machine needs not know the name
        # One that died without a word leaves no settings behind.
        control.kill()
        control.wait()
        wait(lambda: subprocess.run([WEIR, "env", "--data", tmp_path], capture_output=True).returncode != 0)
    finally:
        if control.poll() is None:
            ended(control)
        ended(zookeeper)
