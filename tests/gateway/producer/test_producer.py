"""The producer against the embedded broker and its scripted faults."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import DefaultPartitioner

from activator.kafka.connection import Address, SecurityOptions
from activator.local.broker.config import BrokerConfig
from activator.local.broker.faults import Delay, DropConnection, Fail, Fault
from activator.local.broker.protocol import ApiKey, ErrorCode
from activator.local.broker.server import EmbeddedBroker
from gateway.cloudevents.kafka import Record
from gateway.producer import control
from gateway.producer.outcome import Failure, Outcome, Reason, Receipt
from gateway.producer.producer import Options, Producer
from tests.gateway.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Observed:
    """What metrics would see."""

    retried: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)

    def batch_retried(self, reason: str) -> None:
        """See `producer.Observer`."""
        self.retried.append(reason)

    def identity_renewed(self, reason: str) -> None:
        """See `producer.Observer`."""
        self.renewed.append(reason)


@dataclass
class Bed:
    """A broker and a producer that writes to it."""

    broker: EmbeddedBroker
    producer: Producer
    observed: Observed
    released: int = 0

    async def send(
        self, *values: bytes, key: bytes | None = b"k", topic: str = "orders", seconds: float = 3.0
    ) -> list[Outcome]:
        """Deliver records with one key."""
        records = [Record(key, value, [("ce_id", b"1")]) for value in values]
        return await self.producer.deliver(topic, records, seconds=seconds, released=self._release)

    async def read(self, topic: str = "orders") -> list[bytes]:
        """Read all records of a topic, partition by partition."""
        consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]
            topic, bootstrap_servers=self.broker.bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            expected = sum(ends.values())
            found: list[tuple[int, int, bytes]] = []
            async with asyncio.timeout(5):
                while len(found) < expected:
                    record = await consumer.getone()
                    found.append((record.partition, record.offset, bytes(record.value)))
        finally:
            await consumer.stop()
        return [value for _, _, value in sorted(found)]

    async def under_way(self) -> None:
        """Wait until a batch of `orders` is on its way to the broker."""
        await eventually(lambda: self.producer._lanes["orders", 0].busy)

    def _release(self) -> None:
        self.released += 1


@asynccontextmanager
async def bed(partitions: int = 1, config: BrokerConfig | None = None) -> AsyncIterator[Bed]:
    """Run both; the topic `orders` exists."""
    async with EmbeddedBroker(now=lambda: NOW, host="127.0.0.1", port=0, config=config or BrokerConfig()) as broker:
        broker.create_topic("orders", partitions=partitions)
        observed = Observed()
        async with running(Producer(options(broker.port), observed)) as producer:
            yield Bed(broker, producer, observed)


def options(port: int) -> Options:
    """Options for a broker on the loopback."""
    return Options((Address("127.0.0.1", port),), SecurityOptions)


@asynccontextmanager
async def running(producer: Producer) -> AsyncIterator[Producer]:
    """Run a producer."""
    task = asyncio.create_task(producer.run())
    try:
        yield producer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_delivered_in_order() -> None:
    """Records of one request, and of one request after another, have consecutive offsets; all is released."""
    async with bed() as at:
        assert await at.send(b"a", b"b") == [Receipt(0, 0), Receipt(0, 1)]
        assert await at.send(b"c") == [Receipt(0, 2)]
        assert await at.read() == [b"a", b"b", b"c"]
        assert at.released == 2


async def test_keys_go_where_kafkas_own_producers_send_them() -> None:
    """A key's partition is that of the default partitioner, so that all producers' records of it are neighbours."""
    async with bed(partitions=7) as at:
        for key in (b"a", b"order-17", b"x" * 100, "Käse".encode()):
            (outcome,) = await at.send(b"v", key=key)
            assert isinstance(outcome, Receipt)
            assert outcome.partition == DefaultPartitioner()(key, list(range(7)), list(range(7)))


async def test_no_key_spreads() -> None:
    """Records without a key reach all partitions in the long run, and one request's stay together."""
    async with bed(partitions=3) as at:
        reached = set()
        for _ in range(60):
            first, second = await at.send(b"a", b"b", key=None)
            assert isinstance(first, Receipt)
            assert isinstance(second, Receipt)
            assert first.partition == second.partition
            reached.add(first.partition)
        assert reached == {0, 1, 2}


