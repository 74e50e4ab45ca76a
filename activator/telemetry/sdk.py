"""The exporting end of OpenTelemetry's SDK, made so that a backend that is slow or away never slows a decision.

Spans wait in a bounded queue for a thread that sends them; what does not fit or is not taken is counted, and said
once in a while.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult

from activator.errors import SettingsError
from activator.telemetry.holds import HoldMerger
from activator.telemetry.spans import ReservedIds, SpanRecorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from activator.telemetry.counts import SpanCounts

log = logging.getLogger(__name__)

SERVICE_NAME = "wakegate"
_QUEUE_SIZE = 2048
"""The specification's default of OTEL_BSP_MAX_QUEUE_SIZE."""
_CLOSE_SECONDS = 3.0
_SAY_AGAIN_SECONDS = 300.0


def start(names: Iterable[str], counts: SpanCounts, *, longest_hold: timedelta, version: str) -> SpanExport:
    """Build and start the export; see `export.start`."""
    sdk_log = _SdkLog()
    try:
        exporters = [CountedExporter(_exporter(name), counts, sdk_log) for name in names]
        return SpanExport(exporters, counts, sdk_log, longest_hold=longest_hold, version=version)
    except ValueError as error:
        sdk_log.close()
        raise SettingsError(f"an OTEL_* variable cannot be used: {error}") from error


class SpanExport:
    """A running export: the recorder to feed, and its end."""

    def __init__(
        self,
        exporters: Sequence[CountedExporter],
        counts: SpanCounts,
        sdk_log: _SdkLog,
        *,
        longest_hold: timedelta,
        version: str,
    ) -> None:
        ids = ReservedIds()
        self._exporters = exporters
        self._sdk_log = sdk_log
        self._provider = TracerProvider(resource=_resource(version), id_generator=ids, shutdown_on_exit=False)
        for exporter in exporters:
            self._provider.add_span_processor(BoundedProcessor(exporter, counts))
        self.recorder = SpanRecorder(self._provider, ids, HoldMerger(longest_hold), version)

    async def close(self) -> None:
        """Send what waits, for three seconds at most: a backend that is away must not hold up a shutdown."""
        self.recorder.flush()
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            _call_on(loop, done.set)

        # A thread of its own and not one of the loop's pool: the interpreter waits for those at its end.
        threading.Thread(target=shut_down, name="span-export-close", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await done.wait()
        except TimeoutError:
            for exporter in self._exporters:
                exporter.shutdown()
            log.warning("the last spans are lost: their backend did not take them within %g s", _CLOSE_SECONDS)
        else:  # while the exporting thread still runs it may still have something to say that nobody needs
            self._sdk_log.close()


class CountedExporter(SpanExporter):
    """An exporter that counts what it was given and what was taken, and says in a while what goes wrong."""

    def __init__(self, inner: SpanExporter, counts: SpanCounts, sdk_log: _SdkLog) -> None:
        self._inner = inner
        self._counts = counts
        self._sdk_log = sdk_log
        self._lost = 0
        self._said_at: float | None = None
        self._down = False
        self.given = 0
        """Spans that have left the queue."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; in the exporting thread."""
        self.given += len(spans)
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the batch's end and not the thread's
            self._sdk_log.last_words = repr(error)
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._counts.spans_exported(len(spans))
            self._say_recovered()
        else:
            self._lost += len(spans)
            self._counts.spans_dropped(len(spans), "export-failed")
            self._say_lost()
        return result

    def shutdown(self) -> None:
        """Give up at once what is being retried."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)

    def _say_lost(self) -> None:
        self._down = True
        now = time.monotonic()
        if self._said_at is None or now - self._said_at >= _SAY_AGAIN_SECONDS:
            self._said_at = now
            reason = self._sdk_log.last_words or "no reason given"
            log.warning("spans are not taken by their backend: %s; %d lost so far, decisions go on", reason, self._lost)

    def _say_recovered(self) -> None:
        if self._down:
            self._down = False
            log.info("spans are taken again by their backend; %d were lost", self._lost)


class BoundedProcessor(SpanProcessor):
    """The SDK's batch processor behind a count of its own: the SDK drops from a full queue without telling."""

    def __init__(self, exporter: CountedExporter, counts: SpanCounts) -> None:
        self._size = _queue_size()
        self._batches = BatchSpanProcessor(exporter, max_queue_size=self._size)
        self._exporter = exporter
        self._counts = counts
        self._accepted = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing begins at the start of a span that is written after the event."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a sampled span, or drop it; never waits."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._accepted - self._exporter.given >= self._size:
            self._counts.spans_dropped(1, "queue-full")
            return
        self._accepted += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what is queued, then end."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what is queued."""
        return self._batches.force_flush(timeout_millis)


class _SdkLog(logging.Handler):
    """Keeps the exporters' own log lines, several a batch while a backend is away, out of ours: we say it ourselves."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last_words = ""
        self._logger = logging.getLogger("opentelemetry.exporter")
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the newest line as the reason to tell."""
        self.last_words = record.getMessage()

    def close(self) -> None:
        """Leave the exporters' log as it was."""
        self._logger.removeHandler(self)
        self._logger.propagate = True
        super().close()


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter(out=sys.stdout)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - 20 MB

    return OTLPSpanExporter()


def _resource(version: str) -> Resource:
    """Name the service; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word."""
    ours = {"service.name": SERVICE_NAME, "service.version": version}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _queue_size() -> int:
    text = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "").strip()
    if not text:
        return _QUEUE_SIZE
    if not text.isdecimal() or not int(text):
        raise ValueError(f"OTEL_BSP_MAX_QUEUE_SIZE is {text!r}; allowed: a whole number of spans, at least 1")
    return int(text)


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
