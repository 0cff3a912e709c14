"""All operations of botocore's model against a control plane that runs: each with success, or with the refusal that is
documented, and each bound of the model broken once. conftest holds every answer against the model."""
from types import SimpleNamespace

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import gone, make, over, version, wait, wanted
from model import KNOWN, breaches, example

MODEL = botocore.session.Session().get_service_model("kafka")
NOT_YET = {"BatchAssociateScramSecret", "BatchDisassociateScramSecret", "CreateReplicator"}
NO_REPLICATOR = {"DeleteReplicator", "DescribeReplicator", "UpdateReplicationInfo"}
ARN = "arn:aws:kafka:us-east-1:000000000000"


@pytest.fixture(scope="module")
def world(session_kafka):
    """A cluster with a topic, a configuration and a VPC connection, for all tests of this file."""
    kafka = session_kafka
    arn = make(kafka, brokers=2, KafkaVersion="3.7.x", BrokerNodeGroupInfo={"ClientSubnets": ["subnet-a", "subnet-b"],
                                                      "InstanceType": "kafka.m5.large",
                                                      "StorageInfo": {"EbsStorageInfo": {"VolumeSize": 20}}})
    made = SimpleNamespace(cluster=arn)
    made.configuration = kafka.create_configuration(Name="world", ServerProperties=b"message.max.bytes=900000\n")["Arn"]
    made.operation = kafka.list_cluster_operations(ClusterArn=arn)["ClusterOperationInfoList"][0]["OperationArn"]
    kafka.create_topic(ClusterArn=arn, TopicName="world", PartitionCount=2, ReplicationFactor=2)
    wait(lambda: kafka.describe_topic(ClusterArn=arn, TopicName="world")["Status"] == "ACTIVE")
    made.vpc = kafka.create_vpc_connection(TargetClusterArn=arn, Authentication="TLS", VpcId="vpc-1", ClientSubnets=["s"],
                                           SecurityGroups=["g"])["VpcConnectionArn"]
    made.version = lambda: version(kafka, arn)
    yield made
    kafka.delete_vpc_connection(Arn=made.vpc)
    kafka.delete_cluster(ClusterArn=arn)
    wait(lambda: gone(kafka, arn))
    kafka.delete_configuration(Arn=made.configuration)


def method(kafka, operation):
    names = kafka.meta.method_to_api_mapping
    return getattr(kafka, next(name for name in names if names[name] == operation))


# --- success

CALLS = {}


def call(*operations):
    """The function shows that these operations work."""

    def add(function):
        for operation in operations:
            assert operation not in CALLS
        CALLS.update(dict.fromkeys(operations, pytest.param(function, id=function.__name__)))
        return function

    return add


@call("ListClusters", "ListClustersV2", "DescribeCluster", "DescribeClusterV2")
def clusters(kafka, w):
    name = w.cluster.split("/")[1]
    one = kafka.describe_cluster(ClusterArn=w.cluster)["ClusterInfo"]
    two = kafka.describe_cluster_v2(ClusterArn=w.cluster)["ClusterInfo"]
    assert one in kafka.list_clusters(ClusterNameFilter=name)["ClusterInfoList"]
    assert two in kafka.list_clusters_v2(ClusterNameFilter=name, ClusterTypeFilter="PROVISIONED")["ClusterInfoList"]
    assert not kafka.list_clusters_v2(ClusterTypeFilter="SERVERLESS")["ClusterInfoList"]
    assert one["CurrentVersion"] == two["CurrentVersion"]
    for key, value in two["Provisioned"].items():
        assert one[key] == value, key


@call("CreateCluster", "DeleteCluster")
def a_cluster(kafka, w):
    made = kafka.create_cluster(**wanted())
    assert made["State"] == "CREATING"
    wait(lambda: kafka.describe_cluster(ClusterArn=made["ClusterArn"])["ClusterInfo"]["State"] == "ACTIVE")
    assert kafka.delete_cluster(ClusterArn=made["ClusterArn"])["State"] == "DELETING"
    wait(lambda: gone(kafka, made["ClusterArn"]))


