"""The contract of `ports.LagReader`: on the fake, on the embedded broker and on a real Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.core.model import (
    Cluster,
    GroupState,
    IsolationLevel,
    PartitionOffsets,
    Reading,
    Trigger,
    TriggerOffsets,
    Unreadable,
)
from tests.contracts.kafka_fixtures import kafka_world, short_looks, transactional_world
from tests.contracts.kafka_worlds import NOW

if TYPE_CHECKING:
    from tests.contracts.kafka_worlds import KafkaWorld

__all__ = ["kafka_world", "short_looks", "transactional_world"]

UNREACHABLE = Cluster("127.0.0.1:1")


async def read_one(world: KafkaWorld, trigger: Trigger) -> Reading:
    """Read a single trigger."""
    return (await world.reader().read(trigger.cluster, [trigger], NOW))[trigger]


async def offsets(world: KafkaWorld, trigger: Trigger) -> tuple[PartitionOffsets, ...]:
    """Read the partitions of a single trigger that must be readable."""
    reading = await read_one(world, trigger)
    assert isinstance(reading, TriggerOffsets), reading
    return reading.partitions


async def test_every_partition_tells_its_end_and_what_was_committed(kafka_world: KafkaWorld) -> None:
    """Each partition of the topic is read, in order, also one without records and one without a commit."""
    topic = await kafka_world.create_topic(3)
    await kafka_world.produce(topic, 0, 5)
    await kafka_world.produce(topic, 1, 2)
    await kafka_world.commit("g", topic, 0, 3)
    await kafka_world.commit("g", topic, 1, 2)

    assert await offsets(kafka_world, Trigger(kafka_world.cluster, topic, "g")) == (
        PartitionOffsets(topic, 0, end=5, committed=3, log_start=0),
        PartitionOffsets(topic, 1, end=2, committed=2, log_start=None),
        PartitionOffsets(topic, 2, end=0, committed=None, log_start=0),
    )


async def test_a_commit_before_the_log_start_shows(kafka_world: KafkaWorld) -> None:
    """Where retention has passed the commit, the log start is told: only what is still there can be worked off."""
    topic = await kafka_world.create_topic()
    await kafka_world.produce(topic, 0, 10)
    await kafka_world.commit("g", topic, 0, 2)
    await kafka_world.trim(topic, 0, 7)

    (partition,) = await offsets(kafka_world, Trigger(kafka_world.cluster, topic, "g"))

    assert partition == PartitionOffsets(topic, 0, end=10, committed=2, log_start=7)


async def test_a_reading_is_stamped_with_the_moment_before_it(kafka_world: KafkaWorld) -> None:
    """`read_at` is the `now` that was given, so that the age of a reading is never understated."""
    topic = await kafka_world.create_topic()

    reading = await read_one(kafka_world, Trigger(kafka_world.cluster, topic, "g"))

    assert isinstance(reading, TriggerOffsets)
    assert reading.read_at == NOW


async def test_a_group_that_only_committed_is_empty(kafka_world: KafkaWorld) -> None:
    """A group with commits and without members is Empty with no members, which is known and not guessed."""
    topic = await kafka_world.create_topic()
    await kafka_world.commit("empty-group", topic, 0, 0)

    reading = await read_one(kafka_world, Trigger(kafka_world.cluster, topic, "empty-group"))

    assert isinstance(reading, TriggerOffsets)
    assert (reading.group_state, reading.members) == (GroupState.EMPTY, 0)


async def test_a_group_that_never_was_tells_nothing_of_members(kafka_world: KafkaWorld) -> None:
    """A group that nobody has heard of is Dead, and its members are unknown: other kinds of groups look the same."""
    topic = await kafka_world.create_topic()

    reading = await read_one(kafka_world, Trigger(kafka_world.cluster, topic, "never-was"))

    assert isinstance(reading, TriggerOffsets)
    assert (reading.group_state, reading.members) == (GroupState.DEAD, None)


async def test_the_topics_that_members_consume_are_told(kafka_world: KafkaWorld) -> None:
    """Also by a reading of another topic, on which the group has commits and no member; without members none is known.

    The real broker is asked about each protocol in tests/kafka/test_groups.py.
    """
    consumed, left = await kafka_world.create_topic(), await kafka_world.create_topic()
    group = kafka_world.new_group()
    await kafka_world.produce(left, 0, 5)
    await kafka_world.commit(group, left, 0, 2)
    before = await read_one(kafka_world, Trigger(kafka_world.cluster, left, group))

    async with kafka_world.consuming(consumed, group):
        during = await read_one(kafka_world, Trigger(kafka_world.cluster, left, group))

    assert isinstance(before, TriggerOffsets)
    assert isinstance(during, TriggerOffsets)
    assert before.consumed is None
    assert (during.group_state, during.consumed) == (GroupState.STABLE, frozenset({consumed}))


async def test_a_trigger_without_a_topic_is_told_those_of_the_group(kafka_world: KafkaWorld) -> None:
    """Wherever the group has committed and nowhere else, beside whatever triggers name a topic of the same group."""
    one, two, other = [await kafka_world.create_topic(2) for _ in range(3)]
    group, never = kafka_world.new_group(), kafka_world.new_group()
    await kafka_world.produce(one, 0, 5)
    await kafka_world.produce(other, 0, 5)
    await kafka_world.commit(group, one, 0, 3)
    await kafka_world.commit(group, two, 1, 0)
    named = Trigger(kafka_world.cluster, one, group)
    unnamed, unknown = (Trigger(kafka_world.cluster, "", each, topics_of_group=True) for each in (group, never))

    readings = await kafka_world.reader().read(kafka_world.cluster, [named, unnamed, unknown], NOW)

    found = {trigger: reading for trigger, reading in readings.items() if isinstance(reading, TriggerOffsets)}
    assert {trigger: reading.topics for trigger, reading in found.items()} == {
        named: None,
        unnamed: frozenset({one, two}),
        unknown: frozenset(),
    }
    assert (found[unnamed].partitions, found[unnamed].group_state) == ((), GroupState.EMPTY)
    assert [(partition.end, partition.committed) for partition in found[named].partitions] == [(5, 3), (0, None)]


async def test_a_group_without_a_topic_that_cannot_be_asked_for_is_unreadable(kafka_world: KafkaWorld) -> None:
    """No answer is never "no topics"."""
    trigger = Trigger(UNREACHABLE, "", "g", topics_of_group=True)

    assert isinstance((await kafka_world.reader().read(UNREACHABLE, [trigger], NOW))[trigger], Unreadable)


async def test_one_batch_answers_every_trigger_for_itself(kafka_world: KafkaWorld) -> None:
    """Triggers that share topics or groups do not get each other's offsets."""
    one, two = await kafka_world.create_topic(), await kafka_world.create_topic()
    await kafka_world.produce(one, 0, 4)
    await kafka_world.produce(two, 0, 8)
    for group, topic, offset in (("a", one, 1), ("a", two, 2), ("b", one, 3)):
        await kafka_world.commit(group, topic, 0, offset)
    triggers = {
        Trigger(kafka_world.cluster, one, "a"): (4, 1),
        Trigger(kafka_world.cluster, two, "a", index=1): (8, 2),
        Trigger(kafka_world.cluster, one, "b"): (4, 3),
        Trigger(kafka_world.cluster, two, "b"): (8, None),
    }

    readings = await kafka_world.reader().read(kafka_world.cluster, list(triggers), NOW)

    assert set(readings) == set(triggers)
    for trigger, expected in triggers.items():
        reading = readings[trigger]
        assert isinstance(reading, TriggerOffsets)
        assert [(partition.end, partition.committed) for partition in reading.partitions] == [expected]


