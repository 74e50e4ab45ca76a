"""The decision where an HPA moves 1..N: every reason by a row, the rules of time as stories, and what always holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.decide import SOONEST, decide, phase_of, push_is_proof
from activator.core.model import (
    Cluster,
    Decision,
    Fallback,
    FallbackBehavior,
    GroupState,
    Lag,
    Memory,
    MetricType,
    Observation,
    OffsetReset,
    Phase,
    Policy,
    Push,
    PushSource,
    Reason,
    ResourceMetric,
    SleepFrom,
    Trigger,
    WakeTo,
)
from activator.core.schedule import CronExpression, Schedule
from activator.core.steps.limiting import partition_cap

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
KAFKA = Cluster("kafka:9092")
ORDERS = Trigger(KAFKA, "orders", "workers", offset_reset=OffsetReset.EARLIEST)
MAILS = Trigger(KAFKA, "mails", "workers", index=1, offset_reset=OffsetReset.EARLIEST)
IDLE_CONSUMERS = replace(ORDERS, allow_idle_consumers=True)
NEVER_READ = Lag(known=0, complete=False, partitions=None)


def at(seconds: float) -> datetime:
    """Name a moment by its distance from nine o'clock."""
    return NINE + timedelta(seconds=seconds)


def policy(*triggers: Trigger, **changes: Any) -> Policy:
    """Build a policy with a cooldown of one minute, and the defaults for what is not given."""
    given: dict[str, Any] = {
        "cooldown": timedelta(seconds=60),
        "initial_cooldown": timedelta(0),
        "max_replicas": 20,
    } | changes
    return Policy(**({"triggers": triggers or (ORDERS,)} | given))


def lag(known: int, **changes: Any) -> Lag:
    """Build a complete lag of five partitions."""
    given: dict[str, Any] = {
        "complete": True,
        "partitions": 5,
        "readable": 5,
        "partitions_with_lag": min(known, 5),
        "scalable": known,
        "read_at": NINE,
        "group_state": GroupState.STABLE,
    }
    return Lag(known=known, **(given | changes))


def partial(known: int, **changes: Any) -> Lag:
    """Build a lag of which one partition of five could not be read."""
    given: dict[str, Any] = {"complete": False, "readable": 4, "problems": ("orders-4: LEADER_NOT_AVAILABLE",)}
    return lag(known, **(given | changes))


OUTAGE = Lag(known=0, complete=False, partitions=5, problems=("Kafka kafka:9092: no answer",), read_at=at(-30))


def seen(replicas: int, *lags: Lag, **changes: Any) -> Observation:
    """Build an observation of a target whose replicas are ready, with an HPA on it."""
    given: dict[str, Any] = {"ready_replicas": replicas, "handed_off": True} | changes
    base: dict[str, Any] = {"replicas": replicas, "lags": lags or (lag(0),)}
    return Observation(**(base | given))


def remembered(**changes: Any) -> Memory:
    """Build the memory of a target that was taken over an hour ago and last active ten minutes ago."""
    return Memory(**({"taken_over_at": at(-3600), "last_active": at(-600)} | changes))


TAIL = Push("kafka:9092", "orders", PushSource.TAIL, NINE, 3, 17)
GATEWAY = Push("kafka:9092", "orders", PushSource.GATEWAY, NINE)


@dataclass(frozen=True)
class Row:
    """One look at nine o'clock and what comes of it."""

    policy: Policy
    seen: Observation
    replicas: int
    reason: Reason
    text: str | None
    """The sentence of the step that settled it; None: another room's words, tested there."""
    memory: Memory = field(default_factory=remembered)

    def look(self) -> Decision:
        """Decide."""
        return decide(self.policy, self.memory, self.seen, NINE)[0]


PLACE = "group workers on orders"
HPA_DOES = "wakes to min-replica-count 1, the HPA does the rest"
UNCOMMITTED = (
    f"{PLACE} has no committed offset to start from and offset-reset-policy is latest: a consumer that starts after a "
    "record skips it, so one is kept running until it has committed on every partition"
)

