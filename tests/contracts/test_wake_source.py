"""The contract of `ports.WakeSource`: on the fake, on the embedded broker and on a real Kafka.

That something is not pushed is shown by what is pushed next: a later record's push comes first.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from activator.core.model import Cluster, IsolationLevel, Push, PushSource
from tests.contracts.kafka_fixtures import kafka_world, short_looks, transactional_world
from tests.contracts.kafka_worlds import NOW, OTHER_REF, REF, Pushes

if TYPE_CHECKING:
    from tests.contracts.kafka_worlds import KafkaWorld

__all__ = ["kafka_world", "short_looks", "transactional_world"]

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_record_is_pushed_with_its_place_and_trace(kafka_world: KafkaWorld) -> None:
    """A push names cluster, topic, partition and offset, and carries the record's traceparent."""
    topic, pushes = await kafka_world.create_topic(2), Pushes()
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 0, (topic, 1): 0})
        await kafka_world.produce(topic, 1, traceparent=TRACEPARENT)

        assert await pushes.next() == Push(
            bootstrap_servers=kafka_world.cluster.bootstrap_servers,
            topic=topic,
            source=PushSource.TAIL,
            seen_at=NOW,
            partition=1,
            offset=0,
            traceparent=TRACEPARENT,
        )


async def test_a_record_that_is_there_already_is_pushed(kafka_world: KafkaWorld) -> None:
    """What came between the lag read and the join is not missed: the offset decides, not the moment."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    await kafka_world.produce(topic, 0, 3)
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 2})

        assert (await pushes.next()).offset == 2


async def test_no_push_is_made_inside_join(kafka_world: KafkaWorld) -> None:
    """A listener is called in a turn of the loop of its own, never from within its own call."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    await kafka_world.produce(topic)
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 0})

        assert pushes.all == []
        await pushes.next()


async def test_what_was_read_before_is_not_pushed(kafka_world: KafkaWorld) -> None:
    """Records before the joined offset push nothing; the first at it does."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    await kafka_world.produce(topic, 0, 4)
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 4})
        await kafka_world.produce(topic)

        assert (await pushes.next()).offset == 4


async def test_two_targets_on_one_topic_are_pushed_each_at_its_own_offset(kafka_world: KafkaWorld) -> None:
    """A target that joins before offsets that another has passed gets a push at its own, at once."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    await kafka_world.produce(topic, 0, 5)
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 5})
        await kafka_world.produce(topic)
        assert (await pushes.next()).offset == 5

        source.join(OTHER_REF, kafka_world.cluster, {(topic, 0): 1})

        assert (await pushes.next()).offset == 1


async def test_a_target_that_left_is_not_pushed(kafka_world: KafkaWorld) -> None:
    """After leave its topics push nothing; leaving twice is no error."""
    left, kept, pushes = await kafka_world.create_topic(), await kafka_world.create_topic(), Pushes()
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(left, 0): 0})
        source.join(OTHER_REF, kafka_world.cluster, {(kept, 0): 0})
        source.leave(REF)
        source.leave(REF)
        await kafka_world.produce(left)
        await kafka_world.produce(kept)

        assert (await pushes.next()).topic == kept


async def test_joining_again_replaces_what_was_watched(kafka_world: KafkaWorld) -> None:
    """A second join of a target on a cluster is the only one that holds."""
    before, after, pushes = await kafka_world.create_topic(), await kafka_world.create_topic(), Pushes()
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(before, 0): 0})
        source.join(REF, kafka_world.cluster, {(after, 0): 0})
        await kafka_world.produce(before)
        await kafka_world.produce(after)

        assert (await pushes.next()).topic == after


