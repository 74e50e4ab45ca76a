"""An independent reading of CloudEvents, for the tests to hold the codec against: written from the specification alone.

It is slow and says only yes or no, so that it has nothing in common with the code under test.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cloudevents.kafka import Record

Attributes = dict[str, str | int]
REQUIRED = {"specversion", "id", "source", "type"}


def http_binary(attributes: Mapping[str, str | int]) -> list[tuple[bytes, bytes]]:
    """Write attributes as the headers of a binary message."""
    headers = []
    for name, value in attributes.items():
        if name == "datacontenttype":
            headers.append((b"Content-Type", str(value).encode("ascii")))
        else:
            headers.append((f"ce-{name}".encode("ascii"), percent_encoded(canonical(value)).encode("ascii")))
    return headers


def percent_encoded(text: str) -> str:
    """Encode space, quote, percent and all outside U+0021..U+007E."""
    return "".join(char if 0x21 <= ord(char) <= 0x7E and char not in '"%' else quote(char, safe="") for char in text)


def canonical(value: str | int) -> str:
    """The canonical string of a value."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def http_structured(attributes: Mapping[str, str | int], data: bytes | None) -> bytes:
    """Write an event in the JSON format, its data as base64."""
    event: dict[str, Any] = dict(attributes)
    if data is not None:
        event["data_base64"] = base64.b64encode(data).decode()
    return json.dumps(event).encode()


def binary_record(record: Record) -> tuple[dict[str, str], bytes | None]:
    """Read an event out of a record in binary mode."""
    attributes = {}
    for name, value in record.headers:
        attributes["datacontenttype" if name == "content-type" else name.removeprefix("ce_")] = value.decode("utf-8")
    assert len(attributes) == len(record.headers)
    return attributes, record.value


def structured_record(record: Record) -> tuple[Attributes, bytes | None]:
    """Read an event out of a record in structured mode."""
    assert record.headers == [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert record.value is not None
    event = json.loads(record.value)
    if "data_base64" in event:
        return event, base64.b64decode(event.pop("data_base64"))
    if "data" not in event:
        return event, None
    data = event.pop("data")
    # Between these two marks stands the data itself: the writer puts it last.
    text = record.value.decode("utf-8")
    is_json = "json" in event.get("datacontenttype", "")
    return event, text[text.index('"data":') + 7 : -1].encode() if is_json else data.encode()


def is_valid(attributes: Mapping[str, object]) -> bool:
    """Whether these are the attributes of a valid event, as far as can be said without a grammar."""
    if not attributes.keys() >= REQUIRED or attributes["specversion"] != "1.0":
        return False
    return all(_is_valid(name, value) for name, value in attributes.items())


def _is_valid(name: str, value: object) -> bool:
    if name == "data" or not name or not all("a" <= char <= "z" or "0" <= char <= "9" for char in name):
        return False
    if isinstance(value, bool | int):
        return name not in {*REQUIRED, "subject", "time", "dataschema", "datacontenttype"} and abs(value) <= 2**31
    assert isinstance(value, str)
    if name in {*REQUIRED, "subject", "dataschema"} and not value:
        return False
    if name == "time":
        # RFC 3339 has leap seconds and a year 0, which is a leap year; `datetime` has neither.
        datetime.fromisoformat(re.sub("^0000", "0004", value.upper().replace(":60", ":59")))
    return all(map(is_allowed, value))


def is_allowed(char: str) -> bool:
    """Whether a string may hold this character."""
    code = ord(char)
    control = code <= 0x1F or 0x7F <= code <= 0x9F
    noncharacter = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return not (control or noncharacter or 0xD800 <= code <= 0xDFFF)
