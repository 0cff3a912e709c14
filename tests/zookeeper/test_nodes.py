"""Nodes: their names, data, versions, and every field of a Stat."""
import pytest

import servers
import wire as w
from wire import blob, i32, i64, text


def test_stat_of_a_new_node_and_of_its_parent(wire, root):
    c = wire()
    before = c.stat(root)
    c.create(root + "/a", b"hello")
    data, stat = c.get(root + "/a")
    assert data == b"hello"
    assert stat["czxid"] == stat["mzxid"] == stat["pzxid"] > before["czxid"]
    assert stat["ctime"] == stat["mtime"] > 1_600_000_000_000
    assert (stat["version"], stat["cversion"], stat["aversion"]) == (0, 0, 0)
    assert (stat["ephemeral_owner"], stat["data_length"], stat["num_children"]) == (0, 5, 0)
    parent = c.stat(root)
    assert parent["cversion"] == before["cversion"] + 1
    assert parent["num_children"] == 1
    assert parent["pzxid"] == stat["czxid"]
    assert parent["mzxid"] == before["mzxid"]


def test_set_data_counts_versions(wire, root):
    c = wire()
    first = c.stat(root)
    second = c.set(root, b"one")
    assert (second["version"], second["data_length"]) == (1, 3)
    assert second["mzxid"] > first["mzxid"] and second["czxid"] == first["czxid"]
    assert c.set(root, b"two", version=1)["version"] == 2
    assert c.call(w.SET_DATA, text(root) + blob(b"x") + i32(1))[0] == w.BAD_VERSION
    assert c.call(w.SET_DATA, text(root + "/no") + blob(b"x") + i32(-1))[0] == w.NO_NODE
    assert c.get(root)[0] == b"two"


def test_deleting_counts_as_a_change_of_children(wire, root):
    c = wire()
    c.create(root + "/a")
    c.create(root + "/b")
    assert c.stat(root)["cversion"] == 2
    assert c.delete(root + "/a") == w.OK
    stat = c.stat(root)
    assert (stat["cversion"], stat["num_children"]) == (3, 1)
    assert stat["pzxid"] == c.zxid


def test_delete_is_refused(wire, root):
    c = wire()
    c.create(root + "/a")
    assert c.delete(root) == w.NOT_EMPTY
    assert c.delete(root + "/a", version=7) == w.BAD_VERSION
    assert c.delete(root + "/no") == w.NO_NODE
    assert c.delete("/zookeeper") == w.BAD_ARGUMENTS
    assert c.delete("/") == w.BAD_ARGUMENTS
    assert c.delete(root + "/a", version=0) == w.OK


def test_create_is_refused(wire, root):
    c = wire()
    for path, err in [
        (root, w.NODE_EXISTS),
        ("/", w.NODE_EXISTS),
        (root + "/no/child", w.NO_NODE),
        ("relative", w.BAD_ARGUMENTS),
        (root + "/", w.BAD_ARGUMENTS),
        (root + "/a/../b", w.NO_NODE),
        (root + "/..", w.BAD_ARGUMENTS),
        (root + "/.", w.BAD_ARGUMENTS),
        (root + "/a\x01b", w.BAD_ARGUMENTS),
        (root + "/a\0b", w.BAD_ARGUMENTS),
        (root + "/\ue000", w.BAD_ARGUMENTS),
    ]:
        assert c.call(w.CREATE, w.create(path))[0] == err, path
    assert c.call(w.CREATE, w.create(root + "/a", flags=9))[0] == w.BAD_ARGUMENTS
    assert c.children(root) == []


def test_names_in_any_script(wire, root):
    c = wire()
    assert c.create(root + "/käse-日本", b"x") == root + "/käse-日本"
    assert c.children(root) == ["käse-日本"]
    # Java sees two surrogates in what lies beyond 16 bits, and refuses those.
    assert c.call(w.CREATE, w.create(root + "/𝄞"))[0] == w.BAD_ARGUMENTS


def test_null_data_is_not_empty_data(wire, root):
    c = wire()
    c.create(root + "/null", None)
    c.create(root + "/empty", b"")
    assert c.get(root + "/null")[0] is None
    assert c.get(root + "/empty")[0] == b""
    assert c.get(root + "/null")[1]["data_length"] == 0


def test_sequence_counts_creations_of_children(wire, root):
    c = wire()
    assert c.create(root + "/s-", flags=2) == root + "/s-0000000000"
    c.create(root + "/other")
    assert c.create(root + "/s-", flags=2) == root + "/s-0000000002"
    c.delete(root + "/s-0000000002")
    assert c.create(root + "/", flags=2) == root + "/0000000003"
    assert c.create(root + "/e-", flags=3) == root + "/e-0000000004"
    assert c.stat(root + "/e-0000000004")["ephemeral_owner"] == c.session


def test_create2_tells_the_stat(wire, root):
    c = wire()
    r = c.ok(w.CREATE2, w.create(root + "/a", b"abc"))
    assert r.text() == root + "/a"
    stat = r.stat()
    assert stat == c.stat(root + "/a")
    assert stat["data_length"] == 3


def test_ephemeral_nodes_have_no_children(wire, root):
    c = wire()
    c.create(root + "/e", flags=1)
    assert c.stat(root + "/e")["ephemeral_owner"] == c.session
    assert c.call(w.CREATE, w.create(root + "/e/child"))[0] == w.NO_CHILDREN_FOR_EPHEMERALS


