"""Was a record skipped, was one read twice without need?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from testbed import ledger

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.ledger import Entry

AT = "2026-01-01T00:00:00+00:00"


def entry(text: str) -> Entry:
    """`EVENT POD PARTITION OFFSET` as an entry."""
    event, pod, *numbers = text.split()
    names = ("partition", "offset")
    facts = dict(zip(names, map(int, numbers), strict=False))
    return ledger.parse(json.dumps({"at": AT, "event": event, "pod": pod, **facts}))


def test_missing() -> None:
    """What lies between begin and end and was never read is missing, whatever the order of reading."""
    entries = [entry("record a 0 2"), entry("record b 0 0"), entry("record a 1 7")]
    assert ledger.missing(entries, {0: 3, 1: 8}, begin={1: 6}) == [(0, 1), (1, 6)]
    assert ledger.missing(entries, {}) == []
    assert ledger.missing([], {0: 2}) == [(0, 0), (0, 1)]


@pytest.mark.parametrize(
    ("story", "explained"),
    [
        (["assigned a 0", "record a 0 5", "record a 0 6"], []),
        (["assigned a 0", "record a 0 5", "record a 0 5"], [False]),
        (["assigned a 0", "record a 0 5", "assigned b 0", "record b 0 5"], [True]),
        (["assigned a 0", "record a 0 5", "committed a 0 6", "assigned b 0", "record b 0 5"], [False]),
        (["assigned a 0", "record a 0 5", "committed a 0 5", "assigned b 0", "record b 0 5"], [True]),
        (["assigned a 0", "record a 0 5", "assigned b 1", "record b 0 5"], [False]),
        (["assigned a 0", "record a 0 5", "assigned b 0", "record a 0 5"], [False]),
        (["assigned a 0", "record a 0 5", "assigned b 0", "record b 0 5", "record b 0 5"], [True, False]),
        (["assigned a 0", "record a 0 5", "assigned b 0", "committed a 0 6", "record b 0 5"], [True]),
    ],
    ids=[
        "read once",
        "again without a rebalance",
        "again by the next owner",
        "again although committed",
        "again, the commit had stopped before it",
        "again, another partition was assigned",
        "again by the one that had lost it",
        "third time by the same owner",
        "a late commit does not blame the next owner",
    ],
)
def test_repeats(story: list[str], explained: list[bool]) -> None:
    """A second reading is explained by a rebalance that lies between, unless the first one was committed before it."""
    assert [repeat.explained for repeat in ledger.repeats([entry(line) for line in story])] == explained


def test_read(tmp_path: Path) -> None:
    """Lines come back in order; no file is an empty ledger."""
    path = tmp_path / "ledger"
    assert ledger.read(path) == []
    path.write_text(
        f'{{"at": "{AT}", "event": "started", "pod": "a"}}\n'
        f'{{"at": "{AT}", "event": "record", "pod": "a", "partition": 0, "offset": 3, "key": "k"}}\n'
    )
    started, record = ledger.read(path)
    assert (started.event, started.partition) == ("started", None)
    assert (record.partition, record.offset, record.key) == (0, 3, "k")
    assert ledger.records([started, record]) == [record]


def test_a_line_that_is_being_written_is_not_there_yet(tmp_path: Path) -> None:
    """Who reads in the middle of a write sees the beginning of a line."""
    path = tmp_path / "pod"
    whole = json.dumps({"at": "2026-01-05T09:00:00+00:00", "event": "started", "pod": "p"}) + "\n"
    path.write_text(whole + whole[:9])
    assert [entry.event for entry in ledger.read(path)] == ["started"]
