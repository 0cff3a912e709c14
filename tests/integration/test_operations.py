"""weir up, status and down; configuration errors that say what is wrong; logs."""
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

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
    server.broker = server.broker_process(*options)  # stopped with the server, should it run
    assert server.broker.popen.wait(20) != 0
    return server.broker.text()


@pytest.mark.parametrize("key, value, says", [
    ("log.segment.bytes", "abc", "number"),
    ("num.partitions", "0", "1"),
    ("log.retention.hours", "9999999999999", ""),
    ("listeners", "PLAINTEXT//nowhere", "listeners"),
    ("compression.type", "rar", "gzip"),
    ("weir.metrics.listener", "11001", "HOST:PORT"),
    ("zookeeper.connect", "127.0.0.1:99999", "must be HOST[:PORT]"),
    ("zookeeper.connect", "127.0.0.1:2177x", "must be HOST[:PORT]"),
    ("zookeeper.connect", ":2181", "must be HOST[:PORT]"),
    ("log.dirs", "/tmp/weir-a,/tmp/weir-a", "each named once"),
    ("listener.name.plaintext.max.connections", "abc", "number"),
    ("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer", "weir.ignore.unsupported=authorizer.class.name"),
])
def test_bad_values_name_key_value_and_range(make_server, key, value, says):
    text = broker_that_fails(make_server, {key: value})
    assert key in text and value in text and says in text, text


def test_a_broker_that_shall_have_no_authorizer_starts(make_server):
    server = make_server({"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:admin",
                          "weir.ignore.unsupported": "authorizer.class.name"})
    told = [line for line in server.broker.text().splitlines() if "everybody may do everything" in line]
    assert len(told) == 1 and " W " in told[0], told
    check = (WEIR, "migrate", "check", "--config", server.properties, "--log-dirs", server.data)
    with pytest.raises(Failed) as warned:
        run(*check)
    assert warned.value.code == 1 and "weir.ignore.unsupported=authorizer.class.name" in warned.value.stdout
    del server.config["weir.ignore.unsupported"]
    server.write_properties()
    with pytest.raises(Failed) as blocked:
        run(*check)
    blocks = [line for line in blocked.value.stdout.splitlines() if line.startswith("  blocks ")]
    assert blocked.value.code == 2 and len(blocks) == 1 and "ACLs: " in blocks[0], blocked.value.stdout


def test_a_bad_override_is_not_blamed_on_the_file(make_server):
    text = broker_that_fails(make_server, {"num.io.threads": "x"}, "--override", "num.partitions=0")
    assert "--override num.partitions=0: must be at least 1" in text, text
    assert "server.properties: num.io.threads=x" in text and "server.properties: num.partitions" not in text, text


def test_zookeeper_is_named_as_kafka_names_it(make_server):
    """Without a port it is 2181; an IPv6 address stands in brackets."""
    for host, port, connect in (("127.0.93.17", 2181, "127.0.93.17/a"), ("::1", free_port(), "[::1]:{}")):
        connect = connect.format(port)
        server = make_server({"zookeeper.connect": connect}, start=False)
        bracketed = f"[{host}]" if ":" in host else host
        server.zookeeper = Process("zookeeper", [WEIR, "zookeeper", "--data", server.folder / "zookeeper", "--listen",
                                                 f"{bracketed}:{port}"], server.folder / "zookeeper.log")
        server.start_broker()
        with pytest.raises(Failed) as checked:  # a single broker: there are warnings
            run(WEIR, "migrate", "check", "--zookeeper", connect, "--broker-id", "1")
        assert checked.value.code == 1 and "ok" in checked.value.stdout, checked.value.stdout


@pytest.mark.parametrize("command", [("control",), ("migrate", "check", "--broker-id", "1")])
def test_a_zookeeper_that_cannot_be_is_refused_at_once(tmp_path, command):
    for bad in ("127.0.0.1:99999", "127.0.0.1:2177x", ":2181", "/chroot"):
        with pytest.raises(Failed) as refused:
            run(WEIR, *command, "--zookeeper", bad, timeout=5)
        assert refused.value.code == 2 and f"--zookeeper: {bad}: must be HOST[:PORT]" in refused.value.stderr


