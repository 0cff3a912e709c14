"""Apache Kafka's own tools and Java clients, from 1.1.1 to 4.3.1."""
import json
import re

import pytest
from confluent_kafka import TopicPartition
from support.clients import Consumer, admin, create_topic, produce, read, values
from support.tools import VERSIONS, Failed, kafka, server_option
from support.wait import wait_for

OLD, LAST, NEW = "2.2.1", "3.9.1", "4.3.1"


def tool(version, name, server, *arguments, **how):
    return kafka(version, name, *server_option(version, name, server.bootstrap), *arguments, **how)


@pytest.mark.parametrize("version", VERSIONS)
def test_console_producer_and_consumer(server, name, version):
    create_topic(server, name, partitions=2)
    produce(server, name, [b"from librdkafka"], keys=[b"k0"])
    lines = "".join(f"k{i}:value {i}\n" for i in range(1, 200))
    tool(version, "kafka-console-producer", server, "--topic", name, "--property", "parse.key=true", "--property",
         "key.separator=:", "--compression-codec", "snappy", input=lines)
    out = tool(version, "kafka-console-consumer", server, "--topic", name, "--from-beginning", "--max-messages", 200,
               "--timeout-ms", 30000, "--property", "print.key=true", "--property", "key.separator=:", "--group", name)
    assert sorted(line for line in out.splitlines() if line.startswith("k")) == sorted(["k0:from librdkafka"] + [f"k{i}:value {i}" for i in range(1, 200)])
    assert len({m.partition() for m in read(server, name, 200)}) == 2


@pytest.mark.parametrize("version", [OLD, LAST, NEW])
def test_topics(server, name, version):
    tool(version, "kafka-topics", server, "--create", "--topic", name, "--partitions", 2, "--replication-factor", 1,
         "--config", "segment.bytes=2000000")
    wait_for(lambda: name in tool(version, "kafka-topics", server, "--list").split(), "it is listed", pause=0.5)
    described = tool(version, "kafka-topics", server, "--describe", "--topic", name)
    assert "segment.bytes=2000000" in described
    assert re.search(rf"Topic: {name}\s+Partition: 1\s+Leader: 1\s+Replicas: 1\s+Isr: 1", described)
    tool(version, "kafka-topics", server, "--alter", "--topic", name, "--partitions", 4)
    assert len(admin(server).list_topics(name, timeout=10).topics[name].partitions) == 4
    tool(version, "kafka-topics", server, "--delete", "--topic", name)
    wait_for(lambda: name not in admin(server).list_topics(timeout=10).topics, "it is gone")


def test_topics_through_zookeeper(server, name):
    """A topic that an old tool writes into ZooKeeper appears in the broker, and its changes too."""
    zookeeper = ["--zookeeper", f"127.0.0.1:{server.zookeeper_port}"]
    kafka(OLD, "kafka-topics", *zookeeper, "--create", "--topic", name, "--partitions", 3, "--replication-factor", 1,
          "--config", "retention.ms=99999")
    client = admin(server)
    wait_for(lambda: name in client.list_topics(timeout=10).topics
             and [p.leader for p in client.list_topics(name, timeout=10).topics[name].partitions.values()] == [1, 1, 1], "it has leaders")
    produce(server, name, [b"x"], partition=2)
    assert "retention.ms=99999" in tool(LAST, "kafka-configs", server, "--describe", "--entity-type", "topics", "--entity-name", name)
    assert name in kafka(OLD, "kafka-topics", *zookeeper, "--list").split()
    kafka(OLD, "kafka-topics", *zookeeper, "--alter", "--topic", name, "--partitions", 4)
    wait_for(lambda: len(client.list_topics(name, timeout=10).topics[name].partitions) == 4, "four partitions")
    kafka(OLD, "kafka-configs", *zookeeper, "--alter", "--entity-type", "topics", "--entity-name", name, "--add-config",
          "retention.ms=88888")
    wait_for(lambda: "retention.ms=88888" in tool(LAST, "kafka-configs", server, "--describe", "--entity-type", "topics",
                                                  "--entity-name", name), "the change shows", pause=0.5)
    kafka(OLD, "kafka-topics", *zookeeper, "--delete", "--topic", name)
    wait_for(lambda: name not in client.list_topics(timeout=10).topics, "it is gone")


