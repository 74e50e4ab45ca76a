"""One partition: record batches in order, what its idempotent producers sent last, and what retention leaves."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from activator.local.broker.protocol import LEADER_EPOCH, NO_OFFSET, NO_TIMESTAMP, ApiError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.local.broker.batch import Batch, RecordFormat

_REMEMBERED_BATCHES = 5  # Kafka: a producer may have five requests in flight
_REMEMBERED_PRODUCERS = 1_000  # per partition; Kafka forgets by time (a day), memory here is bounded by number
BATCH_OVERHEAD = 400  # bytes of Python objects around a stored batch


class Appended(NamedTuple):
    """Where a batch stands in the log.

    A `duplicate` was there already: a producer sent it again because it never saw our answer. Like Kafka's, that answer
    then carries the newest time in the batch where the first one said -1.
    """

    base_offset: int
    log_append_time_ms: int
    duplicate: bool


class TimestampOffset(NamedTuple):
    """A record's time in milliseconds and its offset."""

    timestamp_ms: int
    offset: int


NOT_FOUND = TimestampOffset(NO_TIMESTAMP, NO_OFFSET)


@dataclass(slots=True)
class _Stored:
    """A batch in the log, and when it came."""

    batch: Batch
    appended_ms: float

    @property
    def time_ms(self) -> float:
        """The time of its newest record; where none has one, when it came, as Kafka goes by its segment's change."""
        return self.batch.max_timestamp if self.batch.max_timestamp >= 0 else self.appended_ms


