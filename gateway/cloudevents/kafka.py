"""The Kafka protocol binding of CloudEvents 1.0: an event as a record, in binary or structured content mode.

Kafka has no batched mode: each event of a batch becomes a record of its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.cloudevents import attributes, json_format

if TYPE_CHECKING:
    from gateway.cloudevents.event import Event, Value

CONTENT_TYPE: Final = "content-type"
_HEADERS: Final = {name: f"ce_{name}" for name in attributes.CORE} | {"datacontenttype": CONTENT_TYPE}
_STRUCTURED_TYPE: Final = (CONTENT_TYPE, b"application/cloudevents+json; charset=UTF-8")


class Record(NamedTuple):
    """A Kafka record before it has a partition."""

    key: bytes | None
    value: bytes | None
    """None: a tombstone on a compacted topic."""
    headers: list[tuple[str, bytes]]


class RecordMode(StrEnum):
    """How a record carries its event."""

    BINARY = "binary"
    STRUCTURED = "structured"


class KeyRule(StrEnum):
    """Which attribute becomes the record's key where the event has no `partitionkey`."""

    NONE = "none"
    SUBJECT = "subject"


def write_record(event: Event, mode: RecordMode, key_rule: KeyRule) -> Record:
    """Write an event as a record; the event itself, its `partitionkey` included, is not altered by it."""
    key = _key(event, key_rule)
    if mode is RecordMode.STRUCTURED:
        return Record(key, json_format.write_event(event), [_STRUCTURED_TYPE])
    headers = [
        (_HEADERS.get(name) or f"ce_{name}", value.encode() if isinstance(value, str) else _canonical(value).encode())
        for name, value in event.attributes.items()
    ]
    return Record(key, event.data, headers)


def write_plain(media_type: str | None, body: bytes) -> Record:
    """Write a body that is no event: its bytes, and its type where one was given."""
    return Record(None, body, [] if media_type is None else [(CONTENT_TYPE, media_type.encode("latin-1"))])


def _key(event: Event, rule: KeyRule) -> bytes | None:
    value = event.attributes.get("partitionkey")
    if value is None and rule is KeyRule.SUBJECT:
        value = event.attributes.get("subject")
    return None if value is None else _canonical(value).encode()


def _canonical(value: Value) -> str:
    """Return an attribute's canonical string (CloudEvents, "Type System")."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
