"""How the tail watches, and what becomes of the faults of a broker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from activator.core.model import Cluster, IsolationLevel, Push, TargetRef
from activator.kafka import tail as tail_module
from activator.kafka.broker_tail import SESSION_PARTITIONS
from activator.kafka.cluster_tail import Watched
from activator.kafka.fetch import INITIAL_EPOCH, NO_SESSION, Fetch
from activator.kafka.requests import BrokerRow, Metadata
from activator.kafka.tail import KafkaTail
from activator.local.broker.config import BrokerConfig
from activator.local.broker.faults import Fail, Fault
from activator.local.broker.protocol import ApiKey, ErrorCode
from activator.local.broker.server import EmbeddedBroker
from tests.contracts.kafka_fixtures import utc_now
from tests.contracts.kafka_worlds import NOW, OTHER_REF, REF, LiveWorld, Pushes, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activator.kafka.client import ClusterClient, Connections
    from activator.ports import PushListener

pytestmark = pytest.mark.usefixtures("short_looks")


@asynccontextmanager
async def running(connections: Connections, listener: PushListener) -> AsyncIterator[KafkaTail]:
    """Run a tail."""
    tail = KafkaTail(connections, listener, lambda: NOW)
    task = asyncio.create_task(tail.run())
    try:
        yield tail
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def world(broker: EmbeddedBroker) -> AsyncIterator[LiveWorld]:
    """Drive the broker as producers do."""
    async with LiveWorld(broker.bootstrap_servers) as driver:
        yield driver


async def settled(tail: KafkaTail, cluster: Cluster, expected: Watched) -> None:
    """Wait until partitions are watched as expected."""

    async def is_so() -> bool:
        return tail.watched()[cluster] == expected

    await eventually(is_so)


async def test_thousands_of_idle_partitions_cost_a_request_a_second_and_session(
    broker: EmbeddedBroker, cluster: Cluster, connections: Connections
) -> None:
    """They stand in ten sessions, and a record among them is pushed all the same."""
    for number in range(200):
        broker.create_topic(f"topic-{number}", partitions=10)
    pushes, client = Pushes(), connections.client(cluster)
    async with running(connections, pushes) as tail, LiveWorld(broker.bootstrap_servers) as world:
        for number in range(200):
            ref = TargetRef("shop", "Deployment", f"consumer-{number}")
            tail.join(ref, cluster, {(f"topic-{number}", partition): 0 for partition in range(10)})
        await settled(tail, cluster, Watched(fetched=2000, looked_at=0, waiting=0))
        before, began = client.requests_sent, asyncio.get_running_loop().time()
        for number in (7, 77, 177):
            await world.produce(f"topic-{number}", 3)
            assert (await pushes.next()).topic == f"topic-{number}"
        seconds = asyncio.get_running_loop().time() - began

        sessions = 2000 / SESSION_PARTITIONS
        # A fetch a push and one more that takes its partition out, one a second, and metadata at the test's pace.
        assert client.requests_sent - before <= 3 * 2 + sessions * (seconds + 1) + 4 * seconds
        assert client.connections() == sessions + 1


async def occupy_a_session(client: ClusterClient) -> None:
    """Open a fetch session that somebody else uses."""
    client.learn_all([row for row in await client.rows_of_any(Metadata(())) if isinstance(row, BrokerRow)])
    fetch = Fetch({"orders": {0: 0}}, 0, 1024, 1024, session_id=NO_SESSION, session_epoch=INITIAL_EPOCH)
    assert (await client.request(1, fetch)).session_id != NO_SESSION


async def test_a_broker_without_sessions_is_looked_at(
    connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    """With its session cache full, partitions are watched by their end offsets, which is said once, with the reason."""
    config = BrokerConfig(max_incremental_fetch_session_cache_slots=1)
    async with EmbeddedBroker(now=utc_now, config=config) as broker:
        cluster, pushes = Cluster(broker.bootstrap_servers), Pushes()
        broker.create_topic("orders", partitions=3)
        await occupy_a_session(connections.client(cluster))
        async with running(connections, pushes) as tail, LiveWorld(broker.bootstrap_servers) as world:
            tail.join(REF, cluster, {("orders", partition): 0 for partition in range(3)})
            await settled(tail, cluster, Watched(fetched=0, looked_at=3, waiting=0))
            for _ in range(2):
                offset = await world.produce("orders", 2)
                push = await pushes.next()
                assert (push.topic, push.partition, push.offset) == ("orders", 2, offset)
        await connections.close()

    said = [record.message for record in caplog.records if "grants no fetch session" in record.message]
    assert len(said) == 1
    assert broker.bootstrap_servers in said[0]


async def test_a_topic_that_may_not_be_read_is_looked_at(
    broker: EmbeddedBroker,
    world: LiveWorld,
    cluster: Cluster,
    connections: Connections,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """READ is missing, DESCRIBE is there: that topic's ends are looked at, the other stays in its session."""
    for topic in ("denied", "granted"):
        broker.create_topic(topic)
    broker.faults.add(Fault(ApiKey.FETCH, Fail(ErrorCode.TOPIC_AUTHORIZATION_FAILED), topic="denied"))
    pushes = Pushes()
    async with running(connections, pushes) as tail:
        tail.join(REF, cluster, {("denied", 0): 0})
        tail.join(OTHER_REF, cluster, {("granted", 0): 0})
        await settled(tail, cluster, Watched(fetched=1, looked_at=1, waiting=0))
        for topic in ("denied", "granted"):
            await world.produce(topic)
            assert (await pushes.next_of(topic)).offset == 0

    said = [record.message for record in caplog.records if "TOPIC_AUTHORIZATION_FAILED" in record.message]
    assert len(said) == 1
    assert "grant the ACL Read on Topic denied" in said[0]


