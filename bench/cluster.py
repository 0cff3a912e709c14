"""Three brokers of Weir (`weir up --brokers 3`) and three of Apache Kafka 3.9.1 in ZooKeeper mode, in turn on this
machine: the same clients, the same data, replication factor 3, acks=all, min.insync.replicas=2.

  replicated                 produce and consume; CPU is of all server processes, the coordination service among them
  failover                   a broker is killed with SIGKILL under load to 300 partitions: from the kill to the next
                             acknowledged record of each partition that it led. Weir's supervisor ends the dead broker's
                             session; ZooKeeper waits for the session timeout, here Kafka's default of 18 s.
  dead host                  the same with SIGSTOP: nobody sees the process end, both wait for the session timeout (Weir's
                             is 6 s in `weir up`). The client of all these gives a request 1 s (request.timeout.ms) and an
                             answer 1.5 s (socket.timeout.ms), for both servers alike: with librdkafka's 30 and 60 s it
                             would notice a silent broker long after the cluster did, and that would be measured.
  controlled shutdown        SIGTERM: from the signal to the process's end, the longest time a partition took no record,
                             and how many records failed for good.
  controller failover        the controller's broker is killed with --partitions partitions in the cluster: until a
                             surviving broker names the next controller and shows a living leader for every partition.
"""
import json
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from kit import GIB, MIB, Memory, OUT, PEERS, WEIR, string, until

KAFKA = "3.9.1"
JAVA_TOOLS = "4.3.1"


# ---- The protocol, as far as this needs it ------------------------------------------------------------------------

def ask(address, api, version, body, timeout=5):
    import socket
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout) as s:
        payload = struct.pack(">hhi", api, version, 1) + string("bench") + body
        s.sendall(struct.pack(">i", len(payload)) + payload)
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack(">i", data[:4])[0]:
            more = s.recv(1 << 20)
            if not more:
                raise ConnectionError("closed")
            data += more
        return data[8:]


def metadata(address, topics=None, timeout=10):
    """({broker: "host:port"}, controller, {(topic, partition): (leader, in-sync replicas)}) (Metadata v1)."""
    body = struct.pack(">i", -1) if topics is None else struct.pack(">i", len(topics)) + b"".join(map(string, topics))
    answer = ask(address, 3, 1, body, timeout)
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from(">" + form, answer, at)
        at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def text():
        nonlocal at
        size = take("h")
        if size < 0:
            return None
        at += size
        return answer[at - size:at].decode()

    brokers = {}
    for _ in range(take("i")):
        node, host, port, _ = take("i"), text(), take("i"), text()
        brokers[node] = f"{host}:{port}"
    controller, partitions = take("i"), {}
    for _ in range(take("i")):
        _, name, _ = take("h"), text(), take("b")
        for _ in range(take("i")):
            _, index, leader = take("h"), take("i"), take("i")
            replicas = [take("i") for _ in range(take("i"))]
            in_sync = [take("i") for _ in range(take("i"))]
            partitions[name, index] = (leader, in_sync, replicas)
    return brokers, controller, partitions


def create_topic(cluster, name, partitions, replicas=3, wait=120):
    body = struct.pack(">i", 1) + string(name) + struct.pack(">ihii", partitions, replicas, 0, 0) + struct.pack(">ib", 60000, 0)
    began, error = time.monotonic(), None

    def made():
        nonlocal error
        brokers, controller, _ = metadata(cluster.any(), [])
        error, = struct.unpack(">h", ask(brokers[controller], 19, 2, body, 90)[8 + 2 + len(name):][:2])
        return error in (0, 36, 7)

    until(made, f"topic {name} is made (error {error})", wait, 0.2)
    until(lambda: cluster.healthy([name], partitions), f"{name} is in sync", wait, 0.2)
    return time.monotonic() - began


# ---- Clusters -----------------------------------------------------------------------------------------------------

