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
    """The controller is alive and does its work."""
    assert create_topics(cluster, [name]) == {name: None}
    cluster.wait_in_sync([name])


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
    load.finish()


@pytest.mark.parametrize("data", [b"", b"{", b"not json", b"[]", b'{"version":1,"partitions":7}', b'{"version":99}', b"\xff" * 100,
                                  b'{"version":1,"partitions":[{"topic":"nowhere","partition":0,"replicas":[1]}]}'], ids=repr)
@pytest.mark.parametrize("path", ["/admin/reassign_partitions", "/admin/preferred_replica_election"])
def test_an_admin_znode_that_makes_no_sense(shared_cluster, data, path, name):
    """It is thrown away, so that the next request has its place."""
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


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version":1}', b'{"version":1,"partitions":{"0":[]}}', b'{"version":1,"partitions":{"0":[9,9]}}',
                                  b'{"version":1,"partitions":{"x":[1]}}', b'{"version":2,"partitions":{"0":["a"]}}',
                                  b'{"version":3,"topic_id":"zz","partitions":{"0":[1]},"adding_replicas":3,"removing_replicas":{}}',
                                  b"\xff" * 50], ids=repr)
@pytest.mark.weir
def test_a_topic_that_is_half_written(shared_cluster, data, name):
    with Tree(shared_cluster) as tree:
        tree.zk.create(f"/brokers/topics/half-{name}", data)
        works(shared_cluster, name)
        controller = shared_cluster.controller()
        tree.zk.delete("/controller")  # the next one reads the whole tree
        wait_for(lambda: tree.json("/controller"), "a controller is elected")
        shared_cluster.wait_known()
        works(shared_cluster, name + "-again")
        assert controller.alive
        tree.zk.delete(f"/brokers/topics/half-{name}", recursive=True)


@pytest.mark.parametrize("path", ["/brokers/topics/{}/partitions/0/state", "/config/topics/{}"])
@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"leader":"x"}'], ids=repr)
@pytest.mark.weir
def test_a_topics_znode_that_is_spoilt(shared_cluster, path, data, name):
    """The topic may suffer; nothing else does."""
    create_topics(shared_cluster, [name])
    with Tree(shared_cluster) as tree:
        tree.zk.set(path.format(name), data)
        tree.zk.delete("/controller")
        wait_for(lambda: tree.json("/controller"), "a controller is elected")
        shared_cluster.wait_known()
        works(shared_cluster, name + "-other")
        assert all(b.alive for b in shared_cluster.brokers.values())


def test_a_broker_id_taken_twice(cluster):
    """The second ends with an error that names the id; the first does not notice."""
    load = cluster.load(rate=20)
    second = Broker(cluster, 9, cluster.brokers[1].kind, {"broker.id": 1})
    try:
        second.launch()
        wait_for(lambda: not second.alive, "the second ends", 90, 0.1)
        assert re.search(r"NodeExists|already|taken|registered", second.text()), second.text()[-2000:]
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
