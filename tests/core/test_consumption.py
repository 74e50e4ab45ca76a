"""Which lag nobody of a group will ever work off, from one reading to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from activator.core.consumption import NotConsumed, describe, follow
from activator.core.model import Cluster, GroupState, Lag, Trigger, TriggerOffsets

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BEFORE = NOW - timedelta(minutes=3)
TRIGGER = Trigger(Cluster("kafka:9092"), "orders", "shop")
OTHERS = frozenset({"payments"})
LAG = Lag(known=5, complete=True, partitions=1)
READING = TriggerOffsets((), NOW, GroupState.STABLE, 2, consumed=OTHERS)
KNOWN = NotConsumed(BEFORE, OTHERS)

READINGS = [
    pytest.param(READING, LAG, NOW, BEFORE, id="members-elsewhere"),
    pytest.param(READING, replace(LAG, complete=False), NOW, BEFORE, id="known-in-part"),
    pytest.param(READING, replace(LAG, known=0, uncommitted=True), NOW, BEFORE, id="held-for-want-of-a-commit"),
    pytest.param(READING, replace(LAG, known=0), None, None, id="no-lag"),
    pytest.param(replace(READING, consumed=frozenset({"orders"})), LAG, None, None, id="consumed"),
    pytest.param(replace(READING, consumed=frozenset()), LAG, NOW, BEFORE, id="members-without-topics"),
    pytest.param(replace(READING, consumed=None), LAG, None, BEFORE, id="not-known"),
    pytest.param(replace(READING, group_state=GroupState.UNKNOWN), LAG, None, BEFORE, id="group-not-described"),
    pytest.param(replace(READING, group_state=GroupState.PREPARING_REBALANCE), LAG, None, BEFORE, id="rebalancing"),
    pytest.param(replace(READING, group_state=GroupState.EMPTY, consumed=None), LAG, None, None, id="no-members"),
]


@pytest.mark.parametrize(("reading", "lag", "first", "then"), READINGS)
def test_one_reading(reading: TriggerOffsets, lag: Lag, first: datetime | None, then: datetime | None) -> None:
    """Whether it begins, goes on since it began, or is over; what is not known leaves what was known."""
    began, went_on = follow(None, TRIGGER, reading, lag), follow(KNOWN, TRIGGER, reading, lag)
    assert (began and began.since, went_on and went_on.since) == (first, then)


def test_the_words_name_what_to_do() -> None:
    """Group, topic, some of what is consumed instead, and the command that deletes offsets."""
    text = describe(TRIGGER, NotConsumed(NOW, frozenset("abcde")))
    for part in ("group shop", "topic orders", "(they consume a, b, c and 2 more)"):
        assert part in text
    assert text.endswith("--bootstrap-server kafka:9092 --group shop --topic orders --delete-offsets")
