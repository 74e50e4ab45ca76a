"""How the lag reader asks, and what becomes of the faults of a broker."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.model import PartitionOffsets, Reading, Trigger, TriggerOffsets, Unreadable
from activator.kafka.lag import KafkaLagReader
from activator.kafka.requests import DescribeGroups, FindCoordinators, OffsetFetchGroups
from activator.local.broker.faults import Delay, DropConnection, EndOffset, Fail, Fault
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.contracts.kafka_worlds import NOW, LiveWorld, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.core.model import Cluster
    from activator.kafka.client import Connections
    from activator.local.broker.server import EmbeddedBroker


@pytest.fixture
async def world(broker: EmbeddedBroker) -> AsyncIterator[LiveWorld]:
    """Drive the broker as producers and consumers do: `orders` and `bills` with two partitions and lag."""
    async with LiveWorld(broker.bootstrap_servers) as driver:
        for topic in ("orders", "bills"):
            broker.create_topic(topic, partitions=2)
            for partition in (0, 1):
                await driver.produce(topic, partition, 5)
            for partition in (0, 1):
                await driver.commit(f"{topic}-group", topic, partition, 2)
        yield driver


@pytest.fixture
def triggers(cluster: Cluster) -> tuple[Trigger, Trigger]:
    """Name a trigger for each topic."""
    return Trigger(cluster, "orders", "orders-group"), Trigger(cluster, "bills", "bills-group")


def whole(topic: str) -> tuple[PartitionOffsets, ...]:
    """Say what is there to read of a topic."""
    return tuple(PartitionOffsets(topic, number, end=5, committed=2, log_start=0) for number in (0, 1))


def partitions(reading: Reading) -> tuple[PartitionOffsets, ...]:
    """Return the partitions of a trigger that must be readable."""
    assert isinstance(reading, TriggerOffsets), reading
    return reading.partitions


PASSING = [
    pytest.param(Fault(ApiKey.OFFSET_FETCH, Fail(ErrorCode.NOT_COORDINATOR), times=2), id="coordinator-moved"),
    pytest.param(Fault(ApiKey.OFFSET_FETCH, Fail(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS), times=2), id="loading"),
    pytest.param(Fault(ApiKey.LIST_OFFSETS, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER), times=3), id="leader-moved"),
    pytest.param(Fault(ApiKey.METADATA, DropConnection(), times=1), id="metadata-dropped"),
    pytest.param(Fault(ApiKey.OFFSET_FETCH, DropConnection(), times=1), id="offset-fetch-dropped"),
    pytest.param(Fault(ApiKey.LIST_OFFSETS, DropConnection(), times=1), id="list-offsets-dropped"),
]


@pytest.mark.parametrize("fault", PASSING)
async def test_a_passing_fault_does_not_show(
    broker: EmbeddedBroker,
    world: LiveWorld,  # noqa: ARG001
    connections: Connections,
    triggers: tuple[Trigger, Trigger],
    fault: Fault,
) -> None:
    """What a second try puts right is put right within the same read."""
    reader = KafkaLagReader(connections)
    await reader.read(triggers[0].cluster, triggers, NOW)
    broker.faults.add(fault)

    readings = await reader.read(triggers[0].cluster, triggers, NOW)

    assert [partitions(readings[trigger]) for trigger in triggers] == [whole("orders"), whole("bills")]


async def test_connections_that_the_broker_has_closed_are_made_anew(
    broker: EmbeddedBroker,
    world: LiveWorld,  # noqa: ARG001
    connections: Connections,
    triggers: tuple[Trigger, Trigger],
) -> None:
    """A broker that was started again between two reads costs no reading."""
    reader = KafkaLagReader(connections)
    await reader.read(triggers[0].cluster, triggers, NOW)
    broker.disconnect_all()

    readings = await reader.read(triggers[0].cluster, triggers, NOW)

    assert partitions(readings[triggers[0]]) == whole("orders")


LASTING = [
    pytest.param(
        Fault(ApiKey.LIST_OFFSETS, Fail(ErrorCode.KAFKA_STORAGE_ERROR), topic="orders", partition=1),
        "KAFKA_STORAGE_ERROR",
        id="end",
    ),
    pytest.param(
        Fault(ApiKey.LIST_OFFSETS, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER), topic="orders", partition=1),
        "NOT_LEADER_OR_FOLLOWER",
        id="leaderless",
    ),
    pytest.param(
        Fault(ApiKey.OFFSET_FETCH, Fail(ErrorCode.TOPIC_AUTHORIZATION_FAILED), topic="orders", partition=1),
        "TOPIC_AUTHORIZATION_FAILED",
        id="commit",
    ),
]


@pytest.mark.parametrize(("fault", "error"), LASTING)
async def test_a_poisoned_partition_touches_no_other(
    broker: EmbeddedBroker,
    world: LiveWorld,  # noqa: ARG001
    connections: Connections,
    triggers: tuple[Trigger, Trigger],
    fault: Fault,
    error: str,
) -> None:
    """It becomes an error by Kafka's name; its neighbour and the other topic are read."""
    broker.faults.add(fault)

    readings = await KafkaLagReader(connections).read(triggers[0].cluster, triggers, NOW)

    assert partitions(readings[triggers[0]]) == (whole("orders")[0], PartitionOffsets("orders", 1, error=error))
    assert partitions(readings[triggers[1]]) == whole("bills")


