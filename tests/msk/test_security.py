"""Nobody gets around the authentication of clients by certificate: what the authority signs for a client is good for the
clients' listener, and not for the one between brokers."""
import socket
import ssl

import pytest
from botocore.exceptions import ClientError
from conftest import gone, make, wait, wanted, weir

TRANSIT = {"EncryptionInTransit": {"ClientBroker": "TLS", "InCluster": True}}
AUTHENTICATION = {"Tls": {"CertificateAuthorityArnList": ["arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/x"],
                          "Enabled": True}, "Unauthenticated": {"Enabled": False}}
API_VERSIONS = bytes.fromhex("00000010 0012 0000 00000007 0006 636c69656e74".replace(" ", ""))


def answers(address, port, ca, certificate):
    """Whether the broker tells its versions to who comes with this certificate."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate)
    try:
        with socket.create_connection((address, port), 10) as plain, context.wrap_socket(plain, server_hostname=address) as s:
            s.sendall(API_VERSIONS)
            return s.recv(8)[4:] == b"\0\0\0\7"
    except OSError:
        return False


def test_between_brokers_only_brokers_are_let_in(plane, kafka, tmp_path):
    arn = make(kafka, EncryptionInfo=TRANSIT, ClientAuthentication=AUTHENTICATION)
    try:
        ca, alice = tmp_path / "ca.pem", tmp_path / "alice.pem"
        weir("ca", "export", "--data", plane.data, "--out", ca)
        name = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["ClusterName"]
        host = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringTls"].split(",")[0].split(":")[0]
        assert not answers(host, 9094, ca, None)
        for subject in ("CN=alice", f"CN=b-1.{name}"):
            weir("ca", "issue", "--data", plane.data, "--subject", subject, "--out", alice)
            assert answers(host, 9094, ca, alice)
            assert not answers(host, 9093, ca, alice), subject
        assert not answers(host, 9093, ca, None)
        kafka.create_topic(ClusterArn=arn, TopicName="t", PartitionCount=6, ReplicationFactor=3)
        wait(lambda: all(len(p["Isr"]) == 3 for p in kafka.describe_topic_partitions(ClusterArn=arn, TopicName="t")["Partitions"]))
    finally:
        kafka.delete_cluster(ClusterArn=arn)
        wait(lambda: gone(kafka, arn))


@pytest.mark.parametrize("client, between, parameter", [("TLS_PLAINTEXT", True, "clientBroker"), ("TLS", False, "inCluster")])
def test_no_listener_for_anybody_beside_one_for_those_with_a_certificate(kafka, client, between, parameter):
    transit = {"EncryptionInTransit": {"ClientBroker": client, "InCluster": between}}
    with pytest.raises(ClientError) as refused:
        kafka.create_cluster(**wanted(EncryptionInfo=transit, ClientAuthentication=AUTHENTICATION))
    assert refused.value.response["Error"]["Code"] == "BadRequestException"
    assert refused.value.response["InvalidParameter"] == parameter