ASLEEP: dict[str, Row] = {
    "nothing to do": Row(policy(), seen(0), 0, Reason.NO_LAG, f"{PLACE} has no lag"),
    "one record": Row(policy(), seen(0, lag(1)), 1, Reason.LAG, f"{PLACE} lags 1, 10 a replica: asks for 1"),
    "one record, min 3": Row(
        policy(min_replicas=3),
        seen(0, lag(1)),
        3,
        Reason.LAG,
        f"{PLACE} lags 1, 10 a replica: asks for 1; min-replica-count is 3",
    ),
    "much lag": Row(
        policy(), seen(0, lag(41)), 1, Reason.LAG, f"{PLACE} lags 41, 10 a replica: asks for 5; {HPA_DOES}"
    ),
    "more lag than partitions can feed": Row(
        policy(), seen(0, lag(500)), 1, Reason.LAG, f"{PLACE} lags 500, 10 a replica: asks for 50; {HPA_DOES}"
    ),
    "wake-to lag": Row(
        policy(wake_to=WakeTo.LAG),
        seen(0, lag(31)),
        4,
        Reason.LAG,
        f"{PLACE} lags 31, 10 a replica: asks for 4",
    ),
    "wake-to lag, more than partitions": Row(
        policy(wake_to=WakeTo.LAG),
        seen(0, lag(500)),
        5,
        Reason.PARTITION_CAP,
        "50 are asked for, but 5 partitions feed no more than 5 consumers",
    ),
    "wake-to lag, more than partitions, one of them unreadable": Row(
        policy(wake_to=WakeTo.LAG),
        seen(0, partial(500)),
        5,
        Reason.PARTITION_CAP,
        "50 are asked for, but 5 partitions feed no more than 5 consumers",
    ),
    "wake-to lag, min above the partitions": Row(
        policy(wake_to=WakeTo.LAG, min_replicas=7),
        seen(0, lag(500)),
        7,
        Reason.PARTITION_CAP,
        "50 are asked for, but 5 partitions feed no more than 5 consumers",
    ),
    "wake-to lag, more than max": Row(
        policy(IDLE_CONSUMERS, wake_to=WakeTo.LAG),
        seen(0, lag(500)),
        20,
        Reason.MAX_REPLICAS,
        "50 are asked for, max-replica-count is 20",
    ),
    "wake-to lag, more than max, part of it unreadable": Row(
        policy(IDLE_CONSUMERS, wake_to=WakeTo.LAG),
        seen(0, partial(500)),
        20,
        Reason.MAX_REPLICAS,
        "50 are asked for, max-replica-count is 20",
    ),
    "wake-to lag, only partitions with lag count": Row(
        policy(replace(ORDERS, limit_to_partitions_with_lag=True), wake_to=WakeTo.LAG),
        seen(0, lag(500, partitions_with_lag=2)),
        2,
        Reason.LAG,
        f"{PLACE} lags 500, on 2 partitions, 10 a replica: asks for 2",
    ),
    "wake-to lag, part of it persistent": Row(
        policy(wake_to=WakeTo.LAG),
        seen(0, lag(500, scalable=15)),
        2,
        Reason.LAG,
        f"{PLACE} lags 500, 485 of it persistent and left out, 10 a replica: asks for 2",
    ),
    "all of it persistent still wakes": Row(
        policy(),
        seen(0, lag(5, scalable=0)),
        1,
        Reason.LAG,
        f"{PLACE} lags 5, 5 of it persistent and left out, 10 a replica: asks for 1",
    ),
    "as much as the activation threshold": Row(
        policy(replace(ORDERS, activation_lag_threshold=5)),
        seen(0, lag(5)),
        0,
        Reason.BELOW_ACTIVATION,
        f"{PLACE} lags 5, which is not above activation-lag-threshold 5",
    ),
    "one more than the activation threshold": Row(
        policy(replace(ORDERS, activation_lag_threshold=5)),
        seen(0, lag(6)),
        1,
        Reason.LAG,
        f"{PLACE} lags 6, 10 a replica: asks for 1",
    ),
    "a record seen by the tail": Row(
        policy(),
        seen(0, pushed=TAIL, push_is_proof=True),
        1,
        Reason.RECORD_ARRIVED,
        "the record at offset 17 of partition 3 arrived on orders (told by the tail)",
    ),
    "a record seen by the gateway, min 2": Row(
        policy(min_replicas=2),
        seen(0, pushed=GATEWAY, push_is_proof=True),
        2,
        Reason.RECORD_ARRIVED,
        "a record arrived on orders (told by the gateway)",
    ),
    "a record, while the lag cannot be read": Row(
        policy(),
        seen(0, OUTAGE, pushed=GATEWAY, push_is_proof=True),
        1,
        Reason.RECORD_ARRIVED,
        "a record arrived on orders (told by the gateway)",
    ),
    "a record that others have consumed": Row(policy(), seen(0, pushed=TAIL), 0, Reason.NO_LAG, f"{PLACE} has no lag"),
    "no commit, latest: woken, so that the next record is not skipped": Row(
        policy(), seen(0, lag(0, uncommitted=True)), 1, Reason.NO_COMMITTED_OFFSET, UNCOMMITTED
    ),
    "records that came and went are no reason to wake": Row(
        policy(),
        seen(0, lag(0, arrived=4)),
        0,
        Reason.NO_LAG,
        f"{PLACE} has no lag: 4 since the last look, all worked off",
    ),
    "an outage": Row(
        policy(),
        seen(0, OUTAGE),
        0,
        Reason.UNREADABLE,
        "holds 0, because the lag is not known: Kafka kafka:9092: no answer",
    ),
    "one partition unreadable, no lag in the others": Row(
        policy(),
        seen(0, partial(0)),
        0,
        Reason.UNREADABLE,
        "holds 0, because the lag is not known: orders-4: LEADER_NOT_AVAILABLE",
    ),
    "one partition unreadable, lag in the others": Row(
        policy(), seen(0, partial(4)), 1, Reason.LAG, f"{PLACE} lags at least 4, 10 a replica: asks for 1"
    ),
    "one of two topics unreadable, lag on the other": Row(
        policy(ORDERS, MAILS),
        seen(0, OUTAGE, lag(4)),
        1,
        Reason.LAG,
        "group workers on mails lags 4, 10 a replica: asks for 1",
    ),
    "not read yet": Row(
        policy(), seen(0, NEVER_READ), 0, Reason.NEVER_READ, "holds 0, because the lag is not known: no reading yet"
    ),
    "kept awake, found asleep": Row(
        policy(keep_awake=True, min_replicas=2),
        seen(0),
        2,
        Reason.KEEP_AWAKE,
        "keep-awake is set: never below 2",
    ),
    "never sleeps, found at zero": Row(
        policy(idle_replicas=None), seen(0), 1, Reason.MIN_REPLICAS, "min-replica-count is 1"
    ),
    "never sleeps, found at zero, unreadable": Row(
        policy(idle_replicas=None),
        seen(0, OUTAGE),
        0,
        Reason.UNREADABLE,
        "holds 0, because the lag is not known: Kafka kafka:9092: no answer",
    ),
    "paused, with lag": Row(policy(paused=True), seen(0, lag(9)), 0, Reason.PAUSED, "paused at 0"),
    "paused wins over keep-awake": Row(policy(paused=True, keep_awake=True), seen(0), 0, Reason.PAUSED, "paused at 0"),
    "dry run": Row(
        policy(dry_run=True, min_replicas=2), seen(0, lag(1)), 0, Reason.DRY_RUN, "dry run: would go from 0 to 2"
    ),
    "driven by another": Row(
        policy(),
        seen(0, lag(1), rival="HorizontalPodAutoscaler orders"),
        0,
        Reason.RIVAL,
        "HorizontalPodAutoscaler orders drives this target too: remove it, or our annotations",
    ),
    "two topics: the one with more lag says how far, the other is said before it": Row(
        policy(ORDERS, MAILS, wake_to=WakeTo.LAG),
        seen(0, lag(41), lag(11)),
        5,
        Reason.LAG,
        f"{PLACE} lags 41, 10 a replica: asks for 5",
    ),
    "two topics: the one with lag speaks last": Row(
        policy(ORDERS, MAILS), seen(0, lag(1), lag(0)), 1, Reason.LAG, f"{PLACE} lags 1, 10 a replica: asks for 1"
    ),
    "two topics: a little lag says more than none": Row(
        policy(replace(ORDERS, activation_lag_threshold=5), MAILS),
        seen(0, lag(2), lag(0)),
        0,
        Reason.BELOW_ACTIVATION,
        f"{PLACE} lags 2, which is not above activation-lag-threshold 5",
    ),
}

