"""What the gateway's tests share: a producer that remembers, an app on a free port, and HTTP written by hand.

HTTP is written by hand because a client library repairs what the tests want to send broken.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.admission import Admission, Limits
from gateway.app import App
from gateway.listener import Listener
from gateway.metrics import Metrics
from gateway.producer.outcome import Receipt
from gateway.routes import OpenRoute, RouteTable
from gateway.tokens import Tokens
from gateway.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from opentelemetry.trace import Tracer

    from gateway.cloudevents.kafka import Record
    from gateway.producer.outcome import Outcome

READ_SECONDS = 5.0


@dataclass
class FakeProducer:
    """Takes every record, at offsets that count up, unless `outcomes` says otherwise; `gate` holds it back.

    With `releases` off it forgets to give back what it was handed.
    """

    outcomes: Callable[[Sequence[Record]], list[Outcome]] | None = None
    sent: list[tuple[str, Record]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0
    releases: bool = True

    async def deliver(
        self, topic: str, records: Sequence[Record], *, seconds: float, released: Callable[[], None]
    ) -> list[Outcome]:
        """See `producer.Producer.deliver`."""
        self.seconds.append(seconds)
        self.entered.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            if self.releases:
                released()
        outcomes = self.outcomes(records) if self.outcomes else None
        if outcomes is None:
            outcomes = [Receipt(partition=0, offset=len(self.sent) + at) for at in range(len(records))]
        self.sent.extend(
            (topic, record) for record, outcome in zip(records, outcomes, strict=True) if isinstance(outcome, Receipt)
        )
        return outcomes


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Door:
    """An app that listens."""

    app: App
    listener: Listener
    producer: FakeProducer
    metrics: Metrics
    admission: Admission
    wakes: list[tuple[str, str | None]]

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.listener.port

    async def post(
        self,
        path: str,
        headers: Sequence[tuple[str | bytes, str | bytes]] = (),
        body: bytes = b"",
        method: str = "POST",
    ) -> Answer:
        """Send one request on a connection of its own."""
        return await exchange(self.port, request_bytes(method, path, headers, body))

    def counted(self, metric: str, **labels: str) -> float:
        """Read a metric."""
        return self.metrics.registry.get_sample_value(f"wakegate_gateway_{metric}", labels) or 0.0


def request_bytes(
    method: str, path: str, headers: Sequence[tuple[str | bytes, str | bytes]], body: bytes, length: int | None = -1
) -> bytes:
    """Write a request; `length` None leaves Content-Length out, -1 tells the truth."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: gateway.test"]
    lines += [_bytes(name) + b": " + _bytes(value) for name, value in headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}".encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event to wait on
            await asyncio.sleep(0.005)


async def exchange(port: int, request: bytes) -> Answer:
    """Send bytes and read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader, seconds: float = READ_SECONDS) -> Answer:
    """Read one answer from an open connection."""
    async with asyncio.timeout(seconds):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split(" ")[1]), headers, body)


@asynccontextmanager
async def door(
    routes: RouteTable | None = None,
    *,
    producer: FakeProducer | None = None,
    total: Limits | None = None,
    body_seconds: float = 5.0,
    tracer: Tracer | None = None,
    max_connections: int = 100,
) -> AsyncIterator[Door]:
    """Run an app over a fake producer on a free port."""
    producer = producer or FakeProducer()
    metrics = Metrics()
    admission = Admission(total or Limits(events=1000, size=16 * 1024 * 1024))
    wakes: list[tuple[str, str | None]] = []
    app = App(
        routes=routes or RouteTable(open_route=OpenRoute()),
        admission=admission,
        producer=producer,
        tokens=Tokens(),
        metrics=metrics,
        tracing=Tracing(tracer),
        wake=lambda topic, trace: wakes.append((topic, trace)),
        body_seconds=body_seconds,
    )
    listener = Listener(app.handle, ("127.0.0.1", 0), max_connections=max_connections, refused=app.refused)
    metrics.watch(kafka_up=lambda: True, connections=lambda: listener.connections, admission=admission, routes=())
    await listener.start()
    try:
        yield Door(app, listener, producer, metrics, admission, wakes)
    finally:
        await listener.close()
