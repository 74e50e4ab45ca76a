"""Deadlines by name: what the embedded broker wants to be woken for, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from itertools import count
from typing import TypeAlias

Action: TypeAlias = Callable[[float], None]
"""What to do at a deadline; it is given the time in milliseconds."""


class Timers:
    """A set of named deadlines in milliseconds.

    Each name has one live heap entry, which may be too early: heartbeats move their member's session deadline every
    few seconds, and the heap must not grow with each of them.
    """

    def __init__(self) -> None:
        self._due: dict[Hashable, tuple[float, Action]] = {}
        self._queued: dict[Hashable, float] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._sequence = count()

    def set(self, name: Hashable, due_ms: float, action: Action) -> None:
        """Call `action` once `due_ms` has come; replaces the deadline of the same name."""
        self._due[name] = (due_ms, action)
        if name not in self._queued or due_ms < self._queued[name]:
            self._queue(name, due_ms)

    def cancel(self, name: Hashable) -> None:
        """Forget a deadline; an unknown name is fine."""
        self._due.pop(name, None)

    def next_ms(self) -> float | None:
        """When `run` should be called next, or None if nothing is waited for."""
        while self._heap:
            queued_ms, _, name = self._heap[0]
            if self._queued.get(name) == queued_ms and name in self._due and self._due[name][0] <= queued_ms:
                return queued_ms
            self._drop_first()
        return None

    def run(self, now_ms: float) -> None:
        """Call every action that is due, earliest first; an action may set or cancel deadlines."""
        while (due_ms := self.next_ms()) is not None and due_ms <= now_ms:
            name = self._heap[0][2]
            _, action = self._due.pop(name)
            self._drop_first()
            action(now_ms)

    def _drop_first(self) -> None:
        """Take the first heap entry off; its name is queued again if it has a later deadline."""
        queued_ms, _, name = heapq.heappop(self._heap)
        if self._queued.get(name) == queued_ms:
            del self._queued[name]
            if name in self._due:
                self._queue(name, self._due[name][0])

    def _queue(self, name: Hashable, due_ms: float) -> None:
        self._queued[name] = due_ms
        heapq.heappush(self._heap, (due_ms, next(self._sequence), name))
