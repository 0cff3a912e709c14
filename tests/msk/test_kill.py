"""Operations go on whoever dies: control planes are killed and paused in the middle of them, where their journal says. Of
several control planes one is active; the others answer as well, and follow it."""
import os
import signal
import threading

import pytest
from conftest import wanted
from planes import Planes, begun, change, configuration, create, described, gone, is_over, operation, wait_step
from support.wait import wait_for

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def planes(tmp_path):
    with Planes(tmp_path) as planes:
        yield planes


def again(planes, control):
    """kill -9, and the next one."""
    control.process.kill()
    return planes.start().wait_active()


def ended(control, arn, seconds=120):
    info = wait_for(lambda: is_over(control, arn), "the operation ends", seconds, 0.05)
    assert info["OperationState"].endswith("_COMPLETE"), info
    return info


def kill_at(planes, control, arn, steps):
    """Kills the control plane at each of these steps of an operation, in order; gives the one that is left and how many."""
    killed = 0
    for step in steps:
        if not wait_step(control, arn, step):
            break
        control = again(planes, control)
        killed += 1
    return control, killed


def test_an_operation_goes_on_after_each_kill(planes):
    control = planes.start().wait_active()
    arn = control.kafka.create_cluster(**wanted())["ClusterArn"]
    first = described(control, arn)["ActiveOperationArn"]
    control, killed = kill_at(planes, control, first, ["TAKE_ADDRESSES", "START_BROKERS"])
    assert killed
    wait_for(lambda: described(control, arn)["State"] == "ACTIVE", "it is made", 60)
    assert len(planes.brokers()) == 3 and set(planes.starts().values()) == {1}, "nobody was started twice"

    before = described(control, arn)["CurrentVersion"]
    which = configuration(control.kafka, "roll", "num.partitions=2\n")
    roll = change(control, arn, "update_cluster_configuration", ConfigurationInfo=which)
    control, killed = kill_at(planes, control, roll, ["RESTART_BROKER_1", "CATCH_UP_2", "RESTART_BROKER_3"])
    assert killed == 3
    ended(control, roll)
    info = described(control, arn)
    assert info["State"] == "ACTIVE" and info["CurrentVersion"] != before and "ActiveOperationArn" not in info
    assert set(planes.starts().values()) == {2}, "each broker was restarted once"

    control.kafka.delete_cluster(ClusterArn=arn)
    control = again(planes, control)
    wait_for(lambda: gone(control.kafka, arn), "it is deleted", 60)
    assert not planes.brokers() and not list((planes.data / "clusters").glob("c-*"))


def test_a_standby_answers_as_the_active_one_and_takes_over(planes):
    first = planes.start().wait_active()
    second = planes.start()
    arn = create(second)  # asked for where nobody drives: the other hears of it
    assert not second.is_active()
    which = configuration(second.kafka, "standby", "message.max.bytes=2000000\n")
    assert ended(second, change(second, arn, "update_cluster_configuration", ConfigurationInfo=which))
    assert described(first, arn)["CurrentVersion"] == described(second, arn)["CurrentVersion"]

    # A broker that does not stay up shows there, too.
    healing, done = {}, threading.Event()

    def keep_down():
        while not done.wait(0.01):
            for (_, broker), pid in planes.brokers().items():
                if broker == 2:
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=keep_down, daemon=True)
    thread.start()
    try:
        healing = wait_for(lambda: (info := described(second, arn))["State"] == "HEALING" and info, "the standby says so", 30)
    finally:
        done.set()
        thread.join()
    assert "Broker 2" in healing["StateInfo"]["Message"]
    wait_for(lambda: described(second, arn)["State"] == "ACTIVE", "and that it is over", 60)

    # The active one is killed in the middle: the standby goes on at once.
    reboot = change(second, arn, "reboot_broker", BrokerIds=["1"])
    assert wait_step(second, reboot, "RESTART_BROKER_1")
    first.process.kill()
    ended(second, reboot)
    assert second.is_active()


def paused_in_the_middle(planes):
    """Two control planes; the active one is stopped, as by a debugger, at the restart of the second of three brokers, until the
    other has its seat."""
    first = planes.start().wait_active()
    arn = create(first)
    second = planes.start()
    which = configuration(first.kafka, "paused", "num.partitions=2\n")
    roll = change(first, arn, "update_cluster_configuration", ConfigurationInfo=which)
    assert wait_step(second, roll, "RESTART_BROKER_2")
    first.process.signal(signal.SIGSTOP)
    return first, second, arn, roll


def whole(planes, control, arn):
    info = described(control, arn)
    assert info["State"] == "ACTIVE" and "ActiveOperationArn" not in info
    assert len(planes.brokers()) == 3 and set(planes.starts().values()) == {2}, "each broker was restarted once"


