"""Load on a cluster, written down: producers, consumers that follow each partition, consumer groups that commit; and the
reading of everything at the end. It goes through every fault; what the cluster promised is judged by the checker alone."""
import itertools
import random
import threading
import time
from collections import defaultdict

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

import checker
from history import History, id_of, value
from shared import wait_for

# librdkafka's own defaults wait long for a dead broker: what is judged is the server.
QUICK = {"topic.metadata.refresh.fast.interval.ms": 100, "topic.metadata.refresh.interval.ms": 3000, "reconnect.backoff.ms": 50,
         "reconnect.backoff.max.ms": 500, "socket.timeout.ms": 6000, "log_level": 0, "socket.connection.setup.timeout.ms": 3000}


class Stream(threading.Thread):
    """One producer, in a thread: a record each 1/rate seconds to a partition by turns or by chance."""

    def __init__(self, load, name, idempotent, rate, size, config):
        super().__init__(daemon=True, name=name)
        self.load, self.name_, self.idempotent, self.rate, self.size = load, name, idempotent, rate, size
        self.config = {"bootstrap.servers": load.bootstrap, **QUICK, "acks": "all", "linger.ms": 2, "request.timeout.ms": 4000,
                       "retry.backoff.ms": 50, "retry.backoff.max.ms": 500, **config}
        if idempotent:
            self.config |= {"enable.idempotence": True, "message.timeout.ms": 0}
        self.random = random.Random(f"{load.seed} {name}")
        self.sequence, self.generation, self.pending = defaultdict(itertools.count), 0, 0
        self.acked, self.last_ack, self.fatal = 0, {}, []

    def open(self):
        self.generation += 1
        self.label = f"{self.name_}.{self.generation}"
        self.sequence.clear()
        self.load.history.add("producer", producer=self.label, idempotent=self.idempotent)
        return Producer({**self.config, "error_cb": lambda error: None})

    def report(self, id, where):
        def callback(error, message):
            self.pending -= 1
            if error is None:
                offset = message.offset()
                self.load.history.now("ack", id=id, offset=offset if offset is not None and offset >= 0 else -1)
                self.acked += 1
                self.last_ack[where] = time.monotonic()
            else:
                self.load.history.now("unknown", id=id, error=error.name())
        return callback

    def run(self):
        producer, next_time = self.open(), time.monotonic()
        while not self.load.stopping.is_set():
            if self.load.paused.is_set() or time.monotonic() < next_time or self.pending > 2000:
                producer.poll(0.01)
                continue
            next_time = max(next_time + 1 / self.rate, time.monotonic() - 0.2)
            where = self.random.choice(self.load.where)
            number = next(self.sequence[where])
            id = f"{self.label}-{where[0]}-{where[1]}-{number}"
            self.load.history.now("invoke", id=id, producer=self.label, sequence=number, topic=where[0], partition=where[1])
            try:
                self.pending += 1
                size = self.random.choice([30, self.size, self.size, 5 * self.size])
                producer.produce(where[0], value(id, size), partition=where[1], on_delivery=self.report(id, where))
            except BufferError:
                self.pending -= 1
                self.load.history.now("fail", id=id)
            except KafkaException as error:
                self.pending -= 1
                self.load.history.now("fail", id=id)
                if error.args[0].code() == KafkaError._FATAL or error.args[0].fatal():
                    # An idempotent producer that cannot go on: librdkafka says so when a sequence has a hole.
                    self.fatal.append(str(error))
                    self.load.history.now("fault", what=f"{self.label} ended: {error}")
                    producer.purge()
                    producer.poll(0)
                    producer = self.open()
            producer.poll(0)
        producer.flush(self.load.flush_seconds)


