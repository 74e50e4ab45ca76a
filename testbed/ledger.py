"""What consumers write down, and two questions about it: was a record skipped, was one read twice without need?"""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Event = Literal["started", "assigned", "record", "committed", "revoked", "stopped"]


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        at: when, by the consumer's clock (UTC).
        event: what happened.
        pod: who wrote it.
        partition: of the event; None for started and stopped.
        offset: of the record; for `committed` the next one to read.
        key: of the record.
    """

    at: dt.datetime
    event: Event
    pod: str
    partition: int | None = None
    offset: int | None = None
    key: str | None = None


class LedgerWriter:
    """Appends one JSON line per fact, unbuffered; several processes may write to one file."""

    def __init__(self, path: Path, pod: str) -> None:
        # A single write to a file opened with O_APPEND is never torn by another writer's.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._pod = pod

    def write(self, event: Event, **facts: object) -> None:
        """Append one line."""
        at = dt.datetime.now(dt.UTC).isoformat()
        line = json.dumps({"at": at, "event": event, "pod": self._pod, **facts})
        os.write(self._descriptor, f"{line}\n".encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@dataclass(frozen=True)
class Repeat:
    """A record that was read again.

    Attributes:
        partition: of the record.
        offset: of the record.
        first: the reading before.
        again: this reading.
        explained: a rebalance lies between them, and its commit had not passed the record.
    """

    partition: int
    offset: int
    first: Entry
    again: Entry
    explained: bool


def read(path: Path) -> list[Entry]:
    """Parse a ledger as it is now, in the order in which it was written; no file yet is an empty one.

    Each line is one write, but who reads at that very moment may see its beginning: a line counts once it has ended.
    """
    if not path.exists():
        return []
    ended, _, _ = path.read_text().rpartition("\n")
    return [parse(line) for line in ended.splitlines()]


def parse(line: str) -> Entry:
    """Parse one line."""
    raw = json.loads(line)
    return Entry(**{**raw, "at": dt.datetime.fromisoformat(raw["at"])})


def records(entries: Iterable[Entry]) -> list[Entry]:
    """The readings alone."""
    return [entry for entry in entries if entry.event == "record"]


def missing(
    entries: Iterable[Entry], end: Mapping[int, int], begin: Mapping[int, int] | None = None
) -> list[tuple[int, int]]:
    """Records, as (partition, offset), that lie before the end and were never read.

    Args:
        entries: the ledger.
        end: partition -> end offset (the first one that need not have been read).
        begin: partition -> first offset that must have been read, default 0.
    """
    seen = {(entry.partition, entry.offset) for entry in records(entries)}
    first = begin or {}
    expected = (
        (partition, offset) for partition in sorted(end) for offset in range(first.get(partition, 0), end[partition])
    )
    return [place for place in expected if place not in seen]


def repeats(entries: Sequence[Entry]) -> list[Repeat]:
    """Records that were read more than once, each with whether a rebalance explains it.

    It is explained when the partition was assigned anew between the two readings, to the one who read it again, and no
    commit beyond the record had been written down before that assignment.
    """
    found: list[Repeat] = []
    last_reading: dict[tuple[int, int], Entry] = {}
    assigned: dict[int, tuple[int, str, int]] = {}  # partition -> (line, pod, committed offset at that moment)
    committed: dict[int, int] = {}
    line_of: dict[tuple[int, int], int] = {}
    for line, entry in enumerate(entries):
        if entry.partition is None:
            continue
        if entry.event == "assigned":
            assigned[entry.partition] = (line, entry.pod, committed.get(entry.partition, 0))
        elif entry.event == "committed" and entry.offset is not None:
            committed[entry.partition] = entry.offset
        elif entry.event == "record" and entry.offset is not None:
            place = (entry.partition, entry.offset)
            if first := last_reading.get(place):
                at_line, pod, done = assigned.get(entry.partition, (-1, "", 0))
                explained = line_of[place] < at_line and pod == entry.pod and done <= entry.offset
                found.append(Repeat(*place, first, entry, explained))
            last_reading[place] = entry
            line_of[place] = line
    return found