AWAKE: dict[str, Row] = {
    "lag that what is there can carry": Row(
        policy(), seen(3, lag(30)), 3, Reason.LAG, f"{PLACE} lags 30, 10 a replica: asks for 3"
    ),
    "lag for more": Row(
        policy(),
        seen(3, lag(50)),
        3,
        Reason.LAG,
        f"{PLACE} lags 50, 10 a replica: asks for 5; the HPA moves it within 1..5, it has 3",
    ),
    "lag for fewer": Row(
        policy(min_replicas=2),
        seen(4, lag(1)),
        4,
        Reason.LAG,
        f"{PLACE} lags 1, 10 a replica: asks for 1; min-replica-count is 2; the HPA moves it within 2..5, it has 4",
    ),
    "more than max by another hand": Row(
        policy(IDLE_CONSUMERS),
        seen(30, lag(900)),
        30,
        Reason.LAG,
        f"{PLACE} lags 900, 10 a replica: asks for 90; the HPA moves it within 1..20, it has 30",
    ),
    "no commit, latest: held": Row(
        policy(min_replicas=2),
        seen(2, lag(0, uncommitted=True)),
        2,
        Reason.NO_COMMITTED_OFFSET,
        f"{UNCOMMITTED}; min-replica-count is 2",
    ),
    "quiet for long": Row(
        policy(), seen(1), 0, Reason.QUIET, "no lag for 600.0 s, cooldown-period is 60 s: sleeps at 0"
    ),
    "quiet for long, from any count": Row(
        policy(), seen(5), 0, Reason.QUIET, "no lag for 600.0 s, cooldown-period is 60 s: sleeps at 0"
    ),
    "a little lag for long": Row(
        policy(replace(ORDERS, activation_lag_threshold=5)),
        seen(1, lag(5)),
        0,
        Reason.QUIET,
        "no lag above activation-lag-threshold for 600.0 s, cooldown-period is 60 s: sleeps at 0",
    ),
    "no cooldown at all": Row(
        policy(cooldown=timedelta(0)),
        seen(1),
        0,
        Reason.QUIET,
        "no lag for 600.0 s, cooldown-period is 0 s: sleeps at 0",
    ),
    "quiet for a moment": Row(
        policy(),
        seen(3),
        3,
        Reason.COOLING_DOWN,
        "cooldown-period of 60 s has 20.5 s left",
        remembered(last_active=at(-39.5)),
    ),
    "taken over a moment ago": Row(
        policy(initial_cooldown=timedelta(seconds=300)),
        seen(1),
        1,
        Reason.INITIAL_COOLDOWN,
        "initial-cooldown-period of 300 s has 200.0 s left",
        remembered(taken_over_at=at(-100), last_active=None),
    ),
    "taken over a moment ago, and the cooldown is longer": Row(
        policy(initial_cooldown=timedelta(seconds=300), cooldown=timedelta(seconds=600)),
        seen(1),
        1,
        Reason.COOLING_DOWN,
        "cooldown-period of 600 s has 500.0 s left",
        remembered(taken_over_at=at(-100), last_active=None),
    ),
    "a rebalance": Row(
        policy(),
        seen(2, lag(0, group_state=GroupState.PREPARING_REBALANCE)),
        2,
        Reason.REBALANCING,
        "group workers is rebalancing (PreparingRebalance): the quiet period begins when it is done",
    ),
    "waits for the floor": Row(
        policy(sleep_from=SleepFrom.FLOOR),
        seen(3),
        3,
        Reason.WAITING_FOR_FLOOR,
        "sleep-from floor: waits until it is at 1",
    ),
    "at the floor": Row(
        policy(sleep_from=SleepFrom.FLOOR),
        seen(1),
        0,
        Reason.QUIET,
        "no lag for 600.0 s, cooldown-period is 60 s: sleeps at 0",
    ),
    "kept awake": Row(
        policy(keep_awake=True, min_replicas=2),
        seen(3),
        3,
        Reason.KEEP_AWAKE,
        "keep-awake is set: never below 2",
    ),
    "never sleeps": Row(policy(idle_replicas=None), seen(1), 1, Reason.MIN_REPLICAS, "min-replica-count is 1"),
    "never sleeps, above min": Row(
        policy(idle_replicas=None), seen(3), 3, Reason.LEFT_TO_HPA, "the HPA moves it within 1..5, it has 3"
    ),
    "an outage": Row(
        policy(),
        seen(3, OUTAGE),
        3,
        Reason.UNREADABLE,
        "holds 3, because the lag is not known: Kafka kafka:9092: no answer",
    ),
    "an outage, no cooldown": Row(
        policy(cooldown=timedelta(0)),
        seen(3, OUTAGE),
        3,
        Reason.UNREADABLE,
        "holds 3, because the lag is not known: Kafka kafka:9092: no answer",
    ),
    "one partition unreadable, a little lag in the others": Row(
        policy(replace(ORDERS, activation_lag_threshold=5)),
        seen(3, partial(2)),
        3,
        Reason.UNREADABLE,
        "holds 3, because the lag is not known: orders-4: LEADER_NOT_AVAILABLE",
    ),
    "one of two topics unreadable, the other quiet": Row(
        policy(ORDERS, MAILS),
        seen(3, lag(0), OUTAGE),
        3,
        Reason.UNREADABLE,
        "holds 3, because the lag is not known: Kafka kafka:9092: no answer",
    ),
    "paused": Row(policy(paused=True), seen(3), 3, Reason.PAUSED, "paused at 3"),
    "dry run": Row(policy(dry_run=True), seen(3), 3, Reason.DRY_RUN, "dry run: would go from 3 to 0"),
    "dry run, nothing to do": Row(
        policy(dry_run=True), seen(1, lag(1)), 1, Reason.LAG, f"{PLACE} lags 1, 10 a replica: asks for 1"
    ),
    "driven by another": Row(
        policy(),
        seen(3, rival="HorizontalPodAutoscaler orders"),
        3,
        Reason.RIVAL,
        "HorizontalPodAutoscaler orders drives this target too: remove it, or our annotations",
    ),
    "no replica becomes ready": Row(
        policy(),
        seen(2, lag(11), ready_replicas=0),
        2,
        Reason.NO_REPLICA_READY,
        "no replica of 2 has been ready for 300 s",
        remembered(waking_since=at(-300)),
    ),
    "paused, and no replica is ready": Row(
        policy(paused=True),
        seen(2, ready_replicas=0),
        2,
        Reason.PAUSED,
        "paused at 2",
        remembered(waking_since=at(-300)),
    ),
}

WITHOUT_HPA: dict[str, Row] = {
    "within tolerance": Row(policy(), seen(3, lag(31), handed_off=False), 3, Reason.WITHIN_TOLERANCE, None),
    "stabilized": Row(policy(), seen(3, lag(1), handed_off=False), 3, Reason.STABILIZED, None),
    "rate limited": Row(policy(IDLE_CONSUMERS), seen(1, lag(900), handed_off=False), 5, Reason.RATE_LIMITED, None),
}
"""What `core.behavior` says is tested with it; here only that each of its reasons can be the last word."""

DAY = CronExpression("0 8 * * *", frozenset({0}), frozenset({8}), None, frozenset(range(1, 13)), None)
EVENING = replace(DAY, text="0 18 * * *", hours=frozenset({18}))
DAYTIME = Schedule(DAY, EVENING, "UTC", 4)
FALLBACK = Fallback(3, timedelta(seconds=90))
SILENT = remembered(readable_at=at(-90))

