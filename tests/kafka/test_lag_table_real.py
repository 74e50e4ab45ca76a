"""Lag as it is measured beside records as a consumer of the group is really given them, on a real Kafka.

Each row brings a topic and its group into one state. Then a consumer of librdkafka, which shares nothing with the
reader, takes the group's place and counts. Where offsets are dense the lag is that count. Where they have holes
(compaction, markers of transactions) it is an upper bound, and still zero exactly where nothing would come.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from activator.core.group_topics import MISSING_BELIEVED_AFTER
from activator.core.joined import joined
from activator.core.lag import remainders
from activator.core.model import (
    IsolationLevel,
    Memory,
    OffsetReset,
    Policy,
    Scale,
    TargetRef,
    Trigger,
    TriggerOffsets,
    Workload,
)
from activator.kafka.commits import Commit, LastingOffsetCommit
from activator.kafka.topology import Topology
from activator.loop.target import Target
from activator.loop.tracker import Tracker
from tests.contracts.kafka_worlds import NOW, SECONDS, LiveWorld, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from activator.core.model import Lag
    from testbed.kafka import KafkaCluster

pytestmark = pytest.mark.real

NODE = 1
POLL_SECONDS = 0.2
ROUNDS = 50
COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "100",
    "delete.retention.ms": "0",
}


class Count(Enum):
    """How the lag of a row stands to what a consumer is given."""

    EXACT = "the number of records"
    UPPER_BOUND = "at least the number of records, and zero only where there are none"
    UNKNOWABLE = "nothing that says whether it is safe to sleep: a consumer would skip what wakes it"


@dataclass
class Scene:
    """A topic and a group of one row, and the tracker that looks at them as the loop does."""

    world: LiveWorld
    kafka: KafkaCluster
    topic: str
    reset: OffsetReset
    isolation: IsolationLevel
    group: str = field(default_factory=lambda: f"group-{uuid.uuid4().hex[:12]}")
    _tracker: Tracker = field(default_factory=Tracker)
    _looks: int = 0

    def __post_init__(self) -> None:
        """Keep one reader for the whole row: what it remembers is part of what is held to account."""
        self._reader = self.world.reader()

    @property
    def trigger(self) -> Trigger:
        """What is read."""
        return Trigger(self.world.cluster, self.topic, self.group, offset_reset=self.reset, isolation=self.isolation)

    async def commit(self, offset: int, partition: int = 0) -> None:
        """Commit for the group, which has no members."""
        await self.world.commit(self.group, self.topic, partition, offset)

    async def look(self) -> Lag:
        """Read once."""
        self._looks += 1
        now = NOW + timedelta(seconds=self._looks)
        reading = (await self._reader.read(self.world.cluster, [self.trigger], now))[self.trigger]
        self._tracker.take(self.trigger, reading, guarded=False)
        return self._tracker.lag

    async def measured(self) -> Lag:
        """Look until all is known, once more for what needs two looks, and probe a remainder that stands still."""
        await eventually(self._is_complete)
        await self.look()
        offsets = self._tracker.offsets
        assert isinstance(offsets, TriggerOffsets)
        for stretch in list(remainders(offsets, self._tracker.partitions, self._tracker.memory)):
            place = (stretch.partition, stretch.start, stretch.end)
            if await self._reader.probe(self.trigger, *place) is False:
                self._tracker.memory = self._tracker.memory.with_phantom(*place)
        self._tracker.measure_again(self.trigger, guarded=False)
        return self._tracker.lag

    async def offsets(self) -> TriggerOffsets:
        """Read once, for the offsets themselves."""
        await self.look()
        assert self._tracker.offsets is not None
        return self._tracker.offsets

    async def has_no_commit(self) -> bool:
        """Whether Kafka knows no offset of the group."""
        return all(partition.committed is None for partition in (await self.offsets()).partitions)

    async def _is_complete(self) -> bool:
        return (await self.look()).complete

    def counted(self) -> int:
        """How many records the group's next consumer is given until it is at the end of each partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.world.cluster.bootstrap_servers,
                "group.id": self.group,
                "auto.offset.reset": self.reset.value,
                "isolation.level": self.isolation.value,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        try:
            known = consumer.list_topics(self.topic, SECONDS).topics[self.topic].partitions
            places = [TopicPartition(self.topic, number) for number in known]
            consumer.assign(consumer.committed(places, SECONDS))
            return _count(consumer, set(known))
        finally:
            consumer.close()


