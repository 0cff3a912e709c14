"""A cluster of processes: brokers of Weir and of Apache Kafka in any mix, and the coordination service they live on.

Each server has an address, a folder and a log file of its own, and can be started, stopped, killed, paused, cut off and
given to another implementation on the same folder. What happens is told to `on_event`, which the history keeps.
"""
import itertools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from faults import Faults
from network import Loopback, Namespaces, can_isolate
from shared import BUILD, JAVA, PEERS, WEIR, Connection, Process, kafka, wait_for

KAFKA = "3.9.1"
OLD_KAFKA = "2.2.1"
PORT, ZOOKEEPER_PORT = 9092, 2181
JAVA_SERVER = {**JAVA, "KAFKA_HEAP_OPTS": "-Xms160m -Xmx320m", "KAFKA_LOG_LEVEL": "INFO"}

# Every broker's; a cluster or a broker adds its own. Times are short so that a test sees the end of them.
DEFAULTS = {
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "num.partitions": 3,
    "offsets.topic.replication.factor": 3,
    "offsets.topic.num.partitions": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "transaction.state.log.num.partitions": 3,
    "unclean.leader.election.enable": "false",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "zookeeper.session.timeout.ms": 4000,
    "zookeeper.connection.timeout.ms": 30000,
    "replica.lag.time.max.ms": 4000,
    "replica.socket.timeout.ms": 4000,
    "controller.socket.timeout.ms": 4000,
    "replica.high.watermark.checkpoint.interval.ms": 1000,
    "log.segment.bytes": 1 << 20,
    "leader.imbalance.check.interval.seconds": 15,
}


def parse_metadata(answer):
    """Metadata version 1."""
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from(">" + form, answer, at)
        at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def string():
        nonlocal at
        size = take("h")
        if size < 0:
            return None
        text = answer[at:at + size].decode()
        at += size
        return text

    brokers = {}
    for _ in range(take("i")):
        id = take("i")
        brokers[id] = (string(), take("i"))
        string()
    controller = take("i")
    topics = {}
    for _ in range(take("i")):
        error, name, _ = take("h"), string(), take("b")
        partitions = {}
        for _ in range(take("i")):
            code, index, leader = take("hii")
            replicas = [take("i") for _ in range(take("i"))]
            isr = [take("i") for _ in range(take("i"))]
            partitions[index] = PartitionView(code, leader, replicas, isr)
        topics[name] = TopicView(error, partitions)
    return MetadataView(brokers, controller, topics)


@dataclass
class PartitionView:
    error: int
    leader: int
    replicas: list
    isr: list


@dataclass
class TopicView:
    error: int
    partitions: dict


@dataclass
class MetadataView:
    brokers: dict
    controller: int
    topics: dict


def metadata(host, topics=None, port=PORT, timeout=5):
    """One broker's view; all topics when none is named."""
    body = struct.pack(">i", -1 if topics is None else len(topics))
    for name in topics or []:
        body += struct.pack(">h", len(name)) + name.encode()
    with Connection(host, port, timeout=timeout) as connection:
        return parse_metadata(connection.ask(3, 1, body))


