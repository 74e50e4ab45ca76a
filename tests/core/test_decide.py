"""The decision where an HPA moves 1..N: every reason by a row, and what else `core.decide` tells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from activator.core.decide import decide, phase_of, push_is_proof
from activator.core.model import (
    Decision,
    Fallback,
    FallbackBehavior,
    GroupState,
    Lag,
    Memory,
    MetricType,
    Observation,
    Phase,
    Policy,
    Reason,
    ResourceMetric,
    SleepFrom,
    Trigger,
    WakeTo,
)
from activator.core.schedule import CronExpression, Schedule
from activator.core.steps.limiting import partition_cap
from tests.core.decisions import (
    GATEWAY,
    IDLE_CONSUMERS,
    MAILS,
    NEVER_READ,
    NINE,
    ORDERS,
    OUTAGE,
    TAIL,
    at,
    lag,
    partial,
    policy,
    remembered,
    seen,
)


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
PASSED = (
    f"retention has passed the offset that {PLACE} has committed and offset-reset-policy is latest: a consumer that "
    "starts finds it out of range and skips what woke it, so one is kept running until it has committed again"
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
    "a commit that retention has passed, latest: woken just as well": Row(
        policy(), seen(0, lag(0, passed=True)), 1, Reason.NO_COMMITTED_OFFSET, PASSED
    ),
    "a commit that retention has passed, with lag: the lag is the news": Row(
        policy(),
        seen(0, lag(3, passed=True)),
        1,
        Reason.LAG,
        f"{PLACE} lags 3, 10 a replica: asks for 1",
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
