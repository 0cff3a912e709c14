"""What the API says, through boto3: refusals, pages, the cluster of `weir up`. All operations are in test_operations.py."""
import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import over, wait, wanted


def refused(call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response


def test_what_is_wrong_is_said_as_amazon_says_it(kafka):
    for change, parameter, message in (
            ({"NumberOfBrokerNodes": 33}, "numberOfBrokerNodes", "Invalid value for parameter numberOfBrokerNodes: 33. It must be from 1 to 30."),
            ({"NumberOfBrokerNodes": 4}, "numberOfBrokerNodes", "multiple of the number of Availability Zones, which is 3"),
            ({"ClusterName": "x" * 200}, "clusterName", "It must have 1 to 64."),
            ({"KafkaVersion": "2.1.0"}, "kafkaVersion", "Unsupported KafkaVersion [2.1.0]. Valid values: [1.1.1, 2.2.1,")):
        answer = refused(kafka.create_cluster, **{**wanted(), **change})
        assert answer["Error"]["Code"] == "BadRequestException" and answer["InvalidParameter"] == parameter
        assert message in answer["Error"]["Message"]


def configuration(kafka, name):
    return kafka.create_configuration(Name=name, ServerProperties=b"num.partitions=4\n")["Arn"]


def test_what_comes_and_goes_between_pages_doubles_and_hides_nothing(kafka):
    first = [configuration(kafka, f"page-{n}") for n in range(6)]
    seen, token, more = [], {}, []
    while True:
        page = kafka.list_configurations(MaxResults=2, **token)
        seen += [c["Arn"] for c in page["Configurations"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
        # The last that was shown goes, and a new one comes.
        kafka.delete_configuration(Arn=seen[-1])
        if len(more) < 3:
            more.append(configuration(kafka, f"page-more-{len(more)}"))
    assert [arn for arn in seen if arn in first] == first and len(set(seen)) == len(seen)
    assert set(more) <= set(seen)
    for bad in (token["NextToken"][:-4] + "AAAA", "junk", "x" * 5000):
        assert refused(kafka.list_configurations, NextToken=bad)["InvalidParameter"] == "nextToken"
    assert refused(kafka.list_clusters, **token)["InvalidParameter"] == "nextToken"  # of another list
    for left in kafka.list_configurations()["Configurations"]:
        kafka.delete_configuration(Arn=left["Arn"])


def test_pages_of_sdks(kafka):
    pages = kafka.get_paginator("list_kafka_versions").paginate(PaginationConfig={"PageSize": 10})
    versions = [v["Version"] for page in pages for v in page["KafkaVersions"]]
    assert versions[:2] == ["1.1.1", "2.2.1"] and "3.9.x" in versions and len(set(versions)) == len(versions)
    for name in ("list_clusters", "list_clusters_v2", "list_replicators", "list_vpc_connections"):
        kafka.get_paginator(name).paginate(PaginationConfig={"PageSize": 1}).build_full_result()


def test_a_configuration_that_is_gone_is_answered_as_tools_wait_for_it(kafka):
    arn = configuration(kafka, "gone")
    assert refused(kafka.create_configuration, Name="gone", ServerProperties=b"")["Error"]["Code"] == "ConflictException"
    assert kafka.delete_configuration(Arn=arn)["State"] == "DELETING"
    answer = refused(kafka.describe_configuration, Arn=arn)["Error"]
    assert (answer["Code"], answer["Message"]) == ("BadRequestException", "Configuration ARN does not exist.")


def test_a_session_token_is_none_of_ours(plane):
    e = plane.settings
    client = boto3.client("kafka", endpoint_url=e["AWS_ENDPOINT_URL"], region_name=e["AWS_REGION"], aws_session_token="IQoJb3Jp",
                          aws_access_key_id=e["AWS_ACCESS_KEY_ID"], aws_secret_access_key=e["AWS_SECRET_ACCESS_KEY"])
    answer = refused(client.list_clusters)
    assert answer["Error"] == {"Code": "UnrecognizedClientException", "Message": "The security token included in the request is invalid."}
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_cluster_of_weir_up_is_there_to_stay(kafka):
    def active():  # HEALING for a moment, where the control plane looked before the broker was there
        return [info for info in kafka.list_clusters(ClusterNameFilter="local")["ClusterInfoList"] if info["State"] == "ACTIVE"]

    wait(active)
    local = active()[0]
    arn, version = local["ClusterArn"], local["CurrentVersion"]
    by_tls_only = {"EncryptionInTransit": {"ClientBroker": "TLS"}}
    for answer in (refused(kafka.update_broker_count, ClusterArn=arn, CurrentVersion=version, TargetNumberOfBrokerNodes=16),
                   refused(kafka.update_security, ClusterArn=arn, CurrentVersion=version, EncryptionInfo=by_tls_only),
                   refused(kafka.delete_cluster, ClusterArn=arn)):
        assert answer["Error"]["Code"] == "BadRequestException"
        assert "weir up" in answer["Error"]["Message"] or "`local`" in answer["Error"]["Message"]
    assert over(kafka, kafka.reboot_broker(ClusterArn=arn, BrokerIds=["1"]))["OperationState"] == "REBOOT_COMPLETE"
