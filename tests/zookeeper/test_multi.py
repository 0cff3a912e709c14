"""Transactions: all or nothing, one answer for each operation."""
import wire as w
from wire import blob, i32, i64, multi, text


def test_all_operations_happen_with_one_zxid(wire, root):
    c = wire()
    r = c.ok(
        w.MULTI,
        multi(
            (w.CREATE, w.create(root + "/a", b"1")),
            (w.CREATE2, w.create(root + "/b", b"22")),
            (w.SET_DATA, text(root + "/a") + blob(b"333") + i32(0)),
            (w.CHECK, text(root + "/a") + i32(1)),
            (w.CREATE, w.create(root + "/c")),
            (w.DELETE, text(root + "/c") + i32(0)),
        ),
    )
    got = r.multi()
    assert r.done()
    assert [(kind, err) for kind, err, _ in got] == [(1, 0), (15, 0), (5, 0), (13, 0), (1, 0), (2, 0)]
    assert got[0][2] == root + "/a"
    assert got[1][2][0] == root + "/b" and got[1][2][1]["data_length"] == 2
    assert got[2][2]["version"] == 1
    a, b, parent = c.stat(root + "/a"), c.stat(root + "/b"), c.stat(root)
    assert a["czxid"] == a["mzxid"] == b["czxid"] == parent["pzxid"]
    assert c.children(root) == ["a", "b"]
    assert parent["cversion"] == 4


def test_one_failure_undoes_all(wire, root):
    c = wire()
    c.create(root + "/a", b"old")
    before = c.stat(root)
    r = c.ok(
        w.MULTI,
        multi(
            (w.SET_DATA, text(root + "/a") + blob(b"new") + i32(-1)),
            (w.CREATE, w.create(root + "/b")),
            (w.DELETE, text(root + "/a") + i32(-1)),
            (w.CHECK, text(root + "/b") + i32(9)),
            (w.CREATE, w.create(root + "/c")),
        ),
    )
    assert r.multi() == [(-1, 0, 0), (-1, 0, 0), (-1, 0, 0), (-1, w.BAD_VERSION, w.BAD_VERSION), (-1, -2, -2)]
    assert c.get(root + "/a")[0] == b"old"
    assert c.get(root + "/a")[1]["version"] == 0
    assert c.stat(root) == before
    assert c.create(root + "/s-", flags=2) == root + "/s-0000000001"


def test_a_failed_multi_tells_no_watcher(wire, root):
    c = wire()
    c.create(root + "/a")
    c.get(root + "/a", watch=True)
    c.children(root, watch=True)
    c.ok(w.MULTI, multi((w.DELETE, text(root + "/a") + i32(-1)), (w.CHECK, text(root + "/no") + i32(0))))
    assert c.take_events() == []
    c.ok(w.MULTI, multi((w.DELETE, text(root + "/a") + i32(-1)), (w.CREATE, w.create(root + "/b"))))
    assert sorted(c.take_events()) == [(w.DELETED, root + "/a"), (w.CHILD, root)]


def test_sequence_and_ephemeral_in_a_multi(wire, root):
    c = wire()
    r = c.ok(w.MULTI, multi((w.CREATE, w.create(root + "/s-", flags=3)), (w.CREATE, w.create(root + "/s-", flags=2))))
    assert [path for _, _, path in r.multi()] == [root + "/s-0000000000", root + "/s-0000000001"]
    assert c.stat(root + "/s-0000000000")["ephemeral_owner"] == c.session


def test_container_and_ttl_in_a_multi(wire, root):
    c = wire()
    r = c.ok(
        w.MULTI,
        multi(
            (w.CREATE_CONTAINER, w.create(root + "/box", flags=4)),
            (w.CREATE_TTL, w.create(root + "/ttl", flags=5) + i64(60000)),
        ),
    )
    assert [(kind, body[0]) for kind, _, body in r.multi()] == [(15, root + "/box"), (15, root + "/ttl")]


def test_empty_multi_and_checks_alone(wire, root):
    c = wire()
    assert c.ok(w.MULTI, multi()).multi() == []
    assert c.ok(w.MULTI, multi((w.CHECK, text(root) + i32(0)))).multi() == [(13, 0, None)]
    assert c.ok(w.MULTI, multi((w.CHECK, text(root) + i32(4)))).multi() == [(-1, w.BAD_VERSION, w.BAD_VERSION)]


def test_multi_read(wire, root):
    c = wire()
    c.create(root + "/a", b"data")
    r = c.ok(
        w.MULTI_READ,
        multi(
            (w.GET_DATA, text(root + "/a") + b"\0"),
            (w.GET_CHILDREN, text(root) + b"\0"),
            (w.GET_DATA, text(root + "/no") + b"\0"),
        ),
    )
    got = r.multi()
    assert got[0][2][0] == b"data" and got[0][2][1]["data_length"] == 4
    assert got[1][2] == ["a"]
    assert got[2] == (-1, w.NO_NODE, w.NO_NODE)


def test_malformed_multi(wire, root):
    c = wire()
    good = multi((w.CREATE, w.create(root + "/a")))
    assert c.call(w.MULTI, good[:-5])[0] == w.MARSHALLING
    assert c.children(root) == []
