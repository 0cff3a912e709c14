"""Operations on a cluster that take more than one step, and what shows how far they are: for tests that end something
in the middle of them. Asked as users do: through the API, or by znodes as Kafka's old tools write them."""
import json
import threading

from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from shared import wait_for


class Tree:
    """The coordination service's tree, seen from outside."""

    def __init__(self, cluster):
        self.zk = KazooClient(cluster.connect, timeout=10, connection_retry={"max_tries": -1}, command_retry={"max_tries": -1})
        self.zk.start(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.zk.stop()
        self.zk.close()

    def children(self, path):
        try:
            return self.zk.get_children(path)
        except NoNodeError:
            return []

    def json(self, path):
        try:
            return json.loads(self.zk.get(path)[0])
        except NoNodeError:
            return None

    def topics(self, prefix=""):
        return {t for t in self.children("/brokers/topics") if t.startswith(prefix)}

    def state(self, topic, partition):
        return self.json(f"/brokers/topics/{topic}/partitions/{partition}/state")

    def with_state(self, prefix):
        """How many partitions of these topics have a leader's record."""
        return sum(len(self.children(f"/brokers/topics/{t}/partitions")) for t in self.topics(prefix))

    def reassigning(self):
        return self.zk.exists("/admin/reassign_partitions") is not None

    def reassign(self, moves):
        """{(topic, partition): replicas} as the old tool asks."""
        self.zk.create("/admin/reassign_partitions", json.dumps({"version": 1, "partitions": [
            {"topic": t, "partition": p, "replicas": r} for (t, p), r in moves.items()]}).encode())

    def assignment(self, topic):
        return {int(p): r for p, r in self.json(f"/brokers/topics/{topic}")["partitions"].items()}


def admin(cluster):
    return AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0, "socket.timeout.ms": 60000,
                        "reconnect.backoff.max.ms": 500})


class InBackground:
    """A call whose answer, or failure, is looked at later."""

    def __init__(self, call):
        self.result = self.error = None
        self.thread = threading.Thread(target=self._run, args=[call], daemon=True)
        self.thread.start()

    def _run(self, call):
        try:
            self.result = call()
        except Exception as error:  # noqa: BLE001 - it is handed on
            self.error = error

    def wait(self, seconds=120):
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "an operation has no answer"
        return self.result


def outcomes(futures, seconds=120):
    """Each topic's answer: None, or the error's name."""
    answers = {}
    for name, future in futures.items():
        try:
            future.result(seconds)
            answers[name] = None
        except Exception as error:  # noqa: BLE001
            answers[name] = error.args[0].name() if hasattr(error.args[0], "name") else str(error)
    return answers


def create_topics(cluster, names, partitions=3, replication=3, **config):
    client = admin(cluster)
    return outcomes(client.create_topics([NewTopic(n, partitions, replication, config=config) for n in names], operation_timeout=30, request_timeout=40))


def delete_topics(cluster, names):
    client = admin(cluster)  # its answers go when it goes
    return outcomes(client.delete_topics(list(names), operation_timeout=30, request_timeout=40)) if names else {}


def wait_absent(cluster, tree, names, seconds=120):
    """These topics are gone: from the tree, from every broker's metadata, and from every disk."""
    names = set(names)

    def absent():
        if names & tree.topics() or names & set(tree.children("/admin/delete_topics")):
            return False
        if any(names & set(b.view().topics) for b in cluster.live):
            return False
        return not any(p.name.rpartition("-")[0] in names for b in cluster.live for p in b.data.iterdir() if not p.name.endswith("-delete"))

    wait_for(absent, "deleted topics are gone everywhere", seconds, 0.1)
