"""Who may do what."""
import wire as w
from servers import SUPER, digest
from wire import i32, text

READ, WRITE, CREATE, DELETE, ADMIN = 1, 2, 4, 8, 16


def set_acl(c, path, acl, version=-1):
    return c.call(w.SET_ACL, text(path) + w.acls(acl) + i32(version))


def get_acl(c, path):
    r = c.ok(w.GET_ACL, text(path))
    return r.acls(), r.stat()


def test_set_acl_counts_its_own_version(wire, root):
    c = wire()
    acl = [(READ | ADMIN, "world", "anyone")]
    err, r = set_acl(c, root, acl)
    assert err == w.OK
    stat = r.stat()
    assert (stat["aversion"], stat["version"]) == (1, 0)
    assert get_acl(c, root) == (acl, stat)
    assert set_acl(c, root, w.OPEN, version=0)[0] == w.BAD_VERSION
    assert set_acl(c, root, w.OPEN, version=1)[0] == w.OK
    assert set_acl(c, root + "/no", w.OPEN)[0] == w.NO_NODE


def test_each_permission_guards_its_operations(wire, root):
    c = wire()

    def refused(missing):
        path = f"{root}/without-{missing}"
        c.create(path)
        c.create(path + "/child")
        assert set_acl(c, path, [(w.ALL & ~missing, "world", "anyone")])[0] == w.OK
        attempts = {
            "get": c.call(w.GET_DATA, text(path) + b"\0")[0],
            "exists": c.call(w.EXISTS, text(path) + b"\0")[0],
            "children": c.call(w.GET_CHILDREN, text(path) + b"\0")[0],
            "set": c.call(w.SET_DATA, text(path) + w.blob(b"x") + i32(-1))[0],
            "create": c.call(w.CREATE, w.create(path + "/new"))[0],
            "delete": c.delete(path + "/child"),
            "set_acl": set_acl(c, path, w.OPEN)[0],
        }
        assert set(attempts.values()) <= {w.OK, w.NO_AUTH}
        return {name for name, err in attempts.items() if err == w.NO_AUTH}

    assert refused(READ) == {"get", "exists", "children"}
    assert refused(WRITE) == {"set"}
    assert refused(CREATE) == {"create"}
    assert refused(DELETE) == {"delete"}
    assert refused(ADMIN) == {"set_acl"}


def test_digest(wire, root):
    owner, other = wire(), wire()
    path = root + "/mine"
    assert owner.auth("digest", b"me:pass") == w.OK
    owner.create(path, b"secret", acl=[(w.ALL, "auth", "")])
    assert get_acl(owner, path)[0] == [(w.ALL, "digest", digest("me:pass"))]
    assert other.call(w.GET_DATA, text(path) + b"\0")[0] == w.NO_AUTH
    assert other.auth("digest", b"me:wrong") == w.OK
    assert other.call(w.GET_DATA, text(path) + b"\0")[0] == w.NO_AUTH
    assert other.auth("digest", b"me:pass") == w.OK
    assert other.get(path)[0] == b"secret"


def test_digest_named_in_full(wire, root):
    c = wire()
    path = root + "/theirs"
    c.create(path, b"x", acl=[(READ, "digest", digest("you:pw")), (ADMIN, "world", "anyone")])
    assert c.call(w.GET_DATA, text(path) + b"\0")[0] == w.NO_AUTH
    c.auth("digest", b"you:pw")
    assert c.get(path)[0] == b"x"
    assert c.call(w.SET_DATA, text(path) + w.blob(b"y") + i32(-1))[0] == w.NO_AUTH


def test_who_may_not_administer_does_not_see_hashes(wire, root):
    c = wire()
    path = root + "/a"
    c.create(path, acl=[(READ, "world", "anyone"), (w.ALL, "digest", digest("you:pw"))])
    assert get_acl(c, path)[0] == [(READ, "world", "anyone"), (w.ALL, "digest", "you:x")]
    c.auth("digest", b"you:pw")
    assert get_acl(c, path)[0][1] == (w.ALL, "digest", digest("you:pw"))


def test_ip(wire, root):
    c = wire()
    c.create(root + "/here", b"x", acl=[(w.ALL, "ip", "127.0.0.0/8")])
    c.create(root + "/exact", b"x", acl=[(w.ALL, "ip", "127.0.0.1")])
    c.create(root + "/away", b"x", acl=[(READ, "ip", "10.0.0.0/8"), (ADMIN, "world", "anyone")])
    assert c.get(root + "/here")[0] == c.get(root + "/exact")[0] == b"x"
    assert c.call(w.GET_DATA, text(root + "/away") + b"\0")[0] == w.NO_AUTH


def test_invalid_acls(wire, root):
    c = wire()
    for acl in [
        [(w.ALL, "auth", "")],  # nobody is authenticated
        [(w.ALL, "nonsense", "x")],
        [(w.ALL, "digest", "nocolon")],
        [(w.ALL, "ip", "not-an-address")],
        [(w.ALL, "ip", "10.0.0.0/99")],
        [(w.ALL, "world", "everyone")],
        [],
    ]:
        assert c.call(w.CREATE, w.create(root + "/a", acl=acl))[0] == w.INVALID_ACL, acl
        assert set_acl(c, root, acl)[0] == w.INVALID_ACL, acl


def test_duplicates_are_stored_once(wire, root):
    c = wire()
    c.create(root + "/a", acl=w.OPEN + w.OPEN)
    assert get_acl(c, root + "/a")[0] == w.OPEN


def test_unknown_scheme_ends_the_connection(wire):
    c = wire()
    assert c.auth("nonsense", b"x") == w.AUTH_FAILED
    assert c.closed()


def test_super_may_do_all(wire, root, zk):
    c = wire()
    path = root + "/locked"
    c.create(path, b"x", acl=[(w.ALL, "digest", digest("nobody:pw"))])
    assert c.call(w.GET_DATA, text(path) + b"\0")[0] == w.NO_AUTH
    assert c.auth("digest", SUPER.encode()) == w.OK
    assert c.get(path)[0] == b"x"
    assert set_acl(c, path, w.OPEN)[0] == w.OK


def test_who_am_i(wire):
    c = wire()
    c.auth("digest", b"me:pass")
    r = c.ok(w.WHO_AM_I)
    got = [(r.text(), r.text()) for _ in range(r.i32())]
    assert ("ip", "127.0.0.1") in got and ("digest", "me") in got


def test_events_do_not_tell_of_what_one_may_not_read(wire, root):
    c, owner = wire(), wire()
    owner.auth("digest", b"o:p")
    path = root + "/hidden"
    assert c.stat(path, watch=True) is None
    owner.create(path, acl=[(w.ALL, "auth", "")])
    assert c.take_events() == []


def test_a_multi_is_guarded_as_its_parts(wire, root):
    c = wire()
    c.create(root + "/ro", acl=[(READ, "world", "anyone")])
    r = c.ok(w.MULTI, w.multi((w.CREATE, w.create(root + "/a")), (w.CREATE, w.create(root + "/ro/b"))))
    assert [err for _, err, _ in r.multi()] == [0, w.NO_AUTH]
    assert c.children(root) == ["ro"]
