"""What others leave in the tree and on disks: a clear error that names it, nothing lost, and the rest of the cluster goes on."""
import json
import re

import pytest

from cluster import Broker
from operations import Tree, create_topics
from shared import wait_for


@pytest.fixture
def tree(cluster):
    with Tree(cluster) as tree:
        yield tree


def works(cluster, name):
    """The controller is alive and does its work. Who asks one that has just lost its office is told so, and asks again."""
    wait_for(lambda: (answers := create_topics(cluster, [name])) != {name: "NOT_CONTROLLER"} and answers == {name: None}, "a topic is made")
    cluster.wait_in_sync([name])


def elect_again(cluster, tree):
    """The next controller reads the whole tree."""
    epoch = tree.json("/controller_epoch")
    tree.zk.delete("/controller")
    wait_for(lambda: tree.json("/controller") and tree.json("/controller_epoch") > epoch, "a controller is elected")
    wait_for(lambda: (c := tree.json("/controller")) and all(b.view([]).controller == c["brokerid"] for b in cluster.live), "all know it")


def said(cluster, *words):
    """Some broker's log has a line with all of these."""
    return any(all(w in line for w in words) for b in cluster.live for line in b.text().splitlines())


@pytest.mark.short
def test_a_reassignment_to_a_broker_that_is_not_there(cluster, tree, name):
    """By znode Kafka lets it wait for those brokers; what is asked with it is done, and the partition keeps its leader."""
    load = cluster.load(rate=20)
    assert create_topics(cluster, [name]) == {name: None}
    cluster.wait_in_sync([name])
    topic = load.topics[0]
    turned = list(reversed(tree.assignment(topic)[1]))
    tree.reassign({(name, 0): [77, 78, 79], (topic, 1): turned})
    wait_for(lambda: tree.assignment(topic)[1] == turned, "the good part is done")
    works(cluster, name + "-other")
    assert tree.state(name, 0)["leader"] in cluster.brokers
    if all(b.kind == "weir" for b in cluster.brokers.values()):
        assert said(cluster, f"{name}-0", "77"), "no log names the partition and the broker"
    load.finish()


NONSENSE = [b"", pytest.param(b"{", marks=pytest.mark.short), b"not json", b"[]", b'{"version":1,"partitions":7}', b'{"version":99}', b"\xff" * 100]
NOWHERE = b'{"version":1,"partitions":[{"topic":"nowhere","partition":0,"replicas":[1]}]}'


@pytest.mark.parametrize("data", NONSENSE, ids=repr)
def test_a_request_to_move_that_makes_no_sense(shared_cluster, data, name):
    """As with Kafka it stays where it is, in its asker's sight, until that one takes it away: a log says so, all else goes on."""
    with Tree(shared_cluster) as tree:
        tree.zk.create("/admin/reassign_partitions", data)
        wait_for(lambda: said(shared_cluster, "/admin/reassign_partitions") or said(shared_cluster, "Ignoring partition reassignment"), "a log names it")
        works(shared_cluster, name)
        elect_again(shared_cluster, tree)
        works(shared_cluster, name + "-again")
        tree.zk.delete("/admin/reassign_partitions")
        turned = {(name, p): r[::-1] for p, r in tree.assignment(name).items()}
        tree.reassign(turned)
        wait_for(lambda: not tree.reassigning() and {(name, p): r for p, r in tree.assignment(name).items()} == turned, "the next is done")


@pytest.mark.parametrize(("path", "data"), [("/admin/reassign_partitions", NOWHERE),
                                            *[("/admin/preferred_replica_election", d) for d in [b"", b"{", b"[]", b'{"version":1,"partitions":7}', b"\xff" * 100, NOWHERE]]], ids=repr)
def test_a_request_that_is_thrown_away(shared_cluster, path, data, name):
    """So that the next one has its place."""
    with Tree(shared_cluster) as tree:
        tree.zk.create(path, data)
        wait_for(lambda: not tree.zk.exists(path), "it is gone", 60, 0.1)
    works(shared_cluster, name)


@pytest.fixture(scope="module")
def shared_cluster(request):
    from cluster import KAFKA, Cluster
    from conftest import SETS
    brokers = SETS[request.config.getoption("--target")]
    with Cluster(brokers, request.config.getoption("--zookeeper") or ("weir" if "weir" in brokers else KAFKA), name="bad-input") as cluster:
        yield cluster.start()
    cluster.remove()


@pytest.mark.parametrize("data", [b"", pytest.param(b"{", marks=pytest.mark.short), b"[]", b'{"version":1}', b'{"version":1,"partitions":{"0":[]}}', b'{"version":1,"partitions":{"0":[9,9]}}',
                                  b'{"version":1,"partitions":{"x":[1]}}', b'{"version":2,"partitions":{"0":["a"]}}',
                                  b'{"version":3,"topic_id":"zz","partitions":{"0":[1]},"adding_replicas":3,"removing_replicas":{}}',
                                  b"\xff" * 50], ids=repr)
@pytest.mark.weir
def test_a_topic_that_is_half_written(shared_cluster, data, name):
    with Tree(shared_cluster) as tree:
        tree.zk.create(f"/brokers/topics/half-{name}", data)
        works(shared_cluster, name)
        assert said(shared_cluster, f"/brokers/topics/half-{name}")
        elect_again(shared_cluster, tree)
        works(shared_cluster, name + "-again")
        assert all(b.alive for b in shared_cluster.brokers.values())
        tree.zk.delete(f"/brokers/topics/half-{name}", recursive=True)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"leader":"x"}'], ids=repr)