class _Sent(NamedTuple):
    """A batch that an idempotent producer has sent."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    max_timestamp: int


@dataclass(slots=True)
class _Producer:
    """What is remembered of one producer id: its epoch and its last batches."""

    epoch: int
    batches: deque[_Sent] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_BATCHES))


class PartitionLog:
    """The batches of one partition between its log start offset and its end offset."""

    def __init__(self) -> None:
        self.start_offset = 0
        self.end_offset = 0
        self.size_bytes = 0
        self._batches: list[_Stored] = []
        self._producers: OrderedDict[int, _Producer] = OrderedDict()

    def append(self, batch: Batch, now_ms: float, *, log_append_time: bool, records: RecordFormat) -> Appended:
        """Take a batch in, or find that an idempotent producer repeats itself.

        Raises:
            ApiError: INVALID_PRODUCER_EPOCH or OUT_OF_ORDER_SEQUENCE_NUMBER (KIP-98).
        """
        if batch.producer_id >= 0:
            known = self._repeated(batch)
            if known is not None:
                return Appended(known.base_offset, known.max_timestamp, duplicate=True)
        timestamp_ms = NO_TIMESTAMP
        if log_append_time:
            timestamp_ms = int(now_ms)
            batch = batch.stamped(timestamp_ms, records)
        placed = batch.placed_at(self.end_offset, LEADER_EPOCH)
        self._batches.append(_Stored(placed, now_ms))
        self.size_bytes += len(placed.data)
        self.end_offset = placed.last_offset + 1
        if placed.producer_id >= 0:
            self._remember(placed)
        return Appended(placed.base_offset, timestamp_ms, duplicate=False)

    def _repeated(self, batch: Batch) -> _Sent | None:
        """This very batch as it came before, or None if it is the producer's next one.

        A producer nobody remembers may begin anywhere: its state may have gone with the records it wrote.
        """
        producer = self._producers.get(batch.producer_id)
        if producer is None:
            return None
        if batch.producer_epoch < producer.epoch:
            raise ApiError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer {batch.producer_id} has epoch {producer.epoch}, the batch has {batch.producer_epoch}",
            )
        if batch.producer_epoch > producer.epoch:
            expected = 0
        else:
            for sent in producer.batches:
                if (sent.first_sequence, sent.last_sequence) == (batch.base_sequence, batch.last_sequence):
                    return sent
            expected = (producer.batches[-1].last_sequence + 1) & 0x7FFFFFFF
        if batch.base_sequence != expected:
            raise ApiError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {batch.producer_id}: sequence {batch.base_sequence}, expected {expected}",
            )
        return None

    def _remember(self, placed: Batch) -> None:
        producer = self._producers.get(placed.producer_id)
        if producer is None or producer.epoch != placed.producer_epoch:
            producer = self._producers[placed.producer_id] = _Producer(placed.producer_epoch)
        sent = _Sent(placed.base_sequence, placed.last_sequence, placed.base_offset, placed.max_timestamp)
        producer.batches.append(sent)
        self._producers.move_to_end(placed.producer_id)
        if len(self._producers) > _REMEMBERED_PRODUCERS:
            self._producers.popitem(last=False)

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool) -> list[bytes]:
        """The batches from the one that holds `offset` on, as many as fit into `max_bytes`.

        With `at_least_one` the first comes whatever its size, so that a large one never stops a consumer (KIP-74).

        Raises:
            ApiError: OFFSET_OUT_OF_RANGE.
        """
        self.check_range(offset)
        found: list[bytes] = []
        for index in range(self._index_of(offset), len(self._batches)):
            data = self._batches[index].batch.data
            max_bytes -= len(data)
            if max_bytes < 0 and not (at_least_one and not found):
                break
            found.append(bytes(data))
        return found

    def available_bytes(self, offset: int, max_bytes: int) -> int:
        """How many bytes `read` could answer from `offset` on, looking no further than `max_bytes`."""
        total = 0
        for index in range(self._index_of(offset), len(self._batches)):
            total += len(self._batches[index].batch.data)
            if total >= max_bytes:
                return max_bytes
        return total

    def check_range(self, offset: int) -> None:
        """Raise OFFSET_OUT_OF_RANGE unless `offset` is in the log or its end."""
        if not self.start_offset <= offset <= self.end_offset:
            raise ApiError(ErrorCode.OFFSET_OUT_OF_RANGE)

    def _index_of(self, offset: int) -> int:
        """Which batch holds `offset`, or the number of batches if it is the end."""
        batches = self._batches
        if not batches or offset > batches[-1].batch.last_offset:
            return len(batches)
        if offset >= batches[-1].batch.base_offset:  # the usual case: a consumer that is caught up
            return len(batches) - 1
        return max(0, bisect_right(batches, offset, key=lambda stored: stored.batch.base_offset) - 1)

    def first_at_or_after(self, timestamp_ms: int, records: RecordFormat) -> TimestampOffset:
        """The first record whose time is `timestamp_ms` or later (KIP-79)."""
        for stored in self._batches:
            if stored.batch.max_timestamp >= timestamp_ms:
                for offset, record_ms in records.timestamps(bytes(stored.batch.data)):
                    if record_ms >= timestamp_ms and offset >= self.start_offset:
                        return TimestampOffset(record_ms, offset)
        return NOT_FOUND

    def latest_timestamp(self, records: RecordFormat) -> TimestampOffset:
        """The record with the largest time, the first of them if several have it (KIP-734)."""
        if not self._batches:
            return NOT_FOUND
        newest = max(stored.batch.max_timestamp for stored in self._batches)
        return self.first_at_or_after(newest, records)

    # -- what goes away -----------------------------------------------------------------------------------------

    def delete_before(self, offset: int) -> int:
        """Move the log start to `offset` (DeleteRecords, KIP-107) and answer the new log start.

        A batch of which one record is left stays whole; consumers skip what is below the offset they asked for.

        Raises:
            ApiError: OFFSET_OUT_OF_RANGE beyond the end.
        """
        if not 0 <= offset <= self.end_offset:
            raise ApiError(ErrorCode.OFFSET_OUT_OF_RANGE)
        self._drop_while(lambda stored: stored.batch.last_offset < offset)
        self.start_offset = max(self.start_offset, offset)
        return self.start_offset

    def truncate_to(self, offset: int) -> None:
        """Lose every batch with a record at `offset` or after it, as a broker that lost its disk's last writes."""
        while self._batches and self._batches[-1].batch.last_offset >= offset:
            self.size_bytes -= len(self._batches.pop().batch.data)
        self.end_offset = self._batches[-1].batch.last_offset + 1 if self._batches else min(self.end_offset, offset)
        self.start_offset = min(self.start_offset, self.end_offset)
        self._producers.clear()

    def expire(self, *, older_than_ms: float | None, retention_bytes: int | None) -> None:
        """Drop the oldest batches: those with no record newer than `older_than_ms`, and those over `retention_bytes`.

        As in Kafka a partition is over its size only if it would still have `retention_bytes` without its oldest part.
        """
        if older_than_ms is not None:
            self._drop_while(lambda stored: stored.time_ms < older_than_ms)
        if retention_bytes is not None:
            self._drop_while(lambda stored: self.size_bytes - len(stored.batch.data) >= retention_bytes)

    @property
    def memory_bytes(self) -> int:
        """What the partition's batches take in memory."""
        return self.size_bytes + len(self._batches) * BATCH_OVERHEAD

    @property
    def oldest_append_ms(self) -> float | None:
        """When the oldest batch came, or None without one."""
        return self._batches[0].appended_ms if self._batches else None

    def evict(self, *, not_after_ms: float, memory_bytes: int) -> None:
        """Drop the oldest batches that came until `not_after_ms`, no more of them than `memory_bytes` are freed by."""
        freed = 0

        def wanted(stored: _Stored) -> bool:
            nonlocal freed
            if stored.appended_ms > not_after_ms or freed >= memory_bytes:
                return False
            freed += len(stored.batch.data) + BATCH_OVERHEAD
            return True

        self._drop_while(wanted)

    def _drop_while(self, wanted: Callable[[_Stored], bool]) -> None:
        """Drop batches from the front as long as `wanted` says so; it sees the sizes as they shrink."""
        dropped = 0
        for stored in self._batches:
            if not wanted(stored):
                break
            dropped += 1
            self.size_bytes -= len(stored.batch.data)
            self.start_offset = max(self.start_offset, stored.batch.last_offset + 1)
        del self._batches[:dropped]
