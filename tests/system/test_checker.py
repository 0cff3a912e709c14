"""The checker itself: a good history passes, and each kind of failure is found and named, alone."""
import json

import pytest

import checker
from checker import check, read_history

pytestmark = pytest.mark.short


class Histories:
    """A history written by hand: t goes on by one with each event."""

    def __init__(self):
        self.events, self.t, self.sequences = [], 0.0, {}
        self.log = []  # what the partition has
        self.add("producer", producer="p", idempotent=True)
        self.add("producer", producer="plain", idempotent=False)

    def add(self, e, **fields):
        self.t += 1
        self.events.append({"e": e, "t": self.t, **fields})
        return self

    def invoke(self, id, producer="p", sequence=None, partition=0):
        n = self.sequences[producer] = self.sequences.get(producer, -1) + 1 if sequence is None else sequence
        return self.add("invoke", id=id, producer=producer, sequence=n, topic="t", partition=partition)

    def ack(self, id, offset):
        return self.add("ack", id=id, offset=offset)

    def written(self, id, producer="p"):
        """Invoked, written, acknowledged where it is."""
        self.invoke(id, producer).ack(id, len(self.log))
        self.log.append(id)
        return self

    def read(self, offset, id, consumer="c"):
        return self.add("read", consumer=consumer, topic="t", partition=0, offset=offset, id=id)

    def end(self, log=None, start=0):
        log = self.log if log is None else log
        for offset, id in enumerate(log, start):
            self.read(offset, id, "final")
        return self.add("end", topic="t", partition=0, start=start, next=start + len(log))

    def kinds(self):
        return dict(check(self.events).kinds)


@pytest.fixture
def h():
    return Histories()


def test_a_good_history_is_good(h):
    h.written("a").written("b").read(0, "a").read(1, "b").written("c", "plain").end()
    h.add("hw", topic="t", partition=0, offset=3)
    for broker in 1, 2, 3:
        h.add("replica", broker=broker, topic="t", partition=0, start=0, records=[[0, "a"], [1, "b"], [2, "c"]])
    report = check(h.events)
    assert report.good, report
    assert "3 produced: 3 acknowledged" in str(report) and str(report).endswith("good")


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("said", [True, False])
def test_an_unknown_outcome_may_appear_or_not(h, there, said):
    h.written("a").invoke("maybe")
    if said:
        h.add("unknown", id="maybe")
    assert h.end(["a", "maybe"] if there else ["a"]).kinds() == {}


def test_an_unknown_record_may_come_late(h):
    """After a delivery time-out a request that was under way can still arrive, behind the producer's next ones."""
    h.invoke("late").add("unknown", id="late").invoke("b").ack("b", 0)
    assert h.end(["b", "late"]).kinds() == {}


def test_a_failed_record_must_not_appear(h):
    h.invoke("no").add("fail", id="no")
    assert h.end([]).kinds() == {}
    assert h.end(["no"]).kinds() == {checker.UNASKED: 1}


def test_a_lost_acknowledged_record(h):
    h.written("a").written("b").add("fault", what="kill -9 broker 2").end(["a"])
    report = check(h.events)
    assert dict(report.kinds) == {checker.LOST: 1}
    assert "t-0 offset 1: b (producer p, its number 1" in str(report) and "the log ends at 1" in str(report)


def test_a_lost_record_names_the_fault_before_it(h):
    h.add("fault", what="kill -9 broker 2").written("a").end([])
    assert "last fault before: kill -9 broker 2" in str(check(h.events))


def test_a_lost_record_whose_acknowledgement_names_no_offset(h):
    h.invoke("a").ack("a", -1)
    assert h.end([]).kinds() == {checker.LOST: 1}


def test_an_acknowledgement_that_only_the_client_gave(h):
    """librdkafka's, of what went before a producer's first batch that a new leader took. In the middle it is a loss."""
    h.invoke("a").ack("a", -1).written("b").end(["b"])
    report = check(h.events)
    assert dict(report.kinds) == {} and report.counts["guessed"] == 1


def test_a_lost_record_in_the_middle_is_no_guess(h):
    h.written("a").invoke("b").ack("b", -1).written("c")
    assert h.end(["a", "c"]).kinds() == {checker.LOST: 1}


