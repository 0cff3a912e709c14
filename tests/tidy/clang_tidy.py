#!/usr/bin/env python3
"""clang-tidy over the sources, as many at a time as there are cores.

  clang_tidy.py BUILD [REGEX]   the sources that BUILD/compile_commands.json names under src/ (whose path matches), but for tests

What was found clean is not looked at again while it, the headers it includes, .clang-tidy and the compiler's command stay
as they are: BUILD/.clang-tidy/ remembers a hash of them. BUILD is built: the headers come from ninja's log. Ends with 1
when there are findings.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOL = os.environ.get("CLANG_TIDY", "clang-tidy-19")
FINDING = re.compile(r"^(/[^:]+:\d+:\d+: (?:warning|error): .*)$")


def headers_by_object(build):
    """What each object was made of, the system's headers left out: another compiler or library comes with another command
    or a new build folder."""
    out, current = {}, None
    for line in subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.startswith("    "):
            path = Path(os.path.normpath(build / line.strip()))
            if path.is_relative_to(ROOT) and current is not None:
                current.append(path)
        elif line:
            current = out.setdefault(line.split(":")[0], [])
    return out


class Source:
    def __init__(self, build, entry, headers):
        self.build, self.path, self.command = build, Path(entry["file"]), entry["command"]
        words = shlex.split(self.command)
        self.parts = headers.get(words[words.index("-o") + 1], [])
        self.name = str(self.path.relative_to(ROOT))
        self.stamp = build / ".clang-tidy" / (self.name + ".clean")

    def key(self, settings, contents):
        """None when it is not known what the source includes."""
        if not self.parts:
            return None
        digest = hashlib.sha256(settings)
        digest.update(self.command.encode())
        for part in sorted({self.path, *self.parts}):
            if part not in contents:
                contents[part] = hashlib.sha256(part.read_bytes()).digest() if part.exists() else b"gone"
            digest.update(str(part).encode() + contents[part])
        return digest.hexdigest()

    def clean(self, key):
        return key is not None and self.stamp.exists() and self.stamp.read_text() == key

    def look(self, key):
        """The findings: each its first line and its explanation."""
        done = subprocess.run([TOOL, "-p", self.build, "--quiet", self.path], capture_output=True, text=True)
        found, text = {}, []
        for line in done.stdout.splitlines():
            if FINDING.match(line):
                text = found.setdefault(line.replace(f"{ROOT}/", ""), [])
            else:
                text.append(line.replace(f"{ROOT}/", ""))
        if done.returncode != 0 and not found:
            found[f"{self.name}: error: clang-tidy ended with {done.returncode}"] = done.stderr.splitlines()[-20:]
        if found:
            self.stamp.unlink(missing_ok=True)
        elif key is not None:
            self.stamp.parent.mkdir(parents=True, exist_ok=True)
            self.stamp.write_text(key)
        return found


class Progress:
    """On a terminal one line that changes; in a log a line now and then."""

    def __init__(self, total):
        self.total, self.done, self.next, self.lock = total, 0, time.monotonic() + 20, threading.Lock()
        self.terminal = sys.stdout.isatty()

    def step(self, name, findings):
        with self.lock:
            self.done += 1
            if self.terminal:
                sys.stdout.write("\r\033[K")
            for head, text in findings.items():
                print("\n".join([head, *text]))
            if self.terminal:
                sys.stdout.write(f"[{self.done}/{self.total}] {name}" if self.done < self.total else "")
            elif time.monotonic() >= self.next:
                print(f"[{self.done}/{self.total}] {name}")
                self.next = time.monotonic() + 20
            sys.stdout.flush()


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    began, build = time.monotonic(), Path(sys.argv[1]).resolve()
    wanted = re.compile(sys.argv[2] if len(sys.argv) > 2 else "")
    headers = headers_by_object(build)
    sources = [Source(build, entry, headers) for entry in json.loads((build / "compile_commands.json").read_text())
               if Path(entry["file"]).is_relative_to(ROOT / "src")]
    # Tests are tables of cases, and GoogleTest's macros are most of what they would be told of.
    sources = [source for source in sources if wanted.search(source.name) and not source.name.endswith("_test.cc")]
    version = subprocess.run([TOOL, "--version"], capture_output=True, check=True).stdout
    settings, contents = version + (ROOT / ".clang-tidy").read_bytes(), {}
    todo = [(source, key) for source in sources if not source.clean(key := source.key(settings, contents))]
    # The long ones first, so that no core waits for a last one.
    todo.sort(key=lambda pair: -sum(part.stat().st_size for part in pair[0].parts if part.exists()))
    progress, found = Progress(len(todo)), {}

    def look(source, key):
        findings = source.look(key)
        with progress.lock:  # a header's finding is told once
            new = {head: text for head, text in findings.items() if head not in found}
            found.update(new)
        progress.step(source.name, new)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(look, *pair) for pair in todo]:
            done.result()
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    print(f"clang-tidy: {len(found)} findings in {len(sources)} files, "
          f"{len(sources) - len(todo)} of them unchanged since they were clean, in {minutes}:{seconds:02}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
