"""A Weir broker on three nodes of Apache ZooKeeper: nodes that die and pause, SASL, TLS, and the ACLs of a Java broker."""
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

import wire as w
from servers import ROOT, RUNS, SUPER, digest, free_port, kafka_run, until, word
from wire import GET_DATA, NO_NODE, OK, Closed, Wire, text

pytestmark = [pytest.mark.timeout(300)]

SESSION_MS = 4000
WEIR = os.environ.get("WEIR_BINARY", str(ROOT / "build/release/weir"))
PASSWORD = "of-the-stores"
USER, SECRET = "kafka", 'pass"word, with = signs'
JAAS = """%s {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  %s;
};
"""


def escaped(secret):
    return secret.replace('"', '\\"')


def openssl(*args, folder):
    subprocess.run(["openssl", *map(str, args)], cwd=folder, check=True, capture_output=True)


def make_certificates(folder):
    """A private CA, a server for 127.0.0.1, the broker; and a CA that nobody knows."""
    folder.mkdir(parents=True)
    for ca in ("ca", "stranger"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", f"/CN={ca}", "-keyout", f"{ca}.key",
                "-out", f"{ca}.pem", folder=folder)  # fmt: skip
    for name, san in (("server", "IP:127.0.0.1,DNS:localhost"), ("broker", "DNS:broker")):
        (folder / f"{name}.ext").write_text(f"subjectAltName={san}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/O=weir/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr", folder=folder)  # fmt: skip
        openssl("x509", "-req", "-days", 2, "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem", folder=folder)  # fmt: skip
        openssl("pkcs12", "-export", "-in", f"{name}.pem", "-inkey", f"{name}.key", "-certfile", "ca.pem", "-out",
                f"{name}.p12", "-passout", f"pass:{PASSWORD}", folder=folder)  # fmt: skip
        both = (folder / f"{name}.key").read_text() + (folder / f"{name}.pem").read_text()
        (folder / f"{name}-all.pem").write_text(both)
    return folder


class Node:
    def __init__(self, ensemble, number):
        self.ensemble, self.number = ensemble, number
        self.folder = ensemble.folder / f"node-{number}"
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "data/myid").write_text(f"{number}\n")
        self.port, self.secure_port, self.peer_port, self.election_port = (free_port() for _ in range(4))
        self.process = None

    def start(self):
        certificates = self.ensemble.certificates
        lines = {
            "dataDir": self.folder / "data",
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "secureClientPort": self.secure_port,
            "secureClientPortAddress": "127.0.0.1",
            "tickTime": 200,
            "initLimit": 50,
            "syncLimit": 25,
            "minSessionTimeout": 400,
            "maxSessionTimeout": 60000,
            "admin.enableServer": "false",
        }
        for node in self.ensemble.nodes:
            lines[f"server.{node.number}"] = f"127.0.0.1:{node.peer_port}:{node.election_port}"
        (self.folder / "zoo.cfg").write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
        (self.folder / "jaas").write_text(JAAS % ("Server", f'user_{USER}="{escaped(SECRET)}"'))
        properties = {
            "zookeeper.4lw.commands.whitelist": "*",
            "zookeeper.serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
            "zookeeper.authProvider.sasl": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            "zookeeper.DigestAuthenticationProvider.superDigest": digest(SUPER),
            "java.security.auth.login.config": self.folder / "jaas",
            "zookeeper.ssl.keyStore.location": certificates / "server.p12",
            "zookeeper.ssl.keyStore.password": PASSWORD,
            "zookeeper.ssl.trustStore.location": certificates / "ca.pem",
            "zookeeper.ssl.hostnameVerification": "false",  # of clients' certificates
            "zookeeper.ssl.clientAuth": "want",
        }
        env = dict(os.environ, KAFKA_HEAP_OPTS="-Xmx128m")
        env["KAFKA_OPTS"] = " ".join(f"-D{k}={v}" for k, v in properties.items())
        with open(self.folder / "log", "ab") as out:
            self.process = subprocess.Popen(
                ["bash", kafka_run(), "3.9.1", "zookeeper-server-start", str(self.folder / "zoo.cfg")],
                stdout=out, stderr=out, env=env,
            )  # fmt: skip
        return self

    @property
    def mode(self):
        said = word(self.port, "srvr", timeout=2) or ""
        return next((line[6:] for line in said.splitlines() if line.startswith("Mode: ")), None)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self.process = None


