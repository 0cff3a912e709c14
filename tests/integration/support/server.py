"""Starts what is tested: Weir's two processes, or Apache Kafka's, from the same server.properties."""
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import wire
from .ports import free_port
from .tools import PEERS, ROOT
from .wait import wait_for

WEIR = Path(os.environ.get("WEIR_BINARY") or ROOT / "build/release/weir")  # a sanitizer's build, say
KAFKA_VERSION = "3.9.1"

# What every server of the tests has; a test adds its own.
DEFAULTS = {
    "broker.id": 1,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "zookeeper.session.timeout.ms": 3000,
}


class Process:
    """A server process, its log file, and its end."""

    def __init__(self, name, command, log, env=None, cwd=None):
        self.name, self.log = name, Path(log)
        self.out = open(self.log, "ab")
        self.popen = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self.out,
                                      stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, cwd=cwd, start_new_session=True)
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def text(self):
        return self.log.read_text(errors="replace")

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def stop(self, seconds=30):
        """SIGTERM and the exit status; a process that does not go is killed, and that fails the test."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds} s after SIGTERM:\n{self.text()[-2000:]}") from None
        finally:
            self.out.close()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait(30)

    def memory(self):
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def listening(host, port):
    with socket.create_connection((host, port), timeout=2):
        return True


class Server:
    """One broker and the coordination service that it lives on, with their data in one folder."""

    def __init__(self, folder, target="weir", config=None, host="127.0.0.1"):
        self.folder, self.target, self.host = Path(folder), target, host
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.zookeeper_port, self.metrics_port = free_port(), free_port(), free_port()
        self.data = self.folder / "data"
        self.config = {**DEFAULTS, "listeners": f"PLAINTEXT://{host}:{self.port}", "log.dirs": self.data,
                       "zookeeper.connect": f"127.0.0.1:{self.zookeeper_port}", **(config or {})}
        if target == "weir":
            self.config.setdefault("weir.metrics.listener", f"127.0.0.1:{self.metrics_port}")
        self.properties = self.folder / "server.properties"
        self.zookeeper = self.broker = None

    @property
    def bootstrap(self):
        return f"{self.host}:{self.port}"

    def write_properties(self):
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in self.config.items()))

    def start(self):
        self.start_zookeeper()
        self.start_broker()
        return self

    def start_zookeeper(self):
        properties = self.folder / "zookeeper.properties"
        properties.write_text(f"dataDir={self.folder}/zookeeper\nclientPort={self.zookeeper_port}\n"
                              "clientPortAddress=127.0.0.1\nmaxClientCnxns=0\ntickTime=500\n"
                              + ("admin.enableServer=false\n" if self.target == "kafka" else ""))
        if self.target == "weir":
            command, env = [WEIR, "zookeeper", "--config", properties], None
        else:
            command = [PEERS / "kafka-run", KAFKA_VERSION, "zookeeper-server-start", properties]
            env = {"KAFKA_HEAP_OPTS": "-Xmx256m"}
        self.zookeeper = Process("zookeeper", command, self.folder / "zookeeper.log", env)
        self.until(lambda: listening("127.0.0.1", self.zookeeper_port), self.zookeeper, "ZooKeeper listens")

    def broker_process(self, *options, log="broker.log"):
        """The broker's process, started and not waited for."""
        self.write_properties()
        if self.target == "weir":
            return Process("broker", [WEIR, "broker", "--config", self.properties, *options], self.folder / log)
        return Process("broker", [PEERS / "kafka-run", KAFKA_VERSION, "kafka-server-start", self.properties, *options],
                       self.folder / log, {"KAFKA_HEAP_OPTS": "-Xms512m -Xmx512m"})

    def start_broker(self, *options):
        while True:
            self.broker = self.broker_process(*options)
            try:
                return self.until(self.ready, self.broker, "the broker answers")
            except AssertionError:
                # After kill -9 Apache Kafka refuses to start until ZooKeeper has forgotten its former self.
                if self.target == "weir" or self.broker.alive() or "NodeExists" not in self.broker.text():
                    raise
                self.broker.log.unlink()

    def ready(self):
        """It answers, and names itself as the controller: topics can be made."""
        with wire.Connection(self.host, self.port, timeout=5) as connection:
            answer = connection.ask(wire.METADATA, 1, b"\0\0\0\0")
        return int.from_bytes(answer[:4], "big") == 1 and f"{self.host}".encode() in answer and \
            b"\xff\xff\xff\xff" != answer[-8:-4]

    def until(self, condition, process, what):
        def checked():
            assert process.alive(), f"{process.name} ended with {process.popen.returncode}"
            return condition()

        try:
            wait_for(checked, what, 60)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{process.text()[-3000:]}") from None

    def stop_broker(self):
        return self.broker.stop()

    def kill_broker(self):
        self.broker.kill()

    def restart_broker(self):
        self.stop_broker()
        self.start_broker()

    def stop(self):
        if self.broker and self.broker.alive():
            self.broker.signal(signal.SIGTERM)
            try:
                self.broker.popen.wait(20)
            except subprocess.TimeoutExpired:
                self.broker.kill()
        if self.zookeeper and self.zookeeper.alive():
            self.zookeeper.signal(signal.SIGTERM)
            try:
                self.zookeeper.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.zookeeper.kill()

    def partition_folder(self, topic, partition=0):
        return self.data / f"{topic}-{partition}"

    def segments(self, topic, partition=0):
        return sorted(self.partition_folder(topic, partition).glob("*.log"))

    def connection(self, **how):
        return wire.Connection(self.host, self.port, **how)

    def problems(self):
        """What must never be in a server's log, whatever clients did: sanitizer reports, aborts, ERROR lines."""
        if self.target != "weir":
            return []
        bad = ("AddressSanitizer", "ThreadSanitizer", "runtime error:", "Assertion", "check failed", "terminate called")
        return [line for process in (self.zookeeper, self.broker) if process
                for line in process.text().splitlines() if any(word in line for word in bad)]


def raise_descriptor_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


__all__ = ["Process", "Server", "WEIR", "raise_descriptor_limit", "time"]
