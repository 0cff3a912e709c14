"""Apache Kafka's own tools, of 3.9.1 and of 2.2.1, against three brokers. What they do with one broker, and more versions
of them, is in tests/integration/test_java.py; here is what needs several: replicas, elections, moves, logs, throttles."""
import json
import re

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from cluster import KAFKA, OLD_KAFKA, Cluster
from conftest import SETS
from operations import Tree, create_topics
from shared import JAVA, PEERS, Process, kafka, wait_for

VERSIONS = [KAFKA, OLD_KAFKA]


@pytest.fixture(scope="module")
def cluster(request):
    brokers = SETS[request.config.getoption("--target")]
    with Cluster(brokers, request.config.getoption("--zookeeper") or ("weir" if "weir" in brokers else KAFKA), name="tools") as cluster:
        yield cluster.start()
    cluster.remove()


@pytest.fixture
def tree(cluster):
    with Tree(cluster) as tree:
        yield tree


def make(cluster, name, partitions=3, replication=3, **config):
    assert create_topics(cluster, [name], partitions, replication, **config) == {name: None}
    cluster.wait_in_sync([name])


def fill(cluster, name, count=300, partition=None, size=0):
    producer, failed = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"}), []
    for i in range(count):
        where = {} if partition is None else {"partition": partition}
        producer.produce(name, f"value {i}".ljust(size), key=str(i), on_delivery=lambda error, _: failed.append(error) if error else None, **where)
    assert producer.flush(60) == 0 and not failed


def leaders(cluster, name):
    return {i: p.leader for i, p in cluster.view([name]).topics[name].partitions.items()}


def plan(path, moves):
    path.write_text(json.dumps({"version": 1, "partitions": [
        {"topic": t, "partition": p, "replicas": r, "log_dirs": ["any"] * len(r)} for (t, p), r in moves.items()]}))
    return path


def test_topics_with_replicas(cluster, name):
    cluster.tool("kafka-topics", "--create", "--topic", name, "--replica-assignment", "1:2,2:3,3:1,1:3", "--config", "retention.ms=777000")
    cluster.wait_in_sync([name])
    text = cluster.tool("kafka-topics", "--describe", "--topic", name)
    assert re.search(r"PartitionCount: 4\s+ReplicationFactor: 2\s+Configs: .*retention.ms=777000", text), text
    assert re.search(r"Partition: 1\s+Leader: 2\s+Replicas: 2,3\s+Isr: [23],[23]", text), text
    assert "TopicId: " in text
    for version in VERSIONS:
        for flag in "--under-replicated-partitions", "--unavailable-partitions":
            assert name not in cluster.tool("kafka-topics", "--describe", flag, version=version)
    for flag in "--at-min-isr-partitions", "--under-min-isr-partitions":
        cluster.tool("kafka-topics", "--describe", flag)
    broker = cluster.brokers[3]
    broker.kill()
    try:
        wait_for(lambda: all(3 not in p.isr for p in cluster.view([name]).topics[name].partitions.values()), "its replicas are out of sync")
        for version in VERSIONS:
            lines = cluster.tool("kafka-topics", "--describe", "--under-replicated-partitions", version=version).splitlines()
            assert {int(re.search(r"Partition: (\d)", line)[1]) for line in lines if f"Topic: {name}\t" in line} == {1, 2, 3}, lines
        assert f"Topic: {name}\t" in cluster.tool("kafka-topics", "--describe", "--under-min-isr-partitions")
    finally:
        broker.start()
    cluster.wait_in_sync()
    cluster.tool("kafka-topics", "--alter", "--topic", name, "--partitions", 6, "--replica-assignment", "1:2,2:3,3:1,1:3,2:1,3:2")
    wait_for(lambda: [p.replicas for _, p in sorted(cluster.view([name]).topics[name].partitions.items())][4:] == [[2, 1], [3, 2]],
             "the new partitions are where they were asked for")
    for version in VERSIONS:
        cluster.tool("kafka-topics", "--create", "--topic", f"{name}-{version[0]}", "--partitions", 2, "--replication-factor", 3, version=version)
        cluster.tool("kafka-topics", "--delete", "--topic", f"{name}-{version[0]}", version=version)
    wait_for(lambda: not any(t.startswith(name + "-") for b in cluster.live for t in b.view().topics), "they are gone")