class Ensemble:
    def __init__(self):
        self.folder = RUNS / f"{os.getpid()}-ensemble"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.certificates = make_certificates(self.folder / "certificates")
        self.nodes = []
        self.nodes += [Node(self, i) for i in (1, 2, 3)]

    def start(self):
        for node in self.nodes:
            if node.process is None:
                node.start()
        until("the ensemble serves", lambda: sorted(str(n.mode) for n in self.nodes) == ["follower", "follower", "leader"],
              seconds=90, pause=0.1)  # fmt: skip
        return self

    def hosts(self, secure=False):
        return ",".join(f"127.0.0.1:{n.secure_port if secure else n.port}" for n in self.nodes)

    def is_now(self, mode):
        return next(n for n in self.nodes if n.process and n.mode == mode)

    def reader(self):
        """A connection that may read everything, to any node that serves."""

        def connect():
            for node in self.nodes:
                try:
                    c = Wire(node.port, timeout=5).connect()
                    assert c.auth("digest", SUPER.encode()) == w.OK
                    return c
                except (OSError, Closed):
                    continue

        return until("a node lets us in", connect, seconds=60)

    def get(self, path):
        """Data and stat; None when it is not there or nobody can say."""
        try:
            with self.reader() as c:
                error, answer = c.call(GET_DATA, text(path) + b"\0")  # one call: between two the node may go
                assert error in (OK, NO_NODE), f"error {error}"
                return (answer.blob(), answer.stat()) if error == OK else None
        except (OSError, Closed):
            return None

    def remove(self):
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Weir:
    def __init__(self, ensemble, name, secure=False, **config):
        self.ensemble, self.chroot = ensemble, f"/{name}"
        self.folder = ensemble.folder / name
        self.folder.mkdir()
        self.port = free_port()
        self.config = {
            "broker.id": 1,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": self.folder / "data",
            "zookeeper.connect": ensemble.hosts(secure) + self.chroot,
            "zookeeper.session.timeout.ms": SESSION_MS,
            "zookeeper.connection.timeout.ms": 30000,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "controlled.shutdown.enable": "false",
            **config,
        }
        self.process = None

    def launch(self):
        path = self.folder / "server.properties"
        path.write_text("".join(f"{k}={v}\n" for k, v in self.config.items()))
        with open(self.folder / "log", "ab") as out:
            self.process = subprocess.Popen([WEIR, "broker", "--config", str(path)], stdout=out, stderr=out)
        return self

    def start(self):
        self.launch()
        until("the broker is registered", self.epoch, seconds=40, pause=0.1)
        return self

    def log(self):
        return (self.folder / "log").read_text()

    def epoch(self):
        """What Kafka takes for a broker's epoch: the zxid that made its node."""
        assert self.process.poll() is None, f"the broker ended:\n{self.log()[-3000:]}"
        found = self.ensemble.get(f"{self.chroot}/brokers/ids/1")
        return found and json.loads(found[0])["port"] == self.port and found[1]["czxid"]

    def ends(self):
        return self.process.wait(40), self.log()

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            status = self.process.wait(60)
            assert how == signal.SIGKILL or status == 0, self.log()[-3000:]
        self.process = None

    def make_topic(self, name):
        """What only a controller with a session does: through ZooKeeper and back."""
        from kafka.admin import KafkaAdminClient, NewTopic
        from kafka.errors import NodeNotReadyError, TopicAlreadyExistsError

        def make():
            admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{self.port}", request_timeout_ms=30000)
            try:
                admin.create_topics([NewTopic(name, 1, 1)])
            except NodeNotReadyError:  # the client's guess of the broker's version took more than its two seconds
                return False
            except TopicAlreadyExistsError:
                pass
            finally:
                admin.close()
            return True

        until(f"topic {name} is taken", make, seconds=60, pause=0.1)
        state = f"{self.chroot}/brokers/topics/{name}/partitions/0/state"
        until(f"topic {name} has a leader", lambda: (self.ensemble.get(state) or [b""])[0], seconds=30, pause=0.1)


