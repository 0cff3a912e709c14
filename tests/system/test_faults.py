"""One fault at a time against three brokers under load. Each test ends with the cluster whole and the checker's verdict:
no acknowledged record lost, changed, out of order or twice, none read that is gone, every replica equal, no group's offset
lost. In between it asks what must go on meanwhile."""
import errno
import signal

import pytest

from conftest import TOPICS
from shared import wait_for

TOPIC = TOPICS[0].name


def led_by(cluster, load, broker, led=True):
    """The load's partitions that this broker leads, or does not."""
    view = next(b for b in cluster.live if b is not broker).view(load.topics)
    return [w for w in load.where if (view.topics[w[0]].partitions[w[1]].leader == broker.id) == led]


def leads_nothing(cluster, load, broker):
    wait_for(lambda: not led_by(cluster, load, broker), f"{broker.name} leads nothing in the eyes of others", 60, 0.1)


@pytest.mark.short
def test_a_leader_is_killed(cluster):
    load = cluster.load()
    leader = cluster.leader(TOPIC)
    leader.kill()
    load.wait_acked()
    leads_nothing(cluster, load, leader)
    leader.start()
    load.finish()


def test_each_broker_is_killed_in_turn_and_comes_back(cluster):
    load = cluster.load()
    for broker in cluster.brokers.values():
        broker.kill()
        load.wait_acked()
        broker.start()
        cluster.wait_in_sync(load.topics)
    load.wait_commits()
    load.finish()


@pytest.mark.short
def test_all_brokers_are_killed_at_once(cluster):
    load = cluster.load()
    for broker in cluster.brokers.values():
        broker.kill()
    cluster.recover()
    load.wait_acked()
    load.wait_commits()
    load.finish()


def test_two_of_three_are_killed_and_nothing_is_acknowledged_until_one_is_back(cluster):
    """Below min.insync.replicas: producers wait or are told so, and all goes on afterwards."""
    load = cluster.load()
    one, two, left = cluster.brokers.values()
    one.kill()
    two.kill()
    wait_for(lambda: all(p.isr == [left.id] for t in left.view(load.topics).topics.values() for p in t.partitions.values()),
             "the one that is left is alone in sync", 60, 0.1)
    before = load.acked
    wait_for(lambda: load.history.counts["unknown"] >= 20, "records of the plain producer time out")
    assert load.acked == before, "acknowledged by one replica, with min.insync.replicas=2"
    two.start()
    load.wait_acked()
    one.start()
    load.finish()


@pytest.mark.short
def test_a_leader_is_paused_and_comes_back_as_a_former_leader(cluster):
    load = cluster.load()
    leader = cluster.leader(TOPIC)
    leader.pause()
    load.wait_acked()
    leads_nothing(cluster, load, leader)
    leader.resume()
    load.wait_acked()
    load.finish()


def test_a_leader_is_paused_again_and_again_for_less_than_a_session(cluster):
    load = cluster.load()
    for _ in range(4):
        leader = cluster.leader(TOPIC)
        leader.pause()
        load.wait_acked(where=led_by(cluster, load, leader, led=False)[:1])
        leader.resume()
        load.wait_acked()
    load.finish()


def test_all_brokers_are_paused_longer_than_a_session(cluster):
    """Their sessions end while none of them runs; each comes back by itself."""
    load = cluster.load()
    for broker in cluster.brokers.values():
        broker.pause()
    wait_gone(cluster)
    for broker in cluster.brokers.values():
        broker.resume()
    cluster.wait_known()
    load.wait_acked()
    load.finish()


def wait_gone(cluster, broker=None):
    """ZooKeeper has forgotten this broker (or all)."""
    from kazoo.client import KazooClient
    zk = KazooClient(cluster.connect, timeout=10)
    zk.start(30)
    try:
        def gone():
            ids = zk.get_children("/brokers/ids")
            return not ids if broker is None else str(broker.id) not in ids
        wait_for(gone, "sessions have ended", 60, 0.1)
    finally:
        zk.stop()
        zk.close()


@pytest.mark.network
@pytest.mark.parametrize("who", ["leader", "controller"])
def test_a_broker_is_cut_from_its_peers(cluster, who):
    """It keeps its session and its partitions, and can commit nothing; the others' partitions go on without it."""
    load = cluster.load()
    broker = cluster.leader(TOPIC) if who == "leader" else cluster.controller()
    others = led_by(cluster, load, broker, led=False)
    cluster.cut(broker, *cluster.peers(broker))
    if who == "leader" and cluster.controller() is not broker:
        load.wait_acked(where=others)
    else:
        wait_for(lambda: broker.view([TOPIC]).topics[TOPIC], f"{broker.name} answers clients")
    cluster.heal()
    load.wait_acked()
    load.finish()


@pytest.mark.network
@pytest.mark.parametrize("who", ["leader", "controller"])
def test_a_broker_is_cut_from_zookeeper(cluster, who):
    """Its session ends, others lead; what it still believes must harm nobody. Then it comes back by itself."""
    load = cluster.load()
    broker = cluster.leader(TOPIC) if who == "leader" else cluster.controller()
    cluster.cut(broker, *cluster.zookeepers)
    wait_gone(cluster, broker)
    wait_for(lambda: all(b.view([]).controller not in (-1, broker.id) for b in cluster.peers(broker)), "another controller", 60, 0.1)
    leads_nothing(cluster, load, broker)
    load.wait_acked()
    cluster.heal()
    cluster.wait_known()
    load.finish()


