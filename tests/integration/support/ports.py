"""Free ports below the range that the kernel gives to clients, so that nobody takes one between choosing and using."""
import itertools
import os
import socket

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_next = itertools.count(20000 + 1000 * _worker + (os.getpid() % 10) * 60)


def free_port(host="127.0.0.1"):
    for port in _next:
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")
