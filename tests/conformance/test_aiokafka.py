"""aiokafka, as the product and its users' consumers use it: against the embedded broker and against a real Kafka."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, admin
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from activator.local.broker.protocol import ErrorCode
from tests.conformance.world import FIRST_MS, UNKNOWN, World
from tests.contracts.kafka_worlds import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# aiokafka's classes carry no types: what they return is looked at by the tests themselves.
_Producer: Any = AIOKafkaProducer
_Consumer: Any = AIOKafkaConsumer
_admin: Any = admin

SOON_SECONDS = 20.0
RECORDS = 60


@asynccontextmanager
async def producing(world: World, **settings: Any) -> AsyncIterator[Any]:
    """A started producer."""
    producer: Any = _Producer(bootstrap_servers=world.bootstrap_servers, **settings)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming(world: World, *topics: str, **settings: Any) -> AsyncIterator[Any]:
    """A started consumer, in the world's group unless told otherwise."""
    chosen = {
        "group_id": world.group,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "heartbeat_interval_ms": 200,
        "session_timeout_ms": 6000,
        "metadata_max_age_ms": 5000,
        **settings,
    }
    consumer: Any = _Consumer(*topics, bootstrap_servers=world.bootstrap_servers, **chosen)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def administering(world: World) -> AsyncIterator[Any]:
    """A started admin client."""
    client = _admin.AIOKafkaAdminClient(bootstrap_servers=world.bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def read(consumer: Any, count: int) -> list[bytes]:
    """The next values, in any order of partitions."""
    async with asyncio.timeout(SOON_SECONDS):
        return [(await consumer.getone()).value for _ in range(count)]


async def soon(check: Callable[[], bool]) -> None:
    """Until `check` holds."""
    async with asyncio.timeout(SOON_SECONDS):
        while not check():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("idempotent", [False, True])
async def test_records_come_out_as_they_went_in(world: World, codec: str | None, idempotent: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """Every value with its key and headers, whatever the codec."""
    topic = world.new_topic(3)
    values = [f"{codec}-{number}".encode() * 10 for number in range(RECORDS)]
    async with producing(world, compression_type=codec, enable_idempotence=idempotent) as producer:
        await asyncio.gather(*[await producer.send(topic, value, key=value) for value in values])
    async with consuming(world, topic) as consumer:
        assert sorted(await read(consumer, RECORDS)) == sorted(values)


@pytest.mark.parametrize("assignor", [RoundRobinPartitionAssignor, StickyPartitionAssignor])
async def test_two_members_share_three_partitions(world: World, assignor: type) -> None:
    """Each gets a part, together they have all, and who stays takes over what the other left."""
    settings = {"partition_assignment_strategy": [assignor]}
    async with consuming(world, world.topic, **settings) as first:
        await soon(lambda: len(first.assignment()) == 3)
        async with consuming(world, world.topic, **settings) as second:
            await soon(lambda: sorted((len(first.assignment()), len(second.assignment()))) == [1, 2])
            assert {part.partition for part in (*first.assignment(), *second.assignment())} == {0, 1, 2}
        await soon(lambda: len(first.assignment()) == 3)


async def test_a_consumer_goes_on_where_its_group_left(world: World) -> None:
    """What was committed is not read again."""
    async with consuming(world, world.topic) as consumer:
        assert len(await read(consumer, 8)) == 8
        await consumer.commit()
    async with producing(world) as producer:
        await producer.send_and_wait(world.topic, b"new", partition=1)
    async with consuming(world, world.topic) as consumer:
        assert await read(consumer, 1) == [b"new"]
        assert await consumer.committed(TopicPartition(world.topic, 0)) == 5


async def test_a_waiting_consumer_gets_a_record_at_once(world: World) -> None:
    """A long poll of a minute ends with the record, not with the minute."""
    async with (
        consuming(world, world.topic, fetch_max_wait_ms=60_000, auto_offset_reset="latest") as consumer,
        producing(world) as producer,
    ):
        await soon(lambda: bool(consumer.assignment()))
        for part in consumer.assignment():
            await consumer.position(part)
        waiting = asyncio.create_task(consumer.getone())
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await producer.send_and_wait(world.topic, b"now", partition=1)
        assert (await asyncio.wait_for(waiting, SOON_SECONDS)).value == b"now"
        assert time.monotonic() - began < SOON_SECONDS


async def test_offsets_by_time(world: World) -> None:
    """Beginning, end, and the first offset at or after a time."""
    part = TopicPartition(world.topic, 0)
    async with consuming(world, group_id=None) as consumer:
        consumer.assign([part])
        assert await consumer.beginning_offsets([part]) == {part: 0}
        assert await consumer.end_offsets([part]) == {part: 5}
        found = await consumer.offsets_for_times({part: FIRST_MS + 3})
        assert (found[part].offset, found[part].timestamp) == (3, FIRST_MS + 3)


async def test_log_append_time_replaces_the_records_own(world: World) -> None:
    """Where the topic says so, producer and consumer see the broker's clock."""
    topic = world.new_topic(1, message_timestamp_type="LogAppendTime")
    async with producing(world) as producer:
        sent = await producer.send_and_wait(topic, b"x", timestamp_ms=1)
    async with consuming(world, topic) as consumer:
        message = await asyncio.wait_for(consumer.getone(), SOON_SECONDS)
    assert sent.timestamp == message.timestamp > FIRST_MS
    assert (sent.timestamp_type, message.timestamp_type) == (1, 1)


async def test_administration(world: World) -> None:
    """Topics are made, grown and deleted; groups are listed, described and asked for their offsets."""
    name = f"{world.group}-administered"
    async with administering(world) as client:
        _no_error((await client.create_topics([_admin.NewTopic(name, 2, 1)])).topic_errors)
        _no_error((await client.create_partitions({name: _admin.NewPartitions(4)})).topic_errors)

        async def has_grown() -> bool:
            """The controller has answered; the broker is told a moment later."""
            return len((await client.describe_topics([name]))[0]["partitions"]) == 4

        await eventually(has_grown, SOON_SECONDS)
        again = (await client.create_topics([_admin.NewTopic(name, 2, 1)])).topic_errors
        assert for_code(again[0][1]) is TopicAlreadyExistsError
        async with consuming(world, world.topic) as consumer:
            await read(consumer, 8)
            await consumer.commit()
            described = (await client.describe_consumer_groups([world.group]))[0].groups[0]
            assert (described[1], described[2], len(described[5])) == (world.group, "Stable", 1)
        offsets = await client.list_consumer_group_offsets(world.group)
        assert {part.partition: committed.offset for part, committed in offsets.items()} == {0: 5, 1: 0, 2: 3}
        assert (world.group, "consumer") in await client.list_consumer_groups()
        deleted = await client.delete_topics([name, UNKNOWN])
        codes = dict(deleted.topic_error_codes)
        assert (codes[name], for_code(codes[UNKNOWN])) == (0, UnknownTopicOrPartitionError)


def _no_error(answers: list[tuple[Any, ...]]) -> None:
    assert [answer[1] for answer in answers] == [ErrorCode.NONE] * len(answers)
