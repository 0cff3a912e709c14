"""Weir and Apache Kafka in one cluster, in ZooKeeper mode: either as controller, leader and follower, and each taking
the other's place on its folder under load. With `--target kafka` Weir's seats are taken by 3.9.1: that proves the tests."""
import json
import subprocess

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource
from kazoo.exceptions import NoNodeError

from cluster import KAFKA, OLD_KAFKA
from conftest import TOPICS
from operations import Tree, create_topics
from shared import kafka, wait_for

pytestmark = pytest.mark.java
# Which Java, with what it is told of inter-broker versions: the oldest and newest that both sides speak.
JAVAS = [pytest.param((KAFKA, {}), id="3.9.1"), pytest.param((KAFKA, {"inter.broker.protocol.version": "2.2"}), id="3.9.1-as-2.2"),
         pytest.param((OLD_KAFKA, {"inter.broker.protocol.version": "2.2"}), id="2.2.1")]


@pytest.fixture
def weir(request):
    return KAFKA if request.config.getoption("--target") == "kafka" else "weir"


def mixed(make_cluster, java, kinds, zookeeper=KAFKA, **how):
    version, config = java
    return make_cluster([version if kind == "java" else kind for kind in kinds], zookeeper=zookeeper, config=dict(config), **how)


def make_controller(cluster, wanted):
    """This broker becomes the controller: the others are asleep, for less than a session, when one is elected."""
    with Tree(cluster) as tree:
        def is_it():
            return (now := tree.json("/controller")) and now["brokerid"] == wanted.id

        for _ in range(8):
            if is_it():
                break
            try:
                for broker in cluster.peers(wanted):
                    broker.pause()
                tree.zk.delete("/controller")
                wait_for(lambda: tree.json("/controller"), "a controller is elected", 3, 0.01)
            except (AssertionError, NoNodeError):
                pass  # too slow this time
            finally:
                for broker in cluster.peers(wanted):
                    broker.resume()
        cluster.wait_known()
        wait_for(is_it, f"{wanted.name} is the controller", 5)
        wait_for(lambda: all(b.view([]).controller == wanted.id for b in cluster.live), "every broker knows it")
    cluster.wait_in_sync()


def lead_all(cluster, load, broker):
    """This broker leads all of the load's partitions: it is their first replica, and the preferred are elected."""
    with Tree(cluster) as tree:
        moves = {w: [broker.id, *[i for i in sorted(cluster.brokers) if i != broker.id]] for w in load.where}

        def moved():
            if all(tree.assignment(t)[p] == replicas for (t, p), replicas in moves.items()):
                return True
            if not tree.reassigning():  # Apache Kafka 2.2, just elected, throws away what was asked while it read the tree
                tree.reassign(moves)
            return False
        wait_for(moved, "replicas are in their new order", 120, 0.2)
        cluster.wait_in_sync(load.topics)

        def elected():
            leaders = {tree.state(*w)["leader"] for w in load.where}
            if leaders != {broker.id} and not tree.zk.exists("/admin/preferred_replica_election"):
                tree.zk.create("/admin/preferred_replica_election", json.dumps({"version": 1, "partitions": [
                    {"topic": t, "partition": p} for t, p in load.where]}).encode())
            return leaders == {broker.id}
        wait_for(elected, f"{broker.name} leads all", 60, 0.5)


@pytest.mark.parametrize("java", JAVAS)
@pytest.mark.parametrize("controller", ["weir", "java"])
@pytest.mark.parametrize("leader", ["weir", "java"])
def test_each_as_leader_and_as_controller(make_cluster, weir, java, controller, leader):
    """With everything led by one kind, the other kind's replicas follow; a kill makes them lead."""
    cluster = mixed(make_cluster, java, [weir, "java", weir])
    seats = {"weir": cluster.brokers[1], "java": cluster.brokers[2]}
    load = cluster.load()
    make_controller(cluster, seats[controller])
    lead_all(cluster, load, seats[leader])
    load.wait_acked()
    load.wait_commits()
    seats[leader].kill()
    load.wait_acked()
    seats[leader].start()
    cluster.wait_in_sync(load.topics)
    load.wait_acked()
    load.finish()


