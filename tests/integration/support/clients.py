"""librdkafka through confluent-kafka, with the waiting that tests want."""
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from .wait import wait_for


_admins = {}


def admin(server):
    """One admin client a server, kept: its answers are lost with the handle."""
    if server.bootstrap not in _admins:
        _admins[server.bootstrap] = AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0})
    return _admins[server.bootstrap]


def done(futures):
    """The results of an admin call; the first failure is raised."""
    return {key: future.result(30) for key, future in futures.items()}


def create_topic(server, name, partitions=1, **config):
    client = admin(server)
    done(client.create_topics([NewTopic(name, partitions, 1, config={k.replace("_", "."): str(v) for k, v in config.items()})]))
    wait_for(lambda: len(known := client.list_topics(name, timeout=10).topics[name].partitions) == partitions
             and all(p.leader >= 0 and not p.error for p in known.values()), f"{name} has leaders")
    return name


def produce(server, topic, values, *, keys=None, partition=None, **config):
    """Produces and waits for every acknowledgement; gives [(partition, offset)] in the order of the values."""
    producer = Producer({"bootstrap.servers": server.bootstrap, "acks": "all", **dotted(config)})
    acknowledged, errors = {}, []

    def report(i):
        def callback(error, message):
            if error:
                errors.append(error)
            else:
                acknowledged[i] = (message.partition(), message.offset())
        return callback

    for i, value in enumerate(values):
        extra = {} if partition is None else {"partition": partition}
        while True:
            try:
                producer.produce(topic, value, keys[i] if keys else None, on_delivery=report(i), **extra)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(60)
    assert not errors and left == 0, (errors[:3], left)
    return [acknowledged[i] for i in range(len(values))]


def dotted(config):
    return {key if key.endswith("_cb") else key.replace("_", "."): value for key, value in config.items()}


def led(consumer, topic):
    """The topic's partitions, once all of them have leaders (after a restart that takes a moment)."""
    def check():
        known = consumer.list_topics(topic, 30).topics[topic]
        return not known.error and known.partitions and all(p.leader >= 0 and not p.error for p in known.partitions.values()) \
            and sorted(known.partitions)

    return wait_for(check, f"{topic} has leaders")


def read(server, topic, count, *, partition=None, offset=OFFSET_BEGINNING, seconds=60, **config):
    """The first `count` messages from `offset` of one partition, or of all of them."""
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": "reader", "enable.auto.commit": False,
                         "auto.offset.reset": "error", **dotted(config)})
    try:
        partitions = [partition] if partition is not None else led(consumer, topic)
        consumer.assign([TopicPartition(topic, p, offset) for p in partitions])
        messages, end = [], time.monotonic() + seconds
        while len(messages) < count:
            for message in consumer.consume(count - len(messages), 0.5):
                assert not message.error(), message.error()
                messages.append(message)
            assert time.monotonic() < end, f"{len(messages)} of {count} messages of {topic} in {seconds} s"
        return messages
    finally:
        consumer.close()


def values(messages):
    return [message.value() for message in messages]


def watermarks(server, topic, partition=0):
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": "watermarks"})
    try:
        led(consumer, topic)
        return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
    finally:
        consumer.close()


class Member:
    """A member of a consumer group that notes what it is given and what it reads."""

    def __init__(self, server, group, topics, **config):
        self.assigned, self.revoked, self.lost, self.messages, self.rebalances = set(), [], [], [], 0
        self.consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                                  "session.timeout.ms": 6000, "heartbeat.interval.ms": 200, "enable.auto.commit": False,
                                  "log_level": 0, **dotted(config)})
        self.cooperative = config.get("partition_assignment_strategy") == "cooperative-sticky"
        self.consumer.subscribe(topics, on_assign=self.on_assign, on_revoke=self.on_revoke)

    def on_assign(self, consumer, partitions):
        self.rebalances += 1
        if self.cooperative:
            consumer.incremental_assign(partitions)
        else:
            self.assigned.clear()
            consumer.assign(partitions)
        self.assigned |= {(p.topic, p.partition) for p in partitions}

    def on_revoke(self, consumer, partitions):
        gone = {(p.topic, p.partition) for p in partitions}
        self.revoked.append(gone)
        if self.cooperative:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
        self.assigned -= gone

    def poll(self, seconds=0.05):
        for message in self.consumer.consume(500, seconds):
            if not message.error():
                self.messages.append(message)
        return self

    def close(self):
        self.consumer.close()


def poll_until(members, condition, what, seconds=40):
    """Polls all members in turn until the condition holds."""
    def step():
        for member in members:
            member.poll()
        return condition()

    return wait_for(step, what, seconds, pause=0)


__all__ = ["TopicPartition", "NewTopic", "Consumer", "Producer", "AdminClient"]
