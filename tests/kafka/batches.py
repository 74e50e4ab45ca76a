"""Record batches as brokers store them, made by hand where a producer would not make them."""

from __future__ import annotations

import struct

HEADER = struct.Struct(">qiibIhiqqqhii")


def batch(
    first: int,
    count: int,
    *,
    payload: bytes = b"",
    codec: int = 0,
    control: bool = False,
    transactional: bool = False,
    producer: int = -1,
) -> bytes:
    """Encode a batch of `count` records from offset `first` on; the checksum is left at zero, as nobody checks it."""
    attributes = codec | (0x20 if control else 0) | (0x10 if transactional else 0)
    length = HEADER.size - 12 + len(payload)
    return HEADER.pack(first, length, 0, 2, 0, attributes, count - 1, 0, 0, producer, 0, -1, count) + payload