@pytest.mark.parametrize("java", JAVAS)
@pytest.mark.parametrize("controller", ["weir", "java"])
def test_topics_are_made_changed_and_deleted(make_cluster, weir, java, controller, name):
    cluster = mixed(make_cluster, java, [weir, "java", "java"])
    make_controller(cluster, cluster.brokers[1 if controller == "weir" else 2])
    names = [f"{name}-{i}" for i in range(6)]
    assert set(create_topics(cluster, names).values()) == {None}
    cluster.wait_in_sync(names)
    cluster.tool("kafka-topics", "--alter", "--topic", names[0], "--partitions", "7")
    change = ["--alter", "--entity-type", "topics", "--entity-name", names[1], "--add-config", "retention.ms=12345000"]
    if java[0] == OLD_KAFKA:  # it has no IncrementalAlterConfigs, and its own tool writes znodes
        kafka(OLD_KAFKA, "kafka-configs", "--zookeeper", cluster.connect, *change)
    else:
        cluster.tool("kafka-configs", *change)
    wait_for(lambda: all(len(b.view([names[0]]).topics[names[0]].partitions) == 7 for b in cluster.live), "seven partitions everywhere")
    cluster.wait_in_sync(names)
    for broker in cluster.brokers.values():
        def told():
            resource = ConfigResource(ConfigResource.Type.TOPIC, names[1])
            client = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
            return client.describe_configs([resource])[resource].result(20)["retention.ms"].value == "12345000"
        wait_for(told, f"{broker.name} tells the new configuration", 30, 0.2)
    cluster.tool("kafka-topics", "--delete", "--topic", names[2])
    with Tree(cluster) as tree:
        wait_for(lambda: names[2] not in tree.topics() and all(names[2] not in b.view().topics for b in cluster.live), "it is deleted", 60)
    wait_for(lambda: not any(p.name.startswith(names[2] + "-") and not p.name.endswith("-delete")
                             for b in cluster.brokers.values() for p in b.data.iterdir()), "and gone from every disk", 60)


@pytest.mark.network
@pytest.mark.parametrize("controller", ["weir", "java"])
def test_reassignment_between_them(make_cluster, weir, controller, tmp_path):
    """kafka-reassign-partitions: from Java to Weir and back, with a throttle, under load; and one that is cancelled."""
    cluster = mixed(make_cluster, (KAFKA, {}), ["java", "java", weir, weir])
    make_controller(cluster, cluster.brokers[3 if controller == "weir" else 1])
    with Tree(cluster) as tree:
        load = cluster.load()
        for replicas in [1, 2, 3], [3, 4, 1], [4, 3, 2], [2, 1, 3]:
            plan = tmp_path / "plan.json"
            plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": t, "partition": p, "replicas": replicas} for t, p in load.where]}))
            cluster.tool("kafka-reassign-partitions", "--reassignment-json-file", plan, "--execute", "--throttle", "50000000")
            wait_for(lambda: all(tree.assignment(t)[p] == replicas for t, p in load.where), f"all are on {replicas}", 150, 0.2)
            verified = wait_for(lambda: "still in progress" not in (said := cluster.tool(
                "kafka-reassign-partitions", "--reassignment-json-file", plan, "--verify")) and said, "the tool says so", 60, 0.5)
            assert "is complete" in verified or "completed" in verified, verified
            cluster.wait_in_sync(load.topics)
            load.wait_acked()
        here = {w: set(tree.assignment(w[0])[w[1]]) for w in load.where}
        target = cluster.brokers[4]
        cluster.cut(target, *cluster.peers(target))  # it cannot catch up: the move stays under way
        plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": t, "partition": p, "replicas": [1, 2, 4]} for t, p in load.where]}))
        assert cluster.controller() is not target
        cluster.tool("kafka-reassign-partitions", "--reassignment-json-file", plan, "--execute")
        assert len(tree.assignment(load.topics[0])[0]) == 4
        cluster.tool("kafka-reassign-partitions", "--reassignment-json-file", plan, "--cancel")
        wait_for(lambda: {w: set(tree.assignment(w[0])[w[1]]) for w in load.where} == here, "all are where they were", 90, 0.2)
        cluster.heal()
        load.wait_acked()
    load.finish()


