#!/usr/bin/env python3
"""Holds the .api texts against Apache Kafka's own message definitions: conformance.py LIBS_FOLDER...

Each folder has the jars of one version of Kafka. For each definition in them and each of its versions the fields
must be ours: presence, order, type, null, tag, default, encoding, structs. The valid and flexible versions of ours
must be those of all jars together. A tagged field may be missing in a jar when another has it in that version
(readers skip what they do not know). Names are compared in our spelling: ReplicaId is replica_id.
"""

import json
import re
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "src" / "protocol"))
sys.dont_write_bytecode = True
import schema  # noqa: E402

# What got another name, or another home, from one version of Kafka to the next.
MESSAGE_NAMES = {"ListClientMetricsResourcesRequest": "ListConfigResourcesRequest",
                 "ListClientMetricsResourcesResponse": "ListConfigResourcesResponse",
                 "LegacyOffsetCommitKey": "OffsetCommitKey", "LegacyOffsetCommitValue": "OffsetCommitValue"}
FIELD_NAMES = {("ListClientMetricsResourcesResponse", "ClientMetricsResources"): "config_resources",
               ("ListClientMetricsResourcesResponse", "Name"): "resource_name"}
STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.S)


def spelled(name):
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name.replace("KRaft", "Kraft"))
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()


def definitions(libs):
    """Those in the jars of one version, but the records of KRaft's metadata log (common/metadata)."""
    for jar in sorted(Path(libs).glob("kafka*.jar")):
        with zipfile.ZipFile(jar) as z:
            for entry in sorted(z.namelist()):
                if re.fullmatch(r"(common/)?message/[A-Za-z]+\.json", entry):
                    text = z.read(entry).decode()
                    yield json.loads(STRING_OR_COMMENT.sub(lambda m: m[1] or "", text))


def has(spec, v):
    if spec is None or spec == "none":
        return False
    if spec.endswith("+"):
        return v >= int(spec[:-1])
    low, _, high = spec.partition("-")
    return int(low) <= v <= int(high or low)


def valid_versions(definition):
    if definition["validVersions"] == "none":
        return []
    low, _, high = definition["validVersions"].partition("-")
    return list(range(int(low), int(high or low) + 1))


def zero(type_, array, default):
    """A default in one spelling: '' for zero, empty and false."""
    if default is None or default in ("", "false", False):
        return "null" if type_ == "records" else ""
    if default == "null" or array or type_ not in schema.PRIMITIVES:
        return str(default)
    if type_ == "bool":
        return str(default).lower()
    number = float(default) if type_ == "float64" else int(str(default), 0)
    return str(number) if number else ""


def shape(name, type_, array, null, tag, default, flexible, children):
    kind = ("[]" if array else "") + (type_ if type_ in schema.PRIMITIVES else "struct")
    return {"name": name, "type": kind, "null": null, "tag": tag, "default": zero(type_, array, default),
            "flexible": flexible, "fields": children}


def theirs(definition, v):
    """The fields of a definition in version v: those without a tag in their order, those with one by tag."""
    common = {s["name"]: s["fields"] for s in definition.get("commonStructs", [])}
    message_flexible = has(definition["flexibleVersions"], v)

    def walk(fields):
        plain, tagged = [], {}
        for f in fields:
            in_tag = has(f.get("taggedVersions"), v)
            if not (has(f["versions"], v) if "versions" in f else in_tag):
                continue
            array = f["type"].startswith("[]")
            type_ = f["type"].removeprefix("[]")
            children = None
            if type_ not in schema.PRIMITIVES:
                children = walk(f["fields"] if "fields" in f else common[type_])
            name = FIELD_NAMES.get((definition["name"], f["name"]), spelled(f["name"]))
            flexible = has(f["flexibleVersions"], v) if "flexibleVersions" in f else message_flexible
            s = shape(name, type_, array, has(f.get("nullableVersions"), v), f["tag"] if in_tag else None,
                      f.get("default"), flexible, children)
            if in_tag:
                tagged[f["tag"]] = s
            else:
                plain.append(s)
        return plain, tagged

    return walk(definition["fields"])


def ours(message, v):
    def walk(struct):
        plain, tagged = [], {}
        for f in struct.fields:
            if not f.in_version(v):
                continue
            children = None if f.type in schema.PRIMITIVES else walk(message.structs[f.type])
            s = shape(f.name, f.type, f.array, f.nullable(v), f.tag, f.default,
                      message.flexible_in(v) and not f.inflexible, children)
            if f.tag is not None:
                tagged[f.tag] = s
            else:
                plain.append(s)
        return plain, tagged

    return walk(message.body)


