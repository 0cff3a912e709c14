#!/usr/bin/env python3
"""The rules of the house that a compiler does not know, checked in less than a second.

  tidy.py                     everything; each finding is a line FILE:LINE: what, and why
  tidy.py --includes          only what includes reach (the build runs this before it compiles)
  tidy.py --rooms log,net     only these rooms
  tidy.py --self-test         the rules themselves, against samples that break them
"""
import argparse
import re
import sys
import tempfile
from pathlib import Path

LINES_MAX = 800          # a longer file is listed in long_files.txt with its length, and may only shrink
TEST_LINES_MAX = 1200    # tests are tables of cases
README_LINES_MAX = 16
COMMENT_LINES_NEAR = 40  # a class comment and its class
ASIO_ROOMS = {"runtime", "net"}
# Below and in runtime a lock is ordinary; above, its class's comment says who shares what.
LOCK_ROOMS = {"base", "bytes", "metrics", "runtime"}
# Below runtime nothing does I/O or asks the time.
PURE_ROOMS = {"bytes", "record", "protocol", "zkwire", "config", "metrics", "security", "cluster"}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')
ROOM = re.compile(r"\broom\(([^)]*)\)")
KEYWORDS = {"NAME", "DEPS", "LIBS", "SOURCES", "TEST_LIBS"}
LOCK = re.compile(r"\bstd::(?:shared_|recursive_|timed_)*mutex\b|\bstd::condition_variable\b|\bpthread_mutex_t\b")
SLEEP = re.compile(r"\b(?:sleep_for|sleep_until|usleep|nanosleep)\s*\(|(?<![\w:.>])::?sleep\(\s*\d")
TIME = re.compile(r"\b(?:system_clock|steady_clock|high_resolution_clock)::now\b|\b(?:clock_gettime|gettimeofday)\s*\(")
CHANCE = re.compile(r"\bstd::random_device\b|(?<![\w:])s?rand\(\)|\bgetrandom\s*\(")


def fixture(path):
    """What a room's tests share: x_fixture.h, included by them only."""
    return path.name.endswith("_fixture.h")


def private_asio(path):
    """A room's private header that may bring Asio along: runtime/asio_shard.h."""
    return path.name.startswith("asio_") and path.parent.name in ASIO_ROOMS


