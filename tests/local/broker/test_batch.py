"""Record batches: which are taken, and the little that is written into them."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatch

from activator.local.broker.batch import HEADER_SIZE, parse_produced
from activator.local.broker.protocol import ApiError, ErrorCode
from tests.conformance.raw_client import batch_of
from tests.local.broker.driver import record_format

BATCH = batch_of([b"a", b"b", b"c"], timestamp_ms=1000, producer_id=7, producer_epoch=1, base_sequence=2**31 - 2)
WITH_CODEC = dict(enumerate(["none", "gzip", "snappy", "lz4", "zstd"]))


def test_a_batch_is_known_by_its_header() -> None:
    """Offsets, times, producer and sequence numbers, which begin again at 0 after 2^31 - 1."""
    batch = parse_produced(memoryview(BATCH), record_format())
    assert (batch.last_offset, batch.max_timestamp, batch.producer_id, batch.producer_epoch) == (2, 1002, 7, 1)
    assert (batch.base_sequence, batch.last_sequence) == (2**31 - 2, 0)


@pytest.mark.parametrize("codec", WITH_CODEC, ids=WITH_CODEC.get)
def test_placing_a_batch_changes_its_offset_and_nothing_else(codec: int) -> None:
    """The records stay as the client compressed them, and the checksum still fits."""
    sent = batch_of([b"z" * 50] * 3, compression=codec)
    placed = parse_produced(memoryview(sent), record_format()).placed_at(41, 5)
    data = bytes(placed.data)
    assert data[16:] == sent[16:]
    read = DefaultRecordBatch(data)
    assert read.validate_crc()
    assert [record.offset for record in read] == [41, 42, 43]


def test_stamping_a_batch_gives_all_records_one_time() -> None:
    """LogAppendTime, with a checksum that fits again."""
    stamped = parse_produced(memoryview(BATCH), record_format()).stamped(5000, record_format())
    read = DefaultRecordBatch(bytes(stamped.data))
    assert read.validate_crc()
    assert {(record.timestamp, record.timestamp_type) for record in read} == {(5000, 1)}
    assert stamped.max_timestamp == 5000


def changed(position: int, value: int) -> memoryview:
    """The batch with one byte changed."""
    return memoryview(BATCH[:position] + bytes([value]) + BATCH[position + 1 :])


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        pytest.param(None, ErrorCode.INVALID_RECORD, "no record batch", id="null"),
        pytest.param(memoryview(b""), ErrorCode.INVALID_RECORD, "no record batch", id="nothing"),
        pytest.param(memoryview(BATCH[: HEADER_SIZE - 1]), ErrorCode.INVALID_RECORD, "no record", id="half a header"),
        pytest.param(memoryview(BATCH[:-1]), ErrorCode.INVALID_RECORD, "cut short", id="cut short"),
        pytest.param(memoryview(BATCH * 2), ErrorCode.INVALID_RECORD, "more than one", id="two batches"),
        pytest.param(changed(16, 1), ErrorCode.INVALID_RECORD, "format v2", id="format v1"),
        pytest.param(changed(60, 0), ErrorCode.INVALID_RECORD, "holds no record", id="no records"),
        pytest.param(changed(60, 9), ErrorCode.INVALID_RECORD, "not consecutive", id="offsets with gaps"),
        pytest.param(changed(22, 0x10), ErrorCode.INVALID_RECORD, "transactions", id="transactional"),
        pytest.param(changed(22, 0x20), ErrorCode.INVALID_RECORD, "transactions", id="control"),
        pytest.param(changed(22, 7), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, "codec", id="codec 7"),
        pytest.param(changed(53, 0xFF), ErrorCode.INVALID_RECORD, "numbers its batches", id="no sequence"),
        pytest.param(changed(len(BATCH) - 1, 9), ErrorCode.CORRUPT_MESSAGE, "checksum", id="a changed byte"),
    ],
)
def test_what_is_not_one_whole_batch_is_refused(data: memoryview | None, code: ErrorCode, message: str) -> None:
    """With the code that Kafka answers and a sentence."""
    with pytest.raises(ApiError) as refused:
        parse_produced(data, record_format())
    assert refused.value.code == code
    assert message in str(refused.value.message)