async def test_a_topic_that_does_not_exist_touches_no_other(kafka_world: KafkaWorld) -> None:
    """It is unreadable with Kafka's error name, the topic and the place; its neighbour in the batch is read."""
    topic = await kafka_world.create_topic()
    missing = Trigger(kafka_world.cluster, "no-such-topic", "g")
    there = Trigger(kafka_world.cluster, topic, "g")

    readings = await kafka_world.reader().read(kafka_world.cluster, [missing, there], NOW)

    unreadable = readings[missing]
    assert isinstance(unreadable, Unreadable)
    assert unreadable.since == NOW
    assert unreadable.missing
    for part in ("UNKNOWN_TOPIC_OR_PARTITION", "'no-such-topic'", kafka_world.cluster.bootstrap_servers):
        assert part in unreadable.reason
    assert isinstance(readings[there], TriggerOffsets)


async def test_reading_does_not_create_a_topic(kafka_world: KafkaWorld) -> None:
    """Asking for a topic twice finds it missing twice."""
    trigger = Trigger(kafka_world.cluster, "still-no-such-topic", "g")

    assert isinstance(await read_one(kafka_world, trigger), Unreadable)
    assert isinstance(await read_one(kafka_world, trigger), Unreadable)


async def test_a_deleted_topic_becomes_unreadable(kafka_world: KafkaWorld) -> None:
    """What a reader has known of a topic does not outlive it."""
    topic = await kafka_world.create_topic()
    trigger, reader = Trigger(kafka_world.cluster, topic, "g"), kafka_world.reader()
    assert isinstance((await reader.read(kafka_world.cluster, [trigger], NOW))[trigger], TriggerOffsets)

    await kafka_world.delete_topic(topic)

    assert isinstance((await reader.read(kafka_world.cluster, [trigger], NOW))[trigger], Unreadable)


