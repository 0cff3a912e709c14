#!/usr/bin/env python3
"""Writes the C++ of the messages that schema/*.api describe: generate.py SCHEMA_FOLDER OUT_FOLDER

For each file NN_name.api: protocol/messages/name.h and name.cc; and for all of them api_key.h, api_table.cc and
all.h. Files whose text would be the same are not touched.
"""

import re
import sys
from pathlib import Path

import schema

FIXED = {  # type: C++ type, method of Reader and Writer, bytes
    "bool": ("bool", "boolean", 1), "int8": ("std::int8_t", "i8", 1), "int16": ("std::int16_t", "i16", 2),
    "uint16": ("std::uint16_t", "u16", 2), "int32": ("std::int32_t", "i32", 4),
    "uint32": ("std::uint32_t", "u32", 4), "int64": ("std::int64_t", "i64", 8), "float64": ("double", "f64", 8)}
VIEWS = {"string": "std::string_view", "bytes": "Bytes"}
INT_ARRAYS = ("int8", "int16", "int32", "int64")
KEYWORDS = {"default", "delete", "new", "class", "operator", "namespace", "template", "register", "union", "public"}
FIRST = "// Written by src/protocol/generate.py from schema/{}; change that.\n"


def cpp_name(field):
    return field.name + "_" if field.name in KEYWORDS else field.name


def snake(name):
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


class Text:
    """Lines with an indentation, and blocks in braces."""

    def __init__(self):
        self.lines = []
        self.depth = 0

    def __call__(self, line=""):
        self.lines.append("  " * self.depth + line if line else "")

    def open(self, line):
        self(line + " {")
        self.depth += 1

    def turn(self, line):
        self.depth -= 1
        self("} " + line + " {")
        self.depth += 1

    def close(self, end="}"):
        self.depth -= 1
        self(end)

    def text(self):
        return "\n".join(self.lines) + "\n"


def within(low, high, scope):
    """The C++ condition that v, which lies in scope, lies in low..high; '' when it always does."""
    low_part = f"v >= {low}" if low > scope.low else ""
    high_part = f"v <= {high}" if high < scope.high else ""
    return f"v == {low}" if low == high and low_part and high_part else " && ".join(filter(None, [low_part, high_part]))


