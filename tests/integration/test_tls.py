"""TLS listeners, the private authority, principals from certificates, and brokers that speak TLS among themselves."""
import re
import socket
import ssl

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from support import wire
from support.clients import create_topic, done, produce, read, values
from support.ports import free_port
from support.server import DEFAULTS, WEIR, Process, Server
from support.tools import kafka, kcat, run, server_option
from support.wait import wait_for

pytestmark = pytest.mark.weir


class Authority:
    """`weir ca` on a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.pem = self.export("pem", "ca.pem")

    def weir(self, *arguments, **how):
        return run(WEIR, "ca", *arguments, "--data", self.folder, **how)

    def export(self, form, name, *more):
        self.weir("export", "--format", form, "--out", self.folder / name, *more)
        return self.folder / name

    def broker(self, name, *names, days=30):
        path = self.folder / name
        self.weir("issue", *[part for one in names or ("localhost", "127.0.0.1") for part in ("--name", one)], "--days", days,
                  "--out", path)
        return path

    def client(self, subject):
        """A certificate by way of a request, as users make it."""
        key, csr, pem = (self.folder / f"client.{ending}" for ending in ("key", "csr", "pem"))
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", subject, "-out", csr)
        self.weir("sign", csr, "--out", pem)
        return {"ssl_certificate_location": str(pem), "ssl_key_location": str(key)}


class TlsServer(Server):
    """A server with a plaintext and a TLS listener."""

    def __init__(self, folder, **config):
        super().__init__(folder)
        self.authority = Authority(self.folder / "authority")
        self.tls_port = free_port()
        self.keystore = self.authority.broker("broker.pem")
        self.config |= {"listeners": f"PLAINTEXT://127.0.0.1:{self.port},SSL://127.0.0.1:{self.tls_port}", "ssl.keystore.type": "PEM",
                        "ssl.keystore.location": self.keystore, "ssl.truststore.type": "PEM",
                        "ssl.truststore.location": self.authority.pem, **config}
        self.tls = {"security_protocol": "ssl", "ssl_ca_location": str(self.authority.pem)}

    @property
    def secure(self):
        return f"127.0.0.1:{self.tls_port}"

    def start_broker(self, *options):
        return super().start_broker("--log-level", "debug", *options)

    def dial(self, version=None, certificate=None):
        context = ssl.create_default_context(cafile=self.authority.pem)
        if version:
            context.minimum_version = context.maximum_version = version
        if certificate:
            context.load_cert_chain(certificate["ssl_certificate_location"], certificate["ssl_key_location"])
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.tls_port), 20), server_hostname="127.0.0.1")

    def logged(self, pattern):
        return wait_for(lambda: re.search(pattern, self.broker.text()), f"the log says {pattern}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = TlsServer(tmp_path_factory.mktemp("tls"), **{"ssl.client.auth": "requested",
                                                         "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/U,DEFAULT"})
    try:
        yield server.start()
    finally:
        server.stop()
    assert not server.problems()


class Secure:
    """The server as clients see it through its TLS listener."""

    def __init__(self, server):
        self.bootstrap = server.secure


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_openssl_trusts_it(server, version):
    said = run("openssl", "s_client", f"-tls{version}", "-connect", server.secure, "-CAfile", server.authority.pem,
               "-verify_ip", "127.0.0.1", "-verify_return_error", input="").stdout
    assert "Verify return code: 0 (ok)" in said and f"TLSv{version.replace('_', '.')}" in said
    assert run("openssl", "s_client", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-connect", server.secure, input="", check=False).returncode


def test_librdkafka_and_kcat(server, name):
    create_topic(server, name, partitions=2)
    sent = [bytes([i % 256]) * (i * 13 % 5000) for i in range(2000)]
    produce(Secure(server), name, sent, **server.tls)
    assert sorted(values(read(Secure(server), name, len(sent), **server.tls))) == sorted(sent)
    options = ["-X", "security.protocol=ssl", "-X", f"ssl.ca.location={server.authority.pem}"]
    assert f'topic "{name}" with 2 partitions' in kcat(server.secure, *options, "-L")
    assert f"broker 1 at {server.secure}" in kcat(server.secure, *options, "-L")


@pytest.mark.parametrize("version, form", [("2.2.1", "jks"), ("2.2.1", "pkcs12"), ("3.9.1", "pkcs12"), ("4.3.1", "jks")])
def test_console_tools_with_an_exported_trust_store(server, name, version, form):
    create_topic(server, name)
    store = server.authority.export(form, f"trust-{version}.{form}", "--password", "secret1")
    client = server.folder / f"client-{version}-{form}.properties"
    client.write_text(f"security.protocol=SSL\nssl.truststore.location={store}\nssl.truststore.password=secret1\n"
                      f"ssl.truststore.type={form.upper()}\n")
    tool = "kafka-console-producer"
    kafka(version, tool, *server_option(version, tool, server.secure), "--producer.config", client, "--topic", name,
          input="one\ntwo\nthree\n")
    out = kafka(version, "kafka-console-consumer", "--bootstrap-server", server.secure, "--consumer.config", client, "--topic", name,
                "--from-beginning", "--max-messages", 3, "--timeout-ms", 30000)
    assert out.splitlines()[-3:] == ["one", "two", "three"]  # before it, 4.3 says what it will no longer know


def test_a_signed_client_has_a_principal(server):
    certificate = server.authority.client("/O=Example/CN=alice")
    with server.dial(certificate=certificate) as tls:
        local = tls.getsockname()[1]
        server.logged(rf"127.0.0.1:{local}-\d+ of listener SSL: User:ALICE, TLSv1.3 ")
    with server.dial() as tls:
        server.logged(rf"127.0.0.1:{tls.getsockname()[1]}-\d+ of listener SSL: User:ANONYMOUS, ")


def test_what_is_no_tls_is_named_in_the_log(server):
    with wire.Connection("127.0.0.1", server.tls_port) as plain:
        plain.send(wire.METADATA, 1, b"\0\0\0\0")
        assert plain.closed()
    server.logged("by its first bytes it is a Kafka client without it")
    with socket.create_connection(("127.0.0.1", server.tls_port)) as junk:
        junk.sendall(b"\x16\x03\x01\x02\x00" + bytes(600))
        junk.settimeout(20)
        while junk.recv(1000):
            pass
    assert run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", input="", check=False).returncode
    server.logged("this looks like TLS, and the listener does not speak it")
    assert server.broker.alive()


def test_silent_clients_cost_nothing_and_hold_up_nobody(server):
    before = server.broker.memory()
    silent = [socket.create_connection(("127.0.0.1", server.tls_port)) for _ in range(500)]
    for half, one in enumerate(silent):
        if half % 2:
            one.sendall(b"\x16\x03\x01\x02\x00\x01")
    with server.dial() as tls:
        assert tls.version() == "TLSv1.3"
    assert server.broker.memory() - before < 100 << 20
    for one in silent:
        one.close()


def test_a_certificate_is_renewed_without_a_restart(server, name):
    create_topic(server, name)
    with server.dial() as tls:
        first = tls.getpeercert()["serialNumber"]

        def renewed():
            with server.dial() as again:
                return again.getpeercert()["serialNumber"] != first

        server.keystore.write_text("broken")
        server.logged("TLS stays as it was: listener SSL: .*broker.pem")
        assert not renewed()
        server.authority.broker("broker.pem", days=60)
        wait_for(renewed, "new connections get the new certificate")
        # Who is connected stays so.
        tls.sendall(wire.frame(wire.header(wire.METADATA, 1) + b"\0\0\0\0"))
        assert len(tls.recv(4)) == 4


def test_who_has_no_good_certificate_is_refused_where_one_is_required(tmp_path):
    server = TlsServer(tmp_path, **{"ssl.client.auth": "required"})
    other = Authority(tmp_path / "other")
    try:
        server.start()
        produce_ok = {**server.tls, **server.authority.client("/CN=alice")}
        create_topic(server, "t")
        produce(Secure(server), "t", [b"x"], **produce_ok)
        for certificate, why in ((None, "peer did not return a certificate"), (other.client("/CN=mallory"), "certificate '?CN=mallory")):
            with pytest.raises((ssl.SSLError, ConnectionError)):  # TLS 1.3 tells a client when it reads
                with server.dial(certificate=certificate) as tls:
                    if not tls.recv(1):
                        raise ConnectionError
            server.logged(why)
    finally:
        server.stop()


class Cluster:
    """Three brokers whose only listener speaks TLS and wants a certificate: clients' and their own."""

    def __init__(self, folder):
        self.folder = folder
        self.service = Server(folder / "service")
        self.authority = Authority(folder / "authority")
        self.ports = {i: free_port() for i in (1, 2, 3)}
        self.brokers = {}
        self.client = {"security.protocol": "ssl", "ssl.ca.location": str(self.authority.pem),
                       **{k.replace("_", "."): v for k, v in self.authority.client("/CN=admin").items()}}
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def start(self):
        self.service.start_zookeeper()
        for i in self.ports:
            self.start_broker(i)
        return self

    def start_broker(self, i):
        folder = self.folder / f"broker-{i}"
        folder.mkdir(exist_ok=True)
        config = {**DEFAULTS, "broker.id": i, "listeners": f"SSL://127.0.0.1:{self.ports[i]}", "security.inter.broker.protocol": "SSL",
                  "log.dirs": folder / "data", "zookeeper.connect": f"127.0.0.1:{self.service.zookeeper_port}",
                  "ssl.keystore.location": self.authority.broker(f"broker-{i}.pem", "127.0.0.1"), "ssl.keystore.type": "PEM",
                  "ssl.truststore.location": self.authority.pem, "ssl.truststore.type": "PEM", "ssl.client.auth": "required",
                  "min.insync.replicas": 2, "offsets.topic.replication.factor": 3, "replica.lag.time.max.ms": 4000}
        properties = folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        self.brokers[i] = Process(f"broker {i}", [WEIR, "broker", "--config", properties], folder / "broker.log")

    def stop(self):
        for broker in self.brokers.values():
            if broker.alive():
                broker.kill()
        self.service.stop()


