"""How many events a second the gateway accepts, beside what HTTP and Kafka alone allow in the same run.

Four servers are driven one after another by the same load of 1 kB events over 256 connections on the loopback:
a bare aiohttp handler that answers 202, a bare pass-through from aiohttp to aiokafka's own producer, the gateway with
single events, and the gateway with batches. Kafka is the embedded broker in a process of its own, or
`--bootstrap-servers`. Run it on an idle machine: the ratios hold, the absolute numbers are those of the machine.

    python -m benchmarks gateway_ingress --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from aiokafka import AIOKafkaProducer

from testbed.state import stat_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOPIC = "orders"
PARTITIONS = 4
PAYLOAD = b"x" * 1000
_ANSWER_SECONDS = 30.0
_WARM_SECONDS = 1.0
_KAFKA_PORT, _PORT, _MANAGEMENT_PORT = 19392, 18380, 18390


@dataclass
class Result:
    """What one server did."""

    name: str
    events: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    refused: int = 0

    @property
    def rate(self) -> float:
        """Accepted events a second."""
        return self.events / self.seconds

    def percentile(self, share: float) -> float:
        """A latency in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    def row(self) -> str:
        """A line of the table."""
        cpu = self.cpu_seconds / self.events * 1e6
        return (
            f"{self.name:<34}{self.rate:>10,.0f}{self.percentile(0.5):>9.1f}{self.percentile(0.99):>9.1f}"
            f"{cpu:>12.0f}{self.refused:>9}"
        )


