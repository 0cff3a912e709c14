"""The walk of MSK's tutorial: the real `aws kafka`, and the tools of Apache Kafka 2.2.1."""
import json
import subprocess

from conftest import WEIR, wait
from support import tools


def aws(plane, *arguments):
    done = subprocess.run(["aws", "kafka", *map(str, arguments)], env=plane.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else {}


def test_the_walk(plane, tmp_path):
    nodes, encryption = tmp_path / "brokernodegroupinfo.json", tmp_path / "encryptioninfo.json"
    nodes.write_text(json.dumps({"InstanceType": "kafka.m5.large", "BrokerAZDistribution": "DEFAULT",
                                 "ClientSubnets": ["subnet-1", "subnet-2", "subnet-3"]}))
    encryption.write_text(json.dumps({"EncryptionInTransit": {"InCluster": True, "ClientBroker": "TLS"}}))
    arn = aws(plane, "create-cluster", "--cluster-name", "AWSKafkaTutorialCluster", "--broker-node-group-info",
              f"file://{nodes}", "--encryption-info", f"file://{encryption}", "--kafka-version", "2.2.1",
              "--number-of-broker-nodes", 3, "--enhanced-monitoring", "PER_TOPIC_PER_BROKER")["ClusterArn"]

    def info():
        return aws(plane, "describe-cluster", "--cluster-arn", arn)["ClusterInfo"]

    wait(lambda: info()["State"] == "ACTIVE")
    topic = "AWSKafkaTutorialTopic"
    tools.kafka("2.2.1", "kafka-topics", "--zookeeper", info()["ZookeeperConnectString"], "--create", "--replication-factor",
                3, "--partitions", 1, "--topic", topic)
    tls = aws(plane, "get-bootstrap-brokers", "--cluster-arn", arn)["BootstrapBrokerStringTls"]
    store, client = tmp_path / "trust.jks", tmp_path / "client.properties"
    subprocess.run([WEIR, "ca", "export", "--data", plane.data, "--format", "jks", "--password", "changeit", "--out", store],
                   check=True, timeout=60)
    client.write_text(f"security.protocol=SSL\nssl.truststore.location={store}\nssl.truststore.password=changeit\n")
    tools.kafka("2.2.1", "kafka-console-producer", "--broker-list", tls, "--producer.config", client, "--topic", topic,
                input="one\ntwo\n")

    text = tmp_path / "config-file"
    text.write_text("auto.create.topics.enable = true\nzookeeper.connection.timeout.ms = 1000\nlog.roll.ms = 604800000\n")
    made = aws(plane, "create-configuration", "--name", "CustomConfiguration", "--kafka-versions", "1.1.1",
               "--server-properties", f"fileb://{text}")
    which = tmp_path / "configuration-info.json"
    which.write_text(json.dumps({"Arn": made["Arn"], "Revision": 1}))
    begun = aws(plane, "update-cluster-configuration", "--cluster-arn", arn, "--configuration-info", f"file://{which}",
                "--current-version", info()["CurrentVersion"])
    assert info()["State"] == "UPDATING"
    seen = tools.kafka("2.2.1", "kafka-console-consumer", "--bootstrap-server", tls, "--consumer.config", client, "--topic",
                       topic, "--from-beginning", "--max-messages", 2)
    assert seen.split() == ["one", "two"]

    def operation():
        return aws(plane, "describe-cluster-operation", "--cluster-operation-arn",
                   begun["ClusterOperationArn"])["ClusterOperationInfo"]

    wait(lambda: operation()["OperationState"] not in ("PENDING", "UPDATE_IN_PROGRESS"), 180)
    assert operation()["OperationState"] == "UPDATE_COMPLETE", operation()
    aws(plane, "delete-cluster", "--cluster-arn", arn)
