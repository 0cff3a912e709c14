"""Keys that `weir credentials` makes and takes away, at an endpoint that runs."""
import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from conftest import ROOT, end, serve
from test_sdk import client, refused

WEIR = Path(os.environ.get("WEIR_BINARY", ROOT / "build/release/weir"))
pytestmark = pytest.mark.skipif(not WEIR.exists(), reason=f"{WEIR} is not there: ./dev build")


def weir(folder, *arguments, fails=False):
    done = subprocess.run([WEIR, "credentials", *arguments, "--data", folder], capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done
    return done.stderr if fails else done.stdout


def added(folder, user):
    key = json.loads(weir(folder, "add", "--user", user, "--json"))
    return {"key": key["accessKeyId"], "secret": key["secretAccessKey"]}


def test_keys_come_and_go_while_the_endpoint_runs(tmp_path, files):
    first = added(tmp_path, "first")
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    process, port = serve(tmp_path / "credentials.json", files.routes)
    try:
        client(port, **first).list_clusters()
        second = added(tmp_path, "second")
        deadline = time.monotonic() + 20
        while True:
            try:
                client(port, **second).list_clusters()
                break
            except ClientError:
                assert time.monotonic() < deadline, "a new key is taken in"
        listed = json.loads(weir(tmp_path, "list", "--json"))["accessKeys"]
        assert [k["userName"] for k in listed] == ["first", "second"]
        assert all("secretAccessKey" not in k for k in listed)
        weir(tmp_path, "deactivate", first["key"])
        while time.monotonic() < deadline:
            try:
                client(port, **first).list_clusters()
            except ClientError:
                break
        refused(client(port, **first).list_clusters, "UnrecognizedClientException")
        assert "last active" in weir(tmp_path, "revoke", second["key"], fails=True)
        client(port, **second).list_clusters()
        weir(tmp_path, "activate", first["key"])
        weir(tmp_path, "revoke", second["key"])
        assert "not there" in weir(tmp_path, "revoke", second["key"], fails=True)
    finally:
        end(process)


def test_a_shell_takes_what_add_prints(tmp_path):
    lines = weir(tmp_path, "add")
    shell = subprocess.run(["sh", "-c", f"{lines}\nprintf %s $AWS_ACCESS_KEY_ID"], capture_output=True, text=True)
    assert shell.stdout == json.loads(weir(tmp_path, "list", "--json"))["accessKeys"][0]["accessKeyId"]
    assert "is not there" in weir(tmp_path / "nowhere", "list", fails=True)