ASKED_FOR: dict[str, Row] = {
    "a window is open": Row(
        policy(schedules=(DAYTIME,)),
        seen(0),
        1,
        Reason.SCHEDULE,
        "the window 0 8 * * * to 0 18 * * * (UTC) is open until 2026-01-05 18:00 UTC: asks for 4; "
        "wakes to min-replica-count 1, the HPA does the rest",
    ),
    "a window is closed, and there is nothing else": Row(
        policy(schedules=(replace(DAYTIME, start=EVENING, end=DAY),), triggers=()),
        seen(0, lags=()),
        0,
        Reason.SCHEDULE,
        "the window 0 18 * * * to 0 8 * * * (UTC) is closed until 2026-01-05 18:00 UTC",
    ),
    "forced": Row(
        policy(force_active=True), seen(0), 1, Reason.FORCED, "force-activation is set; min-replica-count is 1"
    ),
    "only what the HPA follows": Row(
        policy(triggers=(), resources=(ResourceMetric("cpu", MetricType.UTILIZATION, "50"),), idle_replicas=None),
        seen(0, lags=()),
        1,
        Reason.LEFT_TO_HPA,
        "cpu is followed by the HPA alone",
    ),
    "asleep and silent for long": Row(
        policy(fallback=FALLBACK),
        seen(0, OUTAGE),
        3,
        Reason.FALLBACK,
        "not readable for 90 s: falls back to 3 (currentReplicasIfHigher 3)",
        SILENT,
    ),
    "silent, but not for long": Row(
        policy(fallback=FALLBACK), seen(0, OUTAGE), 0, Reason.UNREADABLE, None, remembered(readable_at=at(-89))
    ),
    "silent, and more than the fallback is known to be needed": Row(
        policy(fallback=FALLBACK), seen(0, partial(40)), 4, Reason.FALLBACK, None, SILENT
    ),
    "awake with an HPA: it is served the fallback": Row(
        policy(fallback=FALLBACK),
        seen(1, OUTAGE),
        1,
        Reason.FALLBACK,
        "not readable for 90 s: falls back to 3 (currentReplicasIfHigher 3); the HPA moves it within 1..5, it has 1",
        SILENT,
    ),
    "awake without an HPA, static": Row(
        policy(fallback=replace(FALLBACK, behavior=FallbackBehavior.STATIC)),
        seen(5, OUTAGE, handed_off=False),
        3,
        Reason.FALLBACK,
        None,
        SILENT,
    ),
    "as many as there are": Row(
        policy(fallback=replace(FALLBACK, behavior=FallbackBehavior.CURRENT)),
        seen(5, OUTAGE, handed_off=False),
        5,
        Reason.FALLBACK,
        None,
        SILENT,
    ),
    "no more than the fallback": Row(
        policy(fallback=replace(FALLBACK, behavior=FallbackBehavior.CURRENT_IF_LOWER)),
        seen(5, OUTAGE, handed_off=False),
        3,
        Reason.FALLBACK,
        None,
        SILENT,
    ),
    "nothing may raise it": Row(
        policy(pause_scale_out=True), seen(0, lag(9)), 0, Reason.SCALE_OUT_PAUSED, "paused-scale-out is set: stays at 0"
    ),
    "nothing may lower it": Row(
        policy(pause_scale_in=True), seen(4), 4, Reason.SCALE_IN_PAUSED, "paused-scale-in is set: stays at 4"
    ),
    "paused at a count": Row(policy(paused=True, paused_replicas=7), seen(2), 7, Reason.PAUSED, "paused at 7"),
    "paused at a count, and not alone": Row(
        policy(paused=True, paused_replicas=7), seen(2, rival="HorizontalPodAutoscaler web"), 2, Reason.PAUSED, None
    ),
    "metric type Value": Row(
        policy(replace(ORDERS, metric_type=MetricType.VALUE)),
        seen(0, lag(20)),
        1,
        Reason.LAG,
        f"{PLACE} lags 20, 10 in all: asks for 2; wakes to min-replica-count 1, the HPA does the rest",
    ),
    "shared evenly": Row(
        policy(replace(ORDERS, ensure_even_distribution=True), wake_to=WakeTo.LAG),
        seen(0, lag(21)),
        5,
        Reason.LAG,
        f"{PLACE} lags 21, shared evenly by 5 partitions, 10 a replica: asks for 5",
    ),
}
"""What a user asks for besides the lag of a topic."""

ROWS = (
    {f"asleep: {name}": row for name, row in ASLEEP.items()}
    | {f"awake: {name}": row for name, row in AWAKE.items()}
    | {f"asked for: {name}": row for name, row in ASKED_FOR.items()}
    | {f"without an HPA: {name}": row for name, row in WITHOUT_HPA.items()}
)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_one_look(row: Row) -> None:
    """One look at nine o'clock: the count, the reason, and the sentence that a tired engineer reads."""
    decision = row.look()
    assert (decision.replicas, decision.reason) == (row.replicas, row.reason)
    if row.text is not None:
        assert decision.text == row.text


def test_every_reason_is_reachable() -> None:
    """A reason that no look gives is one that nobody will ever be told, or that nobody has tried."""
    told_elsewhere = {
        Reason.UNMANAGED,  # by loop/releasing.py, where there is nothing left to decide
        Reason.INVARIANT_VIOLATED,  # by core/invariants.py, of decisions that this room never makes
    }
    assert {row.reason for row in ROWS.values()} == set(Reason) - told_elsewhere


def test_the_steps_tell_the_whole_story() -> None:
    """Every step that had a say is kept with the count after it, in the order of the rules."""
    row = Row(
        policy(ORDERS, MAILS, dry_run=True, keep_awake=True, min_replicas=2),
        seen(4, lag(0), lag(0)),
        4,
        Reason.KEEP_AWAKE,
        None,
    )
    assert [(step.name, step.replicas, step.reason) for step in row.look().steps] == [
        ("follow triggers", 0, Reason.NO_LAG),
        ("follow triggers", 0, Reason.NO_LAG),
        ("cooldown", 0, Reason.QUIET),
        ("keep awake", 4, Reason.KEEP_AWAKE),
    ]


# ------------------------------------------------------------------------------------------------------------ stories


@dataclass
class Story:
    """A target that is looked at again and again, and set to what is decided unless somebody else sets it."""

    policy: Policy = field(default_factory=policy)
    replicas: int = 1
    memory: Memory = field(default_factory=lambda: Memory(taken_over_at=at(-3600)))
    looks_next: datetime = NINE
    text: str = ""

    def look(self, seconds: float, *lags: Lag, by: int | None = None, ready: int | None = None) -> tuple[int, Reason]:
        """Look once, after another hand has set the count to `by`; return the count afterwards, and why."""
        self.replicas = self.replicas if by is None else by
        observation = seen(
            self.replicas,
            *lags,
            ready_replicas=self.replicas if ready is None else ready,
            by_us=by is None,
        )
        decision, self.memory = decide(self.policy, self.memory, observation, at(seconds))
        self.replicas, self.looks_next, self.text = decision.replicas, decision.look_again_at, decision.text
        return decision.replicas, decision.reason

    def next_look(self, after: float) -> float:
        """Return the seconds from a look to the next one that was asked for."""
        return (self.looks_next - at(after)).total_seconds()


