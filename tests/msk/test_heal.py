"""Brokers that lose what they need come back by themselves: same id, address and ports, filled by their peers."""
import json
import os
import re
import shutil
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import gone, make, state, wait
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

COUNT = 600


class Cluster:
    def __init__(self, plane, kafka, arn):
        self.kafka, self.arn = kafka, arn
        name, uuid = arn.split("/")[1:3]
        self.folder = Path(plane.data) / "clusters" / f"{name}-{uuid[:36]}"
        self.bootstrap = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerString"]
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def topic(self, name, partitions=6):
        for future in self.admin.create_topics([NewTopic(name, partitions, 3)]).values():
            future.result()

    def produce(self, topic, values):
        failed = []
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "log_level": 0})
        for value in values:
            producer.produce(topic, value.encode(), on_delivery=lambda error, _: error and failed.append(error))
        assert producer.flush(60) == 0 and not failed

    def read(self, topic, count):
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": topic, "auto.offset.reset": "earliest", "log_level": 0})
        reader.subscribe([topic])
        seen = []
        wait(lambda: seen.extend(m.value().decode() for m in reader.consume(1000, 0.2) if not m.error()) or len(seen) >= count, 60)
        reader.close()
        return sorted(seen)

    def partitions(self, topic):
        return self.admin.list_topics(topic, 10).topics[topic].partitions.values()

    def in_sync(self, topic):
        return all(len(p.isrs) == 3 for p in self.partitions(topic))

    def info(self):
        return self.kafka.describe_cluster(ClusterArn=self.arn)["ClusterInfo"]

    def cause(self):
        return self.info().get("StateInfo", {}).get("Message", "")

    def healed(self, topic):
        wait(lambda: self.info()["State"] == "ACTIVE" and self.in_sync(topic), 60)
        assert "StateInfo" not in self.info()

    def broker(self, number):
        folder = self.folder / f"broker-{number}"
        run = lambda: json.loads((folder / "run.json").read_text())["pid"]  # noqa: E731
        return SimpleNamespace(folder=folder, data=folder / "data", pid=run,
                               address=json.loads((folder / "spec.json").read_text())["address"])


@pytest.fixture(scope="module")
def hurt(plane, session_kafka):
    arn = make(session_kafka)
    yield Cluster(plane, session_kafka, arn)
    session_kafka.delete_cluster(ClusterArn=arn)
    wait(lambda: gone(session_kafka, arn))


def filled(hurt, topic):
    hurt.topic(topic)
    values = sorted(f"{topic} {i}" for i in range(COUNT))
    hurt.produce(topic, values)
    wait(lambda: hurt.in_sync(topic))
    return values


def address_of(hurt, number):
    nodes = hurt.kafka.list_nodes(ClusterArn=hurt.arn)["NodeInfoList"]
    return next(n["BrokerNodeInfo"]["Endpoints"] for n in nodes if n["BrokerNodeInfo"]["BrokerId"] == number)


def test_a_broker_whose_directory_is_removed_is_filled_by_its_peers(hurt):
    values = filled(hurt, "removed")
    broker, where = hurt.broker(2), address_of(hurt, 2)
    before = broker.pid()
    shutil.rmtree(broker.folder)
    wait(lambda: (broker.folder / "run.json").exists() and broker.pid() != before, 40)
    hurt.healed("removed")
    assert address_of(hurt, 2) == where
    assert {p.name for p in broker.data.glob("removed-*")} == {f"removed-{p.id}" for p in hurt.partitions("removed") if 2 in p.replicas}
    assert hurt.read("removed", COUNT) == values


def end(pid, how):
    os.kill(pid, how)
    wait(lambda: not os.path.exists(f"/proc/{pid}/exe"))


def test_a_broker_that_hangs_is_shown(hurt):
    filled(hurt, "hangs")
    pid = hurt.broker(3).pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        wait(lambda: hurt.info()["State"] == "HEALING", 40)
        assert "Broker 3 runs, but is not registered" in hurt.cause()
    finally:
        os.kill(pid, signal.SIGCONT)
    hurt.healed("hangs")
    assert hurt.broker(3).pid() == pid


