#!/usr/bin/env python3
"""Where a broker's processor time goes under one load: by room of the source, by system call, by function.

Weir alone, `perf record` on the broker's process while the load runs (perf, and the right to use it, are needed; the
release build keeps frame pointers for this). A sample counts for the system call it is in, else for the room (src/ROOM) of
the innermost function of Weir's on its stack; what is neither is the kernel's own work (interrupts, page faults) or a
library's.

  ./dev profile produce-1k            librdkafka, records of 1 KiB, six partitions
  ./dev profile produce-100 --mib 2048 --top 40
  ./dev profile requests              1,000 connections, each with requests of one record

Loads: LOADS
"""
import argparse
import collections
import re
import subprocess
import sys
import threading
import time

import kit
from scenarios import serving, warm


def produce(size, *pairs):
    return lambda server, mib: kit.rdkafka("produce", server, "profiled", mib * kit.MIB // size, size, *pairs)


def java_produce(size, batch, linger):
    return lambda server, mib: kit.java_produce(server, "profiled", size, mib * kit.MIB // size, batch, (f"linger.ms={linger}",))


def consume(size):
    def run(server, mib):
        kit.rdkafka("consume", server, "profiled", mib * kit.MIB // size, 6)
    run.before = produce(size)
    return run


LOADS = {
    "produce-100": produce(100),
    "produce-1k": produce(1024),
    "produce-lz4": produce(100, "compression.codec=lz4"),
    "java-produce-small": java_produce(100, 16384, 0),
    "java-produce-large": java_produce(1024, 131072, 5),
    "consume-100": consume(100),
    "consume-1k": consume(1024),
    "requests": lambda server, mib: kit.raw_load(server, "profiled", 6, 1000, 0, 8, 100),
    "latency": lambda server, mib: kit.rdkafka("paced", server, "profiled", 10000, 10, 100, 6, "linger.ms=0"),
    "crowd": lambda server, mib: kit.rdkafka("many", server, "profiled", 6, mib * kit.MIB // 100, 100, 6),
}


def samples(data):
    """Each sample's stack, the innermost function first."""
    text = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym", "--demangle"], check=True, capture_output=True, text=True, errors="replace").stdout
    for block in text.split("\n\n"):
        stack = [line.strip().split(" ", 1)[1] if " " in line.strip() else "?" for line in block.splitlines() if line.strip()]
        if stack:
            yield stack


def place(stack):
    for frame in stack:
        if call := re.match(r"__(?:x64_|arm64_)?sys_(\w+)|(?:do|ksys)_(p?writev|p?readv|pwrite64|pread64|read|write|sendfile)$", frame.split("+")[0]):
            return f"kernel: {call[1] or call[2]}"
    for frame in stack:
        if room := re.search(r"\bweir::(\w+)::", frame):
            return f"room {room[1]}" if room[1] not in ("Task",) else "room runtime"
        if frame.startswith("weir::"):
            return "room base"
    inner = stack[0]
    if re.match(r"(asm_|irq|do_softirq|handle_|net_rx|exc_|sysvec|finish_task|schedule|__schedule)", inner) or "softirq" in " ".join(stack):
        return "kernel: interrupts, page faults"
    return "libraries and the rest"


def show(title, counts, total, top):
    print(f"\n{title}")
    for name, count in counts.most_common(top):
        print(f"  {count * 100 / total:5.1f} %  {name[:150]}")


def profile(name, options):
    run = LOADS[name]
    data = kit.OUT / f"{name}.perf"
    options.quick = True
    with serving(kit.Weir) as server:
        warm(server, options)
        kit.create_topic(server.port, "profiled", 6)
        if hasattr(run, "before"):
            run.before(server, options.mib)
        before, result = server.cpu(), {}

        def load():
            with kit.Memory(server.folder / "data", options.mib * 5 // 4 if "produce" in name else 0):
                result["value"] = run(server, options.mib)

        loader = threading.Thread(target=load)
        broker = server.processes[-1].pid
        record = subprocess.Popen(["perf", "record", "-q", "-F", "1999", "-g", "-p", str(broker), "-o", data], stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)  # until it is attached: nothing of it can be waited for
        if record.poll() is not None:
            raise RuntimeError(f"perf record: {record.stderr.read().strip()}")
        loader.start()
        loader.join()
        used = server.cpu() - before
        record.send_signal(2)
        record.wait()
    places, functions, total = collections.Counter(), collections.Counter(), 0
    for stack in samples(data):
        total += 1
        places[place(stack)] += 1
        functions[stack[0]] += 1
    if not total:
        raise RuntimeError("perf took no sample")
    print(f"{name}: {options.mib} MiB, {used:.2f} CPU s of the servers, {total} samples of the broker; raw: {data.relative_to(kit.ROOT)}")
    show("By room and system call", places, total, options.top)
    show("By function", functions, total, options.top)


def main():
    parser = argparse.ArgumentParser(description=__doc__.replace("LOADS", ", ".join(LOADS)), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("load", choices=list(LOADS), metavar="LOAD")
    parser.add_argument("--mib", type=int, default=1024, help="MiB of records (1024)")
    parser.add_argument("--top", type=int, default=25, help="lines of each list (25)")
    options = parser.parse_args()
    kit.compile_clients()
    profile(options.load, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