@pytest.mark.network
@pytest.mark.short
def test_a_broker_is_cut_from_peers_and_zookeeper(cluster):
    """Clients still reach it: a leader that does not know of its successor."""
    load = cluster.load()
    broker = cluster.leader(TOPIC)
    cluster.cut(broker, *cluster.peers(broker), *cluster.zookeepers)
    wait_gone(cluster, broker)
    leads_nothing(cluster, load, broker)
    load.wait_acked()
    cluster.heal()
    cluster.wait_known()
    load.finish()


@pytest.mark.network
def test_a_host_is_gone_without_a_word(cluster):
    """Nobody reaches it, and no connection is told."""
    load = cluster.load()
    broker = cluster.leader(TOPIC)
    cluster.cut_off(broker)
    load.wait_acked()
    cluster.heal()
    cluster.wait_known()
    load.finish()


@pytest.mark.network
@pytest.mark.parametrize("direction", ["from", "to"])
@pytest.mark.parametrize("others", ["peers", "zookeeper"])
def test_a_way_is_cut_in_one_direction(cluster, direction, others):
    load = cluster.load()
    broker = cluster.leader(TOPIC)
    ends = cluster.peers(broker) if others == "peers" else cluster.zookeepers
    for other in ends:
        if direction == "from":
            cluster.cut_one_way(broker, other)
        else:
            cluster.cut_one_way(other, broker)
    if others == "zookeeper":
        wait_gone(cluster, broker)
        load.wait_acked()
    elif cluster.controller() is not broker:
        load.wait_acked(where=led_by(cluster, load, broker, led=False))
    cluster.heal()
    cluster.wait_known()
    load.wait_acked()
    load.finish()


@pytest.mark.network
def test_two_brokers_do_not_reach_each_other(cluster):
    """All three reach ZooKeeper and the third."""
    load = cluster.load()
    controller = cluster.controller()
    a, b = cluster.peers(controller)
    cluster.cut(a, b)
    load.wait_acked(where=led_by(cluster, load, controller))
    cluster.heal()
    load.wait_acked()
    load.finish()


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_slow_disk(cluster, who):
    load = cluster.load(rate=20)
    broker = cluster.leader(TOPIC) if who == "leader" else cluster.followers(TOPIC)[0]
    cluster.note(f"slow disk of {broker.name}")
    broker.faults.slow_disk(write_ms=40, sync_ms=400)
    load.wait_acked()
    load.wait_acked()
    load.wait_commits()
    cluster.heal()
    load.wait_acked()
    load.finish()


@pytest.mark.root
@pytest.mark.short
def test_a_full_disk(make_cluster):
    """The broker whose disk is full may go on without its log directory or end; the others go on. With room again it is
    started again if need be, and takes part."""
    cluster = make_cluster(start=False)
    broker = cluster.brokers[2]
    disk = broker.small_disk(192)
    cluster.start()
    load = cluster.load()
    cluster.note(f"full disk of {broker.name}")
    disk.fill()
    load.wait_acked()
    load.wait_acked()
    disk.empty()
    restart(cluster, broker)
    load.wait_acked()
    load.finish()


def restart(cluster, broker):
    """A broker whose log directory failed wants a new start, as Kafka's does."""
    cluster.heal()
    if broker.alive:
        try:
            broker.stop(30)
        except AssertionError:
            broker.kill()
    broker.start()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_disk_that_fails(cluster, number):
    load = cluster.load()
    broker = cluster.leader(TOPIC)
    cluster.note(f"writes fail with {errno.errorcode[number]} at {broker.name}")
    broker.faults.broken_disk(number)
    load.wait_acked()
    restart(cluster, broker)
    load.wait_acked()
    load.finish()


@pytest.mark.parametrize("seconds", [3600, -3600, 40, -40])
def test_a_clock_jumps(cluster, seconds):
    load = cluster.load()
    for broker in cluster.leader(TOPIC), cluster.controller():
        cluster.note(f"the clock of {broker.name} jumps by {seconds} s")
        broker.faults.clock(seconds)
        load.wait_acked()
        load.wait_commits()
    for broker in cluster.brokers.values():
        broker.faults.clock(seconds)
    load.wait_acked()
    cluster.heal()
    load.wait_acked()
    cluster.wait_known()
    load.finish()


@pytest.mark.short
def test_rolling_restart(cluster):
    """Controlled shutdown: leadership moves first, and no client sees an error that it does not retry."""
    load = cluster.load()
    cluster.wait_in_sync()  # the groups' offsets too
    for broker in [b for b in cluster.brokers.values()]:
        broker.stop()
        leads_nothing(cluster, load, broker)
        load.wait_acked()
        broker.start()
        cluster.wait_in_sync()
    load.finish()
    assert load.history.counts["unknown"] == 0, "a plain producer's record timed out during a controlled shutdown"


def test_a_broker_ends_by_sigterm_while_another_is_dead(cluster):
    load = cluster.load()
    dead, leaving, _ = cluster.brokers.values()
    dead.kill()
    load.wait_acked()
    leaving.term()
    wait_for(lambda: not leaving.alive, f"{leaving.name} ends", 90, 0.1)
    cluster.recover()
    load.wait_acked()
    load.finish()


def test_a_broker_is_killed_while_it_recovers(cluster):
    load = cluster.load()
    broker = cluster.leader(TOPIC)
    broker.kill()
    load.wait_acked()
    for _ in range(3):
        broker.start(wait=False)
        wait_for(lambda: broker.text() or not broker.alive, "it began", 30)
        broker.signal(signal.SIGKILL)
        wait_for(lambda: not broker.alive, "it is dead")
    broker.start()
    load.finish()
