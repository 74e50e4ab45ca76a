"""A leader that appends a batch and loses the leadership before its replicas have it: the batch may be in Kafka.

With acks=all the answer waits for the replicas. Where the leadership moves meanwhile, or the replica is taken from the
broker, the waiting Produce is answered with an error (`DelayedProduce.tryComplete`), although the batch is in the log,
and, where a follower had fetched it, in that of the new leader, under our producer id and sequence numbers.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.local.broker.faults import Delay, Fail, Fault
from activator.local.broker.protocol import ApiKey, ErrorCode
from gateway.producer import producer as producers
from gateway.producer import requests
from gateway.producer.outcome import Failure, Receipt
from gateway.producer.partitioner import partition_of
from tests.gateway.producer.test_producer import Bed, bed
from tests.gateway.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.producer.outcome import Outcome
    from gateway.producer.requests import PartitionAnswer

CODES = [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.KAFKA_STORAGE_ERROR]
each = pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)


def answer_after_append(monkeypatch: pytest.MonkeyPatch, code: ErrorCode) -> None:
    """Let the next batch be appended, and be answered by this error."""
    left = [code]
    read = requests.produce_answers

    def answers(response: object) -> Iterator[PartitionAnswer]:
        for answer in read(response):
            told = left.pop() if left and answer.code == 0 else answer.code
            yield replace(answer, code=int(told))

    monkeypatch.setattr("gateway.producer.broker.produce_answers", answers)


async def refused_after_append(
    at: Bed, monkeypatch: pytest.MonkeyPatch, code: ErrorCode
) -> asyncio.Task[list[Outcome]]:
    """An event is on its way that will be appended, and answered by this error."""
    await at.send(b"a")
    at.broker.faults.add(Fault(ApiKey.PRODUCE, Delay(200), times=1))
    answer_after_append(monkeypatch, code)
    sending = asyncio.create_task(at.send(b"b", seconds=5))
    await at.under_way()
    return sending


@each
async def test_what_is_acknowledged_is_in_kafka(monkeypatch: pytest.MonkeyPatch, code: ErrorCode) -> None:
    """The sender of what was appended leaves; the next event must not go under its sequence number, as a duplicate."""
    async with bed() as at:
        leaving = await refused_after_append(at, monkeypatch, code)
        leaving.cancel()
        (outcome,) = await at.send(b"c", seconds=5)
        assert isinstance(outcome, Receipt)
        assert await at.read() == [b"a", b"b", b"c"]


@each
async def test_nothing_is_doubled(monkeypatch: pytest.MonkeyPatch, code: ErrorCode) -> None:
    """What was appended is not sent again together with what came after it: Kafka would know neither."""
    async with bed() as at:
        first = await refused_after_append(at, monkeypatch, code)
        await asyncio.gather(first, at.send(b"c", seconds=5))
        assert await at.read() == [b"a", b"b", b"c"]


@each
async def test_not_written_is_not_written(monkeypatch: pytest.MonkeyPatch, code: ErrorCode) -> None:
    """An election that outlasts the event's time leaves it unknown: what is told as not written may be sent again."""
    async with bed() as at:
        await at.send(b"a")
        answer_after_append(monkeypatch, code)
        monkeypatch.setattr(at.producer._control, "want_refresh", lambda: None)
        (outcome,) = await at.send(b"b", seconds=0.5)
        assert isinstance(outcome, Failure)
        assert outcome.maybe_written
        assert await at.read() == [b"a", b"b"]


async def short_of_replicas(at: Bed) -> Fault:
    """A batch of unknown fate."""
    await at.send(b"a")
    fault = at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(ErrorCode.REQUEST_TIMED_OUT)))
    (outcome,) = await at.send(b"b", seconds=0.3)
    assert isinstance(outcome, Failure)
    assert outcome.maybe_written
    return fault


async def written(at: Bed, value: bytes) -> bool:
    """Whether an event is accepted."""
    return isinstance((await at.send(value, seconds=1))[0], Receipt)


