"""Everything given back at once, before wakegate is taken away: no workload may be left at zero with nobody to wake it.

It goes by what is kept, and where nothing could be kept (no CRD) by the workloads themselves: whose hand put them to
zero is told by the field manager.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from activator.core.model import OnRelease
from activator.loop import takeover
from activator.loop.keeping import Keeper
from activator.loop.releasing import Releasing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from activator.core.model import TargetRef, Workload
    from activator.loop.world import World
    from activator.ports import ManagedWorkload

_LOOK_SECONDS = 0.2


async def give_back_all(world: World, within: timedelta) -> Sequence[TargetRef]:
    """Give back every target as soon as this process leads, and return those that could not be in time.

    Nobody else may manage them meanwhile: he would take each over again.

    Raises:
        UnavailableError, DeniedError: what is kept could not be read.
    """
    deadline = world.now() + within
    kept = await world.states.load() or {}
    releasing = Releasing(world, Keeper(world), OnRelease.AT_LEAST_ORIGINAL)
    for ref, state in kept.items():
        releasing.begin(ref, state)
    for ref, managed in (await _all(world, within / 4)).items():
        if ref not in kept and managed.policy is not None:
            target = takeover.take_over(managed, managed.policy, managed.annotations, None, world.now())
            releasing.begin(ref, target.state(world.now()), managed.policy)
    while releasing.left and world.now() < deadline:
        if world.leads():
            await releasing.run_due()
        await asyncio.sleep(_LOOK_SECONDS)
    return releasing.left


class _Everything:
    """The listener of a catalog that is asked once."""

    def __init__(self) -> None:
        self.found: dict[TargetRef, ManagedWorkload] = {}
        self.complete = asyncio.Event()

    def upsert(self, managed: ManagedWorkload) -> None:
        self.found[managed.workload.ref] = managed

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        del workload
        self.found.pop(ref, None)

    def synced(self) -> None:
        self.complete.set()


async def _all(world: World, within: timedelta) -> dict[TargetRef, ManagedWorkload]:
    """Return every managed workload; those that were seen where not all were in time: what is kept needs no list."""
    listener = _Everything()
    following = asyncio.create_task(world.catalog.run(listener))
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(listener.complete.wait(), within.total_seconds())
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return dict(listener.found)