def test_it_sleeps_when_the_cooldown_is_over_and_not_sooner() -> None:
    """Lag until 0 s, a cooldown of 60 s: the look at its very end is asked for, and puts it to sleep."""
    story = Story()
    assert story.look(0, lag(4)) == (1, Reason.LAG)
    assert story.look(15) == (1, Reason.COOLING_DOWN)
    assert story.next_look(15) == 15
    assert story.look(50) == (1, Reason.COOLING_DOWN)
    assert story.next_look(50) == 10
    assert story.look(59.999) == (1, Reason.COOLING_DOWN)
    assert story.next_look(59.999) == 0.1
    assert story.look(60) == (0, Reason.QUIET)
    assert story.next_look(60) == 1


def test_one_record_in_the_cooldown_begins_it_again() -> None:
    """The quiet period is one without a break."""
    story = Story()
    assert story.look(0, lag(4)) == (1, Reason.LAG)
    assert story.look(59, lag(1)) == (1, Reason.LAG)
    assert story.look(61) == (1, Reason.COOLING_DOWN)
    assert story.look(118.9) == (1, Reason.COOLING_DOWN)
    assert story.look(119) == (0, Reason.QUIET)


def test_records_that_come_and_go_between_looks_keep_it_awake() -> None:
    """A consumer that keeps up shows no lag at any look, and must not be put to sleep and woken every minute."""
    story = Story()
    for seconds in range(0, 300, 15):
        assert story.look(seconds, lag(0, arrived=7)) == (1, Reason.COOLING_DOWN)
    assert story.look(344) == (1, Reason.COOLING_DOWN)
    assert story.look(345) == (0, Reason.QUIET)


def test_no_target_sleeps_before_its_initial_cooldown() -> None:
    """It was taken over at 0 s without any lag: both periods are waited for, the later one is told."""
    story = Story(
        policy(cooldown=timedelta(seconds=30), initial_cooldown=timedelta(seconds=90)),
        memory=Memory(taken_over_at=NINE),
    )
    assert story.look(0) == (1, Reason.INITIAL_COOLDOWN)
    assert story.look(31) == (1, Reason.INITIAL_COOLDOWN)
    assert story.look(70, lag(1)) == (1, Reason.LAG)
    assert story.look(90) == (1, Reason.COOLING_DOWN)
    assert story.look(100) == (0, Reason.QUIET)


def test_after_a_takeover_the_cooldown_counts_from_it() -> None:
    """A target that has never been active does not sleep at the first look, even without an initial cooldown."""
    story = Story(memory=Memory(taken_over_at=NINE))
    assert story.look(0) == (1, Reason.COOLING_DOWN)
    assert story.look(60) == (0, Reason.QUIET)


def test_sleep_from_floor_waits_for_the_hpa() -> None:
    """The HPA comes down from five to its minimum; only then does it sleep."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR, min_replicas=2), replicas=5)
    assert story.look(0, lag(50)) == (5, Reason.LAG)
    assert story.look(60) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(200, by=3) == (3, Reason.WAITING_FOR_FLOOR)
    assert story.look(201, by=2) == (0, Reason.QUIET)


def test_sleep_from_floor_waits_no_longer_than_the_window_and_half_a_minute() -> None:
    """An HPA that is stuck keeps nothing awake for ever: 300 s of scale-down window and 30 s more."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR), replicas=5)
    assert story.look(0, lag(50)) == (5, Reason.LAG)
    assert story.look(60) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(389) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.next_look(389) == 1
    assert story.look(390) == (0, Reason.QUIET)


@pytest.mark.parametrize(
    "between",
    [lag(1), OUTAGE, lag(0, group_state=GroupState.RECONCILING), lag(0, arrived=1)],
    ids=["lag", "an outage", "a rebalance", "records that came and went"],
)
def test_what_ends_the_quiet_ends_the_wait_for_the_floor(between: Lag) -> None:
    """After the next cooldown the HPA gets the whole window again, not what was left of the one before."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR), replicas=5)
    story.look(0, lag(50))
    assert story.look(60) == (5, Reason.WAITING_FOR_FLOOR)
    story.look(380, between)
    assert story.look(390)[1] is Reason.COOLING_DOWN
    assert story.look(440) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(769) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(770) == (0, Reason.QUIET)


def test_without_a_cooldown_a_rebalance_ends_the_wait_for_the_floor_too() -> None:
    """A group that rebalances is not quiet, however short the quiet has to be."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR, cooldown=timedelta(0)), replicas=5)
    assert story.look(0) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(320, lag(0, group_state=GroupState.ASSIGNING)) == (5, Reason.REBALANCING)
    assert story.look(340) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(669) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(670) == (0, Reason.QUIET)


def test_keep_awake_holds_and_lets_go() -> None:
    """While it is set it does not sleep; when it is taken away it sleeps at the next look, having been quiet long."""
    story = Story(policy(keep_awake=True))
    assert story.look(0, lag(1)) == (1, Reason.LAG)
    assert story.look(600) == (1, Reason.KEEP_AWAKE)
    assert story.look(660, by=0) == (1, Reason.KEEP_AWAKE)
    story.policy = policy()
    assert story.look(661) == (0, Reason.QUIET)


def test_paused_freezes_whatever_happens() -> None:
    """Lag does not wake it, quiet does not put it to sleep, and afterwards it goes on as if it had been watched."""
    story = Story(policy(paused=True))
    assert story.look(0, lag(900)) == (1, Reason.PAUSED)
    assert story.look(600) == (1, Reason.PAUSED)
    assert story.look(601, lag(1), by=0) == (0, Reason.PAUSED)
    story.policy = policy()
    assert story.look(602, lag(1)) == (1, Reason.LAG)


def test_dry_run_decides_the_same_at_every_look_and_changes_nothing() -> None:
    """It says what it would do, for as long as it would do it."""
    story = Story(policy(dry_run=True), replicas=4)
    assert story.look(0, lag(40)) == (4, Reason.LAG)
    assert story.look(30) == (4, Reason.COOLING_DOWN)
    for seconds in (60, 75, 90):
        assert story.look(seconds) == (4, Reason.DRY_RUN)
        assert story.text == "dry run: would go from 4 to 0"
        assert story.next_look(seconds) == 15


def test_a_foreign_hand_that_wakes_it_gets_one_cooldown() -> None:
    """Somebody scales a sleeper to 3: going back at once would be a fight, so one cooldown passes."""
    story = Story(replicas=0)
    assert story.look(0) == (0, Reason.NO_LAG)
    assert story.look(100, by=3) == (3, Reason.COOLING_DOWN)
    assert story.text == "cooldown-period of 60 s has 60.0 s left"
    assert story.look(130, by=3) == (3, Reason.COOLING_DOWN)
    assert story.look(160, by=3) == (0, Reason.QUIET)