async def test_an_unreachable_cluster_is_a_value(kafka_world: KafkaWorld) -> None:
    """Every trigger of a cluster that does not answer is unreadable and names the address; nothing is raised."""
    triggers = [Trigger(UNREACHABLE, "orders", group) for group in ("a", "b")]

    readings = await kafka_world.reader().read(UNREACHABLE, triggers, NOW)

    for trigger in triggers:
        reading = readings[trigger]
        assert isinstance(reading, Unreadable)
        assert "127.0.0.1:1" in reading.reason
        assert not reading.missing


async def test_the_last_stable_offset_is_the_end_for_read_committed(transactional_world: KafkaWorld) -> None:
    """Records of an open transaction count for read_uncommitted alone."""
    world = transactional_world
    topic = await world.create_topic()
    await world.produce(topic, 0, 2)
    await world.open_transaction(topic)
    ends = {
        isolation: (await offsets(world, Trigger(world.cluster, topic, "g", isolation=isolation)))[0].end
        for isolation in IsolationLevel
    }
    await world.end_transaction(topic, commit=True)

    assert ends == {IsolationLevel.READ_UNCOMMITTED: 3, IsolationLevel.READ_COMMITTED: 2}


PROBES = [
    pytest.param(0, 3, True, id="records"),
    pytest.param(2, 3, True, id="the-last-record"),
    pytest.param(3, 3, False, id="nothing"),
]


@pytest.mark.parametrize(("start", "end", "expected"), PROBES)
async def test_a_probe_finds_records(kafka_world: KafkaWorld, start: int, end: int, expected: bool) -> None:  # noqa: FBT001
    """A range with a record in it is told from an empty one."""
    topic = await kafka_world.create_topic()
    await kafka_world.produce(topic, 0, 3)

    trigger = Trigger(kafka_world.cluster, topic, "g")

    assert await kafka_world.reader().probe(trigger, (topic, 0), start, end) is expected


async def test_a_probe_sees_through_markers_and_aborted_records(transactional_world: KafkaWorld) -> None:
    """A committed transaction is a record and a marker; an aborted one is nothing that a consumer is given."""
    world = transactional_world
    topic = await world.create_topic()
    await world.open_transaction(topic)
    await world.end_transaction(topic, commit=True)  # record 0, marker 1
    await world.open_transaction(topic)
    await world.end_transaction(topic, commit=False)  # aborted 2, marker 3
    trigger, reader = Trigger(world.cluster, topic, "g"), world.reader()

    found = {
        (start, end): await reader.probe(trigger, (topic, 0), start, end)
        for start, end in ((0, 4), (0, 1), (1, 2), (1, 4), (2, 4))
    }

    assert found == {(0, 4): True, (0, 1): True, (1, 2): False, (1, 4): False, (2, 4): False}


async def test_a_probe_of_what_cannot_be_read_tells_nothing(kafka_world: KafkaWorld) -> None:
    """Neither a missing topic nor an unreachable cluster is ever taken for "only markers"."""
    reader = kafka_world.reader()

    assert await reader.probe(Trigger(kafka_world.cluster, "no-such-topic", "g"), ("no-such-topic", 0), 0, 1) is None
    assert await reader.probe(Trigger(UNREACHABLE, "orders", "g"), ("orders", 0), 0, 1) is None