@pytest.mark.parametrize("version", [LAST, NEW])
def test_configs(server, name, version):
    create_topic(server, name)
    entity = ["--entity-type", "topics", "--entity-name", name]
    tool(version, "kafka-configs", server, "--alter", *entity, "--add-config", "retention.ms=12345,max.message.bytes=5000")
    described = wait_for(lambda: (text := tool(version, "kafka-configs", server, "--describe", *entity)) and "12345" in text and text,
                         "the change shows", pause=0.5)
    assert "max.message.bytes=5000" in described and "DYNAMIC_TOPIC_CONFIG:retention.ms=12345" in described
    tool(version, "kafka-configs", server, "--alter", *entity, "--delete-config", "retention.ms")
    wait_for(lambda: "retention.ms" not in tool(version, "kafka-configs", server, "--describe", *entity), "it is gone", pause=0.5)
    with pytest.raises(Failed):
        tool(version, "kafka-configs", server, "--alter", *entity, "--add-config", "retention.ms=soon")
    everything = tool(version, "kafka-configs", server, "--describe", "--all", *entity)
    assert "cleanup.policy=delete" in everything


@pytest.mark.parametrize("version", [OLD, LAST, NEW])
def test_consumer_groups(server, name, version):
    create_topic(server, name, partitions=2)
    produce(server, name, [str(i).encode() for i in range(10)], partition=0)
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(name, 0, 4)], asynchronous=False)
    assert name in tool(version, "kafka-consumer-groups", server, "--list").split()
    described = tool(version, "kafka-consumer-groups", server, "--describe", "--group", name)
    assert re.search(rf"{name}\s+0\s+4\s+10\s+6\b", described), described
    tool(version, "kafka-consumer-groups", server, "--group", name, "--topic", f"{name}:0", "--reset-offsets", "--to-offset", 8, "--execute")
    assert consumer.committed([TopicPartition(name, 0)], 20)[0].offset == 8
    tool(version, "kafka-consumer-groups", server, "--delete", "--group", name)
    assert name not in tool(version, "kafka-consumer-groups", server, "--list").split()
    consumer.close()


@pytest.mark.parametrize("version", [OLD, LAST, NEW])
def test_verifiable_producer_and_consumer(server, name, version):
    """The programs that Kafka's own system tests count with."""
    create_topic(server, name, partitions=3)
    option = "--broker-list" if version == OLD else "--bootstrap-server"
    out = kafka(version, "kafka-verifiable-producer", option, server.bootstrap, "--topic", name, "--max-messages", 3000, "--acks", -1)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    acknowledged = [e for e in events if e["name"] == "producer_send_success"]
    assert len(acknowledged) == 3000 and not [e for e in events if e["name"] == "producer_send_error"]
    out = kafka(version, "kafka-verifiable-consumer", option, server.bootstrap, "--topic", name, "--group-id", name,
                "--max-messages", 3000, "--reset-policy", "earliest", "--verbose")
    read_values = [e["value"] for line in out.splitlines() if line.startswith("{") and (e := json.loads(line))["name"] == "record_data"]
    assert sorted(map(int, read_values)) == list(range(3000))


def test_broker_api_versions(server):
    for version in VERSIONS:
        out = tool(version, "kafka-broker-api-versions", server)
        assert f"{server.bootstrap} (id: 1 rack: " in out and "Produce(0): " in out and "UNSUPPORTED" not in out.split("Fetch(1)")[0]


def test_get_offsets(server, name):
    create_topic(server, name, partitions=2)
    produce(server, name, [b"x"] * 7, partition=1)
    option = ["--broker-list", server.bootstrap]
    assert sorted(kafka(OLD, "kafka-get-offsets", *option, "--topic", name, "--time", -1).split()) == [f"{name}:0:0", f"{name}:1:7"]
    for version in (LAST, NEW):
        assert sorted(tool(version, "kafka-get-offsets", server, "--topic", name).split()) == [f"{name}:0:0", f"{name}:1:7"]
        assert sorted(tool(version, "kafka-get-offsets", server, "--topic", name, "--time", "earliest").split()) == [f"{name}:0:0", f"{name}:1:0"]
        assert f"{name}:1:" in tool(version, "kafka-get-offsets", server, "--topic", name, "--time", "max-timestamp")


