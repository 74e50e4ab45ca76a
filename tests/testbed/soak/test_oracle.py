"""What must not have happened: told where it did, and only there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from testbed.ledger import Entry, Event
from testbed.soak import oracle
from testbed.soak.oracle import Sent

RECORD = Sent(partition=0, offset=4, acked_at=100.0)
SLEEPS = [
    pytest.param(99.0, {}, False, id="before the record"),
    pytest.param(105.0, {}, False, id="within a decision: the tail has it"),
    pytest.param(111.0, {}, True, id="long after it, unread"),
    pytest.param(111.0, {(0, 4): 102.0}, False, id="after it was read"),
    pytest.param(111.0, {(0, 4): 112.0}, True, id="before it was read"),
]


@pytest.mark.parametrize(("at", "read_at", "is_false"), SLEEPS)
def test_a_false_zero(at: float, read_at: dict[oracle.Place, float], *, is_false: bool) -> None:
    """A PATCH to zero is false where a record had been there, unread, for longer than a decision takes."""
    found = oracle.false_zeros("orders", [RECORD], read_at, [at])
    assert [violation.what for violation in found] == (["false-zero"] if is_false else [])


def test_unread_records() -> None:
    """A record is unread from its acknowledgement to its reading."""
    seen = [oracle.unread([RECORD], {(0, 4): 103.0}, at) for at in (99.0, 101.0, 104.0)]
    assert seen == [[], [RECORD], []]


def entry(event: Event, offset: int | None = None, pod: str = "a") -> Entry:
    """One line of a ledger."""
    return Entry(datetime(2026, 1, 1, tzinfo=UTC), event, pod, 0, offset)


def test_a_record_that_nobody_read() -> None:
    """It is told by its place."""
    found = oracle.reading_faults("orders", [entry("assigned"), entry("record", 0), entry("record", 2)], {0: 3})
    assert [(violation.what, violation.text) for violation in found] == [
        ("skipped", "1 never read, the first [(0, 1)] (ends {0: 3})")
    ]


def test_a_record_that_was_read_again() -> None:
    """After an end of its consumer that is as it should be; without any it is a violation."""
    ended = [entry("assigned"), entry("record", 0), entry("assigned", pod="b"), entry("record", 0, pod="b")]
    assert oracle.reading_faults("orders", ended, {0: 1}) == []
    committed = [*ended[:2], entry("committed", 1), *ended[2:]]
    [violation] = oracle.reading_faults("orders", committed, {0: 1})
    assert violation.what == "read-again"
    told = [part.partition(" ")[2] for part in violation.text.split(", ")]
    assert told[-4:] == ["a record 0", "a committed 1", "b assigned", "b record 0"]
