"""Consumer groups of both protocols on a real Kafka: state, members, commits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer

from activator.core.model import GroupState, Trigger, TriggerOffsets
from activator.kafka.lag import KafkaLagReader
from tests.contracts.kafka_worlds import NOW, LiveWorld, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.real


@pytest.fixture
async def world(kafka_bootstrap_servers: str) -> AsyncIterator[LiveWorld]:
    """Drive the real Kafka."""
    async with LiveWorld(kafka_bootstrap_servers) as driver:
        yield driver


def consumer(world: LiveWorld, group: str, protocol: str) -> Consumer:
    """Make a member of a group, of the classic protocol or of KIP-848's."""
    return Consumer(
        {
            "bootstrap.servers": world.cluster.bootstrap_servers,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_members_of_either_protocol_are_counted(world: LiveWorld, protocol: str) -> None:
    """A group with a member is Stable with one and its topics, also where DescribeGroups calls it Dead; then Empty."""
    topic = await world.create_topic()
    await world.produce(topic, 0, 3)
    group = f"{protocol}-{topic}"
    trigger, reader = Trigger(world.cluster, topic, group), KafkaLagReader(world.connections)

    async def reading() -> TriggerOffsets:
        found = (await reader.read(world.cluster, [trigger], NOW))[trigger]
        assert isinstance(found, TriggerOffsets), found
        return found

    async def has(state: GroupState, members: int) -> bool:
        found = await reading()
        return (found.group_state, found.members) == (state, members)

    member = consumer(world, group, protocol)
    member.subscribe([topic])
    try:
        message = await asyncio.to_thread(member.poll, 20)
        assert message is not None
        await eventually(lambda: has(GroupState.STABLE, 1))
        assert (await reading()).consumed == frozenset({topic})
        await asyncio.to_thread(lambda: member.commit(message=message, asynchronous=False))
    finally:
        await asyncio.to_thread(member.close)

    await eventually(lambda: has(GroupState.EMPTY, 0))
    (partition,) = (await reading()).partitions
    assert (partition.end, partition.committed) == (3, 1)