def test_three_brokers_replicate_over_tls_and_one_may_die(tmp_path):
    cluster = Cluster(tmp_path)
    try:
        cluster.start()
        client = AdminClient({"bootstrap.servers": cluster.bootstrap, **cluster.client})
        wait_for(lambda: len(client.list_topics(timeout=20).brokers) == 3, "three brokers", 60)
        done(client.create_topics([NewTopic("t", 3, 3)]))

        def partitions():
            return client.list_topics("t", timeout=20).topics["t"].partitions.values()

        wait_for(lambda: len(partitions()) == 3 and all(len(p.isrs) == 3 for p in partitions()), "all replicas are in sync", 60)
        cluster_client = {k.replace(".", "_"): v for k, v in cluster.client.items()}
        first = [b"before %d" % i for i in range(500)]
        produce(cluster, "t", first, **cluster_client)
        dead = next(iter(partitions())).leader
        cluster.brokers[dead].kill()
        second = [b"after %d" % i for i in range(500)]
        produce(cluster, "t", second, **cluster_client)
        assert sorted(values(read(cluster, "t", 1000, **cluster_client))) == sorted(first + second)
        cluster.start_broker(dead)
        wait_for(lambda: all(len(p.isrs) == 3 for p in partitions()), "it is in sync again", 60)
    finally:
        cluster.stop()
