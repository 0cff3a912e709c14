"""What the cluster lives on fails: the coordination service of one node, and an ensemble of three of Apache ZooKeeper's."""
import pytest

from cluster import KAFKA
from shared import wait_for


@pytest.fixture
def ensemble(make_cluster):
    return make_cluster(zookeeper=KAFKA, ensemble=3)


def by_mode(cluster, mode):
    return wait_for(lambda: next((z for z in cluster.zookeepers if z.alive and z.mode() == mode), None), f"there is a ZooKeeper {mode}")


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


@pytest.mark.parametrize("mode", ["follower", "leader"])
def test_a_node_of_an_ensemble_is_killed(ensemble, mode):
    load = ensemble.load()
    zk = by_mode(ensemble, mode)
    zk.kill()
    load.wait_acked()
    by_mode(ensemble, "leader")
    ensemble.leader(load.topics[0]).kill()  # coordination still works
    load.wait_acked()
    ensemble.recover()
    load.finish()


def test_an_ensemble_without_a_quorum(ensemble):
    load = ensemble.load()
    for zk in ensemble.zookeepers[:2]:
        zk.kill()
    load.wait_acked()
    ensemble.recover()
    ensemble.wait_known()
    ensemble.leader(load.topics[0]).kill()
    load.wait_acked()
    ensemble.recover()
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