async def test_a_target_is_pushed_again_after_it_has_slept_again(kafka_world: KafkaWorld) -> None:
    """Wake, leave, join at the new end: the next record pushes like the first."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    async with kafka_world.watching(pushes) as source:
        for round_number in range(3):
            source.join(REF, kafka_world.cluster, {(topic, 0): round_number})
            await kafka_world.produce(topic)
            assert (await pushes.next()).offset == round_number
            source.leave(REF)


async def test_a_burst_is_pushed_seldom(kafka_world: KafkaWorld) -> None:
    """A stream of records to a target that stays asleep does not become a stream of pushes as long."""
    topic, other, pushes = await kafka_world.create_topic(), await kafka_world.create_topic(), Pushes()
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 0})
        source.join(OTHER_REF, kafka_world.cluster, {(other, 0): 0})
        began = time.monotonic()
        for _ in range(20):
            await kafka_world.produce(topic)
        await kafka_world.produce(other)
        await pushes.next_of(other)

        # One a second, and a burst may take a busy machine some seconds.
        assert 1 <= sum(push.topic == topic for push in pushes.all) <= 5 + time.monotonic() - began


async def test_a_partition_that_a_topic_gains_is_watched_from_its_beginning(kafka_world: KafkaWorld) -> None:
    """Records in a new partition wake the target, also those that came before anybody saw the partition."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 0})
        await kafka_world.grow_topic(topic, 3)
        await kafka_world.produce(topic, 2)

        push = await pushes.next()

        assert (push.partition, push.offset) == (2, 0)


async def test_records_of_a_recreated_topic_are_pushed(kafka_world: KafkaWorld) -> None:
    """A topic deleted and made anew has other records: their offsets compare with nothing that was known before.

    So the push names none, also where the new log was seen while still empty.
    """
    topic, pushes = await kafka_world.create_topic(), Pushes()
    await kafka_world.produce(topic, 0, 10)
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 10})
        await kafka_world.delete_topic(topic)
        await kafka_world.create_topic(name=topic)
        await kafka_world.produce(topic)

        push = await pushes.next()

        assert (push.topic, push.partition) == (topic, 0)
        assert push.offset is None


async def test_a_trimmed_log_is_watched_on(kafka_world: KafkaWorld) -> None:
    """Retention that passes the joined offset costs nothing: what comes after it is pushed."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    await kafka_world.produce(topic, 0, 5)
    await kafka_world.trim(topic, 0, 5)
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 2})
        await kafka_world.produce(topic)

        assert (await pushes.next()).offset == 5


async def test_an_unreachable_cluster_keeps_no_other_from_pushing(kafka_world: KafkaWorld) -> None:
    """A cluster that does not answer is waited for in silence."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    async with kafka_world.watching(pushes) as source:
        source.join(OTHER_REF, Cluster("127.0.0.1:1"), {("orders", 0): 0})
        source.join(REF, kafka_world.cluster, {(topic, 0): 0})
        await kafka_world.produce(topic)

        assert (await pushes.next()).topic == topic


async def test_markers_and_aborted_records_wake_nobody(transactional_world: KafkaWorld) -> None:
    """For read_committed an aborted transaction pushes nothing; the record behind its marker does."""
    world, pushes = transactional_world, Pushes()
    topic = await world.create_topic()
    async with world.watching(pushes) as source:
        source.join(REF, world.cluster, {(topic, 0): 0}, IsolationLevel.READ_COMMITTED)
        await world.open_transaction(topic)
        await world.end_transaction(topic, commit=False)
        await world.produce(topic)

        assert (await pushes.next()).offset == 2


async def test_read_committed_waits_for_the_commit(transactional_world: KafkaWorld) -> None:
    """While a transaction is open its records push read_uncommitted targets alone, and on commit the others."""
    world, pushes = transactional_world, Pushes()
    topic = await world.create_topic()
    async with world.watching(pushes) as source:
        source.join(REF, world.cluster, {(topic, 0): 0}, IsolationLevel.READ_COMMITTED)
        await world.open_transaction(topic)
        source.join(OTHER_REF, world.cluster, {(topic, 0): 0})
        await pushes.next()
        source.leave(OTHER_REF)
        pushes.all.clear()
        await world.end_transaction(topic, commit=True)

        assert (await pushes.next()).offset == 0
        assert len(pushes.all) == 1


async def test_nothing_is_pushed_after_the_end(kafka_world: KafkaWorld) -> None:
    """A source that was stopped leaves no task behind that still pushes."""
    topic, pushes = await kafka_world.create_topic(), Pushes()
    async with kafka_world.watching(pushes) as source:
        source.join(REF, kafka_world.cluster, {(topic, 0): 0})
        await kafka_world.produce(topic)
        await pushes.next()
        source.leave(REF)
    before = len(asyncio.all_tasks())

    await kafka_world.produce(topic)

    assert len(pushes.all) == 1
    assert len(asyncio.all_tasks()) <= before
