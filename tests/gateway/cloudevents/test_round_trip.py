"""What goes in by HTTP comes out of Kafka: attributes of every type, and the bytes of every payload."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.cloudevents import http
from gateway.cloudevents.kafka import KeyRule, RecordMode, write_record
from tests.gateway.cloudevents import reading

NAMES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=25).filter(
    lambda name: (
        name not in {*reading.REQUIRED, "data", "datacontenttype", "dataschema", "subject", "time", "partitionkey"}
    )
)
TEXTS = st.text(st.characters().filter(reading.is_allowed), max_size=40)
URI_REFERENCES = st.sampled_from(["/s", "https://shop.test/a?b=c#d", "urn:a:b", "mailto:a@b", "a/b", "?q", "//h"])
TIMES = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
MEDIA_TYPES = st.sampled_from(
    ["application/json", "text/plain", "image/png", "application/vnd.a+json; v=1", "text/xml"]
)
BASE64 = st.binary(max_size=30).map(lambda data: base64.b64encode(data).decode("ascii"))
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(-(2**31), 2**31 - 1), BASE64, URI_REFERENCES, TIMES)
"""One of each type of CloudEvents' type system."""
EXTENSIONS = st.dictionaries(NAMES, VALUES, max_size=5)
CORE = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": TEXTS.filter(bool),
        "source": URI_REFERENCES,
        "type": TEXTS.filter(bool),
    },
    optional={
        "subject": TEXTS.filter(bool),
        "partitionkey": TEXTS.filter(bool),
        "time": TIMES,
        "dataschema": st.just("https://shop.test/order.json"),
        "datacontenttype": MEDIA_TYPES,
    },
)
ATTRIBUTES = st.builds(lambda core, extensions: {**core, **extensions}, CORE, EXTENSIONS)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def strings(attributes: dict[str, Any]) -> dict[str, str]:
    """Attributes as binary mode carries them."""
    return {name: reading.canonical(value) for name, value in attributes.items()}


def key_of(attributes: dict[str, Any]) -> bytes | None:
    """The key that a `partitionkey` asks for."""
    return attributes["partitionkey"].encode() if "partitionkey" in attributes else None


@given(ATTRIBUTES, st.binary(max_size=200))
def test_binary_to_binary(attributes: dict[str, Any], data: bytes) -> None:
    """A binary message becomes a binary record with the same attributes and the same bytes."""
    media_type = attributes.get("datacontenttype")
    event = http.read_binary(reading.http_binary(attributes), media_type, data)
    record = write_record(event, RecordMode.BINARY, KeyRule.NONE)
    expected = None if media_type is None and not data else data
    assert reading.binary_record(record) == (strings(attributes), expected)
    assert record.key == key_of(attributes)


@given(ATTRIBUTES, st.none() | st.binary(max_size=200))
def test_structured_to_binary(attributes: dict[str, Any], data: bytes | None) -> None:
    """A structured message becomes a binary record with its attributes as canonical strings and its bytes decoded."""
    event = http.read_structured(reading.http_structured(attributes, data))
    record = write_record(event, RecordMode.BINARY, KeyRule.NONE)
    assert reading.binary_record(record) == (strings(attributes), data)
    assert record.key == key_of(attributes)


@given(ATTRIBUTES, st.none() | st.binary(max_size=200))
def test_structured_to_structured(attributes: dict[str, Any], data: bytes | None) -> None:
    """A structured record keeps the types of its attributes, not only their strings."""
    event = http.read_structured(reading.http_structured(attributes, data))
    record = write_record(event, RecordMode.STRUCTURED, KeyRule.NONE)
    assert reading.structured_record(record) == (attributes, data)


@given(ATTRIBUTES, st.binary(max_size=200))
def test_binary_to_structured(attributes: dict[str, Any], data: bytes) -> None:
    """A binary message becomes a structured record: all attributes are strings, and no byte of the payload is lost."""
    media_type = attributes.get("datacontenttype")
    event = http.read_binary(reading.http_binary(attributes), media_type, data)
    record = write_record(event, RecordMode.STRUCTURED, KeyRule.NONE)
    expected = None if media_type is None and not data else data
    assert reading.structured_record(record) == (strings(attributes), expected)


@given(st.lists(ATTRIBUTES, max_size=5))
def test_batch_to_binary(events: list[dict[str, Any]]) -> None:
    """A batch becomes the records that its events would become alone, in their order."""
    parts = [reading.http_structured(attributes, b"\x00") for attributes in events]
    read = http.read_batch(b"[" + b", ".join(parts) + b"]", max_events=5)
    records = [write_record(event, RecordMode.BINARY, KeyRule.NONE) for event in read]
    assert [reading.binary_record(record) for record in records] == [(strings(event), b"\x00") for event in events]


@given(JSON_VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_data_keeps_its_bytes(value: Any, indent: Any, ascii_only: bool) -> None:  # noqa: FBT001 - a drawn value
    """However JSON data is written, its very bytes reach Kafka."""
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    body = f'{{"specversion":"1.0","id":"1", "data" : {data} ,"source":"/s","type":"t"}}'.encode()
    record = write_record(http.read_structured(body), RecordMode.BINARY, KeyRule.NONE)
    assert record.value == data.encode()
