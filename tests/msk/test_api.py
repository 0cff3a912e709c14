"""Each operation through boto3; conftest holds every answer against the model."""
import pytest
from botocore.exceptions import ClientError
from conftest import gone, make, over, state, version, wait, wanted


def refused(call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response


def test_a_cluster_from_its_creation_to_its_end(kafka):
    arn = make(kafka, Tags={"team": "a"})
    info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    assert info["ClusterType"] == "PROVISIONED" and info["Provisioned"]["NumberOfBrokerNodes"] == 3
    assert arn in [c["ClusterArn"] for c in kafka.list_clusters()["ClusterInfoList"]]
    assert arn in [c["ClusterArn"] for c in kafka.list_clusters_v2(ClusterTypeFilter="PROVISIONED")["ClusterInfoList"]]
    assert len(kafka.list_nodes(ClusterArn=arn)["NodeInfoList"]) == 3
    brokers = kafka.get_bootstrap_brokers(ClusterArn=arn)
    assert brokers["BootstrapBrokerString"].count(":9092") == 3 and brokers["BootstrapBrokerStringTls"].count(":9094") == 3
    assert [o["OperationType"] for o in kafka.list_cluster_operations(ClusterArn=arn)["ClusterOperationInfoList"]]
    assert kafka.list_cluster_operations_v2(ClusterArn=arn)["ClusterOperationInfoList"]
    kafka.tag_resource(ResourceArn=arn, Tags={"x": "y"})
    kafka.untag_resource(ResourceArn=arn, TagKeys=["team"])
    assert kafka.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"x": "y"}
    assert kafka.delete_cluster(ClusterArn=arn, CurrentVersion=info["CurrentVersion"])["State"] == "DELETING"
    wait(lambda: gone(kafka, arn))


def test_bounds_are_checked_by_the_server(kafka):
    for change, parameter in (({"NumberOfBrokerNodes": 30}, "numberOfBrokerNodes"), ({"ClusterName": "x" * 200}, "clusterName"),
                              ({"KafkaVersion": "2.1.0"}, "kafkaVersion")):
        answer = refused(kafka.create_cluster, **{**wanted(), **change})
        assert answer["Error"]["Code"] == "BadRequestException" and answer["InvalidParameter"] == parameter
    assert refused(kafka.list_clusters, MaxResults=101)["InvalidParameter"] == "maxResults"


def test_pages(kafka):
    pages = kafka.get_paginator("list_kafka_versions").paginate(PaginationConfig={"PageSize": 10})
    versions = [v["Version"] for page in pages for v in page["KafkaVersions"]]
    assert versions[:2] == ["1.1.1", "2.2.1"] and "3.9.x" in versions and len(set(versions)) == len(versions)
    assert kafka.get_compatible_kafka_versions()["CompatibleKafkaVersions"]


def test_configurations(kafka):
    made = kafka.create_configuration(Name="cfg", KafkaVersions=["3.9.x"], ServerProperties=b"num.partitions=4\n")
    arn = made["Arn"]
    assert refused(kafka.create_configuration, Name="cfg", ServerProperties=b"")["Error"]["Code"] == "ConflictException"
    kafka.update_configuration(Arn=arn, ServerProperties=b"num.partitions=5\n", Description="more")
    assert kafka.describe_configuration(Arn=arn)["LatestRevision"]["Revision"] == 2
    assert kafka.describe_configuration_revision(Arn=arn, Revision=1)["ServerProperties"] == b"num.partitions=4\n"
    assert len(kafka.list_configuration_revisions(Arn=arn)["Revisions"]) == 2
    assert arn in [c["Arn"] for c in kafka.list_configurations()["Configurations"]]
    assert kafka.delete_configuration(Arn=arn)["State"] == "DELETING"
    assert refused(kafka.describe_configuration, Arn=arn)["Error"]["Code"] == "NotFoundException"