def test_an_acknowledgement_without_an_offset_is_good_anywhere(h):
    h.written("a").invoke("b").ack("b", -1)
    assert h.end(["a", "b"]).kinds() == {}


def test_a_partition_that_was_not_read_is_not_good(h):
    assert h.written("a").kinds() == {checker.UNREAD: 1}


def test_records_deleted_from_the_front_are_not_lost(h):
    assert h.written("a").written("b").end(["b"], start=1).kinds() == {}


def test_a_record_read_and_then_gone(h):
    h.written("a").invoke("b").read(1, "b")
    assert h.end(["a"]).kinds() == {checker.VANISHED: 1}


def test_an_offset_that_changed_its_record(h):
    """b was above the high watermark when it was read; another leader wrote c there."""
    h.written("a").invoke("b").read(1, "b").invoke("c", "plain").ack("c", 1)
    assert h.end(["a", "c"]).kinds() == {checker.CHANGED: 1}


def test_two_consumers_that_read_different_records(h):
    h.invoke("a").invoke("b", "plain").read(0, "a", "c1").read(0, "b", "c2")
    assert checker.CHANGED in h.end(["a"]).kinds()


def test_one_offset_acknowledged_for_two(h):
    h.invoke("a").invoke("b", "plain").ack("a", 0).ack("b", 0)
    assert h.end(["a"]).kinds() == {checker.CHANGED: 1, checker.LOST: 1}


def test_acknowledged_at_another_offset(h):
    h.invoke("x", "plain").add("unknown", id="x").invoke("a").ack("a", 5)
    assert h.end(["x", "a"]).kinds() == {checker.MOVED: 1}


def test_a_plain_producers_duplicate_is_its_own_affair(h):
    h.invoke("a", "plain").ack("a", 1)
    assert h.end(["a", "a"]).kinds() == {}


def test_an_idempotent_producers_duplicate(h):
    h.invoke("a").ack("a", 0)
    assert h.end(["a", "a"]).kinds() == {checker.DUPLICATED: 1}


def test_an_idempotent_producers_duplicate_of_unknown_outcome(h):
    h.invoke("a")
    assert h.end(["a", "a"]).kinds() == {checker.DUPLICATED: 1}


@pytest.mark.parametrize("second", [(7, 1), (8, 0), (7, 0)])
def test_a_record_that_its_producer_sent_again_in_another_epoch(h, second):
    """Told of a hole in its sequence, a client goes on so: the server could not know."""
    h.invoke("a").ack("a", 1).end(["a", "a"])
    h.add("replica", broker=1, topic="t", partition=0, start=0, records=[[0, "a", 7, 0], [1, "a", *second]])
    report = check(h.events)
    assert report.counts["resent"] == (second != (7, 0)) and dict(report.kinds) == ({checker.DUPLICATED: 1} if second == (7, 0) else {})


def test_a_reordering(h):
    h.invoke("a").invoke("b").ack("b", 0).ack("a", 1)
    assert h.end(["b", "a"]).kinds() == {checker.REORDERED: 1}


def test_records_in_flight_of_a_plain_producer_may_change_places(h):
    h.invoke("a", "plain").invoke("b", "plain").ack("b", 0).ack("a", 1)
    assert h.end(["b", "a"]).kinds() == {}


def test_a_record_before_what_was_acknowledged_before_it_was_asked_for(h):
    h.invoke("a", "plain").ack("a", 1).invoke("b", "other").ack("b", 0)
    assert h.end(["b", "a"]).kinds() == {checker.REORDERED: 1}


def test_a_reordering_that_only_the_final_read_shows(h):
    h.invoke("a").invoke("b").ack("a", -1).ack("b", -1)
    assert h.end(["b", "a"]).kinds() == {checker.REORDERED: 1}


def test_a_record_that_nobody_wrote(h):
    assert h.written("a").end(["a", "ghost"]).kinds() == {checker.UNASKED: 1}


def test_a_record_in_another_partition(h):
    h.invoke("a", partition=1)
    assert h.end(["a"]).kinds() == {checker.UNASKED: 1}


def test_a_record_read_before_it_was_asked_for(h):
    h.read(0, "a").invoke("a").ack("a", 0)
    assert h.end(["a"]).kinds() == {checker.UNASKED: 1}


