"""A volume's size is what the brokers' logs may take, and a larger one is in force without a restart."""
import json

from conftest import make, over, version, wanted
from confluent_kafka.admin import AdminClient, ConfigResource
from test_heal import Cluster

GIB = 1 << 30


def quota(admin, broker):
    asked = ConfigResource(ConfigResource.Type.BROKER, str(broker))
    return int(admin.describe_configs([asked])[asked].result(20)["weir.storage.quota.bytes"].value)


def test_a_larger_volume_is_in_force_at_once(plane, kafka):
    nodes = wanted()["BrokerNodeGroupInfo"] | {"StorageInfo": {"EbsStorageInfo": {"VolumeSize": 10}}}
    arn = make(kafka, BrokerNodeGroupInfo=nodes)
    cluster = Cluster(plane, kafka, arn)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    processes = [cluster.broker(n).pid() for n in (1, 2, 3)]
    assert [quota(admin, n) for n in (1, 2, 3)] == [10 * GIB] * 3
    answer = kafka.update_broker_storage(ClusterArn=arn, CurrentVersion=version(kafka, arn),
                                         TargetBrokerEBSVolumeInfo=[{"KafkaBrokerNodeId": "All", "VolumeSizeGB": 30}])
    assert over(kafka, answer)["OperationState"] == "UPDATE_COMPLETE"
    assert [quota(admin, n) for n in (1, 2, 3)] == [30 * GIB] * 3
    assert [cluster.broker(n).pid() for n in (1, 2, 3)] == processes
    spec = json.loads((cluster.folder / "broker-1/spec.json").read_text())
    assert spec["properties"]["weir.storage.quota.bytes"] == str(30 * GIB), "and after the next restart"
    kafka.delete_cluster(ClusterArn=arn)
