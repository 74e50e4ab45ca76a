"""What must not have happened, from records that were produced, records that were read, and PATCHes to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DECISION_SECONDS = 10.0
"""What may lie between the reading that allows a sleep and its PATCH: a read and two writes with their deadlines. A
record within them is found by the tail, which joined at that reading."""

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that Kafka has acknowledged, at this time (seconds since the epoch)."""

    partition: int
    offset: int
    acked_at: float

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self.partition, self.offset


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not happen.

    Attributes:
        what: false-zero, missed-wake, late, never-normal, not-restored, skipped, read-again or stuck-awake.
        target: whom it happened to.
        text: when and how.
        fault: during or after which fault, 0 where that is not known.
    """

    what: str
    target: str
    text: str
    fault: int = 0

    def __str__(self) -> str:
        return f"VIOLATION {self.what}: {self.target}: {self.text}"


def unread(sent: Iterable[Sent], read_at: Mapping[Place, float], at: float) -> list[Sent]:
    """Records that Kafka had by then and nobody had read."""
    return [record for record in sent if record.acked_at <= at and read_at.get(record.place, float("inf")) > at]


def false_zeros(
    target: str, sent: Sequence[Sent], read_at: Mapping[Place, float], sleeps: Iterable[float]
) -> list[Violation]:
    """PATCHes to zero, by when the API server got them, that came although a record had long been there."""
    found = []
    for at in sleeps:
        waiting = [record for record in unread(sent, read_at, at) if record.acked_at < at - DECISION_SECONDS]
        if waiting:
            oldest = min(waiting, key=lambda record: record.acked_at)
            age = at - oldest.acked_at
            text = f"put to zero with {len(waiting)} unread, the oldest {oldest.place} acknowledged {age:.1f} s before"
            found.append(Violation("false-zero", target, text))
    return found


def reading_faults(target: str, entries: Sequence[ledger.Entry], ends: Mapping[int, int]) -> list[Violation]:
    """Records that were never read, and records that were read again though nothing had happened to their reader."""
    missing = ledger.missing(entries, ends)
    skipped = [Violation("skipped", target, f"{len(missing)} never read, the first {missing[:5]} (ends {dict(ends)})")][
        : len(missing)
    ]
    again = [
        Violation("read-again", target, f"({repeat.partition}, {repeat.offset}): {_history(repeat, entries)}")
        for repeat in ledger.repeats(entries)
        if not repeat.explained
    ]
    return skipped + again


def _history(repeat: ledger.Repeat, entries: Iterable[ledger.Entry]) -> str:
    """What became of the partition from the first reading to the second, as its consumers wrote it down."""
    between = [
        f"{entry.at:%H:%M:%S.%f} {entry.pod[-5:]} {entry.event}{'' if entry.offset is None else f' {entry.offset}'}"
        for entry in entries
        if repeat.first.at <= entry.at <= repeat.again.at and entry.partition in {None, repeat.partition}
    ]
    return ", ".join(between)
