"""The cluster that `weir up` itself brings, `local`: the API changes it as each other."""
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from conftest import ROOT, WEIR, over, settings, wait, weir
from confluent_kafka.admin import AdminClient, ConfigResource
from planes import configuration
from shapes import watch
from traffic import Library

blocks = itertools.count(1)


def raises_nothing(call):
    try:
        return call()
    except OSError:
        return None


class Up:
    """A `weir up` of its own, on loopback addresses of its own and all default ports."""

    def __init__(self, data):
        self.data, self.host = data, f"127.{150 + os.getpid() % 90}.{next(blocks)}.1"
        self.found = []

    def start(self, *options):
        weir("up", "--data", self.data, "--listen", self.host, *options, "--detach")
        self.kafka = self.client()
        wait(lambda: self.kafka.list_clusters(ClusterNameFilter="local")["ClusterInfoList"])
        self.arn = self.info()["ClusterArn"]
        wait(lambda: self.info()["State"] != "CREATING")
        return self

    def client(self, endpoint=None):
        env = settings(self.data)
        kafka = boto3.client("kafka", endpoint_url=endpoint or env["AWS_ENDPOINT_URL"], region_name=env["AWS_DEFAULT_REGION"],
                             aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
                             config=Config(retries={"max_attempts": 1}))
        watch(kafka, self.found)
        return kafka

    def down(self):
        weir("down", "--data", self.data)

    def info(self):
        return self.kafka.list_clusters(ClusterNameFilter="local")["ClusterInfoList"][0]

    def status(self):
        return json.loads(weir("status", "--data", self.data, "--json"))

    def pid(self, role, id=None):
        return next(p["pid"] for p in self.status()["processes"] if p["role"] == role and p.get("id") == id)

    def brokers(self):
        return {p["id"]: p for p in self.status()["processes"] if p["role"] == "broker"}

    def begin(self, call, **what):
        wait(lambda: self.info()["State"] == "ACTIVE")
        if call != "reboot_broker":
            what["CurrentVersion"] = self.info()["CurrentVersion"]
        return getattr(self.kafka, call)(ClusterArn=self.arn, **what)

    def change(self, call, **what):
        end = over(self.kafka, self.begin(call, **what))
        assert end["OperationState"] in ("UPDATE_COMPLETE", "REBOOT_COMPLETE"), end.get("ErrorInfo")
        return end

    def bootstrap(self):
        return self.kafka.get_bootstrap_brokers(ClusterArn=self.arn)

    def configs(self, broker=1):
        admin = AdminClient({"bootstrap.servers": self.bootstrap()["BootstrapBrokerString"]})
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        return {k: v.value for k, v in admin.describe_configs([resource])[resource].result(20).items()}

    def configure(self, name, text):
        return {"ConfigurationInfo": configuration(self.kafka, name, text)}


@pytest.fixture
def up(tmp_path):
    data = ROOT / f"build/msk/local-{os.getpid()}"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    it = Up(data)
    yield it
    subprocess.run([WEIR, "down", "--data", data], check=True, capture_output=True, timeout=60)
    assert not it.found, "\n".join(it.found)
    shutil.rmtree(data, ignore_errors=True)


def test_local_is_configured_live_and_by_restarts_and_keeps_that(up):
    up.start()
    before = up.pid("broker", 1)
    assert up.configs()["auto.create.topics.enable"] == "true", "the defaults are those of weir up"
    up.change("update_cluster_configuration", **up.configure("live", "message.max.bytes=3000000\n"))
    assert up.pid("broker", 1) == before, "a dynamic key needs no restart"
    assert up.configs()["message.max.bytes"] == "3000000"
    # The value is MSK's default, and not that of `local`.
    up.change("update_cluster_configuration", **up.configure("roll", "auto.create.topics.enable=false\n"))
    assert up.pid("broker", 1) != before
    assert up.configs()["auto.create.topics.enable"] == "false"
    up.change("reboot_broker", BrokerIds=["1"])
    # What the API said stays; `weir up` says the rest.
    up.down()
    up.start("--override", "num.io.threads=3")
    values = up.configs()
    assert values["auto.create.topics.enable"] == "false" and values["num.io.threads"] == "3"
    with pytest.raises(up.kafka.exceptions.BadRequestException) as refused:
        up.begin("update_cluster_configuration", **up.configure("own", "num.io.threads=5\n"))
    assert "--override" in refused.value.response["Error"]["Message"]
    up.change("update_cluster_configuration", **up.configure("none", "# nothing\n"))
    assert up.configs()["auto.create.topics.enable"] == "true"


