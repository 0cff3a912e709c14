"""Two control planes and their cluster on three nodes of Apache ZooKeeper, whose leader is killed in the middle of an
operation, and then the active control plane; by TLS, too."""
import sys

import pytest
from conftest import ROOT
from planes import Planes, change, configuration, create, described, is_over, wait_step
from support.wait import wait_for
from traffic import Library

sys.path.append(str(ROOT / "tests/zookeeper"))

from test_ensemble import Ensemble, properties, sasl, tls  # noqa: E402

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ensemble():
    made = Ensemble()
    try:
        yield made.start()
    finally:
        made.remove()


def restarted(ensemble):
    """All three nodes, also those that were killed."""
    for node in ensemble.nodes:
        if node.process and node.process.poll() is not None:
            node.kill()
    return ensemble.start()


def test_an_operation_goes_on_without_the_leader_of_zookeeper_and_then_without_the_active_plane(ensemble, tmp_path):
    with Planes(tmp_path, zookeeper=ensemble.hosts() + "/first") as planes:
        first = planes.start().wait_active()
        second = planes.start()
        arn = create(first, EncryptionInfo={"EncryptionInTransit": {"ClientBroker": "PLAINTEXT", "InCluster": False}})
        bootstrap = first.kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerString"]
        with Library(bootstrap, None, "records").start() as traffic:
            which = configuration(first.kafka, "roll", "num.partitions=2\n")
            roll = change(first, arn, "update_cluster_configuration", ConfigurationInfo=which)
            assert wait_step(first, arn=roll, step="RESTART_BROKER_1")
            ensemble.is_now("leader").kill()
            wait_step(second, roll, "RESTART_BROKER_2")
            active = next(c for c in (first, second) if c.is_active())
            other = second if active is first else first
            active.process.kill()
            info = wait_for(lambda: is_over(other, roll), "the operation ends", 120, 0.1)
            assert info["OperationState"] == "UPDATE_COMPLETE", info
            wait_for(lambda: described(other, arn)["State"] == "ACTIVE", "it is well", 60)
            assert traffic.finish() > 0
    restarted(ensemble)


@pytest.mark.parametrize("way", ["tls", "sasl"])
def test_control_plane_and_brokers_come_in_by(ensemble, tmp_path, way):
    keys = tls(ensemble) if way == "tls" else sasl()
    file = properties(tmp_path / "zookeeper.properties", keys)
    with Planes(tmp_path, ["--zookeeper-config", file], zookeeper=f"{ensemble.hosts(secure=way == 'tls')}/{way}") as planes:
        control = planes.start().wait_active()
        arn = create(control)
        info = described(control, arn)
        assert info["State"] == "ACTIVE"
        assert ("ZookeeperConnectStringTls" in info) == (way == "tls")
        logs = [log.read_text() for log in planes.data.glob("clusters/*/broker-*/broker.log")]
        assert len(logs) == 3
        for log in logs:
            assert "ZooKeeper session" in log, log[-2000:]
