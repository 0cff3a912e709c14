"""Every kind of watch: when it fires, how often, and in which order with answers."""
import pytest

import wire as w
from wire import i32, i64, text, vector

PERSISTENT, RECURSIVE = 0, 1
T_CHILDREN, T_DATA, T_ANY, T_PERSISTENT, T_RECURSIVE = 1, 2, 3, 4, 5


def add_watch(c, path, mode):
    r = c.ok(w.ADD_WATCH, text(path) + i32(mode))
    assert r.i32() == 0


def watches(c, kind, path, watcher_type):
    return c.call(kind, text(path) + i32(watcher_type))[0]


def set_watches(c, zxid, data=(), exist=(), child=(), persistent=None, recursive=None):
    body = i64(zxid) + vector(data, text) + vector(exist, text) + vector(child, text)
    if persistent is None:
        return c.call(w.SET_WATCHES, body, xid=-8)[0]
    return c.call(w.SET_WATCHES2, body + vector(persistent, text) + vector(recursive, text), xid=-8)[0]


def test_data_watch_fires_once(wire, root):
    c = wire()
    c.get(root, watch=True)
    c.set(root, b"1")
    c.set(root, b"2")
    assert c.take_events() == [(w.CHANGED, root)]


def test_exists_watch_sees_creation_change_and_deletion(wire, root):
    c = wire()
    path = root + "/a"
    assert c.stat(path, watch=True) is None
    c.create(path)
    assert c.take_events() == [(w.CREATED, path)]
    c.stat(path, watch=True)
    c.set(path, b"x")
    assert c.take_events() == [(w.CHANGED, path)]
    c.stat(path, watch=True)
    c.delete(path)
    assert c.take_events() == [(w.DELETED, path)]


def test_get_of_nothing_leaves_no_watch(wire, root):
    c = wire()
    c.call(w.GET_DATA, text(root + "/a") + b"\1")
    c.call(w.GET_CHILDREN, text(root + "/a") + b"\1")
    c.create(root + "/a")
    assert c.take_events() == []


def test_child_watch_fires_for_creation_deletion_and_the_end(wire, root):
    c = wire()
    path = root + "/p"
    c.create(path)
    c.children(path, watch=True)
    c.create(path + "/a")
    assert c.take_events() == [(w.CHILD, path)]
    c.children(path, watch=True)
    c.set(path + "/a", b"x")
    assert c.take_events() == []
    c.delete(path + "/a")
    assert c.take_events() == [(w.CHILD, path)]
    c.children(path, watch=True)
    c.delete(path)
    assert c.take_events() == [(w.DELETED, path)]


def test_data_and_child_watch_hear_of_a_deletion_once(wire, root):
    c = wire()
    path = root + "/p"
    c.create(path)
    c.get(path, watch=True)
    c.children(path, watch=True)
    c.delete(path)
    assert c.take_events() == [(w.DELETED, path)]
    c.create(path)
    assert c.take_events() == []


def test_watchers_of_other_sessions_hear_it(wire, root):
    c, other = wire(), wire()
    c.get(root, watch=True)
    other.get(root, watch=True)
    other.set(root, b"x")
    assert c.take_events() == other.take_events() == [(w.CHANGED, root)]


def test_the_event_comes_before_the_new_data(wire, root):
    c, other = wire(), wire()
    for i in range(30):
        c.get(root, watch=True)
        other.post(w.SET_DATA, text(root) + w.blob(b"%d" % i) + i32(-1))
        seen = False
        while True:
            c.post(w.GET_DATA, text(root) + b"\0")
            got = c.next()
            while got[0] == "event":
                seen = True
                got = c.next()
            if got[4].blob() == b"%d" % i:
                assert seen, "new data was seen before the event that tells of it"
                break
        other.next()
        c.events.clear()


def test_own_write_tells_the_watcher_before_its_answer(wire, root):
    c = wire()
    c.get(root, watch=True)
    c.post(w.SET_DATA, text(root) + w.blob(b"x") + i32(-1))
    assert c.next() == ("event", w.CHANGED, root)
    assert c.next()[0] == "reply"


def test_persistent_watch_stays(wire, root):
    c = wire()
    path = root + "/p"
    add_watch(c, path, PERSISTENT)
    c.create(path)
    c.set(path, b"1")
    c.set(path, b"2")
    c.create(path + "/a")
    c.set(path + "/a", b"not seen")
    c.delete(path + "/a")
    c.delete(path)
    assert c.take_events() == [
        (w.CREATED, path),
        (w.CHANGED, path),
        (w.CHANGED, path),
        (w.CHILD, path),
        (w.CHILD, path),
        (w.DELETED, path),
    ]


