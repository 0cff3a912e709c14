"""weir up --brokers N: processes, addresses, zones; what dies is started again and nobody waits for its session; weir
restart and weir down --broker; weir migrate check."""
import json
import os
import signal
import socket
import threading
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient
from support import wire
from support.ports import free_port
from support.server import WEIR, Process
from support.tools import PEERS, Failed, kcat, run
from support.wait import wait_for

pytestmark = pytest.mark.weir


class Up:
    """`weir up` on a folder and ports of its own; the brokers' addresses are 127.0.0.1, 127.0.0.2, ..."""

    def __init__(self, folder):
        self.folder, self.data, self._admin = folder, folder / "weir", None
        self.port, self.zookeeper_port, self.metrics_port = free_port(), free_port(), free_port()

    def options(self):
        return ["--data", self.data, "--port", self.port, "--zookeeper-port", self.zookeeper_port,
                "--metrics-port", self.metrics_port]

    def up(self, *options):
        return run(WEIR, "up", *self.options(), *options, "--detach").stdout

    def foreground(self, *options):
        return Process("up", [WEIR, "up", *self.options(), *options], self.folder / "up.log")

    def weir(self, command, *options, **how):
        return run(WEIR, command, "--data", self.data, *options, **how).stdout

    def brokers(self):
        return {p["id"]: p for p in json.loads(self.weir("status", "--json", check=False))["processes"] if p["role"] == "broker"}

    def all_run(self):
        return all(broker["state"] == "running" for broker in self.brokers().values())

    @property
    def bootstrap(self):
        return ",".join(broker["addresses"]["PLAINTEXT"] for broker in self.brokers().values())

    def admin(self):
        """One, kept: its answers are lost with the handle."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return self._admin

    def create(self, topic, partitions, replicas):
        admin = self.admin()
        admin.create_topics([NewTopic(topic, partitions, replicas)])[topic].result(30)
        wait_for(lambda: len(known := admin.list_topics(topic, 10).topics[topic].partitions) == partitions
                 and all(p.leader >= 0 and len(p.isrs) == replicas for p in known.values()), f"{topic} is led and in sync")

    def produce(self, topic, count):
        producer, failed = Producer({"bootstrap.servers": self.bootstrap, "acks": "all"}), []
        for i in range(count):
            producer.produce(topic, str(i), on_delivery=lambda error, _: failed.append(error) if error else None)
        assert producer.flush(60) == 0 and not failed

    def consume(self, topic):
        return kcat(self.bootstrap, "-C", "-t", topic, "-e", "-q", "-o", "beginning").split()


@pytest.fixture
def up(tmp_path):
    up = Up(tmp_path)
    yield up
    run(WEIR, "down", "--data", up.data, check=False)


@pytest.fixture
def zookeeper(up):
    """Connects once `weir up` runs."""
    clients = []

    def connect():
        client = KazooClient(f"127.0.0.1:{up.zookeeper_port}")
        clients.append(client)
        client.start(20)
        return client

    yield connect
    for client in clients:
        client.stop()
        client.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_three_brokers_are_one_cluster(up, zookeeper):
    out = up.up("--brokers", 3)
    brokers = up.brokers()
    assert list(brokers) == [1, 2, 3]
    for number, broker in brokers.items():
        address = f"127.0.0.{number}:{up.port}"
        assert broker["state"] == "running" and broker["addresses"]["PLAINTEXT"] == address and address in out
        assert broker["addresses"]["metrics"] == f"127.0.0.{number}:{up.metrics_port}"
        assert wire.answers(f"127.0.0.{number}", up.port)
    zk = zookeeper()
    assert sorted(zk.get_children("/brokers/ids")) == ["1", "2", "3"]
    assert [json.loads(zk.get(f"/brokers/ids/{n}")[0])["rack"] for n in (1, 2, 3)] == ["use1-az1", "use1-az2", "use1-az3"]
    bootstrap = ",".join(f"127.0.0.{n}:{up.port}" for n in (1, 2, 3))
    assert f"BOOTSTRAP={bootstrap}" in up.weir("env")
    assert all(f"127.0.0.{n}:{up.port}" in up.weir("status") for n in (1, 2, 3))
    cluster = up.admin().list_topics(timeout=20)
    assert {(b.id, b.host, b.port) for b in cluster.brokers.values()} == {(n, f"127.0.0.{n}", up.port) for n in (1, 2, 3)}


def test_topics_are_spread_over_the_brokers_and_their_replicas_over_the_zones(up):
    up.up("--brokers", 3)
    up.create("one", 6, 1)
    led = [p.leader for p in up.admin().list_topics("one", 20).topics["one"].partitions.values()]
    assert sorted(led) == [1, 1, 2, 2, 3, 3]
    up.produce("one", 100)
    assert len(up.consume("one")) == 100
    # What a creation leaves open is as in MSK: three replicas, two of them in sync.
    up.admin().create_topics([NewTopic("default", 2)])["default"].result(30)
    wait_for(lambda: all(sorted(p.isrs) == [1, 2, 3] for p in up.admin().list_topics("default", 10).topics["default"].partitions.values()),
             "three replicas in sync")
    up.produce("default", 10)


def test_the_number_of_brokers_stays(up):
    up.up("--brokers", 2)
    up.create("kept", 4, 2)
    up.produce("kept", 50)
    up.weir("down")
    with pytest.raises(Failed) as refused:
        up.up("--brokers", 1)
    assert "holds 2 brokers" in refused.value.stderr and "broker-2" in refused.value.stderr
    up.up()
    assert list(up.brokers()) == [1, 2]
    assert sorted(up.consume("kept"), key=int) == [str(i) for i in range(50)]
    up.weir("down")
    up.up("--brokers", 3)
    assert list(up.brokers()) == [1, 2, 3]
    up.create("wider", 3, 3)
    up.produce("wider", 5)


def test_one_broker_stays_as_it_was_and_can_become_more(up):
    up.up()
    kcat(f"127.0.0.1:{up.port}", "-P", "-t", "first", input="one\n")
    up.weir("down")
    up.up("--brokers", 3)
    assert kcat(f"127.0.0.3:{up.port}", "-C", "-t", "first", "-e", "-q").split() == ["one"]


def test_a_second_cluster_beside_the_first(up, tmp_path):
    up.up("--brokers", 2)
    other = Up(tmp_path / "other")
    other.port, other.zookeeper_port, other.metrics_port = up.port, up.zookeeper_port, up.metrics_port
    with pytest.raises(Failed) as refused:
        other.up("--brokers", 2)
    assert "is taken" in refused.value.stderr
    try:
        other.up("--brokers", 2, "--listen", "127.0.1.1")
        assert [b["addresses"]["PLAINTEXT"] for b in other.brokers().values()] == [f"127.0.1.{n}:{up.port}" for n in (1, 2)]
        other.create("there", 1, 2)
        assert "there" not in up.admin().list_topics(timeout=20).topics
    finally:
        run(WEIR, "down", "--data", other.data, check=False)


@pytest.mark.parametrize("number", [1, 3])
def test_a_broker_that_dies_leaves_at_once_and_comes_back(up, zookeeper, number):
    """Its node in ZooKeeper goes long before its session would time out (6 s), and others lead."""
    up.up("--brokers", 3)
    up.create("t", 6, 3)
    zk = zookeeper()
    gone = threading.Event()
    assert zk.exists(f"/brokers/ids/{number}", watch=lambda _: gone.set())
    first = up.brokers()[number]["pid"]
    os.kill(first, signal.SIGKILL)
    assert gone.wait(3), "its session lives on"
    up.produce("t", 100)
    wait_for(lambda: up.all_run() and up.brokers()[number]["pid"] != first, "it runs again", 60)
    assert up.brokers()[number]["restarts"] == 1 and up.brokers()[number]["addresses"]["PLAINTEXT"] == f"127.0.0.{number}:{up.port}"
    wait_for(lambda: all(len(p.isrs) == 3 for p in up.admin().list_topics("t", 10).topics["t"].partitions.values()), "in sync", 60)
    assert len(up.consume("t")) == 100


def test_all_brokers_die_at_once_and_come_back(up):
    up.up("--brokers", 3)
    up.create("t", 3, 3)
    up.produce("t", 100)
    for broker in up.brokers().values():
        os.kill(broker["pid"], signal.SIGKILL)
    wait_for(lambda: up.all_run() and all(b["restarts"] == 1 for b in up.brokers().values()), "all run again", 60)
    assert len(up.consume("t")) == 100


def test_one_broker_is_stopped_and_started(up, zookeeper):
    up.up("--brokers", 3)
    up.create("t", 6, 3)
    pids = {number: broker["pid"] for number, broker in up.brokers().items()}
    assert "broker 2 is stopped" in up.weir("down", "--broker", 2)
    assert not alive(pids[2]) and up.brokers()[2]["state"] == "stopped"
    assert sorted(zookeeper().get_children("/brokers/ids")) == ["1", "3"]
    up.produce("t", 100)
    assert "broker 2 is ready" in up.weir("restart", "--broker", 2)
    assert {number for number, broker in up.brokers().items() if broker["pid"] == pids[number]} == {1, 3}
    assert all(broker["restarts"] == 0 for broker in up.brokers().values())
    with pytest.raises(Failed) as wrong:
        up.weir("restart", "--broker", 4)
    assert "no broker 4" in wrong.value.stderr
    up.weir("down", "--broker", 3)
    up.weir("down")
    assert not any(alive(pid) for pid in pids.values())


def test_a_rolling_restart_keeps_every_partition_writable(up):
    """Each broker is restarted when the one before it is in sync again: with two of three in sync, producers go on."""
    up.up("--brokers", 3)
    up.create("t", 6, 3)
    pids = {broker["pid"] for broker in up.brokers().values()}
    producer, stop, failed, sent = Producer({"bootstrap.servers": up.bootstrap, "acks": "all", "enable.idempotence": True,
                                             "message.timeout.ms": 60000}), threading.Event(), [], []

    def load():
        while not stop.is_set():
            producer.produce("t", str(len(sent)), on_delivery=lambda error, _: failed.append(error) if error else None)
            sent.append(1)
            producer.poll(0.01)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        out = up.weir("restart", timeout=200)
    finally:
        stop.set()
        thread.join()
    assert len([line for line in out.splitlines() if "is ready" in line]) == 3
    assert producer.flush(60) == 0 and not failed
    assert not pids & {broker["pid"] for broker in up.brokers().values()}
    assert sorted(map(int, up.consume("t"))) == list(range(len(sent)))


def test_down_stops_all_together(up):
    """A cluster that goes as a whole does not wait until somebody else leads."""
    up.up("--brokers", 3)
    up.create("t", 30, 3)
    up.create("single", 3, 1)
    up.produce("t", 100)
    pids = [broker["pid"] for broker in up.brokers().values()]
    began = time.monotonic()
    up.weir("down")
    # Asked one by one to leave, the last ones would wait for controlled.shutdown.retry.backoff.ms twice: 10 s.
    assert time.monotonic() - began < 8
    assert not any(map(alive, pids))
    for number in (1, 2, 3):
        assert (up.data / f"broker-{number}/data/.kafka_cleanshutdown").exists()
    up.up()
    assert len(up.consume("t")) == 100


def test_ctrl_c_stops_all(up):
    process = up.foreground("--brokers", 3)
    wait_for(lambda: "Ctrl-C" in process.text(), "it is up", 60)
    pids = [broker["pid"] for broker in up.brokers().values()]
    process.signal(signal.SIGINT)
    assert process.popen.wait(30) == 0
    assert not any(map(alive, pids))


def test_all_end_with_weir_up_when_it_is_killed_and_nobody_waits_for_old_sessions(up):
    process = up.foreground("--brokers", 3)
    wait_for(lambda: "Ctrl-C" in process.text(), "it is up", 60)
    up.create("t", 3, 3)
    up.produce("t", 100)
    pids = [broker["pid"] for broker in up.brokers().values()]
    process.kill()
    wait_for(lambda: not any(map(alive, pids)), "the brokers go", 60)
    for n in (1, 2, 3):
        log = (up.data / f"log/broker-{n}.log").read_text()
        assert "has stopped cleanly" in log
        # The coordination service goes at the same time; who could not say goodbye keeps what ends the session later.
        assert (up.data / f"broker-{n}/data/weir.session").exists() or "without a goodbye" not in log
    up.up()
    assert up.all_run() and len(up.consume("t")) == 100


def test_a_broker_that_cannot_start_does_not_keep_the_others_from_it(up):
    up.up("--brokers", 3)
    up.create("t", 3, 3)
    up.produce("t", 10)
    up.weir("down")
    meta = up.data / "broker-2/data/meta.properties"
    good = meta.read_text()
    meta.write_text("version=0\nbroker.id=2\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")
    assert "not up" in up.up()
    assert up.brokers()[2]["state"] in ("waiting", "starting") and up.brokers()[3]["state"] == "running"
    assert "belongs to cluster" in (up.data / "log/broker-2.log").read_text()
    up.produce("t", 10)
    meta.write_text(good)
    up.weir("restart", "--broker", 2)
    assert up.all_run() and len(up.consume("t")) == 20


def test_fifteen_brokers(up):
    up.up("--brokers", 15, "--override", "num.partitions=15")
    assert len(up.brokers()) == 15 and up.all_run()
    up.create("t", 30, 3)
    assert {p.leader for p in up.admin().list_topics("t", 20).topics["t"].partitions.values()} == set(range(1, 16))
    up.produce("t", 100)


def test_what_is_each_brokers_own_cannot_be_said_for_all(up):
    with pytest.raises(Failed) as refused:
        up.up("--brokers", 2, "--override", "log.dirs=/tmp/x")
    assert "log.dirs" in refused.value.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", up.port))
        taken.listen()
        with pytest.raises(Failed) as refused:
            up.up("--brokers", 3)
        assert f"127.0.0.2:{up.port} is taken" in refused.value.stderr


# --- weir migrate check: of a cluster of Apache Kafka on ZooKeeper -------------------------------------------------


class Kafka:
    """Apache Kafka 3.9.1 on ZooKeeper, two brokers."""

    def __init__(self, folder):
        self.folder, self.base = folder / "kafka", free_port()
        self.zookeeper = f"127.0.0.1:{self.base + 200}"

    def start(self):
        env = {"KAFKA_HEAP_OPTS": "-Xms128m -Xmx384m", "KAFKA_EXTRA": "inter.broker.protocol.version=3.9"}
        run(PEERS / "kafka-cluster", "up", "3.9.1", "zk", "2", self.folder, self.base, env=env, timeout=200)
        self.bootstrap = f"127.0.0.1:{self.base}"
        return self

    def stop(self):
        run(PEERS / "kafka-cluster", "down", self.folder, check=False)

    def check(self, broker, *options):
        result = run(WEIR, "migrate", "check", "--zookeeper", self.zookeeper, "--broker-id", broker, "--config",
                     self.folder / f"broker-{broker}.properties", "--json", *options, check=False)
        return result.returncode, json.loads(result.stdout)["findings"]


@pytest.fixture
def kafka(tmp_path):
    kafka = Kafka(tmp_path)
    try:
        yield kafka.start()
    finally:
        kafka.stop()


def levels(findings, level):
    return {finding["subject"] for finding in findings if finding["level"] == level}


def test_migrate_check_of_apache_kafka(kafka):
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("orders", 4, 2)])["orders"].result(30)
    wait_for(lambda: all(len(p.isrs) == 2 for p in admin.list_topics("orders", 10).topics["orders"].partitions.values()), "they are in sync")
    code, findings = kafka.check(2)
    assert code in (0, 1) and not levels(findings, "blocks"), findings
    assert {"cluster", "version", "listeners", "partitions", "reassignments", "ACLs"} <= levels(findings, "ok"), findings

    # What an operator may have set up, written as Kafka's own tools write it.
    admin.create_topics([NewTopic("strict", 1, 2, config={"min.insync.replicas": "2", "cleanup.policy": "compact"})])["strict"].result(30)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "t"})
    producer.init_transactions(60)
    zk = KazooClient(kafka.zookeeper)
    zk.start(20)
    try:
        zk.create("/kafka-acl/Topic/orders", b'{"version":1,"acls":[]}', makepath=True)
        zk.create("/config/users/alice", b'{"version":1,"config":{"SCRAM-SHA-512":"x","producer_byte_rate":"1024"}}', makepath=True)
    finally:
        zk.stop()
        zk.close()
    code, findings = kafka.check(2)
    assert code == 2
    assert {"transactions", "ACLs"} <= levels(findings, "blocks"), findings
    assert {"partitions", "compaction", "quotas", "SCRAM"} <= levels(findings, "warning"), findings

    code, findings = kafka.check(1, "--log-dirs", kafka.folder / "data-2")
    assert code == 2 and any("belongs to broker 2" in finding["text"] for finding in findings), findings
    text = run(WEIR, "migrate", "check", "--zookeeper", kafka.zookeeper, "--broker-id", 9, check=False)
    assert text.returncode == 2 and "check --broker-id" in text.stdout


def test_migrate_check_without_a_cluster(up):
    result = run(WEIR, "migrate", "check", "--zookeeper", f"127.0.0.1:{free_port()}", "--broker-id", 1, check=False)
    assert result.returncode == 2 and "no ZooKeeper answers" in result.stdout
