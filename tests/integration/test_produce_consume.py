"""Records go in and come out as they were: librdkafka, kafka-python, aiokafka, kcat."""
import asyncio
import struct
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from support import wire
from support.clients import TopicPartition, admin, create_topic, produce, read, values, watermarks
from support.tools import kcat
from support.wait import wait_for

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_librdkafka_compression(server, name, compression):
    create_topic(server, name)
    sent = [f"value {i} {'x' * (i % 300)}".encode() for i in range(2000)]
    acknowledged = produce(server, name, sent, compression_type=compression, linger_ms=20)
    assert acknowledged == [(0, i) for i in range(2000)]
    assert values(read(server, name, 2000, check_crcs=True)) == sent


def test_keys_headers_timestamps_and_null(server, name):
    create_topic(server, name)
    producer = Producer({"bootstrap.servers": server.bootstrap})
    producer.produce(name, b"v", b"k", headers=[("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)], timestamp=1_600_000_000_123)
    producer.produce(name, None, b"tombstone", timestamp=1_600_000_000_124)
    producer.produce(name, b"", None, timestamp=1_600_000_000_125)
    assert producer.flush(30) == 0
    first, second, third = read(server, name, 3)
    assert (first.key(), first.value(), first.timestamp()) == (b"k", b"v", (1, 1_600_000_000_123))
    assert first.headers() == [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]
    assert (second.key(), second.value()) == (b"tombstone", None)
    assert (third.key(), third.value(), third.offset()) == (None, b"", 2)


def test_log_append_time(server, name):
    before = int(time.time() * 1000) - 1000
    create_topic(server, name, message_timestamp_type="LogAppendTime")
    producer = Producer({"bootstrap.servers": server.bootstrap})
    producer.produce(name, b"v", timestamp=1_000)
    assert producer.flush(30) == 0
    kind, timestamp = read(server, name, 1)[0].timestamp()
    assert kind == 2 and before <= timestamp <= int(time.time() * 1000) + 1000


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(server, name, acks):
    create_topic(server, name)
    producer = Producer({"bootstrap.servers": server.bootstrap, "acks": acks})
    for i in range(100):
        producer.produce(name, str(i).encode())
    assert producer.flush(30) == 0
    assert values(read(server, name, 100)) == [str(i).encode() for i in range(100)]


def test_idempotent_producer(server, name):
    create_topic(server, name, partitions=3)
    sent = [str(i).encode() for i in range(5000)]
    acknowledged = produce(server, name, sent, keys=sent, enable_idempotence=True, linger_ms=2, batch_num_messages=50)
    assert len(set(acknowledged)) == 5000
    assert sorted(values(read(server, name, 5000)), key=int) == sent


def test_idempotent_duplicate_is_acknowledged_once_written(server, name):
    """The same batch sent again gets the offset of the first, and is not there twice; a gap is refused."""
    create_topic(server, name)
    with server.connection() as c:
        producer_id, epoch = wire.init_producer(c)
        first = wire.batch([b"a", b"b"], producer=(producer_id, epoch, 0))
        assert wire.produce(c, name, first) == (0, 0)
        assert wire.produce(c, name, first) == (0, 0)
        assert wire.produce(c, name, wire.batch([b"c"], producer=(producer_id, epoch, 2))) == (0, 2)
        assert wire.produce(c, name, first) == (0, 0)
        assert wire.produce(c, name, wire.batch([b"gap"], producer=(producer_id, epoch, 7)))[0] == 45  # OUT_OF_ORDER_SEQUENCE_NUMBER
    assert watermarks(server, name) == (0, 3)
    assert values(read(server, name, 3)) == [b"a", b"b", b"c"]


def test_big_message_and_too_big(server, name):
    create_topic(server, name)
    big = bytes(range(256)) * 4000  # 1,024,000 bytes, just under max.message.bytes
    produce(server, name, [big], message_max_bytes=2_000_000)
    assert values(read(server, name, 1)) == [big]
    producer = Producer({"bootstrap.servers": server.bootstrap, "message.max.bytes": 4_000_000, "retries": 0})
    errors = []
    producer.produce(name, b"x" * 1_500_000, on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert errors[0] is not None and errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert watermarks(server, name) == (0, 1)


def test_topic_created_by_first_use(server, name):
    produce(server, name, [b"hello"])
    assert values(read(server, name, 1)) == [b"hello"]


def test_unknown_topic_of_a_consumer(server, name):
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name, "allow.auto.create.topics": False})
    known = consumer.list_topics(f"{name}-not-there", 10)
    consumer.close()
    assert known.topics[f"{name}-not-there"].error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert f"{name}-not-there" not in admin(server).list_topics(timeout=10).topics


def test_offsets_for_times(server, name):
    create_topic(server, name)
    producer = Producer({"bootstrap.servers": server.bootstrap})
    for i in range(10):
        producer.produce(name, str(i).encode(), timestamp=1_600_000_000_000 + 1000 * i)
        assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name})

    def at(timestamp):
        return consumer.offsets_for_times([TopicPartition(name, 0, timestamp)], 10)[0].offset

    assert [at(1_600_000_000_000), at(1_600_000_003_500), at(1_600_000_009_000), at(1_600_000_009_001)] == [0, 4, 9, -1]
    consumer.close()
    assert watermarks(server, name) == (0, 10)