@call("CreateClusterV2")
def a_cluster_v2(kafka, w):
    request = wanted(brokers=2)
    name = request.pop("ClusterName")
    request["BrokerNodeGroupInfo"]["ClientSubnets"] = ["subnet-a", "subnet-b"]
    made = kafka.create_cluster_v2(ClusterName=name, Provisioned=request)
    assert (made["State"], made["ClusterType"]) == ("CREATING", "PROVISIONED")
    wait(lambda: kafka.describe_cluster_v2(ClusterArn=made["ClusterArn"])["ClusterInfo"]["State"] == "ACTIVE")
    kafka.delete_cluster(ClusterArn=made["ClusterArn"])
    wait(lambda: gone(kafka, made["ClusterArn"]))


@call("GetBootstrapBrokers", "ListNodes")
def nodes(kafka, w):
    nodes = kafka.list_nodes(ClusterArn=w.cluster)["NodeInfoList"]
    assert [n["BrokerNodeInfo"]["BrokerId"] for n in nodes] == [1.0, 2.0] and {n["NodeType"] for n in nodes} == {"BROKER"}
    addresses = [n["BrokerNodeInfo"]["Endpoints"][0] for n in nodes]
    brokers = kafka.get_bootstrap_brokers(ClusterArn=w.cluster)
    assert brokers["BootstrapBrokerString"] == ",".join(f"{a}:9092" for a in addresses)
    assert brokers["BootstrapBrokerStringTls"] == ",".join(f"{a}:9094" for a in addresses)


@call("DescribeClusterOperation", "DescribeClusterOperationV2", "ListClusterOperations", "ListClusterOperationsV2")
def operations(kafka, w):
    one = kafka.describe_cluster_operation(ClusterOperationArn=w.operation)["ClusterOperationInfo"]
    two = kafka.describe_cluster_operation_v2(ClusterOperationArn=w.operation)["ClusterOperationInfo"]
    assert (one["OperationType"], two["OperationState"]) == ("CREATE_CLUSTER", "UPDATE_COMPLETE")
    assert one in kafka.list_cluster_operations(ClusterArn=w.cluster)["ClusterOperationInfoList"]
    listed = kafka.list_cluster_operations_v2(ClusterArn=w.cluster)["ClusterOperationInfoList"]
    assert two["OperationArn"] in [o["OperationArn"] for o in listed]


@call("CreateConfiguration", "DescribeConfiguration", "DescribeConfigurationRevision", "ListConfigurations",
      "ListConfigurationRevisions", "UpdateConfiguration", "DeleteConfiguration")
def configurations(kafka, w):
    made = kafka.create_configuration(Name="a", Description="d", KafkaVersions=["2.2.1"], ServerProperties=b"num.partitions=4\n")
    arn = made["Arn"]
    assert kafka.update_configuration(Arn=arn, ServerProperties=b"num.partitions=5\n")["LatestRevision"]["Revision"] == 2
    shown = kafka.describe_configuration(Arn=arn)
    assert (shown["LatestRevision"]["Revision"], shown["KafkaVersions"], shown["Description"]) == (2, ["2.2.1"], "d")
    assert kafka.describe_configuration_revision(Arn=arn, Revision=1)["ServerProperties"] == b"num.partitions=4\n"
    assert [r["Revision"] for r in kafka.list_configuration_revisions(Arn=arn)["Revisions"]] == [1, 2]
    assert arn in [c["Arn"] for c in kafka.list_configurations()["Configurations"]]
    assert kafka.delete_configuration(Arn=arn)["State"] == "DELETING"


@call("ListKafkaVersions", "GetCompatibleKafkaVersions")
def versions(kafka, w):
    assert {"1.1.1", "2.2.1", "3.9.x"} <= {v["Version"] for v in kafka.list_kafka_versions()["KafkaVersions"]}
    every = {c["SourceVersion"]: c["TargetVersions"] for c in kafka.get_compatible_kafka_versions()["CompatibleKafkaVersions"]}
    assert "2.2.1" in every["1.1.1"] and "1.1.1" not in every["2.2.1"]
    of_cluster = kafka.get_compatible_kafka_versions(ClusterArn=w.cluster)["CompatibleKafkaVersions"]
    assert [c["SourceVersion"] for c in of_cluster] == ["3.7.x"]


