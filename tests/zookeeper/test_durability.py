"""kill -9 under load: what was answered is there, sessions too."""
import threading

import pytest

import wire as w
from servers import until, word
from wire import Wire, blob, i32, text

pytestmark = pytest.mark.ours


class Writer(threading.Thread):
    """Writes with many requests under way, and remembers what was answered, until the server is gone."""

    def __init__(self, port, name):
        super().__init__()
        self.wire = Wire(port).connect(timeout_ms=60000)
        self.name = name
        self.wire.create(f"/{name}")
        self.wire.create(f"/{name}/e", flags=1)
        self.created, self.version = 0, 0

    def run(self):
        under_way = []
        n = 0
        try:
            while True:
                while len(under_way) < 40:
                    under_way.append((w.CREATE, self.wire.post(w.CREATE, w.create(f"/{self.name}/{n}", b"%d" % n))))
                    body = text(f"/{self.name}") + blob(b"%d" % n) + i32(-1)
                    under_way.append((w.SET_DATA, self.wire.post(w.SET_DATA, body)))
                    n += 1
                kind, xid = under_way.pop(0)
                err, _ = self.wire.answer(xid)
                assert err == w.OK
                if kind == w.CREATE:
                    self.created += 1
                else:
                    self.version += 1
        except (w.Closed, OSError):
            pass


@pytest.mark.parametrize("round_number", range(3))
def test_kill_under_load(own, round_number):
    server = own()
    writers = [Writer(server.port, f"w{i}") for i in range(4)]
    for writer in writers:
        writer.start()
    until("each has written", lambda: all(x.created > 300 * (round_number + 1) for x in writers), seconds=60)
    server.kill()
    for writer in writers:
        writer.join(30)
    server.start()
    for writer in writers:
        c = Wire(server.port).connect(session=writer.wire.session, password=writer.wire.password, zxid=writer.wire.zxid)
        assert c.session == writer.wire.session, "an answered session is lost"
        children = set(c.children(f"/{writer.name}"))
        missing = [n for n in range(writer.created) if str(n) not in children]
        assert missing == [], "answered nodes are lost"
        data, stat = c.get(f"/{writer.name}")
        assert stat["version"] >= writer.version
        # A prefix of what was sent, nothing torn: each creation but the last has its change of the data.
        assert stat["version"] in (len(children) - 1, len(children) - 2)
        assert int(data) == stat["version"] - 1
        assert stat["num_children"] == len(children)
        assert c.stat(f"/{writer.name}/e")["ephemeral_owner"] == c.session
        c.ok(w.CLOSE)
        writer.wire.close()


def test_one_sync_serves_many(own):
    server = own()
    c = Wire(server.port).connect()
    xids = [c.post(w.CREATE, w.create(f"/n{i}")) for i in range(2000)]
    for xid in xids:
        assert c.answer(xid)[0] == w.OK
    got = dict(line.split("\t") for line in word(server.port, "mntr").splitlines())
    commits, requests = int(got["zk_commit_count"]), int(got["zk_commit_requests"])
    assert requests >= 2000
    assert commits < requests / 3, f"{commits} commits for {requests} changes"
    c.close()


def test_a_full_disk_refuses_changes_and_reads_go_on(own):
    server = own(stateBytesMax=512 * 1024)
    c = Wire(server.port).connect()
    c.create("/small", b"x")
    big = w.create("/big", b"y" * 1_000_000)
    assert c.call(w.CREATE, big)[0] == -1  # SystemError
    assert c.get("/small")[0] == b"x"
    assert c.stat("/big") is None
    assert c.set("/small", b"z")["version"] == 1
    server.kill()
    server.start()
    again = Wire(server.port).connect()
    assert again.get("/small")[0] == b"z" and again.stat("/big") is None
    again.close()
    c.close()