async def test_no_value_is_a_tombstone() -> None:
    """A record may have no value."""
    async with bed() as at:
        record = Record(b"k", None, [])
        assert await at.producer.deliver("orders", [record], seconds=3, released=lambda: None) == [Receipt(0, 0)]


async def test_missing_topic_is_not_created() -> None:
    """A topic that does not exist is a failure, stays missing, and is found soon after somebody creates it."""
    async with bed(config=BrokerConfig(auto_create_topics_enable=True)) as at:
        (outcome,) = await at.send(b"a", topic="nope")
        assert isinstance(outcome, Failure)
        assert (outcome.reason, outcome.maybe_written) == (Reason.TOPIC_MISSING, False)
        assert at.released == 1
        at.broker.create_topic("nope", partitions=1)  # would be refused had it been created
        (outcome,) = await at.send(b"a", topic="nope")
        assert isinstance(outcome, Failure), "that it is missing is remembered for a moment"
        await asyncio.sleep(control.FAILURE_SECONDS)
        assert await at.send(b"a", topic="nope") == [Receipt(0, 0)]


async def test_deleted_topic() -> None:
    """A topic that is deleted while events come in turns from accepted to missing.

    Who answers UNKNOWN_TOPIC_OR_PARTITION may have appended the event before: what becomes of it is not known.
    """
    async with bed() as at:
        await at.send(b"a")
        at.broker.delete_topic("orders")
        (outcome,) = await at.send(b"b", seconds=5)
        assert isinstance(outcome, Failure)
        assert outcome.maybe_written
        (outcome,) = await at.send(b"c", seconds=5)
        assert isinstance(outcome, Failure)
        assert (outcome.reason, outcome.maybe_written) == (Reason.TOPIC_MISSING, False)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ErrorCode.MESSAGE_TOO_LARGE, Reason.TOO_LARGE),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, Reason.DENIED),
        (ErrorCode.INVALID_RECORD, Reason.REFUSED),
        (ErrorCode.INVALID_TIMESTAMP, Reason.REFUSED),
    ],
)
async def test_a_refusal_harms_no_later_event(code: ErrorCode, reason: Reason) -> None:
    """A refused batch leaves no gap in the sequence numbers: the next event is accepted under the same producer id."""
    async with bed() as at:
        await at.send(b"a")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(code), times=1))
        (outcome,) = await at.send(b"b")
        assert isinstance(outcome, Failure)
        assert (outcome.reason, outcome.maybe_written) == (reason, False)
        assert await at.send(b"c") == [Receipt(0, 1)]
        assert at.observed.renewed == []


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.KAFKA_STORAGE_ERROR,
    ],
)
async def test_transient_errors_are_ridden_out(code: ErrorCode) -> None:
    """A passing error costs time, not the event."""
    async with bed() as at:
        await at.send(b"a")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(code), times=2))
        assert await at.send(b"b") == [Receipt(0, 1)]
        assert await at.read() == [b"a", b"b"]
        assert at.observed.retried == [code.name] * 2


@pytest.mark.parametrize("code", [ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.INVALID_PRODUCER_EPOCH])
async def test_fatal_errors_lose_nothing_that_waits(code: ErrorCode) -> None:
    """After a fatal error everything goes on in order under a new producer id, within a moment."""
    async with bed() as at:
        await at.send(b"0")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(code), times=1))
        began = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*(at.send(b"%d" % number) for number in range(1, 9)))
        assert asyncio.get_running_loop().time() - began < 2
        assert all(isinstance(outcome, Receipt) for (outcome,) in outcomes)
        assert await at.read() == [b"%d" % number for number in range(9)]
        assert at.observed.renewed == [code.name]


async def test_one_poisoned_partition_harms_no_other() -> None:
    """A partition that refuses our sequence numbers does not stop its neighbours."""
    async with bed(partitions=2) as at:
        fault = Fault(ApiKey.PRODUCE, Fail(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER), partition=0)
        with at.broker.faults.injected(fault):
            healthy = b"a"
            while DefaultPartitioner()(healthy, [0, 1], [0, 1]) == 0:
                healthy += b"a"
            for _ in range(5):
                assert isinstance((await at.send(b"v", key=healthy))[0], Receipt)