@call("TagResource", "UntagResource", "ListTagsForResource")
def tags(kafka, w):
    for arn in (w.cluster, w.vpc):
        kafka.tag_resource(ResourceArn=arn, Tags={"é": "ü &", "b": ""})
        kafka.untag_resource(ResourceArn=arn, TagKeys=["b", "none"])
        assert kafka.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"é": "ü &"}


@call("CreateTopic", "DescribeTopic", "DescribeTopicPartitions", "ListTopics", "UpdateTopic", "DeleteTopic")
def topics(kafka, w):
    topic = {"ClusterArn": w.cluster, "TopicName": "a.b_c"}
    kafka.create_topic(**topic, PartitionCount=1, ReplicationFactor=2)
    wait(lambda: kafka.describe_topic(**topic)["Status"] == "ACTIVE")
    kafka.update_topic(**topic, PartitionCount=3)
    wait(lambda: all(len(p["Isr"]) == 2 for p in kafka.describe_topic_partitions(**topic)["Partitions"]))
    assert kafka.list_topics(ClusterArn=w.cluster, TopicNameFilter="a.")["Topics"][0]["PartitionCount"] == 3
    assert kafka.delete_topic(**topic)["Status"] == "DELETING"
    wait(lambda: not kafka.list_topics(ClusterArn=w.cluster, TopicNameFilter="a.")["Topics"])


@call("CreateVpcConnection", "DescribeVpcConnection", "DeleteVpcConnection", "ListVpcConnections", "ListClientVpcConnections",
      "RejectClientVpcConnection")
def vpc_connections(kafka, w):
    arn = kafka.create_vpc_connection(TargetClusterArn=w.cluster, Authentication="TLS", VpcId="v", ClientSubnets=["s"],
                                      SecurityGroups=["g"], Tags={"a": "b"})["VpcConnectionArn"]
    assert kafka.describe_vpc_connection(Arn=arn)["State"] == "AVAILABLE"
    assert arn in [c["VpcConnectionArn"] for c in kafka.list_vpc_connections()["VpcConnections"]]
    kafka.reject_client_vpc_connection(ClusterArn=w.cluster, VpcConnectionArn=arn)
    states = {c["VpcConnectionArn"]: c["State"] for c in kafka.list_client_vpc_connections(ClusterArn=w.cluster)["ClientVpcConnections"]}
    assert (states[arn], states[w.vpc]) == ("REJECTED", "AVAILABLE")
    kafka.delete_vpc_connection(Arn=arn)
    refused(kafka, "NotFoundException", "DescribeVpcConnection", Arn=arn)


@call("PutClusterPolicy", "GetClusterPolicy", "DeleteClusterPolicy")
def policy(kafka, w):
    refused(kafka, "NotFoundException", "GetClusterPolicy", ClusterArn=w.cluster)
    first = kafka.put_cluster_policy(ClusterArn=w.cluster, Policy=KNOWN["Policy"])["CurrentVersion"]
    assert kafka.get_cluster_policy(ClusterArn=w.cluster)["Policy"] == KNOWN["Policy"]
    kafka.put_cluster_policy(ClusterArn=w.cluster, Policy=KNOWN["Policy"], CurrentVersion=first)
    refused(kafka, "BadRequestException", "PutClusterPolicy", ClusterArn=w.cluster, Policy=KNOWN["Policy"], CurrentVersion=first)
    kafka.delete_cluster_policy(ClusterArn=w.cluster)
    refused(kafka, "NotFoundException", "GetClusterPolicy", ClusterArn=w.cluster)


@call("ListScramSecrets", "ListReplicators")
def lists_that_are_empty(kafka, w):
    assert kafka.list_scram_secrets(ClusterArn=w.cluster)["SecretArnList"] == []
    assert kafka.list_replicators()["Replicators"] == []
    refused(kafka, "NotFoundException", "ListScramSecrets", ClusterArn=f"{ARN}:cluster/none/0-1")


