"""What the broker keeps in ZooKeeper is what Apache Kafka 3.9 keeps there: other tools read and write it."""
import json

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from kazoo.client import KazooClient
from support.clients import admin, create_topic, done, produce, watermarks
from support.tools import run
from support.wait import wait_for


@pytest.fixture
def zookeeper(server):
    client = KazooClient(f"127.0.0.1:{server.zookeeper_port}")
    client.start(20)
    yield client
    client.stop()
    client.close()


def read(zookeeper, path):
    return json.loads(zookeeper.get(path)[0])


def test_broker_and_controller(server, zookeeper):
    broker = read(zookeeper, "/brokers/ids/1")
    timestamp = broker.pop("timestamp")
    assert broker == {"features": {}, "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"}, "endpoints": [f"PLAINTEXT://{server.bootstrap}"],
                      "jmx_port": -1, "port": server.port, "host": server.host, "version": 5}
    assert timestamp.isdigit() and len(timestamp) == 13
    assert zookeeper.get("/brokers/ids/1")[1].ephemeralOwner != 0
    controller, stat = zookeeper.get("/controller")
    controller = json.loads(controller)
    assert controller.pop("timestamp").isdigit() and stat.ephemeralOwner != 0
    assert controller == {"version": 2, "brokerid": 1, "kraftControllerEpoch": -1}
    assert int(zookeeper.get("/controller_epoch")[0]) >= 1
    cluster = read(zookeeper, "/cluster/id")
    assert cluster == {"version": "1", "id": admin(server).describe_cluster().result(20).cluster_id}
    for path in ("/config/changes", "/config/topics", "/config/brokers", "/config/clients", "/config/users", "/admin/delete_topics",
                 "/isr_change_notification", "/log_dir_event_notification", "/brokers/seqid", "/latest_producer_id_block", "/consumers"):
        assert zookeeper.exists(path), path


def test_topic(server, zookeeper, name):
    create_topic(server, name, partitions=2, retention_ms=5555)
    topic = read(zookeeper, f"/brokers/topics/{name}")
    assert len(topic.pop("topic_id")) == 22
    assert topic == {"partitions": {"0": [1], "1": [1]}, "adding_replicas": {}, "removing_replicas": {}, "version": 3}
    assert read(zookeeper, f"/config/topics/{name}") == {"version": 1, "config": {"retention.ms": "5555"}}
    state = read(zookeeper, f"/brokers/topics/{name}/partitions/1/state")
    assert state == {"controller_epoch": int(zookeeper.get("/controller_epoch")[0]), "leader": 1, "version": 1, "leader_epoch": 0, "isr": [1]}


def test_topic_written_by_hand(server, zookeeper, name):
    """As old tools do: first the configuration, then the assignment, without a topic id."""
    zookeeper.create(f"/config/topics/{name}", b'{"version":1,"config":{"max.message.bytes":"3000"}}')
    zookeeper.create(f"/brokers/topics/{name}", b'{"version":1,"partitions":{"1":[1],"0":[1]}}')
    wait_for(lambda: zookeeper.exists(f"/brokers/topics/{name}/partitions/1/state"), "the controller gives it leaders")
    produce(server, name, [b"x"], partition=1)
    entry = next(iter(done(admin(server).describe_configs([ConfigResource(ResourceType.TOPIC, name)])).values()))["max.message.bytes"]
    assert entry.value == "3000"


def test_config_change_notification(server, zookeeper, name):
    """A configuration changed in ZooKeeper, with the notification that tools write, takes effect."""
    create_topic(server, name)
    zookeeper.set(f"/config/topics/{name}", b'{"version":1,"config":{"retention.ms":"4444"}}')
    zookeeper.create("/config/changes/config_change_", f'{{"version":2,"entity_path":"topics/{name}"}}'.encode(), sequence=True)
    shown = lambda: next(iter(done(admin(server).describe_configs([ConfigResource(ResourceType.TOPIC, name)])).values()))  # noqa: E731
    wait_for(lambda: shown()["retention.ms"].value == "4444", "the change shows")
    entry = ConfigEntry("retention.ms", "3333", incremental_operation=AlterConfigOpType.SET)
    done(admin(server).incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])]))
    assert read(zookeeper, f"/config/topics/{name}") == {"version": 1, "config": {"retention.ms": "3333"}}


def test_deletion_through_zookeeper(server, zookeeper, name):
    create_topic(server, name)
    produce(server, name, [b"x"])
    zookeeper.create(f"/admin/delete_topics/{name}")
    wait_for(lambda: not zookeeper.exists(f"/brokers/topics/{name}"), "the controller deletes it")
    wait_for(lambda: not zookeeper.exists(f"/admin/delete_topics/{name}") and not zookeeper.exists(f"/config/topics/{name}"), "nothing is left")


def test_producer_id_block(server, zookeeper, name):
    create_topic(server, name)
    produce(server, name, [b"x"], enable_idempotence=True)
    block = read(zookeeper, "/latest_producer_id_block")
    assert block["version"] == 1 and block["broker"] == 1
    assert int(block["block_end"]) - int(block["block_start"]) == 999


def test_broker_leaves_and_comes_back(make_server, name):
    server = make_server()
    create_topic(server, name)
    client = KazooClient(f"127.0.0.1:{server.zookeeper_port}")
    client.start(20)
    epoch = int(client.get("/controller_epoch")[0])
    server.stop_broker()
    assert not client.exists("/brokers/ids/1") and not client.exists("/controller")
    server.start_broker()
    assert client.exists("/brokers/ids/1") and int(client.get("/controller_epoch")[0]) > epoch
    assert watermarks(server, name) == (0, 0)
    client.stop()
    client.close()


def test_session_loss(make_server, name):
    """The coordination service goes away for longer than the session lasts, and comes back: the broker registers anew."""
    server = make_server()
    create_topic(server, name)
    produce(server, name, [b"before"])
    server.zookeeper.stop()
    produce(server, name, [b"meanwhile"])  # what has a leader goes on
    server.start_zookeeper()
    client = KazooClient(f"127.0.0.1:{server.zookeeper_port}")
    client.start(60)
    wait_for(lambda: client.exists("/brokers/ids/1") and client.exists("/controller"), "the broker is registered", 60)
    client.stop()
    client.close()
    create_topic(server, f"{name}-after")
    assert watermarks(server, name) == (0, 2)


@pytest.mark.weir
def test_four_letter_words(server):
    for word, answer in (("ruok", "imok"), ("srvr", "Zookeeper version"), ("mntr", "zk_znode_count"), ("conf", "clientPort"),
                         ("stat", "Node count"), ("cons", "sid="), ("wchs", "watching")):
        out = run("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{server.zookeeper_port}; printf {word} >&3; timeout 10 cat <&3").stdout
        assert answer in out, (word, out)
