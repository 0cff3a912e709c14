"""A client in Go: franz-go. Skipped where there is no Go."""
import shutil
from pathlib import Path

import pytest
from support.tools import run

SOURCE = Path(__file__).parent / "go"


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    if not shutil.which("go"):
        pytest.skip("no Go on this machine")
    path = tmp_path_factory.mktemp("go") / "client"
    run("go", "build", "-C", SOURCE, "-o", path, ".", timeout=170)
    return path


def test_franz_go(server, name, program):
    assert run(program, server.bootstrap, name, 3000, timeout=100).stdout == "ok 3000\n"
