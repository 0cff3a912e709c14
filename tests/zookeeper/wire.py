"""A ZooKeeper client in bytes: for what client libraries hide, and for what they would never send."""
import socket
import struct

ALL = 31
OPEN = [(ALL, "world", "anyone")]

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = range(1, 10)
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES = range(11, 19)
CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL, MULTI_READ = range(19, 23)
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, ALL_CHILDREN, SET_WATCHES2, ADD_WATCH, WHO_AM_I = range(100, 108)
CLOSE = -11

OK, MARSHALLING, UNIMPLEMENTED, BAD_ARGUMENTS = 0, -5, -6, -8
NO_NODE, NO_AUTH, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS = -101, -102, -103, -108
NODE_EXISTS, NOT_EMPTY, SESSION_EXPIRED, INVALID_ACL, AUTH_FAILED, NO_WATCHER = -110, -111, -112, -114, -115, -121

CREATED, DELETED, CHANGED, CHILD = 1, 2, 3, 4

STAT = struct.Struct(">qqqqiiiqiiq")
STAT_FIELDS = ("czxid mzxid ctime mtime version cversion aversion ephemeral_owner data_length num_children pzxid").split()


def i32(n):
    return struct.pack(">i", n)


def i64(n):
    return struct.pack(">q", n)


def text(s):
    raw = s.encode()
    return i32(len(raw)) + raw


def blob(b):
    return i32(-1) if b is None else i32(len(b)) + b


def vector(items, one):
    return i32(len(items)) + b"".join(one(i) for i in items)


def acls(entries):
    return vector(entries, lambda a: i32(a[0]) + text(a[1]) + text(a[2]))


def create(path, data=b"", flags=0, acl=OPEN):
    return text(path) + blob(data) + acls(acl) + i32(flags)


def multi(*ops):
    """ops: (type, body)"""
    return b"".join(i32(t) + b"\0" + i32(-1) + body for t, body in ops) + i32(-1) + b"\1" + i32(-1)


class Reader:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, n):
        assert self.at + n <= len(self.raw), "the answer is too short"
        out = self.raw[self.at : self.at + n]
        self.at += n
        return out

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]

    def i64(self):
        return struct.unpack(">q", self.take(8))[0]

    def blob(self):
        n = self.i32()
        return None if n < 0 else self.take(n)

    def text(self):
        return self.blob().decode()

    def texts(self):
        return [self.text() for _ in range(self.i32())]

    def stat(self):
        return dict(zip(STAT_FIELDS, STAT.unpack(self.take(STAT.size))))

    def acls(self):
        return [(self.i32(), self.text(), self.text()) for _ in range(self.i32())]

    def multi(self):
        """[(type, err, body or None)]"""
        out = []
        while True:
            kind, done, err = self.i32(), self.take(1) != b"\0", self.i32()
            if done:
                return out
            body = None
            if kind == -1:
                body = self.i32()
            elif kind == CREATE:
                body = self.text()
            elif kind == CREATE2:
                body = (self.text(), self.stat())
            elif kind == SET_DATA:
                body = self.stat()
            elif kind == GET_DATA:
                body = (self.blob(), self.stat())
            elif kind == GET_CHILDREN:
                body = self.texts()
            out.append((kind, err, body))

    def done(self):
        return self.at == len(self.raw)


class Closed(Exception):
    pass


class Wire:
    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.events, self.replies = [], []
        self.xid = 0

    # --- frames ---
    def send(self, body):
        self.socket.sendall(i32(len(body)) + body)

    def receive(self):
        head = self._exactly(4)
        return Reader(self._exactly(struct.unpack(">i", head)[0]))

    def _exactly(self, n):
        out = b""
        while len(out) < n:
            try:
                chunk = self.socket.recv(n - len(out))
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise Closed()
            out += chunk
        return out

    # --- session ---
    def connect(self, timeout_ms=30000, session=0, password=b"\0" * 16, zxid=0, read_only=b"\0"):
        self.send(i32(0) + i64(zxid) + i32(timeout_ms) + i64(session) + blob(password) + read_only)
        r = self.receive()
        self.protocol, self.timeout_ms, self.session, self.password = r.i32(), r.i32(), r.i64(), r.blob()
        self.tail = r.raw[r.at :]
        return self

    def post(self, kind, body=b"", xid=None):
        """Sends a request; its answer is read by answer(xid)."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send(i32(xid) + i32(kind) + body)
        return xid

    def next(self):
        """The next message: ("event", type, path) or ("reply", xid, zxid, err, reader)."""
        r = self.receive()
        xid, zxid, err = r.i32(), r.i64(), r.i32()
        if xid == -1:
            kind, state = r.i32(), r.i32()
            assert state == 3
            self.events.append((kind, r.text()))
            return ("event",) + self.events[-1]
        return ("reply", xid, zxid, err, r)

    def answer(self, xid):
        while True:
            got = self.next()
            if got[0] == "reply":
                assert got[1] == xid, f"answer {got[1]} came before {xid}"
                self.zxid = got[2]
                return got[3], got[4]

    def call(self, kind, body=b"", xid=None):
        return self.answer(self.post(kind, body, xid))

    def ok(self, kind, body=b""):
        err, reader = self.call(kind, body)
        assert err == OK, f"error {err}"
        return reader

    def ping(self):
        return self.call(PING, xid=-2)

    def auth(self, scheme, credentials):
        return self.call(AUTH, i32(0) + text(scheme) + blob(credentials), xid=-4)[0]

    def take_events(self):
        """All events sent until now: an answer comes after them."""
        self.ping()
        out, self.events = self.events, []
        return out

    # --- shorthands ---
    def create(self, path, data=b"", flags=0, acl=OPEN):
        return self.ok(CREATE, create(path, data, flags, acl)).text()

    def delete(self, path, version=-1):
        return self.call(DELETE, text(path) + i32(version))[0]

    def set(self, path, data, version=-1):
        return self.ok(SET_DATA, text(path) + blob(data) + i32(version)).stat()

    def get(self, path, watch=False):
        r = self.ok(GET_DATA, text(path) + bytes([watch]))
        return r.blob(), r.stat()

    def stat(self, path, watch=False):
        err, r = self.call(EXISTS, text(path) + bytes([watch]))
        return r.stat() if err == OK else None

    def children(self, path, watch=False):
        return sorted(self.ok(GET_CHILDREN, text(path) + bytes([watch])).texts())

    def closed(self, timeout=10):
        """True when the server closes the connection, whatever it sends before."""
        self.socket.settimeout(timeout)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