class Follower(threading.Thread):
    """A consumer without a group that reads every partition from the beginning and stays at its end."""

    def __init__(self, load, name, config):
        super().__init__(daemon=True, name=name)
        self.load, self.name_ = load, name
        self.config = {"bootstrap.servers": load.bootstrap, **QUICK, "group.id": name, "enable.auto.commit": False,
                       "auto.offset.reset": "error", "fetch.wait.max.ms": 100, "fetch.error.backoff.ms": 50,
                       "check.crcs": True, **config}
        self.next = dict.fromkeys(load.where, 0)
        self.told, self.resets, self.count = {}, [], 0

    def run(self):
        history, consumer = self.load.history, Consumer(self.config)
        consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in self.load.where])
        next_marks, next_assign, again = 0, 0, False
        try:
            while not self.load.stopping.is_set():
                if again and time.monotonic() >= next_assign:  # it insists on where it is
                    next_assign, again = time.monotonic() + 0.5, False
                    consumer.assign([TopicPartition(*where, offset) for where, offset in self.next.items()])
                for message in consumer.consume(500, 0.1):
                    error = message.error()
                    if error is None:
                        where = (message.topic(), message.partition())
                        history.now("read", consumer=self.name_, topic=where[0], partition=where[1], offset=message.offset(),
                                    id=id_of(message.value()))
                        self.next[where] = message.offset() + 1
                        self.count += 1
                    elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION):
                        # Told that what it has read is not there any more. The final reading says whether that is true.
                        where = (message.topic(), message.partition())
                        self.resets.append(f"{self.name_} at {where} {self.next.get(where)}: {error}")
                        history.now("fault", what=f"{self.name_} was told at {where[0]}-{where[1]} {self.next[where]}: {error}")
                        again = True
                if time.monotonic() >= next_marks:
                    next_marks = time.monotonic() + 0.5
                    self.marks(consumer)
        finally:
            consumer.close()

    def marks(self, consumer):
        """The high watermarks that fetches told."""
        for where in self.load.where:
            try:
                low, high = consumer.get_watermark_offsets(TopicPartition(*where), cached=True) or (0, -1)
            except KafkaException:
                continue
            if high is not None and high > self.told.get(where, 0):
                self.told[where] = high
                self.load.history.now("hw", topic=where[0], partition=where[1], offset=high)


class Member(threading.Thread):
    """A member of a group that commits what it has read, and asks at each start what the group had."""

    def __init__(self, load, group, name, config):
        super().__init__(daemon=True, name=name)
        self.load, self.group = load, group
        self.config = {"bootstrap.servers": load.bootstrap, **QUICK, "group.id": group, "enable.auto.commit": False,
                       "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
                       "max.poll.interval.ms": 60000, "fetch.wait.max.ms": 100, "fetch.error.backoff.ms": 50, **config}
        self.positions, self.commits, self.asked, self.ended = {}, 0, None, threading.Event()

    def on_assign(self, consumer, partitions):
        self.positions.clear()
        ask(self.load.history, self.group, consumer, partitions, tries=1)

    def on_revoke(self, consumer, partitions):
        self.commit(consumer)
        self.positions.clear()

    def commit(self, consumer):
        """Asks for a commit of what was read; the answer comes by `on_commit`. One at a time: librdkafka sends those that
        failed again behind later ones."""
        if not self.positions or self.asked:
            return
        offsets = [TopicPartition(*where, offset) for where, offset in self.positions.items()]
        self.positions.clear()
        self.asked = (round(time.monotonic(), 4), {(p.topic, p.partition): p.offset for p in offsets})
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException:
            self.on_commit(True, [])

    def on_commit(self, error, partitions):
        if self.asked is None:
            return
        good = {(p.topic, p.partition) for p in partitions if not error and p.error is None}
        (asked, offsets), self.asked, now = self.asked, None, round(time.monotonic(), 4)
        for where, offset in offsets.items():
            self.note(where, offset, asked, now if where in good else None)
        self.commits += bool(good)

    def note(self, where, offset, asked, acked):
        self.load.history.add("commit", group=self.group, topic=where[0], partition=where[1], offset=offset, t=asked, acked=acked)

    def run(self):
        consumer = Consumer({**self.config, "on_commit": lambda error, partitions: self.on_commit(error, partitions)})
        consumer.subscribe(self.load.topics, on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=lambda *_: self.positions.clear())
        next_commit = 0
        while not self.load.stopping.is_set():
            for message in consumer.consume(500, 0.1):
                if message.error() is None:
                    self.positions[message.topic(), message.partition()] = message.offset() + 1
            if time.monotonic() >= next_commit:
                next_commit = time.monotonic() + 0.3
                self.commit(consumer)
        end = time.monotonic() + 10
        while self.asked and time.monotonic() < end:
            consumer.consume(1, 0.1)
        if self.asked:
            for where, offset in self.asked[1].items():
                self.note(where, offset, self.asked[0], None)
        self.asked = None
        self.ended.set()
        consumer.close()


