"""The tests' own tools do what they say."""
import os
import select
import socket
import subprocess
import sys
import time

import pytest

from faults import Faults
from history import History, id_of, records_of, value
from network import Namespaces

pytestmark = pytest.mark.short


def python(faults, code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env={**os.environ, **faults.env}, capture_output=True, text=True)


def test_a_clock_that_jumps(tmp_path):
    faults = Faults(tmp_path / "faults", tmp_path)
    faults.clock(-7200)
    result = python(faults, "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())")
    wall, other, monotonic = map(float, result.stdout.split())
    assert abs(wall - (time.time() - 7200)) < 60 and abs(other - wall) < 1
    assert abs(monotonic - time.monotonic()) < 60


def test_a_slow_disk_and_a_broken_one_below_the_prefix_only(tmp_path):
    (tmp_path / "slow").mkdir()
    faults = Faults(tmp_path / "faults", tmp_path / "slow")
    code = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
began = time.monotonic()
for call in (lambda: os.write(fd, b"x"), lambda: os.pwrite(fd, b"x", 0), lambda: os.writev(fd, [b"x"]), lambda: os.fsync(fd), lambda: os.fdatasync(fd)):
    try: call()
    except OSError as error: print(error.errno)
print(time.monotonic() - began)
"""
    faults.slow_disk(write_ms=50, sync_ms=100)
    assert float(python(faults, code, tmp_path / "slow/file").stdout) >= 0.35
    assert float(python(faults, code, tmp_path / "other").stdout) < 0.35
    faults.clear()
    faults.broken_disk(5)
    assert python(faults, code, tmp_path / "slow/file").stdout.split()[:5] == ["5"] * 5


def test_values_tell_their_ids_and_whether_they_are_whole():
    for size in 0, 30, 500:
        assert id_of(value("i0.1-orders-3-17", size)) == "i0.1-orders-3-17"
    assert id_of(value("a", 100)[:-1]) == "a"  # shorter is another size; checked by the batch's CRC
    assert id_of(value("a", 100)[:-1] + b"\0").startswith("spoilt")
    assert id_of(b"").startswith("spoilt") and id_of(None).startswith("spoilt")


@pytest.mark.parametrize("codec", [0, 1, 3, 4])
def test_records_on_disk(tmp_path, codec):
    from kafka.record.default_records import DefaultRecordBatchBuilder
    for base, ids in (0, ["a", "b"]), (2, ["c"]):
        builder = DefaultRecordBatchBuilder(2, codec, 0, 70, 5, 0, 1 << 20)
        for i, id in enumerate(ids):
            builder.append(i, 1234567, None, value(id, 300), [])
        data = bytearray(builder.build())
        data[:8] = base.to_bytes(8, "big")
        with open(tmp_path / f"{base:020}.log", "wb") as file:
            file.write(data + b"\0" * 100)
    assert list(records_of(tmp_path)) == [(0, "a", 70, 5), (1, "b", 70, 5), (2, "c", 70, 5)]
    history = History(tmp_path / "history")
    (tmp_path / "logs/t-0").mkdir(parents=True)
    (tmp_path / "logs/other-0").mkdir()
    for segment in tmp_path.glob("*.log"):
        segment.rename(tmp_path / "logs/t-0" / segment.name)
    history.replicas(1, tmp_path / "logs", {("t", 0)})
    history.close()
    assert (tmp_path / "history").read_text() == \
        '{"e":"replica","broker":1,"topic":"t","partition":0,"start":0,"records":[[0,"a",70,5],[1,"b",70,5],[2,"c",70,5]]}\n'


@pytest.mark.network
def test_ways_are_cut_also_in_one_direction():
    """A datagram each way shows which ways there are."""
    network = Namespaces()
    try:
        addresses = {name: network.add(name) for name in ("a", "b")}
        code = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 7000)); print("bound", flush=True)
while True:
    data, sender = s.recvfrom(100)
    if data.startswith(b"send "): s.sendto(b"hello", (data[5:].decode(), 7000))
    else: print(sender[0], flush=True)
"""
        ends = {name: subprocess.Popen(network.command(name, [sys.executable, "-c", code, address]), stdout=subprocess.PIPE, text=True)
                for name, address in addresses.items()}
        try:
            for end in ends.values():
                assert end.stdout.readline() == "bound\n"
            outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

            def reaches(a, b):
                """Whether a's word comes to b before the test's own that is sent after it."""
                for _ in range(3):
                    outside.sendto(b"send " + addresses[b].encode(), (addresses[a], 7000))
                time.sleep(0.2)
                outside.sendto(b"mark", (addresses[b], 7000))
                heard = set()
                while (line := ends[b].stdout.readline().strip()) in addresses.values():
                    heard.add(line)
                return addresses[a] in heard

            def reaches_outside(outside, address):
                """Whether it says something to itself when the test tells it to."""
                outside.sendto(b"send " + address.encode(), (address, 7000))
                return bool(select.select([ends["b"].stdout], [], [], 0.5)[0])

            assert reaches("a", "b") and reaches("b", "a")
            network.cut_one_way("a", "b")
            assert not reaches("a", "b") and reaches("b", "a")
            network.cut("a", "b")
            assert not reaches("a", "b") and not reaches("b", "a")
            network.heal()
            assert reaches("a", "b") and reaches("b", "a")
            network.cut("a", "b")
            network.cut_off("b")
            network.cut_off("b")
            assert not reaches_outside(outside, addresses["b"])
            network.mend("a")
            network.mend("b")
            assert reaches("a", "b") and reaches("b", "a")
        finally:
            for end in ends.values():
                end.kill()
                end.wait()
    finally:
        network.close()
