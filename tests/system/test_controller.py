"""A controller that is killed in the middle of its operations: the next one brings each to its end."""
import json

import pytest
from confluent_kafka.admin import NewPartitions

from conftest import TOPICS
from operations import InBackground, Tree, admin, create_topics, delete_topics, outcomes, wait_absent
from shared import wait_for

MANY = 40


@pytest.fixture
def tree(cluster):
    with Tree(cluster) as tree:
        yield tree


def replace(cluster, load):
    """The controller dies; another is elected with a higher epoch."""
    with Tree(cluster) as tree:
        old, epoch = cluster.controller(), tree.json("/controller_epoch")
        old.kill()
        wait_for(lambda: (c := tree.json("/controller")) and c["brokerid"] != old.id, "another controller", 60)
        assert tree.json("/controller_epoch") > epoch
    return old


@pytest.mark.short
def test_killed_while_it_creates_topics(cluster, tree, name):
    load = cluster.load(rate=20)
    names = [f"{name}-{i}" for i in range(MANY)]
    asked = InBackground(lambda: create_topics(cluster, names))
    wait_for(lambda: tree.with_state(name) > 5, "some are made", 60, 0)
    dead = replace(cluster, load)
    answers = asked.wait()
    # What was created is whole, on the two that live; what was refused or lost is there or not, but not half.
    made = sorted(tree.topics(name))
    assert set(made) >= {n for n, error in (answers or {}).items() if error is None}
    wait_for(lambda: all(tree.state(t, p) and tree.state(t, p)["leader"] not in (-1, dead.id) for t in made for p in range(3)),
             "what is there has leaders", 60, 0.2)
    dead.start()
    cluster.wait_in_sync(made)
    missing = [n for n in names if n not in made]
    if missing:
        assert set(create_topics(cluster, missing).values()) <= {None, "TOPIC_ALREADY_EXISTS"}
        cluster.wait_in_sync(names)
    load.finish()


def test_killed_while_it_deletes_topics(cluster, tree, name):
    load = cluster.load(rate=20)
    names = [f"{name}-{i}" for i in range(MANY)]
    assert set(create_topics(cluster, names).values()) == {None}
    cluster.wait_in_sync(names)
    asked = InBackground(lambda: delete_topics(cluster, names))
    wait_for(lambda: tree.children("/admin/delete_topics"), "deletion began", 60, 0)
    wait_for(lambda: len(tree.topics(name)) < MANY or not tree.children("/admin/delete_topics"), "some are gone", 60, 0)
    dead = replace(cluster, load)
    asked.wait()
    load.wait_acked()
    dead.start()
    delete_topics(cluster, sorted(tree.topics(name) - set(tree.children("/admin/delete_topics"))))
    wait_absent(cluster, tree, names)
    # The names are free: nothing of the deleted ones' records is in new ones.
    wait_for(lambda: set(create_topics(cluster, names[:5]).values()) <= {None, "TOPIC_ALREADY_EXISTS"}, "the names can be used")
    cluster.wait_in_sync(names[:5])
    load.finish()


def test_killed_while_it_moves_partitions(cluster):
    load = cluster.load()
    with Tree(cluster) as tree:
        moves = {}
        for topic in load.topics:
            for partition, replicas in tree.assignment(topic).items():
                moves[topic, partition] = [replicas[1], replicas[2]] if partition % 2 else [replicas[2], replicas[0], replicas[1]]
        tree.reassign(moves)
        dead = replace(cluster, load)
        dead.start()
        wait_for(lambda: not tree.reassigning(), "the reassignment ended", 120, 0.1)
        for (topic, partition), replicas in moves.items():
            assert tree.assignment(topic)[partition] == replicas
        back = {(t, p): sorted(tree.assignment(t)[p] + [b for b in (1, 2, 3) if b not in tree.assignment(t)[p]]) for t, p in moves}
        cluster.wait_in_sync(load.topics)
        tree.reassign(back)
        dead = replace(cluster, load)
        dead.start()
        wait_for(lambda: not tree.reassigning(), "the way back ended", 120, 0.1)
        for (topic, partition), replicas in back.items():
            assert tree.assignment(topic)[partition] == replicas
    load.wait_acked()
    load.finish()