def test_children_with_stat_and_number_of_all(wire, root):
    c = wire()
    for path in ["/a", "/b", "/a/c", "/a/c/d"]:
        c.create(root + path)
    r = c.ok(w.GET_CHILDREN2, text(root) + b"\0")
    assert sorted(r.texts()) == ["a", "b"]
    assert r.stat()["num_children"] == 2
    assert c.ok(w.ALL_CHILDREN, text(root)).i32() == 4
    assert c.call(w.ALL_CHILDREN, text(root + "/no"))[0] == w.NO_NODE
    assert c.call(w.GET_CHILDREN, text(root + "/no") + b"\0")[0] == w.NO_NODE


def test_ephemerals_of_a_session(wire, root):
    c, other = wire(), wire()
    c.create(root + "/a", flags=1)
    c.create(root + "/b", flags=1)
    other.create(root + "/c", flags=1)
    assert sorted(c.ok(w.GET_EPHEMERALS, text(root)).texts()) == [root + "/a", root + "/b"]
    assert c.ok(w.GET_EPHEMERALS, text(root + "/b")).texts() == [root + "/b"]
    assert sorted(c.ok(w.GET_EPHEMERALS, text("")).texts()) == [root + "/a", root + "/b"]


def test_the_nodes_that_are_always_there(wire):
    c = wire()
    assert "zookeeper" in c.children("/")
    assert c.children("/zookeeper") == ["config", "quota"]
    stat = c.stat("/zookeeper")
    assert (stat["czxid"], stat["cversion"], stat["num_children"]) == (0, -2, 2)
    assert c.ok(w.GET_ACL, text("/zookeeper/config")).acls() == [(1, "world", "anyone")]


def test_container_goes_when_its_last_child_does(wire, root):
    c = wire()
    r = c.ok(w.CREATE_CONTAINER, w.create(root + "/box", flags=4))
    assert r.text() == root + "/box"
    assert r.stat()["ephemeral_owner"] == 0
    c.create(root + "/box/a")
    c.delete(root + "/box/a")
    servers.until("the empty container is deleted", lambda: c.stat(root + "/box") is None)


def test_ttl_node_goes_when_its_time_is_over(wire, root):
    c = wire()
    ttl = w.create(root + "/t", b"x", flags=5) + i64(400)
    r = c.ok(w.CREATE_TTL, ttl)
    r.text()
    assert r.stat()["ephemeral_owner"] == 0
    c.ok(w.CREATE_TTL, w.create(root + "/kept", b"x", flags=5) + i64(400))
    c.create(root + "/kept/child")
    servers.until("the old node is deleted", lambda: c.stat(root + "/t") is None)
    assert c.stat(root + "/kept") is not None
    assert c.call(w.CREATE_TTL, w.create(root + "/bad", flags=5) + i64(0))[0] == w.BAD_ARGUMENTS
    r = c.ok(w.CREATE_TTL, w.create(root + "/s-", flags=6) + i64(100000))
    assert r.text().startswith(root + "/s-00000000")


def test_sync_answers_its_path(wire, root):
    c = wire()
    assert c.ok(w.SYNC, text(root)).text() == root


def test_a_large_node_is_kept_and_a_larger_one_refused(wire, root, zk):
    c = wire()
    data = b"x" * 1_000_000
    c.set(root, data)
    assert c.get(root)[0] == data
    try:
        c.send(b"\0" * 1_048_576)  # one byte more than jute.maxbuffer
        assert c.closed()
    except ConnectionError:
        pass  # closed while the rest was on its way
    assert wire().get(root)[1]["version"] == 1


def test_many_requests_at_once_are_answered_in_order(wire, root):
    c = wire()
    xids = [c.post(w.CREATE, w.create(f"{root}/n{i}", b"v" * 100)) for i in range(500)]
    assert [c.answer(x)[1].text() for x in xids] == [f"{root}/n{i}" for i in range(500)]
    assert len(c.children(root)) == 500


def test_read_after_write_in_one_go(wire, root):
    c = wire()
    for i in range(100):
        a = c.post(w.SET_DATA, text(root) + blob(str(i).encode()) + i32(-1))
        b = c.post(w.GET_DATA, text(root) + b"\0")
        assert c.answer(a)[0] == w.OK
        assert c.answer(b)[1].blob() == str(i).encode()


def test_zxid_of_answers_never_falls(wire, root):
    c, other = wire(), wire()
    last = 0
    for i in range(50):
        (c if i % 2 else other).set(root, b"%d" % i)
        c.stat(root)
        assert c.zxid >= last
        last = c.zxid
    assert c.zxid == c.stat(root)["mzxid"]


def test_unknown_request_is_answered_and_ends_the_connection(wire):
    c = wire()
    err, _ = c.call(55)
    assert err == w.UNIMPLEMENTED
    assert c.closed()


def test_cut_request_gets_a_marshalling_error(wire, root):
    c = wire()
    assert c.call(w.GET_DATA, i32(500) + b"/a")[0] == w.MARSHALLING
    assert c.stat(root) is not None


@pytest.mark.parametrize("kind_of_create", [w.CREATE, w.CREATE2])
def test_create_without_acl_is_refused(wire, root, kind_of_create):
    c = wire()
    assert c.call(kind_of_create, w.create(root + "/a", acl=[]))[0] == w.INVALID_ACL


def test_kazoo_works(kazoo, root):
    c = kazoo()
    c.ensure_path(root + "/x/y/z")
    c.create(root + "/x/data", b"1", ephemeral=True)
    assert c.get(root + "/x/data")[0] == b"1"
    lock = c.Lock(root + "/lock", "me")
    with lock:
        assert lock.contenders() == ["me"]
    c.delete(root + "/x", recursive=True)
    assert c.exists(root + "/x") is None
    assert c.server_version() >= (3, 8)
