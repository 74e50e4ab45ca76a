"""More targets to look at than are read at a time, or many wakes at once: what follows gives way, for a while."""

from __future__ import annotations

import asyncio

LONGEST_SECONDS = 10.0
"""A backlog is given way to for no longer: HPAs, and what outlives a restart, must not wait for one without an end."""


class Backlog:
    """Knows whether looks or wakes have piled up.

    Of 3,000 targets that a process finds as it starts each is to have its HPA and two requests about its state: sent as
    they came, they stood before sleepers that nobody watched yet. Of a thousand wakes at once the last waited for what
    followed the others, which was half of our work (docs/performance.md).
    """

    def __init__(self) -> None:
        self._none = asyncio.Event()
        self._none.set()
        self._alarm: asyncio.TimerHandle | None = None
        """Set for as long as there is a backlog, also after it has rung."""

    @property
    def is_pressing(self) -> bool:
        """Whether others are to give way."""
        return not self._none.is_set()

    def note(self, *, exists: bool) -> None:
        """Take note whether there is one."""
        if exists and self._alarm is None:
            self._none.clear()
            self._alarm = asyncio.get_running_loop().call_later(LONGEST_SECONDS, self._none.set)
        elif not exists and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
            self._none.set()

    async def give_way(self) -> None:
        """Wait until there is none, or until one has been given way to for long enough."""
        await self._none.wait()