@pytest.mark.weir
def test_a_partitions_state_that_is_spoilt(shared_cluster, data, name):
    """The topic may suffer; nothing else does."""
    create_topics(shared_cluster, [name])
    path = f"/brokers/topics/{name}/partitions/0/state"
    with Tree(shared_cluster) as tree:
        tree.zk.set(path, data)
        elect_again(shared_cluster, tree)
        works(shared_cluster, name + "-other")
        assert said(shared_cluster, path)
        assert all(b.alive for b in shared_cluster.brokers.values())


@pytest.mark.parametrize("data", [b"{", b"[1]", b'{"version":1,"config":7}', b'{"version":1,"config":{"retention.ms":{}}}'], ids=repr)
@pytest.mark.weir
def test_a_topics_configuration_that_is_spoilt(shared_cluster, data, name):
    """The topic has what it had; a broker that starts has the defaults for it."""
    create_topics(shared_cluster, [name])
    path = f"/config/topics/{name}"
    with Tree(shared_cluster) as tree:
        tree.zk.set(path, data)
        tree.zk.create("/config/changes/config_change_", json.dumps({"version": 2, "entity_path": f"topics/{name}"}).encode(), sequence=True)
        wait_for(lambda: all(path in b.text() for b in shared_cluster.live), "each broker's log names it")
        broker = shared_cluster.brokers[2]
        broker.stop()
        broker.start()
        shared_cluster.wait_in_sync([name])
        assert path in broker.text()
        works(shared_cluster, name + "-other")


def test_a_broker_id_taken_twice(cluster):
    """The second ends with an error that names the id; the first does not notice."""
    load = cluster.load(rate=20)
    second = Broker(cluster, 9, cluster.brokers[1].kind, {"broker.id": 1})
    try:
        second.launch()
        wait_for(lambda: not second.alive, "the second ends", 90, 0.1)
        assert re.search(r"broker id 1 is in use: /brokers/ids/1|NodeExists", second.text()), second.text()[-2000:]
        assert second.process.popen.returncode != 0
    finally:
        second.end()
    cluster.wait_known()
    load.wait_acked()
    load.finish()


def test_a_folder_of_another_cluster(cluster):
    load = cluster.load(rate=20)
    broker = cluster.brokers[3]
    broker.stop()
    meta = broker.data / "meta.properties"
    good = meta.read_text()
    meta.write_text(re.sub(r"cluster\.id=.*", "cluster.id=AnotherClusterAAAAAAAA", good))
    broker.launch()
    wait_for(lambda: not broker.alive, "it ends", 90, 0.1)
    assert "AnotherClusterAAAAAAAA" in broker.text()
    meta.write_text(good)
    broker.start()
    load.wait_acked()
    load.finish()


def test_a_folder_of_another_broker(cluster):
    load = cluster.load(rate=20)
    broker = cluster.brokers[3]
    broker.stop()
    meta = broker.data / "meta.properties"
    good = meta.read_text()
    meta.write_text(re.sub(r"broker\.id=.*", "broker.id=2", good))
    broker.launch()
    wait_for(lambda: not broker.alive, "it ends", 90, 0.1)
    assert "meta.properties" in broker.text() or "broker.id" in broker.text()
    meta.write_text(good)
    broker.start()
    load.finish()


def contradict(folder, file, change):
    path = folder / file
    lines = path.read_text().splitlines()
    entries = [line.split() for line in lines[2:]]
    path.write_text("\n".join([*lines[:2], *[f"{t} {p} {change(int(offset))}" for t, p, offset in entries]]) + "\n")


@pytest.mark.parametrize("file", ["replication-offset-checkpoint", "recovery-point-offset-checkpoint", "log-start-offset-checkpoint"])
@pytest.mark.parametrize("change", ["beyond", "gone", "garbage"])
@pytest.mark.weir
def test_a_checkpoint_that_contradicts_the_log(cluster, file, change):
    """The log counts: what the broker has and had acknowledged is there, on all replicas, whatever the file says."""
    load = cluster.load(rate=20)
    broker = cluster.leader(load.topics[0])
    broker.kill()
    path = broker.data / file
    if not path.exists() and change != "garbage":
        path.write_text("0\n0\n")
    if change == "beyond" and file != "log-start-offset-checkpoint":
        contradict(broker.data, file, lambda offset: offset + 1_000_000)
    elif change == "gone":
        path.unlink()
    else:
        path.write_bytes(b"0\nmany\n\xff\xfe nothing of use\n")
    load.wait_acked()
    broker.start()
    cluster.wait_in_sync(load.topics)
    assert change != "garbage" or file in broker.text(), "no log names the file"
    load.wait_acked()
    load.finish()


@pytest.mark.weir
def test_a_spoilt_partition_state_does_not_end_the_controller(cluster, tree, name):
    """Every broker's controller meets the same bad state in turn, and none of them is stopped by it."""
    load = cluster.load(rate=20)
    create_topics(cluster, [name])
    tree.zk.set(f"/brokers/topics/{name}/partitions/0/state", json.dumps({"leader": 5, "isr": [5, 6]}).encode())
    for _ in range(3):
        controller = cluster.controller()
        controller.kill()
        wait_for(lambda: (c := tree.json("/controller")) and c["brokerid"] != controller.id, "another controller", 60)
        load.wait_acked()
        controller.start()
        cluster.wait_in_sync(load.topics)
    load.finish()