def foreign(broker):
    end(broker.pid(), signal.SIGKILL)
    path = broker.data / "meta.properties"
    path.write_text(re.sub("cluster.id=.*", "cluster.id=AAAAAAAAAAAAAAAAAAAAAA", path.read_text()))


def another_broker(broker):
    end(broker.pid(), signal.SIGKILL)
    path = broker.data / "meta.properties"
    path.write_text(re.sub("broker.id=.*", "broker.id=77", path.read_text()))


def no_properties(broker):
    end(broker.pid(), signal.SIGKILL)
    (broker.data / "meta.properties").write_bytes(os.urandom(300))


def garbage(pattern, how):
    def hurt_it(broker):
        end(broker.pid(), how)
        files = [f for f in broker.data.rglob(pattern) if f.is_file() and f.name not in ("meta.properties", ".lock")]
        assert files
        for file in files:
            file.write_bytes(os.urandom(max(1000, file.stat().st_size)))

    return hurt_it


HARM = {"foreign": (foreign, True), "another-broker": (another_broker, True), "no-properties": (no_properties, True),
        "garbage-after-kill": (garbage("*", signal.SIGKILL), False), "garbage-after-stop": (garbage("*.log", signal.SIGTERM), True),
        "garbage-metadata": (garbage("partition.metadata", signal.SIGTERM), True)}


@pytest.mark.long
@pytest.mark.parametrize("what", HARM)
def test_a_broker_whose_data_is_of_no_use_begins_without_it(hurt, what):
    harm, aside = HARM[what]
    values = filled(hurt, what)
    number = 1 + list(HARM).index(what) % 3
    broker = hurt.broker(number)
    before = len(list(broker.folder.glob("data.unusable-*")))
    harm(broker)
    if aside:
        wait(lambda: len(list(broker.folder.glob("data.unusable-*"))) > before or before == 2, 60)
    hurt.healed(what)
    assert hurt.read(what, COUNT) == values


@pytest.mark.long
def test_a_port_that_another_program_took_is_said(hurt):
    values = filled(hurt, "port")
    broker = hurt.broker(3)
    os.kill(broker.pid(), signal.SIGKILL)
    taken = []

    def take():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((broker.address, 9092))
            s.listen()
            taken.append(s)
        except OSError:
            s.close()
        return taken

    wait(take)
    wait(lambda: f"cannot listen on {broker.address}:9092: Address already in use" in hurt.cause())
    assert hurt.info()["State"] == "HEALING"
    assert hurt.info()["StateInfo"]["Code"] == "BROKER_DOWN"
    assert "\n" not in hurt.cause() and len(hurt.cause()) < 1000, "a sentence, no log"
    taken[0].close()
    hurt.healed("port")
    assert hurt.read("port", COUNT) == values


# Its session is over, its peers have left the in-sync set one by one: what it had last, nobody else has. Where it comes
# back empty its peers must not follow it into nothing.
@pytest.mark.long
def test_the_last_in_sync_replica_loses_its_disk(hurt):
    values = filled(hurt, "last")
    others = [hurt.broker(n) for n in (1, 2)]
    pids = [b.pid() for b in others]
    try:
        for broker, pid in zip(others, pids):
            os.kill(pid, signal.SIGSTOP)
        wait(lambda: all(p.isrs == [3] for p in AdminClient(
            {"bootstrap.servers": f"{hurt.broker(3).address}:9092", "log_level": 0}).list_topics("last", 10).topics["last"].partitions.values()), 90)
        third = hurt.broker(3)
        before = third.pid()
        shutil.rmtree(third.data)
        wait(lambda: not os.path.exists(f"/proc/{before}/exe") or third.pid() != before, 40)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    hurt.healed("last")
    assert hurt.read("last", COUNT) == values
    described = hurt.kafka.describe_topic(ClusterArn=hurt.arn, TopicName="last")
    assert state(hurt.kafka, hurt.arn) == "ACTIVE" and "unclean" not in str(described), "the topic is configured as it was"