async def test_a_partition_in_error_does_not_spin(
    broker: EmbeddedBroker, world: LiveWorld, cluster: Cluster, connections: Connections
) -> None:
    """A broker answers an error at once, every time: the partition is taken out and tried again ever less often."""
    broker.create_topic("broken")
    broker.create_topic("whole")
    fault = broker.faults.add(Fault(ApiKey.FETCH, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER), topic="broken"))
    pushes, client = Pushes(), connections.client(cluster)
    async with running(connections, pushes) as tail:
        tail.join(REF, cluster, {("broken", 0): 0})
        tail.join(OTHER_REF, cluster, {("whole", 0): 0})
        await world.produce("whole")
        await pushes.next_of("whole")
        tail.leave(OTHER_REF)
        before = client.requests_sent
        await asyncio.sleep(1)  # the length of time in which it is counted
        assert client.requests_sent - before <= 25

        broker.faults.remove(fault)
        await world.produce("broken")
        assert (await pushes.next_of("broken")).offset == 0


async def test_a_broker_that_drops_connections_is_fetched_from_again(
    broker: EmbeddedBroker, world: LiveWorld, cluster: Cluster, connections: Connections
) -> None:
    """As after a broker's restart: another connection, another session, the same offsets."""
    broker.create_topic("orders")
    pushes = Pushes()
    async with running(connections, pushes) as tail:
        tail.join(REF, cluster, {("orders", 0): 0})
        await settled(tail, cluster, Watched(fetched=1, looked_at=0, waiting=0))
        broker.disconnect_all()
        await world.produce("orders")

        assert (await pushes.next()).offset == 0


async def test_a_log_that_lost_its_end_is_believed_at_the_second_look(
    broker: EmbeddedBroker, world: LiveWorld, cluster: Cluster, connections: Connections
) -> None:
    """Truncated before our offset: what it holds now has been seen by nobody, and further records are pushed."""
    broker.create_topic("orders")
    await world.produce("orders", 0, 10)
    pushes = Pushes()
    async with running(connections, pushes) as tail:
        tail.join(REF, cluster, {("orders", 0): 10})
        await settled(tail, cluster, Watched(fetched=1, looked_at=0, waiting=0))
        broker.truncate("orders", 0, 4)

        assert (await pushes.next()).offset is None
        assert await world.produce("orders") == 4
        assert (await pushes.next()).offset is None  # not 4: that is older than what was joined


