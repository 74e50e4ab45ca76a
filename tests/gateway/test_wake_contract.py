"""Both ends of POST /wake: what the gateway sends is what the activator's listener takes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from activator.core.model import Push, PushSource
from activator.web.server import Server
from gateway.tokens import Tokens
from gateway.wake import Waker
from tests.gateway.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Pushes:
    """Takes pushes, as the loop does."""

    taken: list[Push] = field(default_factory=list)

    def push(self, push: Push) -> None:
        """See `ports.PushListener`."""
        self.taken.append(push)


class Observed:
    """Counts as metrics do."""

    sent = 0
    lost = 0

    def wakes_sent(self, topics: int) -> None:
        """See `wake.WakeObserver`."""
        self.sent += topics

    def wakes_lost(self, topics: int) -> None:
        """See `wake.WakeObserver`."""
        self.lost += topics


async def test_wake(tmp_path: Path) -> None:
    """A wake reaches the activator with its topic, its cluster and its trace; a wrong token reaches nothing."""
    token_file = tmp_path / "token"
    token_file.write_text("shared\n")
    pushes, observed = Pushes(), Observed()
    server = Server(
        ("127.0.0.1", 0),
        registry=CollectorRegistry(),
        ready=list,
        pushes=pushes,
        wake_token_file=token_file,
        now=lambda: NOW,
    )
    await server.start()
    tokens = tmp_path / "gateway-token"
    tokens.write_text("shared\n")
    waker = Waker(f"http://127.0.0.1:{server.port}/wake", "kafka-0:9092,kafka-1:9092", tokens, Tokens(), observed)
    task = asyncio.create_task(waker.run())
    try:
        waker.notify("orders", TRACE)
        waker.notify("payments", None)
        await eventually(lambda: observed.sent == 2)
        assert sorted(pushes.taken, key=lambda push: push.topic) == [
            Push("kafka-0:9092,kafka-1:9092", "orders", PushSource.GATEWAY, NOW, traceparent=TRACE),
            Push("kafka-0:9092,kafka-1:9092", "payments", PushSource.GATEWAY, NOW, traceparent=None),
        ]
        tokens.write_text("wrong\n")
        waker.notify("invoices", None)
        await eventually(lambda: observed.lost == 1)
        assert len(pushes.taken) == 2
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.close()
