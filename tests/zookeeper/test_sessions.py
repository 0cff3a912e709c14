"""Sessions: how they begin, move, expire and end."""
import time

import wire as w
from servers import until
from wire import Wire, i32, text


def test_timeouts_are_negotiated(wire):
    assert wire(timeout_ms=1).timeout_ms == 400
    assert wire(timeout_ms=5000).timeout_ms == 5000
    assert wire(timeout_ms=10_000_000).timeout_ms == 60000


def test_each_session_has_its_own_id_and_password(wire):
    a, b = wire(), wire()
    assert a.session != b.session and a.session != 0
    assert len(a.password) == 16 and a.password != b.password


def test_clients_before_and_since_3_4_are_answered_in_their_form(wire):
    assert wire().tail == b"\0"
    assert wire(read_only=b"\1").tail == b"\0"
    assert wire(read_only=b"").tail in (b"", b"\0")


def test_ping(wire):
    c = wire()
    err, r = c.ping()
    assert err == w.OK and r.done()


def test_close_removes_ephemerals(wire, root):
    c, other = wire(), wire()
    c.create(root + "/e", flags=1)
    c.create(root + "/kept")
    c.ok(w.CLOSE)
    assert c.closed()
    assert other.children(root) == ["kept"]


def test_a_lost_connection_is_not_the_end_of_its_session(wire, root):
    c, other = wire(timeout_ms=30000), wire()
    c.create(root + "/e", flags=1)
    c.close()
    again = wire(session=c.session, password=c.password, timeout_ms=30000)
    assert again.session == c.session and again.password == c.password
    assert other.children(root) == ["e"]
    again.ok(w.CLOSE)
    assert other.children(root) == []


def test_a_session_moves_and_its_old_connection_is_closed(wire, root):
    c = wire()
    c.create(root + "/e", flags=1)
    again = wire(session=c.session, password=c.password)
    assert again.session == c.session
    assert c.closed()
    assert again.stat(root + "/e")["ephemeral_owner"] == again.session


def test_wrong_password_is_refused(wire, zk):
    c = wire()
    thief = Wire(zk.port).connect(session=c.session, password=b"x" * 16)
    assert (thief.session, thief.timeout_ms) == (0, 0)
    assert thief.closed()


def test_unknown_session_is_refused(zk):
    c = Wire(zk.port).connect(session=0x1234567, password=b"x" * 16)
    assert (c.session, c.timeout_ms) == (0, 0)
    assert c.closed()


def test_a_client_that_has_seen_the_future_is_refused(zk):
    c = Wire(zk.port)
    try:
        c.connect(zxid=2**60)
        assert False, "accepted"
    except w.Closed:
        pass


def test_a_silent_session_expires(wire, root):
    c, other = wire(timeout_ms=400), wire()
    c.create(root + "/e", flags=1)
    other.stat(root + "/e", watch=True)
    started = time.monotonic()
    until("the ephemeral node is gone", lambda: other.stat(root + "/e") is None)
    assert time.monotonic() - started > 0.2
    assert other.take_events() == [(w.DELETED, root + "/e")]
    assert c.closed()
    late = wire(session=c.session, password=c.password)
    assert late.session == 0


def test_pings_keep_a_session(wire, root):
    c, other = wire(timeout_ms=800), wire()
    c.create(root + "/e", flags=1)
    # Two silent ones of the same timeout come and go meanwhile.
    for name in ("/silent1", "/silent2"):
        wire(timeout_ms=800).create(root + name, flags=1)

        def silent_is_gone():
            c.ping()
            return other.stat(root + name) is None

        until("a silent session expires", silent_is_gone)
        assert other.stat(root + "/e") is not None


def test_sessions_and_nodes_survive_a_restart(own, wire, kind):
    server = own()
    c = wire(port=server.port, timeout_ms=30000)
    c.create("/kept", b"data")
    c.set("/kept", b"more")
    c.create("/e", flags=1)
    c.create("/null", None)
    before, zxid = c.stat("/kept"), c.zxid
    closed = wire(port=server.port)
    closed.create("/closed", flags=1)
    closed.ok(w.CLOSE)
    server.stop()
    server.start()
    again = wire(port=server.port, session=c.session, password=c.password, zxid=zxid, timeout_ms=30000)
    assert again.session == c.session
    assert again.get("/kept") == (b"more", before)
    assert again.get("/null")[0] is None
    assert again.stat("/e")["ephemeral_owner"] == c.session
    assert again.stat("/closed") is None
    again.create("/later")
    assert again.stat("/later")["czxid"] > zxid
    again.ok(w.CLOSE)
    assert wire(port=server.port).stat("/e") is None


def test_expired_while_the_server_was_down(own, wire):
    server = own()
    c = wire(port=server.port, timeout_ms=400)
    c.create("/e", flags=1)
    server.stop()
    server.start()
    other = wire(port=server.port)
    until("the session expires after the restart", lambda: other.stat("/e") is None)


def test_connections_of_one_address_are_limited(own):
    server = own(maxClientCnxns=3)
    made = [Wire(server.port).connect() for _ in range(3)]
    try:
        Wire(server.port).connect()  # closed before, or after it is made
        assert False, "a fourth connection was let in"
    except (w.Closed, OSError):
        pass
    made[0].ok(w.CLOSE)
    assert made[0].closed()

    def let_in():
        try:
            return Wire(server.port).connect().session
        except (w.Closed, OSError):
            return 0

    until("the place that became free is given away", let_in)


def test_kazoo_reconnects_and_keeps_its_ephemerals(own, kazoo):
    server = own()
    c = kazoo(server.hosts, timeout=30)
    c.create("/e", ephemeral=True)
    session = c.client_id[0]
    server.stop()
    server.start()
    until("kazoo is connected again", lambda: c.connected, seconds=30)
    c.retry(c.set, "/e", b"x")
    assert c.get("/e")[1].ephemeralOwner == session


def test_removed_watch_numbers_do_not_matter_for_others(wire, root):
    a, b = wire(), wire()
    a.get(root, watch=True)
    b.get(root, watch=True)
    assert a.call(w.REMOVE_WATCHES, text(root) + i32(2))[0] == w.OK
    b.set(root, b"x")
    assert a.take_events() == []
    assert b.take_events() == [(w.CHANGED, root)]
