"""The JSON event format of CloudEvents 1.0, read without disturbing the payload and written for structured records.

The text of `data` is kept byte for byte (`1.10` stays `1.10`, a number of 5,000 digits stays one) and a repeated member
is seen: the outer object is walked by hand, member by member, wherever one call of the standard library's scanner does
not tell both.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.cloudevents import attributes
from gateway.cloudevents.event import BatchError, BatchTooLongError, Event, EventError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.cloudevents.event import Value

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN_NAME = re.compile(r'[ \t\n\r]*"([a-zA-Z0-9_-]*)"[ \t\n\r]*:[ \t\n\r]*')
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_FOLLOWS = re.compile(r"[ \t\n\r]*([,}])")
_BODY = "body"
_DATA = "data"
_DATA_NAME = '"data"'
_DATA_BASE64 = "data_base64"
_JSON_TYPE = "application/json"
_UTF8: Final = frozenset({None, "utf-8", "utf8"})
_LONGEST_INT32 = len("-2147483648")
_CHARSETS: Final = frozenset(
    {"utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16", "utf-16le", "utf-16be"}
)
"""What a string in `data` can be turned into bytes by; Python's own list has entries that are no charsets."""


class _Number:
    """A JSON number that is no Integer of the type system: it has a fraction, an exponent or too many digits."""

    def __init__(self, literal: str) -> None:
        self.literal = literal


def _integer(literal: str) -> int | _Number:
    return int(literal) if len(literal) <= _LONGEST_INT32 else _Number(literal)


def _constant(literal: str) -> None:
    raise ValueError(f"{literal} is not JSON")


_DECODER: Any = json.JSONDecoder(parse_float=_Number, parse_int=_integer, parse_constant=_constant)
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = _DECODER.scan_once
"""Reads one value and says where it ends."""


class _Pairs(list[tuple[str, Any]]):
    """An object as its members in order, repeated ones too."""


_PAIRS_DECODER: Any = json.JSONDecoder(
    parse_float=_Number, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_Pairs
)
_SCAN_PAIRS: Final[Callable[[str, int], tuple[Any, int]]] = _PAIRS_DECODER.scan_once
"""The same, but that objects are `_Pairs`."""
_SCAN_ERRORS: Final = (StopIteration, ValueError, RecursionError)


def read_event(body: bytes) -> Event:
    """Read one event. Raises EventError where it is not valid."""
    text = _text(body)
    at = _skip(text, 0)
    if text[at : at + 1] == "[":
        raise EventError(_BODY, "is an array; several events go as application/cloudevents-batch+json")
    event, end = _event(text, at)
    _expect_end(text, end)
    return event


def read_batch(body: bytes, *, max_events: int) -> list[Event]:
    """Read an array of events, which may be empty.

    Raises:
        EventError: the body is not a JSON array of objects.
        BatchError: one or more of the events are not valid.
        BatchTooLongError: there are more than `max_events`.
    """
    text = _text(body)
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise EventError(_BODY, "is not a JSON array; a single event goes as application/cloudevents+json")
    events: list[Event] = []
    errors: list[tuple[int, EventError]] = []
    at = _skip(text, at + 1)
    more = text[at : at + 1] != "]"
    while more:
        if len(events) + len(errors) == max_events:
            raise BatchTooLongError(max_events)
        members, at = _members(text, at)
        try:
            events.append(_build(members))
        except EventError as error:
            errors.append((len(events) + len(errors), error))
        at = _skip(text, at)
        more = text[at : at + 1] == ","
        if more:
            at = _skip(text, at + 1)
    if text[at : at + 1] != "]":
        raise _not_json(text, at, "expected , or ] after an event")
    _expect_end(text, at + 1)
    if errors:
        raise BatchError(errors)
    return events


def write_event(event: Event) -> bytes:
    """Write one event; its data stays as it is where it is JSON, and becomes a string or base64 where it is not."""
    members = [f'"{name}":{json.dumps(value, ensure_ascii=False)}' for name, value in event.attributes.items()]
    if event.data is not None:
        members.append(_data_member(event.data, event.media_type))
    return f"{{{','.join(members)}}}".encode()


def _data_member(data: bytes, media_type: str | None) -> str:
    try:
        if media_type is not None and attributes.is_json(media_type):
            return f'"data":{_json_text(data)}'
        if media_type is not None and attributes.is_text(media_type) and attributes.charset(media_type) in _UTF8:
            return f'"data":{json.dumps(data.decode("utf-8"), ensure_ascii=False)}'
    except (UnicodeDecodeError, EventError):
        pass  # not what its type says: bytes then, which base64 carries unharmed
    return f'"data_base64":"{base64.b64encode(data).decode("ascii")}"'


def _json_text(data: bytes) -> str:
    text = _text(data)
    _, end = _value(text, _skip(text, 0))
    _expect_end(text, end)
    return text


def _event(text: str, at: int) -> tuple[Event, int]:
    members, end = _members(text, at)
    return _build(members), end


class _Members(NamedTuple):
    """The members of one JSON object."""

    values: dict[str, Any]
    data: str | None
    """The text of `data`, where it is given."""
    repeated: str | None
    """A name that is given twice: held against the event later, because the text is JSON all the same."""


def _members(text: str, at: int) -> tuple[_Members, int]:
    """Read an object and return where it ends. Raises EventError where it is not JSON."""
    return _plain_members(text, at) or _walked_members(text, at)


