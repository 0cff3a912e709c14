"""Starts the two servers that the suite compares: Apache ZooKeeper, and Weir's coordination service."""
import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "build/zookeeper"
TICK_MS = 200
SUPER = "super:secret"


def digest(user_password):
    hashed = base64.b64encode(hashlib.sha1(user_password.encode()).digest()).decode()
    return user_password.split(":", 1)[0] + ":" + hashed


def serve_program():
    named = os.environ.get("ZK_SERVE")
    return Path(named) if named else ROOT / "build/release/tests/zookeeper/zk_serve"


def kafka_run():
    return os.environ.get("KAFKA_RUN", str(ROOT / "tests/peers/kafka-run"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, condition, seconds=20, pause=0.02):
    """Waits for a condition, never for time."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(pause)


def word(port, name, timeout=5):
    """Asks a four-letter word; None when nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
            s.sendall(name.encode())
            out = b""
            while chunk := s.recv(65536):
                out += chunk
            return out.decode()
    except OSError:
        return None


class ZkServer:
    """One server on a directory of its own; start and kill as often as one likes."""

    def __init__(self, kind, name, **config):
        self.kind = kind
        self.folder = RUNS / f"{os.getpid()}-{kind}-{name}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.config = {
            "dataDir": self.folder / "data",
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "tickTime": TICK_MS,
            "minSessionTimeout": 400,
            "maxSessionTimeout": 60000,
            "maxClientCnxns": 500,
            "admin.enableServer": "false",
            **config,
        }
        self.properties = {
            "zookeeper.4lw.commands.whitelist": "*",
            "zookeeper.extendedTypesEnabled": "true",
            "znode.container.checkIntervalMs": "300",
            "zookeeper.DigestAuthenticationProvider.superDigest": digest(SUPER),
        }
        self.process = None

    @property
    def hosts(self):
        return f"127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.folder / "log"

    def start(self):
        path = self.folder / "zoo.cfg"
        lines = dict(self.config)
        env = dict(os.environ)
        if self.kind == "ours":
            lines.update(self.properties)
            command = [str(serve_program()), str(path)]
        else:
            env["KAFKA_OPTS"] = " ".join(f"-D{k}={v}" for k, v in self.properties.items())
            command = ["bash", kafka_run(), "3.9.1", "zookeeper-server-start", str(path)]
        path.write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
        try:
            until("the server serves", lambda: self.answers(), seconds=120, pause=0.05)
        except AssertionError:
            self.kill()
            raise AssertionError(f"the server did not start:\n{self.log.read_text()[-3000:]}")
        return self

    def answers(self):
        assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()[-3000:]}"
        # Apache's says imok, and even listens, before it lets a session in.
        return "Mode: standalone" in (word(self.port, "srvr") or "")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            status = self.process.wait(30)
            assert self.kind != "ours" or status == 0, f"ended with {status}:\n{self.log.read_text()[-3000:]}"
        self.process = None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
        self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class RunningServer:
    """A server that somebody else started: ZK_HOSTS."""

    kind = "running"

    def __init__(self, hosts):
        self.hosts = hosts
        self.port = int(hosts.split(",")[0].rsplit(":", 1)[1])

    def remove(self):
        pass
