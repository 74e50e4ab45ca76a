"""Who waits to be read, and which of them are read together, and when."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from activator.core.model import Cluster, Push, TargetRef

    Clusters = tuple[Cluster, ...]
    Batch = dict[TargetRef, Push | None]

READ_TOGETHER = 128
"""Targets read in one batch, where few more wait: each is decided about only once all of them are read."""
BATCH_SHARE = 4
"""Of more, such as all of them after a takeover, that part is read at a time. So those that became due at one moment
are apart after a few intervals."""
GIVES_WAY = timedelta(seconds=1)
"""How long a read gives way to a storm of wakes: most of it would be of those that were woken just now."""


class Batches:
    """Targets that wait for a read of the same clusters; of those one batch at a time is under way.

    What becomes due on a slow cluster meanwhile is read together afterwards.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[Clusters, Batch] = defaultdict(dict)
        self._read_by: dict[Clusters, datetime] = {}
        """Until when each gives way to a storm: not at all where a push has brought somebody who must be read."""
        self._under_way: set[Clusters] = set()

    @property
    def many_wait(self) -> bool:
        """Whether more wait for the same clusters than are read together."""
        return any(len(waiting) > READ_TOGETHER for waiting in self._waiting.values())

    def add(self, clusters: Clusters, ref: TargetRef, push: Push | None, now: datetime) -> None:
        """Let a target wait; `push`: what has brought it, which stays where a later one has none."""
        waiting = self._waiting[clusters]
        waiting[ref] = waiting.get(ref) or push
        read_by = now + GIVES_WAY if push is None else now
        self._read_by[clusters] = min(read_by, self._read_by.get(clusters, read_by))

    def begin(self, now: datetime, *, storm: bool) -> Iterator[tuple[Clusters, Batch]]:
        """Yield the batches that are to be read now; each counts as under way until `end`."""
        for clusters in list(self._waiting):
            if clusters not in self._under_way and not (storm and now < self._read_by[clusters]):
                self._under_way.add(clusters)
                yield clusters, self._take(clusters)

    def end(self, clusters: Clusters) -> None:
        """Take note that the batch that was under way has been read, or could not be."""
        self._under_way.discard(clusters)

    def _take(self, clusters: Clusters) -> Batch:
        """Take those that have waited the longest; whom a push has brought goes before."""
        waiting = self._waiting.pop(clusters)
        size = max(READ_TOGETHER, len(waiting) // BATCH_SHARE)
        if len(waiting) <= size:
            del self._read_by[clusters]
            return waiting
        order = sorted(waiting, key=lambda ref: waiting[ref] is None)
        self._waiting[clusters] = {ref: waiting[ref] for ref in order[size:]}
        return {ref: waiting[ref] for ref in order[:size]}