def test_a_foreign_hand_that_lowers_it_begins_nothing() -> None:
    """The HPA coming down step by step must not put the sleep off with every step."""
    story = Story(replicas=5)
    story.look(0, lag(50))
    assert story.look(20, by=4) == (4, Reason.COOLING_DOWN)
    assert story.look(40, by=2) == (2, Reason.COOLING_DOWN)
    assert story.look(60, by=1) == (0, Reason.QUIET)


def test_a_foreign_hand_that_puts_it_to_sleep_is_overruled_by_lag() -> None:
    """Work that waits is worked off, whoever set it to zero."""
    story = Story()
    story.look(0, lag(5))
    assert story.look(10, lag(5), by=0) == (1, Reason.LAG)


def test_our_own_wake_is_no_foreign_hand() -> None:
    """A wake that turned out to be for nothing costs one cooldown, counted from what woke it."""
    story = Story(replicas=0)
    assert story.look(0, lag(1)) == (1, Reason.LAG)
    assert story.look(10) == (1, Reason.COOLING_DOWN)
    assert story.look(60) == (0, Reason.QUIET)


def test_an_outage_puts_nothing_to_sleep_and_begins_the_quiet_again() -> None:
    """Kafka is away from 30 s to 90 s: nothing moves, and the cooldown counts from the last look without an answer."""
    story = Story(replicas=2)
    story.look(0, lag(20))
    for seconds in (30, 45, 60, 75, 90):
        assert story.look(seconds, OUTAGE) == (2, Reason.UNREADABLE)
    assert story.look(105) == (2, Reason.COOLING_DOWN)
    assert story.look(149) == (2, Reason.COOLING_DOWN)
    assert story.look(150) == (0, Reason.QUIET)


def test_an_outage_wakes_nothing_and_is_not_activity_of_a_sleeper() -> None:
    """Asleep it stays asleep; a record that is there afterwards wakes it."""
    story = Story(replicas=0)
    for seconds in (0, 60):
        assert story.look(seconds, OUTAGE) == (0, Reason.UNREADABLE)
    assert story.memory.last_active is None
    assert story.look(75) == (0, Reason.NO_LAG)
    assert story.look(90, lag(1)) == (1, Reason.LAG)


def test_what_was_never_read_is_held_from_the_first_look() -> None:
    """Kafka is away when it is taken over: it stays as it was found, for as long as that takes."""
    story = Story(policy(cooldown=timedelta(0)), replicas=3, memory=Memory(taken_over_at=NINE))
    assert story.look(0, NEVER_READ) == (3, Reason.NEVER_READ)
    never = Lag(known=0, complete=False, partitions=None, problems=("Kafka kafka:9092: no answer",))
    assert story.look(3600, never) == (3, Reason.UNREADABLE)
    assert story.look(3615) == (0, Reason.QUIET)


def test_a_group_without_a_commit_is_kept_running_until_it_has_one() -> None:
    """With latest, the record that wakes such a consumer is the one that it skips."""
    story = Story(policy(replace(ORDERS, offset_reset=OffsetReset.LATEST)))
    for seconds in (0, 600, 1200):
        assert story.look(seconds, lag(0, uncommitted=True)) == (1, Reason.NO_COMMITTED_OFFSET)
    assert story.look(1230) == (1, Reason.COOLING_DOWN)
    assert story.look(1260) == (0, Reason.QUIET)
    assert story.look(1300, lag(0, uncommitted=True)) == (1, Reason.NO_COMMITTED_OFFSET)


def test_a_woken_target_without_a_ready_replica_says_so_after_five_minutes() -> None:
    """An image that cannot be pulled: the count stays, the reason tells, and it ends with the first ready replica."""
    story = Story(replicas=0)
    assert story.look(0, lag(5)) == (1, Reason.LAG)
    assert story.look(1, lag(5), ready=0) == (1, Reason.LAG)
    assert story.next_look(1) == 5
    assert story.look(300, lag(5), ready=0) == (1, Reason.LAG)
    assert story.look(301, lag(5), ready=0) == (1, Reason.NO_REPLICA_READY)
    assert story.text == "no replica of 1 has been ready for 300 s"
    assert story.look(400, lag(5), ready=1) == (1, Reason.LAG)
    assert story.look(800, lag(5), ready=0) == (1, Reason.LAG)


def test_a_target_that_nobody_can_start_still_goes_to_sleep() -> None:
    """Without lag there is nothing to wait for, ready or not."""
    story = Story(replicas=0)
    story.look(0, lag(5))
    for seconds in (1, 301):
        story.look(seconds, lag(5), ready=0)
    assert story.look(362, ready=0) == (0, Reason.QUIET)


def test_wake_to_lag_wakes_to_what_is_asked_for_and_leaves_the_rest_to_the_hpa() -> None:
    """41 records wake it to five at once; from there every move is the HPA's."""
    story = Story(policy(wake_to=WakeTo.LAG), replicas=0)
    assert story.look(0, lag(41)) == (5, Reason.LAG)
    assert story.look(15, lag(11)) == (5, Reason.LAG)
    assert story.look(30, by=2) == (2, Reason.COOLING_DOWN)


def test_wake_to_lag_wakes_to_min_where_the_lag_is_not_known_yet() -> None:
    """The tail proves one record, not how many."""
    target = policy(wake_to=WakeTo.LAG, min_replicas=2)
    observation = seen(0, pushed=TAIL, push_is_proof=True)
    decision, _ = decide(target, remembered(), observation, NINE)
    assert (decision.replicas, decision.reason) == (2, Reason.RECORD_ARRIVED)


def test_two_topics_are_quiet_together_or_not_at_all() -> None:
    """The cooldown begins when the last of them has gone quiet."""
    story = Story(policy(ORDERS, MAILS))
    story.look(0, lag(1), lag(1))
    assert story.look(45, lag(0), lag(1)) == (1, Reason.LAG)
    assert story.look(61, lag(0), lag(0)) == (1, Reason.COOLING_DOWN)
    assert story.look(105, lag(0), lag(0)) == (0, Reason.QUIET)


def test_a_topic_that_grows_lifts_the_cap() -> None:
    """Eight partitions feed eight consumers, from the look that sees them on."""
    story = Story(policy(wake_to=WakeTo.LAG), replicas=0)
    assert story.look(0, lag(500, partitions=5)) == (5, Reason.PARTITION_CAP)
    story.replicas = 0
    assert story.look(15, lag(500, partitions=8)) == (8, Reason.PARTITION_CAP)


