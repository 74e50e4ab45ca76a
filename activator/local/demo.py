"""The story of the demo: single orders that wake a consumer, and a rush that takes it to five."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.errors import UnavailableError
from activator.local.orders import Orders
from activator.local.verdict import Measured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from activator.local.timeline import Timeline

TOPIC = "pizzaOrders"
MOST_REPLICAS = 5
SAMPLE_SECONDS = 0.1
PAUSE_SECONDS = 1.0
"""Between the chapters, for whoever reads along."""
_SLEEP_SECONDS = 25.0
_RUSH_SECONDS = 60.0


@dataclass(slots=True)
class Story:
    """Tells the story and measures it.

    Args:
        timeline: draws it and knows what has happened.
        gateway: URL of the event gateway, where the orders go.
        now: the clock.
        processes: how many processes there are just now, those that are ending included.
        rush: how many orders come at once.
        short: half of the chapters.
    """

    timeline: Timeline
    gateway: str
    now: Callable[[], datetime]
    processes: Callable[[], int]
    rush: int
    short: bool = False
    produced: int = 0
    replica_seconds: float = 0.0

    async def tell(self) -> Measured:
        """Tell it; a chapter that does not end as it should ends the story."""
        started = self.now()
        wakes: list[float] = []
        interrupted = ""
        async with Orders(self.gateway, TOPIC) as orders, self._counting():
            for title, count in self._chapters():
                await self.timeline.until(lambda: self.timeline.settled, _SLEEP_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)
                self.timeline.chapter(title)
                woken = len(self.timeline.woken_at)
                try:
                    acknowledged = await self._send(orders, count)
                except UnavailableError as error:
                    interrupted = str(error)
                    break
                interrupted = await self._until_asleep(count)
                if len(self.timeline.woken_at) > woken:
                    wakes.append(max(0.0, (self.timeline.woken_at[woken] - acknowledged).total_seconds()))
                if interrupted:
                    break
        return Measured(
            seconds=(self.now() - started).total_seconds(),
            wakes_seconds=tuple(wakes),
            produced=self.produced,
            consumed=len(self.timeline.done),
            twice=self.timeline.done_again,
            most_replicas=self.timeline.most_replicas,
            replicas_at_the_end=self.timeline.replicas,
            replica_seconds=self.replica_seconds,
            interrupted=interrupted,
        )

    def _chapters(self) -> list[tuple[str, int]]:
        """Return titles, and how many orders come."""
        whole = [
            ("One order arrives while nothing runs", 1),
            ("Another one: it sleeps and wakes as often as you like", 1),
            (f"A rush: {self.rush} orders at once", self.rush),
            ("And one more", 1),
        ]
        return whole[:1] + whole[2:3] if self.short else whole

    async def _send(self, orders: Orders, count: int) -> datetime:
        """Send so many orders; return when the first of them was answered 202."""
        await orders.send([self.produced])
        acknowledged = self.now()
        await orders.send(range(self.produced + 1, self.produced + count))
        self.produced += count
        return acknowledged

    async def _until_asleep(self, count: int) -> str:
        """Wait until everything is done and it sleeps again; return what was waited for in vain."""
        timeline, longest = self.timeline, _RUSH_SECONDS if count > 1 else _SLEEP_SECONDS
        if not await timeline.until(lambda: len(timeline.done) >= self.produced, longest):
            return f"only {len(timeline.done)} of {self.produced} records were done within {longest:.0f} s"
        if not await timeline.until(lambda: timeline.replicas == 0, _SLEEP_SECONDS):
            return f"it did not go back to sleep within {_SLEEP_SECONDS:.0f} s"
        return ""

    @contextlib.asynccontextmanager
    async def _counting(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._count())
        try:
            yield
        finally:
            task.cancel()

    async def _count(self) -> None:
        before = self.now()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            now = self.now()
            self.replica_seconds += self.processes() * (now - before).total_seconds()
            before = now