@pytest.mark.parametrize("version", VERSIONS)
def test_partitions_are_moved(cluster, tree, name, tmp_path, version):
    """--generate, --execute with a throttle, --verify, which takes the throttle away; and the records come along."""
    where = ["--bootstrap-server", cluster.bootstrap] if version == KAFKA else ["--zookeeper", cluster.connect]

    def tool(*arguments):
        return kafka(version, "kafka-reassign-partitions", *where, *arguments)

    make(cluster, name, 4, 2)
    fill(cluster, name)
    topics = tmp_path / "topics.json"
    topics.write_text(json.dumps({"version": 1, "topics": [{"topic": name}]}))
    text = tool("--generate", "--topics-to-move-json-file", topics, "--broker-list", "1,2,3")
    current, proposed = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert {p["partition"]: p["replicas"] for p in current["partitions"]} == tree.assignment(name)
    assert len(proposed["partitions"]) == 4
    moves = {(name, p): [x := r[0] % 3 + 1, x % 3 + 1] for p, r in tree.assignment(name).items()}
    path = plan(tmp_path / "plan.json", moves)
    tool("--reassignment-json-file", path, "--execute", "--throttle", "20000000")
    assert tree.json("/config/topics/" + name)["config"].get("leader.replication.throttled.replicas")
    assert tree.json("/config/brokers/1")["config"]["leader.replication.throttled.rate"] == "20000000"
    wait_for(lambda: tree.assignment(name) == {p: r for (_, p), r in moves.items()} and not tree.reassigning(), "they are moved", 60, 0.1)
    text = wait_for(lambda: "still in progress" not in (said := tool("--reassignment-json-file", path, "--verify")) and said, "the tool says so")
    assert text.count("complete") >= 4, text
    assert "leader.replication.throttled.replicas" not in tree.json("/config/topics/" + name)["config"]
    assert "leader.replication.throttled.rate" not in tree.json("/config/brokers/1")["config"]
    cluster.wait_in_sync([name])
    gone = {(b.id, p) for b in cluster.live for (_, p), replicas in moves.items() if b.id not in replicas}
    wait_for(lambda: not any((cluster.brokers[b].data / f"{name}-{p}").exists() for b, p in gone), "the old replicas are gone from disks")
    text = cluster.tool("kafka-get-offsets", "--topic", name)
    assert sum(int(line.split(":")[2]) for line in text.splitlines() if line.startswith(name)) == 300


def test_a_move_is_listed_and_cancelled(cluster, tree, name, tmp_path):
    """A throttle keeps it from ending by itself: a fetch of a mebibyte is let through, and then none for long."""
    make(cluster, name, 2, 2)
    before = tree.assignment(name)
    broker = cluster.brokers[next(b for b in cluster.brokers if b not in before[0])]
    broker.stop()
    try:
        cluster.wait_known()
        path = plan(tmp_path / "plan.json", {(name, 0): [before[0][0], broker.id]})
        refused = cluster.tool("kafka-reassign-partitions", "--reassignment-json-file", path, "--execute", check=False)
        assert f"Unknown broker id {broker.id}" in refused, refused  # the tool looks at who is there
    finally:
        broker.start()
    cluster.wait_in_sync([name])
    fill(cluster, name, 12000, 0, 1000)
    path = plan(tmp_path / "plan.json", {(name, 0): [before[0][1], broker.id]})
    cluster.tool("kafka-reassign-partitions", "--reassignment-json-file", path, "--execute", "--throttle", "100")
    assert re.search(rf"{name}-0: replicas: .*adding: {broker.id}", cluster.tool("kafka-reassign-partitions", "--list"))
    assert "still in progress" in cluster.tool("kafka-reassign-partitions", "--reassignment-json-file", path, "--verify", "--preserve-throttles")
    text = cluster.tool("kafka-reassign-partitions", "--reassignment-json-file", path, "--cancel")
    assert "Successfully cancelled" in text, text
    wait_for(lambda: sorted(tree.assignment(name)[0]) == sorted(before[0]), "it is where it was")
    assert "No partition reassignments found" in cluster.tool("kafka-reassign-partitions", "--list")
    assert "leader.replication.throttled.rate" not in (tree.json("/config/brokers/1") or {"config": {}})["config"]
    cluster.wait_in_sync([name])


