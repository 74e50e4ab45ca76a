"""One process of wakegate between the fakes of a world."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.errors import UnavailableError
from activator.loop import Activator
from activator.loop import World as LoopWorld
from activator.web.metric_store import InMemoryMetricStore
from tests.fakes.kubernetes import FakeStateStore
from tests.world.kafka import GroupOffsets, Reader, Tail
from tests.world.kubernetes import Catalog, Election, Handoff, Scaler, parsed
from tests.world.scheduler import START, Process

if TYPE_CHECKING:
    from datetime import datetime

    from activator.core.model import Fact, Push
    from tests.world.run import World


class Wakegate:
    """One process of wakegate, wired as wiring.py wires it."""

    def __init__(self, world: World, name: str, clock_offset: timedelta) -> None:
        self.world = world
        self.process = Process(name, clock_offset, on_death=self._dies)
        self._start = START + clock_offset
        self._told = (0.0, self._start)
        dice = random.Random(f"{world.plan.seed}/{name}")  # noqa: S311 - replayed, not secret
        self.metrics = InMemoryMetricStore()
        self.catalog = Catalog(world.server, self.process, dice)
        self.election = Election(world.server, self.process, self.now)
        self.tail = Tail(self.process, world.clusters, self, self.now, dice)
        offsets = GroupOffsets(self.process, world.clusters, world.oracle.witness)
        self.activator = Activator(
            LoopWorld(
                catalog=self.catalog,
                reader=Reader(self.process, world.clusters, world.oracle.witness),
                wakes=self.tail,
                scaler=Scaler(world.server, self.process),
                handoff=Handoff(world.server, self.process, self.catalog),
                leadership=self.election,
                metrics=self.metrics,
                states=FakeStateStore(world.server, name),
                recorder=self,
                group_offsets=offsets,
                background_offsets=offsets,
                now=self.now,
                new_ids=world.new_ids,
                parse=lambda annotations, _: parsed(annotations),
            )
        )

        self.catalog.rivals_changed = self.activator.look

    def now(self) -> datetime:
        """Tell the time as this process has it."""
        elapsed = self.world.loop.time()
        if self._told[0] != elapsed:
            self._told = (elapsed, self._start + timedelta(seconds=elapsed))
        return self._told[1]

    def push(self, push: Push) -> None:
        """Hand a push of the tail on."""
        self.activator.push(push)

    def record(self, fact: Fact) -> None:
        """Hand what is recorded on to the oracle."""
        self.world.oracle.recorded(self.process, fact)

    def _dies(self) -> None:
        self.world.journal.note("dies", self.process.name)
        self.world.oracle.process_dies()

    async def run(self) -> None:
        """Run as wiring does."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.election.run())
                tasks.create_task(self._manage())
                tasks.create_task(self.activator.run())
        except Exception as error:  # noqa: BLE001 - whatever ends a process is what is looked for
            self.world.journal.violation("broke", f"{self.process.name}: {error!r}")

    async def _manage(self) -> None:
        with contextlib.suppress(UnavailableError):
            await self.activator.restore()
        await self.catalog.run(self.activator)
