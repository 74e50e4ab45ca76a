"""A trigger over several topics: read topic by topic, counted as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from activator.core.decide import decide
from activator.core.joined import joined, sum_of, whole_triggers
from activator.core.model import GroupState, Lag, Memory, Observation, Scale, TargetRef, Trigger, WakeTo, Workload
from activator.core.naming import metric_name
from activator.core.steps.limiting import partition_cap
from activator.kubernetes.hpa_object import build
from activator.loop.target import Target
from tests.core.decisions import MAILS, NEVER_READ, NINE, ORDERS, at, lag, partial, policy

BOTH = ("orders", "refunds")
ONE, OTHER = (replace(ORDERS, topic=topic, topics=BOTH) for topic in BOTH)
WHOLE = replace(ORDERS, topic="orders,refunds", topics=BOTH)


def test_triggers_as_they_were_written() -> None:
    """Those of one topic are as they are; the parts of another are one."""
    assert whole_triggers((MAILS, ONE, OTHER)) == [MAILS, WHOLE]
    assert joined((MAILS, ONE, OTHER), (lag(1), lag(2), lag(3)))[0] == (MAILS, lag(1))
    assert joined((MAILS, ONE, OTHER), (lag(1), lag(2), lag(3)))[1][0] == WHOLE
    assert metric_name(WHOLE) == "s0-kafka-orders,refunds"
    with pytest.raises(ValueError, match="shorter"):
        joined((ONE, OTHER), (lag(1),))


SUMS: dict[str, tuple[tuple[Lag, ...], dict[str, Any]]] = {
    "one": ((lag(3),), {"known": 3, "complete": True, "partitions": 5}),
    "two": (
        (lag(3), lag(4, partitions=2, readable=2)),
        {"known": 7, "scalable": 7, "complete": True, "partitions": 7, "readable": 7, "partitions_with_lag": 7},
    ),
    "one was never read": (
        (lag(3), NEVER_READ), {"known": 3, "complete": False, "partitions": None, "read_at": None, "readable": 5},
    ),
    "part of one is not known": ((lag(3), partial(4)), {"known": 7, "complete": False}),
    "one is older": ((lag(0), lag(0, read_at=at(5))), {"read_at": NINE}),
    "one has no commit": ((lag(0), lag(0, uncommitted=True)), {"uncommitted": True}),
    "retention has passed the commit of one": ((lag(0), lag(0, passed=True)), {"passed": True}),
    "a rebalance was seen by one read alone": (
        (lag(0), lag(0, group_state=GroupState.PREPARING_REBALANCE)),
        {"group_state": GroupState.PREPARING_REBALANCE},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lags", "expected"), SUMS.values(), ids=SUMS)
def test_the_lag_of_several_topics(lags: tuple[Lag, ...], expected: dict[str, Any]) -> None:
    """A sum; what is not known of one topic is not known of the whole."""
    whole = sum_of(lags)
    assert {name: getattr(whole, name) for name in expected} == expected


def asked(*lags: Lag, **changes: Any) -> int:
    """The count that is decided on for a sleeper with both topics."""
    triggers = tuple(replace(trigger, **changes) for trigger in (ONE, OTHER))
    seen = Observation(replicas=0, ready_replicas=0, lags=lags)
    asleep = Memory(taken_over_at=NINE, last_active=NINE, readable_at=NINE)
    decision, _ = decide(policy(*triggers, wake_to=WakeTo.LAG), asleep, seen, at(600))
    return decision.replicas


def test_what_asks_for_replicas_is_the_sum() -> None:
    """45 and 35 records by ten a replica are eight replicas, not five; and either topic wakes."""
    assert asked(lag(45), lag(35)) == 8
    assert asked(lag(0), lag(1)) == 1
    assert asked(lag(0), lag(0)) == 0


def test_the_activation_threshold_is_the_sum_s() -> None:
    """Three and three are more than five."""
    assert asked(lag(3), lag(3), activation_lag_threshold=5) == 1
    assert asked(lag(3), lag(2), activation_lag_threshold=5) == 0


def test_the_partitions_of_both_can_be_consumed() -> None:
    """Five and three partitions feed eight consumers."""
    assert partition_cap(policy(ONE, OTHER), (lag(0), lag(0, partitions=3))) == 8
    assert partition_cap(policy(ONE, OTHER), (lag(0), NEVER_READ)) is None


def target(*lags: Lag) -> Target:
    """An awake target with both topics, read so."""
    ref = TargetRef("shop", "Deployment", "orders")
    made = Target(Workload(ref, Scale(2, "u", "1"), 2), policy(ONE, OTHER), {}, Memory(taken_over_at=NINE), 1)
    for trigger, each in zip((ONE, OTHER), lags, strict=True):
        made.tracker(trigger).lag = each
    return made


def test_the_hpa_is_given_one_metric() -> None:
    """Its name in the HPA is the one that is served, with the sum; with one topic unknown, what holds the count."""
    both = target(lag(45), lag(35))
    (metric,) = build(both.ref, "u", both.policy, 10)["spec"]["metrics"]
    (sample,) = both.samples(NINE)
    assert metric["external"]["metric"]["name"] == sample.name == "s0-kafka-orders,refunds"
    assert sample.value == 80
    (sample,) = target(lag(1), partial(0, read_at=NINE)).samples(NINE)
    assert sample.value == 20


def test_one_trigger_stays_as_it_is() -> None:
    """Most targets have no such trigger, and nothing is built anew for them."""
    triggers: tuple[Trigger, ...] = (ORDERS, MAILS)
    assert [trigger for trigger, _ in joined(triggers, (lag(1), lag(2)))] == [ORDERS, MAILS]
    assert whole_triggers(triggers)[0] is ORDERS
