"""Floors as processes of their own: the least that anybody must do who looks as often as wakegate does."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection


@dataclass
class Bare:
    """A running floor."""

    process_id: int
    pipe: Connection

    def stop(self) -> Any:
        """End it, and return what it found."""
        self.pipe.send(None)
        return self.pipe.recv()


@contextlib.contextmanager
def running(floor: Callable[..., None], *arguments: object) -> Iterator[Bare]:
    """Run a function of this module in a process of its own; it answers the first message with what it found."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=floor, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        ours.recv()  # it has begun
        yield Bare(process.pid or 0, ours)
    finally:
        process.terminate()
        process.join(10)


def sweeps(parent: Connection, bootstrap_servers: str, topics: list[str], seconds: float) -> None:
    """Read the lag of every topic, and group of its name, in one batch every so many seconds; decide nothing."""
    from activator.core.model import Cluster, Trigger  # noqa: PLC0415 - this is what the process imports, and no more
    from activator.kafka.client import Connections  # noqa: PLC0415
    from activator.kafka.lag import KafkaLagReader  # noqa: PLC0415

    async def run() -> None:
        connections, cluster = Connections(), Cluster(bootstrap_servers)
        reader, triggers = KafkaLagReader(connections), [Trigger(cluster, topic, topic) for topic in topics]

        async def sweep() -> None:
            while True:
                await reader.read(cluster, triggers, datetime.now(UTC))
                await asyncio.sleep(seconds)

        await reader.read(cluster, triggers, datetime.now(UTC))
        parent.send(None)
        sweeping = asyncio.create_task(sweep())
        await asyncio.to_thread(parent.recv)
        sweeping.cancel()
        parent.send(connections.client(cluster).requests_sent)

    asyncio.run(run())


def timers(parent: Connection, count: int, seconds: float) -> None:
    """Let so many timers go off every so many seconds, at moments of their own; tell how late each was."""

    async def run() -> None:
        loop, late = asyncio.get_running_loop(), []

        def ring(due: float) -> None:
            late.append(loop.time() - due)
            loop.call_at(due + seconds, ring, due + seconds)

        for _ in range(count):
            due = loop.time() + random.uniform(0, seconds)  # noqa: S311 - spread, nothing secret
            loop.call_at(due, ring, due)
        parent.send(None)
        await asyncio.to_thread(parent.recv)
        parent.send(late)

    asyncio.run(run())
