"""What Jaeger stored, as values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

EPOCH = dt.datetime.fromtimestamp(0, tz=dt.UTC)
# Jaeger leaves out the leading zeros of an id whose upper half is zero.
TRACE_ID_DIGITS = 32
SPAN_ID_DIGITS = 16


@dataclass(frozen=True)
class Link:
    """A span that another one points to."""

    trace_id: str
    span_id: str


@dataclass(frozen=True)
class Span:
    """One span; `tags` are its attributes and status, `resource` the attributes of who sent it."""

    trace_id: str
    span_id: str
    parent_id: str | None
    operation: str
    service: str
    start: dt.datetime
    duration: dt.timedelta
    tags: dict[str, Any]
    resource: dict[str, Any]
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Trace:
    """All spans of one trace, oldest first."""

    trace_id: str
    spans: tuple[Span, ...]

    @property
    def start(self) -> dt.datetime:
        """When its first span began."""
        return self.spans[0].start

    def named(self, operation: str) -> list[Span]:
        """Spans with this name."""
        return [span for span in self.spans if span.operation == operation]


def parse_trace(raw: dict[str, Any]) -> Trace:
    """Parse one element of `data` in an answer of Jaeger's query API (v1)."""
    processes = raw["processes"]
    spans = sorted((_parse_span(span, processes) for span in raw["spans"]), key=lambda span: span.start)
    return Trace(_trace_id(raw), tuple(spans))


def _parse_span(raw: dict[str, Any], processes: dict[str, Any]) -> Span:
    process = processes[raw["processID"]]
    references = [(item["refType"], Link(_trace_id(item), _span_id(item))) for item in raw.get("references") or []]
    # OTLP's parent arrives as CHILD_OF within the trace, its links as FOLLOWS_FROM.
    parents = [link for kind, link in references if kind == "CHILD_OF" and link.trace_id == _trace_id(raw)]
    parent = parents[0] if parents else None
    return Span(
        trace_id=_trace_id(raw),
        span_id=_span_id(raw),
        parent_id=parent.span_id if parent else None,
        operation=raw["operationName"],
        service=process["serviceName"],
        start=EPOCH + dt.timedelta(microseconds=raw["startTime"]),
        duration=dt.timedelta(microseconds=raw["duration"]),
        tags={tag["key"]: tag["value"] for tag in raw.get("tags") or []},
        resource={tag["key"]: tag["value"] for tag in process.get("tags") or []},
        links=tuple(link for _, link in references if link is not parent),
    )


def _trace_id(raw: dict[str, Any]) -> str:
    return str(raw["traceID"]).zfill(TRACE_ID_DIGITS)


def _span_id(raw: dict[str, Any]) -> str:
    return str(raw["spanID"]).zfill(SPAN_ID_DIGITS)
