"""The four-letter words, in the formats that tools parse."""
import re

from servers import word


def pairs(text, separator):
    return dict(line.split(separator, 1) for line in text.splitlines() if separator in line)


def test_ruok_and_isro(zk):
    assert word(zk.port, "ruok") == "imok"
    assert word(zk.port, "isro") == "rw"


def test_srvr(zk, wire):
    c = wire()
    text = word(zk.port, "srvr")
    assert re.match(r"Zookeeper version: 3\.\d+\.\d+.*, built on \d{4}-\d\d-\d\d", text)
    got = pairs(text, ": ")
    assert re.fullmatch(r"[\d.]+/[\d.]+/[\d.]+", got["Latency min/avg/max"])
    assert got["Mode"] == "standalone"
    assert int(got["Connections"]) >= 1
    assert int(got["Received"]) >= 1 and int(got["Sent"]) >= 1 and int(got["Outstanding"]) >= 0
    assert int(got["Zxid"], 16) >= 1
    assert int(got["Node count"]) >= 4
    c.ping()


def test_stat_and_cons_name_the_client(zk, wire):
    c = wire(timeout_ms=20000)
    c.ping()
    port = c.socket.getsockname()[1]
    assert re.search(rf"^ /127\.0\.0\.1:{port}\[1\]\(queued=0,recved=\d+,sent=\d+\)$", word(zk.port, "stat"), re.M)
    line = re.search(rf"^ /127\.0\.0\.1:{port}\[1\]\((.*)\)$", word(zk.port, "cons"), re.M)
    got = dict(part.split("=") for part in line[1].split(","))
    assert int(got["sid"], 16) == c.session
    assert got["to"] == "20000"
    assert got["lop"] == "PING"
    assert {"est", "lzxid", "lresp", "llat", "minlat", "avglat", "maxlat"} <= set(got)


def test_mntr(zk, wire, root):
    c = wire()
    c.get(root, watch=True)
    c.create(root + "/e", flags=1)
    got = pairs(word(zk.port, "mntr"), "\t")
    assert got["zk_version"].startswith("3.")
    assert got["zk_server_state"] == "standalone"
    for key in ["znode_count", "watch_count", "ephemerals_count", "num_alive_connections", "packets_received"]:
        assert float(got["zk_" + key]) >= 1, key
    for key in ["outstanding_requests", "packets_sent", "approximate_data_size", "min_latency", "avg_latency", "max_latency"]:
        assert float(got["zk_" + key]) >= 0, key


def test_conf(zk):
    got = pairs(word(zk.port, "conf"), "=")
    assert got["clientPort"] == str(zk.port)
    assert (got["tickTime"], got["minSessionTimeout"], got["maxSessionTimeout"]) == ("200", "400", "60000")
    assert got["maxClientCnxns"] == "500"
    assert got["serverId"] == "0"
    assert "dataDir" in got


def test_watch_words(zk, wire, root):
    c = wire()
    c.get(root, watch=True)
    got = re.match(r"(\d+) connections watching (\d+) paths\nTotal watches:(\d+)\n", word(zk.port, "wchs"))
    assert got and all(int(n) >= 1 for n in got.groups())
    assert f"0x{c.session:x}" in word(zk.port, "wchc")
    assert re.search(rf"^{root}\n\t0x{c.session:x}$", word(zk.port, "wchp"), re.M)


def test_dump_and_envi(zk, wire, root):
    c = wire()
    c.create(root + "/e", flags=1)
    text = word(zk.port, "dump")
    assert "SessionTracker dump:" in text and f"0x{c.session:x}" in text and root + "/e" in text
    assert "zookeeper.version=3." in word(zk.port, "envi")


def test_a_word_that_is_not_allowed_says_so(own):
    server = own()
    server.stop()
    server.properties["zookeeper.4lw.commands.whitelist"] = "ruok,srvr"
    server.start()
    assert word(server.port, "srvr").startswith("Zookeeper version")
    assert word(server.port, "mntr").strip() == "mntr is not executed because it is not in the whitelist."
