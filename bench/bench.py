#!/usr/bin/env python3
"""Weir and Apache Kafka in turn on this machine: same clients, same data, and the ratios.

Both run with their default settings, one node each: Weir as its coordination service and one broker, Apache Kafka in
KRaft mode. They take turns (A B A B ...), each turn in a fresh folder; what is printed is the median of the turns, and
in brackets the smallest and the largest. CPU is of the server's processes, user and system, out of /proc, and per GiB
of uncompressed records. A load that is not measured goes before the others, for the JVM's sake. Raw results:
build/bench/*.json. What is asked of Weir is held against the medians: the exit status is 1 when something is missed.

  ./dev bench             three turns each, about ten minutes
  ./dev bench --quick     one short turn each: does it work, is something far off; judges nothing
  ./dev bench --only librdkafka --rounds 5
"""
import argparse
import json
import os
import platform
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


def create_topic(port, name, partitions):
    body = struct.pack(">i", 1) + string(name) + struct.pack(">ihii", partitions, 1, 0, 0) + struct.pack(">ib", 30000, 0)
    answer = ask(port, 19, 2, body, 40)
    error, = struct.unpack(">h", answer[8 + 2 + len(name):][:2])
    if error:
        raise RuntimeError(f"topic {name}: error {error}")
    until(lambda: leaders(port, name) == partitions, f"{name} has leaders", 30)


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
    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.port, self.second = free_ports(2)
        self.processes = []

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
    name = "weir"

    def start(self):
        """Starts all of it in an empty folder; ({name of a time: milliseconds})."""
        began = time.monotonic()
        self.spawn("zookeeper", WEIR, "zookeeper", "--data", self.folder / "zookeeper", "--listen", f"127.0.0.1:{self.second}")
        until(lambda: socket.create_connection(("127.0.0.1", self.second), 1).close() is None, "the coordination service listens")
        (self.folder / "server.properties").write_text(
            f"broker.id=1\nlisteners=PLAINTEXT://127.0.0.1:{self.port}\nzookeeper.connect=127.0.0.1:{self.second}\n"
            f"log.dirs={self.folder}/data\noffsets.topic.replication.factor=1\n")
        middle = time.monotonic()
        self.spawn("broker", WEIR, "broker", "--config", self.folder / "server.properties")
        until(lambda: answers(self.port), "the broker answers")
        end = time.monotonic()
        return {"start, all": (end - began) * 1000, "start, broker": (end - middle) * 1000}


class Kafka(Server):
    name = "kafka"

    def start(self):
        (self.folder / "server.properties").write_text(
            f"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{self.second}\n"
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.second}\n"
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}\ncontroller.listener.names=CONTROLLER\n"
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n"
            f"log.dirs={self.folder}/data\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n"
            "transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n"
            "share.coordinator.state.topic.min.isr=1\n")
        subprocess.run([PEERS / "kafka-run", KAFKA, "kafka-storage", "format", "-t", "K3Jd0aSgRBWmDb5qXnX1cA", "-c",
                        self.folder / "server.properties"], check=True, capture_output=True)
        began = time.monotonic()
        self.spawn("broker", PEERS / "kafka-run", KAFKA, "kafka-server-start", self.folder / "server.properties")
        until(lambda: answers(self.port), "the broker answers")
        took = (time.monotonic() - began) * 1000
        return {"start, all": took, "start, broker": took}


# ---- Loads --------------------------------------------------------------------------------------------------------

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


def rdkafka(mode, server, topic, records, number, *pairs):
    result = subprocess.run([str(part) for part in (OUT / "rdkafka_perf", mode, f"127.0.0.1:{server.port}", topic, records, number, *pairs)],
                            capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"rdkafka_perf {mode}: {result.stderr[-1500:]}")
    return json.loads(result.stdout)


def measure(server, load):
    """Runs a load that gives bytes per second and the bytes: (MiB/s, server CPU seconds per GiB)."""
    before = server.cpu()
    rate, size = load()
    return {"MiB/s": rate / MIB, "CPU s/GiB": (server.cpu() - before) * GIB / size}


