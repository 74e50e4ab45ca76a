"""Jaeger's answers as values."""

from __future__ import annotations

import datetime as dt

from testbed.traces import Link, parse_trace

RAW = {
    "traceID": "5b8aa5a2d2c872e8",
    "spans": [
        {
            "traceID": "5b8aa5a2d2c872e8",
            "spanID": "2",
            "operationName": "wakegate.apply",
            "references": [
                {"refType": "CHILD_OF", "traceID": "5b8aa5a2d2c872e8", "spanID": "1"},
                {"refType": "FOLLOWS_FROM", "traceID": "aa", "spanID": "bb"},
            ],
            "startTime": 1_000_001,
            "duration": 250,
            "tags": [{"key": "http.response.status_code", "type": "int64", "value": 200}],
            "processID": "p1",
        },
        {
            "traceID": "5b8aa5a2d2c872e8",
            "spanID": "1",
            "operationName": "wakegate.decide",
            "startTime": 1_000_000,
            "duration": 500,
            "processID": "p1",
        },
    ],
    "processes": {"p1": {"serviceName": "wakegate", "tags": [{"key": "host.name", "value": "x"}]}},
}


def test_parse_trace() -> None:
    """Spans are sorted by time, ids have all their digits, the parent is no link."""
    trace = parse_trace(RAW)
    decide, apply = trace.spans
    assert trace.trace_id == "0000000000000000" + "5b8aa5a2d2c872e8"
    assert trace.start == decide.start == dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)
    assert (decide.operation, decide.parent_id, decide.links) == ("wakegate.decide", None, ())
    assert apply.parent_id == decide.span_id == "0000000000000001"
    assert apply.links == (Link("aa".zfill(32), "bb".zfill(16)),)
    assert apply.tags == {"http.response.status_code": 200}
    assert apply.duration == dt.timedelta(microseconds=250)
    assert (apply.service, apply.resource) == ("wakegate", {"host.name": "x"})
    assert trace.named("wakegate.apply") == [apply]
