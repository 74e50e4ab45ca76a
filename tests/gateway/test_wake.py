"""Telling the activator: at once, merged, with the trace, and without ever being waited for."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gateway.listener import Listener
from gateway.tokens import Tokens
from gateway.wake import MAX_TOPICS, Agenda, Wake, Waker
from tests.gateway.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_first_record_is_told_at_once_and_the_last_one_too() -> None:
    """A topic is told of with its first record, then once a second while records come, then after the last."""
    agenda = Agenda()
    assert agenda.due_in(0) is None
    agenda.add("orders", None)
    assert agenda.due_in(0) == 0
    assert agenda.take(0) == [Wake(("orders",), None)]
    assert agenda.due_in(0.1) is None
    agenda.add("orders", None)
    agenda.add("orders", None)
    assert agenda.due_in(0.25) == 0.75
    assert agenda.take(0.25) == []
    assert agenda.due_in(1.0) == 0
    assert agenda.take(1.0) == [Wake(("orders",), None)]
    assert agenda.due_in(1.5) is None
    assert agenda.take(9.0) == []


def test_one_topics_silence_does_not_hold_another() -> None:
    """A topic that was told of a moment ago waits; the new one does not."""
    agenda = Agenda()
    agenda.add("orders", None)
    agenda.take(0)
    agenda.add("orders", None)
    agenda.add("payments", None)
    assert agenda.due_in(0.5) == 0
    assert agenda.take(0.5) == [Wake(("payments",), None)]
    assert agenda.due_in(0.5) == 0.5


def test_topics_are_merged() -> None:
    """Many topics go in few requests; those with a sampled trace go alone, so many at most."""
    agenda = Agenda()
    for at in range(1200):
        agenda.add(f"t{at}", TRACE if at < 20 else None)
    wakes = agenda.take(0)
    assert [len(wake.topics) for wake in wakes] == [1] * 16 + [500, 500, 184]
    assert [wake.traceparent for wake in wakes] == [TRACE] * 16 + [None] * 3
    assert len({topic for wake in wakes for topic in wake.topics}) == 1200


def test_first_trace_is_told() -> None:
    """The trace of the record that wakes is the one to see, not that of the last before the request left."""
    agenda = Agenda()
    agenda.add("orders", TRACE)
    agenda.add("orders", TRACE.replace("b7", "c8"))
    assert agenda.take(0) == [Wake(("orders",), TRACE)]


def test_bounded() -> None:
    """Topics over the limit find no room, and say so."""
    agenda = Agenda()
    assert all(agenda.add(str(at), None) for at in range(MAX_TOPICS))
    assert not agenda.add("one more", None)
    assert agenda.add("7", None)


@dataclass
class Activator:
    """Takes POST /wake as the activator's listener does."""

    status: int = 202
    requests: list[tuple[list[dict[str, str]], dict[str, str]]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Remember a request."""
        if self.gate is not None:
            await self.gate.wait()
        assert (request.method, request.path) == ("POST", "/wake")
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((json.loads(await request.read()), headers))
        return web.Response(status=self.status)


@dataclass
class Observed:
    """What metrics would see."""

    sent: int = 0
    lost: int = 0

    def wakes_sent(self, topics: int) -> None:
        """See `wake.WakeObserver`."""
        self.sent += topics

    def wakes_lost(self, topics: int) -> None:
        """See `wake.WakeObserver`."""
        self.lost += topics


@asynccontextmanager
async def waking(activator: Activator, token_file: Path | None = None) -> AsyncIterator[tuple[Waker, Observed]]:
    """Run a waker against an activator."""
    listener = Listener(activator.handle, ("127.0.0.1", 0))
    await listener.start()
    observed = Observed()
    waker = Waker(f"http://127.0.0.1:{listener.port}/wake", "kafka:9092", token_file, Tokens(), observed)
    task = asyncio.create_task(waker.run())
    try:
        yield waker, observed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await listener.close()


async def test_told(tmp_path: Path) -> None:
    """The request has the activator's form, the shared token and the trace; a rotated token is taken up."""
    token_file = tmp_path / "token"
    token_file.write_text("first\nold\n")
    activator = Activator()
    async with waking(activator, token_file) as (waker, observed):
        waker.notify("orders", TRACE)
        await eventually(lambda: observed.sent == 1)
        body, headers = activator.requests[0]
        assert body == [{"bootstrapServers": "kafka:9092", "topic": "orders"}]
        assert (headers["authorization"], headers["traceparent"]) == ("Bearer first", TRACE)
        token_file.write_text("second\n")
        waker.notify("payments", None)
        await eventually(lambda: observed.sent == 2)
        _, headers = activator.requests[1]
        assert headers["authorization"] == "Bearer second"
        assert "traceparent" not in headers


@pytest.mark.parametrize(
    "broken", ["second\n".encode("utf-16"), b"sec\x01ond\n", b"sec\xc3\xb6nd\n"], ids=["UTF-16", "control", "not ASCII"]
)
async def test_token_that_no_header_can_carry(broken: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Such a token is told of once, without what it is; wakes are lost until it is mended, and go on after that."""
    token_file = tmp_path / "token"
    token_file.write_bytes(broken)
    activator = Activator()
    async with waking(activator, token_file) as (waker, observed):
        for lost, topic in enumerate(("orders", "payments"), 1):
            waker.notify(topic, None)
            await eventually(partial(lambda expected: observed.lost == expected, lost))
        assert activator.requests == []
        assert [record.levelname for record in caplog.records if str(token_file) in record.message] == ["ERROR"]
        assert "second" not in caplog.text.replace("\0", "")
        token_file.write_text("third\n")
        waker.notify("invoices", None)
        await eventually(lambda: observed.sent == 1)
        assert activator.requests[0][1]["authorization"] == "Bearer third"


async def test_merged_while_the_activator_is_slow() -> None:
    """What comes in while a request is under way goes together in the next."""
    activator = Activator(gate=asyncio.Event())
    async with waking(activator) as (waker, observed):
        waker.notify("first", None)
        await asyncio.sleep(0.01)
        for at in range(50):
            waker.notify(f"t{at}", None)
        assert activator.gate is not None
        activator.gate.set()
        await eventually(lambda: observed.sent == 51)
        assert [len(body) for body, _ in activator.requests] == [1, 50]


async def test_tried_twice() -> None:
    """A refused wake is tried once more and then let go; the next record's is sent all the same."""
    activator = Activator(status=500)
    async with waking(activator) as (waker, observed):
        waker.notify("orders", None)
        await eventually(lambda: observed.lost == 1)
        assert len(activator.requests) == 2
        activator.status = 202
        waker.notify("payments", None)
        await eventually(lambda: observed.sent == 1)


async def test_nobody_there() -> None:
    """No activator is no trouble."""
    observed = Observed()
    waker = Waker("http://127.0.0.1:1/wake", "kafka:9092", None, Tokens(), observed)
    task = asyncio.create_task(waker.run())
    waker.notify("orders", None)
    await eventually(lambda: observed.lost == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