@call(*NOT_YET, *NO_REPLICATOR)
def not_yet(kafka, w):
    known = {**KNOWN, "ClusterArn": w.cluster, "ReplicatorArn": f"{ARN}:replicator/r/0-1"}
    for operation in NOT_YET:
        answer = refused(kafka, "BadRequestException", operation, **example(MODEL.operation_model(operation).input_shape, "", known))
        assert "not supported yet" in answer["Error"]["Message"]
    for operation in NO_REPLICATOR:
        refused(kafka, "NotFoundException", operation, **example(MODEL.operation_model(operation).input_shape, "", known))


def changed(kafka, w, operation, outcome="UPDATE_COMPLETE", **arguments):
    """The operation of an update, once it has ended well: with the version that was, which it changes."""
    before = w.version()
    if operation != "RebootBroker":
        refused(kafka, "BadRequestException", operation, ClusterArn=w.cluster, CurrentVersion="K000", **arguments)
        arguments["CurrentVersion"] = before
    done = over(kafka, method(kafka, operation)(ClusterArn=w.cluster, **arguments))
    assert done["OperationState"] == outcome, done
    assert w.version() != before
    return done


@call("UpdateClusterConfiguration")
def update_configuration(kafka, w):
    done = changed(kafka, w, "UpdateClusterConfiguration", ConfigurationInfo={"Arn": w.configuration, "Revision": 1})
    assert done["TargetClusterInfo"]["ConfigurationInfo"] == {"Arn": w.configuration, "Revision": 1}


@call("UpdateBrokerStorage")
def update_volumes(kafka, w):
    volume = {"KafkaBrokerNodeId": "All", "VolumeSizeGB": 40}
    done = changed(kafka, w, "UpdateBrokerStorage", TargetBrokerEBSVolumeInfo=[volume])
    assert done["TargetClusterInfo"]["BrokerEBSVolumeInfo"] == [volume]


@call("UpdateStorage")
def update_storage(kafka, w):
    done = changed(kafka, w, "UpdateStorage", VolumeSizeGB=60, StorageMode="LOCAL")
    assert done["TargetClusterInfo"]["BrokerEBSVolumeInfo"][0]["VolumeSizeGB"] == 60


@call("UpdateConnectivity")
def update_connectivity(kafka, w):
    wish = {"VpcConnectivity": {"ClientAuthentication": {"Tls": {"Enabled": True}}}}
    done = changed(kafka, w, "UpdateConnectivity", ConnectivityInfo=wish)
    assert done["TargetClusterInfo"]["ConnectivityInfo"] == wish
    shown = kafka.describe_cluster(ClusterArn=w.cluster)["ClusterInfo"]["BrokerNodeGroupInfo"]["ConnectivityInfo"]
    assert shown == {**wish, "PublicAccess": {"Type": "DISABLED"}}


@call("UpdateRebalancing")
def update_rebalancing(kafka, w):
    changed(kafka, w, "UpdateRebalancing", Rebalancing={"Status": "ACTIVE"})
    assert kafka.describe_cluster(ClusterArn=w.cluster)["ClusterInfo"]["Rebalancing"] == {"Status": "ACTIVE"}


@call("UpdateMonitoring")
def update_monitoring(kafka, w):
    off = {"BrokerLogs": {"S3": {"Enabled": False}}}
    done = changed(kafka, w, "UpdateMonitoring", EnhancedMonitoring="PER_BROKER", LoggingInfo=off,
                   OpenMonitoring={"Prometheus": {"JmxExporter": {"EnabledInBroker": True}}})
    assert done["TargetClusterInfo"]["EnhancedMonitoring"] == "PER_BROKER"
    info = kafka.describe_cluster(ClusterArn=w.cluster)["ClusterInfo"]
    assert info["LoggingInfo"] == off and info["OpenMonitoring"]["Prometheus"]["JmxExporter"] == {"EnabledInBroker": True}


@call("UpdateBrokerType")
def update_type(kafka, w):
    changed(kafka, w, "UpdateBrokerType", TargetInstanceType="kafka.m5.xlarge")
    assert {n["InstanceType"] for n in kafka.list_nodes(ClusterArn=w.cluster)["NodeInfoList"]} == {"kafka.m5.xlarge"}


