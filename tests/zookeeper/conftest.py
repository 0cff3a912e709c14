"""Each test gets a server of each kind, a path of its own in it, and clients."""
import itertools
import os
import sys
from pathlib import Path

import pytest
from kazoo.client import KazooClient

sys.path.insert(0, str(Path(__file__).parent))

from servers import RunningServer, ZkServer, serve_program  # noqa: E402
from wire import Wire  # noqa: E402

numbers = itertools.count(1)


def pytest_addoption(parser):
    parser.addoption("--zk", choices=["both", "ours", "apache"], default="both", help="which servers are tested")


def pytest_configure(config):
    config.addinivalue_line("markers", "ours: only Weir's server does this")


def kinds(config):
    if os.environ.get("ZK_HOSTS"):
        return ["running"]
    chosen = config.getoption("--zk")
    return ["apache", "ours"] if chosen == "both" else [chosen]


def pytest_generate_tests(metafunc):
    if "kind" in metafunc.fixturenames:
        only_ours = any(m.name == "ours" for m in metafunc.definition.iter_markers())
        chosen = [k for k in kinds(metafunc.config) if k != "apache" or not only_ours]
        metafunc.parametrize("kind", chosen, scope="session")


def pytest_sessionstart(session):
    wanted = "ours" in kinds(session.config) and not session.config.option.collectonly
    if wanted and not serve_program().exists():
        raise pytest.UsageError(f"{serve_program()} is not there: ./dev build")


@pytest.fixture(scope="session")
def zk(kind):
    """The server that the tests of a session share."""
    server = RunningServer(os.environ["ZK_HOSTS"]) if kind == "running" else ZkServer(kind, "shared").start()
    yield server
    server.remove()


@pytest.fixture
def own(kind):
    """A server that the test may stop and kill."""
    if kind == "running":
        pytest.skip("the server belongs to somebody else")
    made = []

    def make(**config):
        made.append(ZkServer(kind, f"own{next(numbers)}", **config))
        return made[-1].start()

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def wire(zk):
    """Makes connections with a session each; wire(port=...) to another server than the shared one."""
    made = []

    def make(port=None, **connect):
        made.append(Wire(port or zk.port))
        return made[-1].connect(**connect)

    yield make
    for one in made:
        one.close()


@pytest.fixture
def root(zk):
    """A node for this test alone."""
    path = f"/test-{os.getpid()}-{next(numbers)}"
    with Wire(zk.port).connect() as w:
        w.create(path)
    return path


@pytest.fixture
def kazoo(zk):
    made = []

    def make(hosts=None, **options):
        made.append(KazooClient(hosts or zk.hosts, **{"timeout": 10, **options}))
        made[-1].start(timeout=20)
        return made[-1]

    yield make
    for one in made:
        one.stop()
        one.close()
