"""The partition of a key, as Kafka's own producers pick it: murmur2 of the key's bytes."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2

_POSITIVE = 0x7FFFFFFF
_REMEMBERED_BYTES = 64
"""The longest key whose digest is remembered: the hash is in plain Python, and keys come again and again."""


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key among so many."""
    digest = _remembered(key) if len(key) <= _REMEMBERED_BYTES else _digest(key)
    return (digest & _POSITIVE) % partitions


def _digest(key: bytes) -> int:
    return int(murmur2(key))  # type: ignore[no-untyped-call]


_remembered = lru_cache(maxsize=4096)(_digest)