UNREADABLE = [
    pytest.param(
        Fault(ApiKey.OFFSET_FETCH, Fail(ErrorCode.GROUP_AUTHORIZATION_FAILED), group="orders-group"),
        ["GROUP_AUTHORIZATION_FAILED", "ACL Describe on Group orders-group"],
        id="group-denied",
    ),
    pytest.param(
        Fault(ApiKey.METADATA, Fail(ErrorCode.TOPIC_AUTHORIZATION_FAILED), topic="orders"),
        ["TOPIC_AUTHORIZATION_FAILED", "ACL Describe on Topic orders"],
        id="topic-denied",
    ),
    pytest.param(
        Fault(ApiKey.FIND_COORDINATOR, Fail(ErrorCode.COORDINATOR_NOT_AVAILABLE), group="orders-group"),
        ["COORDINATOR_NOT_AVAILABLE", "'orders-group'"],
        id="no-coordinator",
    ),
    pytest.param(
        Fault(ApiKey.LIST_OFFSETS, Fail(ErrorCode.LEADER_NOT_AVAILABLE), topic="orders"),
        ["LEADER_NOT_AVAILABLE", "'orders'"],
        id="no-leader-at-all",
    ),
]


@pytest.mark.parametrize(("fault", "parts"), UNREADABLE)
async def test_what_cannot_be_read_at_all_says_why(
    broker: EmbeddedBroker,
    world: LiveWorld,  # noqa: ARG001
    connections: Connections,
    triggers: tuple[Trigger, Trigger],
    fault: Fault,
    parts: list[str],
) -> None:
    """The reason names Kafka's error, the object, the place and, where it is known, the missing ACL."""
    broker.faults.add(fault)

    readings = await KafkaLagReader(connections).read(triggers[0].cluster, triggers, NOW)

    reading = readings[triggers[0]]
    assert isinstance(reading, Unreadable)
    for part in [*parts, broker.bootstrap_servers]:
        assert part in reading.reason
    assert partitions(readings[triggers[1]]) == whole("bills")


UNSENDABLE = [
    pytest.param({"group": "\ud800"}, r"consumer group '\\ud800'", id="group-no-text"),
    pytest.param({"group": "g" * 40_000}, r"consumer group 'g{80}'", id="group-too-long"),
    pytest.param({"topic": "\ud800"}, r"topic '\\ud800'", id="topic-no-text"),
]


@pytest.mark.parametrize(("changes", "named"), UNSENDABLE)
async def test_a_name_that_cannot_be_sent_is_its_own_triggers_trouble(
    world: LiveWorld,  # noqa: ARG001
    connections: Connections,
    triggers: tuple[Trigger, Trigger],
    changes: dict[str, Any],
    named: str,
) -> None:
    """Names of many targets go into one request, which must not fail by one of them."""
    good, poisoned = triggers[0], replace(triggers[1], **changes)

    readings = await KafkaLagReader(connections).read(good.cluster, [poisoned, good], NOW)

    assert partitions(readings[good]) == whole("orders")
    reading = readings[poisoned]
    assert isinstance(reading, Unreadable)
    assert re.match(rf"Kafka 127\.0\.0\.1:\d+: {named}: it is no text in UTF-8", reading.reason)