def test_missing_configuration_file(tmp_path):
    with pytest.raises(Failed) as refused:
        run(WEIR, "broker", "--config", tmp_path / "no.properties")
    assert "no.properties" in refused.value.stderr + refused.value.stdout


def test_unknown_key_is_a_warning(make_server):
    server = make_server({"no.such.key": "1"})
    assert any("no.such.key" in line for line in server.broker.text().splitlines())
    assert wire.answers(server.host, server.port)


def test_up_says_at_once_what_is_wrong_with_an_override(up):
    out = up.detach("--override", "num.partition=6")
    assert out.count("unknown key num.partition: it has no effect") == 1, out
    assert out.index("num.partition") < out.index("is up")
    up.down()
    assert "warning" not in up.detach()


def test_up_leaves_a_file_that_is_as_it_shall_be(up):
    """So that it starts on a disk that is full by now."""
    properties = up.data / "broker-1" / "server.properties"
    up.detach()
    before = properties.stat()
    up.down()
    up.detach()
    assert (properties.stat().st_ino, properties.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    up.down()
    up.detach("--kafka-version", "3.8")
    assert "inter.broker.protocol.version=3.8" in properties.read_text()


def test_that_nothing_is_compacted_is_said_at_each_start(make_server, name):
    server = make_server({"log.cleanup.policy": "delete"})
    create_topic(server, name, cleanup_policy="compact")
    create_topic(server, f"{name}-2")
    assert "does not compact" not in server.broker.text()
    server.restart_broker()

    def told():
        return [line for line in server.broker.text().splitlines() if "does not compact" in line]

    wait_for(told, "the broker says it")  # it answers a moment before
    assert len(told()) == 1 and f": {name}: " in told()[0], told()


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


def test_a_taken_metrics_port_is_named_by_its_key(make_server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        text = broker_that_fails(make_server, {"weir.metrics.listener": f"127.0.0.1:{port}"})
    assert "weir.metrics.listener: " in text and str(port) in text and "in use" in text, text


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


@pytest.mark.parametrize("config, says", [({"num.partitions": "0"}, "num.partitions=0: must be at least 1"),
                                          ({"zookeeper.connect": "127.0.0.1:1", "zookeeper.connection.timeout.ms": "100"},
                                           "127.0.0.1:1")])
def test_a_start_that_fails_is_json_too(make_server, config, says):
    lines = [json.loads(line) for line in broker_that_fails(make_server, config, "--log-format", "json").splitlines()]
    last = [line for line in lines if line["message"].startswith("weir broker: ")][-1]  # sessions end after it
    assert last["level"] == "error" and says in last["message"], last


@pytest.mark.skipif("WEIR_BINARY" in os.environ, reason="what a sanitizer takes is not Weir's")
def test_what_rests_is_small(up):
    """What clients need, the broker and its coordination service, is resident in 30 MiB; so `./dev bench` has it, too."""
    up.detach("--override", "weir.shards=2")
    kcat(f"{up.host}:{up.port}", "-P", "-t", "hello", input="one\n" * 1000)
    up.down()
    up.detach("--override", "weir.shards=2")
    assert len(kcat(f"{up.host}:{up.port}", "-C", "-t", "hello", "-e", "-q").split()) == 1000
    pids = up.pids()
    assert set(pids) == {"supervisor", "zookeeper", "broker", "control"}

    def status(role, field):
        lines = Path(f"/proc/{pids[role]}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field + ":")).split()[1])

    resident = {role: status(role, "VmRSS") / 1024 for role in pids}
    assert resident["zookeeper"] + resident["broker"] <= 30, resident
    threads = {role: status(role, "Threads") for role in pids}
    assert threads["zookeeper"] <= 6 and threads["supervisor"] == 1, threads


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