@pytest.mark.long
def test_who_is_paused_for_longer_than_its_session_is_replaced_and_killed(planes):
    first, second, arn, roll = paused_in_the_middle(planes)
    second.wait_active()
    assert not first.process.alive() or first.process.popen.wait(10) == -signal.SIGKILL
    ended(second, roll)
    whole(planes, second, arn)


@pytest.mark.long
def test_who_comes_back_from_a_pause_does_nothing_more(planes):
    first, second, arn, roll = paused_in_the_middle(planes)
    # Its session is over, and the other waits for the brokers' folder, which it holds: now it goes on.
    before = planes.seat()
    wait_for(lambda: planes.seat() not in (None, before), "the other has the seat", 30)
    first.process.signal(signal.SIGCONT)
    second.wait_active()
    ended(second, roll)
    whole(planes, second, arn)
    assert first.process.alive() and not first.is_active()
    # It is the standby now: it answers, and takes over when its turn comes.
    assert described(first, arn)["CurrentVersion"] == described(second, arn)["CurrentVersion"]
    reboot = change(first, arn, "reboot_broker", BrokerIds=["3"])
    ended(second, reboot)
    second.process.kill()
    first.wait_active()
    assert described(first, arn)["State"] == "ACTIVE"


VOLUME = {"KafkaBrokerNodeId": "All", "VolumeSizeGB": 300}
ROLL = ["WRITE_FILES_1", "RESTART_BROKER_1", "CATCH_UP_2", "TAKE_LEADERSHIP_2", "WAIT_FOR_REPLICAS_3", "RESTART_BROKER_3"]
EACH = {
    "live configuration": ("update_cluster_configuration", lambda k: {"ConfigurationInfo": configuration(k, "live", "message.max.bytes=3000000\n")},
                           ["SET_DYNAMIC_CONFIGURATION", "WRITE_FILES"]),
    "more brokers": ("update_broker_count", lambda k: {"TargetNumberOfBrokerNodes": 6},
                     ["ADD_BROKERS", "WRITE_FILES", "START_BROKERS", "WAIT_FOR_BROKERS", "SPREAD_PARTITIONS", "WAIT_FOR_REASSIGNMENT"]),
    "fewer brokers": ("update_broker_count", lambda k: {"TargetNumberOfBrokerNodes": 3},
                      ["DRAIN_BROKERS", "WAIT_FOR_REASSIGNMENT", "REMOVE_BROKERS"]),
    "storage": ("update_broker_storage", lambda k: {"TargetBrokerEBSVolumeInfo": [VOLUME]}, ROLL[:3]),
    "type": ("update_broker_type", lambda k: {"TargetInstanceType": "kafka.m5.xlarge"}, ROLL[3:]),
    "monitoring": ("update_monitoring", lambda k: {"OpenMonitoring": {"Prometheus": {"JmxExporter": {"EnabledInBroker": True}}}}, ROLL[1:4]),
    "security": ("update_security", lambda k: {"EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS"}}}, ROLL[2:5]),
    "version": ("update_cluster_kafka_version", lambda k: {"TargetKafkaVersion": "3.9.x"}, ROLL[::2]),
    "version back": ("update_cluster_kafka_version", lambda k: {"TargetKafkaVersion": "3.6.0"}, ROLL[1::2]),
    "connectivity": ("update_connectivity", lambda k: {"ZookeeperAccess": {"Enabled": True}}, ["WRITE_FILES"]),
    "rebalancing": ("update_rebalancing", lambda k: {"Rebalancing": {"Status": "ACTIVE"}}, ["SPREAD_PARTITIONS", "WAIT_FOR_REASSIGNMENT"]),
    "reboot": ("reboot_broker", lambda k: {"BrokerIds": ["2"]}, ["RESTART_BROKER_2", "CATCH_UP_2"]),
}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_operation_goes_on_after_kills(planes):
    control = planes.start().wait_active()
    arn = create(control, KafkaVersion="3.6.0")
    kills = 0
    for topic, copies in (("t", 3), ("u", 2)):
        control.kafka.create_topic(ClusterArn=arn, TopicName=topic, PartitionCount=6, ReplicationFactor=copies)
    for name, (call, arguments, steps) in EACH.items():
        before = described(control, arn)["CurrentVersion"]
        asked = change(control, arn, call, **arguments(control.kafka))
        control, killed = kill_at(planes, control, asked, steps)
        info = ended(control, asked)
        kills += killed
        print(f"{name}: killed {killed} times; {begun(info)}")
        wait_for(lambda: described(control, arn)["State"] == "ACTIVE", f"whole after {name}", 60)
        assert described(control, arn)["CurrentVersion"] != before
        assert len(planes.brokers()) == described(control, arn)["NumberOfBrokerNodes"]
    assert kills >= 20, kills
    assert operation(control, asked)["OperationState"] == "REBOOT_COMPLETE"
