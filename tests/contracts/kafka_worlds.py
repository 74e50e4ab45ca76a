"""Kafka as the contract suites need it: what producers, consumers and operators do, on a fake and on live brokers."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as ConsumedPartition
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it re-exports them without saying so
    AdminClient,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from activator.core.model import Cluster, GroupState, Push, TargetRef
from activator.kafka.client import Connections
from activator.kafka.commits import KafkaGroupOffsets
from activator.kafka.lag import KafkaLagReader
from activator.kafka.tail import KafkaTail
from tests.fakes.kafka import FakeKafka
from tests.fakes.kafka_ports import FakeGroupOffsets, FakeLagReader, FakeWakeSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

    from activator.local.broker.config import BrokerConfig
    from activator.local.broker.server import EmbeddedBroker
    from activator.ports import GroupOffsets, LagReader, PushListener, WakeSource

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REF = TargetRef("shop", "Deployment", "orders")
OTHER_REF = TargetRef("shop", "Deployment", "billing")
SECONDS = 20.0
"""How long a test waits for what must come: never reached where all is well."""
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
NO_ANSWER = {KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}

Producer: Any = AIOKafkaProducer  # aiokafka ships no types
Consumer: Any = AIOKafkaConsumer


class KafkaWorld(Protocol):
    """One Kafka cluster and what happens on it; every method returns once it has taken effect."""

    cluster: Cluster

    async def create_topic(self, partitions: int = 1, *, name: str | None = None) -> str:
        """Create a topic, by default of a new name, and return its name."""

    async def grow_topic(self, topic: str, partitions: int) -> None:
        """Add partitions."""

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic."""

    async def produce(self, topic: str, partition: int = 0, count: int = 1, *, traceparent: str | None = None) -> int:
        """Append records and return the first one's offset."""

    async def open_transaction(self, topic: str, partition: int = 0) -> None:
        """Append one record in a transaction that stays open."""

    async def end_transaction(self, topic: str, partition: int = 0, *, commit: bool) -> None:
        """Commit or abort it."""

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset."""

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Commit an offset for a group without members."""

    async def pass_retention(self, topic: str, group: str) -> None:
        """Let Kafka's retention of offsets pass: for this group, which has been left, and those left before it."""

    def new_group(self) -> str:
        """Return the name of a group that never was."""

    def consuming(self, topic: str, group: str) -> AbstractAsyncContextManager[None]:
        """Let a member of a group, which starts at latest and commits nothing, hold all partitions of a topic."""

    def reader(self) -> LagReader:
        """Return the lag reader of this world."""

    def group_offsets(self) -> GroupOffsets:
        """Return what commits for groups without members in this world."""

    def watching(self, listener: PushListener) -> AbstractAsyncContextManager[WakeSource]:
        """Run the wake source of this world."""


class Pushes:
    """A listener that a test can wait on."""

    def __init__(self) -> None:
        self.all: list[Push] = []
        self._queue: asyncio.Queue[Push] = asyncio.Queue()

    def push(self, push: Push) -> None:
        """Keep a push."""
        self.all.append(push)
        self._queue.put_nowait(push)

    async def next(self) -> Push:
        """Wait for the next push."""
        async with asyncio.timeout(SECONDS):
            return await self._queue.get()

    async def next_of(self, topic: str) -> Push:
        """Wait for the next push of one topic, past any other's."""
        while (push := await self.next()).topic != topic:
            pass
        return push


