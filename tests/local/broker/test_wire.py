"""The wire format: what is written is read again, and what is damaged is refused."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activator.local.broker.messages import APIS
from activator.local.broker.wire import (
    RECORDS,
    STRING,
    Array,
    Field,
    Fixed,
    Message,
    Variable,
    WireError,
    read_uvarint,
    skip_tagged_fields,
    write_uvarint,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from activator.local.broker.wire import Type

REFUSALS = (WireError, ValueError, IndexError, struct.error)
"""What the server takes as "this is no request"."""

_RANGES = {"b": 8, "h": 16, "i": 32, "q": 64}


def values_of(kind: Type, version: int) -> SearchStrategy[Any]:  # noqa: PLR0911 - one line a type
    """Any value of a field's type."""
    match kind:
        case Fixed(format="?"):
            return st.booleans()
        case Fixed(format="16s"):
            return st.binary(min_size=16, max_size=16)
        case Fixed(format=width):
            bits = _RANGES[width]
            return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        case Variable() if kind is STRING:
            return st.none() | st.text(max_size=200)
        case Variable() if kind is RECORDS:
            return st.binary(max_size=200)
        case Variable():
            return st.none() | st.binary(max_size=200)
        case Array(of=tuple() as fields):
            return st.none() | st.lists(structures_of(fields, version), max_size=3)
        case Array(of=item):
            return st.none() | st.lists(values_of(item, version), max_size=3)  # type: ignore[arg-type]
    raise AssertionError(kind)


def structures_of(fields: tuple[Field, ...], version: int) -> SearchStrategy[dict[str, Any]]:
    """Any structure of these fields, with what its version does not carry at its default."""
    return st.fixed_dictionaries(
        {
            field.name: values_of(field.type, version)
            if field.since <= version <= field.until
            else st.just(field.absent)
            for field in fields
        }
    )


def plain(value: Any) -> Any:
    """A value as it was before it was written: views as bytes."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def writable(value: Any, fields: tuple[Field, ...]) -> Any:
    """The same with record data as the list of batches that the writer takes."""
    item = dict(value)
    for field in fields:
        if field.type is RECORDS:
            item[field.name] = [item[field.name]]
        elif isinstance(field.type, Array) and isinstance(field.type.of, tuple) and item[field.name] is not None:
            item[field.name] = [writable(one, field.type.of) for one in item[field.name]]
    return item


MESSAGES = [
    pytest.param(message, version, id=f"{api.key.name} v{version} {kind}")
    for api in APIS.values()
    for version in api.versions
    for kind, message in (("request", api.request), ("response", api.response))
]


@pytest.mark.parametrize(("message", "version"), MESSAGES)
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_written_is_read_again(message: Message, version: int, data: st.DataObject) -> None:
    """Every message in every version, with any values, to the last byte."""
    value = data.draw(structures_of(message.fields, version))
    chunks: list[bytes] = []
    codec = message.codec(version)
    codec.write(writable(value, message.fields), chunks)
    frame = memoryview(b"".join(chunks))
    found, end = codec.read(frame, 0)
    assert (plain(found), end) == (value, len(frame))


@settings(max_examples=300)
@given(st.sampled_from(list(APIS.values())), st.binary(max_size=80), st.data())
def test_any_bytes_are_read_or_refused(api: Any, frame: bytes, data: st.DataObject) -> None:
    """No other exception, and no reading beyond the end, whatever comes from outside."""
    version = data.draw(st.sampled_from(list(api.versions)))
    try:
        _, end = api.request.codec(version).read(memoryview(frame), 0)
    except REFUSALS:
        return
    assert end <= len(frame)


def test_a_forged_count_makes_no_huge_list() -> None:
    """A count of two thousand million in a frame of a few bytes is refused before anything is made."""
    message = Message((Field("items", Array(STRING)),), flexible_since=9)
    with pytest.raises(WireError, match="2147483647 items are announced at byte 4, 0 bytes are there"):
        message.codec(0).read(memoryview(struct.pack(">i", 2**31 - 1)), 0)


def test_a_forged_length_is_refused() -> None:
    """A text that claims to be longer than its frame."""
    message = Message((Field("name", STRING),), flexible_since=9)
    with pytest.raises(WireError, match="9 bytes are announced at byte 2, 1 are there"):
        message.codec(0).read(memoryview(struct.pack(">h", 9) + b"x"), 0)


@given(st.integers(0, 2**32 - 1))
def test_variable_length_numbers_are_read_again(value: int) -> None:
    """Every unsigned number of 32 bits."""
    data = write_uvarint(value)
    assert read_uvarint(memoryview(data), 0) == (value, len(data))
    assert len(data) <= 5


def test_a_variable_length_number_ends() -> None:
    """One that goes on for more than five bytes is refused."""
    with pytest.raises(WireError, match="longer than 5 bytes"):
        read_uvarint(memoryview(b"\xff" * 9), 0)


def test_tagged_fields_are_skipped() -> None:
    """Fields of the future (KIP-482) do no harm."""
    block = b"\x02" + b"\x00\x03abc" + b"\x05\x01z" + b"rest"
    assert bytes(memoryview(block)[skip_tagged_fields(memoryview(block), 0) :]) == b"rest"


def test_a_field_that_a_version_does_not_carry_has_its_default() -> None:
    """A reader always finds every field."""
    message = Message((Field("old", STRING), Field("new", STRING, since=2, default="none")), flexible_since=9)
    chunks: list[bytes] = []
    message.codec(1).write({"old": "a", "new": "lost"}, chunks)
    assert message.codec(1).read(memoryview(b"".join(chunks)), 0)[0] == {"old": "a", "new": "none"}
