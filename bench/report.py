"""What was measured, for people: a table with medians and ratios, what is asked of it, Markdown and charts for docs/.

Turns are {part: {server: [{row: {column: value}}, ...]}}, one entry a turn.
"""
import re
import statistics
from pathlib import Path
from xml.sax.saxutils import escape

from kit import ROOT, spread

TITLES = {"weir": "Weir", "kafka": "Apache Kafka"}

# (part, rows, column, what is compared, bound). "ratio": Weir's median as part of Kafka's; "value": Weir's own. A bound
# that begins with ">" is the least, else it is the most.
ASKED = [
    ("single", r".*produce.*", "CPU s/GiB", "ratio", "0.5"),
    ("single", r".*consume.*", "CPU s/GiB", "ratio", "1"),
    ("single", r"start, all", "ms", "value", "100"),
    ("single", r"memory, idle", "MiB", "value", "30"),
    ("failover", r"failover, kill -9.*", "p95 ms", "value", "500"),
    ("failover", r"dead host.*", "p95 ms", "value", "6500"),
    ("failover", r"records that failed.*", "count", "value", "0"),
    ("controller", r"controller failover, 10000.*", "ms", "value", "2000"),
]
AIMS = [
    ("single", r".*produce.*", "CPU s/GiB", "ratio", "0.25"),
    ("matrix", r"produce.*", "CPU s/GiB", "ratio", "0.25"),
    ("single", r".*consume 100 B.*", "CPU s/GiB", "ratio", "0.5"),
    ("matrix", r"consume .* 100 B.*", "CPU s/GiB", "ratio", "0.5"),
    ("single", r".*consume 1 KiB.*", "CPU s/GiB", "ratio", "1"),
    ("matrix", r"consume .* 1024 B.*", "CPU s/GiB", "ratio", "1"),
    ("many", r".*as many requests as go", "requests/s", "ratio", ">3"),
    ("latency", r"10000 records/s.*", "p99 ms", "ratio", "0.5"),
    ("latency", r"10000 records/s.*", "p99.9 ms", "ratio", "0.5"),
    ("tls", r".*what TLS costs", "CPU s/GiB", "ratio", "0.5"),
    ("replicated", r".*produce.*", "MiB/s", "ratio", ">1.5"),
    ("replicated", r"end to end.*", "p99 ms", "ratio", "0.5"),
    ("single", r"start, all", "ms", "ratio", "0.05"),
    ("single", r"memory, idle", "MiB", "ratio", "0.1"),
    ("life", r"memory, 10000 partitions", "MiB", "ratio", "0.25"),
    ("failover", r"failover, kill -9.*", "p95 ms", "ratio", "0.2"),
    ("failover", r"controlled shutdown", "signal to end ms", "ratio", "0.2"),
]


def medians(turns):
    """{(row, column): {server: [values]}} of one part, in the order in which they were measured."""
    out = {}
    for server, of_server in turns.items():
        for turn in of_server:
            for row, columns in turn.items():
                for column, value in columns.items():
                    out.setdefault((row, column), {}).setdefault(server, []).append(value)
    return out


def ratio(values):
    if len(values) < 2:
        return None
    of = {server: statistics.median(v) for server, v in values.items()}
    return of["weir"] / of["kafka"] if of["kafka"] else float("nan")


def show(part, turns, titles):
    found = medians(turns)
    wide = max([len(row) for row, _ in found] + [20]) + 2
    print(f"\n{part:{wide}}{'':20}" + "".join(f"{titles.get(server, server):>28}" for server in turns) + "   Weir/Kafka" * (len(turns) == 2))
    for (row, column), values in found.items():
        line = f"{row:{wide}}{column:20}" + "".join(f"{spread(values[server]) if server in values else '-':>28}" for server in turns)
        if ratio(values) is not None:
            line += f"{ratio(values):>13.2f}"
        print(line)


def judge(goals, parts, title):
    """Says of each goal whose rows were measured whether it is met; how many are not."""
    lines, count = [], 0
    for part, rows, column, what, bound in goals:
        for (row, of), values in medians(parts.get(part, {})).items():
            if of != column or not re.fullmatch(rows, row) or "weir" not in values:
                continue
            value = ratio(values) if what == "ratio" else statistics.median(values["weir"])
            if value is None:
                continue  # one server alone
            least, limit = bound.startswith(">"), float(bound.lstrip(">"))
            met = value >= limit if least else value <= limit  # not a number is none
            count += not met
            lines.append(f"{'met   ' if met else 'MISSED'}  {part}: {row}, {column}{', of Kafka' + chr(39) + 's' if what == 'ratio' else ''}: "
                         f"{value:.2f}, {'at least' if least else 'at most'} {limit:g}")
    if lines:
        print(f"\n{title}:")
        for line in lines:
            print(f"  {line}")
    return count


