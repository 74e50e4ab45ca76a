"""What outlives a restart: kept on change, lag and last active coarsely, never in the path of a wake."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import fields
from datetime import timedelta
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from activator.core.model import TargetState
from activator.errors import WakegateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.core.model import TargetRef
    from activator.loop.world import World

COARSE = timedelta(seconds=30)
"""Lag and last active are written no more often than this while nothing else changes."""
AFTER_A_FAILURE_SECONDS = 5.0
AT_ONCE = 8
"""Writes under way at the same time."""

_MOVES_WITH_EVERY_LOOK = frozenset({"lag", "last_active", "trace_id", "message"})
"""Written with whatever else changes."""
_WRITTEN_AT_ONCE = attrgetter(*(each.name for each in fields(TargetState) if each.name not in _MOVES_WITH_EVERY_LOOK))

_log = logging.getLogger(__name__)


class Keeper:
    """Writes target states in the background, each target's latest only.

    Of one target there is one write at a time: on two connections the one that was sent first may arrive last, and an
    awake target would be kept over what must outlive us of its sleep.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._saved: dict[TargetRef, TargetState] = {}
        self._waiting: dict[TargetRef, tuple[str, TargetState]] = {}
        self._work = asyncio.Event()
        self._turns: WeakValueDictionary[TargetRef, asyncio.Lock] = WeakValueDictionary()
        """Each is there as long as somebody writes, or waits for his turn."""

    def restored(self, ref: TargetRef, state: TargetState) -> None:
        """Take note of what is kept already: what waits to be written is from before another replica led."""
        self._waiting.pop(ref, None)
        self._saved[ref] = state

    def offer(self, ref: TargetRef, uid: str, state: TargetState) -> None:
        """Write a state some time soon, where it differs enough from what is kept."""
        if self._is_news(ref, state):
            self._waiting[ref] = (uid, state)
            self._work.set()

    async def save(self, ref: TargetRef, uid: str, state: TargetState) -> None:
        """Write a state before returning, after what was sent before it. Raises what the store raises."""
        async with self._turn(ref):
            self._waiting.pop(ref, None)  # what has failed just now is among it
            await self._world.states.save(ref, uid, state)
            self._saved[ref] = state

    def drop(self, ref: TargetRef) -> None:
        """Forget a target that is gone: what was kept of it went with it."""
        self._waiting.pop(ref, None)
        self._saved.pop(ref, None)

    async def forget(self, ref: TargetRef) -> None:
        """Delete what is kept; a write that arrives later would make it anew. Raises what the store raises."""
        async with self._turn(ref):
            self.drop(ref)
            await self._world.states.forget(ref)

    async def run(self, give_way: Callable[[], Awaitable[None]]) -> None:
        """Write what waits, until cancelled; `give_way` returns when there is nothing more pressing to do.

        Only while we lead: else another replica writes, and the next change of ours will be offered again.
        """
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                await give_way()
                if not self._world.leads():
                    self._waiting.clear()
                    break
                batch = list(islice(self._waiting, AT_ONCE))
                failed = await asyncio.gather(*(self._write(ref) for ref in batch))
                if any(failed):
                    await asyncio.sleep(AFTER_A_FAILURE_SECONDS)

    async def _write(self, ref: TargetRef) -> bool:
        """Write what waits of a target once it is its turn; return whether that failed."""
        async with self._turn(ref):
            if (waiting := self._waiting.pop(ref, None)) is None:  # who had his turn before has seen to it
                return False
            try:
                await self._world.states.save(ref, *waiting)
            except WakegateError as error:
                _log.warning("the state of %s was not kept, it is tried again in a moment: %s", ref, error)
                self._waiting.setdefault(ref, waiting)
                return True
            self._saved[ref] = waiting[1]
            return False

    def _turn(self, ref: TargetRef) -> asyncio.Lock:
        return self._turns.setdefault(ref, asyncio.Lock())

    def _is_news(self, ref: TargetRef, state: TargetState) -> bool:
        waiting = self._waiting.get(ref)
        kept = waiting[1] if waiting else self._saved.get(ref)
        if kept is None:
            return True
        if _WRITTEN_AT_ONCE(state) != _WRITTEN_AT_ONCE(kept):
            return True
        if state.last_active is not None and (
            kept.last_active is None or state.last_active - kept.last_active >= COARSE
        ):
            return True
        return (state.lag or 0) != (kept.lag or 0) and 0 in {state.lag, kept.lag}