@pytest.mark.parametrize("version", VERSIONS)
def test_preferred_leaders_are_elected(cluster, name, version, tmp_path):
    make(cluster, name, 6)
    preferred = {i: p.replicas[0] for i, p in cluster.view([name]).topics[name].partitions.items()}
    broker = cluster.brokers[next(b for b in preferred.values())]
    broker.stop()
    wait_for(lambda: broker.id not in leaders(cluster, name).values(), "others lead")
    broker.start()
    cluster.wait_in_sync([name])
    path = tmp_path / "partitions.json"
    now = leaders(cluster, name)
    path.write_text(json.dumps({"partitions": [{"topic": name, "partition": p} for p in preferred if now[p] != preferred[p]]}))
    if version == KAFKA:
        text = cluster.tool("kafka-leader-election", "--election-type", "preferred", "--path-to-json-file", path)
        assert name in text, text
    else:
        text = cluster.tool("kafka-preferred-replica-election", "--path-to-json-file", path, version=version)
    wait_for(lambda: all(leaders_of == preferred for leaders_of in [leaders(cluster, name)]), "the first replicas lead", 30, 0.1)
    if version == KAFKA:
        again = cluster.tool("kafka-leader-election", "--election-type", "preferred", "--topic", name, "--partition", "0")
        assert "Valid replica already elected" in again, again
        cluster.tool("kafka-leader-election", "--election-type", "preferred", "--all-topic-partitions")
    else:
        kafka(version, "kafka-preferred-replica-election", "--zookeeper", cluster.connect, "--path-to-json-file", path)


def test_an_unclean_leader_is_elected_when_asked_for(cluster, name):
    make(cluster, name, 1, 2, **{"min.insync.replicas": "1"})
    replicas = cluster.view([name]).topics[name].partitions[0].replicas
    first, second = (cluster.brokers[r] for r in replicas)
    second.kill()
    wait_for(lambda: cluster.view([name]).topics[name].partitions[0].isr == [first.id], "one is in sync")
    first.kill()
    try:
        second.start()
        cluster.wait_known()
        wait_for(lambda: cluster.view([name]).topics[name].partitions[0].leader == -1, "nobody leads", 30)
        text = cluster.tool("kafka-leader-election", "--election-type", "unclean", "--topic", name, "--partition", 0)
        assert "Successfully completed leader election (UNCLEAN)" in text, text
        wait_for(lambda: cluster.view([name]).topics[name].partitions[0].leader == second.id, "the one that was not in sync leads")
    finally:
        first.start()
    cluster.wait_in_sync()


@pytest.mark.parametrize("kind", [("topics", "retention.ms", "555000"), ("brokers", "log.cleaner.threads", "2")], ids=lambda k: k[0])
def test_configs(cluster, tree, name, kind):
    entity, key, value = kind
    if entity == "topics":
        make(cluster, name)
    who = name if entity == "topics" else "2"
    options = ["--entity-type", entity, "--entity-name", who]
    cluster.tool("kafka-configs", "--alter", *options, "--add-config", f"{key}={value}")
    for version in VERSIONS:
        where = ["--zookeeper", cluster.connect] if version == OLD_KAFKA else ["--bootstrap-server", cluster.bootstrap]
        wait_for(lambda: f"{key}={value}" in kafka(version, "kafka-configs", *where, "--describe", *options), f"{version} shows it", pause=0.3)
    assert tree.json(f"/config/{entity}/{who}")["config"][key] == value
    cluster.tool("kafka-configs", "--alter", *options, "--delete-config", key)
    wait_for(lambda: not re.search(rf"\b{key}={value}", cluster.tool("kafka-configs", "--describe", *options)), "it is gone", pause=0.3)