def test_killed_while_it_adds_partitions(cluster, tree, name):
    load = cluster.load(rate=20)
    names = [f"{name}-{i}" for i in range(MANY)]
    assert set(create_topics(cluster, names).values()) == {None}
    client = admin(cluster)

    def grow():
        return outcomes(client.create_partitions([NewPartitions(n, 8) for n in names], operation_timeout=30, request_timeout=40))

    asked = InBackground(grow)
    wait_for(lambda: tree.with_state(name) > 3 * MANY + 5, "some are there", 60, 0)
    dead = replace(cluster, load)
    asked.wait()
    # A topic has grown or not, and what it has grown by has leaders.
    wait_for(lambda: all(len(a := tree.assignment(n)) in (3, 8) and all((s := tree.state(n, p)) and s["leader"] not in (-1, dead.id) for p in a)
                         for n in names), "all partitions have leaders", 60, 0.2)
    dead.start()
    wait_for(lambda: (grow(), {len(tree.assignment(n)) for n in names} == {8})[1], "all have grown", 60, 0.2)
    cluster.wait_in_sync(names)
    load.finish()


def test_killed_while_it_elects_preferred_leaders(cluster, tree):
    load = cluster.load()
    first = {w: tree.assignment(w[0])[w[1]][0] for w in load.where}
    for _ in range(3):
        broker = cluster.peers(cluster.controller())[0]
        broker.stop()
        load.wait_acked()
        broker.start()
        cluster.wait_in_sync(load.topics)
        ask = json.dumps({"version": 1, "partitions": [{"topic": t, "partition": p} for t, p in load.where]}).encode()
        tree.zk.create("/admin/preferred_replica_election", ask)
        dead = replace(cluster, load)
        wait_for(lambda: not tree.zk.exists("/admin/preferred_replica_election"), "the election has ended", 60, 0.1)
        load.wait_acked()
        dead.start()
        cluster.wait_in_sync(load.topics)
    tree.zk.create("/admin/preferred_replica_election", ask)
    wait_for(lambda: all(tree.state(*w)["leader"] == id for w, id in first.items()), "the first replicas lead", 60, 0.1)
    load.wait_acked()
    load.finish()


def test_killed_together_with_a_leader(cluster):
    """The loss of a broker is noticed by a controller that dies of it."""
    load = cluster.load()
    controller = cluster.controller()
    other = cluster.peers(controller)[0]
    other.kill()
    controller.kill()
    left = next(b for b in cluster.live)
    wait_for(lambda: all(p.leader == left.id for t in left.view(load.topics).topics.values() for p in t.partitions.values()),
             "the last one leads all", 60, 0.1)
    other.start()
    load.wait_acked()
    controller.start()
    load.finish()


def test_killed_while_a_broker_comes_back(cluster):
    load = cluster.load()
    controller = cluster.controller()
    other = cluster.peers(controller)[0]
    other.kill()
    load.wait_acked()
    other.start()
    controller.kill()
    cluster.controller()
    load.wait_acked()
    controller.start()
    load.finish()


def test_killed_while_a_broker_shuts_down(cluster):
    load = cluster.load()
    controller = cluster.controller()
    other = cluster.peers(controller)[0]
    other.term()
    controller.kill()
    wait_for(lambda: not other.alive, f"{other.name} ends", 90, 0.1)
    cluster.recover()
    load.wait_acked()
    load.finish()


def test_each_controller_is_killed_as_soon_as_it_is_elected(cluster, tree):
    """Epochs only rise, and one of three is always left to take over."""
    load = cluster.load()
    epochs = [tree.json("/controller_epoch")]
    for _ in range(5):
        killed = replace(cluster, load)
        epochs.append(tree.json("/controller_epoch"))
        killed.start()
        cluster.wait_in_sync(load.topics)
    assert epochs == sorted(set(epochs))
    load.wait_acked()
    load.finish()


def test_a_paused_controller_comes_back_and_is_fenced(cluster, tree):
    load = cluster.load()
    controller = cluster.controller()
    controller.pause()
    wait_for(lambda: (c := tree.json("/controller")) and c["brokerid"] != controller.id, "another controller", 60)
    view = tree.json("/controller")
    assert create_topics(cluster, ["made-meanwhile"], replication=2) == {"made-meanwhile": None}
    controller.resume()
    cluster.wait_known()
    assert tree.json("/controller") == view
    cluster.wait_in_sync()
    load.wait_acked()
    load.finish()


def test_the_controllers_znode_is_deleted(cluster, tree):
    """What an operator does to have a controller elected again."""
    load = cluster.load()
    epoch = tree.json("/controller_epoch")
    tree.zk.delete("/controller")
    wait_for(lambda: tree.json("/controller") and tree.json("/controller_epoch") > epoch, "a controller is elected", 30)
    cluster.wait_known()
    cluster.leader(TOPICS[0].name).kill()
    load.wait_acked()
    cluster.recover()
    load.finish()
