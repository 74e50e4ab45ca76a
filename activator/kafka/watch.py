"""One watched partition: who sleeps on it, from which offset on, and what an answer of the broker means to them.

Pure. Several targets may sleep on one partition at different offsets, so each has a position of its own; the partition
is fetched from the lowest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from activator.kafka.records import traceparent, visible, walk

if TYPE_CHECKING:
    from activator.core.model import TargetRef
    from activator.kafka.fetch import FetchedPartition


class Sighting(NamedTuple):
    """A record that somebody waits for."""

    offset: int | None
    """None: the log is not the one that was joined, so that its offsets compare with nothing known of that."""
    traceparent: str | None = None


@dataclass(eq=False, slots=True)
class Watch:
    """The sleepers on one partition under one isolation level."""

    topic: str
    partition: int
    read_committed: bool
    positions: dict[TargetRef, int] = field(default_factory=dict)
    """The next offset that each waits for: where it joined, moved past what it was told."""
    shorter_end: int | None = None
    """The log's end at the last look, where that lay before our position."""
    outdated: frozenset[TargetRef] = frozenset()
    """Who joined a log that is no more: the first record of the one in its place would look to them like an old one."""

    @property
    def position(self) -> int:
        """The lowest offset that anybody waits for."""
        return min(self.positions.values())

    def join(self, ref: TargetRef, offset: int) -> None:
        """Let a sleeper wait for what comes from this offset of the log that is there now."""
        self.positions[ref] = offset
        self.outdated -= {ref}

    def leave(self, ref: TargetRef) -> None:
        """Let a sleeper wait no more."""
        del self.positions[ref]
        self.outdated -= {ref}

    def fetched(self, answer: FetchedPartition, asked_from: int) -> list[Sighting]:
        """Take what a fetch gave, and say what is to be pushed.

        Markers and aborted records move the positions and wake nobody. Where no batch fitted into the answer although
        the log goes on, that it goes on is proof enough: waiting for the bytes would cost a storm of wakes a round
        trip each. Who joined at an offset before `asked_from` while the fetch was on its way still waits for the next.
        """
        end = answer.last_stable_offset if self.read_committed else answer.high_watermark
        batches = list(walk(answer.records))
        if not batches:
            return self.ends_at(end, asked_from)
        seen = list(visible(iter(batches), answer.aborted))
        sightings: dict[int | None, Sighting] = {}
        for ref, position in self.positions.items():
            batch = next((batch for batch in seen if batch.last >= position), None)
            if batch is not None:
                offset = max(position, batch.first)
                told = self._told(ref, offset)
                sightings[told] = sightings.get(told) or Sighting(told, traceparent(batch, offset))
                self.positions[ref] = max(batches[-1].last + 1, end)
            elif position >= asked_from:
                self.positions[ref] = max(position, batches[-1].last + 1)
        return list(sightings.values())

    def ends_at(self, end: int, asked_from: int = 0) -> list[Sighting]:
        """Take where the log ends, and say what is to be pushed: everything short of it is taken for a record."""
        waiting = [ref for ref, position in self.positions.items() if asked_from <= position < end]
        waiting.sort(key=self.positions.__getitem__)
        told = dict.fromkeys(self._told(ref, self.positions[ref]) for ref in waiting)
        for ref in waiting:
            self.positions[ref] = end
        return [Sighting(offset) for offset in told]

    def looked(self, start: int, end: int) -> list[Sighting] | None:
        """Take where the log begins and ends, and say what is to be pushed; None: look again before believing it.

        A log that ends before our position has been recreated or truncated. A broker that is starting may say so by
        mistake, so it is believed when two looks agree; whatever the log holds then has been seen by nobody.
        """
        if end >= self.position:
            self.shorter_end = None
            if start > self.position:  # trimmed by retention or DeleteRecords: what came before is gone
                self.positions = {ref: max(position, start) for ref, position in self.positions.items()}
            return self.ends_at(end)
        if self.shorter_end != end:
            self.shorter_end = end
            return None
        self.shorter_end = None
        self.positions = dict.fromkeys(self.positions, end)
        self.outdated = frozenset(self.positions)
        return [Sighting(None)] if end > start else []

    def _told(self, ref: TargetRef, offset: int) -> int | None:
        """Return the offset by which a sleeper can tell whether it knows a record."""
        return None if ref in self.outdated else offset
