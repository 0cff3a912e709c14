"""Consumer groups: members come and go, offsets are kept, and nobody reads a partition twice at once."""
import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from support.clients import Consumer, Member, admin, create_topic, done, poll_until, produce, values
from support.wait import wait_for


def partitions(topic, count):
    return {(topic, p) for p in range(count)}


def shared_out(members, topic, count):
    """Each partition has exactly one owner, and everyone has a share."""
    every = [p for member in members for p in member.assigned]
    return len(every) == count and set(every) == partitions(topic, count) and all(member.assigned for member in members)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_come_and_go(server, name, strategy):
    create_topic(server, name, partitions=6)
    how = {"partition_assignment_strategy": strategy}
    first = Member(server, name, [name], **how)
    poll_until([first], lambda: first.assigned == partitions(name, 6), "one member has all")
    second = Member(server, name, [name], **how)
    poll_until([first, second], lambda: shared_out([first, second], name, 6), "two share")
    third = Member(server, name, [name], **how)
    everyone = [first, second, third]
    poll_until(everyone, lambda: shared_out(everyone, name, 6), "three share")
    if strategy == "cooperative-sticky":
        assert all(len(gone) < 6 for gone in first.revoked), "cooperative members never give up everything"
    second.close()
    poll_until([first, third], lambda: shared_out([first, third], name, 6), "the rest takes over")
    sent = [str(i).encode() for i in range(600)]
    produce(server, name, sent, keys=sent)
    poll_until([first, third], lambda: len(first.messages) + len(third.messages) >= 600, "all is read")
    assert sorted(values(first.messages + third.messages), key=int) == sent
    first.close()
    third.close()


def test_commit_and_resume(server, name):
    create_topic(server, name, partitions=2)
    produce(server, name, [str(i).encode() for i in range(100)], partition=0)
    first = Member(server, name, [name])
    poll_until([first], lambda: len(first.messages) == 100, "all is read")
    first.consumer.commit(offsets=[TopicPartition(name, 0, 40, metadata="half way")], asynchronous=False)
    first.close()
    second = Member(server, name, [name])
    poll_until([second], lambda: len(second.messages) == 60, "the rest is read")
    assert values(second.messages) == [str(i).encode() for i in range(40, 100)]
    committed = second.consumer.committed([TopicPartition(name, 0), TopicPartition(name, 1)], 20)
    assert [(c.offset, c.metadata) for c in committed] == [(40, "half way"), (-1001, None)]
    second.close()


def test_a_silent_member_is_left_out(server, name):
    """A member whose process stops is noticed by its session; the other goes on with its partitions."""
    from support import wire
    create_topic(server, name, partitions=4)
    first = Member(server, name, [name])
    poll_until([first], lambda: len(first.assigned) == 4, "one member has all")
    # A member by hand, that joins and never says another word.
    import struct
    subscription = struct.pack(">hi", 0, 1) + wire.string(name) + struct.pack(">i", 0)
    join = (wire.string(name) + struct.pack(">ii", 2000, 5000) + wire.string("") + wire.string("consumer") + struct.pack(">i", 2)
            + b"".join(wire.string(s) + struct.pack(">i", len(subscription)) + subscription for s in ("range", "roundrobin")))
    with server.connection() as silent:
        silent.send(11, 1, join)
        rounds = first.rebalances
        poll_until([first], lambda: first.rebalances > rounds and len(first.assigned) < 4, "it gets a share")
        poll_until([first], lambda: len(first.assigned) == 4, "its share comes back")
    first.close()


def test_static_member_restarts_without_a_rebalance(server, name):
    create_topic(server, name, partitions=4)
    how = {"session_timeout_ms": 20000}
    one, two = (Member(server, name, [name], group_instance_id=f"i{i}", client_id=f"c{i}", **how) for i in (1, 2))
    poll_until([one, two], lambda: shared_out([one, two], name, 4), "both have a share")
    had, rounds = set(two.assigned), one.rebalances
    two.close()  # a static member leaves without a word
    again = Member(server, name, [name], group_instance_id="i2", client_id="c2", **how)
    poll_until([one, again], lambda: again.assigned, "it is back")
    assert again.assigned == had and one.rebalances == rounds
    described = done(admin(server).describe_consumer_groups([name]))[name]
    assert sorted(member.group_instance_id for member in described.members) == ["i1", "i2"]
    one.close()
    again.close()