def replace_one_by_one(cluster, load, kind):
    """As the migration guide says: one broker after the other, each in sync again before the next."""
    for broker in cluster.brokers.values():
        cluster.wait_in_sync()
        broker.become(kind)
        cluster.wait_known()
        load.wait_acked()
        load.wait_commits()
    cluster.wait_in_sync()


@pytest.mark.parametrize("java", [pytest.param((KAFKA, {}), id="3.9.1"),
                                  pytest.param((OLD_KAFKA, {"inter.broker.protocol.version": "2.2"}), id="2.2.1")])
def test_all_are_replaced_under_load_and_back(make_cluster, weir, java):
    """No record lost, twice or out of order, no group's offset lost, and no client notices more than a rolling restart."""
    cluster = mixed(make_cluster, java, ["java"] * 3)
    load = cluster.load(groups=2)
    replace_one_by_one(cluster, load, weir)
    load.wait_acked()
    cluster.leader(TOPICS[0].name).kill()  # Weir alone now
    load.wait_acked()
    cluster.recover()
    replace_one_by_one(cluster, load, java[0])
    load.finish()
    assert load.history.counts["unknown"] <= load.acked // 50, "a rolling replacement is not to be noticed"


def test_replaced_after_a_crash(make_cluster, weir):
    """What a killed Java broker left behind, Weir recovers, and the reverse."""
    cluster = mixed(make_cluster, (KAFKA, {}), ["java"] * 3)
    load = cluster.load()
    for kinds in [weir] * 3, [KAFKA] * 3:
        for broker, kind in zip(list(cluster.brokers.values()), kinds):
            broker.kill()
            load.wait_acked()
            broker.kind = kind
            broker.start()
            cluster.wait_in_sync(load.topics)
    load.wait_commits()
    load.finish()


@pytest.mark.parametrize("java", [pytest.param((KAFKA, {}), id="3.9.1"),
                                  pytest.param((OLD_KAFKA, {"inter.broker.protocol.version": "2.2"}), id="2.2.1")])
def test_topic_ids_survive(make_cluster, weir, java):
    """The folder's and the tree's topic ids are those that Java gave, on every side; with old Java there are none."""
    cluster = mixed(make_cluster, java, ["java"] * 3)
    load = cluster.load()

    def ids():
        with Tree(cluster) as tree:
            known = {t: tree.json(f"/brokers/topics/{t}").get("topic_id") for t in load.topics}
        files = {t: {(b.data / f"{t}-0/partition.metadata").read_text() if (b.data / f"{t}-0/partition.metadata").exists() else None
                     for b in cluster.brokers.values()} for t in load.topics}
        return known, files

    before = ids()
    replace_one_by_one(cluster, load, weir)
    for topic in load.topics:
        if before[0][topic]:
            assert ids()[0][topic] == before[0][topic]
            assert ids()[1][topic] == before[1][topic]
    replace_one_by_one(cluster, load, java[0])
    load.finish()


def test_kafkas_own_check_finds_replicas_equal(make_cluster, weir):
    """Apache Kafka's ReplicaVerificationTool compares what replicas answer; DumpLogSegments reads what Weir wrote."""
    cluster = mixed(make_cluster, (KAFKA, {}), [weir, "java", weir])
    load = cluster.load()
    for _ in range(5):
        load.wait_acked()
    cluster.wait_in_sync(load.topics)
    load.finish()
    for broker in cluster.brokers.values():
        for segment in sorted((broker.data / f"{TOPICS[0].name}-0").glob("*.log")):
            try:
                text = kafka(KAFKA, "kafka-dump-log", "--deep-iteration", "--files", segment)
            except subprocess.SubprocessError as error:
                raise AssertionError(f"{segment}: {error}") from None
            assert "isvalid: false" not in text and "Found invalid" not in text, text[-2000:]
