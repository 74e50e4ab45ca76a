"""What brokers do to us on a bad day, on real ones: killed, stopped, started again, leadership moved."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Trigger, TriggerOffsets, Unreadable
from activator.kafka import broker_tail, client
from activator.kafka.lag import KafkaLagReader
from tests.contracts.kafka_worlds import NOW, REF, LiveWorld, Pushes, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from activator.kafka.tail import KafkaTail
    from testbed.kafka import KafkaCluster

pytestmark = pytest.mark.real

BACK_OFF_SECONDS = 1.2 * client.MAX_BACKOFF_SECONDS + broker_tail.MAX_BACKOFF_SECONDS
"""How long a broker that is back may go unasked, at the worst: a connection's back-off, and then the tail's."""
ELECTION_SECONDS = 40.0
"""Kafka's own: the killed one may have been the active controller too, and three brokers share two cores."""


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A Kafka of one node that the tests of this module may mistreat, one after the other."""
    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is for the real tests alone

    with KafkaCluster(tmp_path_factory.mktemp("one-node")) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A Kafka of three nodes."""
    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is for the real tests alone

    properties = {"offsets.topic.replication.factor": "3", "min.insync.replicas": "1"}
    with KafkaCluster(tmp_path_factory.mktemp("three-nodes"), nodes=3, properties=properties) as kafka:
        yield kafka


@pytest.fixture(autouse=True)
def nothing_broke(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a broker does, nothing of ours is restarted because of a defect."""
    yield
    broken = [
        record for record in caplog.get_records("call") if record.name.startswith("activator") and record.exc_info
    ]
    assert broken == []


@asynccontextmanager
async def watched(kafka: KafkaCluster) -> AsyncIterator[tuple[LiveWorld, KafkaTail, Pushes]]:
    """A driver of the cluster, a running tail and what it pushes."""
    pushes = Pushes()
    async with LiveWorld(kafka.bootstrap_servers) as world, world.watching(pushes) as source:
        yield world, source, pushes  # type: ignore[misc]


@pytest.mark.parametrize("stop", ["killed", "stopped-in-order", "paused"])
async def test_a_record_after_the_broker_is_back_is_pushed(one_node: KafkaCluster, stop: str) -> None:
    """A broker that was away pushes nothing by coming back, and the first record after it as soon as it is asked."""
    async with watched(one_node) as (world, tail, pushes):
        topic = await world.create_topic()
        await world.produce(topic, 0, 3)
        tail.join(REF, world.cluster, {(topic, 0): 3})
        await eventually(lambda: is_fetched(tail, world))

        node = one_node.node(1)
        match stop:
            case "killed":
                await asyncio.to_thread(node.kill)
            case "stopped-in-order":
                await asyncio.to_thread(node.stop)
            case _:
                node.pause()
        await asyncio.sleep(7)
        if stop == "paused":
            node.resume()
        else:
            await asyncio.to_thread(node.start_and_wait)
        assert pushes.all == []
        offset = await world.produce(topic)

        async with asyncio.timeout(BACK_OFF_SECONDS + 3):
            assert (await pushes.next()).offset == offset
        assert len(pushes.all) == 1


async def is_fetched(tail: KafkaTail, world: LiveWorld) -> bool:
    """Tell whether everything that is watched on a cluster stands in a fetch session."""
    watched_now = tail.watched()[world.cluster]
    return watched_now.fetched > 0 and not watched_now.looked_at and not watched_now.waiting


@pytest.mark.parametrize("stop", ["killed", "paused"])
async def test_lag_is_unreadable_while_the_broker_is_away_and_soon_read_after(
    one_node: KafkaCluster, stop: str
) -> None:
    """An absent broker is a value within seconds, never a wrong offset; once back it is read again at once."""
    async with LiveWorld(one_node.bootstrap_servers) as world:
        topic = await world.create_topic()
        await world.produce(topic, 0, 5)
        await world.commit("g", topic, 0, 2)
        trigger, reader = Trigger(world.cluster, topic, "g"), world.reader()
        before = (await reader.read(world.cluster, [trigger], NOW))[trigger]
        assert isinstance(before, TriggerOffsets)

        node = one_node.node(1)
        await asyncio.to_thread(node.kill if stop == "killed" else node.pause)
        async with asyncio.timeout(15):
            for _ in range(2):
                reading = (await reader.read(world.cluster, [trigger], NOW))[trigger]
                assert isinstance(reading, Unreadable), reading
                assert one_node.bootstrap_servers in reading.reason
        await asyncio.to_thread(node.start_and_wait if stop == "killed" else node.resume)

        async def is_back() -> bool:
            reading = (await reader.read(world.cluster, [trigger], NOW))[trigger]
            # While the coordinator loads its groups, their states may still be unknown where their offsets are not.
            assert isinstance(reading, Unreadable) or reading.partitions == before.partitions
            return reading == before

        async with asyncio.timeout(10):
            await eventually(is_back)


async def test_a_leader_that_moves_is_followed(three_nodes: KafkaCluster) -> None:
    """With the leader killed, the tail goes to the new one and the reader reads on; a record there is pushed."""
    async with watched(three_nodes) as (world, tail, pushes):
        topic = await world.create_topic(6, replication=3)
        for partition in range(6):
            await world.produce(topic, partition)
        await world.commit("g", topic, 0, 1)
        tail.join(REF, world.cluster, {(topic, partition): 1 for partition in range(6)})
        await eventually(lambda: is_fetched(tail, world))
        trigger, reader = Trigger(world.cluster, topic, "g"), world.reader()
        before = (await reader.read(world.cluster, [trigger], NOW))[trigger]
        assert isinstance(before, TriggerOffsets), before

        await asyncio.to_thread(three_nodes.node(2).kill)

        async def reads_again() -> bool:
            return (await reader.read(world.cluster, [trigger], NOW))[trigger] == before

        await eventually(reads_again, ELECTION_SECONDS)
        await eventually(lambda: is_fetched(tail, world))
        assert pushes.all == []
        for partition in range(6):
            offset = await world.produce(topic, partition)
            push = await pushes.next()
            assert (push.partition, push.offset) == (partition, offset)
        await asyncio.to_thread(three_nodes.node(2).start_and_wait)


async def test_one_hung_broker_of_three_leaves_the_others_readable(three_nodes: KafkaCluster) -> None:
    """What it leads or coordinates is unreadable within the deadline; everything else is read in the same batch."""
    hung = 3
    async with LiveWorld(three_nodes.bootstrap_servers) as world:
        topics = [await world.create_topic() for _ in range(12)]
        triggers = [Trigger(world.cluster, topic, f"group-of-{topic}") for topic in topics]
        reader = KafkaLagReader(world.connections)

        async def all_readable() -> bool:
            readings = await reader.read(world.cluster, triggers, NOW)
            return all(isinstance(reading, TriggerOffsets) for reading in readings.values())

        await eventually(all_readable)
        topology = reader._topologies[world.cluster]
        led_by_hung = {trigger for trigger in triggers if topology._topics[trigger.topic].leaders[0] == hung}
        well = {trigger for trigger in triggers if topology._coordinators[trigger.group] != hung} - led_by_hung

        three_nodes.node(hung).pause()
        try:
            async with asyncio.timeout(20):
                readings = await reader.read(world.cluster, triggers, NOW)
        finally:
            three_nodes.node(hung).resume()

        readable = {trigger for trigger in triggers if isinstance(readings[trigger], TriggerOffsets)}
        assert well <= readable
        assert readable.isdisjoint(led_by_hung)