class Sender(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next."""

    def __init__(self, request: bytes, events: int, result: Result, end: float) -> None:
        self._request, self._events, self._result, self._end = request, events, result, end
        self._loop = asyncio.get_running_loop()
        self._answer = bytearray()
        self._began = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._loop.time() >= self._end or self._transport is None:
            self.connection_lost(None)
            return
        self._began = self._loop.time()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take an answer, count it, and send again."""
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        if head.startswith(b"HTTP/1.1 202"):
            self._result.events += self._events
        else:
            self._result.refused += self._events
        self._result.latencies.append(self._loop.time() - self._began)
        self._answer.clear()
        self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        """End."""
        if self._transport is not None:
            self._transport.close()
        if not self.done.done():
            self.done.set_result(None)


def _content_length(head: bytearray) -> int:
    at = head.find(b"Content-Length: ")
    return int(head[at + 16 : head.find(b"\r", at) if b"\r" in head[at:] else len(head)]) if at >= 0 else 0


def single_request() -> bytes:
    """A binary event of 1 kB."""
    head = (
        f"POST /topics/{TOPIC} HTTP/1.1\r\nHost: localhost\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /bench\r\n"
        f"ce-type: order.created\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(PAYLOAD)}\r\n\r\n"
    )
    return head.encode() + PAYLOAD


def batch_request(events: int) -> bytes:
    """A batch of such events."""
    event = {"specversion": "1.0", "id": "1", "source": "/bench", "type": "order.created", "data": PAYLOAD.decode()}
    body = json.dumps([event] * events).encode()
    head = (
        f"POST /topics/{TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cloudevents-batch+json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def drive(name: str, pid: int, request: bytes, events: int, connections: int, seconds: float) -> Result:
    """Load a server and measure; a second of warming up does not count."""
    loop = asyncio.get_running_loop()
    result = Result(name)
    for warm, span in ((True, _WARM_SECONDS), (False, seconds)):
        result = Result(name)
        cpu, began = _cpu(pid), loop.time()
        opened = await asyncio.gather(
            *(
                loop.create_connection(lambda: Sender(request, events, result, began + span), "127.0.0.1", _PORT)  # noqa: B023 - called at once
                for _ in range(connections)
            )
        )
        await asyncio.wait_for(asyncio.gather(*(sender.done for _, sender in opened)), span + _ANSWER_SECONDS)
        result.seconds, result.cpu_seconds = loop.time() - began, _cpu(pid) - cpu
        if warm and not result.events:
            raise SystemExit(f"{name}: no event was accepted")
    return result


def _cpu(pid: int) -> float:
    fields = stat_fields(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def bare(_servers: str) -> None:
    """Serve a handler that reads the body and answers 202."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"accepted": 1}, status=202)

    await _serve(handle)


async def pass_through(servers: str) -> None:
    """Serve what one writes first: the body into aiokafka's producer, its offset into the answer."""
    producer = AIOKafkaProducer(  # type: ignore[no-untyped-call]
        bootstrap_servers=servers, enable_idempotence=True, max_batch_size=1 << 20, max_request_size=1 << 20
    )
    await producer.start()  # type: ignore[no-untyped-call]

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        headers = [(name.lower(), value.encode()) for name, value in request.headers.items() if name.startswith("ce-")]
        sent = await producer.send_and_wait(request.match_info["topic"], body, headers=headers)  # type: ignore[no-untyped-call]
        return web.json_response({"partition": sent.partition, "offset": sent.offset}, status=202)

    await _serve(handle)


async def _serve(handle: object) -> None:
    app = web.Application()
    app.router.add_post("/topics/{topic}", handle)  # type: ignore[arg-type]  # either of the two above
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", _PORT, backlog=1024).start()
    await asyncio.Event().wait()


async def kafka(_servers: str) -> None:
    """Serve the embedded broker."""
    from datetime import UTC, datetime  # noqa: PLC0415 - this process alone

    from activator.local.broker.config import BrokerConfig  # noqa: PLC0415
    from activator.local.broker.server import EmbeddedBroker  # noqa: PLC0415

    start = datetime(2026, 1, 1, tzinfo=UTC)
    async with EmbeddedBroker(now=lambda: start, host="127.0.0.1", port=_KAFKA_PORT, config=BrokerConfig()) as broker:
        broker.create_topic(TOPIC, partitions=PARTITIONS, configs={"retention.bytes": str(16 << 20)})
        await asyncio.Event().wait()


SERVERS = {"bare": bare, "pass-through": pass_through, "kafka": kafka}


@contextlib.asynccontextmanager
async def process(*arguments: str, port: int) -> AsyncIterator[int]:
    """Run a Python process until left; wait for its port."""
    started = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield started.pid
    finally:
        started.send_signal(signal.SIGKILL)
        await started.wait()


async def _drive_all(options: argparse.Namespace) -> list[Result]:
    """Drive the servers one after another."""
    servers = options.bootstrap_servers or f"127.0.0.1:{_KAFKA_PORT}"
    gateway = (
        "-m", "gateway", "--bootstrap-servers", servers, "--listen", f"127.0.0.1:{_PORT}",
        "--management-listen", f"127.0.0.1:{_MANAGEMENT_PORT}", "--log-level", "error",
    )  # fmt: skip
    me = ("-m", "benchmarks", "gateway_ingress", "--bootstrap-servers", servers, "--serve")
    plan = [
        ("aiohttp alone", (*me, "bare"), single_request(), 1, options.connections),
        ("aiohttp -> aiokafka", (*me, "pass-through"), single_request(), 1, options.connections),
        ("gateway", gateway, single_request(), 1, options.connections),
        (f"gateway, batches of {options.batch}", gateway, batch_request(options.batch), options.batch, 16),
    ]
    results = []
    async with contextlib.AsyncExitStack() as stack:
        if not options.bootstrap_servers:
            await stack.enter_async_context(process(*me, "kafka", port=_KAFKA_PORT))
        for name, command, request, events, connections in plan:
            async with process(*command, port=_PORT) as pid:
                await asyncio.sleep(0.5)
                results.append(await drive(name, pid, request, events, connections, options.seconds))
                print(results[-1].row(), flush=True)  # noqa: T201 - a benchmark prints
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each server is driven")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument(
        "--bootstrap-servers", default="", help="a Kafka with the topic orders, instead of the embedded one"
    )
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Run, print the table, and say whether the goals are met."""
    if options.serve:
        asyncio.run(SERVERS[options.serve](options.bootstrap_servers))
        return
    print(f"{'':<34}{'events/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us/ev':>12}{'refused':>9}")  # noqa: T201
    _, through, single, batched = asyncio.run(_drive_all(options))
    print(  # noqa: T201
        f"gateway / pass-through: {single.rate / through.rate:.0%} (goal 70 %); "
        f"batches / single: {batched.rate / single.rate:.1f} x (goal 5 x)"
    )