class MessageWriter:
    def __init__(self, message):
        self.m = message
        self.tagged = message.flexible is not None
        self.mins = {}
        for s in message.structs.values():
            self.mins[s.name] = min(self.struct_min(s, v) for v in range(s.low, s.high + 1))
            if self.mins[s.name] == 0:
                raise schema.SchemaError(f"{message.name}: struct {s.name} takes no bytes")

    # The least bytes that can be on the wire.
    def struct_min(self, s, v):
        flex = self.m.flexible_in(v)
        return (1 if flex else 0) + sum(self.field_min(f, v, flex) for f in s.fields
                                        if f.in_version(v) and f.tag is None)

    def field_min(self, f, v, flex):
        if f.array:
            return 1 if flex else 4
        if f.type in FIXED:
            return FIXED[f.type][2]
        if f.type == "uuid":
            return 16
        if f.type == "string":
            return 1 if flex and not f.inflexible else 2
        if f.type in ("bytes", "records"):
            return 1 if flex else 4
        return 1 if f.nullable(v) else self.struct_min(self.m.structs[f.type], v)

    def element_min(self, f):
        if f.type in FIXED:
            return FIXED[f.type][2]
        if f.type == "string":
            return 1 if self.tagged else 2
        return 16 if f.type == "uuid" else self.mins[f.type]

    # Declarations.
    def cpp_type(self, f):
        if f.type == "records":
            return "Records"
        base = self.element_type(f)
        if f.array:
            base = f"std::vector<{base}>"
        return f"std::optional<{base}>" if f.nulls else base

    def element_type(self, f):
        return FIXED[f.type][0] if f.type in FIXED else VIEWS.get(f.type, "Uuid" if f.type == "uuid" else f.type)

    def initial(self, f):
        if f.type == "records":
            return ""
        if f.nulls:
            return "" if f.default == "null" else f" = {self.cpp_type(f)[14:-1]}{{}}"
        if f.array or f.type not in FIXED:
            return ""
        return " = " + (f.default or ("false" if f.type == "bool" else "0"))

    def declare(self, out):
        m = self.m
        if m.structs:  # not nested classes: those are incomplete where the message would name them in an optional
            out(f"namespace {snake(m.name)} {{")
            for s in m.structs.values():
                out()
                out.open(f"struct {s.name}")
                self.members(out, s, m)
                out.close("};")
            out(f"\n}}  // namespace {snake(m.name)}\n")
        out.open(f"struct {m.name}")
        for s in m.structs.values():
            out(f"using {s.name} = {snake(m.name)}::{s.name};")
        if m.structs:
            out()
        if self.key is not None:
            out(f"static constexpr std::int16_t api_key = {self.key};")
        out(f"static constexpr std::int16_t version_min = {m.low};")
        out(f"static constexpr std::int16_t version_max = {m.high};")
        out(f"static constexpr std::int16_t flexible_from = {'never' if m.flexible is None else m.flexible};")
        out()
        self.members(out, m.body, m)
        out.close("};")
        out()
        out(f"bool decode(bytes::Reader& in, std::int16_t version, {m.name}& message);")
        out(f"Size encoded_size(const {m.name}& message, std::int16_t version);")
        out(f"void encode(bytes::Writer& out, std::int16_t version, const {m.name}& message, Gaps* gaps = nullptr);")

    def members(self, out, s, scope):
        for f in s.fields:
            notes = []
            if (f.low, f.high) != (scope.low, scope.high):
                notes.append(f"{f.low}+" if f.high == self.m.high else f"{f.low}-{f.high}" if f.low < f.high else f"{f.low}")
            if f.nulls and f.nulls != (f.low, f.high):
                notes.append(f"null {f.nulls[0]}-{f.nulls[1]}")
            if f.tag is not None:
                notes.append(f"tag {f.tag}")
            note = "  // " + ", ".join(notes) if notes else ""
            out(f"{self.cpp_type(f)} {cpp_name(f)}{self.initial(f)};{note}")
        if self.tagged:
            out("UnknownTags unknown_tags;")

    # Functions. `flex` and `v` are in scope; `m` is the struct.
    def flex_line(self, out):
        f = self.m.flexible
        value = "false" if f is None else "true" if f <= self.m.low else f"v >= {f}"
        out(f"[[maybe_unused]] const bool flex = {value};")

    def by_version(self, out, s, per_field):
        """Calls per_field for the untagged fields, one `if` around neighbours with the same versions."""
        open_condition = ""
        for f in s.fields:
            if f.tag is not None:
                continue
            condition = within(f.low, f.high, s)
            if condition != open_condition:
                if open_condition:
                    out.close()
                if condition:
                    out.open(f"if ({condition})")
                open_condition = condition
            per_field(out, f)
        if open_condition:
            out.close()

    def tags(self, s):
        return sorted((f for f in s.fields if f.tag is not None), key=lambda f: f.tag)

    def nullable(self, f):
        """'true', 'false' or a condition."""
        if not f.nulls:
            return "false"
        return within(f.nulls[0], f.nulls[1], f) or "true"

    def flex(self, f):
        return "false" if f.inflexible else "flex"

    # Decoding.
    def read_function(self, out, s, name):
        out.open(f"void read(bytes::Reader& in, [[maybe_unused]] std::int16_t v, {name}& m)")
        self.flex_line(out)
        self.by_version(out, s, lambda o, f: self.read_field(o, f, "in"))
        if self.tagged:
            self.read_tags(out, s)
        out.close()
        out()

    def read_field(self, out, f, rd):
        name, null = f"m.{cpp_name(f)}", self.nullable(f)
        if f.array:
            return self.read_array(out, f, rd, name, null)
        if f.type in FIXED:
            return out(f"{name} = {rd}.{FIXED[f.type][1]}();")
        if f.type == "uuid":
            return out(f"{name} = wire::read_uuid({rd});")
        if f.type == "records":
            return out(f"{name} = wire::read_records({rd}, flex, {null});")
        if f.type in VIEWS:
            call = f"wire::read_{f.type}"
            some, other = f"{name} = {call}_or_null({rd}, {self.flex(f)});", f"{name} = {call}({rd}, {self.flex(f)});"
        else:
            there = f"wire::read_presence({rd})" if f.tag is None else f"{rd}.uvarint() != 0"
            some = f"if ({there}) read({rd}, v, {name}.emplace()); else {name}.reset();"
            other = f"read({rd}, v, {name}{'.emplace()' if f.nulls else ''});"
        if null in ("true", "false"):
            return out(some if null == "true" else other)
        out.open(f"if ({null})")
        out(some)
        out.turn("else")
        out(other)
        out.close()

    def read_array(self, out, f, rd, name, null):
        element = f"{self.m.name}::{f.type}" if f.type in self.m.structs else self.element_type(f)
        least = f"{self.element_min(f)}, sizeof({element})"
        if null == "false":
            out.open("")
            out(f"const auto n = wire::read_count({rd}, flex, {least});")
            out(f"auto& a = {name};")
        else:
            out.open(f"if (const auto n = wire::read_count_or_null({rd}, flex, {least}); n >= 0)")
            out(f"auto& a = {name}.emplace();")
        count = "n" if null == "false" else "static_cast<std::size_t>(n)"
        if f.type in INT_ARRAYS:
            out(f"wire::read_ints({rd}, {count}, a);")
        else:
            out(f"a.resize({count});")
            if f.type in ("string", "uuid"):
                out(f"for (auto& e : a) e = wire::read_{f.type}({rd}{', flex' if f.type == 'string' else ''});")
            else:
                out(f"for (auto& e : a) read({rd}, v, e);")
        if null != "false":
            out.turn("else")
            out(f"{name}.reset();")
            if null != "true":
                out(f"if (!({null})) {rd}.fail();")
        out.close()

    def read_tags(self, out, s):
        tags = self.tags(s)
        if not tags:
            return out("if (flex) wire::read_tags(in, m.unknown_tags);")
        out("if (!flex) return;")
        out.open("for (auto left = in.uvarint(); left > 0 && in.ok(); --left)")
        out("const auto tag = in.uvarint();")
        out("bytes::Reader field(in.take(in.uvarint()));")
        out.open("switch (tag)")
        for f in tags:
            condition = within(f.low, f.high, s)
            if self.m.flexible == f.low and condition == f"v >= {f.low}":
                condition = ""
            out.open(f"case {f.tag}:")
            if condition:
                out(f"if (!({condition})) break;")
            if not f.nulls and (f.array or f.type in self.m.structs):  # the field may be there twice
                out(f"m.{cpp_name(f)}{'.clear();' if f.array else ' = {};'}")
            self.read_field(out, f, "field")
            out("if (!field.ok() || !field.done()) in.fail();")
            out("continue;")
            out.close()
        out("default: break;")
        out.close()
        out("if (in.ok()) wire::read_unknown_tag(field, tag, m.unknown_tags);")
        out("if (!field.ok()) in.fail();")
        out.close()

    # Sizes, added to `n`.
    def size_function(self, out, s, name):
        out.open(f"void measure([[maybe_unused]] const {name}& m, [[maybe_unused]] std::int16_t v, Size& n)")
        self.flex_line(out)
        self.fixed = 0
        self.by_version(out, s, lambda o, f: self.size_field(o, f, "n"))
        if self.tagged:
            self.size_tags(out, s)
        out.close()
        out()

    def size_field(self, out, f, n):
        name, null = f"m.{cpp_name(f)}", self.nullable(f)
        if f.array:
            if f.nulls:
                out.open(f"if ({name})")
                self.size_elements(out, f, n, f"(*{name})")
                out.turn("else")
                out(f"{n}.buffer += wire::null_array_size(flex);")
                out.close()
            else:
                self.size_elements(out, f, n, name)
        elif f.type in FIXED or f.type == "uuid":
            out(f"{n}.buffer += {16 if f.type == 'uuid' else FIXED[f.type][2]};")
        elif f.type == "records":
            out(f"wire::records_size(flex, {null}, {name}, {n});")
        elif f.type in VIEWS:
            out(f"{n}.buffer += wire::{f.type}_size({self.flex(f)}, {self.not_null(f, name, null)});")
        elif f.nulls:
            out(f"{n}.buffer += 1;")
            out(f"if ({name}) measure(*{name}, v, {n});")
        else:
            out(f"measure({name}, v, {n});")

    def size_elements(self, out, f, n, array):
        out(f"{n}.buffer += wire::count_size(flex, {array}.size());")
        if f.type in FIXED or f.type == "uuid":
            out(f"{n}.buffer += {array}.size() * {16 if f.type == 'uuid' else FIXED[f.type][2]};")
        elif f.type == "string":
            out(f"for (const auto& e : {array}) {n}.buffer += wire::string_size(flex, e);")
        else:
            out(f"for (const auto& e : {array}) measure(e, v, {n});")

    def not_null(self, f, name, null):
        """The value of a string or bytes; empty for null where the version has no null."""
        if null in ("true", "false"):
            return name
        view = VIEWS[f.type]
        return f"{null} ? {name} : std::optional<{view}>({name}.value_or({view}{{}}))"

    def size_tags(self, out, s):
        tags = self.tags(s)
        if not tags:
            return out("if (flex) n.buffer += wire::tags_size(m.unknown_tags);")
        out("if (!flex) return;")
        out("auto tags = m.unknown_tags.size();")
        for f in tags:
            out.open(f"if ({self.present(f, s)})")
            out("Size field;")
            self.size_field(out, f, "field")
            out("++tags;")
            out(f"n.buffer += wire::tag_size({f.tag}, field.total()) + field.buffer;")
            out("n.outside += field.outside;")
            out.close()
        out("n.buffer += bytes::uvarint_size(tags) + wire::unknown_tags_size(m.unknown_tags);")

    # Encoding.
    def write_function(self, out, s, name):
        out.open(f"void write(bytes::Writer& out, [[maybe_unused]] std::int16_t v, [[maybe_unused]] const {name}& m, "
                 "[[maybe_unused]] Gaps* gaps)")
        self.flex_line(out)
        self.by_version(out, s, self.write_field)
        if self.tagged:
            self.write_tags(out, s)
        out.close()
        out()

    def write_field(self, out, f):
        name, null = f"m.{cpp_name(f)}", self.nullable(f)
        if f.array:
            if f.nulls:
                out.open(f"if ({name})")
                self.write_elements(out, f, f"(*{name})")
                out.turn("else")
                if null == "true":
                    out("wire::write_null_array(out, flex);")
                else:
                    out.open(f"if ({null})")
                    out("wire::write_null_array(out, flex);")
                    out.turn("else")
                    out("wire::write_count(out, flex, 0);")
                    out.close()
                out.close()
            else:
                self.write_elements(out, f, name)
        elif f.type in FIXED:
            out(f"out.{FIXED[f.type][1]}({name});")
        elif f.type == "uuid":
            out(f"wire::write_uuid(out, {name});")
        elif f.type == "records":
            out(f"wire::write_records(out, flex, {null}, {name}, gaps);")
        elif f.type in VIEWS:
            out(f"wire::write_{f.type}(out, {self.flex(f)}, {self.not_null(f, name, null)});")
        elif f.nulls:
            out(f"out.i8({name} ? 1 : -1);" if f.tag is None else f"out.uvarint({name} ? 1 : 0);")
            out(f"if ({name}) write(out, v, *{name}, gaps);")
        else:
            out(f"write(out, v, {name}, gaps);")

    def write_elements(self, out, f, array):
        if f.type in INT_ARRAYS:
            return out(f"wire::write_ints(out, flex, {array});")
        out(f"wire::write_count(out, flex, {array}.size());")
        if f.type == "string":
            out(f"for (const auto& e : {array}) wire::write_string(out, flex, e);")
        elif f.type == "uuid":
            out(f"for (const auto& e : {array}) wire::write_uuid(out, e);")
        else:
            out(f"for (const auto& e : {array}) write(out, v, e, gaps);")

    def write_tags(self, out, s):
        tags = self.tags(s)
        if not tags:
            return out("if (flex) wire::write_tags(out, m.unknown_tags);")
        out("if (!flex) return;")
        out("std::size_t tags = m.unknown_tags.size();")
        for f in tags:
            out(f"const bool has_{f.tag} = {self.present(f, s)};")
            out(f"tags += has_{f.tag} ? 1 : 0;")
        out("out.uvarint(static_cast<std::uint32_t>(tags));")
        out("std::size_t unknown = 0;")
        for f in tags:
            out(f"unknown = wire::write_unknown_tags(out, m.unknown_tags, unknown, {f.tag});")
            out.open(f"if (has_{f.tag})")
            out("Size field;")
            self.size_field(out, f, "field")
            out(f"wire::write_tag(out, {f.tag}, field.total());")
            self.write_field(out, f)
            out.close()
        out("wire::write_unknown_tags(out, m.unknown_tags, unknown, ~std::uint64_t{0});")

    # Whether a tagged field is written: only what differs from its default is.
    def present(self, f, s):
        condition = within(f.low, f.high, s)
        if self.m.flexible == f.low and condition == f"v >= {f.low}":
            condition = ""
        differs = self.differs(f)
        return " && ".join(filter(None, [condition, f"({differs})" if condition and "||" in differs else differs]))

    def differs(self, f):
        name = f"m.{cpp_name(f)}"
        if f.type == "records":
            return f"!{name}.null"
        if f.nulls:
            if f.default == "null":
                return f"{name}.has_value()"
            empty = f"is_default(*{name})" if f.type in self.m.structs and not f.array else f"{name}->empty()"
            return f"!{name} || !{empty}"
        if f.array or f.type in VIEWS:
            return f"!{name}.empty()"
        if f.type == "uuid":
            return f"!{name}.is_zero()"
        if f.type in FIXED:
            return f"{name} != {f.default or 0}" if f.type != "bool" else ("!" if f.default == "true" else "") + name
        return f"!is_default({name})"

    def default_functions(self, out):
        """is_default of the structs that are tagged fields, and of those in them."""
        def asked(f):
            return f.type in self.m.structs and not f.array and f.default != "null"

        wanted = {f.type for s in [self.m.body, *self.m.structs.values()] for f in s.fields
                  if f.tag is not None and asked(f)}
        for s in reversed(self.m.structs.values()):
            if s.name in wanted:
                wanted |= {f.type for f in s.fields if asked(f)}
        for s in self.m.structs.values():
            if s.name in wanted:
                terms = [f"({self.differs(f)})" for f in s.fields] + ["!m.unknown_tags.empty()"]
                out.open(f"bool is_default(const {self.m.name}::{s.name}& m)")
                out(f"return !({' || '.join(terms)});")
                out.close()
                out()

    def define(self, out):
        m = self.m
        out.open("namespace")
        out.depth -= 1
        out()
        self.default_functions(out)
        for s in [*m.structs.values(), m.body]:
            name = m.name if s is m.body else f"{m.name}::{s.name}"
            self.read_function(out, s, name)
            self.size_function(out, s, name)
            self.write_function(out, s, name)
        out("}  // namespace")
        out()
        out.open(f"bool decode(bytes::Reader& in, std::int16_t version, {m.name}& message)")
        out(f"if (version < {m.low} || version > {m.high}) in.fail();")
        out("wire::start_message(in);")
        out("if (in.ok()) read(in, version, message);")
        out("return in.ok();")
        out.close()
        out()
        check = f'WEIR_CHECK(version >= {m.low} && version <= {m.high}, "{m.name} has versions {m.low} to {m.high}");'
        out.open(f"Size encoded_size(const {m.name}& message, std::int16_t version)")
        out(check)
        out("Size size;")
        out("measure(message, version, size);")
        out("return size;")
        out.close()
        out()
        out.open(f"void encode(bytes::Writer& out, std::int16_t version, const {m.name}& message, Gaps* gaps)")
        out(check)
        out("write(out, version, message, gaps);")
        out.close()


