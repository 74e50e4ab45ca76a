"""What is answered about records: Produce, Fetch, ListOffsets, DeleteRecords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance import world as w
from tests.conformance.raw_client import batch_of
from tests.conformance.rows import NONE, Row, partition_says, says, unknown_says
from tests.conformance.world import FIRST_MS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.local.broker.protocol import Body
    from tests.conformance.world import World

BATCH = batch_of([b"one", b"two"])
ABSENT = 9
"""A partition that the world's topic does not have."""


def damaged(position: int, value: int) -> bytes:
    """The batch with one byte changed."""
    return BATCH[:position] + bytes([value]) + BATCH[position + 1 :]


def production(version: int) -> Row:
    """Produce that succeeds."""
    return Row(
        f"v{version}",
        ApiKey.PRODUCE,
        version,
        lambda world: w.produce(world.topic, 0, BATCH),
        partition_says(0, base_offset=5, log_append_time_ms=-1),
    )


def compressed(codec: int) -> Row:
    """Produce of a compressed batch."""
    batch = batch_of([b"z" * 100] * 3, compression=codec)
    return Row(
        f"codec {codec}",
        ApiKey.PRODUCE,
        7,
        lambda world: w.produce(world.topic, 1, batch),
        partition_says(1, base_offset=0),
    )


def refusal(name: str, error: ErrorCode, *batches: bytes, partition: int = 0, acks: int = -1, version: int = 7) -> Row:
    """Produce that is refused."""
    return Row(
        name,
        ApiKey.PRODUCE,
        version,
        lambda world: w.produce(world.topic, partition, *batches, acks=acks),
        partition_says(partition, error, base_offset=-1, log_append_time_ms=-1),
    )


ZSTD = batch_of([b"z" * 100] * 3, compression=4)
LARGE = batch_of([b"x" * 600_000] * 2)
UNNUMBERED = batch_of([b"x"], producer_id=9, producer_epoch=0, base_sequence=-1)

PRODUCE = [
    *(production(version) for version in range(3, 10)),
    *(compressed(codec) for codec in range(1, 5)),
    Row(
        "to a topic that is not there",
        ApiKey.PRODUCE,
        7,
        lambda _: w.produce(UNKNOWN, 0, BATCH),
        unknown_says(0, base_offset=-1),
    ),
    refusal("to a partition that is not there", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, BATCH, partition=ABSENT),
    refusal("with acks=5", ErrorCode.INVALID_REQUIRED_ACKS, BATCH, acks=5),
    refusal("nothing", ErrorCode.INVALID_RECORD),
    refusal("two batches", ErrorCode.INVALID_RECORD, BATCH, BATCH),
    refusal("a batch that does not fit its checksum", ErrorCode.CORRUPT_MESSAGE, damaged(len(BATCH) - 1, 0xFF)),
    refusal("a batch that is cut short", ErrorCode.INVALID_RECORD, BATCH[:-3]),
    refusal("half a header", ErrorCode.INVALID_RECORD, BATCH[:30]),
    refusal("message format v1", ErrorCode.INVALID_RECORD, damaged(16, 1)),
    refusal("a batch over max.message.bytes", ErrorCode.MESSAGE_TOO_LARGE, LARGE),
    refusal("a producer id without a sequence number", ErrorCode.INVALID_RECORD, UNNUMBERED),
    refusal("zstd in a version that cannot carry it", ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, ZSTD, version=6),
]


def offsets(
    name: str, partition: int, timestamp: int, answer: Callable[[World], Body], version: int = 7, epoch: int = -1
) -> Row:
    """ListOffsets of one partition."""
    return Row(
        name,
        ApiKey.LIST_OFFSETS,
        version,
        lambda world: w.list_offsets(world.topic, w.at(partition, timestamp, epoch)),
        answer,
    )


def found(partition: int, offset: int, timestamp: int = -1) -> Callable[[World], Body]:
    """An offset that is there."""
    return partition_says(partition, offset=offset, timestamp=timestamp)


