"""The control plane's process: inside weir up and alone; its brokers outlive it; one of several is active."""
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from support.clients import admin, create_topic, done, produce, read, values, watermarks
from support.ports import free_port
from support.server import WEIR, Process
from support.tools import Failed, run
from support.wait import wait_for

pytestmark = [pytest.mark.weir, pytest.mark.timeout(240)]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def brokers_of(folder):
    """Broker processes whose files are in this folder: pid by (cluster, id)."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        for word in words:
            if match := re.fullmatch(re.escape(str(folder)) + r"/clusters/([^/]+)/broker-(\d+)/server.properties", word):
                if alive(pid):
                    found[match[1], int(match[2])] = int(pid)
    return found


class Folder:
    """The folder of a control plane, and its commands."""

    def __init__(self, path):
        self.data = path / "weir"
        # Each worker has addresses of its own; the control plane looks for free ones among them.
        self.pool = f"127.{100 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"

    def weir(self, *command):
        return run(WEIR, *command, "--data", self.data).stdout

    def env(self):
        return dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", self.weir("env"), re.M))

    def describe(self, name):
        return json.loads(self.weir("cluster", "describe", name, "--json"))

    def state(self, name):
        return self.describe(name)["clusterInfo"]["state"]

    def create(self, name, *options):
        return json.loads(self.weir("cluster", "create", name, "--brokers", "2", "--zones", "2", "--client-broker", "PLAINTEXT",
                                    *options, "--json"))

    def kill_brokers(self):
        for pid in brokers_of(self.data).values():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def up(tmp_path):
    up = Folder(tmp_path)
    up.zookeeper_port = free_port()
    up.options = ["--port", str(free_port()), "--zookeeper-port", str(up.zookeeper_port), "--metrics-port", "0",
                  "--api", f"127.0.0.1:{free_port()}", "--addresses", up.pool]
    up.start = lambda: up.weir("up", "--detach", *up.options)
    yield up
    subprocess.run([WEIR, "down", "--data", up.data], capture_output=True)
    left = brokers_of(up.data)
    up.kill_brokers()
    assert not left, "weir down leaves no broker"


def control_pid(up):
    return next(p["pid"] for p in json.loads(up.weir("status", "--json"))["processes"] if p["role"] == "control")


def at(described):
    return SimpleNamespace(bootstrap=described["bootstrapBrokers"]["bootstrapBrokerString"])


def test_weir_up_has_the_api_and_its_own_cluster_in_it(up):
    out = up.start()
    assert "aws kafka list-clusters" in out
    env = up.env()
    assert set(env) >= {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "BOOTSTRAP"}
    assert urllib.request.urlopen(env["AWS_ENDPOINT_URL"] + "/health").status == 200
    assert (up.data / "credentials.json").stat().st_mode & 0o777 == 0o600
    wait_for(lambda: up.state("local") == "ACTIVE", "local is active")
    local = up.describe("local")
    assert local["bootstrapBrokers"]["bootstrapBrokerString"] == env["BOOTSTRAP"]
    assert local["clusterInfo"]["zookeeperConnectString"] == f"127.0.0.1:{up.zookeeper_port}"
    assert "local" in up.weir("cluster", "list")
    with pytest.raises(Failed) as refused:
        up.weir("cluster", "delete", "local")
    assert "weir up" in refused.value.stderr
    # Its broker is seen to be down, and up again.
    up.weir("down", "--broker", "1")
    wait_for(lambda: up.state("local") == "HEALING", "a broker that is down is seen")
    up.weir("restart", "--broker", "1")
    wait_for(lambda: up.state("local") == "ACTIVE", "and that it is back")
    # The same after a restart: one cluster of that name.
    arn = local["clusterInfo"]["clusterArn"]
    up.weir("down")
    up.start()
    assert up.env() == env
    wait_for(lambda: up.state("local") == "ACTIVE", "local is active again")
    assert up.describe("local")["clusterInfo"]["clusterArn"] == arn


def test_a_cluster_outlives_its_control_plane_and_comes_back_with_weir_up(up, name):
    up.start()
    demo = up.create("demo")
    assert demo["clusterInfo"]["state"] == "ACTIVE"
    server = at(demo)
    create_topic(server, name)
    produce(server, name, [b"one"])
    before = brokers_of(up.data)
    assert len(before) == 2
    with pytest.raises(Failed) as twice:
        up.create("demo")
    assert "already exists" in twice.value.stderr

    # The control plane is killed: the brokers go on, the next one finds them.
    control = control_pid(up)
    os.kill(control, signal.SIGKILL)
    produce(server, name, [b"two"])
    wait_for(lambda: control_pid(up) not in (0, control), "another control plane runs")
    wait_for(lambda: up.state("demo") == "ACTIVE", "it knows the cluster")
    assert brokers_of(up.data) == before

    # A broker is killed: it comes back on its storage.
    (key, victim), *_ = before.items()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: brokers_of(up.data).get(key, victim) != victim, "it is started again")
    wait_for(lambda: up.state("demo") == "ACTIVE", "the cluster is whole")
    produce(server, name, [b"three"])

    # All of weir up ends, and comes back with its clusters.
    up.weir("down")
    assert not brokers_of(up.data)
    up.start()
    wait_for(lambda: up.state("demo") == "ACTIVE", "the cluster is back")
    assert values(read(server, name, 3)) == [b"one", b"two", b"three"]

    up.weir("cluster", "delete", "demo")
    wait_for(lambda: not brokers_of(up.data), "its brokers are gone")
    assert not list((up.data / "clusters").glob("demo*"))
    assert "demo" not in up.weir("cluster", "list")


# Decision 0010: producers wait, nothing is lost or doubled, and all goes on when there is room.
def test_a_full_volume_holds_producers_up_until_it_is_larger(up, name):
    up.options += ["--brokers", "3", "--override", "weir.storage.quota.bytes=3000000"]
    up.start()
    server = SimpleNamespace(bootstrap=up.env()["BOOTSTRAP"])
    done(admin(server).create_topics([NewTopic(name, 1, 3)]))
    failed = []
    producer = Producer({"bootstrap.servers": server.bootstrap, "enable.idempotence": True, "batch.size": 60_000,
                         "compression.type": "none", "log_level": 0})
    sent = [f"{i:06}".encode() * 8000 for i in range(100)]
    for value in sent:
        producer.produce(name, value, on_delivery=lambda error, _: error and failed.append(error))
    wait_for(lambda: (producer.poll(0), watermarks(server, name)[1] >= 59)[1], "95 % are taken")
    left = producer.flush(1)
    assert 30 < left < 50, "about 2.85 of 4.8 MB were taken"
    assert len(read(server, name, len(sent) - left)) >= len(sent) - left, "what was taken can be read"

    def larger(broker):
        entry = ConfigEntry("weir.storage.quota.bytes", "100000000", incremental_operation=AlterConfigOpType.SET)
        return ConfigResource(ConfigResource.Type.BROKER, str(broker), incremental_configs=[entry])

    for broker in (1, 2, 3):
        done(admin(server).incremental_alter_configs([larger(broker)]))
    assert producer.flush(60) == 0 and not failed
    assert values(read(server, name, len(sent))) == sent


# An empty broker that still counts as in sync and comes up first would be elected, and the other would cut its log.
def test_a_disk_that_was_lost_while_all_was_down_costs_no_record(up, name):
    up.start()
    made = up.create("demo")
    server = at(made)
    done(admin(server).create_topics([NewTopic(name, 6, 2)]))
    sent = [f"{i}".encode() for i in range(60)]
    for partition in range(6):
        produce(server, name, sent, partition=partition)
    up.weir("down")
    folder = next((up.data / "clusters").glob("demo*"))
    shutil.rmtree(folder / "broker-1/data")
    # The other one is kept from coming up for a while.
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((json.loads((folder / "broker-2/spec.json").read_text())["address"], 9092))
    taken.listen()
    up.start()

    def told():
        return up.describe("demo")["clusterInfo"].get("stateInfo", {}).get("message", "")

    wait_for(lambda: "cannot listen" in told() and "has lost its data, and is not started without yet" in told(), "both are down")
    taken.close()
    wait_for(lambda: up.state("demo") == "ACTIVE", "the cluster is back")
    for partition in range(6):
        assert values(read(server, name, 60, partition=partition)) == sent


def test_certificates_are_renewed_while_all_goes_on(tmp_path):
    folder = Folder(tmp_path)
    zookeeper_port = free_port()
    zookeeper = Process("zookeeper", [WEIR, "zookeeper", "--data", tmp_path / "zookeeper", "--listen", f"127.0.0.1:{zookeeper_port}"],
                        tmp_path / "zookeeper.log")
    wait_for(lambda: "listens on" in zookeeper.text(), "ZooKeeper is up")
    control = Process("control", [WEIR, "control", "--zookeeper", f"127.0.0.1:{zookeeper_port}", "--data", folder.data, "--api",
                                  f"127.0.0.1:{free_port()}", "--addresses", folder.pool, "--certificate-validity", "12s"],
                      tmp_path / "control.log")
    try:
        wait_for(lambda: "this control plane is the active one" in control.text(), "the control plane is active")
        made = json.loads(folder.weir("cluster", "create", "demo", "--brokers", "2", "--zones", "2", "--client-broker", "TLS", "--json"))
        before = brokers_of(folder.data)
        authority = tmp_path / "ca.pem"
        folder.weir("ca", "export", "--out", authority)
        context = ssl.create_default_context(cafile=authority)
        host, port = made["bootstrapBrokers"]["bootstrapBrokerStringTls"].split(",")[0].split(":")

        def connect():
            return context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=host)

        def serial():
            with connect() as connection:
                return connection.getpeercert()["serialNumber"]

        with connect() as old:
            first = old.getpeercert()["serialNumber"]
            wait_for(lambda: serial() != first, "another certificate", seconds=30)
            second = serial()
            wait_for(lambda: serial() not in (first, second), "and another, after the end of the first", seconds=30)
            # ApiVersions, version 0, correlation id 7: the connection of the first certificate goes on.
            old.sendall(bytes.fromhex("0000000a" "00120000" "00000007" "ffff"))
            answer = old.recv(8)
            assert answer[4:8] == bytes.fromhex("00000007")
        assert brokers_of(folder.data) == before, "no broker was started again"
        assert folder.state("demo") == "ACTIVE"
    finally:
        if control.alive():
            control.signal(signal.SIGUSR1)
            control.popen.wait(40)
        folder.kill_brokers()
        zookeeper.stop()


def test_watch_says_what_happens(up):
    up.start()
    made = json.loads(up.weir("cluster", "create", "demo", "--brokers", "2", "--zones", "2", "--client-broker", "PLAINTEXT",
                              "--no-wait", "--json"))
    assert made["clusterArn"].startswith("arn:aws:kafka:us-east-1:")
    out = up.weir("cluster", "watch", "demo")
    assert "demo is CREATING" in out and "demo is ACTIVE" in out
    human = up.weir("cluster", "describe", "demo")
    assert "broker 1" in human and "zookeeper" in human
    with pytest.raises(Failed) as nothing:
        up.weir("cluster", "describe", "nothing")
    assert "there is no cluster nothing" in nothing.value.stderr


def test_of_two_control_planes_one_is_active_and_the_other_takes_over(tmp_path):
    folder = Folder(tmp_path)
    zookeeper_port = free_port()
    zookeeper = Process("zookeeper", [WEIR, "zookeeper", "--data", tmp_path / "zookeeper", "--listen", f"127.0.0.1:{zookeeper_port}"],
                        tmp_path / "zookeeper.log")
    wait_for(lambda: "listens on" in zookeeper.text(), "ZooKeeper is up")

    def control(number):
        process = Process(f"control {number}", [WEIR, "control", "--zookeeper", f"127.0.0.1:{zookeeper_port}", "--data", folder.data,
                                                "--api", f"127.0.0.1:{free_port()}", "--addresses", folder.pool],
                          tmp_path / f"control-{number}.log")
        wait_for(lambda: "the API listens" in process.text(), f"control plane {number} is up")
        return process

    active = "this control plane is the active one"
    first = control(1)
    second = third = None
    try:
        wait_for(lambda: active in first.text(), "the first is active")
        folder.create("demo")
        before = brokers_of(folder.data)
        assert len(before) == 2
        second = control(2)
        assert active not in second.text()
        first.kill()
        wait_for(lambda: active in second.text(), "the second takes over")
        wait_for(lambda: folder.state("demo") == "ACTIVE", "and knows the cluster")
        assert brokers_of(folder.data) == before
        # Asked to end, it leaves its brokers to the next one, at once.
        third = control(3)
        assert second.stop() == 0
        wait_for(lambda: active in third.text(), "the third takes over")
        assert brokers_of(folder.data) == before
        # Or it takes them with it.
        third.signal(signal.SIGUSR1)
        assert third.popen.wait(40) == 0
        assert not brokers_of(folder.data)
    finally:
        for process in filter(None, (first, second, third)):
            if process.alive():
                process.kill()
        folder.kill_brokers()
        zookeeper.stop()