class Removed:
    """Folders of clusters that are done. ext4 passes over inodes that were freed in the last minute (in the last six, while
    their blocks are not written), and looks at each one of them again for every file that it makes: after a cluster of
    10,000 partitions was removed the next one's files took two to six times as long. So folders are removed at the end of
    all, and a run that follows waits until a minute has gone."""

    stamp, wait = OUT / "removed", 65

    def __init__(self):
        self.folders = [path for path in OUT.glob("cluster-*-*") if path.is_dir()]
        if self.folders:
            print("removes what a run left that was cut off", flush=True)
            self.remove()
        left = self.wait - (time.time() - self.stamp.stat().st_mtime) if self.stamp.exists() else 0
        if 0 < left <= self.wait:
            print(f"waits {left:.0f} s: the file system has just lost the files of the run before, which makes new ones slow", flush=True)
            time.sleep(left)

    def folder(self, name):
        path = Path(tempfile.mkdtemp(prefix=f"cluster-{name}-", dir=OUT))
        self.folders.append(path)
        return path

    def remove(self):
        for path in self.folders:
            shutil.rmtree(path, ignore_errors=True)
        self.folders = []
        os.sync()
        self.stamp.touch()


class Cluster:
    def __init__(self, folder):
        self.folder = folder

    def any(self):
        for address in self.addresses().values():
            try:
                ask(address, 3, 1, struct.pack(">i", 0), 1)
                return address
            except OSError:
                pass
        raise ConnectionError("no broker answers")

    def healthy(self, topics=None, partitions=None):
        """All brokers are there, and every partition is led and in sync on all its replicas, as each broker sees it."""
        for address in self.addresses().values():
            brokers, _, found = metadata(address, topics)
            if len(brokers) < 3 or (partitions is not None and len(found) < partitions):
                return False
            if any(leader < 0 or len(in_sync) < len(replicas) for leader, in_sync, replicas in found.values()):
                return False
        return True

    def cpu(self):
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self):
        kib = 0
        for pid in self.pids():
            kib += int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
        return kib / 1024


class Weir(Cluster):
    name, listen = "weir", "Weir"

    def start(self):
        began = time.monotonic()
        subprocess.run([WEIR, "up", "--brokers", "3", "--data", self.folder / "data", "--listen", "127.0.7.1", "--detach"], check=True, capture_output=True)
        until(self.healthy, "all brokers are there", 60, 0.005)
        return (time.monotonic() - began) * 1000

    def status(self):
        out = subprocess.run([WEIR, "status", "--data", self.folder / "data", "--json"], capture_output=True, text=True).stdout
        return json.loads(out)["processes"]

    def brokers(self):
        return {p["id"]: p for p in self.status() if p["role"] == "broker"}

    def addresses(self):
        return {broker: next(iter(p["addresses"].values())) for broker, p in self.brokers().items()}

    def pids(self):
        return [p["pid"] for p in self.status() if p["pid"]]

    def pid(self, broker):
        return self.brokers()[broker]["pid"]

    def restart(self, broker):
        pass  # its supervisor does

    def stop(self):
        subprocess.run([WEIR, "down", "--data", self.folder / "data"], capture_output=True)


class Kafka(Cluster):
    name, listen = "kafka", f"Apache Kafka {KAFKA}"
    base = 29192

    def start(self):
        began = time.monotonic()
        env = {**os.environ, "KAFKA_EXTRA": "default.replication.factor=3;min.insync.replicas=2"}
        subprocess.run([PEERS / "kafka-cluster", "up", KAFKA, "zk", "3", self.folder, str(self.base)], check=True, capture_output=True, env=env)
        until(self.healthy, "all brokers are there", 60, 0.05)
        return (time.monotonic() - began) * 1000

    def addresses(self):
        return {i: f"127.0.0.1:{self.base - 1 + i}" for i in (1, 2, 3)}

    def pids(self):
        found = [int(path.read_text().split()[0]) for path in self.folder.glob("*.pid")]
        return [pid for pid in found if Path(f"/proc/{pid}").exists()]

    def pid(self, broker):
        return int((self.folder / f"broker-{broker}.pid").read_text().split()[0])

    def restart(self, broker):
        subprocess.run([PEERS / "kafka-cluster", "start", self.folder, str(broker)], check=True, capture_output=True)

    def stop(self):
        subprocess.run([PEERS / "kafka-cluster", "down", self.folder], capture_output=True)


