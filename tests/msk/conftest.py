"""One `weir up` with its control plane for all tests; each makes clusters of its own."""
import itertools
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.config import Config

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/integration")]

from shapes import watch  # noqa: E402
from support.ports import free_port  # noqa: E402

WEIR = Path(os.environ.get("WEIR_BINARY", ROOT / "build/release/weir"))
AWS = Path(sys.executable).parent / "aws"  # the one of the Python tools, of the same model as boto3
names = itertools.count(1)


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not WEIR.exists():
        raise pytest.UsageError(f"{WEIR} is not there: ./dev build")


def weir(*arguments, **how):
    return subprocess.run([WEIR, *map(str, arguments)], check=True, text=True, capture_output=True, timeout=60, **how).stdout


def settings(data):
    """What `weir env` tells a shell."""
    lines = [line.removeprefix("export ") for line in weir("env", "--data", data).splitlines()]
    pairs = (shlex.split(line)[0].split("=", 1) for line in lines if "=" in line)
    return dict(pairs)


@pytest.fixture(scope="session")
def plane():
    data = ROOT / f"build/msk/{os.getpid()}"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    ports = {"--port": free_port(), "--zookeeper-port": free_port(), "--metrics-port": 0}
    flags = [part for pair in ports.items() for part in pair]
    weir("up", "--data", data, "--brokers", 1, *flags, "--api", f"127.0.0.1:{free_port()}",
         "--addresses", f"127.{40 + os.getpid() % 100}", "--detach")
    env = settings(data)
    yield SimpleNamespace(data=data, env={**os.environ, **env}, settings=env)
    weir("down", "--data", data)
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def found():
    return []


@pytest.fixture(scope="session")
def session_kafka(plane, found):
    e = plane.settings
    client = boto3.client("kafka", endpoint_url=e["AWS_ENDPOINT_URL"], region_name=e["AWS_DEFAULT_REGION"],
                          aws_access_key_id=e["AWS_ACCESS_KEY_ID"], aws_secret_access_key=e["AWS_SECRET_ACCESS_KEY"],
                          config=Config(retries={"max_attempts": 1}))
    watch(client, found)
    return client


@pytest.fixture
def kafka(session_kafka, found):
    found.clear()
    yield session_kafka
    assert not found, "\n".join(found)


def wait(what, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := what():
            return result
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


def wanted(brokers=3, **more):
    return {"ClusterName": f"c-{next(names)}", "KafkaVersion": "3.9.x", "NumberOfBrokerNodes": brokers,
            "BrokerNodeGroupInfo": {"ClientSubnets": ["subnet-a", "subnet-b", "subnet-c"], "InstanceType": "kafka.m5.large"},
            "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS_PLAINTEXT", "InCluster": False}}, **more}


def state(kafka, arn):
    return kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["State"]


def make(kafka, **more):
    arn = kafka.create_cluster(**wanted(**more))["ClusterArn"]
    wait(lambda: state(kafka, arn) != "CREATING")
    assert state(kafka, arn) == "ACTIVE", kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"].get("StateInfo")
    return arn


def gone(kafka, arn):
    try:
        kafka.describe_cluster(ClusterArn=arn)
    except kafka.exceptions.NotFoundException:
        return True
    return False


@pytest.fixture
def cluster(kafka):
    arn = make(kafka)
    yield arn
    if not gone(kafka, arn):
        wait(lambda: state(kafka, arn) in ("ACTIVE", "FAILED", "HEALING", "DELETING"))
        kafka.delete_cluster(ClusterArn=arn)
        wait(lambda: gone(kafka, arn))


def version(kafka, arn):
    return kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]


def over(kafka, answer):
    def record():
        info = kafka.describe_cluster_operation(ClusterOperationArn=answer["ClusterOperationArn"])["ClusterOperationInfo"]
        return info if info["OperationState"].endswith(("_COMPLETE", "_FAILED")) else None

    return wait(record, 180)
