"""Topics, configuration and the cluster through admin clients."""
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions, NewTopic, ResourceType
from support import wire
from support.clients import admin, create_topic, done, produce, read, values
from support.wait import wait_for


def code(error):
    return error.value.args[0].code()


def configs(server, name, kind=ResourceType.TOPIC):
    return next(iter(done(admin(server).describe_configs([ConfigResource(kind, name)])).values()))


def test_create_describe_delete(server, name):
    client = admin(server)
    create_topic(server, name, partitions=3, retention_ms=123456)
    known = client.list_topics(name, timeout=10).topics[name]
    assert sorted(known.partitions) == [0, 1, 2]
    assert all((p.leader, p.replicas, p.isrs) == (1, [1], [1]) for p in known.partitions.values())
    assert configs(server, name)["retention.ms"].value == "123456"
    done(client.delete_topics([name]))
    wait_for(lambda: name not in client.list_topics(timeout=10).topics, "it is gone")
    wait_for(lambda: not server.partition_folder(name).exists(), "its folder is gone", 90)

    def made_again():  # the same name, empty; Kafka refuses it for a moment, until the deletion is over
        try:
            return create_topic(server, name)
        except KafkaException as refused:
            assert refused.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
            return None

    wait_for(made_again, "the name is free again")
    produce(server, name, [b"new"])
    assert values(read(server, name, 1)) == [b"new"] and read(server, name, 1)[0].offset() == 0


@pytest.mark.parametrize("topic, partitions, factor, config, error", [
    ("bad name", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
    ("..", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
    ("x" * 250, 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
    ("a-replication-factor", 1, 3, {}, KafkaError.INVALID_REPLICATION_FACTOR),
    ("no-partitions", 0, 1, {}, KafkaError.INVALID_PARTITIONS),
    ("a-bad-value", 1, 1, {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG),
    ("an-unknown-key", 1, 1, {"no.such.key": "1"}, KafkaError.INVALID_CONFIG),
])
def test_create_refused(server, topic, partitions, factor, config, error):
    with pytest.raises(KafkaException) as refused:
        done(admin(server).create_topics([NewTopic(topic, partitions, factor, config=config)]))
    assert code(refused) == error
    assert topic not in admin(server).list_topics(timeout=10).topics


def test_create_twice(server, name):
    create_topic(server, name)
    with pytest.raises(KafkaException) as refused:
        create_topic(server, name)
    assert code(refused) == KafkaError.TOPIC_ALREADY_EXISTS
    with pytest.raises(KafkaException) as refused:  # names that would share a metric's name
        create_topic(server, name.replace("-", "_") + ".x") and create_topic(server, name.replace("-", "_") + "_x")
    assert code(refused) == KafkaError.TOPIC_EXCEPTION


def test_validate_only(server, name):
    done(admin(server).create_topics([NewTopic(name, 1, 1)], validate_only=True))
    assert name not in admin(server).list_topics(timeout=10).topics


def test_delete_unknown(server, name):
    with pytest.raises(KafkaException) as refused:
        done(admin(server).delete_topics([name]))
    assert code(refused) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_more_partitions(server, name):
    create_topic(server, name, partitions=2)
    client = admin(server)
    done(client.create_partitions([NewPartitions(name, 5)]))
    wait_for(lambda: [p.leader for p in client.list_topics(name, timeout=10).topics[name].partitions.values()] == [1] * 5, "five partitions")
    produce(server, name, [b"x"], partition=4)
    assert values(read(server, name, 1, partition=4)) == [b"x"]
    with pytest.raises(KafkaException) as refused:
        done(client.create_partitions([NewPartitions(name, 3)]))
    assert code(refused) == KafkaError.INVALID_PARTITIONS


def test_topic_configs(server, name):
    create_topic(server, name)
    client = admin(server)
    before = configs(server, name)
    assert before["cleanup.policy"].value == "delete" and before["cleanup.policy"].is_default
    assert before["segment.bytes"].value == "1073741824" and before["max.message.bytes"].value == "1048588"

    def change(key, value, operation):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        done(client.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])]))

    change("retention.ms", "77777", AlterConfigOpType.SET)
    change("cleanup.policy", "compact", AlterConfigOpType.APPEND)
    after = wait_for(lambda: (now := configs(server, name))["retention.ms"].value == "77777" and now, "the change shows")
    assert after["retention.ms"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    assert after["cleanup.policy"].value == "delete,compact"
    change("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT)
    change("retention.ms", None, AlterConfigOpType.DELETE)
    wait_for(lambda: configs(server, name)["retention.ms"].is_default, "the default is back")
    for key, value in (("retention.ms", "x"), ("segment.bytes", "-5"), ("compression.type", "rar"), ("nonsense", "1")):
        with pytest.raises(KafkaException) as refused:
            change(key, value, AlterConfigOpType.SET)
        assert code(refused) == KafkaError.INVALID_CONFIG, key


def test_a_topic_limit_takes_effect(server, name):
    create_topic(server, name, max_message_bytes=1000)
    with server.connection() as c:
        assert wire.produce(c, name, wire.batch([b"x" * 2000]))[0] == 10  # MESSAGE_TOO_LARGE
        assert wire.produce(c, name, wire.batch([b"x" * 500])) == (0, 0)
    client = admin(server)
    entry = ConfigEntry("max.message.bytes", "5000", incremental_operation=AlterConfigOpType.SET)
    done(client.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])]))

    def bigger():
        with server.connection() as c:
            return wire.produce(c, name, wire.batch([b"x" * 2000])) == (0, 1)

    wait_for(bigger, "the new limit holds")


