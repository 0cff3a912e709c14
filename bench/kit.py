"""What every part of the benchmarks needs: the servers under test, the clients that load them, and memory that is real.

Python's standard library only. Sizes are bytes unless a name says otherwise, times are seconds or as the column says.
"""
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build/bench"
WEIR = ROOT / "build/release/weir"
PEERS = ROOT / "tests/peers"
KAFKA = "4.3.1"
GIB, MIB = 1 << 30, 1 << 20
PARTITIONS = 6
CLIENTS = {"rdkafka_perf": ["-lrdkafka", "-lpthread"], "raw_load": [], "limits": ["-lpthread"]}


# ---- The protocol, as far as a benchmark needs it -----------------------------------------------------------------

def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def ask(port, api, version, body, timeout=5):
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        payload = struct.pack(">hhi", api, version, 1) + string("bench") + body
        s.sendall(struct.pack(">i", len(payload)) + payload)
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack(">i", data[:4])[0]:
            more = s.recv(65536)
            if not more:
                raise ConnectionError("closed")
            data += more
        return data[8:]


def create_topic(port, name, partitions, configs=None, wait=30):
    """Makes it, and waits until each of its partitions has a leader (at most `wait` seconds; 0: not at all)."""
    body = struct.pack(">i", 1) + string(name) + struct.pack(">ihi", partitions, 1, 0) + struct.pack(">i", len(configs or {}))
    body += b"".join(string(key) + string(str(value)) for key, value in (configs or {}).items()) + struct.pack(">ib", 30000, 0)
    answer = ask(port, 19, 2, body, 40)
    error, = struct.unpack(">h", answer[8 + 2 + len(name):][:2])
    if error:
        raise RuntimeError(f"topic {name}: error {error}")
    if wait:
        until(lambda: leaders(port, name) == partitions, f"{name} has leaders", wait)


def leaders(port, name):
    """How many partitions of the topic have a leader (Metadata v1)."""
    answer = ask(port, 3, 1, struct.pack(">i", 1) + string(name))
    at = answer.index(string(name)) + 2 + len(name) + 1
    count, = struct.unpack(">i", answer[at:at + 4])
    at, found = at + 4, 0
    for _ in range(count):
        error, _, leader, replicas = struct.unpack(">hiii", answer[at:at + 14])
        at += 14 + 4 * replicas
        isr, = struct.unpack(">i", answer[at:at + 4])
        at += 4 + 4 * isr
        found += error == 0 and leader >= 0
    return found


def answers(port):
    return ask(port, 3, 1, b"\0\0\0\0", 1)[:4] == b"\0\0\0\1"


def until(condition, what, seconds=60, pause=0.001):
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, ConnectionError, struct.error, ValueError):
            pass
        if time.monotonic() > end:
            raise RuntimeError(f"in {seconds} s not: {what}")
        time.sleep(pause)


# ---- Servers ------------------------------------------------------------------------------------------------------

