"""A coordination service and several control planes on one folder, each of which may be killed, paused and followed by another."""
import contextlib
import os
import signal
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from conftest import WEIR, gone, settings, version, wanted
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from support.ports import free_port
from support.server import Process
from support.wait import wait_for

ACTIVE = "this control plane is the active one"
REPLACED = "no longer the active one"


class Control:
    """One `weir control`."""

    def __init__(self, planes, number):
        self.planes, self.port = planes, free_port()
        self.process = Process(f"control {number}", [WEIR, "control", "--zookeeper", planes.zookeeper, "--data", planes.data, "--api",
                                                     f"127.0.0.1:{self.port}", "--addresses", planes.pool, *planes.flags],
                               planes.folder / f"control-{number}.log")
        wait_for(lambda: "the API listens" in self.process.text() or not self.process.alive(), "the API listens")
        env = settings(planes.data)
        self.kafka = boto3.client("kafka", endpoint_url=f"http://127.0.0.1:{self.port}", region_name=env["AWS_DEFAULT_REGION"],
                                  aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
                                  config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=20))

    def is_active(self):
        """As its log says it last."""
        text = self.process.text()
        return text.rfind(ACTIVE) > text.rfind(REPLACED)

    def wait_active(self, seconds=60):
        wait_for(self.is_active, f"{self.process.name} is the active one", seconds)
        return self


class Planes:
    """As a context: it ends all that it started, brokers, too."""

    def __init__(self, folder, flags=(), zookeeper=None):
        """`zookeeper`: addresses of one that is there; else it has one of its own."""
        self.folder, self.flags, self.controls = Path(folder), list(flags), []
        self.data = self.folder / "weir"
        self.pool = f"127.{140 + os.getpid() % 80}"
        self.zookeeper, self.service = zookeeper, None
        if zookeeper:
            return
        for _ in range(5):  # another test may be faster with the port
            self.zookeeper = f"127.0.0.1:{free_port()}"
            self.service = Process("zookeeper", [WEIR, "zookeeper", "--data", self.folder / "zookeeper", "--listen", self.zookeeper],
                                   self.folder / "zookeeper.log")
            wait_for(lambda: "listens on 127" in self.service.text() or not self.service.alive(), "ZooKeeper is up")
            if self.service.alive():
                return
        raise RuntimeError(self.service.text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for control in self.controls:
            control.process.signal(signal.SIGCONT)
            if control.process.alive():
                control.process.kill()
        for pid in self.brokers().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.service:
            self.service.kill()

    def start(self):
        self.controls.append(Control(self, len(self.controls) + 1))
        return self.controls[-1]

    def brokers(self):
        """Their processes: pid by (cluster's folder, id)."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
                ended = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except OSError:
                continue
            for word in words:
                path = Path(word)
                if path.name == "server.properties" and not ended and path.is_relative_to(self.data / "clusters"):
                    found[path.parent.parent.name, int(path.parent.name.split("-")[1])] = int(pid)
        return found

    def starts(self):
        """How often each broker was started, as its log says."""
        return {log.parent.name: log.read_text(errors="replace").count("listens on REPLICATION") for log in
                self.data.glob("clusters/*/broker-*/broker.log")}

    def seat(self):
        """Which session has the active one's seat; None: nobody."""
        client = KazooClient(self.zookeeper)
        client.start(20)
        try:
            return client.get("/weir/active")[1].ephemeralOwner
        except NoNodeError:
            return None
        finally:
            client.stop()
            client.close()


def create(control, **more):
    """A cluster, active; the ARN."""
    arn = control.kafka.create_cluster(**wanted(**more))["ClusterArn"]
    wait_for(lambda: described(control, arn)["State"] != "CREATING", "it is made", 60)
    assert described(control, arn)["State"] == "ACTIVE", described(control, arn)
    return arn


def described(control, arn):
    return control.kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]


def operation(control, arn):
    return control.kafka.describe_cluster_operation(ClusterOperationArn=arn)["ClusterOperationInfo"]


def is_over(control, arn):
    """The operation's record when it has ended; what cannot be asked now is asked again."""
    try:
        info = operation(control, arn)
    except (BotoCoreError, ClientError):
        return None
    return info if info["OperationState"].endswith(("_COMPLETE", "_FAILED")) else None


def begun(info):
    """Names of the steps that the journal has as begun."""
    return [s["StepName"] for s in info.get("OperationSteps", []) if s["StepInfo"]["StepStatus"] != "PENDING"]


def wait_step(control, arn, step, seconds=90):
    """Until the journal says that this step has begun; False: the operation has ended before it was seen."""
    def there():
        info = operation(control, arn)
        if step in begun(info):
            return "begun"
        return "over" if info["OperationState"].endswith(("_COMPLETE", "_FAILED")) else None
    return wait_for(there, f"step {step}", seconds, 0.002) == "begun"


def configuration(kafka, name, text):
    made = kafka.create_configuration(Name=name, ServerProperties=text.encode())
    return {"Arn": made["Arn"], "Revision": made["LatestRevision"]["Revision"]}


def change(control, arn, call, **arguments):
    """Begins an update; its operation's ARN."""
    if call != "reboot_broker":
        arguments["CurrentVersion"] = version(control.kafka, arn)
    return getattr(control.kafka, call)(ClusterArn=arn, **arguments)["ClusterOperationArn"]


__all__ = ["Control", "Planes", "begun", "change", "configuration", "create", "described", "gone", "is_over", "operation", "wait_step"]