def loads(volume):
    """[(name, topic it fills or reads, function of (server, topic) that gives (bytes/s, bytes))]."""
    def produce(size, batch, linger):
        records = volume // size
        extra = (f"linger.ms={linger}",) if linger else ()
        return lambda server, topic: (java_produce(server, topic, size, records, batch, extra), records * size)

    def consume(size):
        records = volume // size
        return lambda server, topic: (java_consume(server, topic, size, records), records * size)

    def rd_produce(size, *pairs):
        def run(server, topic):
            result = rdkafka("produce", server, topic, volume // size, size, *pairs)
            return result["bytes"] / result["seconds"], result["bytes"]
        return run

    def rd_consume(size):
        def run(server, topic):
            result = rdkafka("consume", server, topic, volume // size, PARTITIONS)
            return result["bytes"] / result["seconds"], result["bytes"]
        return run

    return [
        ("Java produce 100 B, batch 16 KiB", "java-100-16", produce(100, 16384, 0)),
        ("Java produce 100 B, batch 128 KiB", "java-100-128", produce(100, 131072, 5)),
        ("Java produce 1 KiB, batch 16 KiB", "java-1024-16", produce(1024, 16384, 0)),
        ("Java produce 1 KiB, batch 128 KiB", "java-1024-128", produce(1024, 131072, 5)),
        ("Java consume 100 B", "java-100-16", consume(100)),
        ("Java consume 1 KiB", "java-1024-128", consume(1024)),
        ("librdkafka produce 100 B", "rd-100", rd_produce(100)),
        ("librdkafka produce 1 KiB", "rd-1024", rd_produce(1024)),
        ("librdkafka produce 100 B, lz4", "rd-lz4", rd_produce(100, "compression.codec=lz4")),
        ("librdkafka consume 100 B", "rd-100", rd_consume(100)),
        ("librdkafka consume 1 KiB", "rd-1024", rd_consume(1024)),
        ("librdkafka consume 100 B, lz4", "rd-lz4", rd_consume(100)),
    ]


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


def turn(kind, options, number):
    """One server's turn: everything that is measured, as {row: {column: value}}."""
    starts = []
    for _ in range(0 if options.quick else 2):  # one more comes below
        server = kind(OUT / f"run-{kind.name}")
        try:
            starts.append(server.start())
        finally:
            server.stop()
    server, rows = kind(OUT / f"run-{kind.name}"), {}
    try:
        starts.append(server.start())
        for name in starts[0]:
            rows[name] = {"ms": statistics.median(start[name] for start in starts)}
        time.sleep(2)
        rows["memory, idle"] = {"MiB": server.memory()}
        before = server.cpu()
        time.sleep(1 if options.quick else 5)
        rows["CPU, idle"] = {"% of a core": (server.cpu() - before) * 100 / (1 if options.quick else 5)}
        # Not measured: the JVM compiles what is hot, and both have their files and memory in hand.
        create_topic(server.port, "warm-up", PARTITIONS)
        for size in (100, 1024):
            rdkafka("produce", server, "warm-up", options.mib * MIB // 4 // size, size)
        rdkafka("consume", server, "warm-up", options.mib * MIB // 4 // 1024, PARTITIONS)
        made = set()
        for name, topic, load in loads(options.mib * MIB):
            if options.only and options.only.lower() not in name.lower():
                continue
            if topic not in made:
                create_topic(server.port, topic, PARTITIONS)
                made.add(topic)
                if "consume" in name:  # its producer was left out
                    size = 1024 if "1 KiB" in name else 100
                    rdkafka("produce", server, topic, options.mib * MIB // size, size)
            with Memory(server.folder / "data", options.mib * 5 // 4 if "produce" in name else 0):
                rows[name] = measure(server, lambda: load(server, topic))
            print(f"  turn {number} {kind.name}: {name}: {rows[name]['MiB/s']:.0f} MiB/s, {rows[name]['CPU s/GiB']:.2f} CPU s/GiB", flush=True)
        if not options.only or "latency" in options.only:
            records = 2000 if options.quick else 10000
            create_topic(server.port, "latency-java", 1)
            create_topic(server.port, "latency-rd", 1)
            rows["end to end, Java 100 B"] = java_latency(server, "latency-java", records)
            result = rdkafka("latency", server, "latency-rd", records, 100)
            rows["end to end, librdkafka 100 B"] = {key: result[key] for key in ("p50_ms", "p99_ms", "p999_ms")}
            print(f"  turn {number} {kind.name}: end to end {rows['end to end, librdkafka 100 B']}", flush=True)
        rows["memory, loaded"] = {"MiB": server.memory()}
        return rows
    except Exception:
        for log in sorted(server.folder.glob("*.log")):
            sys.stderr.write(f"--- {log.name}\n" + log.read_text(errors="replace")[-2000:])
        raise
    finally:
        server.stop()


# ---- The report ---------------------------------------------------------------------------------------------------

def spread(values):
    shown = (lambda v: f"{v:.0f}") if statistics.median(values) >= 20 else (lambda v: f"{v:.2f}")
    text = shown(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({shown(min(values))}..{shown(max(values))})"


def report(turns):
    print(f"\n{'':36}{'':12}{'Weir':>24}{'Apache Kafka ' + KAFKA:>26}{'Weir/Kafka':>12}")
    ratios = {}
    for row in turns["weir"][0]:
        for column in turns["weir"][0][row]:
            values = {kind: [t[row][column] for t in turns[kind]] for kind in turns}
            medians = {kind: statistics.median(v) for kind, v in values.items()}
            ratio = medians["weir"] / medians["kafka"] if medians["kafka"] else float("nan")
            ratios[f"{row} {column}"] = (medians["weir"], medians["kafka"], ratio)
            print(f"{row:36}{column:12}{spread(values['weir']):>24}{spread(values['kafka']):>26}{ratio:>12.2f}")
    return ratios


def missed(ratios):
    """Says of each goal whether it is met; how many are not."""
    print("\nWhat is asked:")
    count = 0

    def goal(what, value, limit):
        nonlocal count
        met = value <= limit  # not a number is none
        count += not met
        print(f"  {'met   ' if met else 'MISSED'}  {what}: {value:.2f}, at most {limit}")

    for key, (_, _, ratio) in ratios.items():
        if key.endswith("CPU s/GiB"):
            goal(f"{key}, of Kafka's", ratio, 0.5 if "produce" in key else 1.0)
    goal("ms from exec to the first answer, all of it", ratios["start, all ms"][0], 100)
    goal("MiB resident, idle", ratios["memory, idle MiB"][0], 30)
    return count


def self_test():
    """The verdict itself: each goal alone missed is an exit status of 1."""
    good = {"produce, acks=1 CPU s/GiB": (1, 2, 0.5), "consume CPU s/GiB": (1, 1, 1.0), "start, all ms": (100, 1, 1),
            "memory, idle MiB": (30, 1, 1), "produce, acks=1 MiB/s": (1, 100, 0.01)}

    def turns(change=None):
        values = {**{key: value[:2] for key, value in good.items()}, **(change or {})}
        out = {"weir": [{}], "kafka": [{}]}
        for key, (weir, kafka) in values.items():
            column = next(name for name in ("CPU s/GiB", "MiB/s", "MiB", "ms") if key.endswith(" " + name))
            row = key.removesuffix(" " + column)
            out["weir"][0].setdefault(row, {})[column] = weir
            out["kafka"][0].setdefault(row, {})[column] = kafka
        return out

    assert verdict(turns(), quick=False) == 0
    for worse in ({"produce, acks=1 CPU s/GiB": (1.1, 2)}, {"consume CPU s/GiB": (1.1, 1)}, {"start, all ms": (101, 1)},
                  {"memory, idle MiB": (31, 1)}):
        assert verdict(turns(worse), quick=False) == 1, worse
        assert verdict(turns(worse), quick=True) == 0, worse
    assert verdict(turns({"consume CPU s/GiB": (1, 0)}), quick=False) == 1, "nothing measured of Kafka"


def verdict(turns, quick):
    """Prints the comparison; the exit status."""
    ratios = report(turns)
    return 0 if quick or missed(ratios) == 0 else 1


def compile_client():
    OUT.mkdir(parents=True, exist_ok=True)
    source, program = ROOT / "bench/rdkafka_perf.c", OUT / "rdkafka_perf"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["clang-19", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source, "-lrdkafka"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one turn each with little data")
    parser.add_argument("--rounds", type=int, help="turns of each (3)")
    parser.add_argument("--mib", type=int, help="MiB of records in each load (512)")
    parser.add_argument("--only", help="only loads whose name contains this; 'latency' for the latencies")
    parser.add_argument("--server", choices=["weir", "kafka"], help="only one of the two, without ratios")
    parser.add_argument("--self-test", action="store_true", help="only test how results are judged")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.mib = options.mib or (128 if options.quick else 512)
    compile_client()
    subprocess.run([PEERS / "kafka-home", KAFKA], check=True, stdout=subprocess.DEVNULL)
    kinds = [kind for kind in (Weir, Kafka) if options.server in (None, kind.name)]
    turns = {kind.name: [] for kind in kinds}
    for number in range(1, options.rounds + 1):
        for kind in kinds:
            turns[kind.name].append(turn(kind, options, number))
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    result = {"commit": commit, "kafka": KAFKA, "cores": os.cpu_count(), "kernel": platform.release(), "mib": options.mib,
              "partitions": PARTITIONS, "load average": os.getloadavg(), "turns": turns}
    path = OUT / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(result, indent=1))
    status = verdict(turns, options.quick) if len(kinds) == 2 else 0
    print(f"\n{os.cpu_count()} cores, {options.mib} MiB a load, {PARTITIONS} partitions, commit {commit}; raw results: {path.relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
