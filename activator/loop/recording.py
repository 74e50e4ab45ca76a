"""What is told waits while wakes are on their way: a trace, a log line or a count is worth no moment of a wake."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.core.model import Fact
    from activator.loop.backlog import Backlog
    from activator.ports import Recorder

_AT_ONCE = 12
"""Facts that are handed on before the event loop turns to whatever else has come in."""


class PatientRecorder:
    """`ports.Recorder` that hands facts on at once, but what is told in a storm once that gives room, in its order."""

    def __init__(self, recorder: Recorder, backlog: Backlog) -> None:
        self._recorder = recorder
        self._backlog = backlog
        self._waiting: deque[Fact] = deque()
        self._ended = False
        self._news = asyncio.Event()

    def record(self, fact: Fact) -> None:
        """Take one fact."""
        if not self._ended and (self._waiting or self._backlog.is_pressing):
            self._waiting.append(fact)
            self._news.set()
        else:
            self._recorder.record(fact)

    async def run(self) -> None:
        """Hand on what waits, until cancelled; nothing is left then."""
        try:
            while True:
                await self._news.wait()
                await self._backlog.give_way()
                # All that waits by now, also where the next storm begins meanwhile: of storm after storm each would
                # leave more behind than there was before.
                for _ in range(0, len(self._waiting), _AT_ONCE):
                    self._hand_on(_AT_ONCE)
                    await asyncio.sleep(0)
                if not self._waiting:
                    self._news.clear()
        finally:
            self._ended = True
            self._hand_on(len(self._waiting))

    def _hand_on(self, most: int) -> None:
        for _ in range(min(most, len(self._waiting))):
            self._recorder.record(self._waiting.popleft())
