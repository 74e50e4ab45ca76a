"""What is pressing: many wakes at once, and more looks than one batch holds. The rest gives way for a while."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 16
"""Wakes under way from which on there is a storm: fewer get by beside everything else."""
LONGEST_SECONDS = 10.0
"""Nobody gives way for longer: readings, HPAs and what outlives a restart must not wait for a storm without an end."""


class Pressing:
    """Knows what is pressing, and tells others to give way to it.

    A wake makes a look, a state to keep and an Event due at once, and a start makes an HPA and two requests about the
    state of each target. On a machine without a processor to spare these took half of it from the wakes that still
    waited, and from sleepers that nobody watched yet (docs/performance.md).

    Args:
        over: told each time that a storm is over.
    """

    def __init__(self, over: Callable[[], None]) -> None:
        self._tell = over
        self._wakes = 0
        self._backlog = False
        self._calm = asyncio.Event()
        self._calm.set()
        self._alarm: asyncio.TimerHandle | None = None
        """Set for as long as something is pressing, also after it has rung."""

    @property
    def is_on(self) -> bool:
        """Whether others are to give way."""
        return not self._calm.is_set()

    @property
    def is_storm(self) -> bool:
        """Whether even looks at those that are awake are to give way."""
        return self.is_on and self._wakes >= MANY

    @contextlib.contextmanager
    def wake(self) -> Iterator[None]:
        """Count a wake for as long as it is under way, from where it waits for its turn."""
        self._wakes += 1
        self._settle()
        try:
            yield
        finally:
            self._wakes -= 1
            self._settle()
            if self._wakes == MANY - 1:  # looks go on, also where a backlog of them is still pressing
                self._tell()

    def backlog(self, *, exists: bool) -> None:
        """Take note whether more targets wait to be looked at than one batch holds."""
        self._backlog = exists
        self._settle()

    async def give_way(self) -> None:
        """Wait until nothing is pressing, or until it has been for as long as anybody waits."""
        await self._calm.wait()

    def _settle(self) -> None:
        pressing = self._backlog or self._wakes >= MANY
        if pressing and self._alarm is None:
            self._calm.clear()
            self._alarm = asyncio.get_running_loop().call_later(LONGEST_SECONDS, self._give_up)
        elif not pressing and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
            self._calm.set()

    def _give_up(self) -> None:
        self._calm.set()
        self._tell()