async def test_a_topic_that_does_not_exist_yet_is_waited_for(
    broker: EmbeddedBroker, world: LiveWorld, cluster: Cluster, connections: Connections
) -> None:
    """A target may sleep on a topic that was deleted: its records push once it is there again."""
    pushes = Pushes()
    async with running(connections, pushes) as tail:
        tail.join(REF, cluster, {("orders", 0): 0})
        await settled(tail, cluster, Watched(fetched=0, looked_at=0, waiting=1))
        broker.create_topic("orders")
        await world.produce("orders")

        assert (await pushes.next()).offset == 0


async def test_both_isolation_levels_are_watched_side_by_side(
    broker: EmbeddedBroker, world: LiveWorld, cluster: Cluster, connections: Connections
) -> None:
    """Each has a session of its own, because the isolation level is the whole fetch's."""
    broker.create_topic("orders")
    pushes = Pushes()
    async with running(connections, pushes) as tail:
        tail.join(REF, cluster, {("orders", 0): 0}, IsolationLevel.READ_COMMITTED)
        tail.join(OTHER_REF, cluster, {("orders", 0): 0}, IsolationLevel.READ_UNCOMMITTED)
        await settled(tail, cluster, Watched(fetched=2, looked_at=0, waiting=0))
        await world.produce("orders")

        assert {(await pushes.next()).offset, (await pushes.next()).offset} == {0}
        assert connections.client(cluster).connections() == 3


async def test_a_defect_is_told_and_the_tail_goes_on(
    broker: EmbeddedBroker,
    world: LiveWorld,
    cluster: Cluster,
    connections: Connections,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error that nobody foresaw ends in the log, not in a sleeper that nobody wakes."""
    monkeypatch.setattr(tail_module, "RESTART_SECONDS", 0.01)
    broker.create_topic("orders")
    pushes = Pushes()

    class Faulty:
        """Fails once."""

        failed = False

        def push(self, push: Push) -> None:
            """Fail, then work."""
            if not self.failed:
                self.failed = True
                raise RuntimeError("a defect")
            pushes.push(push)

    async with running(connections, Faulty()) as tail:
        tail.join(REF, cluster, {("orders", 0): 0})
        await world.produce("orders")
        await world.produce("orders")
        await pushes.next()

    assert any("broke, starting it again" in record.message for record in caplog.records)


async def test_join_before_run_is_watched_from_its_start(
    broker: EmbeddedBroker, world: LiveWorld, cluster: Cluster, connections: Connections
) -> None:
    """The loop may put targets on the tail before its task has had a turn."""
    broker.create_topic("orders")
    pushes = Pushes()
    tail = KafkaTail(connections, pushes, lambda: NOW)
    tail.join(REF, cluster, {("orders", 0): 0})
    await world.produce("orders")
    task = asyncio.create_task(tail.run())

    assert (await pushes.next()).offset == 0

    task.cancel()
    await asyncio.wait([task])


class Meanwhile:
    """A watched partition or cluster; the event loop goes on while it is looked at, and another joins."""

    looked_at = False

    def __init__(self, go_on: Callable[[], None]) -> None:
        self._go_on = go_on

    @property
    def fetched_by(self) -> None:
        """Nobody, as a partition."""
        self._go_on()

    def watched(self) -> Watched:
        """One partition, as a cluster."""
        self._go_on()
        return Watched(1, 0, 0)


async def test_counting_goes_on_while_targets_join(connections: Connections) -> None:
    """/metrics is written in a thread of its own, and a scrape during a storm of wakes must not fail."""
    tail, cluster = KafkaTail(connections, Pushes(), lambda: NOW), Cluster("kafka:9092")

    def join(where: Cluster) -> Callable[[], None]:
        return lambda: tail.join(REF, where, {("orders", number): 0 for number in range(100)})

    tail.join(OTHER_REF, cluster, {("bills", 0): 0})
    entries = cast("dict[object, object]", tail._clusters[cluster]._entries)
    entries["bills", 1, False] = Meanwhile(join(cluster))
    clusters = cast("dict[Cluster, object]", tail._clusters)
    clusters[Cluster("other:9092")] = Meanwhile(join(Cluster("third:9092")))
    assert tail.watched() == {cluster: Watched(0, 0, 2), Cluster("other:9092"): Watched(1, 0, 0)}
