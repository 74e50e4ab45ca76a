"""Record batches (message format v2): which of them a consumer would be given, and the headers of one record.

Only the 61 bytes of a batch's header are read for the former. Layout:
https://kafka.apache.org/documentation/#recordbatch.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

import cramjam
from aiokafka.codec import snappy_decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_BATCH_BYTES = 1024 * 1024
"""A larger batch is not looked into for one record's headers."""
MAX_RECORDS = 1000
"""How many records are stepped over to reach one."""
SNAPPY_RATIO = 22
"""Snappy inflates at most so much; the other codecs are told where to stop."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LOG_OVERHEAD = 12
"""Base offset and length, which the length does not count."""
_MAGIC_AT = 16
_V2 = 2
_CODEC_MASK = 0x07
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_GZIP_WINDOW = 31

_TRACEPARENT = b"traceparent"
_W3C = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""Later versions may append to it (https://www.w3.org/TR/trace-context/#versioning-of-traceparent)."""


class Batch(NamedTuple):
    """One batch as its header tells."""

    first: int
    """Offset of its first record."""
    last: int
    """Offset of its last record, also where compaction has removed it."""
    record_count: int
    """Records in it; compaction may leave an empty batch behind."""
    codec: int
    is_control: bool
    is_transactional: bool
    producer_id: int
    payload: bytes
    """The records, compressed with `codec`."""


def walk(data: bytes) -> Iterator[Batch]:
    """Yield the complete batches of a fetch answer; its last one may be cut off by max_bytes and is left out."""
    at = 0
    while at + _LOG_OVERHEAD + _V2 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        end = at + _LOG_OVERHEAD + length
        if not at + _MAGIC_AT < end <= len(data):
            return
        if data[at + _MAGIC_AT] == _V2:
            if end - at < _HEADER.size:
                return  # damaged, so that nobody knows where the next one begins
            yield _batch(data, at, end)
        else:  # formats v0 and v1 (brokers before 0.11): always records; a compressed set bears its last offset
            yield Batch(base, base, 1, 0, is_control=False, is_transactional=False, producer_id=-1, payload=b"")
        at = end


def _batch(data: bytes, at: int, end: int) -> Batch:
    base, _, _, _, _, attributes, last_delta, _, _, producer_id, _, _, count = _HEADER.unpack_from(data, at)
    return Batch(
        first=base,
        last=base + last_delta,
        record_count=count,
        codec=attributes & _CODEC_MASK,
        is_control=bool(attributes & _CONTROL),
        is_transactional=bool(attributes & _TRANSACTIONAL),
        producer_id=producer_id,
        payload=data[at + _HEADER.size : end],
    )


def visible(batches: Iterator[Batch], aborted: Sequence[tuple[int, int]] = ()) -> Iterator[Batch]:
    """Yield the batches of which a consumer would be given records: neither markers nor aborted nor empty.

    Args:
        batches: in order of offset.
        aborted: producer id and first offset of each aborted transaction, as a read_committed fetch answers them.
    """
    pending = sorted(aborted, key=lambda transaction: transaction[1])
    aborting: set[int] = set()
    for batch in batches:
        while pending and pending[0][1] <= batch.last:
            aborting.add(pending.pop(0)[0])
        if batch.is_control:
            aborting.discard(batch.producer_id)  # its abort marker: what follows is another transaction
        elif batch.record_count and not (batch.is_transactional and batch.producer_id in aborting):
            yield batch


def traceparent(batch: Batch, offset: int) -> str | None:
    """Return the W3C ``traceparent`` header of the first record at or past an offset; None: none, or not readable."""
    if len(batch.payload) > MAX_BATCH_BYTES:
        return None
    try:
        headers = _headers(_inflated(batch), offset - batch.first)
        found = _W3C.match(headers.get(_TRACEPARENT, b""))  # anybody may write anything into a header
        return found.group().decode() if found is not None else None
    except (ValueError, IndexError, OSError, cramjam.DecompressionError, zlib.error, struct.error):
        return None  # a link in a trace is worth no error


def _inflated(batch: Batch) -> bytes:
    """Decompress the first `MAX_BATCH_BYTES`: a small batch may inflate to anything."""
    match batch.codec:
        case 0:
            return batch.payload
        case 1:
            return zlib.decompressobj(_GZIP_WINDOW).decompress(batch.payload, MAX_BATCH_BYTES)
        case 2 if len(batch.payload) <= MAX_BATCH_BYTES // SNAPPY_RATIO:
            return bytes(snappy_decode(batch.payload))
        case 3:
            return _prefix(cramjam.lz4.decompress_into, batch.payload)
        case 4:
            return _prefix(cramjam.zstd.decompress_into, batch.payload)
        case codec:
            raise ValueError(codec)


def _prefix(decompress_into: Callable[[bytes, bytearray], int], payload: bytes) -> bytes:
    buffer = bytearray(MAX_BATCH_BYTES)
    try:
        return bytes(buffer[: decompress_into(payload, buffer)])
    except cramjam.DecompressionError:
        return bytes(buffer)  # full: what is missing shows as a record that runs past the end


def _headers(records: bytes, delta: int) -> dict[bytes, bytes]:
    """Return the headers of the first record whose offset is `delta` or more past the batch's base offset."""
    at = 0
    for _ in range(MAX_RECORDS):
        length, at = _varint(records, at)
        end = at + length
        _, inner = _varint(records, at + 1)  # behind the attributes: timestamp delta
        offset_delta, inner = _varint(records, inner)
        if offset_delta >= delta:
            break
        at = end
    else:
        raise ValueError(f"more than {MAX_RECORDS} records before the one that is wanted")
    for _ in ("key", "value"):
        _, inner = _nullable(records, inner)
    count, inner = _varint(records, inner)
    headers = {}
    for _ in range(count):
        key, inner = _nullable(records, inner)
        headers[key], inner = _nullable(records, inner)
    if inner > len(records):
        raise IndexError(inner)
    return headers


def _nullable(data: bytes, at: int) -> tuple[bytes, int]:
    """Read bytes with their length before them; null reads as empty."""
    length, at = _varint(data, at)
    end = at + max(0, length)
    return data[at:end], end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag-encoded VARINT or VARLONG, and return where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            return (value >> 1) ^ -(value & 1), at
        shift += 7