def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Server:
    """One node in a fresh folder. `properties` are the same for both servers; with `tls` (a Tls) it has a second listener."""

    def __init__(self, folder, properties=None, tls=None):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.port, self.second, self.tls_port = free_ports(3)
        self.properties, self.tls = dict(properties or {}), tls
        self.processes = []

    def listeners(self, *others):
        """The lines of server.properties about listeners and whatever was asked for."""
        names = {"PLAINTEXT": self.port, **({"SSL": self.tls_port} if self.tls else {})}
        own = [f"{name}://127.0.0.1:{port}" for name, port in names.items()]
        lines = [f"listeners={','.join([*own, *others])}", f"advertised.listeners={','.join(own)}", "inter.broker.listener.name=PLAINTEXT"]
        lines += self.tls.server_lines() if self.tls else []
        return "\n".join(lines + [f"{key}={value}" for key, value in self.properties.items()]) + "\n"

    def spawn(self, name, *command, env=None):
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env={**os.environ, **(env or {})}, start_new_session=True)
        self.processes.append(process)
        return process

    def cpu(self):
        """CPU seconds, user and system, of all its processes."""
        ticks = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Resident MiB of all its processes."""
        kib = 0
        for process in self.processes:
            kib += int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1])
        return kib / 1024

    def show_logs(self):
        for log in sorted(self.folder.glob("*.log")):
            sys.stderr.write(f"--- {log.name}\n" + log.read_text(errors="replace")[-2000:])

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Weir(Server):
    name, title = "weir", "Weir"

    def start(self):
        """Starts all of it in an empty folder; {name of a time: milliseconds}."""
        began = time.monotonic()
        self.spawn("zookeeper", WEIR, "zookeeper", "--data", self.folder / "zookeeper", "--listen", f"127.0.0.1:{self.second}")
        until(lambda: socket.create_connection(("127.0.0.1", self.second), 1).close() is None, "the coordination service listens")
        (self.folder / "server.properties").write_text(
            f"broker.id=1\nzookeeper.connect=127.0.0.1:{self.second}\nlog.dirs={self.folder}/data\noffsets.topic.replication.factor=1\n"
            + self.listeners())
        middle = time.monotonic()
        self.start_broker()
        end = time.monotonic()
        return {"start, all": (end - began) * 1000, "start, broker": (end - middle) * 1000}

    def start_broker(self):
        self.spawn("broker", WEIR, "broker", "--config", self.folder / "server.properties")
        until(lambda: answers(self.port), "the broker answers")


class Kafka(Server):
    name, title = "kafka", f"Apache Kafka {KAFKA}"

    def start(self):
        (self.folder / "server.properties").write_text(
            f"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{self.second}\n"
            "controller.listener.names=CONTROLLER\n"
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n"
            f"log.dirs={self.folder}/data\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n"
            "transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n"
            "share.coordinator.state.topic.min.isr=1\n" + self.listeners(f"CONTROLLER://127.0.0.1:{self.second}"))
        subprocess.run([PEERS / "kafka-run", KAFKA, "kafka-storage", "format", "-t", "K3Jd0aSgRBWmDb5qXnX1cA", "-c",
                        self.folder / "server.properties"], check=True, capture_output=True)
        began = time.monotonic()
        self.start_broker()
        took = (time.monotonic() - began) * 1000
        return {"start, all": took, "start, broker": took}

    def start_broker(self):
        self.spawn("broker", PEERS / "kafka-run", KAFKA, "kafka-server-start", self.folder / "server.properties")
        until(lambda: answers(self.port), "the broker answers", 120)


class Tls:
    """A certificate authority of one run and a key for both servers, made by openssl."""
    password = "bench-bench"

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        run = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench", "-days", "2")
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
        (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
        run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", "server.pem")
        run("pkcs12", "-export", "-in", "server.pem", "-inkey", "server.key", "-out", "server.p12", "-passout", f"pass:{self.password}")

    def server_lines(self):
        return [f"ssl.keystore.location={self.folder}/server.p12", "ssl.keystore.type=PKCS12", f"ssl.keystore.password={self.password}",
                f"ssl.key.password={self.password}"]

    def client_pairs(self):
        """For librdkafka."""
        return ["security.protocol=ssl", f"ssl.ca.location={self.folder}/ca.pem"]


# ---- Clients ------------------------------------------------------------------------------------------------------

def tool(name, *arguments):
    result = subprocess.run([str(part) for part in (PEERS / "kafka-run", KAFKA, name, *arguments)], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{name}: {result.stdout[-1500:]}{result.stderr[-1500:]}")
    return result.stdout


def java_produce(server, topic, size, records, batch, extra=()):
    out = tool("kafka-producer-perf-test", "--topic", topic, "--num-records", records, "--record-size", size, "--throughput", -1,
               "--producer-props", f"bootstrap.servers=127.0.0.1:{server.port}", f"batch.size={batch}", *extra)
    last = [line for line in out.splitlines() if "records sent" in line][-1]
    sent, rate = int(last.split(" records sent")[0]), float(re.search(r"([\d.]+) records/sec", last)[1])
    assert sent == records
    return sent * size / (sent / rate)


def java_consume(server, topic, size, records):
    out = tool("kafka-consumer-perf-test", "--bootstrap-server", f"127.0.0.1:{server.port}", "--topic", topic, "--num-records", records,
               "--timeout", 60000)
    lines = [line.split(", ") for line in out.splitlines() if ", " in line]
    columns = [column.strip() for column in lines[0]]
    row = dict(zip(columns, lines[-1]))
    fetch_ms = float(row["fetch.time.ms"])
    got = int(next(value for key, value in row.items() if key.startswith("data.consumed.in.nMsg")))
    assert got >= records, out
    return got * size / (fetch_ms / 1000)


def program(name, *arguments):
    """Runs one of the clients in C, which print JSON."""
    result = subprocess.run([str(part) for part in (OUT / name, *arguments)], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{name} {arguments[0]}: {result.stderr[-1500:]}")
    return json.loads(result.stdout)


def rdkafka(mode, server, topic, *rest, port=None):
    return program("rdkafka_perf", mode, f"127.0.0.1:{port or server.port}", topic, *rest)


def raw_load(server, topic, partitions, connections, rate, seconds, size):
    """Requests of one record each over many connections; `rate` 0: the next when an answer has come."""
    return program("raw_load", "produce", "127.0.0.1", server.port, topic, partitions, connections, rate, seconds, size)


def measure(server, load):
    """Runs a load that gives bytes per second and the bytes: (MiB/s, server CPU seconds per GiB)."""
    before = server.cpu()
    rate, size = load()
    return {"MiB/s": rate / MIB, "CPU s/GiB": (server.cpu() - before) * GIB / size}


def java_latency(server, topic, records):
    named = ["--bootstrap-server", f"127.0.0.1:{server.port}", "--topic", topic, "--num-records", records, "--producer-acks", "all",
             "--record-size", 100]
    out = tool("kafka-e2e-latency", *named)
    percentiles = dict(re.findall(r"([\d.]+)th = (\d+)", out))
    return {"p50_ms": float(percentiles["50"]), "p99_ms": float(percentiles["99"]), "p999_ms": float(percentiles["99.9"])}


class Memory:
    """Memory that is real, given to a load as it writes: for both servers alike.

    On a virtual machine the first touch of a page may cost ten times a write to it, because the hypervisor has to find the
    memory, and takes it back when it lies free for two seconds (free page reporting); it is booked on whoever writes
    first. So the page cache is filled with files beforehand, and each is removed shortly before the server's own log
    wants its pages."""
    PIECE, AHEAD = 16 * MIB, 96 * MIB

    def __init__(self, data, mib):
        self.data, self.folder = data, OUT / "memory"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.files, block = [], os.urandom(MIB)
        for number in range(mib * MIB // self.PIECE + 1):
            self.files.append(self.folder / str(number))
            with open(self.files[-1], "wb") as file:
                for _ in range(self.PIECE // MIB):
                    file.write(block)
        self.over = threading.Event()

    def written(self):
        size = 0
        for path in self.data.glob("*/*.log"):
            try:
                size += path.stat().st_blocks * 512
            except FileNotFoundError:  # a segment that was rolled or removed meanwhile
                pass
        return size

    def give(self):
        before, given = self.written(), 0
        while self.files and not self.over.wait(0.02 if given else 0):
            while self.files and given < self.written() - before + self.AHEAD:
                self.files.pop().unlink()
                given += self.PIECE

    def __enter__(self):
        self.giver = threading.Thread(target=self.give, daemon=True)
        self.giver.start()

    def __exit__(self, *_):
        self.over.set()
        self.giver.join()
        shutil.rmtree(self.folder, ignore_errors=True)


def compile_clients():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, libraries in CLIENTS.items():
        source, made = ROOT / f"bench/{name}.c", OUT / name
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            machine = ["-msse4.2"] if os.uname().machine == "x86_64" else []
            subprocess.run(["clang-19", "-O2", *machine, "-Wall", "-Wextra", "-Werror", "-o", made, source, *libraries], check=True)


def spread(values):
    shown = (lambda v: f"{v:.0f}") if statistics.median(values) >= 20 else (lambda v: f"{v:.2f}")
    text = shown(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({shown(min(values))}..{shown(max(values))})"
