"""The last check before a PATCH: each clause by a row, and that no decision of `core.decide` ever meets one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.decide import decide
from activator.core.invariants import LOOK_AFTER_A_REFUSAL, refused, violation
from activator.core.model import (
    Cluster,
    GroupState,
    Lag,
    Memory,
    Observation,
    Policy,
    Reason,
    SleepFrom,
    Trigger,
    WakeTo,
)

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ORDERS = Trigger(Cluster("kafka:9092"), "orders", "workers")
POLICY = Policy((ORDERS,), min_replicas=2, max_replicas=5, cooldown=timedelta(0), initial_cooldown=timedelta(0))
NO_LAG = Lag(known=0, complete=True, partitions=5, readable=5, read_at=NINE, group_state=GroupState.STABLE)
PLACE = "group workers on orders"


def seen(replicas: int, lag: Lag | None = NO_LAG, **changes: Any) -> Observation:
    """Build an observation."""
    return Observation(replicas, replicas, (lag,) if lag else (), **changes)


ROWS: dict[str, tuple[Policy, Observation, int, str]] = {
    "a wake that lowers": (replace(POLICY, idle_replicas=1), seen(1), 0, "a wake never lowers"),
    "a wake below min": (POLICY, seen(0), 1, "min-replica-count is 2"),
    "a wake above max": (POLICY, seen(0), 6, "max-replica-count is 5"),
    "a wake while paused": (replace(POLICY, paused=True), seen(0), 2, "it is paused"),
    "a wake in a dry run": (replace(POLICY, dry_run=True), seen(0), 2, "it is a dry run"),
    "a wake beside a rival": (
        POLICY,
        seen(0, rival="HorizontalPodAutoscaler b"),
        2,
        "HorizontalPodAutoscaler b drives",
    ),
    "a sleep with lag": (POLICY, seen(2, replace(NO_LAG, known=1)), 0, f"{PLACE} lags 1"),
    "a sleep on half a reading": (POLICY, seen(2, replace(NO_LAG, complete=False)), 0, f"the lag of {PLACE} is not"),
    "a sleep on no reading": (POLICY, seen(2, replace(NO_LAG, read_at=None)), 0, f"the lag of {PLACE} is not known"),
    "a sleep without readings": (POLICY, seen(2, None), 0, "there are 0 readings of 1 triggers"),
    "a sleep on an old reading": (
        POLICY,
        seen(2, replace(NO_LAG, read_at=NINE - timedelta(seconds=3))),
        0,
        f"the reading of {PLACE} is 3.0 s older than the scale",
    ),
    "a sleep with a commit that retention has passed": (
        POLICY,
        seen(2, replace(NO_LAG, passed=True)),
        0,
        f"{PLACE} has no offset",
    ),
    "a sleep without offsets": (POLICY, seen(2, replace(NO_LAG, uncommitted=True)), 0, f"{PLACE} has no offset"),
    "a sleep in a rebalance": (
        POLICY,
        seen(2, replace(NO_LAG, group_state=GroupState.PREPARING_REBALANCE)),
        0,
        f"{PLACE} is rebalancing",
    ),
    "a sleep after a record": (POLICY, seen(2, push_is_proof=True), 0, "a record has arrived"),
    "a sleep while kept awake": (replace(POLICY, keep_awake=True), seen(2), 0, "keep-awake is set"),
    "a sleep of what never sleeps": (replace(POLICY, idle_replicas=None), seen(2), 0, "idle-replica-count is none"),
    "a sleep below idle": (replace(POLICY, idle_replicas=1), seen(2), 0, "idle-replica-count is 1"),
    "a move beside the HPA": (POLICY, seen(2, handed_off=True), 3, "the HPA moves it"),
    "a move down without a reading": (POLICY, seen(4, replace(NO_LAG, complete=False)), 3, "not all of the lag"),
    "a move below min": (POLICY, seen(4), 1, "min-replica-count is 2"),
    "a move above max": (POLICY, seen(4), 6, "max-replica-count is 5"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_must_not_be_sent(row: tuple[Policy, Observation, int, str]) -> None:
    """It is named in one clause, with the change that would have been made."""
    policy, observed, replicas, text = row
    broken = violation(policy, observed, replicas, leads=True, since=NINE)
    assert broken is not None
    assert broken.startswith(f"would go from {observed.replicas} to {replicas}, but {text}")


@pytest.mark.parametrize("replicas", [0, 3])
def test_only_the_leader_puts_to_sleep_and_moves(replicas: int) -> None:
    """A wake is any replica's."""
    assert violation(POLICY, seen(2), replicas, leads=True, since=NINE) is None
    broken = violation(POLICY, seen(2), replicas, leads=False, since=NINE)
    assert broken is not None
    assert "does not hold the lease" in broken
    assert violation(POLICY, seen(0), 2, leads=False, since=NINE) is None


def test_what_is_refused_is_told_and_looked_at_again() -> None:
    """The count stays, the reason is a code of its own, and the steps before it are still told."""
    decision, _ = decide(POLICY, Memory(taken_over_at=NINE), seen(0, replace(NO_LAG, known=9)), NINE)
    left = refused(decision, seen(0), "would go from 0 to 9, but max-replica-count is 5", NINE)
    assert (left.replicas, left.reason, left.steps[:-1]) == (0, Reason.INVARIANT_VIOLATED, decision.steps)
    assert left.text == "would go from 0 to 9, but max-replica-count is 5: not sent; please report this"
    assert left.look_again_at == NINE + LOOK_AFTER_A_REFUSAL


lags = st.builds(
    Lag,
    known=st.integers(0, 300),
    complete=st.booleans(),
    partitions=st.sampled_from([1, 5]),
    readable=st.just(1),
    scalable=st.integers(0, 300),
    uncommitted=st.booleans(),
    passed=st.booleans(),
    read_at=st.sampled_from([None, NINE]),
    group_state=st.sampled_from(GroupState),
)
policies = st.builds(
    lambda least, more, **given: Policy((ORDERS,), min_replicas=least, max_replicas=least + more, **given),
    least=st.integers(1, 3),
    more=st.integers(0, 5),
    idle_replicas=st.sampled_from([0, None]),
    cooldown=st.just(timedelta(0)),
    initial_cooldown=st.just(timedelta(0)),
    sleep_from=st.sampled_from(SleepFrom),
    wake_to=st.sampled_from(WakeTo),
    paused=st.booleans(),
    keep_awake=st.booleans(),
    dry_run=st.booleans(),
)


@given(policies, lags, st.integers(0, 9), st.booleans(), st.none() | st.just("HorizontalPodAutoscaler theirs"))
def test_no_decision_meets_one(
    policy: Policy,
    lag: Lag,
    replicas: int,
    handed_off: bool,  # noqa: FBT001 - drawn
    rival: str | None,
) -> None:
    """The two ways of saying what must never happen agree: a leader that follows the steps is never refused."""
    if not lag.complete or lag.read_at is None:
        lag = replace(lag, complete=False)
    observed = Observation(replicas, replicas, (lag,), handed_off=handed_off, rival=rival)
    decision, _ = decide(policy, Memory(taken_over_at=NINE), observed, NINE)
    if decision.replicas != replicas:
        assert violation(policy, observed, decision.replicas, leads=True, since=NINE) is None
