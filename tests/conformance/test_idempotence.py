"""Idempotent producers (KIP-98): what is stored once, what is refused, what is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance.raw_client import batch_of

if TYPE_CHECKING:
    from tests.conformance.world import World

PARTITION = 1


class Producer:
    """One producer id that writes to the empty partition of the world's topic."""

    def __init__(self, world: World) -> None:
        self.world = world
        body = {"transactional_id": None, "transaction_timeout_ms": 1000}
        answer = world.client.call(ApiKey.INIT_PRODUCER_ID, 4, body)
        assert (answer["error_code"], answer["producer_epoch"]) == (ErrorCode.NONE, 0)
        self.producer_id = answer["producer_id"]

    def send(self, sequence: int, records: int = 1, epoch: int = 0) -> tuple[ErrorCode, int]:
        """(error, base offset) of a batch whose first record has this sequence number."""
        batch = batch_of([b"x"] * records, producer_id=self.producer_id, producer_epoch=epoch, base_sequence=sequence)
        answer = self.world.produce(PARTITION, batch)
        return ErrorCode(answer["error_code"]), answer["base_offset"]


@pytest.fixture
def producer(world: World) -> Producer:
    """A producer that has sent nothing yet."""
    return Producer(world)


def test_producer_ids_are_unique(world: World) -> None:
    """Each InitProducerId gives another one."""
    assert Producer(world).producer_id != Producer(world).producer_id


def test_a_repeated_batch_is_stored_once(producer: Producer) -> None:
    """A batch that comes again is answered with the offset it got the first time."""
    assert producer.send(0, records=3) == (ErrorCode.NONE, 0)
    assert producer.send(3) == (ErrorCode.NONE, 3)
    assert producer.send(0, records=3) == (ErrorCode.NONE, 0)
    assert producer.send(4) == (ErrorCode.NONE, 4)


def test_a_gap_is_refused(producer: Producer) -> None:
    """A batch that is not the next one was overtaken: OUT_OF_ORDER_SEQUENCE_NUMBER, and nothing is stored."""
    producer.send(0, records=3)
    assert producer.send(4) == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
    assert producer.send(2, records=2) == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
    assert producer.send(3) == (ErrorCode.NONE, 3)


def test_five_batches_are_remembered(producer: Producer) -> None:
    """The fifth batch back is still known as a repetition, the sixth is not."""
    for sequence in range(6):
        assert producer.send(sequence) == (ErrorCode.NONE, sequence)
    assert producer.send(1) == (ErrorCode.NONE, 1)
    assert producer.send(0) == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)


def test_a_new_epoch_begins_at_0_and_fences_the_old_one(producer: Producer) -> None:
    """After an epoch is bumped its sequence numbers begin again; the old epoch is refused."""
    producer.send(0)
    assert producer.send(5, epoch=1) == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
    assert producer.send(0, epoch=1) == (ErrorCode.NONE, 1)
    assert producer.send(1, epoch=0) == (ErrorCode.INVALID_PRODUCER_EPOCH, -1)


def test_a_producer_that_is_not_remembered_may_begin_anywhere(producer: Producer) -> None:
    """Its state may have gone with its records; from there on order is kept."""
    assert producer.send(7) == (ErrorCode.NONE, 0)
    assert producer.send(9) == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
    assert producer.send(8) == (ErrorCode.NONE, 1)


def test_sequence_numbers_begin_again_after_the_largest(producer: Producer) -> None:
    """After 2^31 - 1 comes 0, also in the middle of a batch."""
    assert producer.send(2**31 - 2, records=2) == (ErrorCode.NONE, 0)
    assert producer.send(0) == (ErrorCode.NONE, 2)
    producer.producer_id += 1_000_000
    assert producer.send(2**31 - 1, records=3) == (ErrorCode.NONE, 3)
    assert producer.send(2) == (ErrorCode.NONE, 6)