def tags_of(fields, path, found):
    for s in [*fields[0], *fields[1].values()]:
        if s["tag"] is not None:
            found.add((*path, s["tag"]))
        if s["fields"] is not None:
            tags_of(s["fields"], (*path, s["name"]), found)


def compare(our, their, path, known_tags, problems):
    if [s["name"] for s in our[0]] != [s["name"] for s in their[0]]:
        problems.append(f"{'.'.join(path)}: fields {[s['name'] for s in our[0]]}, not {[s['name'] for s in their[0]]}")
        return
    for tag in our[1].keys() - their[1].keys():
        if (*path, tag) not in known_tags:
            problems.append(f"{'.'.join(path)}: tag {tag} is not Kafka's")
    for tag in their[1].keys() - our[1].keys():
        problems.append(f"{'.'.join(path)}: tag {tag} is missing")
    pairs = list(zip(our[0], their[0])) + [(our[1][t], their[1][t]) for t in our[1].keys() & their[1].keys()]
    for a, b in pairs:
        for what in ("name", "type", "null", "tag", "default", "flexible"):
            if a[what] != b[what]:
                problems.append(f"{'.'.join((*path, a['name']))}: {what} {a[what]!r}, not {b[what]!r}")
        if a["fields"] is not None and b["fields"] is not None:
            compare(a["fields"], b["fields"], (*path, a["name"]), known_tags, problems)


def main(folders):
    excluded = [line.split()[0] for line in (HERE / "excluded.txt").read_text().splitlines()
                if line and not line.startswith("#")]
    files = schema.read_all(ROOT / "src" / "protocol" / "schema")
    mine = {m.name: (m, f.api) for f in files for m in f.messages}
    passed, failures = 0, []

    def judge(what, problems):
        nonlocal passed
        if problems:
            failures.extend(f"{what}: {p}" for p in problems)
            print("\n".join(f"FAILED {what}: {p}" for p in problems))
        else:
            passed += 1

    sources = [(Path(folder), d) for folder in folders for d in definitions(folder)]
    seen = {d["name"] for _, d in sources}
    for name in excluded:
        whole, _, of = name.partition("@")
        judge(f"excluded {name}", [p for p, wrong in (("is in no jar", whole not in seen),
                                                     ("is in the schemas", not of and whole in mine)) if wrong])

    # A coordinator's key in 4.x has version 0 and its number apart; in records, as with us, the number is the version.
    plan, valid, flexible, known_tags = [], {}, {}, set()
    for folder, d in sources:
        if d["name"] in excluded or f"{d['name']}@{folder.parent.name}" in excluded:
            continue
        name = MESSAGE_NAMES.get(d["name"], d["name"])
        if name not in mine:
            judge(f"{d['name']} of {folder.parent.name}", ["is not in the schemas"])
            continue
        shift = d["apiKey"] if d.get("type") == "coordinator-key" else 0
        if d["type"] in ("request", "response"):
            judge(f"{name} of {folder.parent.name}",
                  [] if mine[name][1] and mine[name][1].key == d["apiKey"] else [f"key is not {d['apiKey']}"])
        for v in valid_versions(d):
            fields = theirs(d, v)
            valid.setdefault(name, set()).add(v + shift)
            flexible.setdefault(name, {}).setdefault(v + shift, set()).add(has(d["flexibleVersions"], v))
            tags_of(fields, (name, str(v + shift)), known_tags)
            plan.append((folder, name, v + shift, fields))

    for folder, name, v, fields in plan:
        message, problems = mine[name][0], []
        if message.low <= v <= message.high:
            compare(ours(message, v), fields, (name, str(v)), known_tags, problems)
        else:
            problems.append("version is missing")
        judge(f"{name} version {v} of {folder.parent.name}", problems)

    for name, (message, api) in mine.items():
        problems = []
        versions = valid.get(name, set())
        if versions != set(range(message.low, message.high + 1)):
            problems.append(f"versions {message.low}-{message.high}, Kafka's {sorted(versions)}")
        for v in versions:
            if flexible[name][v] != {message.flexible_in(v)}:
                problems.append(f"flexible in version {v} is not Kafka's")
        judge(f"{name}: versions", problems)
    newest = {d["name"]: d for folder, d in sources if folder == Path(folders[-1])}
    for api in (f.api for f in files if f.api):
        d = newest.get(api.name + "Request", {})
        last = api.high if d.get("latestVersionUnstable") else None
        judge(f"{api.name}: unstable", [] if api.unstable == last else [f"{api.unstable}, Kafka's {last}"])

    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