class FakeWorld:
    """The fake of the loop's tests."""

    def __init__(self) -> None:
        self.kafka = FakeKafka()
        self.cluster = self.kafka.cluster
        self._names = (f"topic-{number}" for number in itertools.count())

    async def create_topic(self, partitions: int = 1, *, name: str | None = None) -> str:
        """Create a topic."""
        name = name or next(self._names)
        self.kafka.create_topic(name, partitions)
        return name

    async def grow_topic(self, topic: str, partitions: int) -> None:
        """Add partitions."""
        self.kafka.create_topic(topic, partitions)

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic."""
        self.kafka.delete_topic(topic)

    async def produce(self, topic: str, partition: int = 0, count: int = 1, *, traceparent: str | None = None) -> int:
        """Append records."""
        return self.kafka.produce(topic, partition, count, traceparent=traceparent)

    async def open_transaction(self, topic: str, partition: int = 0) -> None:
        """Append one record of a transaction."""
        self.kafka.produce_in_transaction(topic, partition)

    async def end_transaction(self, topic: str, partition: int = 0, *, commit: bool) -> None:
        """Commit or abort."""
        self.kafka.end_transaction(topic, partition, commit=commit)

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete records."""
        self.kafka.trim(topic, partition, before)

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Commit an offset."""
        self.kafka.commit(group, topic, partition, offset)

    async def pass_retention(self, topic: str, group: str) -> None:  # noqa: ARG002 - it passes for all
        """Forget at once."""
        self.kafka.pass_retention()

    def new_group(self) -> str:
        """Draw a name."""
        return next(self._names)

    @asynccontextmanager
    async def consuming(self, topic: str, group: str) -> AsyncIterator[None]:
        """Give the group a member."""
        self.kafka.set_group(group, GroupState.STABLE, 1, {topic})
        yield
        self.kafka.set_group(group, GroupState.EMPTY, 0)

    def reader(self) -> LagReader:
        """Return the fake's reader."""
        return FakeLagReader(self.kafka)

    def group_offsets(self) -> GroupOffsets:
        """Return the fake's."""
        return FakeGroupOffsets(self.kafka)

    @asynccontextmanager
    async def watching(self, listener: PushListener) -> AsyncIterator[WakeSource]:
        """Return the fake's wake source; it needs no task."""
        yield FakeWakeSource(self.kafka, listener=listener, now=lambda: NOW)


