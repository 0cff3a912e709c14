"""Judges a history: what was asked of a cluster, what it answered, and what was read, against what Kafka promises.

Pure: events in, a report out. A history is a file of JSON lines (history.py writes it). Times are one monotonic clock's
seconds. Every value that is produced is unique. `e` says what an event is:

  producer  producer, idempotent              before its first invoke
  invoke    id, producer, sequence, topic, partition, t
                                              a produce was asked for; `id` is the value, `sequence` its place among
                                              what this producer asked of this partition
  ack       id, offset, t                     acknowledged; offset -1: by an answer that does not name one
  fail      id, t                             certainly not written
  unknown   id, t                             written or not, now or later. So is an invoke that nothing follows
  position  consumer, topic, partition        this consumer starts anew: what it reads next need not follow on
  read      consumer, topic, partition, offset, id, t
  hw        topic, partition, offset, t       a high watermark that a client was told
  end       topic, partition, start, next, t  `final` has read everything in [start, next), after all else
  replica   broker, topic, partition, start, records [[offset, id, producer id, producer epoch]...]
                                              what an in-sync replica has on its disk, after all else
  commit    group, topic, partition, offset, t, acked
                                              an offset of a group, asked for at t. acked: when it was acknowledged, or
                                              null: unknown
  committed group, topic, partition, offset, asked, t
                                              what a group's offset was when somebody asked between `asked` and `t`
  fault     what, t                           told in the report, judged by nothing

    python3 checker.py HISTORY                exit status 0 when nothing is wrong
"""
import bisect
import json
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field

LOST = "lost"                  # acknowledged, and not there at the end
VANISHED = "vanished"          # read by a consumer, and not there at the end
CHANGED = "changed"            # one offset, two records
MOVED = "moved"                # acknowledged at one offset, found at another
REORDERED = "reordered"        # an idempotent producer's records out of its order, or an acknowledged one before its past
DUPLICATED = "duplicated"      # an idempotent producer's record twice
UNASKED = "unasked"            # a record that nobody wrote, wrote elsewhere, or that was refused
SKIPPED = "skipped"            # a consumer was not given a record that is there
WATERMARK = "watermark"        # a high watermark that the log does not reach
DIVERGED = "diverged"          # in-sync replicas that differ
GROUP = "group"                # a group's offset that was acknowledged and is gone
UNREAD = "unread"              # the history does not say what is there at the end: nothing can be judged

EACH_KIND_MAX = 20  # of one kind, this many are told in full


@dataclass
class Write:
    id: str
    producer: str
    sequence: int
    where: tuple
    invoked: float
    outcome: str = "unknown"
    offset: int | None = None
    ended: float | None = None


@dataclass
class Report:
    problems: list = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    kinds: Counter = field(default_factory=Counter)

    @property
    def good(self):
        return not self.kinds

    def add(self, kind, text):
        self.kinds[kind] += 1
        if self.kinds[kind] <= EACH_KIND_MAX:
            self.problems.append((kind, text))

    def __str__(self):
        c = self.counts
        lines = [f"{c['invoke']} produced: {c['ack']} acknowledged, {c['fail']} failed, {c['open']} unknown "
                 f"({c['appeared']} of them are there); {c['read']} read, {c['final']} records in {c['end']} partitions, "
                 f"{c['replica']} replicas, {c['commit']} commits, {c['fault']} faults"
                 + (f"; {c['resent']} sent again by their producers in another epoch" if c["resent"] else "")
                 + (f"; {c['guessed']} acknowledged by their client's guess" if c["guessed"] else "")]
        lines += [f"{kind}: {text}" for kind, text in self.problems]
        for kind, number in self.kinds.items():
            if number > EACH_KIND_MAX:
                lines.append(f"{kind}: {number - EACH_KIND_MAX} more")
        lines.append("good" if self.good else "BAD: " + ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items())))
        return "\n".join(lines)


def check(events):
    history = _History(events)
    for part in (_offsets, _present, _unasked, _order, _duplicates, _consumers, _watermarks, _replicas, _groups):
        part(history)
    return history.report