def test_static_member_is_fenced_by_its_successor(server, name):
    create_topic(server, name, partitions=2)
    errors = []
    how = {"group_instance_id": "same", "session_timeout_ms": 20000}
    old = Member(server, name, [name], **how, error_cb=errors.append)
    poll_until([old], lambda: old.assigned, "the first has all")
    new = Member(server, name, [name], **how)
    fatal = []

    def fenced():
        new.poll()
        message = old.consumer.poll(0.1)
        fatal.extend([message.error()] if message is not None and message.error() else [])
        return new.assigned and any(e.code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID) for e in fatal + errors)

    wait_for(fenced, "the old one is fenced", 40, pause=0)
    new.close()
    old.close()


def test_describe_list_delete(server, name):
    create_topic(server, name, partitions=3)
    produce(server, name, [b"x"] * 30)
    member = Member(server, name, [name], client_id="the-client")
    poll_until([member], lambda: len(member.messages) == 30, "all is read")
    member.consumer.commit(asynchronous=False)
    client = admin(server)
    described = done(client.describe_consumer_groups([name]))[name]
    assert described.state == ConsumerGroupState.STABLE and described.partition_assignor == "range"
    assert [m.client_id for m in described.members] == ["the-client"]
    assert {(p.topic, p.partition) for p in described.members[0].assignment.topic_partitions} == partitions(name, 3)
    listed = client.list_consumer_groups().result(20)
    assert (name, ConsumerGroupState.STABLE) in {(g.group_id, g.state) for g in listed.valid}
    with pytest.raises(KafkaException) as refused:
        done(client.delete_consumer_groups([name]))
    assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    member.close()
    wait_for(lambda: done(client.describe_consumer_groups([name]))[name].state == ConsumerGroupState.EMPTY, "the group is empty")
    offsets = done(client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]))[name]
    assert sum(p.offset for p in offsets.topic_partitions if p.offset > 0) == 30
    done(client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, [TopicPartition(name, p, 2) for p in range(3)])]))
    offsets = done(client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]))[name]
    assert [p.offset for p in sorted(offsets.topic_partitions)] == [2, 2, 2]
    done(client.delete_consumer_groups([name]))
    assert done(client.describe_consumer_groups([name]))[name].state == ConsumerGroupState.DEAD
    with pytest.raises(KafkaException) as refused:
        done(client.delete_consumer_groups([name]))
    assert refused.value.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def test_committing_from_a_stranger_is_refused(server, name):
    create_topic(server, name)
    produce(server, name, [b"x"])
    member = Member(server, name, [name])
    poll_until([member], lambda: member.messages, "it reads")
    stranger = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name})
    with pytest.raises(KafkaException) as refused:
        stranger.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
    assert refused.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
    stranger.close()
    member.close()


def test_offsets_of_a_group_without_members(server, name):
    """assign() and commit: a group only for its offsets."""
    create_topic(server, name, partitions=2)
    produce(server, name, [b"x"] * 10, partition=1)
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(name, 1, 7)], asynchronous=False)
    assert [c.offset for c in consumer.committed([TopicPartition(name, 0), TopicPartition(name, 1)], 20)] == [-1001, 7]
    consumer.close()


def test_offset_delete(server, name):
    import kafka
    create_topic(server, name, partitions=2)
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(name, 0, 3), TopicPartition(name, 1, 4)], asynchronous=False)
    from support.tools import kafka as run_kafka
    run_kafka("3.9.1", "kafka-consumer-groups", "--bootstrap-server", server.bootstrap, "--delete-offsets", "--group", name,
              "--topic", f"{name}:0")
    assert [c.offset for c in consumer.committed([TopicPartition(name, 0), TopicPartition(name, 1)], 20)] == [-1001, 4]
    consumer.close()
    assert kafka.__version__


def test_committed_offsets_and_groups_survive_a_restart(make_server, name):
    server = make_server()
    create_topic(server, name, partitions=2)
    produce(server, name, [str(i).encode() for i in range(50)], partition=0)
    member = Member(server, name, [name], client_id="before")
    poll_until([member], lambda: len(member.messages) == 50, "all is read")
    member.consumer.commit(offsets=[TopicPartition(name, 0, 20, metadata="m")], asynchronous=False)
    server.restart_broker()
    # The same member goes on after the restart, in the same group.
    produce(server, name, [b"after"], partition=0)
    poll_until([member], lambda: b"after" in values(member.messages), "the member goes on", 60)
    member.close()
    again = Member(server, name, [name])
    poll_until([again], lambda: len(again.messages) >= 31, "the rest is read")
    assert values(again.messages)[:30] == [str(i).encode() for i in range(20, 50)]
    again.close()
    server.kill_broker()
    server.start_broker()
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": name})
    committed = wait_for(lambda: consumer.committed([TopicPartition(name, 0)], 20), "offsets are loaded")
    assert (committed[0].offset, committed[0].metadata) == (20, "m")
    consumer.close()