def generate_file(f, source):
    header, body = Text(), Text()
    header(FIRST.format(source) + "#pragma once\n")
    header('#include "protocol/types.h"\n')
    header("namespace weir::protocol {\n")
    body(FIRST.format(source) + f'#include "protocol/messages/{f.stem}.h"\n')
    body('#include "protocol/wire.h"\n')
    body("namespace weir::protocol {\n")
    for m in f.messages:
        w = MessageWriter(m)
        w.key = f.api.key if f.api else None
        for field in m.body.fields:
            if field.name in ("api_key", "version_min", "version_max", "flexible_from"):
                raise schema.SchemaError(f"{m.name}: {field.name} is a name of the generator's own")
        w.declare(header)
        header()
        w.define(body)
        body()
    header("}  // namespace weir::protocol")
    body("}  // namespace weir::protocol")
    return {f"{f.stem}.h": header.text(), f"{f.stem}.cc": body.text()}


def generate_tables(files):
    apis = sorted((f.api for f in files if f.api), key=lambda a: a.key)
    if len({a.key for a in apis}) != len(apis):
        raise schema.SchemaError("two APIs have the same key")
    keys, table, every = Text(), Text(), Text()
    keys(FIRST.format("") + "#pragma once\n\n#include <cstdint>\n\nnamespace weir::protocol {\n")
    keys.open("enum class ApiKey : std::int16_t")
    for a in apis:
        keys(f"{snake(a.name)} = {a.key},")
    keys.close("};\n\n}  // namespace weir::protocol")
    table(FIRST.format("") + '#include "protocol/api.h"\n\nnamespace weir::protocol {\n')
    table.open("std::span<const Api> apis()")
    table.open("static constexpr Api table[] =")
    for a in apis:
        flexible = "never" if a.flexible is None else a.flexible
        unstable = "never" if a.unstable is None else a.unstable
        table(f'{{{a.key}, "{a.name}", {a.low}, {a.high}, {flexible}, {unstable}}},')
    table.close("};")
    table("return table;")
    table.close()
    table("\n}  // namespace weir::protocol")
    every(FIRST.format("") + "// X(Message) for every message.\n#pragma once\n")
    for f in files:
        every(f'#include "protocol/messages/{f.stem}.h"')
    every("\n#define WEIR_PROTOCOL_MESSAGES(X) \\")
    for m in (m for f in files for m in f.messages):
        every(f"  X({m.name}) \\")
    every("")
    return {"api_key.h": keys.text(), "api_table.cc": table.text(), "all.h": every.text()}


def main(argv):
    if len(argv) != 3:
        sys.exit(__doc__)
    out = Path(argv[2]) / "protocol" / "messages"
    out.mkdir(parents=True, exist_ok=True)
    try:
        paths = sorted(Path(argv[1]).glob("*.api"))
        files = [schema.read(p) for p in paths]
        texts = generate_tables(files)
        for f, path in zip(files, paths):
            texts.update(generate_file(f, path.name))
    except schema.SchemaError as e:
        sys.exit(f"generate.py: {e}")
    for name, text in texts.items():
        path = out / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    main(sys.argv)
