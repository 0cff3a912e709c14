"""The AWS SDK for Go, as an infrastructure tool uses it: go/main.go. Skipped where there is no Go."""
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "go"


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    if not shutil.which("go"):
        pytest.skip("no Go on this machine: the AWS SDK for Go is not tried")
    path = tmp_path_factory.mktemp("go") / "tool"
    subprocess.run(["go", "build", "-C", SOURCE, "-o", path, "."], check=True, timeout=240)
    return path


def test_a_cluster_as_an_infrastructure_tool_handles_it(plane, program):
    done = subprocess.run([program, "from-go"], env=plane.env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.split("\n") == ["create", "read", "configuration", "storage", "brokers", "delete", "ok", ""]