async def test_a_broker_that_does_not_answer_costs_one_deadline(
    broker: EmbeddedBroker,
    world: LiveWorld,  # noqa: ARG001
    connections: Connections,
    triggers: tuple[Trigger, Trigger],
) -> None:
    """The reading says who was silent, and the next one, with the broker well again, is whole."""
    reader = KafkaLagReader(connections)
    await reader.read(triggers[0].cluster, triggers, NOW)
    with broker.faults.injected(Fault(ApiKey.OFFSET_FETCH, Delay(milliseconds=60_000), times=1)):
        reading = (await reader.read(triggers[0].cluster, triggers, NOW))[triggers[0]]
        assert isinstance(reading, Unreadable)
        assert re.fullmatch(r"Kafka 127\.0\.0\.1:\d+: did not answer \w+Groups v\d within 0\.5 s", reading.reason)

    async def well() -> bool:
        return isinstance((await reader.read(triggers[0].cluster, triggers, NOW))[triggers[0]], TriggerOffsets)

    await eventually(well)


async def test_a_log_that_begins_past_its_reported_end_ends_there_at_least(
    broker: EmbeddedBroker, world: LiveWorld, connections: Connections, triggers: tuple[Trigger, Trigger]
) -> None:
    """Trimmed between the two answers: an end before the beginning would make no sense to anybody."""
    await world.trim("orders", 0, 4)
    broker.faults.add(Fault(ApiKey.LIST_OFFSETS, EndOffset(3), topic="orders", partition=0))

    readings = await KafkaLagReader(connections).read(triggers[0].cluster, triggers, NOW)

    first, _ = partitions(readings[triggers[0]])
    assert first == PartitionOffsets("orders", 0, end=4, committed=2, log_start=4)


OLDER: list[Any] = [
    pytest.param([(OffsetFetchGroups, ())], id="offset-fetch-v3"),
    pytest.param([(FindCoordinators, ())], id="find-coordinator-v1"),
    pytest.param([(DescribeGroups, (3,))], id="describe-groups-v3"),
    pytest.param([(OffsetFetchGroups, ()), (FindCoordinators, ()), (DescribeGroups, (3,))], id="kafka-2"),
]


@pytest.mark.parametrize("versions", OLDER)
async def test_an_older_broker_is_asked_in_its_own_words(
    world: LiveWorld,  # noqa: ARG001
    connections: Connections,
    triggers: tuple[Trigger, Trigger],
    monkeypatch: pytest.MonkeyPatch,
    versions: list[tuple[type, tuple[int, ...]]],
) -> None:
    """Where a broker does not offer the batched requests, the older ones give the same answers."""
    reader = KafkaLagReader(connections)
    asked = [*triggers, replace(triggers[0], topic="", topics_of_group=True)]
    newest = await reader.read(triggers[0].cluster, asked, NOW)
    for request, spoken in versions:
        monkeypatch.setattr(request, "VERSIONS", spoken)

    assert await KafkaLagReader(connections).read(triggers[0].cluster, asked, NOW) == newest


async def test_many_triggers_take_a_handful_of_requests(
    broker: EmbeddedBroker, cluster: Cluster, connections: Connections
) -> None:
    """Cold: 1 Metadata, 3 FindCoordinator; then each time 3 OffsetFetch, 3 DescribeGroups, 2 ListOffsets."""
    for number in range(450):
        broker.create_topic(f"topic-{number}", partitions=2)
    triggers = [Trigger(cluster, f"topic-{number}", f"group-{number}") for number in range(450)]
    reader, client = KafkaLagReader(connections), connections.client(cluster)

    await reader.read(cluster, triggers, NOW)
    cold = client.requests_sent
    readings = await reader.read(cluster, triggers, NOW)

    assert (cold, client.requests_sent - cold) == (12, 8)
    assert client.connections() == 1
    assert all(isinstance(reading, TriggerOffsets) for reading in readings.values())


async def test_log_starts_are_not_asked_for_where_they_change_nothing(
    broker: EmbeddedBroker, cluster: Cluster, connections: Connections
) -> None:
    """With every commit at the end, a read is one OffsetFetch, one DescribeGroups and one ListOffsets.

    To be told of the group's topics beside that costs nothing more.
    """
    broker.create_topic("orders", partitions=3)
    async with LiveWorld(broker.bootstrap_servers) as world:
        for partition in range(3):
            await world.commit("g", "orders", partition, 0)
    reader, client, trigger = KafkaLagReader(connections), connections.client(cluster), Trigger(cluster, "orders", "g")
    await reader.read(cluster, [trigger], NOW)
    before = client.requests_sent

    await reader.read(cluster, [trigger], NOW)

    assert client.requests_sent - before == 3

    await reader.read(cluster, [trigger, replace(trigger, topic="", topics_of_group=True)], NOW)

    assert client.requests_sent - before == 6