def test_configs_of_all_brokers(cluster):
    """--entity-default, and a broker's own above it, with the older tool too."""
    everyone, one = ["--entity-type", "brokers", "--entity-default"], ["--entity-type", "brokers", "--entity-name", "1"]
    key = "message.max.bytes"
    cluster.tool("kafka-configs", "--alter", *everyone, "--add-config", f"{key}=990000")
    for broker in cluster.brokers.values():
        def told():
            text = cluster.tool("kafka-configs", "--describe", "--entity-type", "brokers", "--entity-name", broker.id, "--all")
            return f"DYNAMIC_DEFAULT_BROKER_CONFIG:{key}=990000" in text
        wait_for(told, f"{broker.name} tells it", pause=0.3)
    assert f"{key}=990000" in cluster.tool("kafka-configs", "--describe", *everyone, version=OLD_KAFKA)
    cluster.tool("kafka-configs", "--alter", *one, "--add-config", f"{key}=880000", version=OLD_KAFKA)
    for version in VERSIONS:
        text = wait_for(lambda: f"{key}=880000" in (text := cluster.tool("kafka-configs", "--describe", *one, version=version)) and text,
                        "its own shows", pause=0.3)
        assert f"DYNAMIC_DEFAULT_BROKER_CONFIG:{key}=990000" in text, text
    cluster.tool("kafka-configs", "--alter", *one, "--delete-config", key, version=OLD_KAFKA)
    cluster.tool("kafka-configs", "--alter", *everyone, "--delete-config", key)
    wait_for(lambda: key not in cluster.tool("kafka-configs", "--describe", *one), "it is gone", pause=0.3)


@pytest.mark.parametrize("version", VERSIONS)
def test_consumer_groups(cluster, name, version, tmp_path):
    make(cluster, name)
    fill(cluster, name, 50, 0)
    fill(cluster, name, 30, 1)

    def tool(*arguments):
        return cluster.tool("kafka-consumer-groups", *arguments, version=version)

    def committed():
        client = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": name})
        try:
            return {p.partition: p.offset for p in client.committed([TopicPartition(name, i) for i in range(3)], 20)}
        finally:
            client.close()

    member = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": name, "client.id": "a-member", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    member.subscribe([name])
    wait_for(lambda: (member.poll(0.2), len(member.assignment()) == 3)[1], "it has all partitions")
    member.commit(offsets=[TopicPartition(name, 0, 10)], asynchronous=False)
    assert re.search(rf"{name}\s+0\s+10\s+50\s+40\s+a-member", tool("--describe", "--group", name))
    assert re.search(rf"a-member\S*\s+\S+\s+a-member\s+3\s+({name})?\(0,1,2\)", tool("--describe", "--group", name, "--members", "--verbose"))
    assert re.search(r"\brange\s+Stable\s+1\b", tool("--describe", "--group", name, "--state"))
    member.close()
    reset = ["--group", name, "--reset-offsets", "--execute"]
    for how, wanted in [(["--to-earliest", "--topic", name], {0: 0, 1: 0, 2: 0}), (["--to-latest", "--all-topics"], {0: 50, 1: 30, 2: 0}),
                        (["--shift-by", "-5", "--topic", f"{name}:0,1"], {0: 45, 1: 25, 2: 0}),
                        (["--to-datetime", "2020-01-01T00:00:00.000", "--topic", f"{name}:0"], {0: 0, 1: 25, 2: 0}),
                        (["--by-duration", "PT0S", "--topic", f"{name}:1"], {0: 0, 1: 30, 2: 0})]:
        tool(*reset, *how)
        assert committed() == wanted, how
    path = tmp_path / "offsets.csv"
    path.write_text(f"{name},0,7\n{name},1,8\n")
    tool(*reset, "--from-file", path)
    assert committed() == {0: 7, 1: 8, 2: 0}
    if version == KAFKA:
        assert re.search(rf"{name}\s+Empty", tool("--list", "--state"))
        tool("--delete-offsets", "--group", name, "--topic", f"{name}:0")
        assert committed()[0] < 0 and committed()[1] == 8
        assert name in tool("--describe", "--all-groups", "--state")
    tool("--delete", "--group", name)
    assert name not in tool("--list").split()