class _History:
    def __init__(self, events):
        self.report = Report()
        self.idempotent = {}
        self.writes = {}
        self.final = defaultdict(dict)      # where: {offset: id}
        self.places = defaultdict(list)     # (where, id): offsets at the end
        self.ends = {}                      # where: (start, next)
        self.reads = defaultdict(list)      # (consumer, where): [(offset, id, t) or None for a new start]
        self.watermarks = []
        self.replicas = defaultdict(dict)   # where: {broker: (start, {offset: id})}
        self.producers = {}                 # (where, offset): the batch's producer id and epoch
        self.commits = defaultdict(list)
        self.committed = defaultdict(list)
        self.faults = []
        for event in events:
            self.report.counts[event["e"]] += 1
            getattr(self, "on_" + event["e"])(event)
        self.faults.sort()
        for where, records in self.final.items():
            for offset, id in records.items():
                self.places[where, id].append(offset)
        self.report.counts["final"] = sum(map(len, self.final.values()))
        for write in self.writes.values():
            if write.outcome == "unknown":
                self.report.counts["open"] += 1
                self.report.counts["appeared"] += (write.where, write.id) in self.places

    def on_producer(self, e):
        self.idempotent[e["producer"]] = e["idempotent"]

    def on_invoke(self, e):
        if e["id"] in self.writes:
            raise ValueError(f"the history is no history: {e['id']} is produced twice")
        self.writes[e["id"]] = Write(e["id"], e["producer"], e["sequence"], (e["topic"], e["partition"]), e["t"])

    def on_ack(self, e):
        write = self.writes[e["id"]]
        write.outcome, write.offset, write.ended = "ack", e["offset"] if e["offset"] >= 0 else None, e["t"]

    def on_fail(self, e):
        self.writes[e["id"]].outcome, self.writes[e["id"]].ended = "fail", e["t"]

    def on_unknown(self, e):
        self.writes[e["id"]].ended = e["t"]

    def on_position(self, e):
        self.reads[e["consumer"], (e["topic"], e["partition"])].append(None)

    def on_read(self, e):
        where = (e["topic"], e["partition"])
        self.reads[e["consumer"], where].append((e["offset"], e["id"], e["t"]))
        if e["consumer"] == "final":
            known = self.final[where].setdefault(e["offset"], e["id"])
            if known != e["id"]:
                self.report.add(CHANGED, f"{at(where, e['offset'])} was read twice at the end, as {known} and as {e['id']}")

    def on_hw(self, e):
        self.watermarks.append(((e["topic"], e["partition"]), e["offset"], e["t"]))

    def on_end(self, e):
        self.ends[e["topic"], e["partition"]] = (e["start"], e["next"])

    def on_replica(self, e):
        where = (e["topic"], e["partition"])
        records = {}
        for offset, id, *producer in e["records"]:
            records[offset] = id
            if producer:
                self.producers[where, offset] = tuple(producer)
        self.replicas[e["topic"], e["partition"]][e["broker"]] = (e["start"], records)

    def on_commit(self, e):
        self.commits[e["group"], e["topic"], e["partition"]].append((e["t"], e["offset"], e.get("acked")))

    def on_committed(self, e):
        self.committed[e["group"], e["topic"], e["partition"]].append((e["asked"], e["t"], e["offset"]))

    def on_fault(self, e):
        self.faults.append((e["t"], e["what"]))

    def guessed(self, write):
        """An acknowledgement that no broker gave: librdkafka takes what has no answer for written when a later record of the
        same producer is. That is so but where a leader knows nothing of the producer yet: it takes any number as the first
        (Apache Kafka does too, as records may have been deleted). So nothing earlier of this producer may be in the log."""
        if not self.idempotent.get(write.producer) or write.offset is not None:
            return False
        there = [w.sequence for (where, id), _ in self.places.items() if where == write.where and (w := self.writes.get(id))
                 and w.producer == write.producer]
        return bool(there) and min(there) > write.sequence

    def told(self, write):
        """A write in words: who, when, what came of it, and what was going on."""
        text = f"{write.id} (producer {write.producer}, its number {write.sequence}, asked at {write.invoked:.3f}"
        if write.outcome == "ack":
            offset = "an offset not named" if write.offset is None else f"offset {write.offset}"
            text += f", acknowledged at {write.ended:.3f} with {offset}"
        elif write.ended is not None:
            text += f", {write.outcome} at {write.ended:.3f}"
        return text + f"{self.around(write.ended or write.invoked)})"

    def around(self, t):
        after = bisect.bisect(self.faults, (t, "\uffff"))
        return f"; last fault before: {self.faults[after - 1][1]} at {self.faults[after - 1][0]:.3f}" if after else ""


def at(where, offset):
    return f"{where[0]}-{where[1]} offset {offset}"


