"""Export over real HTTP to a backend that takes spans, refuses them, or is away."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from activator.telemetry import export, sdk
from activator.telemetry.holds import LONGEST
from tests.fakes.facts import evaluation, hold, wake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.telemetry.sdk import SpanExport


class Counts:
    """Keeps what became of spans."""

    def __init__(self) -> None:
        self.exported = 0
        self.dropped: dict[str, int] = {}
        self._lock = threading.Lock()

    def spans_exported(self, spans: int) -> None:
        """Count them."""
        with self._lock:
            self.exported += spans

    def spans_dropped(self, spans: int, why: str) -> None:
        """Count them by cause."""
        with self._lock:
            self.dropped[why] = self.dropped.get(why, 0) + spans


class Backend:
    """An OTLP/HTTP receiver."""

    def __init__(self) -> None:
        self.status = 200
        self.port = 0
        self.requests: list[ExportTraceServiceRequest] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def take(self, request: web.Request) -> web.Response:
        """Take a batch, or refuse it, or keep it waiting."""
        body = await request.read()
        await self.answering.wait()
        if self.status == 200:
            self.requests.append(ExportTraceServiceRequest.FromString(body))
        return web.Response(status=self.status)

    def names(self) -> list[str]:
        """Return the names of all spans that were taken."""
        return [
            span.name
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@asynccontextmanager
async def running() -> AsyncIterator[Backend]:
    """Run a backend on a free port."""
    backend = Backend()
    app = web.Application()
    app.router.add_post("/v1/traces", backend.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    backend.port = site.port
    try:
        yield backend
    finally:
        backend.answering.set()
        await runner.cleanup()


@pytest.fixture
async def backend(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Backend]:
    """Return a running backend that the environment names."""
    async with running() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{made.port}")
        monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
        yield made


def start(counts: Counts) -> SpanExport:
    """Start the export that the environment asks for."""
    started = export.start(counts, longest_hold=LONGEST, version="1.2.3")
    assert started is not None
    return started


async def test_spans_arrive_under_our_name(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the process sends what is queued and what is still being merged; the operator's words come first."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=theirs")
    counts = Counts()
    exporting = start(counts)
    for fact in (wake(1), *hold(2, 32)):
        exporting.recorder.record(fact)
    await exporting.close()
    assert sorted(backend.names()) == ["wakegate.apply", "wakegate.decide", "wakegate.decide"]
    assert (counts.exported, counts.dropped) == (3, {})
    resource = {
        attribute.key: attribute.value.string_value
        for attribute in backend.requests[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "wakegate"
    assert resource["deployment.environment.name"] == "test"
    assert resource["service.version"] == "theirs"


async def test_the_operator_names_the_service(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME holds."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "wakegate-east")
    exporting = start(Counts())
    exporting.recorder.record(wake(1))
    await exporting.close()
    attributes = backend.requests[0].resource_spans[0].resource.attributes
    assert {a.value.string_value for a in attributes if a.key == "service.name"} == {"wakegate-east"}


async def test_spans_that_are_refused_are_counted_and_said_once(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """A backend that answers 400 costs one line, however many batches it refuses."""
    caplog.set_level(logging.INFO)
    backend.status = 400
    counts = Counts()
    exporting = start(counts)
    for _ in range(3):
        exporting.recorder.record(evaluation())
        await asyncio.to_thread(exporting._provider.force_flush)
    backend.status = 200
    exporting.recorder.record(evaluation())
    await exporting.close()
    assert (counts.exported, counts.dropped) == (1, {"export-failed": 3})
    said = [record.getMessage() for record in caplog.records if record.name == "activator.telemetry.sdk"]
    assert len(said) == 2
    assert said[0].startswith("spans are not taken by their backend: ")
    assert "400" in said[0]
    assert said[1] == "spans are taken again by their backend; 3 were lost"


async def test_a_full_queue_drops_and_counts_and_never_waits(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the backend hangs the queue fills, and what does not fit is gone at once."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    backend.answering.clear()
    counts = Counts()
    exporting = start(counts)
    for _ in range(100):
        exporting.recorder.record(evaluation())
    # 8 fit; the thread may have taken one batch out meanwhile, of 4 at most, which makes room for as many.
    assert 88 <= counts.dropped["queue-full"] <= 92
    backend.answering.set()
    await exporting.close()
    assert counts.exported == 100 - counts.dropped["queue-full"]
    assert len(backend.names()) == counts.exported


async def test_a_backend_that_hangs_does_not_hold_up_the_end(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last spans are lost, and that is said."""
    monkeypatch.setattr(sdk, "_CLOSE_SECONDS", 0.1)
    backend.answering.clear()
    exporting = start(Counts())
    exporting.recorder.record(wake(1))
    async with asyncio.timeout(5):
        await exporting.close()
    assert "the last spans are lost" in caplog.text
    backend.answering.set()
    for thread in threading.enumerate():  # what it still has to say must not be heard by the next test
        if thread.name == "span-export-close":
            await asyncio.to_thread(thread.join, 10)
    exporting._sdk_log.close()


async def test_a_backend_that_is_away_costs_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's own log of each retry stays out of ours, and is back in its place afterwards."""
    async with running() as gone:
        port = gone.port
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    counts = Counts()
    exporting = start(counts)
    for _ in range(2):
        exporting.recorder.record(evaluation())
        await asyncio.to_thread(exporting._provider.force_flush)
    await exporting.close()
    assert counts.dropped == {"export-failed": 2}
    assert [record.name for record in caplog.records] == ["activator.telemetry.sdk"]
    assert logging.getLogger("opentelemetry.exporter").propagate


async def test_the_console_is_a_backend_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OTEL_TRACES_EXPORTER=console shows spans without any backend."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    exporting = start(Counts())
    exporting.recorder.record(wake(1))
    await exporting.close()
    assert '"name": "wakegate.decide"' in capsys.readouterr().out
