"""Where servers live: each in a network namespace of its own, so that any way between two can be cut, also one way only.

The namespaces meet in a hub, a router that drops what a rule names, silently, as a broken network does. The test itself
is outside, behind a link to the hub. This needs root; without it servers have loopback addresses and nothing can be cut.
"""
import fcntl
import os
import subprocess
import tempfile
from pathlib import Path


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


def can_isolate():
    if os.geteuid() != 0 or os.environ.get("SYSTEM_TEST_LOOPBACK"):
        return False
    name = f"wsys-probe-{os.getpid()}"
    try:
        if ip("netns", "add", name, check=False).returncode != 0:
            return False
        ip("netns", "del", name, check=False)
        return True
    except FileNotFoundError:
        return False


class Slot:
    """A number of its own for each cluster of this machine, given back when its process ends, however it ends."""

    def __init__(self):
        for self.number in range(100):
            path = Path(tempfile.gettempdir()) / f"weir-system-{os.geteuid()}-{self.number}.lock"
            self.file = open(path, "w")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self.file.close()
        raise RuntimeError("a hundred clusters run here")

    def release(self):
        self.file.close()


class Loopback:
    """Every server at an address of its own on loopback."""

    isolated = False

    def __init__(self):
        self.slot = Slot()
        self.nodes = {}

    def add(self, name):
        self.nodes[name] = f"127.0.{100 + self.slot.number}.{len(self.nodes) + 1}"
        return self.nodes[name]

    def command(self, name, command):
        return command

    def heal(self):
        pass

    def close(self):
        self.slot.release()


class Namespaces:
    isolated = True

    def __init__(self):
        self.slot = Slot()
        k = self.slot.number
        self.prefix, self.net = f"wsys-{k}", f"10.{100 + k}"
        self.nodes, self.rules = {}, set()
        self._remove()  # what a killed run left
        self.hub = self.prefix + "-hub"
        ip("netns", "add", self.hub)
        ip("link", "add", f"wsys{k}", "type", "veth", "peer", "name", "out", "netns", self.hub)
        ip("addr", "add", f"{self.net}.0.2/24", "dev", f"wsys{k}")
        ip("link", "set", f"wsys{k}", "up")
        ip("-n", self.hub, "addr", "add", f"{self.net}.0.1/24", "dev", "out")
        ip("-n", self.hub, "link", "set", "out", "up")
        ip("-n", self.hub, "link", "set", "lo", "up")
        ip("route", "add", f"{self.net}.0.0/16", "via", f"{self.net}.0.1")
        subprocess.run(self._in(self.hub, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]), check=True)

    def _in(self, namespace, command):
        return ["nsenter", f"--net=/run/netns/{namespace}", *command]

    def _remove(self):
        for line in ip("netns", "list").stdout.splitlines():
            name = line.split()[0]
            if name.startswith(self.prefix + "-"):
                ip("netns", "del", name, check=False)
        ip("link", "del", f"wsys{self.slot.number}", check=False)

    def add(self, name):
        """A namespace for this server; gives its address."""
        n = len(self.nodes) + 1
        namespace, end = f"{self.prefix}-{name}", f"n{n}"
        ip("netns", "add", namespace)
        ip("-n", self.hub, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", self.hub, "addr", "add", f"{self.net}.{n}.1/24", "dev", end)
        ip("-n", self.hub, "link", "set", end, "up")
        ip("-n", namespace, "addr", "add", f"{self.net}.{n}.2/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "route", "add", "default", "via", f"{self.net}.{n}.1")
        self.nodes[name] = f"{self.net}.{n}.2"
        return self.nodes[name]

    def command(self, name, command):
        return self._in(f"{self.prefix}-{name}", command)

    def cut(self, a, b):
        """Nothing goes between a and b."""
        self.cut_one_way(a, b)
        self.cut_one_way(b, a)

    def cut_one_way(self, a, b):
        """What a sends does not reach b; what b sends reaches a."""
        self._drop("10", "from", self.nodes[a], "to", self.nodes[b])

    def cut_off(self, a):
        """Nothing reaches a and nothing leaves it, the test's own clients included: a dead host."""
        self._drop("11", "from", self.nodes[a])
        self._drop("12", "to", self.nodes[a])

    def _drop(self, *rule):
        if rule not in self.rules:  # each kind has a place of its own: the kernel takes a wide rule for a narrow one's double
            ip("-n", self.hub, "rule", "add", "pref", *rule, "blackhole")
            self.rules.add(rule)

    def _undrop(self, rules):
        for rule in list(rules):
            ip("-n", self.hub, "rule", "del", "pref", *rule, "blackhole")
            self.rules.remove(rule)

    def mend(self, a):
        """All ways from and to a are there again."""
        self._undrop([r for r in self.rules if self.nodes[a] in r])

    def heal(self):
        self._undrop(self.rules)

    def close(self):
        self._remove()
        self.slot.release()
