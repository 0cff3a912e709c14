"""The walk of MSK's tutorial: the real `aws kafka`, and the tools of Apache Kafka 2.2.1."""
import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import AWS, WEIR, wait
from support import tools
from traffic import Console, Library, held


def aws(plane, *arguments):
    done = subprocess.run([AWS, "kafka", *map(str, arguments)], env=plane.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else {}


def said(bootstrap, client, topic, count):
    return tools.kafka("2.2.1", "kafka-console-consumer", "--bootstrap-server", bootstrap, "--consumer.config", client,
                       "--topic", topic, "--from-beginning", "--max-messages", count).split()


def processes(data, arn):
    """The pids of a cluster's brokers."""
    folder, found = f"{data}/clusters/{arn.split('/')[1]}", set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if folder in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                found.add(int(pid))
        except OSError:
            continue
    return found


def info(plane, arn):
    return aws(plane, "describe-cluster", "--cluster-arn", arn)["ClusterInfo"]


def update(plane, arn, folder):
    """A configuration of the cluster's own, which takes effect by a restart of every broker."""
    text = folder / "config-file"
    text.write_text("auto.create.topics.enable = true\nzookeeper.connection.timeout.ms = 1000\nlog.roll.ms = 604800000\n")
    made = aws(plane, "create-configuration", "--name", "CustomConfiguration", "--kafka-versions", "1.1.1",
               "--server-properties", f"fileb://{text}")
    which = folder / "configuration-info.json"
    which.write_text(json.dumps({"Arn": made["Arn"], "Revision": 1}))
    started = processes(plane.data, arn)
    assert len(started) == 3
    begun = aws(plane, "update-cluster-configuration", "--cluster-arn", arn, "--configuration-info", f"file://{which}",
                "--current-version", info(plane, arn)["CurrentVersion"])
    assert info(plane, arn)["State"] == "UPDATING"

    def operation():
        return aws(plane, "describe-cluster-operation", "--cluster-operation-arn",
                   begun["ClusterOperationArn"])["ClusterOperationInfo"]

    wait(lambda: operation()["OperationState"] not in ("PENDING", "UPDATE_IN_PROGRESS"), 180)
    assert operation()["OperationState"] == "UPDATE_COMPLETE", operation()
    assert info(plane, arn)["State"] == "ACTIVE"
    assert not started & processes(plane.data, arn), "every broker is another process"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_walk(plane, tmp_path):
    nodes, encryption = tmp_path / "brokernodegroupinfo.json", tmp_path / "encryptioninfo.json"
    nodes.write_text(json.dumps({"InstanceType": "kafka.m5.large", "BrokerAZDistribution": "DEFAULT",
                                 "ClientSubnets": ["subnet-1", "subnet-2", "subnet-3"]}))
    encryption.write_text(json.dumps({"EncryptionInTransit": {"InCluster": True, "ClientBroker": "TLS"}}))
    arn = aws(plane, "create-cluster", "--cluster-name", "AWSKafkaTutorialCluster", "--broker-node-group-info",
              f"file://{nodes}", "--encryption-info", f"file://{encryption}", "--kafka-version", "2.2.1",
              "--number-of-broker-nodes", 3, "--enhanced-monitoring", "PER_TOPIC_PER_BROKER")["ClusterArn"]
    wait(lambda: info(plane, arn)["State"] == "ACTIVE")
    topic = "AWSKafkaTutorialTopic"
    tools.kafka("2.2.1", "kafka-topics", "--zookeeper", info(plane, arn)["ZookeeperConnectString"], "--create",
                "--replication-factor", 3, "--partitions", 1, "--topic", topic)
    tls = aws(plane, "get-bootstrap-brokers", "--cluster-arn", arn)["BootstrapBrokerStringTls"]
    store, client = tmp_path / "trust.jks", tmp_path / "client.properties"
    subprocess.run([WEIR, "ca", "export", "--data", plane.data, "--format", "jks", "--password", "changeit", "--out", store],
                   check=True, timeout=60)
    client.write_text(f"security.protocol=SSL\nssl.truststore.location={store}\nssl.truststore.password=changeit\n")
    tools.kafka("2.2.1", "kafka-console-producer", "--broker-list", tls, "--producer.config", client, "--topic", topic,
                input="one\ntwo\n")
    assert said(tls, client, topic, 2) == ["one", "two"]

    # Records go in and out all the time while the brokers restart one after another.
    subprocess.run([WEIR, "ca", "export", "--data", plane.data, "--out", tmp_path / "ca.pem"], check=True, timeout=60)
    with (Library(tls, tmp_path / "ca.pem", "wide") as library,
          Console(tls, client, topic, tmp_path / "console.log", before=["one", "two"]) as console):
        library.start()
        console.start()
        update(plane, arn, tmp_path)
        for traffic, name in ((console, topic), (library, "wide")):
            count = traffic.finish()
            assert held(tls, tmp_path / "ca.pem", name) == count, "none is in the topic twice"
    aws(plane, "delete-cluster", "--cluster-arn", arn)

    def listed():
        return [c["ClusterArn"] for c in aws(plane, "list-clusters")["ClusterInfoList"]]

    wait(lambda: arn not in listed())
    assert not processes(plane.data, arn)
