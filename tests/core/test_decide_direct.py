"""Where no HPA moves 1..N: to the minimum, up by the rates, down by the window, to idle by the cooldown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.decide import decide
from activator.core.model import (
    Behavior,
    Cluster,
    Decision,
    GroupState,
    Lag,
    Memory,
    Observation,
    Policy,
    Reason,
    ScalingPolicy,
    ScalingRules,
    SleepFrom,
    Trigger,
    WakeTo,
)

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
TRIGGER = Trigger(Cluster("kafka:9092"), "orders", "orders")
POLICY = Policy(triggers=(TRIGGER,), cooldown=timedelta(seconds=60), initial_cooldown=timedelta(0))


def seconds(count: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=count)


def lag(known: int, *, unreadable: bool = False, partitions: int = 5, state: GroupState = GroupState.STABLE) -> Lag:
    """A reading of five partitions; `unreadable`: one of them could not be read."""
    return Lag(
        known=known,
        complete=not unreadable,
        partitions=partitions,
        readable=partitions - unreadable,
        scalable=known,
        partitions_with_lag=min(known, partitions),
        problems=("orders-0: LEADER_NOT_AVAILABLE",) if unreadable else (),
        read_at=START,
        group_state=state,
    )


NOTHING_READ = Lag(known=0, complete=False, partitions=5, problems=("kafka:9092: no answer",), read_at=START)


@dataclass
class Target:
    """A target that is set to what is decided, as it is where nothing fails."""

    policy: Policy = POLICY
    replicas: int = 0
    memory: Memory = field(default_factory=lambda: Memory(taken_over_at=START - seconds(3600)))
    decision: Decision | None = None

    def look(self, at: float, *lags: Lag) -> int:
        """Look once; return the count afterwards."""
        seen = Observation(replicas=self.replicas, ready_replicas=self.replicas, lags=lags)
        self.decision, self.memory = decide(self.policy, self.memory, seen, START + seconds(at))
        self.replicas = self.decision.replicas
        return self.replicas

    @property
    def said(self) -> list[tuple[str, Reason]]:
        """The steps of the last decision."""
        assert self.decision is not None
        return [(step.name, step.reason) for step in self.decision.steps]


def test_zero_min_up_down_idle() -> None:
    """The whole cycle: to min at once, up by the rate, held by the window, down, and to idle after the cooldown."""
    policy = replace(POLICY, max_replicas=20, cooldown=seconds(400), min_replicas=2)
    target = Target(policy)

    def wide(known: int) -> Lag:
        return lag(known, partitions=20)

    assert [target.look(at, wide(150)) for at in (0, 1)] == [2, 6]
    assert target.said == [("follow triggers", Reason.LAG), ("smooth", Reason.RATE_LIMITED)]
    assert [target.look(at, wide(150)) for at in (2, 15, 16, 31)] == [6, 6, 12, 15]
    assert [target.look(at, wide(40)) for at in (46, 330, 331)] == [15, 15, 4]
    assert [target.look(at, wide(0)) for at in (340, 629, 640)] == [4, 4, 2]
    assert target.said[-2:] == [("cooldown", Reason.COOLING_DOWN), ("smooth", Reason.MIN_REPLICAS)]
    assert [target.look(at, wide(0)) for at in (730, 731)] == [2, 0]
    assert target.said[-1] == ("cooldown", Reason.QUIET)


@pytest.mark.parametrize(
    ("row", "policy", "replicas", "seen", "expected", "reason"),
    [
        ("asleep: to the minimum, whatever the lag", POLICY, 0, lag(500), 1, Reason.LAG),
        ("asleep, wake-to lag: to what the lag asks for", replace(POLICY, wake_to=WakeTo.LAG), 0, lag(500), 5,
         Reason.PARTITION_CAP),
        ("awake: never above the partitions", POLICY, 3, lag(500), 5, Reason.MAX_REPLICAS),
        ("awake: never above max-replica-count", replace(POLICY, max_replicas=4), 3, lag(500), 4, Reason.MAX_REPLICAS),
        ("awake, idle consumers wanted: beyond the partitions",
         replace(POLICY, triggers=(replace(TRIGGER, allow_idle_consumers=True),)), 3, lag(70), 7, Reason.LAG),
        ("within the tolerance", POLICY, 4, lag(43), 4, Reason.WITHIN_TOLERANCE),
        ("below the minimum by another hand", replace(POLICY, min_replicas=3), 2, lag(0), 3, Reason.MIN_REPLICAS),
        ("above the maximum by another hand", POLICY, 9, lag(500), 5, Reason.MAX_REPLICAS),
        ("above the maximum, but one partition is unreadable: held", POLICY, 9, lag(5, unreadable=True), 9,
         Reason.UNREADABLE),
        ("one partition is unreadable, the known lag asks for more", POLICY, 2, lag(44, unreadable=True), 5,
         Reason.LAG),
        ("nothing is readable: held", POLICY, 3, NOTHING_READ, 3, Reason.UNREADABLE),
        ("never sleeps: no lag goes to the minimum by the window", replace(POLICY, idle_replicas=None), 4, lag(0), 4,
         Reason.STABILIZED),
        ("paused", replace(POLICY, paused=True), 2, lag(500), 2, Reason.PAUSED),
        ("dry run", replace(POLICY, dry_run=True), 2, lag(40), 2, Reason.DRY_RUN),
    ],
)  # fmt: skip
def test_one_look(row: str, policy: Policy, replicas: int, seen: Lag, expected: int, reason: Reason) -> None:
    """What one look decides without an HPA."""
    target = Target(policy, replicas)
    target.memory = replace(target.memory, last_active=START)
    assert target.look(0, seen) == expected, row
    assert target.decision is not None
    assert target.decision.reason is reason, row


def test_while_cooling_down_it_counts_down_to_the_minimum() -> None:
    """The quiet period does not freeze the count: the window lets go before it ends, as it would with an HPA."""
    short = replace(Behavior().scale_down, stabilization=seconds(20))
    target = Target(replace(POLICY, behavior=replace(Behavior(), scale_down=short)), replicas=5)
    target.look(0, lag(50))
    assert [target.look(at, lag(0)) for at in (10, 19)] == [5, 5]
    assert target.decision is not None
    assert target.decision.look_again_at == START + seconds(20)
    assert target.look(20, lag(0)) == 1
    assert [(step.name, step.replicas, step.text) for step in target.decision.steps[-2:]] == [
        ("cooldown", 5, "cooldown-period of 60 s has 40.0 s left"),
        ("smooth", 1, "the lag asks for 0, the minimum is 1"),
    ]
    assert [target.look(at, lag(0)) for at in (59, 60)] == [1, 0]


def test_sleep_from_floor_waits_for_our_own_countdown() -> None:
    """With sleep-from floor it is put to idle from the minimum, to which the rates lead."""
    slowly = ScalingRules(seconds(0), (ScalingPolicy("Pods", 1, seconds(10)),))
    policy = replace(
        POLICY,
        cooldown=seconds(0),
        sleep_from=SleepFrom.FLOOR,
        behavior=replace(Behavior(), scale_down=slowly),
    )
    target = Target(policy, replicas=4)
    target.look(0, lag(40))
    assert [target.look(at, lag(0)) for at in (1, 2, 11, 21, 22)] == [3, 3, 2, 1, 0]


def test_a_rebalance_is_not_quiet_but_counts_down() -> None:
    """A group in rebalance keeps it from idle; the count is moved by the rules all the same."""
    target = Target(replace(POLICY, cooldown=seconds(0)), replicas=2)
    target.look(0, lag(20))
    assert target.look(400, lag(0, state=GroupState.PREPARING_REBALANCE)) == 1
    assert target.said[-2:] == [("cooldown", Reason.REBALANCING), ("smooth", Reason.MIN_REPLICAS)]


def test_with_an_hpa_nothing_between_one_and_n_is_ours() -> None:
    """The same look with an HPA handed off leaves the count alone and remembers nothing of it."""
    seen = Observation(replicas=2, ready_replicas=2, lags=(lag(500),), handed_off=True)
    decision, memory = decide(POLICY, Memory(taken_over_at=START), seen, START)
    assert (decision.replicas, decision.reason) == (2, Reason.LAG)
    assert memory.behavior == Memory(taken_over_at=START).behavior


readings = st.one_of(
    st.integers(0, 400).map(lag),
    st.integers(0, 400).map(lambda known: lag(known, unreadable=True)),
    st.just(NOTHING_READ),
)
histories = st.lists(st.tuples(readings, st.integers(1, 40)), max_size=12)
chosen = st.builds(
    lambda least, span, cooldown, idle: replace(
        POLICY, min_replicas=least, max_replicas=least + span, cooldown=seconds(cooldown), idle_replicas=idle
    ),
    st.integers(1, 4),
    st.integers(0, 6),
    st.integers(0, 60),
    st.sampled_from([0, None]),
)


def _after(policy: Policy, history: list[tuple[Lag, int]], replicas: int) -> tuple[Target, float]:
    target, at = Target(policy, replicas), 0.0
    for reading, step in history:
        at += step
        target.look(at, reading)
    return target, at + 1


@given(chosen, histories, st.integers(0, 9), st.one_of(st.just(NOTHING_READ), st.integers(0, 400).map(
    lambda known: lag(known, unreadable=True))))  # fmt: skip
def test_what_is_not_known_never_lowers(
    policy: Policy, history: list[tuple[Lag, int]], replicas: int, reading: Lag
) -> None:
    """With one partition unreadable nothing is lowered, whatever went before."""
    target, at = _after(policy, history, replicas)
    before = target.replicas
    assert target.look(at, reading) >= before


@given(chosen, histories, st.integers(0, 9), st.integers(0, 400), st.integers(0, 400))
def test_more_lag_never_gives_fewer(
    policy: Policy, history: list[tuple[Lag, int]], replicas: int, known: int, more: int
) -> None:
    """Of two looks that differ in the lag alone, the higher lag gives no lower count, within idle, min and max."""
    target, at = _after(policy, history, replicas)
    less, greater = replace(target), replace(target)
    assert less.look(at, lag(known)) <= greater.look(at, lag(known + more))
    most = max(policy.min_replicas, min(policy.max_replicas, 5))
    assert greater.replicas in {policy.idle_replicas or 0, *range(policy.min_replicas, most + 1)}