@call("UpdateSecurity")
def update_security(kafka, w):
    transit = {"EncryptionInTransit": {"ClientBroker": "TLS"}}
    changed(kafka, w, "UpdateSecurity", EncryptionInfo=transit)
    assert "BootstrapBrokerString" not in kafka.get_bootstrap_brokers(ClusterArn=w.cluster)


@call("RebootBroker")
def reboot(kafka, w):
    assert changed(kafka, w, "RebootBroker", "REBOOT_COMPLETE", BrokerIds=["2"])["OperationType"] == "REBOOT_NODE"


@call("UpdateBrokerCount")
def update_count(kafka, w):
    done = changed(kafka, w, "UpdateBrokerCount", TargetNumberOfBrokerNodes=4)
    assert done["TargetClusterInfo"]["BrokerCountUpdateInfo"] == {"CreatedBrokerIds": [3.0, 4.0]}
    done = changed(kafka, w, "UpdateBrokerCount", TargetNumberOfBrokerNodes=2)
    assert done["OperationType"] == "DECREASE_BROKER_COUNT"


@call("UpdateClusterKafkaVersion")
def update_version(kafka, w):
    done = changed(kafka, w, "UpdateClusterKafkaVersion", TargetKafkaVersion="3.8.x")
    assert (done["SourceClusterInfo"]["KafkaVersion"], done["TargetClusterInfo"]["KafkaVersion"]) == ("3.7.x", "3.8.x")


def refused(kafka, code, operation, **arguments):
    with pytest.raises(ClientError) as error:
        method(kafka, operation)(**arguments)
    assert error.value.response["Error"]["Code"] == code, error.value.response
    return error.value.response


def test_every_operation_of_the_model_is_called():
    assert set(CALLS) == set(MODEL.operation_names) and len(CALLS) == 59


@pytest.mark.parametrize("works", {param.id: param for param in CALLS.values()}.values())
def test_works(kafka, world, works):
    works(kafka, world)


# --- bounds

@pytest.fixture(scope="module")
def unchecked(plane):
    """A client that sends what does not fit the model."""
    e = plane.settings
    return boto3.client("kafka", endpoint_url=e["AWS_ENDPOINT_URL"], region_name=e["AWS_DEFAULT_REGION"],
                        aws_access_key_id=e["AWS_ACCESS_KEY_ID"], aws_secret_access_key=e["AWS_SECRET_ACCESS_KEY"],
                        config=Config(parameter_validation=False, retries={"max_attempts": 1}))


@pytest.mark.parametrize("operation", sorted(n for n in MODEL.operation_names if breaches(MODEL.operation_model(n))))
def test_each_bound_is_checked_and_named(unchecked, world, operation):
    known = {**KNOWN, "ClusterArn": world.cluster, "TargetClusterArn": world.cluster, "CurrentVersion": world.version(),
             "ResourceArn": world.cluster, "VpcConnectionArn": world.vpc, "Arn": world.configuration, "Revision": 1,
             "TopicName": "world", "Name": "never", "ClusterName": "never", "ReplicatorArn": f"{ARN}:replicator/r/0-1"}
    if "VpcConnection" in operation:
        known["Arn"] = world.vpc
    if operation == "CreateTopic":
        known["TopicName"] = "never"
    wrong = []
    for what, parameter, request in breaches(MODEL.operation_model(operation), known):
        if what.startswith("Serverless."):
            parameter = "serverless"  # which is refused as a whole
        if operation in NOT_YET | NO_REPLICATOR:
            refused(unchecked, "BadRequestException" if operation in NOT_YET else "NotFoundException", operation, **request)
            continue
        try:
            method(unchecked, operation)(**request)
            wrong.append(f"{what}: taken")
        except ClientError as e:
            got = e.response["Error"]["Code"], e.response.get("InvalidParameter")
            if got != ("BadRequestException", parameter):
                wrong.append(f"{what}: {got}, {e.response['Error']['Message']}")
    assert not wrong, "\n".join(wrong)