def test_a_sleeper_is_looked_at_less_and_less_often() -> None:
    """Its group is Empty only once its consumers have left: soon at first, then by the polling interval."""
    story = Story(policy(polling_interval=timedelta(seconds=30)), replicas=0)
    now, distances = 0.0, []
    for _ in range(9):
        story.look(now)
        distances.append(story.next_look(now))
        now += distances[-1]
    assert distances == [1, 1, 2, 4, 8, 16, 30, 30, 30]


POLLS: dict[str, tuple[float, Observation, float]] = {
    "awake with an HPA, long interval: as often as it looks": (300, seen(2, lag(20)), 15),
    "awake, short interval": (5, seen(2, lag(20)), 5),
    "waking": (300, seen(2, lag(20), ready_replicas=0), 5),
    "waking, short interval": (2, seen(2, lag(20), ready_replicas=0), 2),
    "woken just now": (300, seen(0, lag(20)), 1),
    "an outage, long interval: its end is noticed soon": (300, seen(2, OUTAGE), 5),
    "an outage, short interval": (2, seen(2, OUTAGE), 2),
}


@pytest.mark.parametrize(("interval", "observation", "distance"), POLLS.values(), ids=POLLS)
def test_when_it_looks_again(interval: float, observation: Observation, distance: float) -> None:
    """By the polling interval, and sooner where somebody waits for the answer."""
    decision, _ = decide(policy(polling_interval=timedelta(seconds=interval)), remembered(), observation, NINE)
    assert (decision.look_again_at - NINE).total_seconds() == distance


# --------------------------------------------------------------------------------------------- what else decide tells

PHASES: dict[str, tuple[Policy | None, int, int, Phase]] = {
    "no valid configuration": (None, 1, 1, Phase.INVALID),
    "paused, whatever it has": (policy(paused=True), 0, 0, Phase.PAUSED),
    "at idle": (policy(), 0, 0, Phase.ASLEEP),
    "at idle, its last replica still going": (policy(), 0, 1, Phase.ASLEEP),
    "woken": (policy(), 1, 0, Phase.WAKING),
    "one of many is ready": (policy(), 5, 1, Phase.AWAKE),
    "never sleeps, put to zero by somebody": (policy(idle_replicas=None), 0, 0, Phase.ASLEEP),
}


@pytest.mark.parametrize(("configured", "replicas", "ready", "phase"), PHASES.values(), ids=PHASES)
def test_phase(configured: Policy | None, replicas: int, ready: int, phase: Phase) -> None:
    """The phase is what can be seen, never what was remembered."""
    assert phase_of(configured, replicas, ready) is phase


PROOFS: dict[str, tuple[Trigger, Lag | None, bool]] = {
    "nobody else can have consumed it": (ORDERS, lag(0, group_state=GroupState.EMPTY), True),
    "a group that does not exist": (ORDERS, lag(0, group_state=GroupState.DEAD), True),
    "somebody shares the group": (ORDERS, lag(0, group_state=GroupState.STABLE), False),
    "nobody knows": (ORDERS, lag(0, group_state=GroupState.UNKNOWN), False),
    "never looked": (ORDERS, None, False),
    "more than one record is needed": (
        replace(ORDERS, activation_lag_threshold=1),
        lag(0, group_state=GroupState.EMPTY),
        False,
    ),
}


@pytest.mark.parametrize(("trigger", "last", "proves"), PROOFS.values(), ids=PROOFS)
def test_when_a_record_proves_work(trigger: Trigger, last: Lag | None, *, proves: bool) -> None:
    """A record is lag for this group where the group was Empty; everywhere else a read decides."""
    assert push_is_proof(trigger, last) is proves


CAPS: dict[str, tuple[tuple[Trigger, ...], tuple[Lag, ...], int | None]] = {
    "one topic": ((ORDERS,), (lag(0),), 5),
    "the largest of two": ((ORDERS, MAILS), (lag(0, partitions=3), lag(0, partitions=8)), 8),
    "one of two is not known": ((ORDERS, MAILS), (lag(0), NEVER_READ), None),
    "lifted by the user": ((IDLE_CONSUMERS,), (lag(0),), None),
    "lifted for one of two": ((ORDERS, replace(MAILS, allow_idle_consumers=True)), (lag(0), lag(0)), None),
}


@pytest.mark.parametrize(("triggers", "lags", "cap"), CAPS.values(), ids=CAPS)
def test_partition_cap(triggers: tuple[Trigger, ...], lags: tuple[Lag, ...], cap: int | None) -> None:
    """As many consumers as the largest topic has partitions, where that is known and wanted."""
    assert partition_cap(policy(*triggers), lags) == cap


# --------------------------------------------------------------------------------------------------------- invariants

