"""Apache Kafka lives on our coordination service: starts, makes topics, takes records, restarts. And Apache's zkCli."""
import json
import signal
import subprocess

import pytest

from servers import free_port, kafka_run, until
from wire import NO_NODE, GET_DATA, Wire, text

pytestmark = [pytest.mark.ours, pytest.mark.timeout(400)]


def run(version, name, *args, stdin=None):
    done = subprocess.run(
        ["bash", kafka_run(), version, name, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{name} {args}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Broker:
    def __init__(self, version, zk):
        self.version, self.zk, self.port = version, zk, free_port()
        self.folder = zk.folder / "kafka"
        self.folder.mkdir()
        self.process = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        config = self.folder / "server.properties"
        config.write_text(
            f"broker.id=1\nlisteners=PLAINTEXT://{self.bootstrap}\nlog.dirs={self.folder}/logs\n"
            f"zookeeper.connect={self.zk.hosts}\nzookeeper.session.timeout.ms=10000\n"
            "offsets.topic.replication.factor=1\noffsets.topic.num.partitions=5\n"
            "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
            "group.initial.rebalance.delay.ms=0\n"
        )
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            ["bash", kafka_run(), self.version, "kafka-server-start", str(config)], stdout=self.log, stderr=self.log
        )
        until("the broker is registered", self.registered, seconds=90, pause=0.2)
        return self

    def text(self):
        return (self.folder / "log").read_text()[-3000:]

    def registered(self):
        assert self.process.poll() is None, f"the broker ended:\n{self.text()}"
        with Wire(self.zk.port).connect() as c:
            err, r = c.call(GET_DATA, text("/brokers/ids/1") + b"\0")
            return err != NO_NODE and json.loads(r.blob())["port"] == self.port

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None


def produce(broker, topic, lines):
    flag = "--bootstrap-server" if broker.version > "3" else "--broker-list"
    run(broker.version, "kafka-console-producer", flag, broker.bootstrap, "--topic", topic, stdin="\n".join(lines) + "\n")


def consume(broker, topic, n):
    out = run(
        broker.version, "kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", topic,
        "--from-beginning", "--max-messages", n, "--timeout-ms", 60000,
    )  # fmt: skip
    return sorted(out.split())


@pytest.mark.parametrize("version", ["3.9.1", "2.2.1"])
def test_kafka_lives_on_it(own, version):
    zk = own(maxClientCnxns=60, tickTime=2000, minSessionTimeout=4000)
    broker = Broker(version, zk).start()
    try:
        where = ("--bootstrap-server", broker.bootstrap) if version > "3" else ("--zookeeper", zk.hosts)
        run(version, "kafka-topics", *where, "--create", "--topic", "t", "--partitions", 3, "--replication-factor", 1)
        # The old tool writes the znodes itself; the broker, as the controller, hears of it by a watch.
        run("2.2.1", "kafka-topics", "--zookeeper", zk.hosts, "--create", "--topic", "old", "--partitions", 1,
            "--replication-factor", 1)  # fmt: skip
        assert {"t", "old"} <= set(run(version, "kafka-topics", *where, "--list").split())
        first = [f"record-{i}" for i in range(50)]
        produce(broker, "t", first)
        produce(broker, "old", ["x"])
        assert consume(broker, "t", 50) == sorted(first)
        assert consume(broker, "old", 1) == ["x"]

        broker.stop()
        with Wire(zk.port).connect() as c:
            assert c.stat("/brokers/ids/1") is None, "a broker that stopped is still registered"
            assert c.stat("/controller") is None
            assert c.children("/brokers/topics/t/partitions") == ["0", "1", "2"]
        broker.start()
        more = [f"more-{i}" for i in range(50)]
        produce(broker, "t", more)
        assert consume(broker, "t", 100) == sorted(first + more)

        # The coordination service restarts under a broker that runs: its session goes on.
        with Wire(zk.port).connect() as c:
            owner = c.stat("/brokers/ids/1")["ephemeral_owner"]
        zk.kill()
        zk.start()
        until("the broker is still registered", broker.registered)
        run(version, "kafka-topics", *where, "--create", "--topic", "later", "--partitions", 1,
            "--replication-factor", 1)  # fmt: skip
        produce(broker, "later", ["y"])
        assert consume(broker, "later", 1) == ["y"]
        with Wire(zk.port).connect() as c:
            assert c.stat("/brokers/ids/1")["ephemeral_owner"] == owner

        # A broker that is killed is gone when its session is.
        broker.stop(signal.SIGKILL)
        with Wire(zk.port).connect(timeout_ms=60000) as c:
            until("the dead broker's node is gone", lambda: c.stat("/brokers/ids/1") is None, seconds=30)
    finally:
        broker.stop(signal.SIGKILL)


def test_zookeeper_shell(own):
    zk = own()

    def shell(*command):
        return run("3.9.1", "zookeeper-shell", "-server", zk.hosts, *command).strip().splitlines()[-1]

    assert shell("ls", "/") == "[zookeeper]"
    run("3.9.1", "zookeeper-shell", "-server", zk.hosts, "create", "/a", "hello")
    assert shell("get", "/a") == "hello"
    assert "dataLength = 5" in run("3.9.1", "zookeeper-shell", "-server", zk.hosts, "stat", "/a")
    assert ": cdrwa" in shell("getAcl", "/a")
    run("3.9.1", "zookeeper-shell", "-server", zk.hosts, "set", "/a", "bye")
    assert shell("get", "/a") == "bye"
    run("3.9.1", "zookeeper-shell", "-server", zk.hosts, "deleteall", "/a")
    assert shell("ls", "/") == "[zookeeper]"
