"""Deadlines by name: what the embedded broker wants to be woken for, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from itertools import count


class Timers:
    """A set of named deadlines in milliseconds.

    A later deadline for a known name costs one dictionary entry and no heap entry: heartbeats move their
    member's session deadline every few seconds, and the heap must not grow with each of them.
    """

    def __init__(self) -> None:
        self._due: dict[Hashable, tuple[float, Callable[[float], None]]] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._sequence = count()

    def set(self, name: Hashable, due_ms: float, action: Callable[[float], None]) -> None:
        """Call `action(now_ms)` once `due_ms` has come; replaces the deadline of the same name."""
        known = self._due.get(name)
        self._due[name] = (due_ms, action)
        if known is None or due_ms < known[0]:
            heapq.heappush(self._heap, (due_ms, next(self._sequence), name))

    def cancel(self, name: Hashable) -> None:
        """Forget a deadline; an unknown name is fine."""
        self._due.pop(name, None)

    def next_ms(self) -> float | None:
        """When `run` should be called next, or None if nothing is waited for."""
        while self._heap:
            due_ms, _, name = self._heap[0]
            known = self._due.get(name)
            if known is not None and known[0] <= due_ms:
                return due_ms
            heapq.heappop(self._heap)
            if known is not None:
                heapq.heappush(self._heap, (known[0], next(self._sequence), name))
        return None

    def run(self, now_ms: float) -> None:
        """Call every action that is due, earliest first; an action may set or cancel deadlines."""
        while (due_ms := self.next_ms()) is not None and due_ms <= now_ms:
            _, _, name = heapq.heappop(self._heap)
            _, action = self._due.pop(name)
            action(now_ms)