def test_out_of_range_resets(server, name):
    create_topic(server, name)
    produce(server, name, [b"0", b"1", b"2"])
    assert values(read(server, name, 3, offset=700, auto_offset_reset="earliest")) == [b"0", b"1", b"2"]
    with pytest.raises((AssertionError, KafkaException)):
        read(server, name, 1, offset=700, auto_offset_reset="error", seconds=20)


def test_many_partitions_in_parallel(server, name):
    create_topic(server, name, partitions=20)
    sent = [f"{i}".encode() for i in range(20000)]
    produce(server, name, sent, keys=sent, linger_ms=5)
    got = read(server, name, 20000)
    assert sorted(int(m.value()) for m in got) == list(range(20000))
    by_partition = {}
    for message in got:
        by_partition.setdefault(message.partition(), []).append(message)
    assert len(by_partition) == 20
    for messages in by_partition.values():
        assert [m.offset() for m in messages] == list(range(len(messages)))
        assert [int(m.value()) for m in messages] == sorted(int(m.value()) for m in messages)


def test_long_poll_ends_with_the_record(server, name):
    """A fetch that may wait 20 s is answered when a record comes, not when the time is over."""
    create_topic(server, name)
    with server.connection() as reader, server.connection() as writer:
        began = time.monotonic()
        reader.send(wire.FETCH, 4, wire.fetch_body(name, 0, wait_ms=20_000))
        assert wire.produce(writer, name, wire.batch([b"now"])) == (0, 0)
        _, answer = reader.receive()
        assert b"now" in answer and time.monotonic() - began < 10


def test_fetch_waits_for_min_bytes_at_most_max_wait(server, name):
    create_topic(server, name)
    with server.connection() as c:
        assert wire.produce(c, name, wire.batch([b"small"])) == (0, 0)
        began = time.monotonic()
        answer = c.ask(wire.FETCH, 4, wire.fetch_body(name, 0, wait_ms=400, min_bytes=100_000))
        assert b"small" in answer and 0.35 <= time.monotonic() - began < 10


def test_requests_of_one_connection_are_answered_in_order(server, name):
    create_topic(server, name)
    with server.connection() as c:
        sent = []
        for i in range(50):
            sent.append(c.send(wire.PRODUCE, 3, wire.produce_body(name, wire.batch([str(i).encode()]))))
            sent.append(c.send(wire.API_VERSIONS, 0))
        got = [c.receive() for _ in sent]
        assert [correlation for correlation, _ in got] == sent
        assert [wire.produce_result(answer) for _, answer in got[::2]] == [(0, i) for i in range(50)]


