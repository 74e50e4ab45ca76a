"""The gateway's place in a trace: who sent the request, what the records carry on, and spans where they are sampled.

The context of a hop travels in the record headers `traceparent` and `tracestate`, with or without a span of ours. An
event's own `traceparent` extension names the trace it began in; it is never rewritten (CloudEvents distributed tracing
extension), only linked to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import CIMultiDictProxy
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger(__name__)

SERVICE_NAME: Final = "wakegate-gateway"
_TRACEPARENT: Final = "traceparent"
_TRACESTATE: Final = "tracestate"
_W3C: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")
"""Visible ASCII to its end, as it is written into record headers: what follows the flags is up to later versions."""
_LONGEST_STATE: Final = 512
_CLOSE_SECONDS: Final = 2.0
_SAMPLED: Final = 1
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_PROPAGATOR: Final = TraceContextTextMapPropagator()


def export() -> Export | None:
    """Build the SDK from the standard OTEL_* variables; None where they name no place to send spans to."""
    wanted = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    if not wanted or off:
        return None
    # Only here, because they take a third of a second to import.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME", SERVICE_NAME)
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Export(provider, exporter)


class Export:
    """Spans on their way to a backend."""

    def __init__(self, provider: TracerProvider, exporter: SpanExporter) -> None:
        self._provider = provider
        self._exporter = exporter

    def tracer(self) -> Tracer:
        """Return what makes the spans."""
        return self._provider.get_tracer("wakegate.gateway")

    async def close(self) -> None:
        """Send the last spans, for two seconds at most: a backend that hangs must not hold up a shutdown."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # too late: the loop has ended
                loop.call_soon_threadsafe(done.set)

        # A thread of its own and not one of the loop's pool: the interpreter waits for those at its end.
        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await done.wait()
        except TimeoutError:
            self._exporter.shutdown()
            log.warning("the last spans are lost: their backend did not take them within %g s", _CLOSE_SECONDS)


class Tracing:
    """Begins the trace of each request.

    Args:
        tracer: None: no spans of ours; what the client sent is carried on as it is.
    """

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    def begin(self, headers: CIMultiDictProxy[str], method: str, route: str) -> Hop:
        """Take up the client's context and begin the span of a request."""
        parent = headers.get(_TRACEPARENT)
        if parent is not None and _W3C.fullmatch(parent) is None:
            parent = None
        carried = {} if parent is None else {_TRACEPARENT: parent}
        state = ",".join(headers.getall(_TRACESTATE, ()))  # a list: each proxy on the way may add a line of its own
        if carried and state.isascii() and 0 < len(state) <= _LONGEST_STATE:
            carried[_TRACESTATE] = state
        if self._tracer is None:
            return Hop(carried)
        context = _PROPAGATOR.extract(carried)
        span = self._tracer.start_span(
            f"{method if method in _METHODS else 'HTTP'} {route}",
            context=context,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method if method in _METHODS else "_OTHER", "http.route": route},
        )
        return Hop(_carried(span), self._tracer, span)


class Hop:
    """One request's place in its trace."""

    __slots__ = ("_carried", "_send", "_span", "_tracer")

    def __init__(self, carried: Mapping[str, str], tracer: Tracer | None = None, span: Span | None = None) -> None:
        self._carried = carried
        self._tracer = tracer
        self._span = span
        self._send: Span | None = None

    def sending(self, topic: str, count: int, origin: str | None) -> list[tuple[str, bytes]]:
        """Begin to send records and return the headers that carry the trace on in them.

        Args:
            topic: where to.
            count: of records.
            origin: the event's own `traceparent`, where there is a single event that has one.
        """
        if self._tracer is not None and self._span is not None and self._span.is_recording():
            self._send = self._tracer.start_span(
                f"send {topic}",
                context=trace.set_span_in_context(self._span),
                kind=SpanKind.PRODUCER,
                links=_link(origin),
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.name": "send",
                    "messaging.operation.type": "send",
                    "messaging.destination.name": topic,
                    "messaging.batch.message_count": count,
                },
            )
            self._carried = _carried(self._send)
        return [(name, value.encode("ascii")) for name, value in self._carried.items()]

    def sent(self, partition: int | None, offset: int | None, failure: str | None) -> None:
        """End the sending of records; place and offset are those of a single event."""
        if self._send is None:
            return
        if partition is not None:
            self._send.set_attribute("messaging.destination.partition.id", str(partition))
        if offset is not None:
            self._send.set_attribute("messaging.kafka.offset", offset)
        if failure is not None:
            self._send.set_status(Status(StatusCode.ERROR, failure))
        self._send.end()
        self._send = None

    def traceparent(self, *, sampled_only: bool = True) -> str | None:
        """Return what a wake should carry; None where no backend would know the trace."""
        found = self._carried.get(_TRACEPARENT)
        if found is None or (sampled_only and not int(found[53:55], 16) & _SAMPLED):
            return None
        return found

    def end(self, status: int) -> None:
        """End the request, and its sending too where nobody waited for the end of that."""
        if self._send is not None:
            self.sent(None, None, "the client has gone")
        if self._span is None:
            return
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:  # noqa: PLR2004 - the server's fault, as the HTTP conventions count it
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def _carried(span: Span) -> dict[str, str]:
    carried: dict[str, str] = {}
    _PROPAGATOR.inject(carried, trace.set_span_in_context(span))
    return carried


def _link(origin: str | None) -> list[Link]:
    if origin is None:
        return []
    context = trace.get_current_span(_PROPAGATOR.extract({_TRACEPARENT: origin})).get_span_context()
    return [Link(context)] if context.is_valid else []