@pytest.mark.long
def test_updates_of_a_cluster(kafka, cluster):
    before = version(kafka, cluster)
    done = over(kafka, kafka.reboot_broker(ClusterArn=cluster, BrokerIds=["1"]))
    assert (done["OperationType"], done["OperationState"]) == ("REBOOT_NODE", "REBOOT_COMPLETE")
    stale = refused(kafka.update_broker_type, ClusterArn=cluster, CurrentVersion=before, TargetInstanceType="kafka.m5.xlarge")
    assert stale["Message"] == "The version of the cluster isn't current. Check the current version and try again."
    done = over(kafka, kafka.update_broker_type(ClusterArn=cluster, CurrentVersion=version(kafka, cluster),
                                                TargetInstanceType="kafka.m5.xlarge"))
    assert done["OperationState"] == "UPDATE_COMPLETE" and done["TargetClusterInfo"] == {"InstanceType": "kafka.m5.xlarge"}
    volume = {"KafkaBrokerNodeId": "All", "VolumeSizeGB": 100}
    done = over(kafka, kafka.update_broker_storage(ClusterArn=cluster, CurrentVersion=version(kafka, cluster),
                                                   TargetBrokerEBSVolumeInfo=[volume]))
    assert done["OperationState"] == "UPDATE_COMPLETE"
    done = over(kafka, kafka.update_monitoring(ClusterArn=cluster, CurrentVersion=version(kafka, cluster),
                                               EnhancedMonitoring="PER_BROKER"))
    assert done["OperationState"] == "UPDATE_COMPLETE"
    assert kafka.describe_cluster_operation_v2(ClusterOperationArn=done["OperationArn"])["ClusterOperationInfo"]
    assert state(kafka, cluster) == "ACTIVE"


def test_the_cluster_of_weir_up_is_shown_and_changed_by_weir_up_only(kafka):
    wait(lambda: kafka.list_clusters(ClusterNameFilter="local")["ClusterInfoList"])
    local = kafka.list_clusters(ClusterNameFilter="local")["ClusterInfoList"][0]
    arn, version = local["ClusterArn"], local["CurrentVersion"]
    for answer in (refused(kafka.update_broker_count, ClusterArn=arn, CurrentVersion=version, TargetNumberOfBrokerNodes=3),
                   refused(kafka.delete_cluster, ClusterArn=arn)):
        assert answer["Error"]["Code"] == "BadRequestException" and "weir up" in answer["Error"]["Message"]
    assert over(kafka, kafka.reboot_broker(ClusterArn=arn, BrokerIds=["1"]))["OperationState"] == "REBOOT_COMPLETE"


def test_topics(kafka, cluster):
    kafka.create_topic(ClusterArn=cluster, TopicName="t", PartitionCount=2, ReplicationFactor=3)
    wait(lambda: kafka.describe_topic(ClusterArn=cluster, TopicName="t")["Status"] == "ACTIVE")
    again = refused(kafka.create_topic, ClusterArn=cluster, TopicName="t", PartitionCount=2, ReplicationFactor=3)
    assert again["Error"]["Code"] == "TopicExistsException"
    kafka.update_topic(ClusterArn=cluster, TopicName="t", PartitionCount=4)
    wait(lambda: all(p["Leader"] > 0 for p in kafka.describe_topic_partitions(ClusterArn=cluster, TopicName="t")["Partitions"]))
    assert kafka.list_topics(ClusterArn=cluster)["Topics"][0]["PartitionCount"] == 4
    kafka.delete_topic(ClusterArn=cluster, TopicName="t")
    wait(lambda: not kafka.list_topics(ClusterArn=cluster)["Topics"])


def test_what_is_not_there_yet_says_so(kafka, cluster):
    answer = refused(kafka.batch_associate_scram_secret, ClusterArn=cluster, SecretArnList=["arn:x"])
    assert answer["Error"]["Code"] == "BadRequestException" and "not supported yet" in answer["Error"]["Message"]
    assert kafka.list_scram_secrets(ClusterArn=cluster)["SecretArnList"] == []
    assert kafka.list_replicators()["Replicators"] == []
