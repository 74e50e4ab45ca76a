"""The HTTP protocol binding of CloudEvents 1.0: which content mode a message has, and the binary one.

Headers come as the bytes that were on the wire, one pair a header line: a header map would hide a repeated attribute,
and its decoding would hide bytes that are not UTF-8.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from gateway.cloudevents import attributes, json_format
from gateway.cloudevents.event import Event, EventError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.cloudevents.event import Value

RawHeaders: TypeAlias = "Iterable[tuple[bytes, bytes]]"

_PREFIX = b"ce-"
_CONTENT_TYPE = b"content-type"
_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_UTF8 = frozenset({"utf-8", "utf8"})
_REMEMBERED = 64
"""The longest header name whose check is remembered."""
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})|%")
_BACKSLASHED = re.compile(rb"\\(.)", re.DOTALL)


class ContentMode(Enum):
    """How a message carries events."""

    BINARY = "binary"
    STRUCTURED = "structured"
    BATCH = "batch"


def content_mode(media_type: str | None) -> ContentMode:
    """Tell the content mode by the Content-Type (HTTP binding, section 3).

    Raises:
        UnsupportedFormatError: events in another format than JSON, or not in UTF-8.
    """
    if media_type is None:
        return ContentMode.BINARY
    essence = attributes.essence(media_type)
    if not essence.startswith(_STRUCTURED):
        return ContentMode.BINARY
    mode = ContentMode.BATCH if essence.startswith(_BATCH) else ContentMode.STRUCTURED
    allowed = f"{_BATCH if mode is ContentMode.BATCH else _STRUCTURED}+json"
    if essence != allowed:
        raise UnsupportedFormatError(f"events as {essence} cannot be read; allowed: {allowed}")
    charset = attributes.charset(media_type)
    if charset is not None and charset not in _UTF8:
        raise UnsupportedFormatError(f"events in charset {charset} cannot be read; allowed: UTF-8")
    return mode


def content_type(headers: RawHeaders) -> str | None:
    """Return the Content-Type of a message. Raises EventError where it is repeated or not a media type."""
    found: str | None = None
    for name, value in headers:
        if name.lower() == _CONTENT_TYPE:
            if found is not None:
                raise EventError("Content-Type", "is given more than once")
            found = value.decode("latin-1")
    if found is not None and (wrong := attributes.wrong_media_type(found)):
        raise EventError("Content-Type", wrong)
    return found


def has_attributes(headers: RawHeaders) -> bool:
    """Tell whether a message of binary mode claims to be an event at all: one attribute is claim enough."""
    for name, _ in headers:  # noqa: SIM110 - a generator costs twice as much, ten thousand times a second
        if name[:3].lower() == _PREFIX:
            return True
    return False


def read_binary(headers: RawHeaders, media_type: str | None, body: bytes) -> Event:
    """Read the one event of a message in binary content mode.

    An empty body is an empty payload where a Content-Type says what the payload is, and no payload where none does:
    HTTP itself cannot tell the two apart, Kafka can, and takes no payload for a deletion on compacted topics.

    Raises:
        EventError: the event is not valid.
    """
    found: dict[str, Value] = {}
    for raw_name, raw_value in headers:
        if raw_name[:3].lower() != _PREFIX:
            continue
        header, wrong = _header(raw_name) if len(raw_name) <= _REMEMBERED else _header.__wrapped__(raw_name)
        if wrong is not None:
            raise EventError(header, wrong)
        name = header[3:]
        if name in found:
            raise EventError(header, "is given more than once")
        value = _decode(header, raw_value)
        if wrong := attributes.wrong_value(name, value):
            raise EventError(header, wrong)
        found[name] = value
    if absent := attributes.missing(found):
        raise EventError(f"ce-{absent}", "is missing")
    if media_type is not None:
        # HTTP allows a tab where it allows a space, a String of CloudEvents does not.
        if not media_type.isprintable() and (wrong := attributes.wrong_value("datacontenttype", media_type)):
            raise EventError("Content-Type", wrong)
        found["datacontenttype"] = media_type
    return Event(found, None if media_type is None and not body else body)


def read_structured(body: bytes) -> Event:
    """Read the one event of a message in structured content mode. Raises EventError where it is not valid."""
    return json_format.read_event(body)


def read_batch(body: bytes, *, max_events: int) -> list[Event]:
    """Read the events of a message in batched content mode.

    Raises:
        EventError: the body is not a JSON array.
        BatchError: one or more of the events are not valid.
        BatchTooLongError: there are more than `max_events`.
    """
    return json_format.read_batch(body, max_events=max_events)


@lru_cache(maxsize=1024)
def _header(raw_name: bytes) -> tuple[str, str | None]:
    """Return an attribute's header in lower case and what is wrong with its name."""
    header = raw_name.decode("latin-1").lower()
    if header == "ce-datacontenttype":
        return header, "is not allowed; the type of the payload is said by Content-Type"
    return header, attributes.wrong_name(header[3:])


def _decode(header: str, raw: bytes) -> str:
    """Undo a quoted string, then one round of percent-encoding (HTTP binding, section 3.1.3.2)."""
    if not raw.isascii():
        example = "".join(f"%{byte:02X}" for byte in next(re.finditer(rb"[\x80-\xff]+", raw))[0])
        raise EventError(header, f"holds bytes outside ASCII; percent-encode them, as in {example}")
    if raw[:1] == b'"':
        raw = _unquote(header, raw)
    if b"%" not in raw:
        return raw.decode("ascii")
    try:
        return _ESCAPED.sub(_unescape, raw).decode("utf-8")
    except UnicodeDecodeError:
        raise EventError(header, "is not UTF-8 once its percent-encoding is undone") from None
    except ValueError:
        raise EventError(header, "holds a % without two hexadecimal digits; write %25 for a % itself") from None


def _unquote(header: str, raw: bytes) -> bytes:
    inner = raw[1:-1]
    # What is left of the inside without its backslashed pairs may hold neither a quote nor a backslash.
    bare = _BACKSLASHED.sub(b"", inner)
    if len(raw) < 2 or raw[-1:] != b'"' or b'"' in bare or b"\\" in bare:  # noqa: PLR2004 - the two quotes themselves
        raise EventError(header, 'begins with " but is not a quoted string; write %22 for a " itself')
    return _BACKSLASHED.sub(rb"\1", inner)


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        raise ValueError
    return bytes((int(found[1], 16),))