def test_kcat(server, name):
    create_topic(server, name, partitions=2)
    lines = "".join(f"key{i}:value {i}\n" for i in range(500))
    kcat(server.bootstrap, "-P", "-t", name, "-K:", "-z", "lz4", "-H", "origin=kcat", input=lines)
    out = kcat(server.bootstrap, "-C", "-t", name, "-e", "-q", "-o", "beginning", "-f", "%k:%s %h\n")
    assert sorted(out.splitlines()) == sorted(f"key{i}:value {i} origin=kcat" for i in range(500))
    listing = kcat(server.bootstrap, "-L", "-t", name)
    assert f'topic "{name}" with 2 partitions' in listing and f"broker 1 at {server.bootstrap}" in listing


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_kafka_python(server, name, compression):
    import kafka
    create_topic(server, name, partitions=2)
    producer = kafka.KafkaProducer(bootstrap_servers=server.bootstrap, compression_type=compression, linger_ms=10, acks="all")
    futures = [producer.send(name, str(i).encode(), key=str(i % 7).encode(), headers=[("n", str(i).encode())]) for i in range(1000)]
    producer.flush(30)
    assert all(future.get(10).topic == name for future in futures)
    producer.close()
    consumer = kafka.KafkaConsumer(name, bootstrap_servers=server.bootstrap, group_id=name, auto_offset_reset="earliest",
                                   enable_auto_commit=False, check_crcs=True)
    got = []

    def poll():
        for records in consumer.poll(500).values():
            got.extend(records)
        return len(got) >= 1000

    wait_for(poll, "1000 records", pause=0)
    consumer.commit()
    assert sorted(int(r.value) for r in got) == list(range(1000))
    assert all(r.headers == [("n", r.value)] for r in got)
    assert sum(consumer.committed(p) for p in consumer.assignment()) == 1000
    consumer.close()


def test_aiokafka(server, name):
    import aiokafka
    create_topic(server, name, partitions=2)

    async def talk():
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=server.bootstrap, enable_idempotence=True, compression_type="gzip")
        await producer.start()
        sent = [await producer.send(name, str(i).encode()) for i in range(500)]
        for future in sent:
            await future
        await producer.stop()
        consumer = aiokafka.AIOKafkaConsumer(name, bootstrap_servers=server.bootstrap, group_id=name, auto_offset_reset="earliest",
                                             enable_auto_commit=False)
        await consumer.start()
        got = [int((await consumer.getone()).value) for _ in range(500)]
        await consumer.commit()
        await consumer.stop()
        return got

    assert sorted(asyncio.run(asyncio.wait_for(talk(), 60))) == list(range(500))


def test_a_batch_that_does_not_fit_is_left_out(server, name):
    """Only the first batch of an answer may be larger than asked for; of another partition no beginning is sent."""
    create_topic(server, name, 2)
    batch = wire.batch([b"x" * 20_000])
    with server.connection() as c:
        for partition in (0, 1):
            answer = c.ask(wire.PRODUCE, 3, wire.produce_body(name, batch, partition=partition))
            assert wire.produce_result(answer) == (0, 0)
        body = struct.pack(">iiiib", -1, 500, 1, 1 << 20, 0) + struct.pack(">i", 1) + wire.string(name)
        body += struct.pack(">i", 2) + b"".join(struct.pack(">iqi", p, 0, 100) for p in (0, 1))
        answer = c.ask(wire.FETCH, 4, body)
    at, sizes = 4 + 4 + 2 + len(name) + 4, []
    for _ in (0, 1):
        _, error, _, _, aborted = struct.unpack(">ihqqi", answer[at:at + 26])
        assert error == 0
        at += 26 + 16 * max(aborted, 0)
        size, = struct.unpack(">i", answer[at:at + 4])
        at += 4 + max(size, 0)
        sizes.append(max(size, 0))
    assert sorted(sizes) == [0, len(batch)]