class Server:
    """One server process on a node of the network."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.folder = cluster.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = cluster.network.add(name)
        self.log = self.folder / "log"
        self.process, self.began, self.paused = None, 0, False

    def spawn(self, command, env):
        self.began = self.log.stat().st_size if self.log.exists() else 0
        # It ends with the test, however that ends.
        command = ["setpriv", "--pdeathsig", "KILL", *self.cluster.network.command(self.name, [str(part) for part in command])]
        self.process = Process(self.name, command, self.log, env, cwd=self.folder)
        self.paused = False

    @property
    def alive(self):
        return self.process is not None and self.process.alive()

    def text(self):
        """What this process has logged, without its predecessors."""
        with open(self.log, "rb") as file:
            file.seek(self.began)
            return file.read().decode(errors="replace")

    def signal(self, number):
        self.process.signal(number)

    def term(self):
        self.cluster.note(f"SIGTERM {self.name}")
        self.signal(signal.SIGTERM)

    def stop(self, seconds=60):
        """SIGTERM, and its end; gives the exit status."""
        if not self.alive:
            return None
        self.resume()
        self.term()
        status = self.process.stop(seconds)
        self.cluster.note(f"{self.name} ended")
        return status

    def kill(self):
        if self.alive:
            self.cluster.note(f"kill -9 {self.name}")
            self.process.kill()
            self.paused = False

    def pause(self):
        if self.alive:
            self.cluster.note(f"SIGSTOP {self.name}")
            self.signal(signal.SIGSTOP)
            self.paused = True

    def resume(self):
        if self.paused:
            self.cluster.note(f"SIGCONT {self.name}")
            self.signal(signal.SIGCONT)
            self.paused = False

    def end(self):
        """However it is, without telling."""
        if self.alive:
            self.signal(signal.SIGCONT)
            self.process.kill()


class ZooKeeper(Server):
    def __init__(self, cluster, name, kind, number=1):
        super().__init__(cluster, name)
        self.kind, self.number = kind, number
        self.faults = Faults(self.folder / "faults", self.folder / "data")

    @property
    def connect(self):
        return f"{self.address}:{ZOOKEEPER_PORT}"

    def start(self, wait=True):
        ensemble = self.cluster.zookeepers
        lines = {"dataDir": self.folder / "data", "clientPort": ZOOKEEPER_PORT, "clientPortAddress": self.address,
                 "maxClientCnxns": 0, "tickTime": 500, "4lw.commands.whitelist": "*"}
        if self.kind != "weir":
            lines["admin.enableServer"] = "false"
        if len(ensemble) > 1:
            lines |= {"initLimit": 40, "syncLimit": 10}
            lines |= {f"server.{z.number}": f"{z.address}:2888:3888" for z in ensemble}
            (self.folder / "data").mkdir(exist_ok=True)
            (self.folder / "data/myid").write_text(str(self.number))
        properties = self.folder / "zoo.cfg"
        properties.write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
        self.cluster.note(f"start {self.name}")
        if self.kind == "weir":
            self.spawn([WEIR, "zookeeper", "--config", properties], self.faults.env)
        else:
            self.spawn([PEERS / "kafka-run", self.kind, "zookeeper-server-start", properties],
                       {**JAVA_SERVER, **self.faults.env, "KAFKA_HEAP_OPTS": "-Xmx160m", "KAFKA_LOG_LEVEL": "WARN",
                        "KAFKA_OPTS": "-Dreadonlymode.enabled=true"})  # a node without a quorum serves those who only read
        if wait:
            self.wait()
        return self

    def wait(self, seconds=60):
        def serves():
            if not self.alive:
                raise RuntimeError(f"{self.name} ended:\n{self.text()[-3000:]}")
            return self.mode()
        wait_for(serves, f"{self.name} serves", seconds, 0.1)

    def mode(self):
        """standalone, leader or follower; None while it does not serve."""
        try:
            with socket.create_connection((self.address, ZOOKEEPER_PORT), timeout=2) as s:
                s.sendall(b"srvr")
                text = b""
                while more := s.recv(65536):
                    text += more
        except OSError:
            return None
        return next((line.split()[-1].decode() for line in text.splitlines() if line.startswith(b"Mode:")), None)


class Broker(Server):
    """A broker; `kind` is "weir" or a version of Apache Kafka, and may change between two starts."""

    def __init__(self, cluster, id, kind, config=None):
        super().__init__(cluster, f"broker-{id}")
        self.id, self.kind = id, kind
        self.data = self.folder / "data"
        self.data.mkdir(exist_ok=True)
        self.faults = Faults(self.folder / "faults", self.data)
        self.config = {"broker.id": id, "broker.rack": f"zone-{'abc'[(id - 1) % 3]}",
                       "listeners": f"PLAINTEXT://{self.address}:{PORT}", "log.dirs": self.data,
                       "zookeeper.connect": cluster.connect, **DEFAULTS, **cluster.config, **(config or {})}
        self.disk = None

    @property
    def bootstrap(self):
        return f"{self.address}:{PORT}"

    def small_disk(self, mib):
        """From now on its data is on a file system of that size. Needs root, and that it does not run."""
        self.disk = Disk(self.data, mib)
        return self.disk

    def launch(self):
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self.config.items()))
        self.cluster.note(f"start {self.name} ({self.kind})")
        if self.kind == "weir":
            self.spawn([WEIR, "broker", "--config", properties], self.faults.env)
        else:
            self.spawn([PEERS / "kafka-run", self.kind, "kafka-server-start", properties], {**JAVA_SERVER, **self.faults.env})

    def start(self, wait=True):
        self.launch()
        if wait:
            self.wait()
        return self

    def become(self, kind, wait=True):
        """Another implementation takes over this broker's folder."""
        self.stop()
        self.kind = kind
        return self.start(wait)

    def wait(self, seconds=180):
        """Until it answers, is in the metadata that it tells, and knows a controller."""
        end = time.monotonic() + seconds

        def ready():
            if not self.alive:
                # After kill -9 Apache Kafka refuses to start until ZooKeeper has forgotten its former self, and it gives up
                # when its session ends while it starts, on a machine with much to do.
                if self.kind != "weir" and re.search("NodeExists|SessionExpired|ConnectionLoss", self.text()) and time.monotonic() < end:
                    self.launch()
                    return False
                raise RuntimeError(f"{self.name} ({self.kind}) ended with {self.process.popen.returncode}:\n{self.text()[-4000:]}")
            view = metadata(self.address, [])
            return self.id in view.brokers and view.controller >= 0

        try:
            wait_for(ready, f"{self.name} ({self.kind}) serves", seconds, 0.1)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.text()[-4000:]}") from None

    def view(self, topics=None):
        return metadata(self.address, topics)

    def problems(self):
        """What a Weir broker must never log, whatever happens around it."""
        if not self.log.exists():
            return []
        bad = ("AddressSanitizer", "runtime error:", "check failed", "CHECK failed", "Assertion `", "terminate called", "Segmentation fault")
        return [f"{self.name}: {line}" for line in self.log.read_text(errors="replace").splitlines() if any(b in line for b in bad)]