def _offsets(h):
    """One offset, one record: in all reads of all consumers, and in what was acknowledged."""
    first = {}
    for (consumer, where), reads in h.reads.items():
        for one in reads:
            if one is None:
                continue
            offset, id, t = one
            who, other, when = first.setdefault((where, offset), (consumer, id, t))
            if other != id:
                h.report.add(CHANGED, f"{at(where, offset)} was {other} for {who} at {when:.3f} and {id} for {consumer} "
                                      f"at {t:.3f}{h.around(max(when, t))}")
    named = {}
    for write in h.writes.values():
        if write.offset is not None:
            other = named.setdefault((write.where, write.offset), write)
            if other is not write:
                h.report.add(CHANGED, f"{at(write.where, write.offset)} was acknowledged for two: {h.told(other)} and {h.told(write)}")


def _present(h):
    """What was acknowledged or read is there at the end, where it was."""
    for write in h.writes.values():
        if write.outcome != "ack":
            continue
        end = h.ends.get(write.where)
        if end is None:
            h.report.add(UNREAD, f"{write.where[0]}-{write.where[1]} was not read to its end; it should have {h.told(write)}")
            continue
        places = h.places.get((write.where, write.id), [])
        if write.offset is None:
            if not places and h.guessed(write):
                h.report.counts["guessed"] += 1
            elif not places:
                h.report.add(LOST, f"{h.told(write)} is not in {write.where[0]}-{write.where[1]} [{end[0]}, {end[1]})")
        elif write.offset < end[0]:
            continue  # deleted by retention: judged by what was read before
        elif write.offset not in places:
            there = h.final[write.where].get(write.offset)
            what = f"the log ends at {end[1]}" if write.offset >= end[1] else f"there is {there or 'nothing'}"
            if places:
                h.report.add(MOVED, f"{h.told(write)} is at {at(write.where, places[0])}, and where it was acknowledged {what}")
            else:
                h.report.add(LOST, f"{at(write.where, write.offset)}: {h.told(write)}; {what}")
    told = set()
    for (consumer, where), reads in h.reads.items():
        end = h.ends.get(where)
        for one in reads:
            if one is None or end is None or one[0] < end[0] or (where, one[0]) in told:
                continue
            offset, id, t = one
            there = h.final[where].get(offset)
            if there is None:
                told.add((where, offset))
                h.report.add(VANISHED, f"{at(where, offset)}: {consumer} read {id} at {t:.3f}, and it is gone (the log is "
                                       f"[{end[0]}, {end[1]})){h.around(t)}")


def _unasked(h):
    """Nothing is read that was not written, there, and not refused."""
    told = set()
    for (consumer, where), reads in h.reads.items():
        for one in reads:
            if one is None or (where, one[1]) in told:
                continue
            offset, id, t = one
            write = h.writes.get(id)
            if write is None:
                problem = f"{id}, which nobody wrote"
            elif write.where != where:
                problem = f"{h.told(write)}, written to {write.where[0]}-{write.where[1]}"
            elif write.outcome == "fail":
                problem = f"{h.told(write)}, which was refused"
            elif t < write.invoked:
                problem = f"{h.told(write)}, before it was asked for"
            else:
                continue
            told.add((where, id))
            h.report.add(UNASKED, f"{at(where, offset)}: {consumer} read at {t:.3f} {problem}")


def _order(h):
    partitions, streams = defaultdict(list), defaultdict(list)
    for write in h.writes.values():
        if write.outcome != "ack":
            continue  # what timed out may be written at any later time
        offset = write.offset
        if offset is None:
            places = h.places.get((write.where, write.id))
            if not places:
                continue
            offset = min(places)
        partitions[write.where].append((write, offset))
        if h.idempotent.get(write.producer):
            streams[write.producer, write.where].append((write, offset))
    for (producer, where), written in streams.items():
        written.sort(key=lambda pair: pair[0].sequence)
        for (earlier, a), (later, b) in zip(written, written[1:]):
            if a >= b:
                h.report.add(REORDERED, f"{where[0]}-{where[1]}: {h.told(earlier)} is at {a}, {h.told(later)} at {b}")
    for where, written in partitions.items():
        # What was acknowledged before another was asked for is before it in the log, whoever wrote it.
        acked = sorted(written, key=lambda pair: pair[0].ended)
        highest, next_acked = None, 0
        for write, offset in sorted(written, key=lambda pair: pair[0].invoked):
            while next_acked < len(acked) and acked[next_acked][0].ended < write.invoked:
                if highest is None or acked[next_acked][1] > highest[1]:
                    highest = acked[next_acked]
                next_acked += 1
            if highest and highest[1] >= offset:
                h.report.add(REORDERED, f"{where[0]}-{where[1]}: {h.told(highest[0])} at {highest[1]} was acknowledged before "
                                        f"{h.told(write)}, which is at {offset}, was asked for")