# ---- A steady load, and what its partitions saw -------------------------------------------------------------------

class Steady:
    """Produces to every partition of a topic, some times a second; when each partition's records were acknowledged."""

    def __init__(self, cluster, topic, partitions, rate=10):
        from confluent_kafka import Producer
        self.topic, self.partitions, self.pause = topic, partitions, 1 / rate
        self.acks = {p: [] for p in range(partitions)}  # (sent, acknowledged)
        self.errors = []
        self.producer = Producer({
            "bootstrap.servers": ",".join(cluster.addresses().values()), "acks": "all", "enable.idempotence": True, "linger.ms": 0,
            "retry.backoff.ms": 20, "retry.backoff.max.ms": 100, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
            "topic.metadata.refresh.fast.interval.ms": 50, "topic.metadata.refresh.interval.ms": 5000, "delivery.timeout.ms": 120000,
            "request.timeout.ms": 1000, "socket.timeout.ms": 1500, "socket.connection.setup.timeout.ms": 1000, "log_level": 0})
        self.ending = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        until(lambda: all(self.acks.values()), "every partition takes records", 60, 0.01)

    def run(self):
        while not self.ending:
            began = time.monotonic()
            for partition in range(self.partitions):
                try:
                    self.producer.produce(self.topic, b"x" * 100, partition=partition, on_delivery=self.told(partition, time.monotonic()))
                except BufferError:
                    pass
                if partition % 20 == 0:
                    self.producer.poll(0)
            while time.monotonic() - began < self.pause:
                self.producer.poll(0.002)

    def told(self, partition, sent):
        def tell(error, message):
            if error is not None:
                self.errors.append(str(error))
            else:
                self.acks[partition].append((sent, time.monotonic()))
        return tell

    def next_ack(self, partition, after):
        """When the first record that was sent after this moment was acknowledged."""
        return min((a for s, a in self.acks[partition] if s >= after), default=None)

    def longest_gap(self, partition, begin, end):
        times = [begin] + sorted(a for _, a in self.acks[partition] if begin < a < end) + [end]
        return max(b - a for a, b in zip(times, times[1:]))

    def stop(self):
        self.ending = True
        self.thread.join()
        self.producer.flush(60)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def until_quiet(cluster, topic, partitions):
    until(lambda: cluster.healthy([topic], partitions), f"{topic} is in sync again", 180, 0.2)
    time.sleep(1)


def move_leaders_home(cluster):
    """Preferred leaders everywhere (ElectLeaders v0 of all partitions)."""
    brokers, controller, _ = metadata(cluster.any(), [])
    ask(brokers[controller], 43, 0, struct.pack(">ii", -1, 30000), 60)


def lead_by(cluster, topic, broker):
    _, _, found = metadata(cluster.any(), [topic])
    return [index for (_, index), (leader, _, _) in found.items() if leader == broker]


def pick(cluster, number):
    """A broker that is not the controller: its loss is measured by itself."""
    _, controller, _ = metadata(cluster.any(), [])
    return [broker for broker in cluster.addresses() if broker != controller][number % 2]


def hit(cluster, load, broker, number):
    """Sends the signal; the milliseconds until each partition it led took a record sent after that."""
    led = lead_by(cluster, load.topic, broker)
    pid, began = cluster.pid(broker), time.monotonic()
    os.kill(pid, number)
    until(lambda: all(load.next_ack(p, began) for p in led), f"all partitions of broker {broker} take records", 120, 0.01)
    return pid, began, led, [(load.next_ack(p, began) - began) * 1000 for p in led]