@pytest.fixture(scope="module")
def ensemble():
    made = Ensemble()
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture
def weir(ensemble):
    made = []

    def make(name, **config):
        made.append(Weir(ensemble, name, **config))
        return made[-1]

    yield make
    for one in made:
        one.stop(signal.SIGKILL)


def sasl(**more):
    return {"weir.zookeeper.sasl.username": USER, "weir.zookeeper.sasl.password": SECRET, **more}


def tls(ensemble, kind="p12", **more):
    c = ensemble.certificates
    key = {"zookeeper.ssl.keystore.location": c / "broker.p12", "zookeeper.ssl.keystore.password": PASSWORD}
    if kind == "pem":
        key = {"zookeeper.ssl.keystore.location": c / "broker-all.pem", "zookeeper.ssl.keystore.type": "PEM"}
    return {
        "zookeeper.ssl.client.enable": "true",
        "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        "zookeeper.ssl.truststore.location": c / "ca.pem",
        **key,
        **more,
    }


def connected_to(broker, ensemble, secure):
    """The node whose connection the broker has."""
    ports = {n.secure_port if secure else n.port: n for n in ensemble.nodes}
    lines = [line for line in broker.log().splitlines() if "ZooKeeper session" in line and "connected to" in line]
    return ports[int(lines[-1].split("connected to 127.0.0.1:")[1].split(",")[0])]


@pytest.mark.parametrize("way", ["plain", "sasl", "tls"])
def test_a_node_dies_the_leader_dies_and_all_pause(ensemble, weir, way):
    secure = way == "tls"
    broker = weir(f"faults-{way}", secure=secure, **{"plain": {}, "sasl": sasl(), "tls": tls(ensemble)}[way]).start()
    epoch = broker.epoch()
    broker.make_topic("first")

    if way != "plain":  # (libzookeeper does not say where it is)
        connected_to(broker, ensemble, secure).kill()
    else:
        ensemble.is_now("follower").kill()
    broker.make_topic("one-is-dead")
    ensemble.start()

    ensemble.is_now("leader").kill()
    until("there is a new leader", lambda: any(n.process and n.mode == "leader" for n in ensemble.nodes), seconds=60)
    broker.make_topic("the-leader-is-dead")
    ensemble.start()
    assert broker.epoch() == epoch, "a session that need not have ended has"

    for node in ensemble.nodes:
        node.signal(signal.SIGSTOP)
    time.sleep(SESSION_MS / 1000 * 1.5)  # that long is what is tested
    for node in ensemble.nodes:
        node.signal(signal.SIGCONT)
    # Who decides whether the session is over is ZooKeeper. Its node goes, or stays; the broker works either way.
    until("the broker is registered", broker.epoch, seconds=60, pause=0.2)
    broker.make_topic("after-the-pause")

    # A session that is surely over: ZooKeeper runs, the broker does not.
    epoch = broker.epoch()
    broker.process.send_signal(signal.SIGSTOP)
    until("its node is gone", lambda: ensemble.get(f"{broker.chroot}/brokers/ids/1") is None, seconds=40, pause=0.2)
    broker.process.send_signal(signal.SIGCONT)
    assert until("it is back", broker.epoch, seconds=60, pause=0.2) > epoch
    broker.make_topic("with-a-new-epoch")
    broker.stop()
    assert ensemble.get(f"{broker.chroot}/brokers/ids/1") is None, "a broker that stopped is still registered"


def test_a_killed_broker_ends_the_session_it_left(ensemble, weir):
    broker = weir("left", **sasl(**{"zookeeper.session.timeout.ms": 40000})).start()
    epoch = broker.epoch()
    broker.stop(signal.SIGKILL)
    broker.launch()
    assert until("it is back before its old session is over", lambda: broker.epoch() not in (None, epoch), seconds=20)
    assert "ended the ZooKeeper session that this broker left behind" in broker.log()
    broker.stop()


def acls_below(ensemble, root):
    """{path without the root: ACL} of a whole tree."""
    out, left = {}, [root]
    with ensemble.reader() as c:
        while left:
            path = left.pop()
            err, r = c.call(w.GET_ACL, text(path))
            if err != w.OK:
                continue
            out[path.removeprefix(root) or "/"] = sorted(r.acls())
            left += [f"{path}/{child}" for child in c.children(path)]
    return out