@pytest.mark.parametrize("version", VERSIONS)
def test_log_dirs(cluster, name, version):
    make(cluster, name, 2)
    fill(cluster, name)
    text = cluster.tool("kafka-log-dirs", "--describe", "--topic-list", name, "--broker-list", "1,2,3", version=version)
    told = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    assert {b["broker"] for b in told["brokers"]} == {1, 2, 3}
    for broker in told["brokers"]:
        folder, = broker["logDirs"]
        assert folder["logDir"] == str(cluster.brokers[broker["broker"]].data) and folder["error"] is None
        sizes = {p["partition"]: p["size"] for p in folder["partitions"]}
        for partition, size in sizes.items():
            files = (cluster.brokers[broker["broker"]].data / partition).glob("*.log")
            assert size == sum(f.stat().st_size for f in files)
        assert set(sizes) == {f"{name}-0", f"{name}-1"} and all(p["offsetLag"] == 0 and not p["isFuture"] for p in folder["partitions"])


@pytest.mark.parametrize("version", VERSIONS)
def test_replicas_are_compared(cluster, name, version, tmp_path):
    """It fetches from every replica, as a follower that is none, and says how far they are apart."""
    make(cluster, name, 2)
    fill(cluster, name)
    include = "--topics-include" if version == KAFKA else "--topic-white-list"
    command = [PEERS / "kafka-run", version, "kafka-replica-verification", "--broker-list", cluster.bootstrap, include, name, "--report-interval-ms", 500]
    process = Process("verification", command, tmp_path / "log", JAVA)
    try:
        text = wait_for(lambda: len(re.findall("max lag is", process.text())) >= 3 and process.text(), "it reports", 60, 0.2)
        assert re.search(r"max lag is 0 for partition .*among 2 partitions", text), text
        assert "mismatch" not in text.lower() and "differ" not in text, text
    finally:
        process.kill()


@pytest.mark.parametrize("version", VERSIONS)
def test_counting_programs(cluster, name, version):
    """What a broker's death in the middle leaves to count: all that was acknowledged."""
    make(cluster, name)
    option = "--broker-list" if version == OLD_KAFKA else "--bootstrap-server"
    out = kafka(version, "kafka-verifiable-producer", option, cluster.bootstrap, "--topic", name, "--max-messages", 3000, "--acks", -1)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert sum(e["name"] == "producer_send_success" for e in events) == 3000
    out = kafka(version, "kafka-verifiable-consumer", option, cluster.bootstrap, "--topic", name, "--group-id", name, "--max-messages", 3000,
                "--reset-policy", "earliest", "--verbose")
    read = [e["value"] for line in out.splitlines() if line.startswith("{") and (e := json.loads(line))["name"] == "record_data"]
    assert sorted(map(int, read)) == list(range(3000))


def test_versions_offsets_records_and_features(cluster, name, tmp_path):
    for version in VERSIONS:
        text = cluster.tool("kafka-broker-api-versions", version=version)
        assert all(f"{b.bootstrap} (id: {b.id} rack: {b.config['broker.rack']})" in text for b in cluster.brokers.values()), text
    make(cluster, name, 2)
    fill(cluster, name, 40, 0)
    path = tmp_path / "records.json"
    path.write_text(json.dumps({"version": 1, "partitions": [{"topic": name, "partition": 0, "offset": 15}]}))
    for version in VERSIONS:
        assert "low_watermark: 15" in cluster.tool("kafka-delete-records", "--offset-json-file", path, version=version)
    assert f"{name}:0:15" in cluster.tool("kafka-get-offsets", "--topic", name, "--time", "-2")
    assert "Cluster ID: " in kafka(KAFKA, "kafka-cluster-tool", "cluster-id", "--bootstrap-server", cluster.bootstrap)
    cluster.tool("kafka-features", "describe")
    assert AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(name, timeout=10).topics[name].partitions