class Tree:
    def __init__(self, root):
        self.root = Path(root)
        self.src = self.root / "src"
        self.findings = []
        self.rooms = {}      # name: {"DEPS": set, "TEST_LIBS": set}
        self.texts = {}
        for folder in sorted(p for p in self.src.iterdir() if p.is_dir()):
            cmake = folder / "CMakeLists.txt"
            if cmake.exists():
                self.rooms[folder.name] = self.declared(folder.name, cmake.read_text())

    def declared(self, name, text):
        text = re.sub(r"#.*", "", text)
        found = {"DEPS": set(), "TEST_LIBS": set()}
        for call in ROOM.findall(text):
            key = None
            for word in call.split():
                if word in KEYWORDS:
                    key = word
                elif key == "DEPS":
                    found["DEPS"].add(word)
                elif key == "TEST_LIBS" and word.startswith("weir_"):
                    found["TEST_LIBS"].add(word.removeprefix("weir_"))
        return found

    def reach(self, name, tests=False):
        """The rooms whose headers a file of this room may include: its own, what it declares, and what those declare."""
        seen, todo = set(), [name, "base", "bytes"]
        if name == "base":
            todo = ["base"]
        if tests:
            todo += self.rooms[name]["TEST_LIBS"]
        while todo:
            room = todo.pop()
            if room not in seen:
                seen.add(room)
                todo += self.rooms.get(room, {"DEPS": ()})["DEPS"]
        return seen

    def find(self, path, line, what):
        self.findings.append(f"{path.relative_to(self.root)}:{line}: {what}")

    def files(self, room):
        return sorted(p for p in (self.src / room).rglob("*") if p.suffix in (".h", ".cc"))

    def lines(self, path):
        if path not in self.texts:
            self.texts[path] = path.read_text(errors="replace").splitlines()
        return self.texts[path]

    # ---- What includes reach --------------------------------------------------------------------------------------

    def includes(self, room):
        production, tests = self.reach(room), self.reach(room, tests=True)
        for path in self.files(room):
            test = path.name.endswith("_test.cc") or fixture(path)
            allowed = tests if test else production
            first = None
            for number, line in enumerate(self.lines(path), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                own, system = match.groups()
                first = first or (number, own)
                if own:
                    other = own.split("/")[0]
                    if private_asio(Path(own)) and path.suffix == ".h" and not private_asio(path):
                        self.find(path, number, f'"{own}" brings Asio: only .cc files and other asio_*.h include it')
                    if fixture(Path(own)) and not test:
                        self.find(path, number, f'"{own}" is only for tests')
                    if "/" not in own or own.startswith("."):
                        self.find(path, number, f'"{own}": includes are written from src/ on, as "{room}/{Path(own).name}"')
                    elif other not in allowed:
                        self.find(path, number, f'"{own}": room {room} does not name {other} in DEPS '
                                                f"(src/{room}/CMakeLists.txt; the design's table is in cmake/rooms.cmake)")
                elif system.startswith("boost/"):
                    self.boost(path, number, room, system, test)
            header = path.with_suffix(".h")
            if path.suffix == ".cc" and header.exists():
                wanted = str(header.relative_to(self.src))
                if first is None or first[1] != wanted:
                    self.find(path, first[0] if first else 1, f'the first include is its own header, "{wanted}", '
                                                              "which so proves that it compiles alone")

    def boost(self, path, number, room, header, test):
        if path.suffix == ".h" and not private_asio(path) and not fixture(path):
            self.find(path, number, f"<{header}>: Boost stays out of headers (4 to 13 s for each file that includes it)")
        if re.match(r"boost/(asio|beast)", header) and room not in ASIO_ROOMS and not test:
            self.find(path, number, f"<{header}>: only {' and '.join(sorted(ASIO_ROOMS))} know Asio; others use their interfaces")

    # ---- The rest -------------------------------------------------------------------------------------------------

    def contents(self, room):
        for path in self.files(room):
            lines, test = self.lines(path), path.name.endswith("_test.cc")
            if path.suffix == ".h" and "#pragma once" not in lines[:200]:
                self.find(path, 1, "a header has #pragma once")
            for number, line in enumerate(lines, 1):
                code = line.split("//")[0]
                if not code:
                    continue
                if test:
                    if SLEEP.search(code):
                        self.find(path, number, "tests wait for conditions, never for time")
                    continue
                if room not in LOCK_ROOMS and LOCK.search(code) and not self.commented(lines, number):
                    self.find(path, number, "a lock above runtime is a surprise: its class's comment says who shares what")
                if room in PURE_ROOMS and TIME.search(code):
                    self.find(path, number, f"{room} is pure: the time comes in as an argument")
                if room in PURE_ROOMS and CHANCE.search(code):
                    self.find(path, number, f"{room} is pure: chance comes in as an argument")

    def commented(self, lines, number):
        near = lines[max(0, number - COMMENT_LINES_NEAR):number]
        return any(re.search(r"//.*\b(mutex|lock|thread|share)", line, re.IGNORECASE) for line in near)

    def room_files(self, room):
        folder = self.src / room
        readme = folder / "README.md"
        if not readme.exists():
            self.find(folder / "CMakeLists.txt", 1, "a room has a README.md: what lives here, what may not come in, where to start")
        elif len(readme.read_text().splitlines()) > README_LINES_MAX:
            self.find(readme, 1, f"a room's README.md is short ({README_LINES_MAX} lines at most); the rest belongs in docs/")

    def strays(self):
        """Sources that no build sees."""
        for path in sorted(self.src.rglob("*.cc")):
            room = path.relative_to(self.src).parts[0]
            if room not in self.rooms:
                self.find(path, 1, "no CMakeLists.txt makes this folder a room: the file is in no build")
        listed = (self.src / "CMakeLists.txt").read_text() if (self.src / "CMakeLists.txt").exists() else ""
        for room in self.rooms:
            if not re.search(rf"\b{room}\b", listed):
                self.find(self.src / room / "CMakeLists.txt", 1, "src/CMakeLists.txt does not list this room: it is in no build")

    def long_files(self):
        ratchet = {}
        table = self.root / "tests/tidy/long_files.txt"
        for line in table.read_text().splitlines() if table.exists() else []:
            if line.strip() and not line.startswith("#"):
                name, limit = line.split()
                ratchet[name] = int(limit)
        seen = set()
        for path in sorted(p for room in self.rooms for p in self.files(room)):
            name, count = str(path.relative_to(self.root)), len(self.lines(path))
            usual = TEST_LINES_MAX if name.endswith("_test.cc") else LINES_MAX
            limit = ratchet.get(name, usual)
            if count > limit:
                self.find(path, 1, f"{count} lines, {limit} allowed: which noun is hiding in it? (tests/tidy/long_files.txt)")
            if name in ratchet:
                seen.add(name)
                if count <= usual:
                    self.find(table, 1, f"{name} is no longer long: take it off the list")
        for name in sorted(set(ratchet) - seen):
            self.find(table, 1, f"{name} is listed and not there")

    def check(self, rooms=None, includes_only=False):
        for room in rooms or self.rooms:
            if room in self.rooms:
                self.includes(room)
                if not includes_only:
                    self.contents(room)
                    self.room_files(room)
        if not includes_only and not rooms:
            self.strays()
            self.long_files()
        return self.findings


# ---- Self-test: a small tree that breaks each rule once, and one that breaks none ----------------------------------

SAMPLES = {
    # what is written: (file, text, a word of the finding, or None where nothing may be found)
    "own header": ("src/log/good.h", "#pragma once\n#include \"record/batch.h\"\n", None),
    "declared room": ("src/log/good.cc", "#include \"log/good.h\"\n\n#include \"base/id.h\"\n", None),
    "through another": ("src/broker/good.cc", "#include \"record/batch.h\"\n", None),
    "test library": ("src/log/good_test.cc", "#include \"testing/disk.h\"\n", None),
    "undeclared room": ("src/log/a.cc", "#include \"broker/api.h\"\n", "does not name broker"),
    "upward": ("src/base/a.cc", "#include \"record/batch.h\"\n", "does not name record"),
    "only for tests": ("src/log/b.cc", "#include \"testing/disk.h\"\n", "does not name testing"),
    "relative": ("src/log/c.cc", "#include \"good.h\"\n", "from src/ on"),
    "asio too high": ("src/broker/d.cc", "#include <boost/asio/post.hpp>\n", "know Asio"),
    "boost in a header": ("src/broker/e.h", "#pragma once\n#include <boost/json/value.hpp>\n", "out of headers"),
    "boost in a fixture": ("src/broker/e_fixture.h", "#pragma once\n#include <boost/json/value.hpp>\n", None),
    "a fixture in a product": ("src/broker/f.cc", "#include \"broker/e_fixture.h\"\n", "only for tests"),
    "private asio": ("src/runtime/asio_p.h", "#pragma once\n#include <boost/asio/post.hpp>\n", None),
    "private asio spread": ("src/runtime/q.h", "#pragma once\n#include \"runtime/asio_p.h\"\n", "brings Asio"),
    "own header not first": ("src/log/f.cc", "#include <vector>\n#include \"log/f.h\"\n", "its own header"),
    "(its header)": ("src/log/f.h", "#pragma once\n", None),
    "no pragma": ("src/log/g.h", "int g();\n", "#pragma once"),
    "a lock": ("src/log/h.cc", "// Nothing is said.\n#include <mutex>\nstd::mutex all;\n", "a lock above runtime"),
    "a lock explained": ("src/log/i.cc", "// From any thread: the pool's too.\nstd::mutex all;\n", None),
    "a sleep": ("src/log/j_test.cc", "void f() { std::this_thread::sleep_for(x); }\n", "never for time"),
    "the clock": ("src/record/k.cc", "auto t = std::chrono::system_clock::now();\n", "is pure"),
    "chance": ("src/record/l.cc", "std::random_device d;\n", "is pure"),
    "no room": ("src/stray/m.cc", "\n", "in no build"),
    "too long": ("src/log/n.cc", "\n" * (LINES_MAX + 1), "which noun"),
    "a long read-me": ("src/record/README.md", "x\n" * (README_LINES_MAX + 1), "is short"),
}


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cmake = {"base": "", "record": "", "testing": "", "runtime": "", "log": "DEPS record LIBS weir::zstd TEST_LIBS weir_testing",
                 "broker": "DEPS log"}
        for room, words in cmake.items():
            (root / "src" / room).mkdir(parents=True)
            (root / "src" / room / "CMakeLists.txt").write_text(f"room(NAME {room} {words})\n")
            (root / "src" / room / "README.md").write_text("A room.\n")
        (root / "src/CMakeLists.txt").write_text("set(rooms " + " ".join(cmake) + ")\n")
        for name, text, _ in SAMPLES.values():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text)
        findings = Tree(root).check()
        wrong = 0
        for label, (name, _, word) in SAMPLES.items():
            of_file = [f for f in findings if f.startswith(name + ":")]
            good = (not of_file) if word is None else (len(of_file) == 1 and word in of_file[0])
            if not good:
                wrong += 1
                print(f"self-test, {label}: wanted {word!r}, found {of_file}")
        expected = sum(word is not None for _, _, word in SAMPLES.values())
        if len(findings) != expected:
            wrong += 1
            print(f"self-test: {expected} findings wanted, {len(findings)} found", *findings, sep="\n  ")
        print(f"tidy self-test: {len(SAMPLES)} samples, {wrong} wrong")
        return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--includes", action="store_true")
    parser.add_argument("--rooms", default="")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--root", default=Path(__file__).resolve().parents[2])
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    tree = Tree(arguments.root)
    findings = tree.check([r for r in arguments.rooms.split(",") if r], arguments.includes)
    print(*findings, sep="\n", end="\n" if findings else "")
    if not arguments.includes or findings:
        print(f"tidy: {len(findings)} findings in {len(tree.rooms)} rooms, {len(tree.texts)} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