def ask(history, group, consumer, partitions, tries=30):
    """Writes down what the group's offsets are."""
    plain = [TopicPartition(p.topic, p.partition) for p in partitions]
    for _ in range(tries):
        asked = round(time.monotonic(), 4)
        try:
            answers = consumer.committed(plain, timeout=10)
        except KafkaException:
            continue
        if any(a.error for a in answers):
            continue
        for a in answers:
            history.now("committed", group=group, topic=a.topic, partition=a.partition, offset=max(a.offset, -1), asked=asked)
        return True
    return False


class Load:
    """All of it. `start`, faults, then `finish`, which gives the checker's report."""

    def __init__(self, cluster, topics, seed=1, idempotent=2, plain=1, followers=2, groups=1, members=2, rate=60, size=100,
                 producer=None, consumer=None, history=None):
        self.cluster, self.seed, self.bootstrap = cluster, seed, cluster.bootstrap
        self.topics = [t.name for t in topics]
        self.where = [(t.name, p) for t in topics for p in range(t.partitions)]
        self.history = history or History(cluster.folder / "history.jsonl")
        cluster.on_event = self.tell(cluster.on_event)
        self.stopping, self.paused, self.flush_seconds = threading.Event(), threading.Event(), 60
        self.streams = [Stream(self, f"i{n}", True, rate, size, {"compression.type": "lz4" if n else "none", **(producer or {})})
                        for n in range(idempotent)]
        self.streams += [Stream(self, f"p{n}", False, rate, size, {"message.timeout.ms": 8000, **(producer or {})}) for n in range(plain)]
        self.followers = [Follower(self, f"follower{n}", consumer or {}) for n in range(followers)]
        self.groups = [f"group{n}" for n in range(groups)]
        self.members = [Member(self, g, f"{g}-{n}", {"partition.assignment.strategy": "cooperative-sticky" if i % 2 else "range"})
                        for i, g in enumerate(self.groups) for n in range(members)]

    def tell(self, before):
        def event(what):
            self.history.fault(what)
            if before:
                before(what)
        return event

    def start(self):
        for thread in [*self.streams, *self.followers, *self.members]:
            thread.start()
        self.wait_acked()
        return self

    @property
    def acked(self):
        return sum(s.acked for s in self.streams)

    @property
    def read(self):
        return sum(f.count for f in self.followers)

    def wait_acked(self, seconds=90, where=None):
        """Every partition (or those named) has an acknowledgement of a record that was asked for from now on, or nearly:
        what was in flight does not count."""
        began = time.monotonic()
        wanted = set(where or self.where)

        def done():
            left = wanted - {w for s in self.streams for w, t in s.last_ack.items() if t > began + 0.05}
            return not left
        try:
            wait_for(done, "every partition takes records", seconds, 0.02)
        except AssertionError:
            left = sorted(wanted - {w for s in self.streams for w, t in s.last_ack.items() if t > began})
            raise AssertionError(f"in {seconds} s no record was acknowledged in {left[:8]} ({len(left)} partitions)") from None
        return time.monotonic() - began

    def wait_commits(self, seconds=90):
        """Every group has a commit acknowledged from now on."""
        before = {g: sum(m.commits for m in self.members if m.group == g) for g in self.groups}
        wait_for(lambda: all(sum(m.commits for m in self.members if m.group == g) > n for g, n in before.items()),
                 "every group commits", seconds)

    def wait_followed(self, seconds=90):
        """The followers have read up to where the log was when this began."""
        ends = self.ends()
        wait_for(lambda: all(f.next[w] >= ends[w][1] for f in self.followers for w in self.where), "followers are at the end", seconds)

    def ends(self, seconds=60):
        """(start, next) of each partition, as its leader says."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, **QUICK, "group.id": "ends"})
        result = {}

        def ask_all():
            for where in self.where:
                if where not in result:
                    try:
                        result[where] = consumer.get_watermark_offsets(TopicPartition(*where), timeout=5)
                    except KafkaException:
                        return False
            return True
        try:
            wait_for(ask_all, "leaders tell their logs' ends", seconds)
        finally:
            consumer.close()
        return result

    def quiesce(self, seconds=120):
        """Ends the load, with the cluster whole again: producers get their last answers, consumers read to the end."""
        self.paused.set()
        wait_for(lambda: all(s.pending == 0 for s in self.streams), "producers have all their answers", seconds)
        self.wait_followed(seconds)
        self.stopping.set()
        for thread in [*self.streams, *self.followers]:
            thread.join(90)
            assert not thread.is_alive(), f"{thread.name} does not end"
        for member in self.members:  # leaving a group is librdkafka's affair, and it takes its time when a coordinator was lost
            assert member.ended.wait(90), f"{member.name} does not end"

    def read_all(self, seconds=120):
        """Everything, by a consumer of its own."""
        ends = self.ends()
        consumer = Consumer({"bootstrap.servers": self.bootstrap, **QUICK, "group.id": "final", "enable.auto.commit": False,
                             "auto.offset.reset": "error", "check.crcs": True})
        consumer.assign([TopicPartition(*where, ends[where][0]) for where in self.where])
        left = {w for w in self.where if ends[w][1] > ends[w][0]}
        last, late = "", time.monotonic() + seconds
        try:
            while left:
                for message in consumer.consume(2000, 0.2):
                    if message.error():
                        last = str(message.error())
                        continue
                    where = (message.topic(), message.partition())
                    if message.offset() < ends[where][1]:
                        self.history.now("read", consumer="final", topic=where[0], partition=where[1], offset=message.offset(),
                                         id=id_of(message.value()))
                    if message.offset() >= ends[where][1] - 1:
                        left.discard(where)
                assert time.monotonic() < late, f"not read to the end in {seconds} s: {sorted(left)[:8]} {last}"
        finally:
            consumer.close()
        for where, (start, end) in ends.items():
            self.history.now("end", topic=where[0], partition=where[1], start=start, next=end)

    def ask_groups(self):
        for group in self.groups:
            consumer = Consumer({"bootstrap.servers": self.bootstrap, **QUICK, "group.id": group})
            try:
                assert ask(self.history, group, consumer, [TopicPartition(*w) for w in self.where]), f"nobody tells the offsets of {group}"
            finally:
                consumer.close()

    def finish(self, replicas=True):
        """With the cluster whole: ends the load, reads everything from the leaders, stops the brokers and reads what each
        has on its disk. Raises the checker's report if it is bad."""
        self.cluster.wait_in_sync(self.topics)
        self.quiesce()
        self.cluster.wait_in_sync(self.topics)
        self.read_all()
        self.ask_groups()
        if replicas:
            view = self.cluster.view(self.topics).topics
            brokers = [b for b in self.cluster.brokers.values() if b.alive]
            self.cluster.stop()
            for broker in brokers:
                mine = {w for w in self.where if broker.id in view[w[0]].partitions[w[1]].replicas}
                self.history.replicas(broker.id, broker.data, mine)
        self.history.close()
        report = checker.check(checker.read_history(self.history.path))
        fatal = [text for s in self.streams for text in s.fatal]
        assert report.good and not fatal, f"{report}\n{fatal}\nhistory: {self.history.path}"
        problems = self.cluster.problems()
        assert not problems, problems[:10]
        return report

    def abandon(self):
        """After a failure: ends the threads without waiting for a cluster that may be gone."""
        self.flush_seconds = 0
        self.stopping.set()
        end = time.monotonic() + 15
        for thread in [*self.streams, *self.followers, *self.members]:
            if thread.is_alive():
                thread.join(max(0.1, end - time.monotonic()))
        self.history.close()