def test_perf_tools(server, name):
    create_topic(server, name, partitions=2)
    out = kafka(NEW, "kafka-producer-perf-test", "--topic", name, "--num-records", 20000, "--record-size", 200, "--throughput", -1,
                "--producer-props", f"bootstrap.servers={server.bootstrap}", "acks=all", "compression.type=zstd")
    assert "20000 records sent" in out
    out = tool(NEW, "kafka-consumer-perf-test", server, "--topic", name, "--messages", 20000)
    assert int(re.findall(r", (\d+), ", out.splitlines()[-1])[0]) >= 20000 or "20000" in out


def test_dump_log_verifies_what_was_written(make_server, name):
    """Segments and indexes as Kafka 3.9 wants them, also after a roll and after a restart."""
    server = make_server({"log.segment.bytes": 100_000, "log.index.interval.bytes": 1000})
    create_topic(server, name)
    sent = [f"{i:06d} {'x' * 90}".encode() for i in range(4000)]
    produce(server, name, sent[:2000], compression_type="lz4", batch_num_messages=20, enable_idempotence=True)
    server.restart_broker()
    produce(server, name, sent[2000:], batch_num_messages=20)
    server.stop_broker()
    folder = server.partition_folder(name)
    logs = server.segments(name)
    assert len(logs) >= 3 and all(len(path.stem) == 20 for path in logs)
    out = kafka(LAST, "kafka-dump-log", "--deep-iteration", "--print-data-log", "--files", ",".join(map(str, logs)))
    assert [line.split("payload: ")[1].encode() for line in out.splitlines() if "payload: " in line] == sent
    assert "isvalid: false" not in out and "isvalid: true" in out
    indexes = sorted(folder.glob("*.index")) + sorted(folder.glob("*.timeindex"))
    assert len(indexes) == 2 * len(logs)
    out = kafka(LAST, "kafka-dump-log", "--verify-index-only", "--files", ",".join(map(str, indexes)))
    assert "Mismatches" not in out and "Index sanity check failed" not in out and "found" not in out.lower(), out
    for checkpoint in ("recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"):
        lines = (server.data / checkpoint).read_text().splitlines()
        assert lines[0] == "0" and int(lines[1]) == len(lines) - 2
    assert f"{name} 0 4000" in (server.data / "replication-offset-checkpoint").read_text()
    assert f"{name} 0 4000" in (server.data / "recovery-point-offset-checkpoint").read_text()
    assert (server.data / ".kafka_cleanshutdown").exists() and (folder / "partition.metadata").exists()
    assert (folder / "leader-epoch-checkpoint").read_text().splitlines()[0] == "0"


def test_java_groups_of_two_versions_share(server, name):
    """Members of different ages in one group: the old one's protocol is the common one."""
    import subprocess

    from support.tools import JAVA, PEERS
    import os
    create_topic(server, name, partitions=2)
    members = []
    try:
        for version in ("1.1.1", NEW):
            option = "--broker-list" if version == "1.1.1" else "--bootstrap-server"
            members.append(subprocess.Popen(
                [PEERS / "kafka-run", version, "kafka-verifiable-consumer", option, server.bootstrap, "--topic", name, "--group-id",
                 name, "--session-timeout", "6000", "--reset-policy", "earliest"], env={**os.environ, **JAVA}, stdout=subprocess.DEVNULL))
        client = admin(server)

        def both():
            group = client.describe_consumer_groups([name])[name].result(20)
            return sorted(len(m.assignment.topic_partitions) for m in group.members) == [1, 1]

        wait_for(both, "each has one partition", 60, pause=0.2)
        produce(server, name, [b"x"] * 50, partition=0)
        produce(server, name, [b"x"] * 50, partition=1)
        reader = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name})
        wait_for(lambda: [c.offset for c in reader.committed([TopicPartition(name, 0), TopicPartition(name, 1)], 20)] == [50, 50],
                 "both read and commit")
        reader.close()
    finally:
        for member in members:
            member.terminate()
            member.wait(30)


def test_records_of_every_version_in_one_topic(server, name):
    """Each version's producer, read by each version's consumer."""
    create_topic(server, name)
    for version in VERSIONS:
        tool(version, "kafka-console-producer", server, "--topic", name, input=f"by {version}\n")
    wanted = [f"by {version}" for version in VERSIONS]
    assert [v.decode() for v in values(read(server, name, len(wanted)))] == wanted
    for version in VERSIONS:
        out = tool(version, "kafka-console-consumer", server, "--topic", name, "--from-beginning", "--max-messages", len(wanted),
                   "--timeout-ms", 30000)
        assert out.splitlines() == wanted, version
