"""Commits of sleeping groups, made to outlast the sleep: in the background, where nobody waits for it.

Kafka forgets the offsets of a group without members after a while. Found missing they are committed again, but between
two looks a record may come, and a process that joins its group at once finds none. So what a group has is committed
once more while it sleeps, with a retention of its own, and nothing of it expires any more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from activator.loop import guarding, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.core.model import TargetRef
    from activator.loop.batches import Clusters
    from activator.loop.target import Target
    from activator.loop.world import World

_log = logging.getLogger(__name__)


class Prolonging:
    """Sees to each sleeper once, and again before that has come to its end.

    Not as a part of a look: a record must not wait for a coordinator that does not answer. But whatever is heard of the
    target ends it, and so does the next look, which commits what it finds missing: where a group stood before it was
    woken must not be committed after that.

    One at a time of each cluster: behind a commit that a broker holds, the next one would be old when it is its turn.
    """

    def __init__(
        self, world: World, look: Callable[[TargetRef], None], give_way: Callable[[], Awaitable[None]]
    ) -> None:
        self._world = world
        self._look = look
        self._give_way = give_way
        self._under_way: dict[TargetRef, asyncio.Task[None]] = {}
        self._turns: WeakValueDictionary[Clusters, asyncio.Lock] = WeakValueDictionary()
        """Each is there as long as somebody has his turn, or waits for it."""

    def begin(self, tasks: asyncio.TaskGroup, target: Target) -> None:
        """See to a target some time soon, where its groups have commits that may expire while it sleeps."""
        if any(guarding.to_prolong(self._world, target)):
            self.stop(target.ref)
            task = self._under_way[target.ref] = tasks.create_task(self._prolong(target))
            task.add_done_callback(lambda done: self._forget(target.ref, done))

    def stop(self, ref: TargetRef) -> None:
        """End it, where it is under way: somebody may have woken the target, or is about to look at it."""
        if (task := self._under_way.get(ref)) is not None:
            task.cancel()

    def _forget(self, ref: TargetRef, done: asyncio.Task[None]) -> None:
        if self._under_way.get(ref) is done:
            del self._under_way[ref]

    async def _prolong(self, target: Target) -> None:
        denied_at = target.guard.denied_at
        try:
            async with self._turns.setdefault(reading.clusters_of(target), asyncio.Lock()):
                await self._give_way()
                await guarding.prolong(self._world, target)
        except Exception:  # noqa: BLE001 - a mistake of ours about one target is no end of the loop for the others
            _log.exception("the offsets of %s were not prolonged, in a way nobody foresaw", target.ref)
        if target.guard.denied_at != denied_at:  # without the guard it may have to be woken before its next record
            self._look(target.ref)
