"""Real clients against one server: Weir, or with --target kafka Apache Kafka, which proves the tests themselves."""
import itertools
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.server import WEIR, Server, raise_descriptor_limit  # noqa: E402

RUNS = Path(__file__).resolve().parents[2] / "build/integration"


def pytest_addoption(parser):
    parser.addoption("--target", choices=["weir", "kafka"], default="weir", help="what is tested")
    parser.addoption("--keep", action="store_true", help="keep the servers' folders, also of tests that passed")


def pytest_configure(config):
    config.addinivalue_line("markers", "weir: only Weir has it; skipped with --target kafka")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--target") == "kafka":
        for item in items:
            if item.get_closest_marker("weir"):
                item.add_marker(pytest.mark.skip(reason="only Weir has it"))


def pytest_sessionstart(session):
    raise_descriptor_limit()
    if session.config.getoption("--target") == "weir" and not WEIR.exists() and not session.config.option.collectonly:
        raise pytest.UsageError(f"{WEIR} is not there: ./dev build, or ./dev test integration, which builds it")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.session.stash[FAILED] = True
        item.stash[FAILED] = True


FAILED = pytest.StashKey[bool]()
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def target(request):
    return request.config.getoption("--target")


def folder(name):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    path = RUNS / f"{worker}-{os.getpid()}-{name}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


@pytest.fixture(scope="session")
def shared_server(request, target):
    server = Server(folder("shared"), target)
    try:
        yield server.start()
    finally:
        server.stop()
    if not request.config.getoption("--keep") and not request.session.stash.get(FAILED, False):
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def server(shared_server):
    """The session's server. A test makes topics and groups of its own, and leaves it running."""
    yield shared_server
    assert shared_server.broker.alive(), f"the broker ended:\n{shared_server.broker.text()[-3000:]}"
    assert not shared_server.problems()


@pytest.fixture
def make_server(request, target):
    """Makes servers of the test's own, which it may stop, kill and configure."""
    made = []

    def make(config=None, start=True, **how):
        plain = "".join(c if c.isalnum() else "-" for c in request.node.name[:40])
        server = Server(folder(f"{plain}-{next(numbers)}"), target, config, **how)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        server.stop()
    problems = [problem for server in made for problem in server.problems()]
    if not request.config.getoption("--keep") and not request.node.stash.get(FAILED, False):
        for server in made:
            shutil.rmtree(server.folder, ignore_errors=True)
    assert not problems


@pytest.fixture
def name(request):
    """A name for topics and groups that no other test uses."""
    plain = "".join(c if c.isalnum() else "-" for c in request.node.name.removeprefix("test_"))[:60].strip("-")
    return f"{plain}-{os.getpid()}-{next(numbers)}"