def _count(consumer: Consumer, unread: set[int]) -> int:
    records = 0
    while unread:
        message = consumer.poll(SECONDS)
        assert message is not None, f"neither a record nor an end of partitions {unread}"
        error = message.error()
        if error is None:
            records += 1
        elif error.code() == KafkaError._PARTITION_EOF:
            unread.discard(message.partition())
        else:
            assert error.code() == KafkaError._AUTO_OFFSET_RESET or error.retriable(), error
    return records


class FleetingCommit(LastingOffsetCommit):
    """A commit that expires at once: version 3 of the request says so itself."""

    RETENTION_MILLISECONDS: ClassVar = 1


async def nothing(scene: Scene) -> None:
    """Leave the topic empty."""


async def records(scene: Scene) -> None:
    """Produce; nothing was ever committed."""
    await scene.world.produce(scene.topic, 0, 5)


async def half_read(scene: Scene) -> None:
    """Commit in the middle."""
    await records(scene)
    await scene.commit(3)


async def all_read(scene: Scene) -> None:
    """Commit at the end."""
    await records(scene)
    await scene.commit(5)


async def trimmed_past_the_commit(scene: Scene) -> None:
    """Retention removes what was committed and more."""
    await scene.world.produce(scene.topic, 0, 10)
    await scene.commit(2)
    await scene.world.trim(scene.topic, 0, 7)


async def trimmed_to_nothing(scene: Scene) -> None:
    """Retention removes all that the group has not read."""
    await scene.world.produce(scene.topic, 0, 10)
    await scene.commit(2)
    await scene.world.trim(scene.topic, 0, 10)


async def trimmed_without_a_commit(scene: Scene) -> None:
    """Retention removes all that nobody ever read."""
    await scene.world.produce(scene.topic, 0, 10)
    await scene.world.trim(scene.topic, 0, 10)


async def compacted(scene: Scene) -> None:
    """Write the same key again and again, and wait until the log cleaner has been there."""
    scene.topic = f"compacted-{uuid.uuid4().hex[:12]}"
    await asyncio.to_thread(scene.kafka.create_topic, scene.topic, config=COMPACTED)
    producer = Producer({"bootstrap.servers": scene.world.cluster.bootstrap_servers, "linger.ms": 0})
    for number in range(ROUNDS):
        producer.produce(scene.topic, key=b"key", value=f"{number}".encode())
    assert producer.flush(SECONDS) == 0
    await scene.commit(0)

    async def is_compacted() -> bool:
        producer.produce(scene.topic, key=b"key", value=b"again")  # a segment is rolled when something is appended
        assert producer.flush(SECONDS) == 0
        await asyncio.sleep(POLL_SECONDS)  # a poll's pace
        return await asyncio.to_thread(scene.counted) < ROUNDS

    await eventually(is_compacted)


async def compacted_and_read(scene: Scene) -> None:
    """Read a compacted topic to its end."""
    await compacted(scene)
    (partition,) = (await scene.offsets()).partitions
    assert partition.end is not None
    await scene.commit(partition.end)


async def open_transaction(scene: Scene) -> None:
    """Leave a transaction open at the end."""
    await scene.commit(0)
    await scene.world.open_transaction(scene.topic)


async def committed_transaction(scene: Scene) -> None:
    """Commit a transaction that nobody has read."""
    await open_transaction(scene)
    await scene.world.end_transaction(scene.topic, commit=True)


async def committed_transaction_read(scene: Scene) -> None:
    """Read all but the marker, as a consumer that commits the next offset of its last record does."""
    await committed_transaction(scene)
    await scene.commit(1)


async def aborted_transaction(scene: Scene) -> None:
    """Abort a transaction."""
    await open_transaction(scene)
    await scene.world.end_transaction(scene.topic, commit=False)


async def record_after_an_aborted_transaction(scene: Scene) -> None:
    """Go on after it."""
    await aborted_transaction(scene)
    await scene.world.produce(scene.topic)


async def recreated(scene: Scene) -> None:
    """Delete the topic and make it anew, shorter than the group had read."""
    await scene.world.produce(scene.topic, 0, 10)
    await scene.commit(10)
    assert (await scene.look()).known == 0
    await scene.world.delete_topic(scene.topic)
    await scene.world.create_topic(name=scene.topic)
    await scene.world.produce(scene.topic, 0, 3)


