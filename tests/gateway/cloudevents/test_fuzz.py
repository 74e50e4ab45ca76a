"""Whatever comes, the codec answers with a valid event or with one of its own errors.

`make fuzz` runs these for minutes; here they run for a moment.
"""

from __future__ import annotations

import json
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloudevents import http, json_format
from gateway.cloudevents.event import BatchError, BatchTooLongError, EventError, UnsupportedFormatError
from gateway.cloudevents.kafka import KeyRule, RecordMode, write_record
from tests.gateway.cloudevents import reading
from tests.gateway.cloudevents.mutation import check as check_message
from tests.gateway.cloudevents.mutation import mutated

if TYPE_CHECKING:
    from gateway.cloudevents.event import Event

NAMES = st.sampled_from(
    [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "dataschema",
        "datacontenttype",
        "data",
        "data_base64",
        "ext",
        "Ext",
        "",
    ]
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        ["1.0", "", "/s", "t", "2026-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "text/plain", "AA==", "\ud800", "\uffff"]
    ),
    st.text(max_size=8),
    st.none(),
    st.booleans(),
    st.integers(-(2**33), 2**33),
    st.floats(),
    st.lists(st.integers(), max_size=2),
)
MEMBERS = st.lists(st.tuples(NAMES, VALUES), max_size=10)
VALID = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")]


def object_text(members: list[tuple[str, Any]]) -> str:
    """JSON of members, repeated ones and NaN included."""
    return "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}"


def check(event: Event) -> None:
    """What was accepted is valid, and can be written in both modes."""
    assert reading.is_valid(event.attributes)
    assert event.data is None or isinstance(event.data, bytes)
    for mode in RecordMode:
        write_record(event, mode, KeyRule.SUBJECT)


@given(MEMBERS, st.booleans(), st.integers(0, 400), st.binary(max_size=2))
def test_structured(members: list[tuple[str, Any]], valid: bool, cut: int, junk: bytes) -> None:  # noqa: FBT001 - drawn
    """Objects of right and wrong members, whole or with bytes broken."""
    body = object_text(VALID + members if valid else members).encode()
    if junk:
        body = body[:cut] + junk + body[cut + 1 :]
    with suppress(EventError):
        check(http.read_structured(body))


@given(st.lists(MEMBERS, max_size=4), st.sampled_from([",", ", ", "", ",,", "]"]))
def test_batch(events: list[list[tuple[str, Any]]], comma: str) -> None:
    """Arrays of such objects."""
    body = "[" + comma.join(object_text(VALID + members) for members in events) + "]"
    try:
        for event in http.read_batch(body.encode(), max_events=3):
            check(event)
    except (EventError, BatchError, BatchTooLongError):
        pass


@given(st.binary(max_size=300))
def test_bytes(body: bytes) -> None:
    """Bytes that mean nothing."""
    for read in (http.read_structured, lambda text: http.read_batch(text, max_events=3)):
        try:
            read(body)
        except (EventError, BatchError, BatchTooLongError):
            continue


HEADER_NAMES = st.one_of(
    NAMES.map(lambda name: b"ce-" + name.encode()), st.binary(max_size=8), st.just(b"Content-Type")
)
HEADER_VALUES = st.one_of(
    st.sampled_from(
        [b"1.0", b"/s", b"t", b'"a"', b'"\\"', b"%", b"%41", b"%ff", b"application/json", b"a/b;c=d", b"\xc3\xa4"]
    ),
    st.binary(max_size=12),
)


@given(st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=8), st.booleans(), st.binary(max_size=20))
def test_binary(headers: list[tuple[bytes, bytes]], valid: bool, body: bytes) -> None:  # noqa: FBT001 - drawn
    """Headers of right and wrong names and values."""
    if valid:
        headers = [(b"ce-" + name.encode(), value.encode()) for name, value in VALID] + headers
    try:
        media_type = http.content_type(headers)
        if http.content_mode(media_type) is http.ContentMode.BINARY:
            check(http.read_binary(headers, media_type, body))
    except (EventError, UnsupportedFormatError):
        pass


@pytest.mark.parametrize("seed", range(4))
def test_spoilt_messages(seed: int) -> None:
    """Messages of the conformance table with bytes spoilt: refused as documented, or valid all the same."""
    drawn = Random(seed)  # noqa: S311 - nothing to guess
    messages = [mutated(drawn) for _ in range(2000)]
    taken = sum(map(check_message, messages))
    assert 0 < taken < len(messages)


@pytest.mark.parametrize("seed", range(2))
def test_one_call_and_the_walk_say_the_same(seed: int) -> None:
    """Where an object is read by one call of the scanner, walking it gives the same members, text and end."""
    drawn = Random(seed)  # noqa: S311 - nothing to guess
    compared = 0
    for _ in range(4000):
        body = mutated(drawn).body.decode(errors="replace")
        at = len(body) - len(body.lstrip("[ "))
        plain = json_format._plain_members(body, at)
        if plain is not None:
            walked = json_format._walked_members(body, at)
            assert (list(plain[0].values), *plain[0][1:], plain[1]) == (
                list(walked[0].values),
                *walked[0][1:],
                walked[1],
            )
            compared += 1
    assert compared > 200
