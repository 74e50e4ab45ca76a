"""Every rule of CloudEvents 1.0 over HTTP and Kafka as a request, its answer and the record that it becomes.

The rules are those of `spec.md`, `bindings/http-protocol-binding.md`, `bindings/kafka-protocol-binding.md`,
`formats/json-format.md` and `http-webhook.md` of CloudEvents 1.0.2.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.cloudevents.kafka import KeyRule, RecordMode
from gateway.routes import OpenRoute, Route, RouteTable, Rules
from tests.gateway.support import door

ROUTES = RouteTable(
    [
        Route("structured", "/structured", "t", rules=Rules(mode=RecordMode.STRUCTURED)),
        Route("by-subject", "/by-subject", "t", rules=Rules(key=KeyRule.SUBJECT)),
        Route("plain", "/plain", "t", rules=Rules(plain=True)),
    ],
    OpenRoute(rules=Rules(max_batch_events=3)),
)
REQUIRED = (("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"))
CE = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/s", "ce_type": b"t"}
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
STRUCTURED_RECORD = {"content-type": b"application/cloudevents+json; charset=UTF-8"}
JSON = {"content-type": b"application/json"}


@dataclass(frozen=True)
class Took:
    """A record, as it should be in Kafka."""

    headers: dict[str, bytes] = field(default_factory=lambda: dict(CE))
    value: bytes | None = None
    key: bytes | None = None


@dataclass(frozen=True)
class Case:
    """One request: accepted with these records, or refused with this status because of this attribute."""

    name: str
    headers: tuple[tuple[str | bytes, str | bytes], ...]
    body: bytes = b""
    took: tuple[Took, ...] = ()
    status: int = 202
    attribute: str | None = None
    path: str = "/topics/t"


def binary(
    name: str, *extra: tuple[str | bytes, str | bytes], took: Took, body: bytes = b"", path: str = "/topics/t"
) -> Case:
    """A binary event that is accepted; `extra` headers replace required ones of the same name."""
    return Case(name, headers_with(extra), body, (took,), path=path)


def bad_binary(name: str, attribute: str, *extra: tuple[str | bytes, str | bytes]) -> Case:
    """A binary event that is refused for one of its attributes."""
    return Case(name, headers_with(extra), status=400, attribute=attribute)


def headers_with(extra: tuple[tuple[str | bytes, str | bytes], ...]) -> tuple[tuple[str | bytes, str | bytes], ...]:
    """The required attributes, less those given anew."""
    names = {name for name, _ in extra}
    return (*(pair for pair in REQUIRED if pair[0] not in names), *extra)


def without(name: str) -> Case:
    """A binary event that lacks a required attribute."""
    return Case(f"binary without {name}", tuple(p for p in REQUIRED if p[0] != name), status=400, attribute=name)


def structured(name: str, event: Any, *took: Took, content_type: str = STRUCTURED, path: str = "/topics/t") -> Case:
    """A structured event, as a value or as text."""
    return Case(name, (("Content-Type", content_type),), text_of(event), took, path=path)


def bad_structured(name: str, event: Any, attribute: str) -> Case:
    """A structured event that is refused for one of its members."""
    return Case(name, (("Content-Type", STRUCTURED),), text_of(event), status=400, attribute=attribute)


def batch(name: str, events: Any, *took: Took) -> Case:
    """A batch that is accepted."""
    return Case(name, (("Content-Type", BATCH),), text_of(events), took)


def bad_batch(name: str, events: Any, attribute: str | None, status: int = 400) -> Case:
    """A batch that is refused as a whole."""
    return Case(name, (("Content-Type", BATCH),), text_of(events), status=status, attribute=attribute)


def text_of(event: Any) -> bytes:
    """JSON text of a value; bytes are text already."""
    return event if isinstance(event, bytes) else json.dumps(event).encode()


def raw(data: str, **more: Any) -> bytes:
    """A structured event with `data` written exactly so."""
    return (json.dumps({**EVENT, **more})[:-1] + f', "data": {data}}}').encode()


def ce(**more: bytes) -> dict[str, bytes]:
    """The headers of a binary record."""
    return {**CE, **{f"ce_{name}": value for name, value in more.items()}}


def typed(content_type: str, **more: bytes) -> dict[str, bytes]:
    """The same with a content type."""
    return {**ce(**more), "content-type": content_type.encode()}


def b64(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


BINARY = [
    binary("binary, required attributes alone", took=Took()),
    binary("binary, no body and no type is no payload", took=Took(value=None)),
    binary(
        "binary, no body but a type is an empty payload",
        ("Content-Type", "text/plain"),
        took=Took(typed("text/plain"), b""),
    ),
    binary(
        "binary, bytes of JSON stay as they are",
        ("Content-Type", "application/json"),
        body=b'{ "a":1.10 }',
        took=Took(typed("application/json"), b'{ "a":1.10 }'),
    ),
    binary(
        "binary, what says it is JSON need not be",
        ("Content-Type", "application/json"),
        body=b"{",
        took=Took(typed("application/json"), b"{"),
    ),
    binary("binary, bytes of no type", body=b"\x00\xff", took=Took(value=b"\x00\xff")),
    binary(
        "binary, Content-Type keeps its parameters",
        ("Content-Type", "text/xml; charset=iso-8859-1"),
        body=b"<a/>",
        took=Took(typed("text/xml; charset=iso-8859-1"), b"<a/>"),
    ),
    binary(
        "binary, all optional attributes",
        ("ce-subject", "cover"),
        ("ce-time", "2026-03-01T10:00:00.5+02:00"),
        ("ce-dataschema", "https://s.test/o.json"),
        took=Took(ce(subject=b"cover", time=b"2026-03-01T10:00:00.5+02:00", dataschema=b"https://s.test/o.json")),
    ),
    binary("binary, attribute names in any case", ("CE-Subject", "a"), took=Took(ce(subject=b"a"))),
    binary(
        "binary, extensions are kept",
        ("ce-comexampleext1", "value"),
        ("ce-2", "5"),
        took=Took(ce(comexampleext1=b"value", **{"2": b"5"})),
    ),
    binary("binary, an extension may be empty", ("ce-ext", ""), took=Took(ce(ext=b""))),
    binary(
        "binary, a name over 20 characters is unwise but allowed",
        ("ce-" + "a" * 40, "1"),
        took=Took(ce(**{"a" * 40: b"1"})),
    ),
    binary(
        "binary, the event's own traceparent is left alone",
        ("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        took=Took(ce(traceparent=b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    ),
    binary("binary, other headers are not attributes", ("X-Request-Id", "7"), ("ceid", "9"), took=Took()),
    *(without(name) for name, _ in REQUIRED),
    Case("no attribute at all on a route for events", (), b"x", status=400, attribute="ce-specversion"),
    bad_binary("binary, specversion 0.3", "ce-specversion", ("ce-specversion", "0.3")),
    bad_binary("binary, specversion 1.0.2", "ce-specversion", ("ce-specversion", "1.0.2")),
    bad_binary("binary, empty id", "ce-id", ("ce-id", "")),
    bad_binary("binary, empty source", "ce-source", ("ce-source", "")),
    bad_binary("binary, empty type", "ce-type", ("ce-type", "")),
    bad_binary("binary, empty subject", "ce-subject", ("ce-subject", "")),
    bad_binary("binary, empty partitionkey", "ce-partitionkey", ("ce-partitionkey", "")),
    bad_binary("binary, empty dataschema", "ce-dataschema", ("ce-dataschema", "")),
    bad_binary("binary, dataschema without a scheme", "ce-dataschema", ("ce-dataschema", "/order.json")),
    bad_binary("binary, ce-datacontenttype is not allowed", "ce-datacontenttype", ("ce-datacontenttype", "text/plain")),
    bad_binary("binary, ce-data is not an attribute", "ce-data", ("ce-data", "x")),
    bad_binary("binary, a name with a dash", "ce-my-ext", ("ce-my-ext", "x")),
    bad_binary("binary, a name with an underscore", "ce-my_ext", ("ce-my_ext", "x")),
    bad_binary("binary, a header that is the prefix alone", "ce-", ("ce-", "x")),
    Case("binary, an attribute twice", (*REQUIRED, ("ce-id", "2")), status=400, attribute="ce-id"),
    Case("binary, an attribute twice in two cases", (*REQUIRED, ("CE-ID", "1")), status=400, attribute="ce-id"),
    Case(
        "binary, two content types",
        (*REQUIRED, ("Content-Type", "a/b"), ("Content-Type", "a/b")),
        status=400,
        attribute=None,
    ),
    bad_binary("binary, a tab in the content type", "Content-Type", ("Content-Type", "text/plain;\tcharset=utf-8")),
    Case(
        "binary, a content type that is none",
        (*REQUIRED, ("Content-Type", "json")),
        status=400,
        attribute="Content-Type",
    ),
    Case(
        "binary, a content type with a broken parameter",
        (*REQUIRED, ("Content-Type", "a/b; c")),
        status=400,
        attribute="Content-Type",
    ),
]

SOURCES = [
    *(
        binary(f"source {source}", ("ce-source", source), took=Took(ce(source=source.encode())))
        for source in (
            "https://github.com/cloudevents",
            "mailto:cncf-wg-serverless@lists.cncf.io",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "cloudevents/spec/pull/123",
            "1-555-123-4567",
            "//host:80/p?q=1#f",
            "http://[::1]:8080/",
            "?q",
        )
    ),
    *(
        bad_binary(f"source that is no URI-reference: {source}", "ce-source", ("ce-source", source))
        for source in ("a b", "http://[::1", "/a|b", "1a:b", "/a<b>", "/a^b", "http://h:port/")
    ),
    binary("source with a percent-encoding of its own", ("ce-source", "/a%2520b"), took=Took(ce(source=b"/a%20b"))),
    bad_binary("source with characters outside ASCII", "ce-source", ("ce-source", "/%C3%A4")),
]

TIMES = [
    *(
        binary(f"time {time}", ("ce-time", time), took=Took(ce(time=time.encode())))
        for time in (
            "2026-02-28T23:59:59Z",
            "2024-02-29t00:00:00z",
            "2026-12-31T23:59:60Z",
            "1985-04-12T23:20:50.523456789012Z",
            "1937-01-01T12:00:27.87-00:20",
        )
    ),
    *(
        bad_binary(f"time that is none: {time}", "ce-time", ("ce-time", time))
        for time in (
            "",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00.Z",
            "1767225600",
        )
    ),
]

PERCENT = [
    binary(
        "percent-encoding of space, quote and percent",
        ("ce-subject", "a%20%22b%22%25"),
        took=Took(ce(subject=b'a "b"%')),
    ),
    binary(
        "percent-encoding of a euro sign and an emoji",
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        took=Took(ce(subject="Euro € 😀".encode())),
    ),
    binary("percent-encoding in lower case", ("ce-subject", "%e2%82%ac"), took=Took(ce(subject="€".encode()))),
    binary("percent-encoding that is not needed", ("ce-subject", "%41%62"), took=Took(ce(subject=b"Ab"))),
    binary("one round of percent-decoding, not two", ("ce-subject", "%2541"), took=Took(ce(subject=b"%41"))),
    binary("percent-encoding in a required attribute", ("ce-id", "%E4%BD%A0"), took=Took(ce(id="你".encode()))),
    binary("a space as it is, from older senders", ("ce-subject", "a b"), took=Took(ce(subject=b"a b"))),
    binary("a quoted string is unquoted", ("ce-subject", '"a b"'), took=Took(ce(subject=b"a b"))),
    binary("backslashes in a quoted string", ("ce-subject", r'"a\"b\\c"'), took=Took(ce(subject=rb'a"b\c'))),
    binary("a quoted string is unquoted first, then decoded", ("ce-subject", '"%22"'), took=Took(ce(subject=b'"'))),
    binary("quotes within a value stay", ("ce-subject", 'a "b" c'), took=Took(ce(subject=b'a "b" c'))),
    binary("a backslash outside quotes stays", ("ce-subject", r"a\b"), took=Took(ce(subject=rb"a\b"))),
    bad_binary("overlong UTF-8", "ce-subject", ("ce-subject", "%C0%A0")),
    bad_binary("half a UTF-8 sequence", "ce-subject", ("ce-subject", "%E2%82")),
    bad_binary("a surrogate in UTF-8", "ce-subject", ("ce-subject", "%ED%A0%80")),
    bad_binary("a percent sign alone", "ce-subject", ("ce-subject", "100%")),
    bad_binary("a percent sign with one digit", "ce-subject", ("ce-subject", "%4")),
    bad_binary("a percent sign with no hexadecimal digits", "ce-subject", ("ce-subject", "%GG")),
    bad_binary("a control character", "ce-subject", ("ce-subject", "a%00b")),
    bad_binary("a line break", "ce-subject", ("ce-subject", "a%0Ab")),
    bad_binary("a C1 control character", "ce-subject", ("ce-subject", "%C2%85")),
    bad_binary("a noncharacter", "ce-subject", ("ce-subject", "%EF%BF%BE")),
    bad_binary("a noncharacter of the Arabic block", "ce-subject", ("ce-subject", "%EF%B7%90")),
    bad_binary("a noncharacter of the last plane", "ce-subject", ("ce-subject", "%F4%8F%BF%BF")),
    bad_binary("a tab", "ce-subject", ("ce-subject", "a\tb")),
    bad_binary("bytes outside ASCII, valid UTF-8", "ce-subject", ("ce-subject", "Käse")),
    bad_binary("bytes outside ASCII, no UTF-8", "ce-subject", ("ce-subject", b"K\xe4se")),
    bad_binary("a quoted string that does not end", "ce-subject", ("ce-subject", '"abc')),
    bad_binary("a quoted string that ends too soon", "ce-subject", ("ce-subject", '"a"b"')),
    bad_binary("a quote alone", "ce-subject", ("ce-subject", '"')),
    bad_binary("a quoted string that ends in a backslash", "ce-subject", ("ce-subject", '"a\\"')),
]

FORMATS = [
    structured("structured", EVENT, Took()),
    structured(
        "structured, content type in any case",
        EVENT,
        Took(),
        content_type="Application/CloudEvents+JSON; Charset=UTF-8",
    ),
    Case(
        "structured, ce- headers are copies and the body wins",
        (("Content-Type", STRUCTURED), ("ce-id", "other"), ("ce-specversion", "0.3")),
        text_of(EVENT),
        (Took(),),
    ),
    Case("structured in an unknown format", (("Content-Type", "application/cloudevents+avro"),), b"", status=415),
    Case("structured in no format", (("Content-Type", "application/cloudevents"),), text_of(EVENT), status=415),
    Case(
        "structured in another charset",
        (("Content-Type", f"{STRUCTURED}; charset=utf-16"),),
        text_of(EVENT),
        status=415,
    ),
    Case("batch in an unknown format", (("Content-Type", "application/cloudevents-batch+xml"),), b"", status=415),
    Case("a compressed body", (*REQUIRED, ("Content-Encoding", "gzip")), b"", status=415),
    Case("an encoding that is none", (*REQUIRED, ("Content-Encoding", "identity")), b"", (Took(),)),
    bad_structured("structured, no body", b"", "body"),
    bad_structured("structured, not JSON", b"{", "body"),
    bad_structured("structured, a comma too many", b'{"id": "1",}', "body"),
    bad_structured("structured, something behind it", text_of(EVENT) + b"x", "body"),
    bad_structured("structured, an array", [EVENT], "body"),
    bad_structured("structured, not UTF-8", b'{"id": "\xff"}', "body"),
    bad_structured("structured, UTF-16", text_of(EVENT).decode().encode("utf-16"), "body"),
    bad_structured("structured, a byte order mark", b"\xef\xbb\xbf" + text_of(EVENT), "body"),
    bad_structured("structured, nested without end", raw("[" * 100_000), "body"),
    bad_structured("structured, NaN is not JSON", raw("NaN"), "body"),
    bad_structured("structured, single quotes", b"{'id': '1'}", "body"),
]

MEMBERS = [
    *(
        bad_structured(f"structured without {name}", {k: v for k, v in EVENT.items() if k != name}, name)
        for name in EVENT
    ),
    *(bad_structured(f"structured, {name} is null, which is not set", {**EVENT, name: None}, name) for name in EVENT),
    *(bad_structured(f"structured, {name} is a number", {**EVENT, name: 1}, name) for name in EVENT),
    bad_structured(
        "structured, an attribute twice",
        b'{"specversion": "1.0", "id": "1", "id": "1", "source": "/s", "type": "t"}',
        "id",
    ),
    bad_structured("structured, a name in upper case", {**EVENT, "Ext": 1}, "Ext"),
    bad_structured("structured, a name with a dash", {**EVENT, "my-ext": 1}, "my-ext"),
    bad_structured("structured, an empty name", {**EVENT, "": 1}, ""),
    bad_structured("structured, an empty type", {**EVENT, "type": ""}, "type"),
    bad_structured("structured, a subject with a control character", {**EVENT, "subject": "a\x07"}, "subject"),
    bad_structured(
        "structured, half a surrogate pair",
        b'{"specversion": "1.0", "id": "\\ud800", "source": "/s", "type": "t"}',
        "id",
    ),
    bad_structured("structured, a time that is none", {**EVENT, "time": "now"}, "time"),
    bad_structured(
        "structured, a tab in datacontenttype",
        {**EVENT, "datacontenttype": "text/plain;\tcharset=utf-8"},
        "datacontenttype",
    ),
    bad_structured("structured, datacontenttype that is none", {**EVENT, "datacontenttype": "json"}, "datacontenttype"),
    structured(
        "structured, attributes of 64 Ki characters, whatever bytes they are",
        {**EVENT, "source": "/" + "s" * 65_535, "ext": "ä" * 65_536},
        Took(ce(source=b"/" + b"s" * 65_535, ext="ä".encode() * 65_536)),
    ),
    *(
        bad_structured(f"structured, {name} of more than 64 Ki characters", {**EVENT, name: start + "a" * 65_536}, name)
        for name, start in (("source", "/"), ("datacontenttype", "a/"), ("id", "1"), ("ext", "1"))
    ),
    structured("structured, an optional attribute that is null", {**EVENT, "subject": None, "ext": None}, Took()),
    structured(
        "structured, a string beyond the basic plane", {**EVENT, "subject": "😀"}, Took(ce(subject="😀".encode()))
    ),
    structured("structured, a percent sign is only that", {**EVENT, "subject": "%41"}, Took(ce(subject=b"%41"))),
    structured(
        "structured, Boolean extensions", {**EVENT, "yes": True, "no": False}, Took(ce(yes=b"true", no=b"false"))
    ),
    structured(
        "structured, the smallest and the largest Integer",
        {**EVENT, "least": -(2**31), "most": 2**31 - 1},
        Took(ce(least=b"-2147483648", most=b"2147483647")),
    ),
    bad_structured("structured, an Integer too large", {**EVENT, "ext": 2**31}, "ext"),
    bad_structured("structured, an Integer too small", {**EVENT, "ext": -(2**31) - 1}, "ext"),
    bad_structured("structured, a number of 5,000 digits", raw("1", ext=7).replace(b": 7", b": " + b"9" * 5000), "ext"),
    bad_structured("structured, a fraction", {**EVENT, "ext": 1.5}, "ext"),
    bad_structured("structured, an exponent", raw("1", ext=7).replace(b": 7", b": 1e3"), "ext"),
    bad_structured("structured, an object as an attribute", {**EVENT, "ext": {}}, "ext"),
    bad_structured("structured, an array as an attribute", {**EVENT, "ext": [1]}, "ext"),
]

DATA = [
    structured(
        "data without a type is JSON, which is said from here on", raw('{"a": 1}'), Took({**CE, **JSON}, b'{"a": 1}')
    ),
    structured(
        "data of a JSON type",
        raw('"text"', datacontenttype="application/json"),
        Took(typed("application/json"), b'"text"'),
    ),
    structured(
        "data of a type with +json",
        raw("[1]", datacontenttype="application/vnd.api+json; v=1"),
        Took(typed("application/vnd.api+json; v=1"), b"[1]"),
    ),
    structured(
        "data keeps its spaces, its order and its numbers",
        raw('{"b": 1.10,  "a":1e2}'),
        Took({**CE, **JSON}, b'{"b": 1.10,  "a":1e2}'),
    ),
    structured("data keeps a number of 5,000 digits", raw("9" * 5000), Took({**CE, **JSON}, b"9" * 5000)),
    structured("data keeps its escapes", raw(r'"\u00e4\ud800"'), Took({**CE, **JSON}, rb'"\u00e4\ud800"')),
    structured("data keeps members given twice", raw('{"a":1,"a":2}'), Took({**CE, **JSON}, b'{"a":1,"a":2}')),
    structured("data that is null is a payload", raw("null"), Took({**CE, **JSON}, b"null")),
    structured("no data is no payload", EVENT, Took(value=None)),
    structured(
        "an event of 64 KiB, which nobody on its way may refuse",
        raw(f'"{"x" * (65_536 - len(raw(json.dumps(""))))}"'),
        Took({**CE, **JSON}, f'"{"x" * (65_536 - len(raw(json.dumps(""))))}"'.encode()),
    ),
    structured(
        "data of a text type is a string",
        {**EVENT, "datacontenttype": "text/plain", "data": "Käse"},
        Took(typed("text/plain"), "Käse".encode()),
    ),
    structured(
        "data of a text type in its charset",
        {**EVENT, "datacontenttype": "text/plain; charset=ISO-8859-1", "data": "Käse"},
        Took(typed("text/plain; charset=ISO-8859-1"), b"K\xe4se"),
    ),
    structured(
        "data that is an empty string",
        {**EVENT, "datacontenttype": "text/plain", "data": ""},
        Took(typed("text/plain"), b""),
    ),
    structured(
        "data_base64",
        {**EVENT, "datacontenttype": "image/png", "data_base64": b64(b"\x89PNG\x00")},
        Took(typed("image/png"), b"\x89PNG\x00"),
    ),
    structured(
        "data_base64 without a type stays without one", {**EVENT, "data_base64": b64(b"\x00")}, Took(value=b"\x00")
    ),
    structured(
        "data_base64 of a JSON type is not looked into",
        {**EVENT, "datacontenttype": "application/json", "data_base64": b64(b"{")},
        Took(typed("application/json"), b"{"),
    ),
    structured("data_base64 that is empty", {**EVENT, "data_base64": ""}, Took(value=b"")),
    structured("data_base64 that is null is not set", {**EVENT, "data_base64": None}, Took(value=None)),
    bad_structured("data and data_base64", {**EVENT, "data": 1, "data_base64": "AA=="}, "data"),
    bad_structured("data_base64 that is not base64", {**EVENT, "data_base64": "A"}, "data_base64"),
    bad_structured("data_base64 with a line break", {**EVENT, "data_base64": "AA\n=="}, "data_base64"),
    bad_structured("data_base64 of the URL alphabet", {**EVENT, "data_base64": "-_-_"}, "data_base64"),
    bad_structured("data_base64 that is a number", {**EVENT, "data_base64": 1}, "data_base64"),
    bad_structured(
        "data of a text type that is an object", {**EVENT, "datacontenttype": "text/plain", "data": {}}, "data"
    ),
    bad_structured(
        "data of a text type that is null", {**EVENT, "datacontenttype": "text/plain", "data": None}, "data"
    ),
    bad_structured(
        "data that its charset does not have",
        {**EVENT, "datacontenttype": "text/plain; charset=us-ascii", "data": "ä"},
        "data",
    ),
    bad_structured(
        "data in a charset that is unknown",
        {**EVENT, "datacontenttype": "text/plain; charset=rot13", "data": "a"},
        "data",
    ),
    bad_structured(
        "data of a text type with half a surrogate pair", raw(r'"\ud800"', datacontenttype="text/plain"), "data"
    ),
]

BATCHES = [
    batch("batch of none", []),
    batch("batch of one", [EVENT], Took()),
    batch("batch of two, in order", [{**EVENT, "id": "1"}, {**EVENT, "id": "2"}], Took(ce(id=b"1")), Took(ce(id=b"2"))),
    batch(
        "batch keeps each event's data",
        b"[" + raw("1.10") + b" , " + raw("null") + b"]",
        Took({**CE, **JSON}, b"1.10"),
        Took({**CE, **JSON}, b"null"),
    ),
    batch("batch with spaces", b" [ ] "),
    bad_batch("batch that is an object", EVENT, "body"),
    bad_batch("batch that does not end", b"[" + text_of(EVENT), "body"),
    bad_batch("batch with a comma too many", b"[" + text_of(EVENT) + b",]", "body"),
    bad_batch("batch without a comma", b"[" + text_of(EVENT) + text_of(EVENT) + b"]", "body"),
    bad_batch("batch with something behind it", b"[]x", "body"),
    bad_batch("batch of numbers", [1], "body"),
    bad_batch("batch with one bad event is refused as a whole", [EVENT, {**EVENT, "type": ""}, EVENT], "type"),
    bad_batch("batch with two specversions", [EVENT, {**EVENT, "specversion": "0.3"}], "specversion"),
    bad_batch("batch of four where three are allowed", [EVENT] * 4, None, 413),
]

KEYS = [
    binary(
        "partitionkey is the key and stays an attribute",
        ("ce-partitionkey", "k%20%C3%A4"),
        took=Took(ce(partitionkey="k ä".encode()), key="k ä".encode()),
    ),
    structured(
        "partitionkey in a structured event", {**EVENT, "partitionkey": "k"}, Took(ce(partitionkey=b"k"), key=b"k")
    ),
    bad_structured("partitionkey that is a number", {**EVENT, "partitionkey": 1}, "partitionkey"),
    binary("no partitionkey, no key, even with a subject", ("ce-subject", "s"), took=Took(ce(subject=b"s"))),
    binary(
        "subject is the key where the route says so",
        ("ce-subject", "s"),
        took=Took(ce(subject=b"s"), key=b"s"),
        path="/by-subject",
    ),
    binary(
        "partitionkey before subject",
        ("ce-subject", "s"),
        ("ce-partitionkey", "k"),
        took=Took(ce(subject=b"s", partitionkey=b"k"), key=b"k"),
        path="/by-subject",
    ),
    binary("neither, on a route by subject", took=Took(), path="/by-subject"),
]


def record_of(event: bytes, key: bytes | None = None) -> Took:
    """A structured record."""
    return Took(STRUCTURED_RECORD, event, key)


_E = '"specversion":"1.0","id":"1","source":"/s","type":"t"'
STRUCTURED_RECORDS = [
    binary("structured record without data", took=record_of(f"{{{_E}}}".encode()), path="/structured"),
    binary(
        "structured record of JSON keeps its bytes",
        ("Content-Type", "application/json"),
        body=b'{ "a":1.10 }',
        took=record_of(f'{{{_E},"datacontenttype":"application/json","data":{{ "a":1.10 }}}}'.encode()),
        path="/structured",
    ),
    binary(
        "structured record of what only says it is JSON",
        ("Content-Type", "application/json"),
        body=b"{",
        took=record_of(f'{{{_E},"datacontenttype":"application/json","data_base64":"ew=="}}'.encode()),
        path="/structured",
    ),
    binary(
        "structured record of text",
        ("Content-Type", "text/plain"),
        body="Kä\n".encode(),
        took=record_of(f'{{{_E},"datacontenttype":"text/plain","data":"Kä\\n"}}'.encode()),
        path="/structured",
    ),
    binary(
        "structured record of text in another charset",
        ("Content-Type", "text/plain; charset=iso-8859-1"),
        body=b"K\xe4",
        took=record_of(f'{{{_E},"datacontenttype":"text/plain; charset=iso-8859-1","data_base64":"S+Q="}}'.encode()),
        path="/structured",
    ),
    binary(
        "structured record of bytes",
        ("Content-Type", "image/png"),
        body=b"\x89",
        took=record_of(f'{{{_E},"datacontenttype":"image/png","data_base64":"iQ=="}}'.encode()),
        path="/structured",
    ),
    binary(
        "structured record of bytes without a type",
        body=b"\x00",
        took=record_of(f'{{{_E},"data_base64":"AA=="}}'.encode()),
        path="/structured",
    ),
    binary(
        "structured record of an empty payload",
        ("Content-Type", "text/plain"),
        took=record_of(f'{{{_E},"datacontenttype":"text/plain","data":""}}'.encode()),
        path="/structured",
    ),
    structured(
        "structured record keeps types",
        {**EVENT, "flag": True, "count": 5, "name": "5"},
        record_of(f'{{{_E},"flag":true,"count":5,"name":"5"}}'.encode()),
        path="/structured",
    ),
    structured(
        "structured record has a key too",
        {**EVENT, "partitionkey": "k"},
        record_of(f'{{{_E},"partitionkey":"k"}}'.encode(), b"k"),
        path="/structured",
    ),
    binary(
        "structured record of a decoded attribute",
        ("ce-subject", "a%22%41"),
        took=record_of(f'{{{_E},"subject":"a\\"A"}}'.encode()),
        path="/structured",
    ),
]

PLAIN = [
    Case(
        "plain body",
        (("Content-Type", "text/csv"),),
        b"a,b",
        (Took({"content-type": b"text/csv"}, b"a,b"),),
        path="/plain",
    ),
    Case("plain body without a type", (), b"\x00", (Took({}, b"\x00"),), path="/plain"),
    Case("plain body that is empty", (), b"", (Took({}, b""),), path="/plain"),
    Case("an event on a route that takes plain bodies", REQUIRED, b"", (Took(),), path="/plain"),
    Case(
        "half an event on a route that takes plain bodies",
        (("ce-id", "1"),),
        b"",
        status=400,
        attribute="ce-specversion",
        path="/plain",
    ),
]

CASES = [*BINARY, *SOURCES, *TIMES, *PERCENT, *FORMATS, *MEMBERS, *DATA, *BATCHES, *KEYS, *STRUCTURED_RECORDS, *PLAIN]


def test_the_table_is_whole() -> None:
    """There are at least 120 requests, and no two have the same name."""
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_request(case: Case) -> None:
    """A request gets the answer of the table, and Kafka exactly its records."""
    async with door(ROUTES) as at:
        answer = await at.post(case.path, case.headers, case.body)
        assert (answer.status, answer.body.decode()) == (case.status, answer.body.decode())
        if case.status != 202:
            problem = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["status"] == case.status
            assert problem.get("attribute") == case.attribute
        found = [Took(dict(record.headers), record.value, record.key) for _, record in at.producer.sent]
        assert found == list(case.took)
        assert all(len(record.headers) == len(dict(record.headers)) for _, record in at.producer.sent)
