"""Clusters of processes under faults: of Weir, of Apache Kafka (--target kafka: that proves the tests), or of both."""
import itertools
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster import KAFKA, Cluster, Topic  # noqa: E402
from network import can_isolate  # noqa: E402
from shared import WEIR, raise_descriptor_limit  # noqa: E402
from workload import Load  # noqa: E402

FAILED = pytest.StashKey[bool]()
SETS = {"weir": ["weir"] * 3, "kafka": [KAFKA] * 3, "mixed": ["weir", KAFKA, "weir"]}
TOPICS = [Topic("orders", 12), Topic("events", 12)]


def pytest_addoption(parser):
    parser.addoption("--target", choices=sorted(SETS), default="weir", help="which brokers; tests beside Java say so themselves")
    parser.addoption("--zookeeper", default=None, help="weir, or a version of Apache Kafka; else as the brokers")
    parser.addoption("--keep", action="store_true", help="keep folders, also of tests that passed")


def pytest_configure(config):
    for line in ["short: in the run of a few minutes that CI makes (-m short)",
                 "network: cuts ways between servers, which needs network namespaces, so root",
                 "root: mounts file systems",
                 "weir: only Weir does it; skipped with --target kafka",
                 "java: has brokers of Apache Kafka beside Weir's, whatever the target"]:
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(config, items):
    isolated = can_isolate()
    for item in items:
        if item.get_closest_marker("weir") and config.getoption("--target") == "kafka":
            item.add_marker(pytest.mark.skip(reason="only Weir does it"))
        if not isolated and (item.get_closest_marker("network") or item.get_closest_marker("root")):
            item.add_marker(pytest.mark.skip(reason="needs network namespaces or mounts: root"))


def pytest_sessionstart(session):
    raise_descriptor_limit()
    if session.config.getoption("--target") != "kafka" and not WEIR.exists() and not session.config.option.collectonly:
        raise pytest.UsageError(f"{WEIR} is not there: ./dev build")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.stash[FAILED] = True


@pytest.fixture
def make_cluster(request):
    """Makes clusters and, by cluster.load(...), load on them; all of it ends with the test."""
    made, loads = [], []
    plain = re.sub(r"\W+", "-", request.node.name)[:50]

    def make(brokers=None, zookeeper=None, start=True, **how):
        target = request.config.getoption("--target")
        brokers = brokers or SETS[target]
        zookeeper = zookeeper or request.config.getoption("--zookeeper") or ("weir" if "weir" in brokers and how.get("ensemble", 1) == 1 else KAFKA)
        cluster = Cluster(brokers, zookeeper, name=plain, **how)
        made.append(cluster)

        def load(topics=TOPICS, create=True, **options):
            if create:
                cluster.create(*topics)
            loads.append(Load(cluster, topics, **options))
            return loads[-1].start()

        cluster.load = load
        return cluster.start() if start else cluster

    yield make
    for load in loads:
        load.abandon()
    for cluster in made:
        cluster.close()
    failed = request.node.stash.get(FAILED, False)
    for cluster in made:
        if failed:
            print(f"kept: {cluster.folder}\n" + "\n".join(f"{t:.2f} {what}" for t, what in cluster.events))
        elif not request.config.getoption("--keep"):
            cluster.remove()


@pytest.fixture
def cluster(make_cluster):
    """Three brokers of the target."""
    return make_cluster()


@pytest.fixture
def name(request, numbers=itertools.count(1)):
    return re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:60].strip("-") + f"-{next(numbers)}"
