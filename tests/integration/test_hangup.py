"""`weir up` and the terminal it was started from: a hang-up ends it cleanly, under nohup it stays."""
import os
import signal
import subprocess

import pytest
from support import wire
from support.server import WEIR, Process
from support.tools import kcat
from support.wait import wait_for
from test_operations import Up, alive

pytestmark = pytest.mark.weir


@pytest.fixture
def up(tmp_path):
    up = Up(tmp_path)
    yield up
    subprocess.run([WEIR, "down", "--data", up.data], capture_output=True)


def hang_up(process):
    """As the kernel does it: to all processes of the terminal's group."""
    os.killpg(process.pid, signal.SIGHUP)


def test_a_hangup_ends_up_cleanly(up, tmp_path):
    # The tests themselves may run under nohup: what is ignored there would be ignored by what they start.
    process = Process("up", ["env", "--default-signal=HUP", WEIR, "up", *up.options], tmp_path / "up.log")
    wait_for(lambda: wire.answers(up.host, up.port), "it answers")
    kcat(f"{up.host}:{up.port}", "-P", "-t", "hello", input="one\n")
    pids = up.pids()
    hang_up(process)
    assert process.popen.wait(20) == 0, process.text()
    assert not any(map(alive, pids.values()))
    assert list(up.data.rglob(".kafka_cleanshutdown")), "the broker stopped as on SIGTERM"
    up.detach()
    assert kcat(f"{up.host}:{up.port}", "-C", "-t", "hello", "-e", "-q").split() == ["one"]


def test_under_nohup_a_hangup_is_nothing(up, tmp_path):
    process = Process("up", ["nohup", WEIR, "up", *up.options], tmp_path / "up.log")
    wait_for(lambda: wire.answers(up.host, up.port), "it answers")
    kcat(f"{up.host}:{up.port}", "-P", "-t", "hello", input="one\n")
    pids = up.pids()
    hang_up(process)
    for pid in pids.values():
        os.kill(pid, signal.SIGHUP)
    # Signals come before what the process does next: when it answers, it has not fallen to them.
    assert kcat(f"{up.host}:{up.port}", "-C", "-t", "hello", "-e", "-q").split() == ["one"]
    assert up.pids() == pids and all(map(alive, pids.values()))
    assert process.stop() == 0
    assert not any(map(alive, pids.values()))
