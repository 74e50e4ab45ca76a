"""Who is due when: deadlines in order, and wakes that are merged until they are taken."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from activator.core.model import Push, TargetRef


@dataclass(frozen=True, slots=True)
class Due:
    """A target to look at now, and the push that brought it forward, if one did."""

    ref: TargetRef
    at: datetime
    """When it became due: how late the look is counts from here."""
    push: Push | None = None


class Agenda:
    """Deadlines of targets; each target has at most one, the latest that was set."""

    def __init__(self) -> None:
        self._deadlines: dict[TargetRef, datetime] = {}
        self._heap: list[tuple[datetime, datetime, TargetRef]] = []
        """When a target's look is begun, and the deadline that this belongs to."""
        self._ahead: list[tuple[datetime, datetime, TargetRef]] = []
        """From when on a target may be looked at in company, and the deadline that this belongs to."""
        self._pushes: dict[TargetRef, Push] = {}

    def schedule(
        self,
        ref: TargetRef,
        at: datetime,
        *,
        begin_at: datetime | None = None,
        in_company_from: datetime | None = None,
    ) -> None:
        """Look at a target at a moment, instead of at the moment that was set before.

        Args:
            ref: the target.
            at: when it is due.
            begin_at: when to begin, so that it is decided about when it is due; None: at `at`.
            in_company_from: from when on it may be looked at together with others that are due; None: not before `at`.
        """
        if self._deadlines.get(ref) != at:
            self._deadlines[ref] = at
            heapq.heappush(self._heap, (begin_at or at, at, ref))
            if in_company_from is not None:
                heapq.heappush(self._ahead, (in_company_from, at, ref))

    def bring_forward(self, ref: TargetRef, at: datetime) -> None:
        """Look at a target at a moment, unless it is due sooner already."""
        deadline = self._deadlines.get(ref)
        if deadline is None or at < deadline:
            self.schedule(ref, at)

    def wake(self, ref: TargetRef, push: Push) -> None:
        """Look at a target at once because of a push; of several the first one is kept: it is what woke it."""
        self._pushes.setdefault(ref, push)
        self.bring_forward(ref, push.seen_at)

    def carry(self, ref: TargetRef, push: Push) -> None:
        """Keep a push for the look that is scheduled, without bringing it forward: acting on it has failed once."""
        self._pushes.setdefault(ref, push)

    def forget(self, ref: TargetRef) -> None:
        """Drop a target's deadline and its push."""
        self._deadlines.pop(ref, None)
        self._pushes.pop(ref, None)

    def next_begin(self) -> datetime | None:
        """Return when the next look is to be begun; None: nothing is due ever."""
        self._drop_superseded()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: datetime) -> Iterator[Due]:
        """Take every target to begin with, the longest waiting first; each has no deadline until it gets a new one."""
        while self._drop_superseded() and self._heap[0][0] <= now:
            _, at, ref = heapq.heappop(self._heap)
            del self._deadlines[ref]
            yield Due(ref, at, self._pushes.pop(ref, None))

    def take_along(self, now: datetime, at_most: int) -> Iterator[Due]:
        """Take targets that may be looked at in company now, although they are due later.

        Deadlines that are spread over an interval cost a read each. Those that were taken together are due together
        the next time, and so the spread shrinks to a few batches by itself.
        """
        taken = 0
        while taken < at_most and self._ahead and self._ahead[0][0] <= now:
            _, at, ref = heapq.heappop(self._ahead)
            if self._deadlines.get(ref) == at:
                del self._deadlines[ref]
                taken += 1
                yield Due(ref, at, self._pushes.pop(ref, None))

    def _drop_superseded(self) -> bool:
        """Drop entries at the front that are no target's deadline any more; tell whether any entry is left."""
        while self._heap and self._deadlines.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return bool(self._heap)