def test_brokers_that_weir_up_adds_have_what_the_api_changed(up):
    up.start()
    up.change("update_security", EncryptionInfo={"EncryptionInTransit": {"ClientBroker": "TLS_PLAINTEXT"}})
    up.change("update_cluster_configuration", **up.configure("roll", "num.io.threads=3\n"))
    up.down()
    up.start("--brokers", 3)
    first = up.host.rsplit(".", 1)[0]
    wait(lambda: raises_nothing(lambda: [socket.create_connection((f"{first}.{i}", 9094), 5).close() or i for i in (1, 2, 3)]))
    wait(lambda: up.info()["State"] == "ACTIVE")
    assert [up.configs(i)["num.io.threads"] for i in (1, 2, 3)] == ["3"] * 3
    up.down()
    up.start()
    assert set(up.brokers()) == {1, 2, 3} and up.configs(3)["num.io.threads"] == "3"


def test_local_heals_and_stays_down_when_it_was_stopped(up):
    up.start("--brokers", 2)

    def killed_and_seen():
        if pid := up.pid("broker", 2):  # it is back in half a second at first, and later each time
            os.kill(pid, signal.SIGKILL)
        info = up.info()
        return info if info["State"] == "HEALING" else None

    assert "Broker 2" in wait(killed_and_seen)["StateInfo"]["Message"]
    wait(lambda: up.info()["State"] == "ACTIVE")
    weir("down", "--data", up.data, "--broker", 2)
    wait(lambda: up.info()["State"] == "HEALING")
    assert up.brokers()[2]["state"] == "stopped"
    assert over(up.kafka, up.kafka.reboot_broker(ClusterArn=up.arn, BrokerIds=["2"]))["OperationState"] == "REBOOT_COMPLETE"
    wait(lambda: up.info()["State"] == "ACTIVE")


def test_local_grows_and_shrinks(up):
    up.start()
    up.change("update_broker_count", TargetNumberOfBrokerNodes=3)
    info = up.info()
    assert info["NumberOfBrokerNodes"] == 3 and len(info["BrokerNodeGroupInfo"]["ZoneIds"]) == 3
    first = up.host.rsplit(".", 1)[0]
    plain = ",".join(f"{first}.{i}:9092" for i in (1, 2, 3))
    assert up.bootstrap()["BootstrapBrokerString"] == settings(up.data)["BOOTSTRAP"] == plain
    assert {b["rack"] for b in up.brokers().values()} == {"use1-az1", "use1-az2", "use1-az3"}
    assert up.configs()["default.replication.factor"] == "3", "as `weir up --brokers 3` has it"
    with Library(plain, None, "kept").start() as traffic:
        up.change("update_broker_count", TargetNumberOfBrokerNodes=5)
        up.change("update_broker_count", TargetNumberOfBrokerNodes=3)
        assert traffic.finish() > 50
    assert not (up.data / "broker-4").exists() and not (up.data / "broker-5").exists() and set(up.brokers()) == {1, 2, 3}
    up.down()
    up.start()
    wait(lambda: up.info()["State"] == "ACTIVE")
    assert set(up.brokers()) == {1, 2, 3}, "as many as there are"


@pytest.mark.long
def test_local_has_every_other_update_under_load(up):
    up.start("--brokers", 3, "--kafka-version", "3.5")
    with Library(up.bootstrap()["BootstrapBrokerString"], None, "load").start() as traffic:
        up.change("update_cluster_configuration", **up.configure("roll", "num.partitions=3\nmessage.max.bytes=2000000\n"))
        up.change("update_cluster_kafka_version", TargetKafkaVersion="3.9.x")
        assert up.status()["kafka_version"] == "3.9" and up.configs(2)["inter.broker.protocol.version"] == "3.9"
        up.change("update_broker_type", TargetInstanceType="kafka.m5.xlarge")
        assert up.configs(3)["queued.max.request.bytes"] == str(4 << 30)
        up.change("update_broker_storage", TargetBrokerEBSVolumeInfo=[{"KafkaBrokerNodeId": "All", "VolumeSizeGB": 100}])
        up.change("update_monitoring", OpenMonitoring={"Prometheus": {"JmxExporter": {"EnabledInBroker": False}}})
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://{up.host}:11001/metrics", timeout=5)
        up.change("update_security", EncryptionInfo={"EncryptionInTransit": {"ClientBroker": "TLS_PLAINTEXT"}})
        up.change("reboot_broker", BrokerIds=["2"])
        assert traffic.finish() > 100
    first = up.host.rsplit(".", 1)[0]
    tls = up.bootstrap()["BootstrapBrokerStringTls"]
    assert tls == ",".join(f"{first}.{i}:9094" for i in (1, 2, 3))
    ca = up.data / "ca.pem"
    weir("ca", "export", "--data", up.data, "--out", ca)
    found = AdminClient({"bootstrap.servers": tls, "security.protocol": "ssl", "ssl.ca.location": str(ca)}).list_topics(timeout=20)
    assert {b.port for b in found.brokers.values()} == {9094}
    # All of it is there after a start anew, at other addresses; a level that is asked for goes before.
    up.down()
    up.host = f"{up.host.rsplit('.', 2)[0]}.250.1"
    up.start("--kafka-version", "3.8")
    assert up.status()["kafka_version"] == "3.8" and up.info()["CurrentBrokerSoftwareInfo"]["KafkaVersion"] == "3.8.x"
    assert up.bootstrap()["BootstrapBrokerStringTls"] == tls.replace(f"{first}.", f"{up.host[:-1]}")
    assert up.configs(2)["weir.storage.quota.bytes"] == str(100 << 30)

    def by_name():
        trust = ssl.create_default_context(cafile=str(ca))
        with socket.create_connection((up.host, 9094), 5) as plain, trust.wrap_socket(plain, server_hostname=up.host) as secure:
            return secure.getpeercert()

    wait(lambda: raises_nothing(by_name))


