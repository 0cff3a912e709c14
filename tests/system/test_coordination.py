"""What the cluster lives on fails: the coordination service of one node, and an ensemble of three of Apache ZooKeeper's."""
import pytest

from cluster import KAFKA
from operations import Tree, create_topics
from shared import wait_for


@pytest.fixture
def ensemble(make_cluster):
    return make_cluster(zookeeper=KAFKA, ensemble=3)


def by_mode(cluster, mode):
    return wait_for(lambda: next((z for z in cluster.zookeepers if z.alive and z.mode() == mode), None), f"there is a ZooKeeper {mode}")


@pytest.mark.short
def test_the_only_node_is_killed_and_comes_back(cluster):
    load = cluster.load()
    zk = cluster.zookeepers[0]
    zk.kill()
    load.wait_acked()  # what leads goes on leading
    zk.start()
    cluster.wait_known()
    cluster.leader(load.topics[0]).kill()
    load.wait_acked()
    cluster.recover()
    load.finish()


def test_the_only_node_is_paused_for_longer_than_a_session(cluster):
    """What it does when it goes on is its own affair (sessions may all have ended): the cluster finds itself again."""
    load = cluster.load()
    zk = cluster.zookeepers[0]
    zk.pause()
    for _ in range(3):
        load.wait_acked()
    zk.resume()
    cluster.wait_known()
    load.wait_acked()
    load.finish()


def works(cluster, load, name):
    """Coordination is there again: a topic is made, and a dead leader's place is taken."""
    wait_for(lambda: create_topics(cluster, [name])[name] in (None, "TOPIC_ALREADY_EXISTS"), "a topic is made", 60)
    cluster.wait_in_sync([name])
    cluster.leader(load.topics[0]).kill()
    load.wait_acked()
    cluster.recover()
    cluster.wait_known()


@pytest.mark.parametrize("mode", ["follower", "leader"])
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_node_of_an_ensemble_is_gone(ensemble, mode, how):
    """Paused, its connections are still there and say nothing."""
    load = ensemble.load()
    zk = by_mode(ensemble, mode)
    getattr(zk, how)()
    load.wait_acked()
    wait_for(lambda: any(z is not zk and z.mode() == "leader" for z in ensemble.zookeepers), "the other two have a leader", 60, 0.1)
    ensemble.leader(load.topics[0]).kill()  # coordination still works
    load.wait_acked()
    ensemble.recover()
    load.finish()


def test_an_ensemble_without_a_quorum(ensemble):
    """What is left serves readers only. A broker is none: it waits, and what leads goes on leading."""
    load = ensemble.load()
    dead = [by_mode(ensemble, "leader"), by_mode(ensemble, "follower")]
    for zk in dead:
        zk.kill()
    left, = (z for z in ensemble.zookeepers if z not in dead)
    wait_for(lambda: left.mode() == "read-only", "it serves readers", 60, 0.1)
    load.wait_acked()
    load.wait_acked()
    assert create_topics(ensemble, ["not-now"]) != {"not-now": None}
    ensemble.recover()
    ensemble.wait_known()
    works(ensemble, load, "now")
    load.finish()


def test_a_slow_ensemble(ensemble):
    """Each of its writes takes its time."""
    load = ensemble.load()
    for zk in ensemble.zookeepers:
        zk.faults.slow_disk(sync_ms=250)
    works(ensemble, load, "slowly")
    ensemble.heal()
    load.wait_acked()
    load.finish()


@pytest.mark.network
def test_each_brokers_session_expires(ensemble):
    """It hears of it when the way is there again, and comes back by itself with a new epoch."""
    load = ensemble.load()
    with Tree(ensemble) as tree:
        for broker in ensemble.brokers.values():
            path = f"/brokers/ids/{broker.id}"
            before = tree.zk.exists(path)
            ensemble.cut(broker, *ensemble.zookeepers)
            wait_for(lambda: not tree.zk.exists(path), f"{broker.name}'s session is over", 60, 0.1)
            ensemble.heal()
            wait_for(lambda: (now := tree.zk.exists(path)) and now.czxid > before.czxid, f"{broker.name} is registered again", 60, 0.1)
            assert broker.alive
            ensemble.wait_known()
            ensemble.wait_in_sync(load.topics)
    works(ensemble, load, "afterwards")
    load.finish()


def test_an_ensemble_that_is_paused_for_longer_than_a_session(ensemble):
    load = ensemble.load()
    for zk in ensemble.zookeepers:
        zk.pause()
    for _ in range(3):
        load.wait_acked()
    for zk in ensemble.zookeepers:
        zk.resume()
    ensemble.wait_known()
    load.wait_acked()
    load.finish()


@pytest.mark.network
def test_a_broker_and_its_zookeeper_node_are_on_the_other_side(ensemble):
    """A room is cut off: one broker with one node of the ensemble, a minority."""
    load = ensemble.load()
    broker, zk = ensemble.leader(load.topics[0]), by_mode(ensemble, "follower")
    for inside in broker, zk:
        for outside in [*ensemble.peers(broker), *[z for z in ensemble.zookeepers if z is not zk]]:
            ensemble.cut(inside, outside)
    load.wait_acked()
    ensemble.heal()
    ensemble.wait_known()
    load.finish()


def test_a_chroot(make_cluster):
    cluster = make_cluster(config={"chroot": "/some/where"})
    load = cluster.load()
    cluster.leader(load.topics[0]).kill()
    load.wait_acked()
    cluster.recover()
    load.finish()