def test_acls_are_those_of_a_java_broker(ensemble, weir):
    jaas = ensemble.folder / "client.jaas"
    jaas.write_text(JAAS % ("Client", f'username="{USER}" password="{escaped(SECRET)}"'))
    broker = weir("acl", **{"zookeeper.set.acl": "true", "weir.zookeeper.jaas.config": jaas}).start()
    broker.make_topic("t")
    ours = acls_below(ensemble, "/acl")
    broker.stop()

    java = Weir(ensemble, "java", **{"zookeeper.set.acl": "true"})
    (java.folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in java.config.items()))
    env = dict(os.environ, KAFKA_HEAP_OPTS="-Xmx256m", KAFKA_OPTS=f"-Djava.security.auth.login.config={jaas}")
    with open(java.folder / "log", "ab") as out:
        java.process = subprocess.Popen(
            ["bash", kafka_run(), "3.9.1", "kafka-server-start", str(java.folder / "server.properties")],
            stdout=out, stderr=out, env=env,
        )  # fmt: skip
    try:
        until("the Java broker is registered", java.epoch, seconds=60, pause=0.2)
        java.make_topic("t")
        theirs = acls_below(ensemble, "/java")
    finally:
        java.stop(signal.SIGKILL)

    common = ours.keys() & theirs.keys()
    assert {p: ours[p] for p in common} == {p: theirs[p] for p in common}
    for path in ("/", "/consumers", "/controller", "/brokers/ids/1", "/config/users", "/config/brokers",
                 "/brokers/topics/t/partitions/0/state", "/config/topics/t", "/cluster/id"):  # fmt: skip
        assert path in common, path
    assert ours["/config/users"] == [(w.ALL, "sasl", USER)]
    assert ours["/controller"] == sorted([(w.ALL, "sasl", USER), (1, "world", "anyone")])
    assert ours["/consumers"] == [(w.ALL, "world", "anyone")]
    only_ours = {p for p in ours.keys() - theirs.keys() if not p.startswith(("/brokers/topics/", "/config/topics/"))}
    assert not only_ours, only_ours


def test_acls_name_the_certificate(ensemble, weir):
    broker = weir("acl-tls", secure=True, **tls(ensemble, kind="pem", **{"zookeeper.set.acl": "true"})).start()
    acl = acls_below(ensemble, "/acl-tls")["/brokers/ids/1"]
    assert sorted(acl) == sorted([(w.ALL, "x509", "CN=broker,O=weir"), (1, "world", "anyone")])
    broker.stop()


def test_what_is_refused_is_said(ensemble, weir):
    c = ensemble.certificates
    subprocess.run(
        ["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", str(c / "ca.pem"), "-keystore", str(c / "trust.jceks"),
         "-storetype", "JCEKS", "-storepass", PASSWORD],
        check=True, capture_output=True,
    )  # fmt: skip
    jaas = ensemble.folder / "kerberos.jaas"
    jaas.write_text("Client { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };")
    quick = {"zookeeper.connection.timeout.ms": 6000}
    wrong = {
        "a wrong password": (sasl(**{"weir.zookeeper.sasl.password": "no"}), False, "refused this broker's credentials"),
        "a server nobody vouches for": (
            tls(ensemble, **{"zookeeper.ssl.truststore.location": c / "stranger.pem", **quick}), True,
            "certificate verify failed",
        ),
        "TLS to a port without it": (tls(ensemble, **quick), False, "TLS handshake with"),
        "no TLS to a port with it": (sasl(**quick), True, "does not let us in"),
        "a JCEKS store": (
            tls(ensemble, **{"zookeeper.ssl.truststore.location": c / "trust.jceks"}), True, "keytool -importkeystore",
        ),
        "a wrong password of a store": (
            tls(ensemble, **{"zookeeper.ssl.keystore.password": "no"}), True, "its password is another",
        ),
        "a login for Kerberos": ({"weir.zookeeper.jaas.config": jaas}, False, "only DigestLoginModule"),
        "ACLs without an identity": ({"zookeeper.set.acl": "true"}, False, "zookeeper.set.acl=true"),
    }  # fmt: skip
    brokers = {
        what: weir(f"wrong-{i}", secure=secure, **config).launch()
        for i, (what, (config, secure, _)) in enumerate(wrong.items())
    }
    for what, broker in brokers.items():
        status, log = broker.ends()
        assert status != 0, what
        assert wrong[what][2] in log, f"{what}:\n{log}"
        assert SECRET not in log and PASSWORD not in log


