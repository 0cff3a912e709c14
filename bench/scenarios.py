"""One broker beside one, each part of it on a server of its own: many loads, many clients, latency, TLS, fsync, growth.

A part is a function of (kind of server, options, number of the turn) that gives {row: {column: value}}. A row whose values
only one server has (a shard count is Weir's) is shown without a ratio.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from kit import MIB, OUT, Memory, Tls, create_topic, java_consume, java_produce, leaders, measure, program, raw_load, rdkafka, until

RATES = (1000, 10000, 50000)


@contextlib.contextmanager
def serving(kind, properties=None, tls=None):
    server = kind(OUT / f"run-{kind.name}", properties, tls)
    try:
        server.start()
        yield server
    except Exception:
        server.show_logs()
        raise
    finally:
        server.stop()


def warm(server, options):
    """Not measured: the JVM compiles what is hot, and both have their files and memory in hand."""
    create_topic(server.port, "warm-up", 6)
    for size in (100, 1024):
        rdkafka("produce", server, "warm-up", options.mib * MIB // 4 // size, size)
    rdkafka("consume", server, "warm-up", options.mib * MIB // 4 // 1024, 6)


def tell(number, kind, name, columns):
    print(f"  turn {number} {kind.name}: {name}: " + ", ".join(f"{value:.3g} {column}" for column, value in columns.items()), flush=True)


# ---- Loads of every kind ------------------------------------------------------------------------------------------

def mixes(quick):
    """[(name, size, partitions, Java's?, settings)]: everything as usual but one thing, for both sizes and both clients."""
    usual = {"partitions": 12, "acks": "all", "codec": "none", "linger": 5, "keys": 0}
    changes = [{}, {"partitions": 1}, {"partitions": 100}, {"acks": "1"}, {"codec": "lz4"}, {"codec": "zstd"}, {"linger": 0}, {"keys": 100000}]
    out = []
    for client in ("librdkafka", "Java"):
        for size in (100, 1024):
            for change in changes[::3] if quick else changes:
                if client == "Java" and "keys" in change:
                    continue  # its perf tool has none
                name = "".join(f", {key} {value}" for key, value in change.items()).replace("codec ", "")
                out.append((f"{client} {size} B{name}", client, size, {**usual, **change}))
    return out


def matrix(kind, options, number):
    rows = {}
    with serving(kind) as server:
        warm(server, options)
        for at, (name, client, size, how) in enumerate(mixes(options.quick)):
            topic, volume = f"mix-{at}", options.mib * MIB // 2
            records = volume // size
            create_topic(server.port, topic, how["partitions"])

            def produce():
                if client == "Java":
                    extra = [f"acks={how['acks']}", f"compression.type={how['codec']}", f"linger.ms={how['linger']}"]
                    return java_produce(server, topic, size, records, 131072 if how["linger"] else 16384, extra), records * size
                pairs = [f"acks={how['acks']}", f"compression.codec={how['codec']}", f"linger.ms={how['linger']}"]
                pairs += [f"bench.keys={how['keys']}"] if how["keys"] else []
                result = rdkafka("produce", server, topic, records, size, *pairs)
                return result["bytes"] / result["seconds"], result["bytes"]

            def consume():
                if client == "Java":
                    return java_consume(server, topic, size, records), records * size
                result = rdkafka("consume", server, topic, records, how["partitions"])
                return result["bytes"] / result["seconds"], result["bytes"]

            with Memory(server.folder / "data", options.mib * 3 // 4):
                rows[f"produce {name}"] = measure(server, produce)
            tell(number, kind, f"produce {name}", rows[f"produce {name}"])
            if not ("acks" in name or "linger" in name or "keys" in name):
                rows[f"consume {name}"] = measure(server, consume)
                tell(number, kind, f"consume {name}", rows[f"consume {name}"])
    return rows


def many(kind, options, number):
    """Many clients, and many connections that each do little."""
    rows = {}
    with serving(kind) as server:
        warm(server, options)
        create_topic(server.port, "many", 100)
        records = options.mib * MIB // 2 // 100

        def crowd():
            result = rdkafka("many", server, "many", 50, records, 100, 100)
            return result["bytes"] / result["seconds"], result["bytes"]

        name = "50 producers and 50 consumers, 100 B"
        rows[name] = measure(server, crowd)
        tell(number, kind, name, rows[name])
        create_topic(server.port, "few", 12)
        for count, rate in ((1000, 2000), (1000, 0)):
            before, memory = server.cpu(), server.memory()
            result = raw_load(server, "few", 12, count, rate, 3 if options.quick else 10, 100)
            name = f"{count} connections, " + (f"{rate} requests/s" if rate else "as many requests as go")
            rows[name] = {"requests/s": result["requests"] / result["seconds"], "p50 ms": result["p50_ms"], "p99 ms": result["p99_ms"],
                          "CPU us/request": (server.cpu() - before) * 1e6 / result["requests"]}
            if rate:
                rows[name]["memory MiB"] = server.memory() - memory
            tell(number, kind, name, rows[name])
    return rows


# ---- Latency ------------------------------------------------------------------------------------------------------

def forget(folder):
    """Takes what the server has written out of the page cache, so that it is read from the disk."""
    os.sync()
    for path in folder.rglob("*.log"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def reading_history(server, records):
    over = threading.Event()

    def read():
        while not over.is_set():
            forget(server.folder / "data")
            rdkafka("consume", server, "history", records, 6)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join()


def paced(server, topic, rate, seconds):
    result = rdkafka("paced", server, topic, rate, seconds, 100, 12, "linger.ms=0", "acks=all")
    return {f"{label} ms": result[f"{key}_ms"] for key, label in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"), ("p9999", "p99.99"))}


def latency(kind, options, number):
    rows, seconds = {}, 3 if options.quick else 15
    with serving(kind) as server:
        warm(server, options)
        create_topic(server.port, "paced", 12)
        for rate in RATES:
            name = f"{rate} records/s"
            rows[name] = paced(server, "paced", rate, seconds)
            tell(number, kind, name, rows[name])
        create_topic(server.port, "history", 6)
        records = options.mib * MIB // 1024
        rdkafka("produce", server, "history", records, 1024)
        with reading_history(server, records):
            name = "10000 records/s, another reads history from disk"
            rows[name] = paced(server, "paced", 10000, seconds)
        tell(number, kind, name, rows[name])
        create_topic(server.port, "rolling", 12, {"segment.bytes": MIB})
        name = "10000 records/s, segments of 1 MiB roll"
        rows[name] = paced(server, "rolling", 10000, seconds)
        tell(number, kind, name, rows[name])
    return rows


# ---- TLS, fsync ---------------------------------------------------------------------------------------------------

def tls(kind, options, number):
    rows, authority = {}, Tls(OUT / "tls")
    with serving(kind, tls=authority) as server:
        warm(server, options)
        records, wall = options.mib * MIB // 1024, {}
        for name, port, pairs in (("plaintext", server.port, []), ("TLS", server.tls_port, authority.client_pairs())):
            create_topic(server.port, f"tls-{name}", 6)

            def produce():
                result = rdkafka("produce", server, f"tls-{name}", records, 1024, *pairs, port=port)
                return result["bytes"] / result["seconds"], result["bytes"]

            def consume():
                result = rdkafka("consume", server, f"tls-{name}", records, 6, *pairs, port=port)
                return result["bytes"] / result["seconds"], result["bytes"]

            for what, load in (("produce", produce), ("consume", consume)):
                with Memory(server.folder / "data", options.mib * 5 // 4 if what == "produce" else 0):
                    wall[what, name] = rows[f"{what} 1 KiB, {name}"] = measure(server, load)
                tell(number, kind, f"{what} 1 KiB, {name}", wall[what, name])
        for what in ("produce", "consume"):
            cost = wall[what, "TLS"]["CPU s/GiB"] - wall[what, "plaintext"]["CPU s/GiB"]
            rows[f"{what} 1 KiB, what TLS costs"] = {"CPU s/GiB": cost}
    return rows


def fsync(kind, options, number):
    """Each record on the disk before it is acknowledged: log.flush.interval.messages=1."""
    rows = {}
    with serving(kind, {"log.flush.interval.messages": 1}) as server:
        create_topic(server.port, "synced", 12)
        raw_load(server, "synced", 12, 10, 0, 2, 100)  # not measured
        for count in (1, 10, 100):
            before = server.cpu()
            result = raw_load(server, "synced", 12, count, 0, 2 if options.quick else 8, 100)
            name = f"{count} producers, fsync before each answer"
            rows[name] = {"requests/s": result["requests"] / result["seconds"], "p50 ms": result["p50_ms"], "p99 ms": result["p99_ms"],
                          "CPU us/request": (server.cpu() - before) * 1e6 / result["requests"]}
            tell(number, kind, name, rows[name])
    return rows


# ---- What it costs the kernel -------------------------------------------------------------------------------------

def calls_during(server, load):
    """(what the load gives, system calls of the server meanwhile); None where perf may not count them."""
    if not shutil.which("perf"):
        return load(), None
    pids = ",".join(str(process.pid) for process in server.processes)
    counter = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids], stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)  # until it is attached: nothing of it can be waited for
    try:
        result = load()
    finally:
        counter.send_signal(signal.SIGINT)
        text = counter.communicate()[1]
    found = re.search(r"^(\d+),", text, re.M)
    return result, int(found[1]) if found else None


def kernel(kind, options, number):
    """System calls for each MiB in and out."""
    rows = {}
    with serving(kind) as server:
        warm(server, options)
        for size in (100, 1024):
            topic, records = f"calls-{size}", options.mib * MIB // size
            create_topic(server.port, topic, 6)
            for what, load in (("produce", lambda: rdkafka("produce", server, topic, records, size)),
                               ("consume", lambda: rdkafka("consume", server, topic, records, 6))):
                result, calls = calls_during(server, load)
                if calls is not None:
                    rows[f"{what} {size} B"] = {"system calls/MiB": calls * MIB / result["bytes"]}
                    tell(number, kind, f"{what} {size} B", rows[f"{what} {size} B"])
    return rows


# ---- A server's life ----------------------------------------------------------------------------------------------

def life(kind, options, number):
    """Topics made, memory with many partitions, and how long it is back after kill -9."""
    rows, topics = {}, 100 if options.quick else 1000
    with serving(kind) as server:
        rows["memory, no partition"] = {"MiB": server.memory()}
        began = time.monotonic()
        for i in range(topics):
            create_topic(server.port, f"topic-{i}", 10, wait=0)
            if i + 1 == topics // 10:
                until(lambda: leaders(server.port, f"topic-{topics // 10 - 1}") == 10, "the partitions are led", 120, 0.01)
                rows[f"memory, {topics} partitions"] = {"MiB": server.memory()}
        until(lambda: leaders(server.port, f"topic-{topics - 1}") == 10, "the partitions are led", 300, 0.01)
        rows[f"{topics} topics of 10 partitions made"] = {"topics/s": topics / (time.monotonic() - began)}
        rows[f"memory, {topics * 10} partitions"] = {"MiB": server.memory()}
        create_topic(server.port, "kept", 6)
        rdkafka("produce", server, "kept", options.mib * MIB // 1024, 1024)
        broker = server.processes.pop()
        broker.kill()
        broker.wait()
        began = time.monotonic()
        server.start_broker()
        until(lambda: leaders(server.port, "kept") == 6, "the partitions are led again", 300, 0.005)
        rows[f"back after kill -9, {topics * 10} partitions"] = {"ms": (time.monotonic() - began) * 1000}
        for name, columns in rows.items():
            tell(number, kind, name, columns)
    return rows


# ---- How cost grows -----------------------------------------------------------------------------------------------

def growth(kind, options, number):
    """Curves: the row's name is "x: value", by which the charts find them."""
    rows = {}

    def put(name, columns):
        rows[name] = columns
        tell(number, kind, name, columns)

    with serving(kind) as server:
        warm(server, options)
        for count in (1, 100, 1000) if options.quick else (1, 10, 100, 1000, 10000):
            memory = server.memory()
            for part in range(max(1, count // 1000)):
                create_topic(server.port, f"wide-{count}-{part}", min(count, 1000), wait=120)
            topic, volume = f"wide-{count}-0", options.mib * MIB // 4

            def load():
                result = rdkafka("produce", server, topic, volume // 1024, 1024, "linger.ms=5")
                return result["bytes"] / result["seconds"], result["bytes"]

            put(f"partitions: {count}", {**measure(server, load), "memory MiB": server.memory() - memory})
    with serving(kind) as server:
        warm(server, options)
        create_topic(server.port, "crowd", 12)
        for count in (1, 100, 1000) if options.quick else (1, 10, 100, 1000, 5000, 10000):
            before, memory = server.cpu(), server.memory()
            result = raw_load(server, "crowd", 12, count, 0, 3, 100)
            put(f"connections: {count}", {"requests/s": result["requests"] / result["seconds"], "p50 ms": result["p50_ms"], "p99 ms": result["p99_ms"],
                                          "CPU us/request": (server.cpu() - before) * 1e6 / result["requests"], "memory MiB": server.memory() - memory})
    with serving(kind, {"message.max.bytes": 4 * MIB, "replica.fetch.max.bytes": 4 * MIB}) as server:
        warm(server, options)
        for size in (10, 100, 1024, 10240, 102400, MIB):
            topic = f"size-{size}"
            create_topic(server.port, topic, 6)
            records = min(options.mib * MIB // 2 // size, 5_000_000)

            def load():
                result = rdkafka("produce", server, topic, records, size, f"message.max.bytes={3 * MIB}")
                return result["bytes"] / result["seconds"], result["bytes"]

            put(f"record bytes: {size}", measure(server, load))
    if kind.name == "weir":
        for shards in (1, 2):
            with serving(kind, {"weir.shards": shards}) as server:
                warm(server, options)
                create_topic(server.port, "shards", 12)

                def load():
                    result = rdkafka("produce", server, "shards", options.mib * MIB // 100, 100)
                    return result["bytes"] / result["seconds"], result["bytes"]

                put(f"shards: {shards}", measure(server, load))
    return rows


def limits(kind, options, number):
    """What the machine can do at best; the same for whoever uses it, so it is measured in Weir's turn alone."""
    if kind.name != "weir":
        return {}
    found = program("limits", OUT, options.mib)
    for name, columns in found.items():
        tell(number, kind, name, columns)
    return {f"limit: {name}": columns for name, columns in found.items()}