def failover(cluster, options, rows):
    partitions = 60 if options.quick else 300
    create_topic(cluster, "failover", partitions)
    load = Steady(cluster, "failover", partitions)
    times, worst = [], []
    for number in range(1 if options.quick else 4):
        broker = pick(cluster, number)
        _, _, led, took = hit(cluster, load, broker, signal.SIGKILL)
        times += took
        worst.append(max(took))
        print(f"  {cluster.name}: broker {broker} killed, {len(led)} leaders: p50 {statistics.median(took):.0f} ms, "
              f"p95 {percentile(took, .95):.0f} ms, last {max(took):.0f} ms", flush=True)
        cluster.restart(broker)
        until_quiet(cluster, "failover", partitions)
        move_leaders_home(cluster)
        until_quiet(cluster, "failover", partitions)
    rows[f"failover, kill -9, {partitions} partitions"] = {
        "p50 ms": statistics.median(times), "p95 ms": percentile(times, .95), "max ms": max(times)}

    gaps, stops, before = [], [], len(load.errors)
    for number in range(1 if options.quick else 3):
        broker = pick(cluster, number)
        led = lead_by(cluster, "failover", broker)
        pid, began = cluster.pid(broker), time.monotonic()
        os.kill(pid, signal.SIGTERM)
        until(lambda: not running(pid), "the broker has stopped", 60, 0.005)
        ended = time.monotonic()
        stops.append((ended - began) * 1000)
        until(lambda: all(load.next_ack(p, ended) for p in led), "its partitions take records", 60, 0.01)
        gaps += [load.longest_gap(p, began, time.monotonic()) * 1000 for p in led]
        print(f"  {cluster.name}: broker {broker} stopped in {stops[-1]:.0f} ms", flush=True)
        cluster.restart(broker)
        until_quiet(cluster, "failover", partitions)
        move_leaders_home(cluster)
        until_quiet(cluster, "failover", partitions)
    rows["controlled shutdown"] = {"signal to end ms": statistics.median(stops), "longest gap p95 ms": percentile(gaps, .95),
                                   "failed records": len(load.errors) - before}

    broker = pick(cluster, 0)
    pid, _, _, took = hit(cluster, load, broker, signal.SIGSTOP)
    rows["dead host (SIGSTOP)"] = {"p95 ms": percentile(took, .95)}
    print(f"  {cluster.name}: broker {broker} stopped dead: p95 {percentile(took, .95):.0f} ms", flush=True)
    os.kill(pid, signal.SIGCONT)
    until_quiet(cluster, "failover", partitions)
    load.stop()
    rows["records that failed for good, in all of this"] = {"count": len(load.errors)}


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def controller_failover(cluster, options, rows):
    wanted, topics, each = options.partitions, [], 1000
    _, _, there = metadata(cluster.any())
    made = 0.0
    while len(there) + each * len(topics) < wanted:
        topics.append(f"many-{len(topics)}")
        made += create_topic(cluster, topics[-1], each, options.replicas, 600)
    rows[f"{len(topics) * each} partitions made"] = {"s": made}
    rows[f"memory, {wanted} partitions"] = {"MiB": cluster.memory()}
    print(f"  {cluster.name}: {len(topics) * each} partitions made in {made:.1f} s", flush=True)
    times = []
    for _ in range(1 if options.quick else 3):
        _, controller, _ = metadata(cluster.any(), [])
        others = [address for broker, address in cluster.addresses().items() if broker != controller]
        os.kill(cluster.pid(controller), signal.SIGKILL)
        began = time.monotonic()

        def taken_over():
            for address in others:
                _, now, _ = metadata(address, [], 30)
                if now in (controller, -1):
                    return False
            _, _, found = metadata(others[0], None, 30)
            return len(found) >= wanted and all(leader not in (controller, -1) or replicas == [controller]
                                                for leader, _, replicas in found.values())

        until(taken_over, "there is a new controller and every partition has a leader", 180, 0.01)
        times.append((time.monotonic() - began) * 1000)
        print(f"  {cluster.name}: controller {controller} killed; the next is done after {times[-1]:.0f} ms", flush=True)
        cluster.restart(controller)
        until(cluster.healthy, "all is in sync again", 300, 0.5)
    rows[f"controller failover, {wanted} partitions"] = {"ms": statistics.median(times)}


class ClusterMemory(Memory):
    def written(self):
        size = 0
        for path in self.data.rglob("*.log"):
            try:
                size += path.stat().st_blocks * 512
            except FileNotFoundError:
                pass
        return size


# ---- Throughput ---------------------------------------------------------------------------------------------------

