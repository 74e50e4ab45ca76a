"""One partition: what retention, deletion, truncation and eviction leave of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.local.broker.batch import parse_produced
from activator.local.broker.log import BATCH_OVERHEAD, NOT_FOUND, PartitionLog, TimestampOffset
from activator.local.broker.protocol import ApiError, ErrorCode
from tests.conformance.raw_client import batch_of
from tests.local.broker.driver import record_format

RECORDS = record_format()


def appended(log: PartitionLog, count: int, *, at_ms: int = 0, **batch: int) -> int:
    """Append a batch of `count` records with times from `at_ms` on, and answer its offset."""
    data = memoryview(batch_of([b"x" * 20] * count, timestamp_ms=at_ms, **batch))
    return log.append(parse_produced(data, RECORDS), at_ms, log_append_time=False, records=RECORDS).base_offset


def log_of(*counts: int) -> PartitionLog:
    """A log of batches of so many records, a second apart."""
    log = PartitionLog()
    for number, count in enumerate(counts):
        appended(log, count, at_ms=number * 1000)
    return log


def test_offsets_are_consecutive() -> None:
    """Each batch begins where the one before ended."""
    log = PartitionLog()
    assert [appended(log, count) for count in (3, 1, 2)] == [0, 3, 4]
    assert (log.start_offset, log.end_offset) == (0, 6)


@pytest.mark.parametrize(("offset", "batches"), [(0, 3), (2, 3), (3, 2), (4, 1), (5, 1), (6, 0)])
def test_reading_begins_with_the_batch_that_holds_the_offset(offset: int, batches: int) -> None:
    """Batches of 3, 1 and 2 records: consumers skip what lies before the offset they asked for."""
    assert len(log_of(3, 1, 2).read(offset, 1 << 20, at_least_one=False)) == batches


@pytest.mark.parametrize("offset", [-1, 7])
def test_an_offset_that_is_not_in_the_log_is_out_of_range(offset: int) -> None:
    """Before the start, beyond the end."""
    with pytest.raises(ApiError) as refused:
        log_of(3, 1, 2).read(offset, 1 << 20, at_least_one=True)
    assert refused.value.code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_limit_takes_whole_batches_and_one_at_least_where_asked() -> None:
    """So that a large batch never stops a consumer, and a small limit never cuts one (KIP-74)."""
    log = log_of(1, 1, 1)
    size = log.size_bytes // 3
    assert len(log.read(0, 2 * size + 1, at_least_one=False)) == 2
    assert len(log.read(0, 1, at_least_one=True)) == 1
    assert log.read(0, 1, at_least_one=False) == []
    assert log.available_bytes(1, 10 * size) == 2 * size
    assert log.available_bytes(1, size) == size


def test_records_older_than_the_retention_go() -> None:
    """Batches whose newest record is too old go from the front, and no other."""
    log = log_of(3, 1, 2)
    log.expire(older_than_ms=1000, retention_bytes=None)
    assert (log.start_offset, log.end_offset) == (3, 6)
    log.expire(older_than_ms=9000, retention_bytes=None)
    assert (log.start_offset, log.end_offset, log.size_bytes) == (6, 6, 0)


def test_a_partition_keeps_at_least_its_retention_bytes() -> None:
    """The oldest goes only if without it there are still so many."""
    log = log_of(1, 1, 1)
    size = log.size_bytes // 3
    log.expire(older_than_ms=None, retention_bytes=2 * size)
    assert log.start_offset == 1
    log.expire(older_than_ms=None, retention_bytes=size + 1)
    assert log.start_offset == 1
    log.expire(older_than_ms=None, retention_bytes=0)
    assert (log.start_offset, log.end_offset) == (3, 3)


def test_deleting_records_may_leave_part_of_a_batch() -> None:
    """The start is where it was asked to be, and never goes back; offsets below it are out of range."""
    log = log_of(3, 1)
    assert log.delete_before(2) == 2
    assert log.delete_before(1) == 2
    assert len(log.read(2, 1 << 20, at_least_one=True)) == 2
    with pytest.raises(ApiError):
        log.check_range(1)
    assert log.first_at_or_after(0, RECORDS) == TimestampOffset(2, 2)


def test_a_truncated_log_ends_before_the_batch_that_was_lost() -> None:
    """And the next record gets an offset that was given before."""
    log = log_of(3, 1, 2)
    log.truncate_to(4)
    assert log.end_offset == 4
    assert appended(log, 1) == 4
    log.truncate_to(0)
    assert (log.start_offset, log.end_offset, log.size_bytes) == (0, 0, 0)


def test_truncation_below_the_start_takes_the_start_along() -> None:
    """A log never starts after its end."""
    log = log_of(3, 1)
    log.delete_before(4)
    log.truncate_to(2)
    assert (log.start_offset, log.end_offset) == (2, 2)


def test_eviction_frees_what_is_asked_and_spares_what_is_younger() -> None:
    """Two limits: bytes, and the age of the next partition's oldest batch."""
    log = log_of(1, 1, 1)
    log.evict(not_after_ms=9000, memory_bytes=BATCH_OVERHEAD)
    assert log.start_offset == 1
    log.evict(not_after_ms=1000, memory_bytes=1 << 20)
    assert (log.start_offset, log.oldest_append_ms) == (2, 2000)


def test_an_empty_log_finds_no_time() -> None:
    """Neither by a time nor the newest."""
    assert PartitionLog().latest_timestamp(RECORDS) == PartitionLog().first_at_or_after(0, RECORDS) == NOT_FOUND


def test_the_newest_record_need_not_be_the_last() -> None:
    """Producers stamp their records themselves."""
    log = PartitionLog()
    appended(log, 1, at_ms=5000)
    appended(log, 1, at_ms=1000)
    assert log.latest_timestamp(RECORDS) == TimestampOffset(5000, 0)


def test_a_thousand_producers_are_remembered() -> None:
    """The one that wrote longest ago is forgotten first, so that memory stays bounded."""
    log = PartitionLog()
    for producer_id in range(1001):
        appended(log, 1, producer_id=producer_id, producer_epoch=0, base_sequence=0)
    assert appended(log, 1, producer_id=1, producer_epoch=0, base_sequence=0) == 1
    assert appended(log, 1, producer_id=0, producer_epoch=0, base_sequence=0) == 1001


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.data())
def test_every_offset_is_found_in_its_batch(counts: list[int], data: st.DataObject) -> None:
    """Whatever the sizes of the batches and wherever the log begins."""
    log = log_of(*counts)
    start = data.draw(st.integers(0, log.end_offset))
    log.delete_before(start)
    for offset in range(start, log.end_offset):
        (first, *_) = log.read(offset, 1, at_least_one=True)
        base = int.from_bytes(first[:8], "big")
        last = base + int.from_bytes(first[23:27], "big")
        assert base <= offset <= last