def test_broker_configs(server):
    known = configs(server, "1", ResourceType.BROKER)
    assert known["broker.id"].value == "1" and known["broker.id"].is_read_only
    assert known["num.partitions"].value == "1"
    assert known["log.segment.bytes"].value == "1073741824"
    assert known["offsets.topic.num.partitions"].value == "4"


def test_cluster(server):
    cluster = admin(server).describe_cluster().result(20)
    assert cluster.controller.id == 1 and [(n.id, n.host, n.port) for n in cluster.nodes] == [(1, server.host, server.port)]
    assert len(cluster.cluster_id) == 22
    assert f"cluster.id={cluster.cluster_id}" in (server.data / "meta.properties").read_text()


def test_auto_create_can_be_switched_off(make_server, name):
    server = make_server({"auto.create.topics.enable": "false"})
    known = admin(server).list_topics(name, timeout=10)
    assert known.topics[name].error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    import kafka
    producer = kafka.KafkaProducer(bootstrap_servers=server.bootstrap, max_block_ms=1500)
    with pytest.raises(kafka.errors.KafkaError):
        producer.send(name, b"x").get(10)
    producer.close()
    assert admin(server).list_topics(timeout=10).topics == {}


def test_kafka_python_admin(server, name):
    from kafka.admin import ConfigResource as Resource, ConfigResourceType, KafkaAdminClient, NewPartitions as More, NewTopic as Topic
    client = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    client.create_topics([Topic(name, 2, 1, topic_configs={"segment.bytes": "1048576"})])
    assert name in client.list_topics()
    described = wait_for(lambda: [t for t in client.describe_topics([name]) if len(t["partitions"]) == 2], "it is described")
    assert all(p["leader"] == 1 for p in described[0]["partitions"])
    client.create_partitions({name: More(total_count=3)})
    wait_for(lambda: len(client.describe_topics([name])[0]["partitions"]) == 3, "three partitions")
    client.alter_configs([Resource(ConfigResourceType.TOPIC, name, configs={"retention.ms": "5000"})])
    wait_for(lambda: configs(server, name)["retention.ms"].value == "5000", "the change shows")
    client.delete_topics([name])
    wait_for(lambda: name not in client.list_topics(), "it is gone")
    client.close()


def test_broker_configs_change_while_it_runs(make_server, name):
    """A broker's dynamic key reaches the topics that do not set it themselves; a key that needs a restart is refused."""
    server = make_server()
    create_topic(server, name)

    def change(key, value, operation=AlterConfigOpType.SET):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        done(admin(server).incremental_alter_configs([ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])]))

    change("message.max.bytes", "3000")
    wait_for(lambda: configs(server, "1", ResourceType.BROKER)["message.max.bytes"].value == "3000", "the change shows")
    wait_for(lambda: configs(server, name)["max.message.bytes"].value == "3000", "the topic takes it over")

    def refused():
        with server.connection() as c:
            return wire.produce(c, name, wire.batch([b"x" * 4000]))[0] == 10

    wait_for(refused, "the limit holds")
    server.restart_broker()
    wait_for(refused, "it holds after a restart")
    change("message.max.bytes", None, AlterConfigOpType.DELETE)
    wait_for(lambda: not refused(), "the default is back")
    with pytest.raises(KafkaException) as wrong:
        change("log.dirs", "/somewhere")
    assert code(wrong) in (KafkaError.INVALID_REQUEST, KafkaError.INVALID_CONFIG)
