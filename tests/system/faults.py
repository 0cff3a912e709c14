"""The preloaded shim's other end: what one server's disk and wall clock do (faults.c)."""
import errno
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from shared import BUILD

SOURCE = Path(__file__).with_name("faults.c")
LIBRARY = BUILD / "faults.so"
LAYOUT = struct.Struct("<qIIII512s")


def library():
    if not LIBRARY.exists() or LIBRARY.stat().st_mtime < SOURCE.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:  # several may build it at once
            made = Path(folder) / "faults.so"
            compiler = os.environ.get("CC") or next(filter(shutil.which, ["clang-19", "cc", "gcc"]), "cc")
            subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", made, SOURCE, "-ldl"], check=True)
            made.rename(LIBRARY)
    return LIBRARY


class Faults:
    """Faults of the processes that are started with `env`; files below `prefix` are meant. In force at once."""

    def __init__(self, path, prefix):
        self.path, self.prefix = Path(path), str(prefix)
        self.path.write_bytes(b"\0" * 4096)
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)
        self.env = {"LD_PRELOAD": str(library()), "SYSTEM_TEST_FAULTS": str(self.path)}
        self.clear()

    def clear(self):
        self.wall_ns = self.write_us = self.sync_us = self.write_errno = self.sync_errno = 0
        self._store()

    def _store(self):
        self.map[:LAYOUT.size] = LAYOUT.pack(self.wall_ns, self.write_us, self.sync_us, self.write_errno, self.sync_errno,
                                             self.prefix.encode())

    def slow_disk(self, write_ms=0, sync_ms=0):
        self.write_us, self.sync_us = int(write_ms * 1000), int(sync_ms * 1000)
        self._store()

    def broken_disk(self, number=errno.EIO):
        self.write_errno = self.sync_errno = number
        self._store()

    def clock(self, seconds):
        """The wall clock is that much off from now on."""
        self.wall_ns = int(seconds * 1e9)
        self._store()