@pytest.mark.parametrize("written", [True, False])
async def test_lost_answers_double_nothing(written: bool) -> None:  # noqa: FBT001 - a column
    """A connection that breaks before the answer, with the batch written or not, ends in one record and a receipt."""
    async with bed() as at:
        await at.send(b"a")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, DropConnection(after_effect=written), times=2))
        assert await at.send(b"b") == [Receipt(0, 1)]
        assert await at.read() == [b"a", b"b"]


async def test_order_of_a_key_survives_lost_answers() -> None:
    """However often answers get lost, one key's records stay in the order they were sent in."""
    async with bed(partitions=2) as at:
        await at.send(b"000")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, DropConnection(after_effect=True), times=2))
        at.broker.faults.add(Fault(ApiKey.PRODUCE, DropConnection(after_effect=False), times=1))
        sending = [asyncio.create_task(at.send(b"%03d" % number, seconds=10)) for number in range(1, 40)]
        outcomes = await asyncio.gather(*sending)
        assert all(isinstance(outcome, Receipt) for (outcome,) in outcomes)
        assert await at.read() == [b"%03d" % number for number in range(40)]


async def test_deadline_of_what_was_sent() -> None:
    """A broker that does not answer in time leaves it unknown; what waited behind it was certainly not written."""
    async with bed() as at:
        await at.send(b"a")
        fault = at.broker.faults.add(Fault(ApiKey.PRODUCE, Delay(60_000)))
        first = asyncio.create_task(at.send(b"b", seconds=0.2))
        await at.under_way()
        second = await at.send(b"c", seconds=0.1)
        assert second[0] == Failure(Reason.UNAVAILABLE, "Kafka did not acknowledge it within 0.1 s")
        assert (await first)[0] == Failure(
            Reason.UNAVAILABLE, "Kafka did not acknowledge it within 0.2 s", maybe_written=True
        )
        assert at.released == 2, "what was sent is held until its fate is known"
        at.broker.faults.remove(fault)
        at.broker.disconnect_all()
        assert isinstance((await at.send(b"d", seconds=5))[0], Receipt)
        assert await at.read() == [b"a", b"b", b"d"]
        assert at.released == 4


async def test_client_that_leaves() -> None:
    """A request that is cancelled while it waits is not sent."""
    async with bed() as at:
        await at.send(b"a")
        fault = at.broker.faults.add(Fault(ApiKey.PRODUCE, Delay(300)))
        under_way = asyncio.create_task(at.send(b"b", seconds=5))
        await at.under_way()
        leaving = asyncio.create_task(at.send(b"c", seconds=5))
        await asyncio.sleep(0)
        leaving.cancel()
        at.broker.faults.remove(fault)
        await under_way
        await at.send(b"d")
        assert await at.read() == [b"a", b"b", b"d"]