def migrate_check(*args):
    """What `weir migrate check` says, in the background: call the result for (exit code, {subject: (level, text)}, stderr)."""
    started = subprocess.Popen([WEIR, "migrate", "check", "--json", *map(str, args)], stdout=-1, stderr=-1, text=True)

    def result():
        out, err = started.communicate(timeout=60)
        assert SECRET not in out + err and PASSWORD not in out + err
        found = json.loads(out)["findings"] if out else []
        return started.returncode, {f["subject"]: (f["level"], f["text"]) for f in found}, err

    return result


def properties(path, config):
    path.write_text("".join(f"{k}={v}\n" for k, v in config.items()))
    return path


def test_migrate_check_comes_in_as_the_broker_does(ensemble, weir):
    by_sasl = weir("check-sasl", **sasl(**{"zookeeper.set.acl": "true"})).start()
    by_tls = weir("check-tls", secure=True, **tls(ensemble)).start()
    jaas = ensemble.folder / "check.jaas"
    jaas.write_text(JAAS % ("Client", f'username="{USER}" password="{escaped(SECRET)}"'))
    of_java = properties(by_sasl.folder / "java.properties",
                         {k: v for k, v in by_sasl.config.items() if not k.startswith("weir.") and k != "zookeeper.set.acl"})  # fmt: skip
    tls_keys = properties(by_tls.folder / "tls.properties", tls(ensemble))
    strange = properties(by_tls.folder / "strange.properties",
                         tls(ensemble, **{"zookeeper.ssl.truststore.location": ensemble.certificates / "stranger.pem"}))  # fmt: skip
    wrong = properties(by_sasl.folder / "wrong.properties", {**by_sasl.config, "weir.zookeeper.sasl.password": "no"})
    at_sasl = ("--zookeeper", by_sasl.config["zookeeper.connect"], "--broker-id", 1)
    at_tls = ("--zookeeper", by_tls.config["zookeeper.connect"], "--broker-id", 1)
    started = {
        "all from the file, SASL": migrate_check("--config", by_sasl.folder / "server.properties"),
        "all from the file, TLS": migrate_check("--config", by_tls.folder / "server.properties"),
        "by option, TLS": migrate_check(*at_tls, "--zk-tls-config-file", tls_keys),
        "by option, SASL": migrate_check(*at_sasl, "--zk-jaas-config-file", jaas),
        "a file of Java's": migrate_check("--config", of_java, "--zk-jaas-config-file", jaas),
        "no credentials": migrate_check(*at_sasl),
        "a wrong password": migrate_check("--config", wrong),
        "a server nobody vouches for": migrate_check(*at_tls, "--zk-tls-config-file", strange),
        "no file": migrate_check("--config", by_sasl.folder / "nowhere"),
    }
    ended = {what: result() for what, result in started.items()}
    expected = {
        "all from the file, SASL": (1, "ok", "logged in by SASL"),
        "all from the file, TLS": (1, "ok", "by TLS"),
        "by option, TLS": (1, "ok", "by TLS"),
        "by option, SASL": (1, "ok", "logged in by SASL"),
        "a file of Java's": (2, "blocks", "the credentials for it are not in the broker's file"),
        "no credentials": (2, "blocks", "/config/users"),
        "a wrong password": (2, "blocks", "refuses the credentials"),
        "a server nobody vouches for": (2, "blocks", "no ZooKeeper answers"),
    }
    for what, (code, level, text) in expected.items():
        status, found, err = ended[what]
        assert found["ZooKeeper"][0] == level and text in found["ZooKeeper"][1], f"{what}: {found}\n{err}"
        assert status == code, f"{what}: {found}\n{err}"
        if code == 1:
            assert found["cluster"][0] == "ok" and found["controller"][1] == "this broker is the controller", found
    assert "certificate verify failed" in ended["a server nobody vouches for"][2]
    assert ended["no file"][0] == 2 and "nowhere" in ended["no file"][2]
    for broker in (by_sasl, by_tls):
        broker.stop()
