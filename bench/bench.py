#!/usr/bin/env python3
"""Weir and Apache Kafka in turn on this machine: same clients, same data, and the ratios.

One node of each (Weir: its coordination service and one broker; Apache Kafka 4.3.1 in KRaft mode), or three (Apache
Kafka 3.9.1 in ZooKeeper mode), with their default settings unless a part says otherwise. They take turns (A B A B ...),
each in a fresh folder; what is printed is the median of the turns, and in brackets the smallest and the largest. CPU is of
the server's processes, user and system, out of /proc, and per GiB of uncompressed records.

Parts:
  single       start, memory, throughput, CPU and latency; what a first version is judged by (about ten minutes)
  matrix       100 B and 1 KiB; 1, 12 and 100 partitions; acks, codecs, linger and keys; Java and librdkafka
  many         50 producers and 50 consumers; 1,000 connections with few messages each
  latency      end to end at 1,000, 10,000 and 50,000 records a second; beside a reader of history; while segments roll
  tls          what TLS costs
  fsync        log.flush.interval.messages=1 with 1, 10 and 100 producers
  kernel       system calls for each MiB (needs perf, and the right to use it)
  life         topics made, memory with 1,000 and 10,000 partitions, back after kill -9
  growth       by partitions, connections, record size, shards
  limits       what the machine does at best: writev, CRC-32C, loopback, sendfile, fdatasync
  replicated   three brokers, replication factor 3, acks=all
  failover     a broker killed, stopped, hung; 300 partitions
  controller   the controller killed; 10,000 partitions
  cluster      the last three

  ./dev bench                              all of it, three turns each (hours)
  ./dev bench single                       one part
  ./dev bench --quick                      all but single's start times in small: does it work, is something far off; judges nothing
  ./dev bench single --loads librdkafka --rounds 5
  ./dev bench failover --server weir --rounds 1
  ./dev bench single limits --write        the tables and charts of docs/benchmarks.md too

Raw results: build/bench/*.json. What is asked of Weir is held against the medians: the exit status is 1 when something is
missed. What it aims at beyond that is shown, and changes no status.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import time

import kit
import report

SINGLE = ["single", "matrix", "many", "latency", "tls", "fsync", "kernel", "life", "growth", "limits"]
CLUSTER = ["replicated", "failover", "controller"]


def run_single(part, options, number, turns):
    import scenarios
    import single
    run = single.turn if part == "single" else getattr(scenarios, part)
    for kind in (kit.Weir, kit.Kafka):
        if options.server in (None, kind.name):
            turns.setdefault(kind.name, []).append(run(kind, options, number))


def run_cluster(part, options, turns, removed):
    import cluster
    for kind in (cluster.Weir, cluster.Kafka):
        if options.server in (None, kind.name):
            turns.setdefault(kind.name, []).append(cluster.turn(kind, part, options, removed))


def measure(options):
    parts, removed = {}, None
    if any(part in CLUSTER for part in options.parts):
        import cluster
        removed = cluster.Removed()
    try:
        for part in options.parts:
            for number in range(1, options.rounds + 1):
                began = time.monotonic()
                turns = parts.setdefault(part, {})
                if part in CLUSTER:
                    run_cluster(part, options, turns, removed)
                else:
                    run_single(part, options, number, turns)
                print(f"== {part}, turn {number} of {options.rounds}: {time.monotonic() - began:.0f} s", flush=True)
            if not any(any(of) for of in turns.values()):
                print(f"== {part}: nothing was measured")
                del parts[part]
    finally:
        if removed:
            removed.remove()
    return parts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="which parts (all)")
    parser.add_argument("--quick", action="store_true", help="one turn each with little data")
    parser.add_argument("--rounds", type=int, help="turns of each (3)")
    parser.add_argument("--mib", type=int, help="MiB of records in each load (512; three brokers: 256)")
    parser.add_argument("--loads", help="of `single` only loads whose name contains this; 'latency' for the latencies")
    parser.add_argument("--partitions", type=int, help="of `controller` (10000)")
    parser.add_argument("--replicas", type=int, default=3, help="of `controller`: their replication factor (3)")
    parser.add_argument("--server", choices=["weir", "kafka"], help="only one of the two, without ratios")
    parser.add_argument("--write", action="store_true", help="write the tables and charts into docs/")
    parser.add_argument("--self-test", action="store_true", help="only test how results are judged and written")
    options = parser.parse_args()
    if options.self_test:
        return report.self_test()
    if unknown := [part for part in options.parts if part not in [*SINGLE, *CLUSTER, "cluster"]]:
        parser.error(f"no part {unknown[0]!r}: {', '.join([*SINGLE, *CLUSTER, 'cluster'])}")
    wanted = options.parts or [*SINGLE, *CLUSTER]
    options.parts = list(dict.fromkeys(name for part in wanted for name in (CLUSTER if part == "cluster" else [part])))
    options.rounds = options.rounds or (1 if options.quick else 3)
    small = not options.mib
    options.mib = options.mib or (64 if options.quick else 512)
    options.cluster_mib = (64 if options.quick else 256) if small else options.mib
    options.partitions = options.partitions or (2000 if options.quick else 10000)
    kit.compile_clients()
    for version in ("4.3.1", "3.9.1"):
        subprocess.run([kit.PEERS / "kafka-home", version], check=True, stdout=subprocess.DEVNULL)
    parts = measure(options)
    commit = subprocess.run(["git", "-C", kit.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    path = kit.OUT / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"commit": commit, "cores": os.cpu_count(), "kernel": platform.release(), "mib": options.mib,
                                "load average": os.getloadavg(), "parts": parts}, indent=1))
    titles = {"weir": "Weir", "kafka": "Apache Kafka"}
    status = report.verdict(parts, titles, options.quick)
    print(f"\n{os.cpu_count()} cores, {options.mib} MiB a load, commit {commit}; raw results: {path.relative_to(kit.ROOT)}")
    if options.write:
        for part, turns in parts.items():
            peer = "3.9.1" if part in CLUSTER else kit.KAFKA
            report.write({part: turns}, {**titles, "kafka": f"Apache Kafka {peer}"},
                         f"`./dev bench {part} --rounds {options.rounds}`, commit {commit}:")
    return status


if __name__ == "__main__":
    sys.exit(main())