async def test_no_kafka() -> None:
    """Without Kafka an event has its answer at its deadline, and at once when Kafka has been gone for a while."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with running(Producer(options(unused.getsockname()[1]), Observed())) as producer:
            loop = asyncio.get_running_loop()
            began = loop.time()
            (outcome,) = await producer.deliver("orders", [Record(None, b"", [])], seconds=0.2, released=lambda: None)
            assert isinstance(outcome, Failure)
            assert (outcome.reason, outcome.maybe_written) == (Reason.UNAVAILABLE, False)
            assert loop.time() - began < 3, "that is less than a request's own deadline"
            await eventually(lambda: "Connect call failed" in (producer.problem() or ""))


async def test_kafka_comes_and_goes() -> None:
    """Readiness follows Kafka both ways, and events are delivered again without a restart."""
    async with bed() as at:
        await at.send(b"a")
        assert at.producer.problem() is None
        faults = [Fault(api, DropConnection()) for api in (ApiKey.METADATA, ApiKey.PRODUCE)]
        with at.broker.faults.injected(*faults):
            at.broker.disconnect_all()
            await eventually(lambda: at.producer.problem() is not None, seconds=control.PING_SECONDS + 2)
            (outcome,) = await at.send(b"b", seconds=0.1)
            assert isinstance(outcome, Failure)
        await eventually(lambda: at.producer.problem() is None)
        assert isinstance((await at.send(b"c", seconds=5))[0], Receipt)


async def test_leaderless_partition() -> None:
    """A topic whose leader is being elected waits for it, without a storm of metadata requests."""
    async with bed() as at:
        await at.send(b"a")
        fault = at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER)))
        (outcome,) = await at.send(b"b", seconds=1.0)
        assert outcome == Failure(Reason.UNAVAILABLE, "Kafka did not acknowledge it within 1 s", maybe_written=True)
        assert len(at.observed.retried) < 12
        at.broker.faults.remove(fault)
        assert isinstance((await at.send(b"c"))[0], Receipt)
        assert await at.read() == [b"a", b"b", b"c"]


async def test_a_topic_short_of_replicas_holds_up_no_other() -> None:
    """A partition whose replicas lag is tried again over a connection of its own."""
    async with bed() as at:
        at.broker.create_topic("sick", partitions=1)
        await at.send(b"a")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(ErrorCode.REQUEST_TIMED_OUT), topic="sick", times=1))
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Delay(1000), topic="sick", times=1))
        sick = asyncio.create_task(at.send(b"s", topic="sick"))
        await eventually(lambda: at.observed.retried == ["REQUEST_TIMED_OUT"])
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not sick.done() and loop.time() - began < 0.8:
            assert isinstance((await at.send(b"b", seconds=0.5))[0], Receipt)
        assert await sick == [Receipt(0, 0)]


async def test_broker_that_moves() -> None:
    """A broker whose address changes while a request is under way takes nothing with it."""
    async with bed() as at:
        await at.send(b"a")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Delay(300), times=1))
        sending = asyncio.create_task(at.send(b"b", seconds=5))
        await at.under_way()
        ((node_id, apart),) = at.producer._brokers
        at.producer._retire(node_id, apart=apart)
        assert await sending == [Receipt(0, 1)]
        assert await at.read() == [b"a", b"b"]


async def test_while_a_producer_id_is_fetched() -> None:
    """A partition that is used for the first time while no producer id is at hand waits for one."""
    async with bed(partitions=2) as at:
        keys = {DefaultPartitioner()(key, [0, 1], [0, 1]): key for key in (b"%d" % number for number in range(20))}
        await at.send(b"a", key=keys[0])
        at.broker.faults.add(Fault(ApiKey.INIT_PRODUCER_ID, Delay(300)))
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(ErrorCode.INVALID_PRODUCER_EPOCH), partition=0, times=1))
        first = asyncio.create_task(at.send(b"b", key=keys[0]))
        await eventually(lambda: at.observed.renewed != [])
        assert await at.send(b"c", key=keys[1]) == [Receipt(1, 0)]
        assert await first == [Receipt(0, 1)]


async def test_small_topic_limit() -> None:
    """Many small events in one batch over the topic's limit are all accepted; the one that is too large is not."""
    async with bed() as at:
        at.broker.create_topic("small", partitions=1, configs={"max.message.bytes": "2000"})
        outcomes = await at.send(*(b"x" * 300 for _ in range(40)), b"y" * 3000, b"z", topic="small", seconds=5)
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
        assert len(accepted) == 41
        failure = outcomes[40]
        assert isinstance(failure, Failure)
        assert failure.reason is Reason.TOO_LARGE
        assert at.observed.renewed == []


async def test_shutdown_answers_what_waits() -> None:
    """A producer that ends leaves nobody waiting."""
    async with EmbeddedBroker(now=lambda: NOW, host="127.0.0.1", port=0) as broker:
        broker.create_topic("orders", partitions=1)
        broker.faults.add(Fault(ApiKey.PRODUCE, Delay(60_000)))
        async with running(Producer(options(broker.port), Observed())) as producer:
            waiting = [
                asyncio.create_task(
                    producer.deliver("orders", [Record(None, b"", [])], seconds=60, released=lambda: None)
                )
                for _ in range(2)
            ]
            await eventually(lambda: ("orders", 0) in producer._lanes and producer._lanes["orders", 0].busy)
        for (outcome,) in await asyncio.gather(*waiting):
            assert isinstance(outcome, Failure)
            assert outcome.reason is Reason.UNAVAILABLE


async def test_many_at_once() -> None:
    """A thousand requests at once are all delivered, each exactly once."""
    async with bed(partitions=4) as at:
        outcomes = await asyncio.gather(*(at.send(b"%04d" % number, key=None) for number in range(1000)))
        places = {(outcome.partition, outcome.offset) for (outcome,) in outcomes if isinstance(outcome, Receipt)}
        assert len(places) == 1000
        assert sorted(await at.read()) == [b"%04d" % number for number in range(1000)]
