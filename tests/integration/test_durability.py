"""What was acknowledged is there: after a stop, after kill -9, after a torn write; and goes when retention says so."""
import random
import struct
import threading
import time

import pytest
from confluent_kafka import OFFSET_END, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from support import wire
from support.clients import admin, create_topic, produce, read, values, watermarks
from support.ports import free_port
from support.wait import wait_for


def test_restart_keeps_records_topics_and_configs(make_server, name):
    server = make_server()
    create_topic(server, name, partitions=3, retention_ms=7654321)
    sent = [f"value {i}".encode() for i in range(3000)]
    produce(server, name, sent, keys=sent, compression_type="zstd")
    before = [watermarks(server, name, p) for p in range(3)]
    cluster = admin(server).describe_cluster().result(20).cluster_id
    assert server.stop_broker() in (0, 143)  # a JVM ends with 128 + SIGTERM
    server.start_broker()
    assert [watermarks(server, name, p) for p in range(3)] == before
    assert sorted(values(read(server, name, 3000))) == sorted(sent)
    assert admin(server).describe_cluster().result(20).cluster_id == cluster
    assert produce(server, name, [b"more"], partition=0)[0] == (0, before[0][1])
    future = next(iter(admin(server).describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()))
    assert future.result(20)["retention.ms"].value == "7654321"


def test_restart_of_everything(make_server, name):
    """Broker and coordination service stop and start: topics, ids and records are there."""
    server = make_server()
    create_topic(server, name)
    produce(server, name, [b"x"] * 10)
    server.stop_broker()
    server.zookeeper.stop()
    server.start()
    assert watermarks(server, name) == (0, 10)


class Load:
    """Threads that produce numbered records without a pause and note what was acknowledged."""

    def __init__(self, server, topic, threads=2, **config):
        self.server, self.topic, self.config = server, topic, config
        self.acknowledged, self.running = [set() for _ in range(threads)], True
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, which):
        producer = Producer({"bootstrap.servers": self.server.bootstrap, "acks": "all", "linger.ms": 1, "log_level": 0,
                             "message.timeout.ms": 60000, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20,
                             "batch.num.messages": 100, **self.config})
        mine, i = self.acknowledged[which], 0
        while self.running:
            value = f"{which}-{i}"
            try:
                producer.produce(self.topic, value.encode(), str(i % 50).encode(),
                                 on_delivery=lambda error, _, v=value: None if error else mine.add(v))
                i += 1
            except BufferError:
                pass
            producer.poll(0.001 if i % 50 == 0 else 0)
        producer.flush(60)

    def count(self):
        return sum(map(len, self.acknowledged))

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join(90)
        return set().union(*self.acknowledged)


@pytest.mark.parametrize("idempotent", [False, True], ids=["plain", "idempotent"])
def test_kill_under_load_loses_nothing(make_server, name, idempotent):
    """kill -9 of the broker, again and again, while producers write: each acknowledged record is there, the
    idempotent producer's exactly once and in order."""
    server = make_server({"log.segment.bytes": 1_000_000})
    create_topic(server, name, partitions=4)
    load = Load(server, name, **{"enable.idempotence": idempotent, "compression.type": "lz4" if idempotent else "none"})
    for _ in range(3):
        had = load.count()
        wait_for(lambda: load.count() > had + 20_000, "the load goes on", 60)
        server.kill_broker()
        server.start_broker()
    had = load.count()
    wait_for(lambda: load.count() > had, "the load goes on", 60)
    acknowledged = load.stop()
    total = sum(watermarks(server, name, p)[1] for p in range(4))
    messages = read(server, name, total, seconds=120)
    got = [m.value().decode() for m in messages]
    assert acknowledged - set(got) == set(), "acknowledged and lost"
    if idempotent:
        assert len(got) == len(set(got)), "written twice"
        for p in range(4):
            for which in ("0-", "1-"):
                numbers = [int(m.value().decode()[2:]) for m in messages if m.partition() == p and m.value().decode().startswith(which)]
                assert numbers == sorted(numbers)
    for p in range(4):
        assert [m.offset() for m in messages if m.partition() == p] == list(range(watermarks(server, name, p)[1]))


def test_a_torn_write_is_cut_off(make_server, name):
    """After kill -9 the last segment ends in half a batch and in rubbish: every whole batch stays, the rest goes."""
    server = make_server({"log.segment.bytes": 100_000})
    create_topic(server, name, partitions=2)
    for partition in (0, 1):
        produce(server, name, [f"{i}".encode() * 20 for i in range(1000)], partition=partition, batch_num_messages=10)
    server.kill_broker()
    half = wire.batch([b"never acknowledged"])
    with open(server.segments(name, 0)[-1], "ab") as log:
        log.write(struct.pack(">q", 1000) + half[8:-5])
    with open(server.segments(name, 1)[-1], "ab") as log:
        log.write(random.Random(1).randbytes(5000))
    for index in server.partition_folder(name, 0).glob("*.index"):
        index.write_bytes(b"\xff" * 80)  # indexes are made anew from the log
    server.start_broker()
    for partition in (0, 1):
        assert watermarks(server, name, partition) == (0, 1000)
        assert values(read(server, name, 1000, partition=partition)) == [f"{i}".encode() * 20 for i in range(1000)]
        assert produce(server, name, [b"next"], partition=partition) == [(partition, 1000)]


