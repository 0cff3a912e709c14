"""Random faults from a seed against a cluster under load, for minutes or hours, then the checker's verdict.

    ./dev chaos --minutes 10 --seed 7                          three brokers of Weir
    ./dev chaos --brokers weir,3.9.1,2.2.1 --zookeeper 3.9.1   a mixed cluster (--config inter.broker.protocol.version=2.2)

The seed decides which faults come in which order and how long each stays; when exactly they strike is the machine's.
"""
import argparse
import json
import os
import random
import sys
import threading
import time
import traceback

from cluster import KAFKA, Cluster, Topic
from operations import InBackground, Tree, create_topics, delete_topics
from shared import BUILD, WEIR, raise_descriptor_limit, wait_for
from workload import Load

TOPICS = [Topic("orders", 12), Topic("events", 12), Topic("rare", 6)]


class Chaos:
    def __init__(self, cluster, load, seed, quiet_seconds):
        self.cluster, self.load, self.quiet_seconds = cluster, load, quiet_seconds
        self.random = random.Random(seed)
        self.made = 0

    def faults(self):
        """What can be done here: name, weight."""
        faults = {"kill": 6, "kill_all": 1, "kill_two": 2, "stop": 3, "pause": 4, "pause_all": 1, "slow_disk": 3, "broken_disk": 1,
                  "clock": 3, "kill_controller": 3, "pause_controller": 2, "zookeeper_kill": 2, "zookeeper_pause": 2,
                  "make_topics": 2, "drop_topics": 1, "move": 3, "elect": 2}
        if self.cluster.network.isolated:
            faults |= {"cut_peers": 3, "cut_zookeeper": 3, "cut_both": 3, "cut_one_way": 4, "cut_off": 3, "cut_pair": 2}
        return faults

    def broker(self):
        return self.random.choice(list(self.cluster.brokers.values()))

    def step(self):
        """One fault, or two at once; they stay a while; then all is mended, and now and then the cluster gets time to be
        whole before the next."""
        weights = self.faults()
        for _ in range(self.random.choice([1, 1, 1, 2, 2, 3])):
            name, = self.random.choices(list(weights), list(weights.values()))
            try:
                getattr(self, name)()
            except (OSError, AssertionError) as error:
                self.cluster.note(f"{name} could not be done: {error}")  # the cluster is in no state for it
            self.stay(self.random.choice([0.1, 0.5, 1, 3]))
        self.stay(self.random.choice([0.2, 1, 3, 6, 10]))
        if self.random.random() < 0.85:
            self.cluster.recover()
            if self.random.random() < 0.6:
                self.cluster.wait_known(self.quiet_seconds)
                self.load.wait_acked(self.quiet_seconds)
            if self.random.random() < 0.4:
                self.cluster.wait_in_sync(self.load.topics, self.quiet_seconds)

    def stay(self, seconds):
        """How long a fault lasts: the one place where time is waited for."""
        time.sleep(seconds)

    def kill(self):
        self.broker().kill()

    def kill_two(self):
        for broker in self.random.sample(list(self.cluster.brokers.values()), 2):
            broker.kill()

    def kill_all(self):
        for broker in self.cluster.brokers.values():
            broker.kill()

    def stop(self):
        broker = self.broker()
        if broker.alive and not broker.paused:
            broker.term()

    def pause(self):
        self.broker().pause()

    def pause_all(self):
        for broker in self.cluster.brokers.values():
            broker.pause()

    def kill_controller(self):
        self.cluster.controller(5).kill()

    def pause_controller(self):
        self.cluster.controller(5).pause()

    def slow_disk(self):
        broker, ms = self.broker(), self.random.choice([5, 50, 300])
        self.cluster.note(f"slow disk of {broker.name}: {ms} ms")
        broker.faults.slow_disk(write_ms=ms, sync_ms=4 * ms)

    def broken_disk(self):
        broker = self.broker()
        self.cluster.note(f"writes fail at {broker.name}")
        broker.faults.broken_disk()
        self.stay(2)
        broker.kill()  # as an operator would; with its disk mended it starts again

    def clock(self):
        broker, seconds = self.broker(), self.random.choice([-3600, -60, -5, 5, 60, 3600])
        self.cluster.note(f"the clock of {broker.name} jumps by {seconds} s")
        broker.faults.clock(seconds)

    def zookeeper_kill(self):
        self.random.choice(self.cluster.zookeepers).kill()

    def zookeeper_pause(self):
        for zk in self.cluster.zookeepers if self.random.random() < 0.3 else [self.random.choice(self.cluster.zookeepers)]:
            zk.pause()

    def cut_peers(self):
        broker = self.broker()
        self.cluster.cut(broker, *self.cluster.peers(broker))

    def cut_zookeeper(self):
        self.cluster.cut(self.broker(), *self.cluster.zookeepers)

    def cut_both(self):
        broker = self.broker()
        self.cluster.cut(broker, *self.cluster.peers(broker), *self.cluster.zookeepers)

    def cut_off(self):
        self.cluster.cut_off(self.broker())

    def cut_pair(self):
        self.cluster.cut(*self.random.sample(list(self.cluster.brokers.values()), 2))

    def cut_one_way(self):
        a = self.broker()
        b = self.random.choice([*self.cluster.peers(a), *self.cluster.zookeepers])
        self.cluster.cut_one_way(*((a, b) if self.random.random() < 0.5 else (b, a)))

    def make_topics(self):
        names = [f"extra-{self.made + i}" for i in range(5)]
        self.made += 5
        self.cluster.note("create 5 topics")
        InBackground(lambda: create_topics(self.cluster, names))

    def drop_topics(self):
        if self.made:
            self.cluster.note("delete topics")
            names = [f"extra-{self.random.randrange(self.made)}" for _ in range(3)]
            InBackground(lambda: delete_topics(self.cluster, names))

    def move(self):
        moves = {}
        for topic, partition in self.random.sample(self.load.where, 4):
            replicas = list(self.cluster.brokers)
            self.random.shuffle(replicas)
            moves[topic, partition] = replicas[:self.random.choice([2, 3, 3])]

        def ask():
            with Tree(self.cluster) as tree:
                if not tree.reassigning():
                    tree.reassign(moves)
        self.cluster.note(f"move {moves}")
        InBackground(ask)

    def elect(self):
        """Leaders back to the first replicas, as kafka-leader-election asks."""
        def ask():
            with Tree(self.cluster) as tree:
                tree.zk.create("/admin/preferred_replica_election", json.dumps({"version": 1, "partitions": [
                    {"topic": t, "partition": p} for t, p in self.load.where]}).encode())
        self.cluster.note("elect preferred leaders")
        InBackground(ask)


