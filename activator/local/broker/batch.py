"""One record batch (message format v2): its header is read, what the client compressed into it stays as it came.

Only three things are ever written into a batch: its base offset, its leader epoch, and, where the topic says
LogAppendTime, its timestamp (with a new checksum, for the checksum covers that). Layout:
https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from activator.local.broker.protocol import ApiError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HEADER = struct.Struct(">qiibIhiqqqhii")
_PLACE = struct.Struct(">qii")  # base offset, batch length, leader epoch: what the checksum does not cover
_ATTRIBUTES = struct.Struct(">h")
_TIMESTAMPS = struct.Struct(">qq")
_CHECKSUM = struct.Struct(">I")

HEADER_SIZE = _HEADER.size
_LENGTH_FROM = 12  # batch length counts from the leader epoch on
_CHECKSUM_AT, _ATTRIBUTES_AT, _TIMESTAMPS_AT = 17, 21, 27
_MAGIC = 2
_CODEC_MASK, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
ZSTD = 4
_CODECS = range(ZSTD + 1)  # none, gzip, snappy, lz4, zstd


class RecordFormat(Protocol):
    """What a batch needs of a library: neither is a matter of this broker's state."""

    def crc32c(self, data: memoryview) -> int:
        """The Castagnoli checksum of these bytes."""
        ...

    def timestamps(self, batch: bytes) -> Iterable[tuple[int, int]]:
        """(offset, timestamp in milliseconds) of each record of the batch, in order, whatever its codec."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """A record batch with the facts of its header; `data` is the whole of it, as a consumer gets it."""

    data: bytes | memoryview
    base_offset: int
    last_offset_delta: int
    attributes: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int

    @property
    def last_offset(self) -> int:
        """Offset of its last record."""
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """Sequence number of its last record; sequence numbers begin again at 0 after 2^31 - 1."""
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def codec(self) -> int:
        """Number of the compression codec; 0 is none."""
        return self.attributes & _CODEC_MASK

    def placed_at(self, base_offset: int, leader_epoch: int) -> Batch:
        """The batch as the log keeps it, with the offset it was given."""
        length = len(self.data) - _LENGTH_FROM
        data = b"".join((_PLACE.pack(base_offset, length, leader_epoch), memoryview(self.data)[_PLACE.size :]))
        return replace(self, data=data, base_offset=base_offset)

    def stamped(self, timestamp_ms: int, records: RecordFormat) -> Batch:
        """The batch with every record's time replaced by the time of the append (LogAppendTime)."""
        data = bytearray(self.data)
        attributes = self.attributes | _LOG_APPEND_TIME
        first_ms = _TIMESTAMPS.unpack_from(data, _TIMESTAMPS_AT)[0]
        _ATTRIBUTES.pack_into(data, _ATTRIBUTES_AT, attributes)
        _TIMESTAMPS.pack_into(data, _TIMESTAMPS_AT, first_ms, timestamp_ms)
        _CHECKSUM.pack_into(data, _CHECKSUM_AT, records.crc32c(memoryview(data)[_ATTRIBUTES_AT:]))
        return replace(self, data=bytes(data), attributes=attributes, max_timestamp=timestamp_ms)


class _Header(NamedTuple):
    """The fields of `_HEADER` in order."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    checksum: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Of the whole batch, in bytes."""
        return self.length + _LENGTH_FROM


_SHORT, _LONG = "the batch is cut short", "the partition's data holds more than one record batch"
_REFUSALS: tuple[tuple[Callable[[_Header, int], bool], ErrorCode, str], ...] = (
    (lambda head, _: head.magic != _MAGIC, ErrorCode.INVALID_RECORD, "only message format v2 is accepted"),
    (lambda head, size: not HEADER_SIZE <= head.size <= size, ErrorCode.INVALID_RECORD, _SHORT),
    (lambda head, size: head.size < size, ErrorCode.INVALID_RECORD, _LONG),
    (lambda head, _: head.record_count < 1, ErrorCode.INVALID_RECORD, "the batch holds no record"),
    (
        lambda head, _: head.last_offset_delta != head.record_count - 1,
        ErrorCode.INVALID_RECORD,
        "offsets are not consecutive",
    ),
    (
        lambda head, _: bool(head.attributes & (_TRANSACTIONAL | _CONTROL)),
        ErrorCode.INVALID_RECORD,
        "transactions are not supported by this broker",
    ),
    (
        lambda head, _: head.attributes & _CODEC_MASK not in _CODECS,
        ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
        "the compression codec is not known",
    ),
    (
        lambda head, _: head.producer_id >= 0 > head.base_sequence,
        ErrorCode.INVALID_RECORD,
        "an idempotent producer numbers its batches",
    ),
)
"""Why a batch is not taken, in this order; each check sees the header and how many bytes there are."""


def parse_produced(data: memoryview | None, records: RecordFormat) -> Batch:
    """The one batch that a producer sends for a partition.

    Raises:
        ApiError: INVALID_RECORD for anything but exactly one whole batch of format v2 with records numbered from 0,
            and for a transactional or control batch; UNSUPPORTED_COMPRESSION_TYPE for a codec no client knows;
            CORRUPT_MESSAGE for a batch that does not fit its checksum.
    """
    if data is None or len(data) < HEADER_SIZE:
        raise ApiError(ErrorCode.INVALID_RECORD, "the partition's data holds no record batch")
    head = _Header(*_HEADER.unpack_from(data))
    for refused, code, message in _REFUSALS:
        if refused(head, len(data)):
            raise ApiError(code, message)
    if records.crc32c(data[_ATTRIBUTES_AT:]) != head.checksum:
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, "the batch does not fit its checksum")
    return Batch(
        data,
        0,
        head.last_offset_delta,
        head.attributes,
        head.max_timestamp,
        head.producer_id,
        head.producer_epoch,
        head.base_sequence,
    )