def test_recursive_watch_hears_of_all_below_but_not_of_children_changed(wire, root):
    c = wire()
    path = root + "/p"
    add_watch(c, path, RECURSIVE)
    c.create(path)
    c.create(path + "/a")
    c.create(path + "/a/b")
    c.set(path + "/a/b", b"x")
    c.delete(path + "/a/b")
    c.create(root + "/pother")
    assert c.take_events() == [
        (w.CREATED, path),
        (w.CREATED, path + "/a"),
        (w.CREATED, path + "/a/b"),
        (w.CHANGED, path + "/a/b"),
        (w.DELETED, path + "/a/b"),
    ]


@pytest.mark.ours  # and Apache's from 3.9 on: in 3.8 the later watch takes the place of the other
def test_standard_and_persistent_watch_on_one_path(wire, root, kind):
    c = wire()
    add_watch(c, root, PERSISTENT)
    c.get(root, watch=True)
    c.set(root, b"1")
    assert c.take_events() == [(w.CHANGED, root)]
    c.set(root, b"2")
    assert c.take_events() == [(w.CHANGED, root)]
    assert watches(c, w.REMOVE_WATCHES, root, T_ANY) == w.OK
    c.set(root, b"3")
    assert c.take_events() == []


def test_add_watch_with_a_wrong_mode_is_refused(wire, root):
    c = wire()
    assert c.call(w.ADD_WATCH, text(root) + i32(7))[0] != w.OK
    c.set(root, b"x")
    assert c.take_events() == []


@pytest.mark.parametrize("watcher_type", [T_DATA, T_ANY])
def test_remove_data_watch(wire, root, watcher_type):
    c = wire()
    assert watches(c, w.REMOVE_WATCHES, root, watcher_type) == w.NO_WATCHER
    c.get(root, watch=True)
    assert watches(c, w.CHECK_WATCHES, root, T_CHILDREN) == w.NO_WATCHER
    assert watches(c, w.CHECK_WATCHES, root, watcher_type) == w.OK
    assert watches(c, w.REMOVE_WATCHES, root, watcher_type) == w.OK
    assert watches(c, w.CHECK_WATCHES, root, watcher_type) == w.NO_WATCHER
    c.set(root, b"x")
    assert c.take_events() == []


def test_remove_child_watch_keeps_the_data_watch(wire, root):
    c = wire()
    c.get(root, watch=True)
    c.children(root, watch=True)
    assert watches(c, w.REMOVE_WATCHES, root, T_CHILDREN) == w.OK
    c.create(root + "/a")
    c.set(root, b"x")
    assert c.take_events() == [(w.CHANGED, root)]


def test_remove_persistent_watches_as_any(wire, root):
    c = wire()
    for mode in (PERSISTENT, RECURSIVE):
        add_watch(c, root, mode)
        assert watches(c, w.REMOVE_WATCHES, root, T_ANY) == w.OK
        assert watches(c, w.REMOVE_WATCHES, root, T_ANY) == w.NO_WATCHER
        c.set(root, b"x")
        c.create(root + f"/a{mode}")
        assert c.take_events() == []


def test_set_watches_tells_what_was_missed(wire, root):
    c, other = wire(), wire()
    for name in ["data", "gone", "kids", "same", "lost"]:
        c.create(f"{root}/{name}")
    seen = c.zxid
    other.set(root + "/data", b"x")
    other.delete(root + "/gone")
    other.create(root + "/kids/a")
    other.create(root + "/new")
    other.delete(root + "/lost")
    assert (
        set_watches(
            c,
            seen,
            data=[root + "/data", root + "/gone", root + "/same"],
            exist=[root + "/new", root + "/never"],
            child=[root + "/kids", root + "/lost"],
        )
        == w.OK
    )
    assert sorted(c.take_events()) == [
        (w.CREATED, root + "/new"),
        (w.DELETED, root + "/gone"),
        (w.DELETED, root + "/lost"),
        (w.CHANGED, root + "/data"),
        (w.CHILD, root + "/kids"),
    ]
    other.set(root + "/same", b"x")
    other.create(root + "/never")
    other.set(root + "/data", b"told already")
    assert sorted(c.take_events()) == [(w.CREATED, root + "/never"), (w.CHANGED, root + "/same")]


def test_set_watches2_brings_persistent_ones(wire, root):
    c = wire()
    c.create(root + "/p")
    assert set_watches(c, c.zxid, persistent=[root + "/p"], recursive=[root]) == w.OK
    c.create(root + "/p/a")
    c.create(root + "/b")
    assert sorted(c.take_events()) == [(w.CREATED, root + "/b"), (w.CREATED, root + "/p/a"), (w.CHILD, root + "/p")]


def test_watches_end_with_the_connection(wire, root, zk):
    c = wire()
    c.get(root, watch=True)
    again = wire(session=c.session, password=c.password)
    again.set(root, b"x")
    assert again.take_events() == []
    assert c.closed()


def test_ephemeral_end_tells_watchers(wire, root):
    c, other = wire(), wire()
    other.create(root + "/e", flags=1)
    c.stat(root + "/e", watch=True)
    c.children(root, watch=True)
    other.ok(w.CLOSE)
    assert sorted(c.take_events()) == [(w.DELETED, root + "/e"), (w.CHILD, root)]
