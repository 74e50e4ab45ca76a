"""One record batch (message format v2): its header is read, what the client compressed into it stays as it came.

Only three things are ever written into a batch: its base offset, its leader epoch, and, where the topic says
LogAppendTime, its timestamp (with a new checksum, for the checksum covers that). Layout:
https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from activator.local.broker_protocol import ApiError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def parse_produced(data: memoryview | None, records: RecordFormat) -> Batch:
    """The one batch that a producer sends for a partition.

    Raises:
        ApiError: INVALID_RECORD for anything but exactly one batch of format v2 with records numbered from 0,
            CORRUPT_MESSAGE for bytes that are cut short or do not fit their checksum,
            UNSUPPORTED_COMPRESSION_TYPE for a codec no client knows; and INVALID_RECORD for a transactional or
            control batch, because transactions are not supported.
    """
    if data is None or len(data) == 0:
        raise ApiError(ErrorCode.INVALID_RECORD, "the partition's data holds no record batch")
    if len(data) < HEADER_SIZE:
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, f"{len(data)} bytes are less than a batch header ({HEADER_SIZE})")
    (
        _,
        length,
        _,
        magic,
        checksum,
        attributes,
        last_delta,
        _,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    ) = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ApiError(ErrorCode.INVALID_RECORD, f"message format v{magic}: only v2 is accepted")
    size = length + _LENGTH_FROM
    if size > len(data) or length < HEADER_SIZE - _LENGTH_FROM:
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, f"the batch says it has {size} bytes, {len(data)} are there")
    if size < len(data):
        raise ApiError(ErrorCode.INVALID_RECORD, "the partition's data holds more than one record batch")
    if records.crc32c(data[_ATTRIBUTES_AT:]) != checksum:
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, "the batch does not fit its checksum")
    if count <= 0 or last_delta != count - 1:
        raise ApiError(ErrorCode.INVALID_RECORD, f"{count} records with last offset delta {last_delta}")
    if attributes & (_TRANSACTIONAL | _CONTROL):
        raise ApiError(ErrorCode.INVALID_RECORD, "transactions are not supported by this broker")
    if attributes & _CODEC_MASK not in _CODECS:
        raise ApiError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"compression codec {attributes & _CODEC_MASK}")
    return Batch(data, 0, last_delta, attributes, max_timestamp, producer_id, producer_epoch, base_sequence)