@pytest.mark.parametrize("goes", ["is deleted", "is hidden"])
async def test_a_topic_that_goes_and_comes_back(goes: str) -> None:
    """A batch of unknown fate is given up with its topic; its partition goes on under another identity."""
    async with bed() as at:
        short = await short_of_replicas(at)
        denied = Fault(ApiKey.METADATA, Fail(ErrorCode.TOPIC_AUTHORIZATION_FAILED), topic="orders")
        if goes == "is deleted":
            at.broker.delete_topic("orders")
        else:
            at.broker.faults.add(denied)
        at.producer._control.want_refresh()
        await eventually(lambda: at.producer._lanes["orders", 0].batch is None)
        at.broker.faults.remove(short)
        if goes == "is deleted":
            at.broker.create_topic("orders", partitions=1)
        else:
            at.broker.faults.remove(denied)
        for _ in range(100):  # that it was missing is remembered for two seconds
            if await written(at, b"c"):
                return
            await asyncio.sleep(0.1)
        pytest.fail("nothing is accepted any more")


async def test_a_batch_of_unknown_fate_is_given_up_after_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """So long after the client was answered, not after the batch was first sent: the client may wait as long itself."""
    monkeypatch.setattr(producers, "_SEALED_SECONDS", 2.0)
    async with bed() as at:
        await at.send(b"a")
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(ErrorCode.REQUEST_TIMED_OUT)))
        await at.send(b"b", seconds=2.5)
        answered_at = asyncio.get_running_loop().time()
        await eventually(lambda: at.producer._lanes["orders", 0].batch is None, 10)
        assert asyncio.get_running_loop().time() - answered_at > 1.9


async def test_without_new_producer_ids_others_go_on() -> None:
    """A partition that needs another identity while Kafka gives none out concerns itself alone."""
    async with bed(partitions=2) as at:
        keys = keys_of_two_partitions()
        for key in keys:
            await at.send(b"a", key=key)
        at.broker.faults.add(Fault(ApiKey.INIT_PRODUCER_ID, Fail(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)))
        fatal = Fail(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        at.broker.faults.add(Fault(ApiKey.PRODUCE, fatal, partition=0, times=1))
        sick = asyncio.create_task(at.send(b"b", key=keys[0], seconds=2))
        await eventually(lambda: at.observed.renewed != [])
        assert isinstance((await at.send(b"c", key=keys[1]))[0], Receipt)
        assert at.producer.problem() is None
        assert not isinstance((await sick)[0], Receipt)


async def test_without_a_producer_id_for_long_records_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says why, and does not come at the end of the event's time only."""
    monkeypatch.setattr(producers, "_DOWN_SECONDS", 0.2)
    async with bed() as at:
        await at.send(b"a")
        at.broker.faults.add(Fault(ApiKey.INIT_PRODUCER_ID, Fail(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)))
        at.broker.faults.add(Fault(ApiKey.PRODUCE, Fail(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER), times=1))
        async with asyncio.timeout(5):
            (outcome,) = await at.send(b"b", seconds=600)
        assert isinstance(outcome, Failure)
        assert "no producer id: error code 14" in outcome.detail
        assert not outcome.maybe_written


def keys_of_two_partitions() -> list[bytes]:
    """A key of each."""
    return [next(key for key in map(b"%d".__mod__, range(20)) if partition_of(key, 2) == number) for number in range(2)]


async def test_no_storm_of_metadata_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic whose leaders are being elected as it is first asked for is asked for every so often, not in a loop."""
    asked: list[set[str]] = []
    make = requests.metadata

    def metadata(topics: set[str]) -> object:
        asked.append(topics)
        return make(topics)

    monkeypatch.setattr(requests, "metadata", metadata)
    async with bed() as at:
        at.broker.faults.add(Fault(ApiKey.METADATA, Fail(ErrorCode.LEADER_NOT_AVAILABLE), topic="orders"))
        await at.send(b"a", seconds=1.0)
        assert 2 < sum("orders" in topics for topics in asked) < 30
