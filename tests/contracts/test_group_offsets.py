"""The contract of `ports.GroupOffsets`: on the fake, on the embedded broker and on a real Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.core.model import Cluster, GroupState, Trigger, TriggerOffsets
from activator.errors import ConflictError, NotFoundError, UnavailableError
from activator.kafka import commits
from tests.contracts.kafka_fixtures import (
    forgetful_kafka_bootstrap_servers,
    forgetful_world,
    kafka_world,
    short_looks,
)
from tests.contracts.kafka_worlds import NOW

if TYPE_CHECKING:
    from tests.contracts.kafka_worlds import KafkaWorld

__all__ = ["forgetful_kafka_bootstrap_servers", "forgetful_world", "kafka_world", "short_looks"]

UNREACHABLE = Cluster("127.0.0.1:1")


async def committed(world: KafkaWorld, topic: str, group: str) -> tuple[list[int | None], GroupState]:
    """What a group has committed on each partition, and its state."""
    trigger = Trigger(world.cluster, topic, group)
    reading = (await world.reader().read(world.cluster, [trigger], NOW))[trigger]
    assert isinstance(reading, TriggerOffsets), reading
    return [partition.committed for partition in reading.partitions], reading.group_state


async def topic_id(world: KafkaWorld, topic: str) -> str | None:
    """Which topic has this name."""
    trigger = Trigger(world.cluster, topic, "g")
    reading = (await world.reader().read(world.cluster, [trigger], NOW))[trigger]
    assert isinstance(reading, TriggerOffsets), reading
    return reading.topic_id


async def test_a_group_that_never_was_gets_its_offsets(kafka_world: KafkaWorld) -> None:
    """The group exists from then on: Empty, with what was committed for it and nothing else."""
    topic, group = await kafka_world.create_topic(3), kafka_world.new_group()
    await kafka_world.produce(topic, 1, 7)

    made = await kafka_world.group_offsets().commit_missing(kafka_world.cluster, group, topic, {0: 0, 1: 5})

    assert made == {0: 0, 1: 5}
    assert await committed(kafka_world, topic, group) == ([0, 5, None], GroupState.EMPTY)


async def test_a_commit_that_is_there_is_never_moved(kafka_world: KafkaWorld) -> None:
    """Only what is missing is committed, and what is there is told."""
    topic, group = await kafka_world.create_topic(2), kafka_world.new_group()
    await kafka_world.produce(topic, 0, 9)
    await kafka_world.commit(group, topic, 0, 3)

    there = await kafka_world.group_offsets().commit_missing(kafka_world.cluster, group, topic, {0: 9, 1: 0})

    assert there == {0: 3, 1: 0}
    assert await committed(kafka_world, topic, group) == ([3, 0], GroupState.EMPTY)


async def test_a_commit_that_the_log_start_has_passed_is_moved_to_it(kafka_world: KafkaWorld) -> None:
    """Only there, and only one that lies before it: whoever has reset it meanwhile wins."""
    topic, group = await kafka_world.create_topic(3), kafka_world.new_group()
    for number, offset in enumerate((3, 3, 8)):
        await kafka_world.produce(topic, number, 9)
        await kafka_world.commit(group, topic, number, offset)
        await kafka_world.trim(topic, number, 7)

    there = await kafka_world.group_offsets().commit_missing(
        kafka_world.cluster, group, topic, {0: 7, 1: 7, 2: 7}, passed={0, 2}
    )

    assert there == {0: 7, 1: 3, 2: 8}
    assert await committed(kafka_world, topic, group) == ([7, 3, 8], GroupState.EMPTY)


async def test_offsets_on_one_topic_touch_no_other(kafka_world: KafkaWorld) -> None:
    """A group may read several topics."""
    one, two, group = await kafka_world.create_topic(), await kafka_world.create_topic(), kafka_world.new_group()

    for topic, offset in ((one, 1), (two, 2)):
        await kafka_world.group_offsets().commit_missing(kafka_world.cluster, group, topic, {0: offset})

    assert [(await committed(kafka_world, topic, group))[0] for topic in (one, two)] == [[1], [2]]


async def test_more_partitions_than_one_request_takes(kafka_world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are committed."""
    monkeypatch.setattr(commits, "COMMITS_PER_REQUEST", 7)
    topic, group = await kafka_world.create_topic(30), kafka_world.new_group()

    await kafka_world.group_offsets().commit_missing(
        kafka_world.cluster, group, topic, {number: number for number in range(30)}
    )

    assert (await committed(kafka_world, topic, group))[0] == list(range(30))