def _duplicates(h):
    """Under one producer id and epoch a record is there once. A client that was told of a hole in its sequence goes on
    with another epoch and sends again what has no answer (librdkafka does): that is counted, and not the server's doing."""
    for (where, id), places in h.places.items():
        write = h.writes.get(id)
        if len(places) > 1 and write and h.idempotent.get(write.producer):
            epochs = [h.producers.get((where, offset)) for offset in places]
            if None not in epochs and len(set(epochs)) == len(epochs):
                h.report.counts["resent"] += 1
                continue
            h.report.add(DUPLICATED, f"{where[0]}-{where[1]} offsets {sorted(places)}: {h.told(write)}")


def _consumers(h):
    """A consumer is given a partition's records one after the other, all of them."""
    for (consumer, where), reads in h.reads.items():
        next_offset = None
        for one in reads:
            if one is None:
                next_offset = None
                continue
            offset, id, t = one
            if next_offset is not None and offset != next_offset:
                if offset < next_offset:
                    h.report.add(SKIPPED, f"{at(where, offset)}: {consumer} was given it at {t:.3f} after {next_offset - 1}")
                else:
                    missed = [o for o in range(next_offset, offset) if o in h.final[where]]
                    h.report.add(SKIPPED, f"{at(where, next_offset)}: {consumer} was given {offset} at {t:.3f} instead, and "
                                          f"{len(missed)} of {offset - next_offset} are there at the end{h.around(t)}")
            next_offset = offset + 1
    for where, (start, next_offset) in h.ends.items():
        holes = [o for o in range(start, next_offset) if o not in h.final[where]]
        if holes:
            h.report.add(SKIPPED, f"{where[0]}-{where[1]} [{start}, {next_offset}) has no {holes[:5]} ({len(holes)} offsets)")


def _watermarks(h):
    highest = {}
    for where, offset, t in h.watermarks:
        if offset > highest.get(where, (-1, 0))[0]:
            highest[where] = (offset, t)
    for where, (offset, t) in highest.items():
        if where in h.ends and offset > h.ends[where][1]:
            h.report.add(WATERMARK, f"{where[0]}-{where[1]}: the high watermark was {offset} at {t:.3f}, and the log ends at "
                                    f"{h.ends[where][1]}{h.around(t)}")


def _replicas(h):
    for where, replicas in h.replicas.items():
        final = h.final.get(where, {})
        for broker, (start, records) in sorted(replicas.items()):
            missing = [o for o in final if o >= start and o not in records]
            other = [o for o in final if o in records and records[o] != final[o]]
            end = h.ends.get(where, (0, 0))[1]
            more = [o for o in records if o >= end]
            if missing:
                write = h.writes.get(final[min(missing)])
                h.report.add(DIVERGED, f"{at(where, min(missing))}: broker {broker} has it not on its disk, with {len(missing) - 1} "
                                       f"others: {h.told(write) if write else final[min(missing)]}")
            if other:
                o = min(other)
                h.report.add(DIVERGED, f"{at(where, o)}: broker {broker} has {records[o]} on its disk, was read as {final[o]}; "
                                       f"{len(other) - 1} others differ")
            if more:
                h.report.add(DIVERGED, f"{at(where, min(more))}: broker {broker} has {records[min(more)]} on its disk, beyond the "
                                       f"end {end}, and {len(more) - 1} others")


def _groups(h):
    """A group's offset is a register: what is read was written, and nothing was written after it and before the reading."""
    for key, asked in h.committed.items():
        group, topic, partition = key
        tried = h.commits.get(key, [])
        for began, ended, offset in asked:
            name = f"group {group} at {topic}-{partition}"
            # An answer that never came leaves a commit that may take place at any later time.
            same = [(t, acked if acked is not None else float("inf")) for t, o, acked in tried if o == offset and t <= ended]
            if offset < 0:
                same = [(0, 0)]
            if not same:
                h.report.add(GROUP, f"{name}: it was {offset} at {ended:.3f}, which nobody committed")
                continue
            latest = max(acked for _, acked in same)
            later = [(t, o, acked) for t, o, acked in tried if acked is not None and t > latest and acked < began]
            if later:
                t, o, acked = max(later)
                h.report.add(GROUP, f"{name}: {o} was acknowledged at {acked:.3f}, and it was {offset} at {ended:.3f}{h.around(ended)}")


def read_history(path):
    """Events of a file; a last line that was cut off when its writer was killed is not one."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    report = check(read_history(arguments[0]))
    print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
