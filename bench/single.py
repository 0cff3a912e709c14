"""One broker beside one: start, memory, throughput, CPU and latency as a first version is judged by."""
import statistics
import time

from kit import MIB, OUT, PARTITIONS, Memory, create_topic, java_consume, java_latency, java_produce, measure, rdkafka


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
            if options.loads and options.loads.lower() not in name.lower():
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
        if not options.loads or "latency" in options.loads:
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
        server.show_logs()
        raise
    finally:
        server.stop()
