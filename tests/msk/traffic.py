"""Producers and consumers that go on while a cluster changes, and the count of their records."""
import itertools
import os
import subprocess
import threading
from collections import Counter

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from support.tools import JAVA, PEERS
from support.wait import wait_for

EACH_SECOND = 50


def secure(bootstrap, ca):
    if ca is None:
        return {"bootstrap.servers": bootstrap, "log_level": 0}
    return {"bootstrap.servers": bootstrap, "security.protocol": "ssl", "ssl.ca.location": str(ca), "log_level": 0}


def missing_or_twice(sent, seen):
    """Sentences, none when each record came once."""
    lost, more = Counter(sent) - Counter(seen), Counter(seen) - Counter(sent)
    return [f"lost: {sorted(lost)[:5]}"] * bool(lost) + [f"seen more than once: {sorted(more)[:5]}"] * bool(more)


class Traffic:
    """A thread that sends records until it is told to end, and one that reads them."""

    def __init__(self):
        self.sent, self.seen, self.errors = [], [], []
        self.ended = threading.Event()
        self.writer = threading.Thread(target=self._guarded, args=(self._write,), daemon=True)
        self.reader = threading.Thread(target=self._guarded, args=(self._read,), daemon=True)

    def start(self):
        self.writer.start()
        self.reader.start()
        wait_for(lambda: self.errors or len(self.seen) >= 10, "records flow", seconds=60)
        return self

    def _guarded(self, work):
        try:
            work()
        except Exception as error:  # a thread's exception is the test's
            self.errors.append(repr(error))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.close()

    def beat(self):
        """Numbers, EACH_SECOND of them, until the end."""
        for i in itertools.count():
            if self.ended.wait(1 / EACH_SECOND):
                return
            yield str(i)

    def finish(self):
        """Ends it; gives how many records there were, each of which was seen once."""
        self.ended.set()
        self.writer.join(90)
        wait_for(lambda: self.errors or len(self.seen) >= len(self.sent), "all that was sent is seen", seconds=60)
        assert not self.errors, self.errors[:3]
        assert not missing_or_twice(self.sent, self.seen)
        return len(self.sent)


class Console(Traffic):
    """Kafka 2.2.1's console producer, idempotent with acks=all, and its console consumer, on partition 0 of a topic."""

    def __init__(self, bootstrap, properties, topic, log, before):
        super().__init__()
        self.sent = list(before)  # the topic has them already
        self.out = open(log, "wb")
        sure = ["--request-required-acks", "all", "--message-send-max-retries", 2147483647, "--request-timeout-ms", 30000,
                "--producer-property", "enable.idempotence=true", "--producer-property", "delivery.timeout.ms=120000",
                "--timeout", 5, "--producer.config", properties]
        self.producer = self._tool("kafka-console-producer", "--broker-list", bootstrap, "--topic", topic, *sure)
        self.consumer = self._tool("kafka-console-consumer", "--bootstrap-server", bootstrap, "--topic", topic, "--partition", 0,
                                   "--offset", "earliest", "--consumer.config", properties)

    def _tool(self, name, *arguments):
        return subprocess.Popen([str(part) for part in (PEERS / "kafka-run", "2.2.1", name, *arguments)], env={**os.environ, **JAVA},
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.out, text=True, bufsize=1)

    def _write(self):
        for value in self.beat():
            self.producer.stdin.write(f"{value}\n")
            self.sent.append(value)
        self.producer.stdin.close()  # it sends what it has, and ends
        if code := self.producer.wait(90):
            self.errors.append(f"the console producer ended with {code}")

    def _read(self):
        for line in self.consumer.stdout:
            self.seen.append(line.strip())

    def close(self):
        for tool in (self.producer, self.consumer):
            if tool.poll() is None:
                tool.terminate()
            tool.wait(30)
        if self.reader.is_alive():
            self.reader.join(30)
        self.out.close()


class Library(Traffic):
    """librdkafka, idempotent, on all partitions of a topic of its own."""

    PARTITIONS = 6

    def __init__(self, bootstrap, ca, topic, copies=3):
        super().__init__()
        self.topic, self.closed = topic, threading.Event()
        self.how = secure(bootstrap, ca)
        admin = AdminClient(self.how)  # its answers are lost with the handle
        for made in admin.create_topics([NewTopic(topic, self.PARTITIONS, copies)]).values():
            made.result(30)

    def _write(self):
        producer = Producer({**self.how, "enable.idempotence": True, "acks": "all", "linger.ms": 0})

        def report(error, _):
            if error:
                self.errors.append(f"not acknowledged: {error}")

        for value in self.beat():
            producer.produce(self.topic, value, on_delivery=report)
            self.sent.append(value)
            producer.poll(0)
        if left := producer.flush(90):
            self.errors.append(f"{left} records are not acknowledged")

    def _read(self):
        consumer = Consumer({**self.how, "group.id": "walk", "enable.auto.commit": False, "auto.offset.reset": "error"})
        consumer.assign([TopicPartition(self.topic, p, OFFSET_BEGINNING) for p in range(self.PARTITIONS)])
        while not self.closed.is_set():
            for message in consumer.consume(500, 0.2):
                if not message.error():
                    self.seen.append(message.value().decode())
                elif message.error().fatal() or message.error().code() == KafkaError._AUTO_OFFSET_RESET:
                    self.errors.append(f"consumer: {message.error()}")  # others pass; the count says what they cost
        consumer.close()

    def close(self):
        self.closed.set()
        if self.reader.is_alive():
            self.reader.join(30)


def held(bootstrap, ca, topic):
    """How many records the partitions of a topic hold."""
    consumer = Consumer({**secure(bootstrap, ca), "group.id": "held"})
    try:
        found = consumer.list_topics(topic, 30).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30) for p in found]
        return sum(high - low for low, high in ends)
    finally:
        consumer.close()