def verdict(parts, titles, quick):
    """Prints the comparison; the exit status: 1 when something that is asked was missed. A quick run judges nothing."""
    for part, turns in parts.items():
        show(part, turns, titles)
    if quick:
        return 0
    missed = judge(ASKED, parts, "What is asked")
    judge(AIMS, parts, "What Weir aims at")
    return 1 if missed else 0


# ---- For docs/benchmarks.md ---------------------------------------------------------------------------------------

def markdown(turns, titles):
    lines = ["| | unit | " + " | ".join(titles.get(server, server) for server in turns) + (" | Weir / Kafka |" if len(turns) == 2 else " |"),
             "| --- | --- |" + " --- |" * (len(turns) + (len(turns) == 2))]
    for (row, column), values in medians(turns).items():
        cells = [spread(values[server]).replace("..", " to ") if server in values else "-" for server in turns]
        if len(turns) == 2:
            of = ratio(values)
            cells.append("-" if of is None or of != of else f"{of:.2f}")
        lines.append(f"| {row} | {column} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(parts, titles, how, docs=ROOT / "docs"):
    """Puts each part's table between its marks in benchmarks.md ("<!-- part -->", "<!-- /part -->"), and draws its charts.

    A part without marks is told of, and left out: the words around a table are written by people."""
    path = Path(docs) / "benchmarks.md"
    text = path.read_text()
    for part, turns in parts.items():
        marks = f"<!-- {part} -->", f"<!-- /{part} -->"
        if marks[0] not in text or marks[1] not in text:
            print(f"docs/benchmarks.md has no place for {part} ({marks[0]} {marks[1]})")
            continue
        before, rest = text.split(marks[0], 1)
        after = rest.split(marks[1], 1)[1]
        drawn, folder = charts(part, turns, titles), Path(docs) / "charts"
        pictures = "".join(f"\n![{name}](charts/{name}.svg)" for name, _ in drawn)
        text = f"{before}{marks[0]}\n{how}\n\n{markdown(turns, titles)}\n{pictures}\n{marks[1]}{after}"
        folder.mkdir(exist_ok=True)
        for old in folder.glob(f"{part}-*.svg"):
            old.unlink()
        for name, drawing in drawn:
            (folder / f"{name}.svg").write_text(drawing)
    path.write_text(text)


DRAWN = ("MiB/s", "CPU s/GiB", "p99 ms", "p95 ms", "requests/s", "CPU us/request", "system calls/MiB")  # the others are tables only
COLORS = {"weir": "#1b6ca8", "kafka": "#c9a227"}


def svg(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
            f'<rect width="{width}" height="{height}" fill="white"/>{"".join(body)}</svg>\n')


def bars(title, rows, unit, titles):
    """Horizontal bars, one pair a row: [(name, {server: value})]."""
    left, wide, step = 300, 420, 36
    most = max(value for _, values in rows for value in values.values()) or 1
    body = [f'<text x="10" y="20" font-size="15">{escape(title)}, {escape(unit)}</text>']
    servers = list(dict.fromkeys(server for _, values in rows for server in values))
    for at, server in enumerate(servers):
        body.append(f'<rect x="{left + at * 170}" y="30" width="12" height="12" fill="{COLORS[server]}"/>'
                    f'<text x="{left + at * 170 + 18}" y="41">{escape(titles.get(server, server))}</text>')
    for at, (name, values) in enumerate(rows):
        y = 56 + at * step
        body.append(f'<text x="{left - 8}" y="{y + 18}" text-anchor="end">{escape(name)}</text>')
        for line, server in enumerate(values):
            long = values[server] / most * wide
            body.append(f'<rect x="{left}" y="{y + line * 14}" width="{long:.1f}" height="12" fill="{COLORS[server]}"/>'
                        f'<text x="{left + long + 5:.1f}" y="{y + line * 14 + 11}">{values[server]:.3g}</text>')
    return svg(left + wide + 80, 66 + len(rows) * step, body)


def curve(title, points, unit, titles):
    """Lines over a logarithmic x: {server: [(x, value)]}."""
    import math
    left, top, wide, high = 70, 60, 480, 260
    xs = [math.log10(x) for of in points.values() for x, _ in of]
    most = max(value for of in points.values() for _, value in of) or 1
    low, span = min(xs), (max(xs) - min(xs)) or 1
    body = [f'<text x="10" y="20" font-size="15">{escape(title)}, {escape(unit)}</text>',
            f'<path d="M{left} {top}V{top + high}H{left + wide}" stroke="#888" fill="none"/>',
            f'<text x="{left - 6}" y="{top + 4}" text-anchor="end">{most:.3g}</text><text x="{left - 6}" y="{top + high}" text-anchor="end">0</text>']
    for x in sorted({x for of in points.values() for x, _ in of}):
        place = left + (math.log10(x) - low) / span * wide
        body.append(f'<text x="{place:.1f}" y="{top + high + 18}" text-anchor="middle">{x:g}</text>')
    for at, (server, of) in enumerate(points.items()):
        line = " ".join(f"{left + (math.log10(x) - low) / span * wide:.1f},{top + high - value / most * high:.1f}" for x, value in sorted(of))
        body.append(f'<polyline points="{line}" fill="none" stroke="{COLORS[server]}" stroke-width="2"/>'
                    f'<rect x="{left + at * 170}" y="30" width="12" height="12" fill="{COLORS[server]}"/>'
                    f'<text x="{left + at * 170 + 18}" y="41">{escape(titles.get(server, server))}</text>')
    return svg(left + wide + 40, top + high + 40, body)


def charts(part, turns, titles):
    """[(name of the file, SVG)]: curves where the rows are points of one, bars for every unit else."""
    curves, tables = {}, {}
    for (row, column), values in medians(turns).items():
        of = {server: statistics.median(v) for server, v in values.items()}
        if match := re.fullmatch(r"([a-z ]+): (\d+)", row):
            for server, value in of.items():
                curves.setdefault((match[1], column), {}).setdefault(server, []).append((int(match[2]), value))
        elif len(of) == 2 and column in DRAWN:
            tables.setdefault(column, []).append((row, of))
    name = lambda *words: re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
    out = [(name(part, what, column), curve(f"By {what}", points, column, titles)) for (what, column), points in curves.items()
           if len({x for of in points.values() for x, _ in of}) > 1]
    return out + [(name(part, column), bars(part, rows, column, titles)) for column, rows in tables.items()]


# ---- The verdict itself -------------------------------------------------------------------------------------------

def self_test():
    """Each goal alone missed is an exit status of 1, a quick run has none, and docs get their tables."""
    import contextlib
    import io
    import tempfile
    good = {("produce, acks=1", "CPU s/GiB"): (1, 2), ("consume", "CPU s/GiB"): (1, 1), ("start, all", "ms"): (100, 1),
            ("memory, idle", "MiB"): (30, 1), ("produce, acks=1", "MiB/s"): (1, 100)}

    def parts(change=None):
        out = {"weir": [{}], "kafka": [{}]}
        for (row, column), values in {**good, **(change or {})}.items():
            for server, value in zip(out, values):
                out[server][0].setdefault(row, {})[column] = value
        return {"single": out}

    def status(change=None, quick=False):
        with contextlib.redirect_stdout(io.StringIO()):
            return verdict(parts(change), TITLES, quick)

    assert status() == 0
    for key, values in {("produce, acks=1", "CPU s/GiB"): (1.1, 2), ("consume", "CPU s/GiB"): (1.1, 1), ("start, all", "ms"): (101, 1),
                        ("memory, idle", "MiB"): (31, 1)}.items():
        assert status({key: values}) == 1, key
        assert status({key: values}, quick=True) == 0, key
    assert status({("consume", "CPU s/GiB"): (1, 0)}) == 1, "nothing measured of Kafka"
    with contextlib.redirect_stdout(io.StringIO()):
        assert judge([("single", ".*produce.*", "MiB/s", "ratio", ">3")], parts(), "") == 1, "a least is one"
        assert judge([("single", ".*produce.*", "MiB/s", "ratio", ">0.001")], parts(), "") == 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmarks.md"
        path.write_text("before\n<!-- single -->\nold\n<!-- /single -->\nafter\n")
        write(parts({("partitions: 1", "MiB/s"): (5, 4), ("partitions: 100", "MiB/s"): (3, 2)}), TITLES, "how", folder)
        text = path.read_text()
        assert text.startswith("before\n<!-- single -->\nhow\n") and text.endswith("<!-- /single -->\nafter\n") and "old" not in text, text
        assert "| consume | CPU s/GiB | 1.00 | 1.00 | 1.00 |" in text, text
        drawn = {path.name for path in (Path(folder) / "charts").iterdir()}
        assert {"single-partitions-mib-s.svg", "single-cpu-s-gib.svg"} <= drawn, drawn