LIST_OFFSETS = [
    *(offsets(f"the end in v{version}", 0, -1, found(0, 5), version) for version in range(1, 8)),
    offsets("the start", 0, -2, partition_says(0, offset=0, timestamp=-1, leader_epoch=0)),
    offsets("the end of an empty partition", 1, -1, partition_says(1, offset=0, timestamp=-1, leader_epoch=0)),
    offsets("the newest record", 0, -3, found(0, 4, FIRST_MS + 4)),
    offsets("the newest record where there is none", 1, -3, found(1, -1)),
    offsets("a time before the first record", 0, 0, found(0, 0, FIRST_MS)),
    offsets("a time inside a batch", 0, FIRST_MS + 1, found(0, 1, FIRST_MS + 1)),
    offsets("a time inside a gzipped batch", 2, FIRST_MS + 2, found(2, 2, FIRST_MS + 2)),
    offsets("a time in the second batch", 0, FIRST_MS + 4, found(0, 4, FIRST_MS + 4)),
    offsets("a time after the last", 0, FIRST_MS + 5, partition_says(0, offset=-1, timestamp=-1, leader_epoch=-1)),
    offsets("an absent partition", ABSENT, -1, partition_says(ABSENT, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)),
    offsets("a leader epoch of the future", 0, -1, partition_says(0, ErrorCode.UNKNOWN_LEADER_EPOCH), epoch=5),
    offsets("the leader epoch in force", 0, -1, found(0, 5), epoch=0),
    offsets("a timestamp that means nothing", 0, -9, partition_says(0, ErrorCode.UNSUPPORTED_VERSION)),
    Row(
        "a topic that is not there",
        ApiKey.LIST_OFFSETS,
        7,
        lambda _: w.list_offsets(UNKNOWN, w.latest(0)),
        unknown_says(0, offset=-1),
    ),
    Row(
        "one partition twice",
        ApiKey.LIST_OFFSETS,
        7,
        lambda world: w.list_offsets(world.topic, w.latest(0), w.at(0, -2)),
        partition_says(0, ErrorCode.INVALID_REQUEST),
    ),
]


def fetching(
    name: str,
    offset: int,
    answer: Callable[[World], Body],
    *,
    version: int = 11,
    partition: int = 0,
    epoch: int = -1,
    **more: Any,
) -> Row:
    """Fetch of one partition, without waiting unless the row says so."""
    return Row(
        name,
        ApiKey.FETCH,
        version,
        lambda world: w.fetch(w.topics(world.topic, w.position(partition, offset, leader_epoch=epoch)), **more),
        answer,
    )


LONG_MS = 60_000
"""A wait that would fail the test: the answer must not wait for it."""
OUT_OF_RANGE = partition_says(0, ErrorCode.OFFSET_OUT_OF_RANGE, high_watermark=-1, log_start_offset=-1)
NOT_THERE = partition_says(ABSENT, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, high_watermark=-1)

FETCH = [
    fetching("v4", 3, partition_says(0, high_watermark=5, last_stable_offset=5), version=4),
    *(
        fetching(f"v{version}", 3, partition_says(0, high_watermark=5, log_start_offset=0), version=version)
        for version in range(5, 13)
    ),
    fetching("at the end", 5, partition_says(0, high_watermark=5, records=b"")),
    fetching("beyond the end, told at once", 6, OUT_OF_RANGE, wait_ms=LONG_MS),
    fetching("before the start, told at once", -1, OUT_OF_RANGE, wait_ms=LONG_MS),
    fetching("an absent partition, told at once", 0, NOT_THERE, partition=ABSENT, wait_ms=LONG_MS),
    fetching("a leader epoch of the future", 0, partition_says(0, ErrorCode.UNKNOWN_LEADER_EPOCH), epoch=3),
    fetching("the leader epoch in force", 0, partition_says(0, high_watermark=5), epoch=0),
    Row(
        "a topic that is not there",
        ApiKey.FETCH,
        11,
        lambda _: w.fetch(w.topics(UNKNOWN, w.position(0, 0))),
        unknown_says(0, high_watermark=-1),
    ),
    Row(
        "nothing, told at once",
        ApiKey.FETCH,
        11,
        lambda _: w.fetch([], wait_ms=LONG_MS),
        says(error_code=NONE, topics=[]),
    ),
]


def deletion(name: str, offset: int, error: ErrorCode, low_watermark: int, partition: int = 0) -> Row:
    """DeleteRecords of one partition."""
    return Row(
        name,
        ApiKey.DELETE_RECORDS,
        2,
        lambda world: {"topics": w.topics(world.topic, {"partition": partition, "offset": offset}), "timeout_ms": 9000},
        partition_says(partition, error, low_watermark=low_watermark),
    )


DELETE_RECORDS = [
    deletion("up to the middle of a batch", 4, NONE, 4),
    deletion("up to the start", 0, NONE, 0),
    deletion("all of them", -1, NONE, 5),
    deletion("beyond the end", 99, ErrorCode.OFFSET_OUT_OF_RANGE, -1),
    deletion("before the start", -5, ErrorCode.OFFSET_OUT_OF_RANGE, -1),
    deletion("of an absent partition", 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, partition=ABSENT),
]
