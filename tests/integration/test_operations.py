"""weir up, status and down; configuration errors that say what is wrong; logs."""
import json
import os
import signal
import socket
import subprocess

import pytest
from support import wire
from support.clients import create_topic, produce, read, values, watermarks
from support.ports import free_port
from support.server import WEIR, Process
from support.tools import Failed, kcat, run
from support.wait import wait_for

pytestmark = pytest.mark.weir


class Up:
    """`weir up` on a folder and ports of its own."""

    def __init__(self, folder):
        self.data, self.host, self.port = folder / "weir", "127.0.0.1", free_port()
        self.options = ["--data", self.data, "--port", self.port, "--zookeeper-port", free_port(), "--metrics-port", free_port()]
        self.process = None

    def detach(self, *options):
        return run(WEIR, "up", *self.options, *options, "--detach").stdout

    def foreground(self, folder):
        self.process = Process("up", [WEIR, "up", *self.options], folder / "up.log")
        wait_for(lambda: "Ctrl-C" in self.process.text(), "it is up")
        return self.process

    def status(self):
        return json.loads(run(WEIR, "status", "--data", self.data, "--json").stdout)

    def pids(self):
        return {process["role"]: process["pid"] for process in self.status()["processes"] if process.get("pid")}

    def state(self, role):
        return next(process["state"] for process in self.status()["processes"] if process["role"] == role)

    def down(self):
        return run(WEIR, "down", "--data", self.data).stdout


@pytest.fixture
def up(tmp_path):
    up = Up(tmp_path)
    yield up
    subprocess.run([WEIR, "down", "--data", up.data], capture_output=True)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_help():
    out = run(WEIR, "--help").stdout
    commands = ("up", "down", "status", "broker", "zookeeper")
    assert all(command in out for command in commands)
    for command in commands:
        assert "Examples:" in run(WEIR, command, "--help").stdout
    assert run(WEIR, "version").stdout.startswith("weir ")
    with pytest.raises(Failed) as wrong:
        run(WEIR, "upp")
    assert "upp" in wrong.value.stderr and wrong.value.code == 2


def test_up_status_down_and_up_again(up):
    out = up.detach()
    assert f"{up.host}:{up.port}" in out and ("kcat" in out or "kafka-" in out)
    processes = {process["role"]: process for process in up.status()["processes"]}
    assert {"broker", "zookeeper"} <= set(processes)
    assert all(process["state"] == "running" and alive(process["pid"]) for process in processes.values())
    assert f"{up.host}:{up.port}" in processes["broker"]["addresses"].values()
    kcat(f"{up.host}:{up.port}", "-P", "-t", "hello", input="one\ntwo\n")
    assert run(WEIR, "status", "--data", up.data).stdout.count("running") >= 2
    assert f"BOOTSTRAP={up.host}:{up.port}" in run(WEIR, "env", "--data", up.data).stdout.replace("'", "").replace('"', "")
    with pytest.raises(Failed) as refused:
        up.detach()
    assert str(up.data) in refused.value.stdout + refused.value.stderr
    pids = up.pids()
    up.down()
    assert not any(map(alive, pids.values()))
    with pytest.raises(Failed) as stopped:
        run(WEIR, "status", "--data", up.data)
    assert stopped.value.code == 1
    up.detach()
    assert kcat(f"{up.host}:{up.port}", "-C", "-t", "hello", "-e", "-q").split() == ["one", "two"]


def test_up_in_the_foreground_ends_with_ctrl_c(up, tmp_path):
    process = up.foreground(tmp_path)
    pids = up.pids()
    process.signal(signal.SIGINT)
    assert process.popen.wait(20) == 0
    assert not any(map(alive, pids.values()))


def test_no_orphans_when_up_is_killed(up, tmp_path):
    """kill -9 of `weir up`: its children go too, and the next start finds everything as it should be."""
    process = up.foreground(tmp_path)
    kcat(f"{up.host}:{up.port}", "-P", "-t", "hello", input="one\n")
    pids = up.pids()
    process.kill()
    wait_for(lambda: not any(map(alive, pids.values())), "the children go")
    up.detach()
    assert kcat(f"{up.host}:{up.port}", "-C", "-t", "hello", "-e", "-q").split() == ["one"]