async def test_offsets_of_a_topic_that_was_recreated_are_refused(kafka_world: KafkaWorld) -> None:
    """A topic's id tells it from another of the same name: they are offsets of another log."""
    topic, group = await kafka_world.create_topic(), kafka_world.new_group()
    first = await topic_id(kafka_world, topic)
    await kafka_world.delete_topic(topic)
    await kafka_world.create_topic(name=topic)
    second = await topic_id(kafka_world, topic)
    assert None not in {first, second}
    assert first != second

    offsets = kafka_world.group_offsets()
    with pytest.raises(NotFoundError, match="recreated"):
        await offsets.commit_missing(kafka_world.cluster, group, topic, {0: 5}, topic_id=first)
    assert (await committed(kafka_world, topic, group))[0] == [None]
    assert await offsets.commit_missing(kafka_world.cluster, group, topic, {0: 0}, topic_id=second) == {0: 0}


async def test_a_group_with_members_commits_for_itself(kafka_world: KafkaWorld) -> None:
    """While somebody consumes, the broker refuses, and nothing is committed."""
    topic, group = await kafka_world.create_topic(2), kafka_world.new_group()
    offsets = kafka_world.group_offsets()
    async with kafka_world.consuming(topic, group):
        with pytest.raises(ConflictError, match=group):
            await offsets.commit_missing(kafka_world.cluster, group, topic, {0: 0})
        assert (await committed(kafka_world, topic, group))[0] == [None, None]

    assert await offsets.commit_missing(kafka_world.cluster, group, topic, {0: 0}) == {0: 0}


async def test_commits_again_stand_where_they_stood(kafka_world: KafkaWorld) -> None:
    """A commit that is there is committed as it is, one that is missing as it is kept."""
    topic, group = await kafka_world.create_topic(2), kafka_world.new_group()
    await kafka_world.produce(topic, 0, 9)
    await kafka_world.commit(group, topic, 0, 3)

    there = await kafka_world.group_offsets().commit_again(kafka_world.cluster, group, topic, {0: 9, 1: 0})

    assert there == {0: 3, 1: 0}
    assert await committed(kafka_world, topic, group) == ([3, 0], GroupState.EMPTY)


async def test_what_is_committed_for_a_group_outlasts_its_retention(forgetful_world: KafkaWorld) -> None:
    """It counts from when the last member left, also for what is committed after that, unless that brings its own.

    Where only what was missing is committed, what was there expires as before.
    """
    world = forgetful_world
    topic, again, missing = await world.create_topic(2), world.new_group(), world.new_group()
    for group in (again, missing):
        await world.commit(group, topic, 0, 5)
        async with world.consuming(topic, group):
            pass
    offsets = world.group_offsets()

    assert await offsets.commit_again(world.cluster, again, topic, {0: 9, 1: 3}) == {0: 5, 1: 3}
    assert await offsets.commit_missing(world.cluster, missing, topic, {0: 9, 1: 3}) == {0: 5, 1: 3}
    await world.pass_retention(topic, missing)

    assert await committed(world, topic, again) == ([5, 3], GroupState.EMPTY)
    assert await committed(world, topic, missing) == ([None, 3], GroupState.EMPTY)


async def test_a_group_with_members_is_not_committed_for_again(kafka_world: KafkaWorld) -> None:
    """The broker refuses: what its members commit is newer."""
    topic, group = await kafka_world.create_topic(), kafka_world.new_group()
    async with kafka_world.consuming(topic, group):
        with pytest.raises(ConflictError, match=group):
            await kafka_world.group_offsets().commit_again(kafka_world.cluster, group, topic, {0: 0})


async def test_a_check_leaves_nothing_behind(kafka_world: KafkaWorld) -> None:
    """It only finds out whether we may; also of a group with members, and of one that does not exist."""
    topic, group = await kafka_world.create_topic(), kafka_world.new_group()
    offsets = kafka_world.group_offsets()

    await offsets.check(kafka_world.cluster, group, topic)
    assert await committed(kafka_world, topic, group) == ([None], GroupState.DEAD)
    async with kafka_world.consuming(topic, group):
        await offsets.check(kafka_world.cluster, group, topic)

    assert (await committed(kafka_world, topic, group))[0] == [None]


async def test_an_unreachable_cluster_is_told(kafka_world: KafkaWorld) -> None:
    """It names the address."""
    offsets = kafka_world.group_offsets()
    with pytest.raises(UnavailableError, match=UNREACHABLE.bootstrap_servers):
        await offsets.commit_missing(UNREACHABLE, "g", "orders", {0: 0})
    with pytest.raises(UnavailableError, match=UNREACHABLE.bootstrap_servers):
        await offsets.check(UNREACHABLE, "g", "orders")