async def beyond_the_end(scene: Scene) -> None:
    """Commit where the log does not reach, as a group does whose topic was cut."""
    await scene.world.produce(scene.topic, 0, 3)
    await scene.commit(10)


async def partitions_added(scene: Scene) -> None:
    """Read all, add partitions, produce to one of them."""
    await all_read(scene)
    assert (await scene.look()).known == 0
    await scene.world.grow_topic(scene.topic, 3)
    await scene.world.produce(scene.topic, 2, 4)

    async def are_seen() -> bool:
        return (await scene.look()).partitions == len(range(3))

    await eventually(are_seen)


async def reset_back(scene: Scene) -> None:
    """Put the offsets back, as an operator does who wants records read again."""
    await all_read(scene)
    assert (await scene.look()).known == 0
    await scene.commit(1)


async def expired(scene: Scene) -> None:
    """Let Kafka forget what the group committed."""
    await records(scene)
    await scene.look()
    client = scene.world.connections.client(scene.world.cluster)
    (answer,) = list(await client.rows(NODE, FleetingCommit(scene.group, scene.topic, {0: Commit(5)})))
    assert answer.error == 0
    await eventually(scene.has_no_commit)


async def group_deleted(scene: Scene) -> None:
    """Delete the group, and all its commits with it."""
    await all_read(scene)
    assert (await scene.look()).known == 0
    admin = scene.kafka.admin()
    await asyncio.wrap_future(admin.delete_consumer_groups([scene.group])[scene.group])


EARLIEST, LATEST = OffsetReset.EARLIEST, OffsetReset.LATEST
UNCOMMITTED, COMMITTED = IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED
EXACT, UPPER_BOUND, UNKNOWABLE = Count.EXACT, Count.UPPER_BOUND, Count.UNKNOWABLE

Row = tuple["Callable[[Scene], Awaitable[None]]", OffsetReset, IsolationLevel, Count, int]
"""How it comes about, how the group reads, what its lag is, and how many records it is given."""