def _plain_members(text: str, at: int) -> tuple[_Members, int] | None:
    """Read an object by one call of the scanner, five times as fast as the walk; None: the walk has to tell.

    Without a backslash in it each string stands in the text as it is read: a `data` that is one is its own text, and
    where `"data"` stands but once it is the name of that member.
    """
    try:
        pairs, end = _SCAN_PAIRS(text, at)
    except _SCAN_ERRORS:
        return None
    if not isinstance(pairs, _Pairs) or text.find("\\", at, end) >= 0:
        return None
    values = dict(pairs)
    if len(values) != len(pairs):
        return None
    pairs.clear()
    data = None
    if _DATA in values and (data := _plain_data(text, at, end, values)) is None:
        return None
    return _Members(values, data, None), end


def _plain_data(text: str, at: int, end: int, values: dict[str, Any]) -> str | None:
    """Return the text of `data`, where it can be told."""
    if isinstance(values[_DATA], str):
        return f'"{values[_DATA]}"'
    values[_DATA] = None  # it is read again to find its end, and not kept twice: 4 MiB of `[],` are 100 MiB of lists
    name = text.find(_DATA_NAME, at, end)
    colon = _COLON.match(text, name + len(_DATA_NAME))
    if colon is None or text.find(_DATA_NAME, name + 1, end) >= 0:
        return None
    values[_DATA], data_end = _SCAN(text, colon.end())
    return text[colon.end() : data_end]


def _walked_members(text: str, at: int) -> tuple[_Members, int]:
    """Walk an object member by member."""
    if text[at : at + 1] != "{":
        raise _not_json(text, at, "expected { at the start of an event")
    values: dict[str, Any] = {}
    data = repeated = None
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return _Members(values, data, repeated), at + 1
    while True:
        plain = _PLAIN_NAME.match(text, at)
        name, start = (plain[1], plain.end()) if plain is not None else _name(text, at)
        try:
            value, end = _SCAN(text, start)
        except _SCAN_ERRORS as error:
            raise _unreadable(text, start, error) from None
        if name in values:
            repeated = repeated or name
        values[name] = value
        if name == _DATA:
            data = text[start:end]
        follows = _FOLLOWS.match(text, end)
        if follows is None:
            raise _not_json(text, end, "expected , or } after a value")
        at = follows.end()
        if follows[1] == "}":
            return _Members(values, data, repeated), at


def _name(text: str, at: int) -> tuple[str, int]:
    """Read a name with escapes in it and the colon behind it, or say why it is none; return where its value begins."""
    at = _skip(text, at)
    if text[at : at + 1] != '"':
        raise _not_json(text, at, "expected a member's name in double quotes")
    name, at = _value(text, at)
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        raise _not_json(text, at, "expected : after a member's name")
    return name, _skip(text, at + 1)


def _build(members: _Members) -> Event:
    if members.repeated is not None:
        raise EventError(attributes.cut(members.repeated), "is given more than once")
    found: dict[str, Value] = {}
    for name, value in members.values.items():
        if name in {_DATA, _DATA_BASE64} or value is None:  # null says that an attribute is not set
            continue
        if name not in attributes.CORE and (wrong := attributes.wrong_name(name)):
            raise EventError(attributes.cut(name), wrong)
        wrong = attributes.wrong_value(name, value) if isinstance(value, (str, int)) else _wrong_type(value)
        if wrong is not None:
            raise EventError(name, wrong)
        found[name] = value
    if absent := attributes.missing(found):
        raise EventError(absent, "is missing")
    data = _data(members, found)
    return Event(found, data)


def _wrong_type(value: Any) -> str:
    what = value.literal[:40] if isinstance(value, _Number) else "an object or an array"
    return f"is {what}; allowed: a string, a boolean or an integer of 32 bits"


def _data(members: _Members, found: dict[str, Value]) -> bytes | None:
    encoded = members.values.get(_DATA_BASE64)
    if members.data is not None and encoded is not None:
        raise EventError(_DATA, "and data_base64 are both given; allowed: one of them")
    if encoded is not None:
        return _from_base64(encoded)
    if members.data is None:
        return None
    media_type = found.get("datacontenttype")
    if media_type is None:
        # Outside the JSON format nothing says that data without a type is JSON, so from here on its type is written.
        found["datacontenttype"] = _JSON_TYPE
        return members.data.encode()
    if attributes.is_json(str(media_type)):
        return members.data.encode()
    return _from_string(members.values[_DATA], str(media_type))


def _from_base64(encoded: Any) -> bytes:
    if not isinstance(encoded, str):
        raise EventError(_DATA_BASE64, "is not a string; allowed: the payload in base64")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EventError(_DATA_BASE64, f"is not base64: {error}") from None


def _from_string(value: Any, media_type: str) -> bytes:
    if not isinstance(value, str):
        raise EventError(_DATA, "is not a string, which it must be unless datacontenttype is JSON; or send data_base64")
    charset = attributes.charset(media_type) or "utf-8"
    if charset not in _CHARSETS:
        raise EventError(_DATA, f"cannot be written in charset {attributes.cut(charset)}; send data_base64")
    try:
        return value.encode(charset)
    except UnicodeEncodeError as error:
        raise EventError(_DATA, f"cannot be written in charset {attributes.cut(charset)}: {error.reason}") from None


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EventError(_BODY, f"is not UTF-8 at byte {error.start}") from None


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _SCAN(text, at)
    except _SCAN_ERRORS as error:
        raise _unreadable(text, at, error) from None


def _unreadable(text: str, at: int, error: BaseException) -> EventError:
    if isinstance(error, StopIteration):
        return _not_json(text, at, "expected a value")
    return EventError(_BODY, "is nested too deeply") if isinstance(error, RecursionError) else _broken(error)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _expect_end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at != len(text):
        raise _not_json(text, at, "expected the end")


def _not_json(text: str, at: int, what: str) -> EventError:
    return _broken(json.JSONDecodeError(what, text, at))


def _broken(error: BaseException) -> EventError:
    return EventError(_BODY, f"is not JSON: {error}")
