"""Every kind of update of a cluster while producers and consumers go on, judged as the tests of faults judge a history: no
record that was acknowledged is lost, an idempotent producer's come once and in order, groups keep what they committed."""
import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from planes import Planes, change, configuration, create, described, is_over
from support.wait import wait_for

sys.path.append(str(Path(__file__).resolve().parents[1] / "system"))

import workload  # noqa: E402
from cluster import metadata  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from history import History  # noqa: E402

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
TOPICS = [SimpleNamespace(name="three", partitions=4, copies=3), SimpleNamespace(name="small", partitions=2, copies=3)]


class Managed:
    """A cluster of the control plane, as workload.Load wants one."""

    def __init__(self, planes, arn):
        self.planes, self.control, self.arn = planes, planes.controls[0], arn
        self.folder, self.on_event = planes.folder, None

    @property
    def bootstrap(self):
        return self.control.kafka.get_bootstrap_brokers(ClusterArn=self.arn)["BootstrapBrokerString"]

    def view(self, topics):
        last = None
        for address in self.bootstrap.split(","):
            try:
                return metadata(address.split(":")[0], [getattr(t, "name", t) for t in topics])
            except OSError as error:
                last = error
        raise last

    def wait_in_sync(self, topics, seconds=120):
        def whole():
            views = self.view(topics).topics
            return all(p.error == 0 and set(p.isr) == set(p.replicas) and p.leader >= 0
                       for t in topics for p in views[getattr(t, "name", t)].partitions.values())
        wait_for(whole, "all replicas are in sync", seconds, 0.1)

    def folders(self):
        return {int(f.name.split("-")[1]): f for f in self.planes.data.glob("clusters/*/broker-*")}

    @property
    def brokers(self):
        return {i: SimpleNamespace(id=i, alive=True, data=f / "data") for i, f in self.folders().items()}

    def stop(self):
        """All brokers, by their control plane, which ends with them."""
        self.control.process.signal(10)  # SIGUSR1
        assert self.control.process.popen.wait(60) == 0
        assert not self.planes.brokers()

    def problems(self):
        bad = ("AddressSanitizer", "runtime error:", "check failed", "CHECK failed", "terminate called", "Segmentation fault")
        return [line for f in self.folders().values() for line in (f / "broker.log").read_text(errors="replace").splitlines()
                if any(b in line for b in bad)]


UPDATES = {
    "live configuration": ("update_cluster_configuration",
                           lambda k: {"ConfigurationInfo": configuration(k, "live", "message.max.bytes=3000000\n")}),
    "rolling configuration": ("update_cluster_configuration",
                              lambda k: {"ConfigurationInfo": configuration(k, "roll", "num.io.threads=9\nnum.partitions=2\n")}),
    "more brokers": ("update_broker_count", lambda k: {"TargetNumberOfBrokerNodes": 6}),
    "type": ("update_broker_type", lambda k: {"TargetInstanceType": "kafka.m5.xlarge"}),
    "fewer brokers": ("update_broker_count", lambda k: {"TargetNumberOfBrokerNodes": 3}),
    "storage": ("update_broker_storage", lambda k: {"TargetBrokerEBSVolumeInfo": [{"KafkaBrokerNodeId": "All", "VolumeSizeGB": 300}]}),
    "monitoring": ("update_monitoring",
                   lambda k: {"OpenMonitoring": {"Prometheus": {"JmxExporter": {"EnabledInBroker": True}}}}),
    "version": ("update_cluster_kafka_version", lambda k: {"TargetKafkaVersion": "3.9.x"}),
    "version back": ("update_cluster_kafka_version", lambda k: {"TargetKafkaVersion": "3.6.0"}),
    "security": ("update_security", lambda k: {"EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "PLAINTEXT"}}}),
    "connectivity": ("update_connectivity", lambda k: {"ZookeeperAccess": {"Enabled": True}}),
    "rebalancing": ("update_rebalancing", lambda k: {"Rebalancing": {"Status": "ACTIVE"}}),
    "reboot": ("reboot_broker", lambda k: {"BrokerIds": ["2"]}),
}


class Longest(threading.Thread):
    """The longest time in which no record was acknowledged in a partition: what an update costs those who write."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load, self.pause, self.ended = load, 0.0, threading.Event()

    def run(self):
        while not self.ended.wait(0.05):
            last = {}
            for stream in self.load.streams:
                for where, t in list(stream.last_ack.items()):
                    last[where] = max(t, last.get(where, 0))
            if last:
                self.pause = max(self.pause, time.monotonic() - min(last.values()))


def test_nothing_is_lost_while_a_cluster_changes(tmp_path):
    with Planes(tmp_path) as planes:
        planes.start().wait_active()
        run(planes, UPDATES)


@pytest.mark.parametrize("kills", [1])
def test_nor_while_its_control_plane_dies(tmp_path, kills):
    from test_kill import EACH, kill_at
    with Planes(tmp_path) as planes:
        planes.start().wait_active()

        def one(managed, name, asked):
            managed.control, _ = kill_at(planes, managed.control, asked, EACH[name][2][:2])
        run(planes, {name: UPDATES[name] for name in ("more brokers", "type", "fewer brokers", "version", "version back")}, one)


def run(planes, updates, while_it_goes_on=None):
    control = planes.controls[0]
    arn = create(control, KafkaVersion="3.6.0")
    managed = Managed(planes, arn)
    admin = AdminClient({"bootstrap.servers": managed.bootstrap, "log_level": 0})
    for made in admin.create_topics([NewTopic(t.name, t.partitions, t.copies) for t in TOPICS]).values():
        made.result(30)
    managed.wait_in_sync(TOPICS)
    load = workload.Load(managed, TOPICS, rate=80, idempotent=3, history=History(planes.folder / "history.jsonl"))
    load.start()
    said = []
    try:
        for name, (call, arguments) in updates.items():
            load.history.fault(name)
            longest, acked, began = Longest(load), load.acked, time.monotonic()
            longest.start()
            asked = change(managed.control, arn, call, **arguments(managed.control.kafka))
            if while_it_goes_on:
                while_it_goes_on(managed, name, asked)
            info = wait_for(lambda: is_over(managed.control, asked), f"{name} ends", 240, 0.05)
            assert info["OperationState"].endswith("_COMPLETE"), json.dumps(info, default=str)
            seconds = time.monotonic() - began
            load.wait_acked()
            load.wait_commits()
            longest.ended.set()
            longest.join()
            said.append(f"{name}: {seconds:.1f} s, {load.acked - acked} records acknowledged, none in a partition for "
                        f"{longest.pause:.2f} s at most")
            print(said[-1], flush=True)
            wait_for(lambda: described(managed.control, arn)["State"] == "ACTIVE", f"active after {name}", 60)
        report = load.finish()
        print(report)
    except BaseException:
        load.abandon()
        raise