TABLE: list[Row] = [
    (nothing, EARLIEST, UNCOMMITTED, EXACT, 0),
    (nothing, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
    (records, EARLIEST, UNCOMMITTED, EXACT, 5),
    (records, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
    (half_read, EARLIEST, UNCOMMITTED, EXACT, 2),
    (half_read, LATEST, UNCOMMITTED, EXACT, 2),
    (all_read, LATEST, UNCOMMITTED, EXACT, 0),
    (trimmed_past_the_commit, EARLIEST, UNCOMMITTED, EXACT, 3),
    (trimmed_to_nothing, EARLIEST, UNCOMMITTED, EXACT, 0),
    (trimmed_without_a_commit, EARLIEST, UNCOMMITTED, EXACT, 0),
    (trimmed_without_a_commit, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
    (compacted, EARLIEST, UNCOMMITTED, UPPER_BOUND, -1),
    (compacted_and_read, EARLIEST, UNCOMMITTED, EXACT, 0),
    (open_transaction, EARLIEST, UNCOMMITTED, EXACT, 1),
    (open_transaction, EARLIEST, COMMITTED, EXACT, 0),
    (committed_transaction, EARLIEST, UNCOMMITTED, UPPER_BOUND, 1),
    (committed_transaction, EARLIEST, COMMITTED, UPPER_BOUND, 1),
    (committed_transaction_read, EARLIEST, UNCOMMITTED, EXACT, 0),
    (committed_transaction_read, LATEST, COMMITTED, EXACT, 0),
    (aborted_transaction, EARLIEST, COMMITTED, EXACT, 0),
    (record_after_an_aborted_transaction, EARLIEST, COMMITTED, UPPER_BOUND, 1),
    (recreated, EARLIEST, UNCOMMITTED, EXACT, 3),
    (recreated, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
    (beyond_the_end, EARLIEST, UNCOMMITTED, EXACT, 3),
    (beyond_the_end, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
    (partitions_added, EARLIEST, UNCOMMITTED, EXACT, 4),
    (partitions_added, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
    (reset_back, EARLIEST, UNCOMMITTED, EXACT, 4),
    (reset_back, LATEST, UNCOMMITTED, EXACT, 4),
    (expired, EARLIEST, UNCOMMITTED, EXACT, 5),
    (expired, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
    (group_deleted, EARLIEST, UNCOMMITTED, EXACT, 5),
    (group_deleted, LATEST, UNCOMMITTED, UNKNOWABLE, 0),
]


@pytest.fixture
async def world(kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveWorld]:
    """Drive the real Kafka; the reader asks for a topic's partitions more often than every half minute."""
    defaults = Topology.topics.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "max_age", 0.2)
    async with LiveWorld(kafka_bootstrap_servers) as driver:
        yield driver


@pytest.mark.parametrize(
    ("prepare", "reset", "isolation", "count", "given"),
    TABLE,
    ids=[f"{prepare.__name__}-{reset.value}-{isolation.value}" for prepare, reset, isolation, *_ in TABLE],
)
async def test_what_is_measured_and_what_is_given(
    world: LiveWorld,
    kafka: KafkaCluster,
    prepare: Callable[[Scene], Awaitable[None]],
    reset: OffsetReset,
    isolation: IsolationLevel,
    count: Count,
    given: int,
) -> None:
    """Zero or not zero is right in each row, and the number is what the row says of it."""
    scene = Scene(world, kafka, await world.create_topic(), reset, isolation)
    await prepare(scene)

    lag = await scene.measured()
    counted = await asyncio.to_thread(scene.counted)

    assert given in {counted, -1}, "the row itself: what a consumer is given"
    assert lag.uncommitted is (count is Count.UNKNOWABLE)
    match count:
        case Count.EXACT:
            assert lag.known == counted
        case Count.UPPER_BOUND:
            assert lag.known > counted > 0
        case Count.UNKNOWABLE:
            assert lag.known == 0


async def test_two_topics_of_one_group(world: LiveWorld, kafka: KafkaCluster) -> None:
    """Each topic's lag is its own count; one that is deleted is unreadable and leaves the other as it was."""
    kept = Scene(world, kafka, await world.create_topic(), EARLIEST, UNCOMMITTED)
    lost = Scene(world, kafka, await world.create_topic(), EARLIEST, UNCOMMITTED, kept.group)
    await half_read(kept)
    await reset_back(lost)
    for scene in (kept, lost):
        assert (await scene.measured()).known == await asyncio.to_thread(scene.counted)

    await world.delete_topic(lost.topic)

    readings = await world.reader().read(world.cluster, [kept.trigger, lost.trigger], NOW)
    assert isinstance(readings[kept.trigger], TriggerOffsets)
    assert not isinstance(readings[lost.trigger], TriggerOffsets)
    assert (await kept.measured()).known == await asyncio.to_thread(kept.counted)


async def test_no_topic(world: LiveWorld, kafka: KafkaCluster) -> None:
    """The sum over the topics that the group has committed on; neither a deleted one nor the cluster's others count."""
    one = Scene(world, kafka, await world.create_topic(), EARLIEST, UNCOMMITTED)
    two, lost = [Scene(world, kafka, await world.create_topic(), EARLIEST, UNCOMMITTED, one.group) for _ in range(2)]
    of_others = Scene(world, kafka, await world.create_topic(), EARLIEST, UNCOMMITTED)
    await half_read(one)
    for scene in (two, lost):
        await reset_back(scene)
    await records(of_others)
    written = Trigger(world.cluster, "", one.group, offset_reset=EARLIEST, topics_of_group=True)
    workload = Workload(TargetRef("shop", "Deployment", "orders"), Scale(1, "uid", "1"), 1)
    target = Target(workload, Policy((written,)), {}, Memory(taken_over_at=NOW), original_replicas=1)
    reader, looks = world.reader(), itertools.count(1)

    async def look() -> Lag:
        now = NOW + MISSING_BELIEVED_AFTER * next(looks)
        for trigger, reading in (await reader.read(world.cluster, target.reads(), now)).items():
            target.take(trigger, reading, guarded=False)
        if target.has_other_topics():
            target.follow_topics()
        ((_, lag),) = joined(target.policy.triggers, target.lags())
        return lag

    async def is_complete() -> bool:
        return (await look()).complete

    assert not await is_complete(), "topics that were found just now are unread"
    await eventually(is_complete)
    counted = {scene.topic: await asyncio.to_thread(scene.counted) for scene in (one, two, lost)}
    assert (await look()).known == sum(counted.values()) > 0

    await world.delete_topic(lost.topic)

    async def is_gone() -> bool:
        return (await look()).known == counted[one.topic] + counted[two.topic]

    await eventually(is_gone)
    await eventually(is_complete)