DURATIONS = st.integers(0, 900).map(lambda seconds: timedelta(seconds=seconds))
MOMENTS = st.integers(-1800, 0).map(at)
TRIGGERS = st.builds(
    Trigger,
    cluster=st.just(KAFKA),
    topic=st.just("orders"),
    group=st.just("workers"),
    lag_threshold=st.integers(1, 20),
    activation_lag_threshold=st.sampled_from([0, 0, 7]),
    allow_idle_consumers=st.booleans(),
    limit_to_partitions_with_lag=st.booleans(),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy within bounds, with one trigger or two."""
    least = draw(st.integers(1, 6))
    return draw(
        st.builds(
            Policy,
            triggers=st.lists(TRIGGERS, min_size=1, max_size=2).map(tuple),
            min_replicas=st.just(least),
            max_replicas=st.integers(least, 12),
            idle_replicas=st.sampled_from([0, 0, None]),
            polling_interval=st.integers(1, 600).map(lambda seconds: timedelta(seconds=seconds)),
            cooldown=DURATIONS,
            initial_cooldown=DURATIONS,
            sleep_from=st.sampled_from(SleepFrom),
            wake_to=st.sampled_from(WakeTo),
            paused=st.sampled_from([False, False, True]),
            keep_awake=st.booleans(),
            dry_run=st.sampled_from([False, False, True]),
        )
    )


@st.composite
def lags(draw: st.DrawFn, *, complete: bool | None = None) -> Lag:
    """Draw a lag as `core.lag` may measure one."""
    whole = draw(st.booleans()) if complete is None else complete
    partitions = draw(st.integers(1, 15))
    readable = partitions if whole else draw(st.integers(0, partitions - 1))
    with_lag = draw(st.integers(0, readable))
    known = draw(st.integers(with_lag, 300)) if with_lag else 0
    return Lag(
        known=known,
        complete=whole,
        partitions=draw(st.sampled_from([partitions, None])) if readable == 0 else partitions,
        readable=readable,
        partitions_with_lag=with_lag,
        scalable=draw(st.integers(0, known)),
        arrived=draw(st.sampled_from([0, 0, 9])),
        uncommitted=draw(st.sampled_from([False, False, readable > 0])),
        problems=() if whole else draw(st.sampled_from([(), ("no answer",)])),
        read_at=draw(st.sampled_from([NINE, None])) if readable == 0 else NINE,
        group_state=draw(st.sampled_from(GroupState)),
    )


MEMORIES = st.builds(
    Memory,
    taken_over_at=MOMENTS,
    last_active=st.none() | MOMENTS,
    replicas=st.none() | st.integers(0, 15),
    quiet_since=st.none() | MOMENTS,
    asleep_since=st.none() | MOMENTS,
    waking_since=st.none() | MOMENTS,
)


@st.composite
def looks(draw: st.DrawFn, *, complete: bool | None = None) -> tuple[Policy, Memory, Observation]:
    """Draw all that a decision is made of."""
    configured = draw(policies())
    replicas = draw(st.integers(0, 15))
    pushed = draw(st.sampled_from([None, None, TAIL, GATEWAY]))
    observation = Observation(
        replicas=replicas,
        ready_replicas=draw(st.integers(0, replicas)),
        lags=tuple(draw(lags(complete=complete)) for _ in configured.triggers),
        pushed=pushed,
        push_is_proof=pushed is not None and draw(st.booleans()),
        by_us=draw(st.booleans()),
        rival=draw(st.sampled_from([None, None, None, "HorizontalPodAutoscaler other"])),
        handed_off=draw(st.booleans()),
    )
    return configured, draw(MEMORIES), observation


@given(looks())
def test_always_within_bounds_with_a_reason_and_a_next_look(drawn: tuple[Policy, Memory, Observation]) -> None:
    """What is there, idle, or min..max; at least one step, whose last count is the answer; a look that lies ahead."""
    configured, memory, observation = drawn
    decision, kept = decide(configured, memory, observation, NINE)
    idle = 0 if configured.idle_replicas is None else configured.idle_replicas
    within = range(configured.min_replicas, configured.max_replicas + 1)
    assert decision.replicas in {observation.replicas, idle, *within}
    assert decision.steps
    assert decision.steps[-1].replicas == decision.replicas
    assert all(step.text and step.text[-1] not in ".;, " for step in decision.steps)
    assert decision.look_again_at >= NINE + SOONEST
    assert decision.look_again_at <= NINE + max(configured.polling_interval, timedelta(seconds=1))
    assert kept.replicas == observation.replicas


@given(looks())
def test_equal_looks_have_equal_answers(drawn: tuple[Policy, Memory, Observation]) -> None:
    """Nothing but the arguments has a say: replaying a look explains it."""
    assert decide(*drawn, NINE) == decide(*drawn, NINE)


@given(looks(complete=False))
def test_what_is_not_known_lowers_nothing(drawn: tuple[Policy, Memory, Observation]) -> None:
    """Whatever else is known, remembered or configured, and however short the cooldown is."""
    configured, memory, observation = drawn
    for cooldown in (configured.cooldown, timedelta(0)):
        short = replace(configured, cooldown=cooldown, initial_cooldown=cooldown)
        decision, _ = decide(short, memory, observation, NINE)
        assert decision.replicas >= observation.replicas


@given(looks(), lags(complete=False))
def test_one_unreadable_topic_is_enough_to_lower_nothing(drawn: tuple[Policy, Memory, Observation], bad: Lag) -> None:
    """With one of two triggers unreadable the other one may raise the count only."""
    configured, memory, observation = drawn
    configured = replace(configured, triggers=(*configured.triggers, MAILS))
    observation = replace(observation, lags=(*observation.lags, bad))
    decision, _ = decide(configured, memory, observation, NINE)
    assert decision.replicas >= observation.replicas


@given(looks())
def test_with_an_hpa_only_the_ways_into_and_out_of_idle_are_ours(drawn: tuple[Policy, Memory, Observation]) -> None:
    """From idle to min, or to what the lag asks for with wake-to lag; from any count to idle; nothing else."""
    configured, memory, observation = drawn
    decision, _ = decide(configured, memory, replace(observation, handed_off=True), NINE)
    if observation.replicas > 0:
        assert decision.replicas in {observation.replicas, configured.idle_replicas}
        return
    assert decision.replicas in {0, configured.min_replicas} or configured.wake_to is WakeTo.LAG
    if decision.replicas > configured.min_replicas:
        asked = [
            -(-lag.known // trigger.lag_threshold)
            for trigger, lag in zip(configured.triggers, observation.lags, strict=True)
        ]
        assert decision.replicas <= max(asked)


@given(looks(complete=True), st.integers(0, 1), st.integers(1, 500))
def test_more_lag_never_means_fewer_replicas(drawn: tuple[Policy, Memory, Observation], which: int, more: int) -> None:
    """All else and the memory being equal."""
    configured, memory, observation = drawn
    observation = replace(observation, handed_off=True)
    index = which % len(configured.triggers)
    little = observation.lags[index]
    much = replace(
        little,
        known=little.known + more,
        scalable=little.scalable + more,
        partitions_with_lag=max(little.partitions_with_lag, 1),
    )
    larger = replace(
        observation, lags=tuple(much if number == index else lag for number, lag in enumerate(observation.lags))
    )
    assert (
        decide(configured, memory, larger, NINE)[0].replicas
        >= decide(configured, memory, observation, NINE)[0].replicas
    )


@given(looks())
def test_paused_dry_run_and_a_rival_change_nothing(drawn: tuple[Policy, Memory, Observation]) -> None:
    """Each of them alone is enough."""
    configured, memory, observation = drawn
    for forbidden in (replace(configured, paused=True), replace(configured, dry_run=True)):
        assert decide(forbidden, memory, observation, NINE)[0].replicas == observation.replicas
    driven = replace(observation, rival="HorizontalPodAutoscaler other")
    assert decide(configured, memory, driven, NINE)[0].replicas == observation.replicas


@given(looks(), st.lists(st.tuples(st.integers(1, 120), st.booleans()), min_size=1, max_size=12))
def test_a_quiet_target_does_not_swing(
    drawn: tuple[Policy, Memory, Observation], quiet: list[tuple[int, bool]]
) -> None:
    """Without lag, records or another hand, a target that is put to sleep stays asleep."""
    configured, memory, observation = drawn
    configured = replace(configured, dry_run=False, paused=False)
    calm = tuple(replace(OUTAGE, read_at=NINE) for _ in configured.triggers), tuple(lag(0) for _ in configured.triggers)
    now, counts = 0.0, [observation.replicas]
    for wait, readable in quiet:
        look = Observation(replicas=counts[-1], ready_replicas=counts[-1], lags=calm[readable], handed_off=True)
        decision, memory = decide(configured, memory, look, at(now))
        counts.append(decision.replicas)
        now += wait
    slept = configured.idle_replicas is not None and not configured.keep_awake
    assert not slept or counts == sorted(counts, reverse=True)