def test_a_broker_that_dies_is_started_again(up):
    up.detach()
    kcat(f"{up.host}:{up.port}", "-P", "-t", "hello", input="one\n")
    first = up.pids()["broker"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: up.pids().get("broker", first) != first and up.state("broker") == "running", "another runs", 60)
    assert kcat(f"{up.host}:{up.port}", "-C", "-t", "hello", "-e", "-q").split() == ["one"]


def broker_that_fails(make_server, config, *options):
    server = make_server(config, start=False)
    server.start_zookeeper()
    broker = server.broker_process(*options)
    assert broker.popen.wait(20) != 0
    return broker.text()


@pytest.mark.parametrize("key, value, says", [
    ("log.segment.bytes", "abc", "number"),
    ("num.partitions", "0", "1"),
    ("log.retention.hours", "9999999999999", ""),
    ("listeners", "PLAINTEXT//nowhere", "listeners"),
    ("compression.type", "rar", "gzip"),
    ("weir.metrics.listener", "11001", "HOST:PORT"),
])
def test_bad_values_name_key_value_and_range(make_server, key, value, says):
    text = broker_that_fails(make_server, {key: value})
    assert key in text and value in text and says in text, text


def test_missing_configuration_file(tmp_path):
    with pytest.raises(Failed) as refused:
        run(WEIR, "broker", "--config", tmp_path / "no.properties")
    assert "no.properties" in refused.value.stderr + refused.value.stdout


def test_unknown_key_is_a_warning(make_server):
    server = make_server({"no.such.key": "1"})
    assert any("no.such.key" in line for line in server.broker.text().splitlines())
    assert wire.answers(server.host, server.port)


def test_override(make_server, name):
    server = make_server(start=False)
    server.start_zookeeper()
    server.start_broker("--override", "num.partitions=3", "--override", "log.segment.bytes=1000000")
    produce(server, name, [b"x"])
    from support.clients import admin
    assert len(admin(server).list_topics(name, timeout=10).topics[name].partitions) == 3


def test_taken_port_is_a_clear_error(make_server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        text = broker_that_fails(make_server, {"listeners": f"PLAINTEXT://127.0.0.1:{port}"})
    assert str(port) in text and "in use" in text, text


def test_ipv6_and_two_listeners(make_server, name):
    port4, port6 = free_port(), free_port()
    server = make_server({"listeners": f"INTERNAL://127.0.0.1:{port4},EXTERNAL://[::1]:{port6}",
                          "listener.security.protocol.map": "INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT",
                          "advertised.listeners": f"INTERNAL://127.0.0.1:{port4},EXTERNAL://localhost:{port6}",
                          "inter.broker.listener.name": "INTERNAL"}, start=False)
    server.port = port4
    server.start()
    create_topic(server, name)
    produce(server, name, [b"x"])
    assert f"localhost:{port6}" in kcat(f"[::1]:{port6}", "-L")
    assert f"127.0.0.1:{port4}" in kcat(f"127.0.0.1:{port4}", "-L")


def test_json_log(make_server):
    server = make_server(start=False)
    server.start_zookeeper()
    server.start_broker("--log-format", "json")
    lines = server.broker.text().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_start_is_fast_and_small(make_server, name):
    """From exec to the first answer, and the memory of a broker that rests."""
    server = make_server()
    create_topic(server, name, partitions=10)
    produce(server, name, [b"x"] * 1000)
    server.stop_broker()
    server.start_broker()
    assert server.broker.memory() < 60 << 20
    assert values(read(server, name, 1000)) == [b"x"] * 1000


def test_sigterm_while_clients_are_busy(make_server, name):
    """A stop answers what it can, writes the clean mark, and does not wait for clients that stay."""
    server = make_server()
    create_topic(server, name)
    waiting = server.connection()
    waiting.send(wire.FETCH, 4, wire.fetch_body(name, 0, wait_ms=60_000))
    produce(server, name, [b"x"])
    idle = server.connection()
    assert server.broker.stop(15) == 0
    assert (server.data / ".kafka_cleanshutdown").exists()
    waiting.close()
    idle.close()
    server.start_broker()
    assert watermarks(server, name) == (0, 1)