def java(name, *arguments):
    result = subprocess.run([str(part) for part in (PEERS / "kafka-run", JAVA_TOOLS, name, *arguments)], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{name}: {result.stdout[-1500:]}{result.stderr[-1500:]}")
    return result.stdout


def throughput(cluster, options, rows):
    bootstrap, volume = ",".join(cluster.addresses().values()), options.cluster_mib * MIB

    def measured(name, run):
        with ClusterMemory(cluster.folder, options.cluster_mib * 15 // 4):
            before = cluster.cpu()
            rate, size = run()
        rows[name] = {"MiB/s": rate / MIB, "CPU s/GiB": (cluster.cpu() - before) * GIB / size}
        print(f"  {cluster.name}: {name}: {rows[name]['MiB/s']:.0f} MiB/s, {rows[name]['CPU s/GiB']:.2f} CPU s/GiB", flush=True)

    def produce(topic, size, *pairs):
        def run():
            records = volume // size
            result = subprocess.run([str(x) for x in (OUT / "rdkafka_perf", "produce", bootstrap, topic, records, size, "acks=all", *pairs)],
                                    capture_output=True, text=True)
            if result.returncode:
                raise RuntimeError(result.stderr[-1500:])
            out = json.loads(result.stdout)
            return out["bytes"] / out["seconds"], out["bytes"]
        return run

    def java_produce(topic, size):
        def run():
            records = volume // size
            out = java("kafka-producer-perf-test", "--topic", topic, "--num-records", records, "--record-size", size, "--throughput", -1,
                       "--producer-props", f"bootstrap.servers={bootstrap}", "acks=all", "batch.size=131072", "linger.ms=5")
            rate = float(re.search(r"([\d.]+) records/sec", [x for x in out.splitlines() if "records sent" in x][-1])[1])
            return rate * size, records * size
        return run

    def consume(topic, size):
        def run():
            result = subprocess.run([str(x) for x in (OUT / "rdkafka_perf", "consume", bootstrap, topic, volume // size, 6)],
                                    capture_output=True, text=True)
            if result.returncode:
                raise RuntimeError(result.stderr[-1500:])
            out = json.loads(result.stdout)
            return out["bytes"] / out["seconds"], out["bytes"]
        return run

    create_topic(cluster, "warm-up", 6)
    produce("warm-up", 1024)()
    for name, topic, load in (("librdkafka produce 100 B", "rd-100", produce("rd-100", 100)),
                              ("librdkafka produce 1 KiB", "rd-1024", produce("rd-1024", 1024)),
                              ("Java produce 1 KiB, batch 128 KiB", "java-1024", java_produce("java-1024", 1024))):
        create_topic(cluster, topic, 6)
        measured(name, load)
    measured("librdkafka consume 1 KiB", consume("rd-1024", 1024))
    create_topic(cluster, "latency", 1)
    records = 2000 if options.quick else 10000
    result = subprocess.run([str(x) for x in (OUT / "rdkafka_perf", "latency", bootstrap, "latency", records, 100, "acks=all")], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr[-1500:])
    found = json.loads(result.stdout)
    rows["end to end, librdkafka 100 B"] = {f"{key[:-3]} ms": found[key] for key in ("p50_ms", "p99_ms", "p999_ms")}
    print(f"  {cluster.name}: end to end {rows['end to end, librdkafka 100 B']}", flush=True)
    rows["memory, loaded"] = {"MiB": cluster.memory()}


PARTS = {"replicated": throughput, "failover": failover, "controller": controller_failover}


def turn(kind, part, options, removed):
    """One part on a cluster of its own: {row: {column: value}}."""
    cluster, rows = kind(removed.folder(kind.name)), {}
    try:
        rows["start of the cluster"] = {"ms": cluster.start()}
        if part == "replicated":
            rows["memory, idle"] = {"MiB": cluster.memory()}
        PARTS[part](cluster, options, rows)
        return rows
    except Exception:
        for log in sorted(cluster.folder.rglob("*.log")):
            if log.stat().st_size and "data" not in log.parts[-2]:
                sys.stderr.write(f"--- {log.name}\n" + log.read_text(errors="replace")[-1500:] + "\n")
        raise
    finally:
        cluster.stop()