class LiveWorld:
    """Live brokers, driven by aiokafka's producer, consumer and admin client; the readers under test share none of it.

    Use as an asynchronous context manager.
    """

    def __init__(self, bootstrap_servers: str, *, retention_seconds: float = 0.0) -> None:
        self.cluster = Cluster(bootstrap_servers)
        self.connections = Connections()
        self._bootstrap_servers = bootstrap_servers
        self._retention_seconds = retention_seconds
        self._transactions: dict[tuple[str, int], Any] = {}

    async def __aenter__(self) -> Self:
        self._admin = AdminClient({"bootstrap.servers": self._bootstrap_servers})
        self._producer = Producer(bootstrap_servers=self._bootstrap_servers, acks="all")
        await self._producer.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        del self._admin  # closes librdkafka's connections, which would else be made anew while the broker stops
        for producer in self._transactions.values():
            await producer.stop()
        await self._producer.stop()
        await self.connections.close()

    async def create_topic(self, partitions: int = 1, *, name: str | None = None, replication: int = 1) -> str:
        """Create a topic and wait until its logs can be read."""
        name = name or f"topic-{uuid.uuid4().hex[:12]}"
        await _done(self._admin.create_topics([NewTopic(name, partitions, replication)]))
        await self._settled(name, partitions)
        return name

    async def grow_topic(self, topic: str, partitions: int) -> None:
        """Add partitions and wait until their logs can be read."""
        await _done(self._admin.create_partitions([NewPartitions(topic, partitions)]))
        await self._settled(topic, partitions)
        await self._producer.client.force_metadata_update()  # it may have produced to the topic already

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic and wait until the broker knows."""
        await _done(self._admin.delete_topics([topic]))
        await eventually(lambda: self._end_is(topic, 0, None))

    async def produce(self, topic: str, partition: int = 0, count: int = 1, *, traceparent: str | None = None) -> int:
        """Append records, all in one batch where they come at once."""
        headers = [("traceparent", traceparent.encode())] if traceparent else []
        sent = [await self._producer.send(topic, b"value", partition=partition, headers=headers) for _ in range(count)]
        return int(min([(await record).offset for record in sent]))

    async def open_transaction(self, topic: str, partition: int = 0) -> None:
        """Append one record in a transaction."""
        producer = Producer(bootstrap_servers=self._bootstrap_servers, transactional_id=uuid.uuid4().hex)
        await producer.start()
        self._transactions[topic, partition] = producer
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"value", partition=partition)

    async def end_transaction(self, topic: str, partition: int = 0, *, commit: bool) -> None:
        """Commit or abort, and wait until the marker is there."""
        producer = self._transactions.pop((topic, partition))
        before = await self._end(topic, partition)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
        await producer.stop()
        await eventually(lambda: self._end_moved(topic, partition, before))

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete records (DeleteRecords)."""
        await _done(self._admin.delete_records([TopicPartition(topic, partition, before)]))

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Commit by a consumer that never joins."""
        consumer = Consumer(bootstrap_servers=self._bootstrap_servers, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            place = ConsumedPartition(topic, partition)
            consumer.assign([place])
            await consumer.commit({place: offset})
        finally:
            await consumer.stop()

    async def pass_retention(self, topic: str, group: str) -> None:
        """Wait until this group has no offset any more, and then for a few more looks at the others."""
        place = TopicPartition(topic, 0)

        async def is_forgotten() -> bool:
            asked = ConsumerGroupTopicPartitions(group, [place])
            (answer,) = self._admin.list_consumer_group_offsets([asked]).values()
            (found,) = (await asyncio.wrap_future(answer)).topic_partitions
            return bool(found.offset < 0)

        await eventually(is_forgotten, SECONDS + 2 * self._retention_seconds)
        await asyncio.sleep(self._retention_seconds / 20)

    def new_group(self) -> str:
        """Draw a name."""
        return f"group-{uuid.uuid4().hex[:12]}"

    @asynccontextmanager
    async def consuming(self, topic: str, group: str) -> AsyncIterator[None]:
        """Join by a consumer of the classic protocol."""
        consumer = Consumer(
            topic,
            bootstrap_servers=self._bootstrap_servers,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
        )
        await consumer.start()
        try:
            async with asyncio.timeout(SECONDS):
                while not consumer.assignment():
                    await consumer.getmany(timeout_ms=50)
            yield
        finally:
            await consumer.stop()

    def reader(self) -> LagReader:
        """Return the real reader."""
        return KafkaLagReader(self.connections)

    def group_offsets(self) -> GroupOffsets:
        """Return the real one."""
        return KafkaGroupOffsets(self.connections)

    @asynccontextmanager
    async def watching(self, listener: PushListener) -> AsyncIterator[WakeSource]:
        """Run the real tail."""
        tail = KafkaTail(self.connections, listener, lambda: NOW)
        running = asyncio.create_task(tail.run())
        try:
            yield tail
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def _settled(self, topic: str, partitions: int) -> None:
        """Wait until every partition answers: a broker makes the logs a moment after it has told of the topic."""
        for number in range(partitions):
            await eventually(lambda number=number: self._end_moved(topic, number, None))  # type: ignore[misc]

    async def _end_is(self, topic: str, partition: int, end: int | None) -> bool:
        try:
            return await self._end(topic, partition) == end
        except TimeoutError:
            return False

    async def _end_moved(self, topic: str, partition: int, end: int | None) -> bool:
        try:
            return await self._end(topic, partition) != end
        except TimeoutError:
            return False

    async def _end(self, topic: str, partition: int) -> int | None:
        """Return the end of a log; None: the broker says that there is none. Raises TimeoutError."""
        place = TopicPartition(topic, partition)
        admin = AdminClient({"bootstrap.servers": self._bootstrap_servers})  # a used one remembers who led
        (answer,) = admin.list_offsets({place: LATEST}, request_timeout=SECONDS / 5).values()
        try:
            return int((await asyncio.wrap_future(answer)).offset)
        except KafkaException as error:
            if error.args[0].code() in NO_ANSWER:
                raise TimeoutError(topic) from error
            return None


class EmbeddedWorld(LiveWorld):
    """An embedded broker, whose clock can be moved."""

    def __init__(self, broker: EmbeddedBroker, config: BrokerConfig) -> None:
        super().__init__(broker.bootstrap_servers)
        self._broker = broker
        self._config = config

    async def pass_retention(self, topic: str, group: str) -> None:
        """Be later by all of it."""
        self._broker._zero_ms += self._config.offsets_retention_ms
        await super().pass_retention(topic, group)


async def eventually(condition: Callable[[], Awaitable[bool]], within_seconds: float = SECONDS) -> None:
    """Wait until a condition holds that brokers bring about a moment after they have answered."""
    async with asyncio.timeout(within_seconds):
        while not await condition():  # noqa: ASYNC110 - a broker sets no event
            await asyncio.sleep(0.02)


async def _done(answers: Mapping[Any, Future[Any]]) -> None:
    """Wait for the answers of librdkafka's admin client, which come from its own thread."""
    for answer in answers.values():
        await asyncio.wrap_future(answer)