def test_a_consumer_that_is_not_given_a_record(h):
    h.written("a").written("b").written("c").read(0, "a").read(2, "c")
    report = check(h.end().events)
    assert dict(report.kinds) == {checker.SKIPPED: 1} and "1 of 1 are there at the end" in str(report)


def test_a_consumer_that_is_given_a_record_again(h):
    h.written("a").written("b").read(0, "a").read(1, "b").read(0, "a")
    assert h.end().kinds() == {checker.SKIPPED: 1}


def test_a_consumer_that_starts_anew_may_start_anywhere(h):
    h.written("a").written("b").read(1, "b").add("position", consumer="c", topic="t", partition=0).read(0, "a")
    assert h.end().kinds() == {}


def test_a_hole_in_the_log(h):
    h.written("a").written("b").read(1, "b", "final").read(0, "a")
    h.add("end", topic="t", partition=0, start=0, next=2)
    assert h.kinds() == {checker.LOST: 1, checker.VANISHED: 1, checker.SKIPPED: 1}


def test_a_high_watermark_beyond_the_end(h):
    h.written("a").add("hw", topic="t", partition=0, offset=2)
    assert h.end().kinds() == {checker.WATERMARK: 1}


@pytest.mark.parametrize("records", [[[0, "a"]], [[0, "a"], [1, "x"]], [[0, "a"], [1, "b"], [2, "x"]]])
def test_replicas_that_differ(h, records):
    h.written("a").written("b").invoke("x").end()
    h.add("replica", broker=1, topic="t", partition=0, start=0, records=[[0, "a"], [1, "b"]])
    h.add("replica", broker=2, topic="t", partition=0, start=0, records=records)
    report = check(h.events)
    assert dict(report.kinds) == {checker.DIVERGED: 1} and "broker 2" in str(report)


def commits(h, *pairs):
    for offset, acked in pairs:
        h.add("commit", group="g", topic="t", partition=0, offset=offset, acked=h.t + 1.5 if acked else None)
        h.t += 1
    return h


def committed(h, offset):
    return h.add("committed", group="g", topic="t", partition=0, offset=offset, asked=h.t + 0.9).kinds()


def test_a_groups_offset_is_the_last_acknowledged_or_a_later_unknown_one(h):
    commits(h, (5, True), (9, True), (12, False))
    assert committed(h, 9) == {}
    assert committed(h, 12) == {}


@pytest.mark.parametrize("offset", [-1, 5, 10, 99])
def test_a_groups_offset_that_is_gone(h, offset):
    commits(h, (5, True), (9, True), (12, False))
    assert committed(h, offset) == {checker.GROUP: 1}


def test_a_commit_that_was_under_way_while_somebody_asked(h):
    h.add("commit", group="g", topic="t", partition=0, offset=5, acked=h.t + 10)
    assert committed(h, -1) == {}


def test_a_commit_that_was_under_way_with_a_later_one_may_come_after_it(h):
    """Their order is the client's affair: it sends again what failed."""
    for offset, t, acked in (5, 1, 9), (7, 2, 8):
        h.events.append({"e": "commit", "group": "g", "topic": "t", "partition": 0, "offset": offset, "t": t, "acked": acked})
    h.t = 20
    assert committed(h, 5) == {} and committed(h, 7) == {}
    h.events.append({"e": "commit", "group": "g", "topic": "t", "partition": 0, "offset": 9, "t": 10, "acked": 11})
    assert committed(h, 5) == {checker.GROUP: 3}  # all three readings came after 9


def test_values_are_unique(h):
    with pytest.raises(ValueError, match="a is produced twice"):
        h.invoke("a").invoke("a").kinds()


def test_many_of_a_kind_are_counted_and_not_all_told(h):
    for i in range(100):
        h.written(f"v{i}")
    text = str(check(h.end([]).events))
    assert "lost: 80 more" in text and "BAD: 100 lost" in text and text.count("\n") < 30


def test_a_history_from_a_file(h, tmp_path, capsys):
    h.written("a").end([])
    path = tmp_path / "history"
    path.write_text("".join(json.dumps(e) + "\n" for e in h.events) + '{"e": "inv')
    assert len(list(read_history(path))) == len(h.events)
    assert checker.main([str(path)]) == 1 and "BAD: 1 lost" in capsys.readouterr().out
    assert checker.main([]) == 2