def settle(cluster, load, seconds):
    """Everything mended and every partition on all three again."""
    cluster.recover(seconds)
    cluster.wait_known(seconds)
    with Tree(cluster) as tree:
        wait_for(lambda: not tree.reassigning(), "reassignments ended", seconds, 0.2)
        short = {(t, p): list(cluster.brokers)[:3] for t, p in load.where if len(tree.assignment(t)[p]) < 3}
        if short:
            tree.reassign(short)
            wait_for(lambda: not tree.reassigning(), "the last reassignment ended", seconds, 0.2)
    load.wait_acked(seconds)


def arguments(argv):
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="how long faults come (5)")
    parser.add_argument("--seed", type=int, help="the same faults in the same order; chosen and printed without it")
    parser.add_argument("--brokers", default="weir,weir,weir", help="weir or a version of Apache Kafka, one for each broker")
    parser.add_argument("--zookeeper", default=None, help="weir, or a version of Apache Kafka whose ZooKeeper is used")
    parser.add_argument("--ensemble", type=int, default=1, help="how many nodes of ZooKeeper")
    parser.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="a key of every broker's configuration")
    parser.add_argument("--rate", type=float, default=60, help="records a second of each of three producers (60)")
    parser.add_argument("--patience", type=float, default=120, help="seconds that a mended cluster has to be whole (120)")
    parser.add_argument("--keep", action="store_true", help="keep the folder, also of a good run")
    return parser.parse_args(argv)


def main(argv):
    options = arguments(argv)
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(3), "big")
    brokers = options.brokers.split(",")
    zookeeper = options.zookeeper or ("weir" if "weir" in brokers and options.ensemble == 1 else KAFKA)
    if "weir" in [*brokers, zookeeper] and not WEIR.exists():
        print(f"chaos: {WEIR} is not there: ./dev build", file=sys.stderr)
        return 2
    replay = f"./dev chaos --minutes {options.minutes:g} --seed {seed} --brokers {options.brokers} --zookeeper {zookeeper}"
    replay += f" --ensemble {options.ensemble}" if options.ensemble > 1 else ""
    replay += "".join(f" --config {c}" for c in options.config)
    raise_descriptor_limit()
    BUILD.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(what):
        print(f"{time.monotonic() - began:7.1f}  {what}", flush=True)

    say(f"seed {seed}: {', '.join(brokers)} on ZooKeeper of {zookeeper}" + (f" x {options.ensemble}" if options.ensemble > 1 else ""))
    verdict, good, load, over = "", False, None, threading.Event()
    with Cluster(brokers, zookeeper, options.ensemble, dict(c.split("=", 1) for c in options.config), name=f"chaos-{seed}", on_event=say) as cluster:
        if not cluster.network.isolated:
            say("without root there are no network faults")
        try:
            cluster.start()
            cluster.create(*TOPICS)
            load = Load(cluster, TOPICS, seed=seed, rate=options.rate).start()
            chaos, end, faults_began = Chaos(cluster, load, seed, options.patience), time.monotonic() + options.minutes * 60, time.monotonic()

            def progress():
                while not over.wait(10):
                    say(f"-- {time.monotonic() - faults_began:.0f} of {options.minutes * 60:.0f} s: {load.acked} acknowledged, {load.read} read, "
                        f"{load.history.counts['unknown']} unknown, {load.history.counts['fault']} events")

            threading.Thread(target=progress, daemon=True).start()
            while time.monotonic() < end:
                chaos.step()
            say("-- the faults are over")
            settle(cluster, load, options.patience)
            report = load.finish()
            verdict, good = str(report), True
        except KeyboardInterrupt:
            verdict = "interrupted"
        except (AssertionError, RuntimeError, OSError) as failure:
            verdict = "".join(traceback.format_exception_only(failure))
            if not isinstance(failure, AssertionError):
                verdict = traceback.format_exc()
        finally:
            over.set()
            if load:
                load.abandon()
    print(verdict)
    if good and not options.keep:
        cluster.remove()
    else:
        print(f"history and logs: {cluster.folder}")
    print(("good" if good else "BAD") + f" after {(time.monotonic() - began) / 60:.1f} minutes; again: {replay}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
