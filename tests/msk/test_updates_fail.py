"""Updates that fail on the way: the operation says why, and the cluster is what it was. What fails here for real fails for every
operation in src/msk/failure_test.cc."""
import socket

import pytest
from planes import Planes, change, create, described, is_over
from support.wait import wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def planes(tmp_path):
    with Planes(tmp_path) as planes:
        yield planes


def taken(host, port):
    """Somebody else listens there."""
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind((host, port))
    other.listen()
    return other


def addresses(control, arn):
    """Of the brokers: the block of addresses, and the first's."""
    first = control.kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerString"].split(",")[0].split(":")[0]
    return first.rpartition(".")[0]


def files(planes):
    return {str(f.relative_to(planes.data)): f.read_text() for f in planes.data.glob("clusters/*/broker-*/server.properties")}


def fails(planes, control, arn, call, **arguments):
    before, brokers, version = files(planes), set(planes.brokers()), described(control, arn)["CurrentVersion"]
    asked = change(control, arn, call, **arguments)
    info = wait_for(lambda: is_over(control, asked), "the operation ends", 150, 0.05)
    assert info["OperationState"] == "UPDATE_FAILED", info
    wait_for(lambda: described(control, arn)["State"] == "ACTIVE", "it is active again", 60)
    assert files(planes) == before and set(planes.brokers()) == brokers
    assert described(control, arn)["CurrentVersion"] == version
    return info["ErrorInfo"]["ErrorString"]


def test_a_broker_that_is_added_and_does_not_start_leaves_nothing(planes):
    control = planes.start().wait_active()
    arn = create(control)
    with taken(f"{addresses(control, arn)}.5", 9092):
        error = fails(planes, control, arn, "update_broker_count", TargetNumberOfBrokerNodes=6)
    assert "Broker 5 does not start" in error and "9092" in error
    assert described(control, arn)["NumberOfBrokerNodes"] == 3


@pytest.mark.long
def test_a_broker_that_does_not_come_back_gets_its_old_files_again(planes):
    control = planes.start().wait_active()
    arn = create(control)
    monitoring = {"Prometheus": {"JmxExporter": {"EnabledInBroker": True}}}
    with taken(f"{addresses(control, arn)}.2", 11001):
        error = fails(planes, control, arn, "update_monitoring", OpenMonitoring=monitoring)
    assert "Broker 2 does not start" in error and "11001" in error
    assert "OpenMonitoring" not in described(control, arn) or not described(control, arn)["OpenMonitoring"]["Prometheus"]["JmxExporter"]["EnabledInBroker"]