@pytest.mark.parametrize("update", [("update_broker_count", {"TargetNumberOfBrokerNodes": 3}),
                                    ("update_broker_type", {"TargetInstanceType": "kafka.m5.xlarge"})], ids=lambda u: u[0])
def test_an_operation_on_local_goes_on_after_weir_up_was_killed(up, update):
    call, what = update
    up.start("--brokers", 2)
    answer = up.begin(call, **what)

    def steps():
        info = up.kafka.describe_cluster_operation(ClusterOperationArn=answer["ClusterOperationArn"])["ClusterOperationInfo"]
        return [s["StepName"] for s in info["OperationSteps"] if s["StepInfo"]["StepStatus"] == "COMPLETED"]

    wait(lambda: any(s.startswith(("WRITE_FILES", "RESTART_BROKER")) for s in steps()))
    os.kill(up.pid("supervisor"), signal.SIGKILL)
    up.start()
    end = over(up.kafka, answer)
    assert end["OperationState"] == "UPDATE_COMPLETE", end.get("ErrorInfo")
    wait(lambda: up.info()["State"] == "ACTIVE")
    if call == "update_broker_count":
        assert set(up.brokers()) == {1, 2, 3} and up.info()["NumberOfBrokerNodes"] == 3
    else:
        assert all(up.configs(b)["queued.max.request.bytes"] == str(4 << 30) for b in (1, 2))


def test_a_change_of_local_that_fails_is_taken_back(up):
    up.start()
    # The second broker cannot have its address.
    first = up.host.rsplit(".", 1)[0]
    with socket.socket() as taken:
        taken.bind((f"{first}.2", 9092))
        taken.listen()
        end = over(up.kafka, up.begin("update_broker_count", TargetNumberOfBrokerNodes=2))
    assert end["OperationState"] == "UPDATE_FAILED" and "9092 is taken" in end["ErrorInfo"]["ErrorString"]
    assert set(up.brokers()) == {1} and up.info()["NumberOfBrokerNodes"] == 1
    # Its own TLS listener cannot be opened: it comes back without.
    with socket.socket() as taken:
        taken.bind((up.host, 9094))
        taken.listen()
        end = over(up.kafka, up.begin("update_security", EncryptionInfo={"EncryptionInTransit": {"ClientBroker": "TLS_PLAINTEXT"}}))
    assert end["OperationState"] == "UPDATE_FAILED" and "9094" in end["ErrorInfo"]["ErrorString"], end
    wait(lambda: up.info()["State"] == "ACTIVE")
    assert up.configs()["listeners"] == f"PLAINTEXT://{up.host}:9092"
    up.down()
    up.start()
    assert set(up.brokers()) == {1}


@pytest.mark.long
def test_another_control_plane_of_the_folder_changes_local_too(up):
    up.start("--brokers", 2)
    beside = subprocess.Popen([WEIR, "control", "--data", up.data, "--zookeeper", f"{up.host}:2181", "--api", f"{up.host}:4600"],
                              stdout=subprocess.DEVNULL, stderr=open(up.data / "beside.log", "wb"))
    try:
        wait(lambda: raises_nothing(lambda: urllib.request.urlopen(f"http://{up.host}:4600/health", timeout=5).status == 200))
        before = {id: b["pid"] for id, b in up.brokers().items()}
        answer = up.begin("update_broker_type", TargetInstanceType="kafka.m5.xlarge")
        # The one inside is stopped, not ended: it is not started again, and loses its seat with its session.
        os.kill(up.pid("control"), signal.SIGSTOP)
        up.kafka = up.client(f"http://{up.host}:4600")
        end = over(up.kafka, answer)
        assert end["OperationState"] == "UPDATE_COMPLETE", end.get("ErrorInfo")
        wait(lambda: up.info()["State"] == "ACTIVE")
        assert all(b["pid"] != before[id] for id, b in up.brokers().items())
        assert all(up.configs(b)["queued.max.request.bytes"] == str(4 << 30) for b in (1, 2))
    finally:
        beside.terminate()
        beside.wait(60)