class Disk:
    """A small file system of its own at `path`, and a way to fill it."""

    def __init__(self, path, mib):
        self.path = Path(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "weir-system", self.path], check=True)

    def fill(self, leave=0):
        """Takes all that is free, but for `leave` bytes."""
        with open(self.path / ".ballast", "ab") as ballast:
            while (free := self.free() - leave) > 0:
                try:
                    ballast.write(b"\0" * min(free, 1 << 20))
                    ballast.flush()
                except OSError:
                    break

    def free(self):
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_bsize

    def empty(self):
        (self.path / ".ballast").unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False)


@dataclass
class Topic:
    name: str
    partitions: int
    config: dict = field(default_factory=dict)


class Cluster:
    """`brokers` is a list of kinds, one for each broker from id 1; `zookeeper` is "weir" or a version of Apache Kafka
    whose ZooKeeper is used, `ensemble` how many of it. Use it as a context: it ends everything it started."""

    numbers = itertools.count(1)

    def __init__(self, brokers, zookeeper="weir", ensemble=1, config=None, name="cluster", on_event=None, isolate=None):
        self.folder = BUILD / f"{os.getpid()}-{next(self.numbers)}-{name}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.config, self.on_event, self.events = config or {}, on_event, []
        isolate = can_isolate() if isolate is None else isolate
        self.network = Namespaces() if isolate else Loopback()
        try:
            self.zookeepers = []
            for i in range(1, ensemble + 1):
                self.zookeepers.append(ZooKeeper(self, f"zk-{i}", zookeeper, i))
            self.connect = ",".join(z.connect for z in self.zookeepers) + self.config.pop("chroot", "")
            self.brokers = {i: Broker(self, i, kind) for i, kind in enumerate(brokers, 1)}
        except BaseException:
            self.network.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def note(self, what):
        self.events.append((time.monotonic(), what))
        if self.on_event:
            self.on_event(what)

    @property
    def bootstrap(self):
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    @property
    def live(self):
        return [b for b in self.brokers.values() if b.alive and not b.paused]

    def add_broker(self, kind, config=None):
        id = max(self.brokers) + 1
        self.brokers[id] = Broker(self, id, kind, config)
        return self.brokers[id]

    def start(self):
        self.start_zookeeper()
        for broker in self.brokers.values():
            broker.start(wait=False)
        for broker in self.brokers.values():
            broker.wait()
        self.wait_known()
        return self

    def start_zookeeper(self):
        for z in self.zookeepers:
            z.start(wait=False)
        for z in self.zookeepers:
            z.wait()

    def wait_known(self, seconds=60):
        """Every live broker knows every live broker, and one controller."""
        def known():
            live = {b.id for b in self.live}
            views = [b.view([]) for b in self.live]
            return all(set(v.brokers) == live for v in views) and len({v.controller for v in views}) == 1 and views[0].controller in live
        wait_for(known, "every broker knows every other", seconds, 0.1)

    def view(self, topics=None):
        """The first live broker's."""
        problem = None
        for broker in self.live:
            try:
                return broker.view(topics)
            except OSError as error:
                problem = error
        raise ConnectionError(f"no broker answers: {problem}")

    def controller(self, seconds=60):
        """The broker that the others name as the controller."""
        def named():
            ids = [b.view([]).controller for b in self.live]
            return self.brokers.get(max(set(ids), key=ids.count)) if ids else None
        return wait_for(lambda: (c := named()) and c.alive and c, "there is a controller", seconds, 0.1)

    def leader(self, topic, partition=0):
        view = self.view([topic]).topics[topic]
        return self.brokers.get(view.partitions[partition].leader)

    def followers(self, topic, partition=0):
        view = self.view([topic]).topics[topic].partitions[partition]
        return [self.brokers[r] for r in view.replicas if r != view.leader]

    def create(self, *topics, replication=3, seconds=60):
        """Topics with leaders and full in-sync sets, in the view of every live broker."""
        from confluent_kafka.admin import AdminClient, NewTopic
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        futures = client.create_topics([NewTopic(t.name, t.partitions, replication, config={k: str(v) for k, v in t.config.items()})
                                        for t in topics], operation_timeout=30, request_timeout=40)
        for future in futures.values():
            future.result(60)
        self.wait_in_sync([t.name for t in topics], seconds)

    def wait_in_sync(self, topics=None, seconds=120, where=None):
        """Every replica of every partition (of these topics) is in sync and every live broker says so."""
        state = {}

        def in_sync():
            for broker in where or self.live:
                view = broker.view(topics)
                for name, topic in view.topics.items():
                    if topic.error:
                        state["late"] = f"{broker.name}: {name} has error {topic.error}"
                        return False
                    for index, p in topic.partitions.items():
                        if p.leader < 0 or set(p.isr) != set(p.replicas) or p.leader not in p.isr:
                            state["late"] = f"{broker.name} says {name}-{index}: leader {p.leader}, replicas {p.replicas}, in sync {p.isr}"
                            return False
            return True

        try:
            wait_for(in_sync, "all replicas are in sync", seconds, 0.1)
        except AssertionError as late:
            raise AssertionError(f"{late}; {state.get('late')}") from None

    def tool(self, name, *arguments, version=KAFKA, **how):
        """A tool of Apache Kafka's, with this cluster's --bootstrap-server."""
        return kafka(version, name, "--bootstrap-server", self.bootstrap, *arguments, **how)

    def cut(self, broker, *others):
        for other in others:
            self.note(f"cut {broker.name} - {other.name}")
            self.network.cut(broker.name, other.name)

    def cut_one_way(self, broker, *others):
        for other in others:
            self.note(f"cut {broker.name} -> {other.name}")
            self.network.cut_one_way(broker.name, other.name)

    def cut_off(self, broker):
        self.note(f"cut off {broker.name}")
        self.network.cut_off(broker.name)

    def peers(self, broker):
        return [b for b in self.brokers.values() if b is not broker]

    def heal(self):
        """No fault is left: ways, disks, clocks, paused processes; the dead stay dead."""
        self.note("heal")
        self.network.heal()
        for broker in self.brokers.values():
            if broker.disk:
                broker.disk.empty()
        for server in [*self.zookeepers, *self.brokers.values()]:
            server.faults.clear()
            if server.alive:
                server.resume()

    def recover(self, seconds=120):
        """Heals, and starts what is dead."""
        self.heal()
        for z in self.zookeepers:
            if not z.alive:
                z.start(wait=False)
        for z in self.zookeepers:
            z.wait(seconds)
        for broker in self.brokers.values():
            if not broker.alive:
                broker.start(wait=False)
        for broker in self.brokers.values():
            broker.wait(seconds)

    def stop(self):
        """All brokers by SIGTERM at once."""
        for broker in self.brokers.values():
            if broker.alive:
                broker.resume()
                broker.term()
        end = time.monotonic() + 30
        for broker in self.brokers.values():
            if broker.alive:
                try:
                    broker.process.popen.wait(max(0.1, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    broker.kill()  # the last of a cluster have nobody to hand their partitions to

    def problems(self):
        return [p for b in self.brokers.values() if b.kind == "weir" for p in b.problems()]

    def close(self):
        for server in [*self.brokers.values(), *self.zookeepers]:
            server.end()
        for broker in self.brokers.values():
            if broker.disk:
                broker.disk.close()
        self.network.close()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
