"""Reads the .api texts (schema/README.md says how they are written). Used by the generator and by the tests."""

import re
from dataclasses import dataclass, field as dc_field
from pathlib import Path

PRIMITIVES = ("bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "uuid", "string", "bytes",
              "records")
FIELD = re.compile(r"(?P<name>[a-z][a-z0-9_]*) +(?P<array>\[\])?(?P<type>[A-Za-z][A-Za-z0-9]*)"
                   r"(?P<null>\?(?P<nulls>[0-9]+(?:-[0-9]+|\+)?)?)?(?: +(?P<versions>[0-9]+(?:-[0-9]+|\+)?))?"
                   r"(?: +tag (?P<tag>[0-9]+))?(?: +(?P<inflexible>inflexible))?(?: += (?P<default>\S+))?$")


class SchemaError(Exception):
    pass


@dataclass
class Field:
    name: str
    type: str  # a primitive or the name of a struct
    array: bool
    low: int  # the versions that have it
    high: int
    nulls: tuple | None  # the versions (low, high) where it may be null
    tag: int | None
    default: str | None  # as written; None: zero, empty
    inflexible: bool  # keeps the old encoding in flexible versions

    def in_version(self, v):
        return self.low <= v <= self.high

    def nullable(self, v):
        return self.nulls is not None and self.nulls[0] <= v <= self.nulls[1]


@dataclass
class Struct:
    name: str
    low: int
    high: int
    fields: list = dc_field(default_factory=list)


@dataclass
class Message:
    name: str
    low: int
    high: int
    flexible: int | None  # the first flexible version
    body: Struct = None
    structs: dict = dc_field(default_factory=dict)  # by name; a struct after those it contains

    def flexible_in(self, v):
        return self.flexible is not None and v >= self.flexible


@dataclass
class Api:
    key: int
    name: str
    low: int
    high: int
    flexible: int | None
    unstable: int | None  # the first version that may still change


@dataclass
class File:
    stem: str  # "produce" of 00_produce.api
    api: Api | None
    messages: list


def _versions(text, high):
    if text.endswith("+"):
        return int(text[:-1]), high
    low, _, last = text.partition("-")
    return int(low), int(last or low)


class _Parser:
    def __init__(self, path):
        self.path = path
        self.lines = []
        for number, raw in enumerate(path.read_text().splitlines(), 1):
            text = raw.split("#", 1)[0].rstrip()
            if text:
                indent = len(text) - len(text.lstrip(" "))
                self.lines.append((number, indent, text.strip()))
        self.at = 0

    def fail(self, why, number=None):
        if number is None:
            number = self.lines[min(self.at, len(self.lines) - 1)][0]
        raise SchemaError(f"{self.path}:{number}: {why}")

    def head(self, text):
        """'... versions 0-13  flexible 9+  unstable 13+' after the name."""
        m = re.fullmatch(r"versions ([0-9]+(?:-[0-9]+)?) +flexible (none|[0-9]+\+)(?: +unstable ([0-9]+)\+)?", text)
        if not m:
            self.fail("expected 'versions A-B  flexible C+|none'")
        low, high = _versions(m[1], 0)
        return low, high, None if m[2] == "none" else int(m[2][:-1]), m[3] and int(m[3])

    def file(self):
        stem = re.sub(r"^[0-9]+_", "", self.path.stem)
        api, messages = None, []
        number, indent, text = self.lines[0]
        if text.startswith("api "):
            m = re.fullmatch(r"api ([0-9]+) ([A-Za-z]+) +(versions .*)", text)
            if not m:
                self.fail("expected 'api KEY NAME  versions ...'")
            low, high, flexible, unstable = self.head(m[3])
            api = Api(int(m[1]), m[2], low, high, flexible, unstable)
            self.at = 1
            for section in ("request", "response"):
                if self.at >= len(self.lines) or self.lines[self.at][2] != section:
                    self.fail(f"expected '{section}'")
                self.at += 1
                messages.append(self.message(api.name + section.capitalize(), low, high, flexible))
        while self.at < len(self.lines):
            m = re.fullmatch(r"message ([A-Za-z]+) +(versions .*)", self.lines[self.at][2])
            if not m or self.lines[self.at][1] != 0:
                self.fail("expected 'message NAME  versions ...'")
            low, high, flexible, _ = self.head(m[2])
            self.at += 1
            messages.append(self.message(m[1], low, high, flexible))
        return File(stem, api, messages)

    def message(self, name, low, high, flexible):
        message = Message(name, low, high, flexible)
        self.declared = {}
        self.pending = []
        message.body = Struct(name, low, high, self.fields(message, 2, low, high))
        while self.at < len(self.lines) and self.lines[self.at][1] == 2:
            m = re.fullmatch(r"struct ([A-Z][A-Za-z0-9]*)(?: +([0-9]+(?:-[0-9]+|\+)?))?", self.lines[self.at][2])
            if not m:
                self.fail("expected a field or 'struct NAME'")
            self.at += 1
            slow, shigh = _versions(m[2], high) if m[2] else (low, high)
            self.declare(Struct(m[1], slow, shigh, self.fields(message, 4, slow, shigh)))
        self.order(message)
        return message

    def declare(self, struct):
        if struct.name in self.declared:
            self.fail(f"struct {struct.name} is declared twice")
        self.declared[struct.name] = struct

    def fields(self, message, indent, low, high):
        out = []
        while self.at < len(self.lines) and self.lines[self.at][1] >= indent:
            number, its_indent, text = self.lines[self.at]
            if its_indent != indent:
                self.fail("indentation")
            if text.startswith("struct "):
                break
            m = FIELD.fullmatch(text)
            if not m:
                self.fail("not a field")
            self.at += 1
            flow, fhigh = _versions(m["versions"], message.high) if m["versions"] else (low, high)
            if not low <= flow <= fhigh <= high:
                self.fail("versions outside its parent's", number)
            nulls = None
            if m["null"]:
                nulls = _versions(m["nulls"], message.high) if m["nulls"] else (flow, fhigh)
                nulls = (max(nulls[0], flow), min(nulls[1], fhigh))
            f = Field(m["name"], m["type"], bool(m["array"]), flow, fhigh, nulls,
                      None if m["tag"] is None else int(m["tag"]), m["default"], bool(m["inflexible"]))
            if f.tag is not None and not message.flexible_in(flow):
                self.fail("a tagged field needs flexible versions", number)
            if f.name in [x.name for x in out]:
                self.fail(f"field {f.name} is there twice", number)
            out.append(f)
            if self.at < len(self.lines) and self.lines[self.at][1] > indent:
                self.declare(Struct(f.type, flow, fhigh, self.fields(message, indent + 2, flow, fhigh)))
        return out

    def order(self, message):
        """Each struct after those it contains; a struct nobody names, or that contains itself, is an error."""
        done, doing = message.structs, []

        def visit(struct):
            for f in struct.fields:
                if f.type in PRIMITIVES or f.type in done:
                    continue
                if f.type in doing or f.type not in self.declared:
                    self.fail(f"struct {f.type} is unknown or contains itself")
                doing.append(f.type)
                visit(self.declared[f.type])
                done[f.type] = self.declared[f.type]

        visit(message.body)
        for name in self.declared:
            if name not in done:
                self.fail(f"struct {name} is not used")


def read(path):
    return _Parser(Path(path)).file()


def read_all(folder):
    return [read(p) for p in sorted(Path(folder).glob("*.api"))]