def test_lost_indexes_are_made_again(make_server, name):
    server = make_server({"log.segment.bytes": 50_000})
    create_topic(server, name)
    for i in range(20):
        produce(server, name, [b"x" * 500] * 20)
    server.stop_broker()
    for pattern in ("*.index", "*.timeindex", "*.snapshot"):
        for path in server.partition_folder(name).glob(pattern):
            path.unlink()
    server.start_broker()
    assert [m.offset() for m in read(server, name, 400)] == list(range(400))
    assert read(server, name, 1, offset=311)[0].offset() == 311


def test_idempotence_survives_a_restart(make_server, name):
    """The producer's last batch, sent again after a restart and after a kill, is known."""
    server = make_server()
    create_topic(server, name)
    with server.connection() as c:
        producer_id, epoch = wire.init_producer(c)
        batches = [wire.batch([b"x"], producer=(producer_id, epoch, i)) for i in range(8)]
        for i in range(7):
            assert wire.produce(c, name, batches[i]) == (0, i)
    server.restart_broker()
    assert watermarks(server, name) == (0, 7)
    with server.connection() as c:
        assert wire.produce(c, name, batches[6]) == (0, 6)
        assert wire.produce(c, name, batches[7]) == (0, 7)
        assert wire.init_producer(c)[0] != producer_id
    server.kill_broker()
    server.start_broker()
    assert watermarks(server, name) == (0, 8)
    with server.connection() as c:
        assert wire.produce(c, name, batches[7]) == (0, 7)
        assert wire.produce(c, name, wire.batch([b"x"], producer=(producer_id, epoch, 9)))[0] == 45
    assert watermarks(server, name) == (0, 8)


def test_retention_by_size_and_time(make_server, name):
    server = make_server({"log.retention.check.interval.ms": 300, "log.segment.delete.delay.ms": 100, "log.initial.task.delay.ms": 100})
    create_topic(server, f"{name}-size", segment_bytes=20_000, retention_bytes=60_000)
    for _ in range(40):
        produce(server, f"{name}-size", [b"x" * 1000] * 5)
    start, end = wait_for(lambda: (marks := watermarks(server, f"{name}-size"))[0] > 100 and marks, "old segments go")
    assert end == 200 and start < 160
    wait_for(lambda: sum(p.stat().st_size for p in server.segments(f"{name}-size")) < 100_000, "their files go too")
    assert read(server, f"{name}-size", 1)[0].offset() == start
    create_topic(server, f"{name}-time", retention_ms=1000, segment_bytes=20_000)
    old = int(time.time() * 1000) - 3_600_000
    producer = Producer({"bootstrap.servers": server.bootstrap})
    for i in range(30):
        producer.produce(f"{name}-time", b"x" * 1000, timestamp=old)
        producer.flush(30)
    wait_for(lambda: watermarks(server, f"{name}-time") == (30, 30), "all of it is too old")
    assert produce(server, f"{name}-time", [b"new"]) == [(0, 30)]


def test_delete_records(make_server, name):
    """What is deleted is gone for every reader, and stays gone."""
    server = make_server()
    create_topic(server, name)
    produce(server, name, [str(i).encode() for i in range(10)])

    def delete(offset):
        client = AdminClient({"bootstrap.servers": server.bootstrap})  # one that has seen no broker go
        [answer] = client.delete_records([TopicPartition(name, 0, offset)]).values()
        return answer.result(20).low_watermark

    assert delete(4) == 4
    assert watermarks(server, name) == (4, 10)
    assert values(read(server, name, 6)) == [str(i).encode() for i in range(4, 10)]
    assert delete(2) == 4, "what is gone does not come back"
    with pytest.raises(KafkaException, match="OFFSET_OUT_OF_RANGE|out of range"):
        delete(11)
    server.stop_broker()
    server.start_broker()
    assert watermarks(server, name) == (4, 10)
    assert delete(OFFSET_END) == 10
    assert watermarks(server, name) == (10, 10)
    assert produce(server, name, [b"next"]) == [(0, 10)]


def test_second_start_is_refused(make_server, name):
    """Two brokers never share a data folder; the one that runs goes on."""
    server = make_server()
    create_topic(server, name)
    first = dict(server.config)
    server.config.update({"listeners": f"PLAINTEXT://{server.host}:{free_port()}"})
    server.config.pop("weir.metrics.listener", None)
    second = server.broker_process(log="second.log")
    assert second.popen.wait(60) != 0
    text = second.text()
    assert str(server.data) in text and ("lock" in text.lower() or "in use" in text.lower()), text[-1500:]
    server.config = first
    produce(server, name, [b"still here"])


def test_unreachable_broker_is_a_clear_error(make_server, name):
    server = make_server()
    create_topic(server, name)
    server.stop_broker()
    with pytest.raises((KafkaException, AssertionError)):
        produce(server, name, [b"x"], message_timeout_ms=1000, log_level=0)
