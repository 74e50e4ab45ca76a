"""What holds of every decision, whatever is configured, remembered and seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from activator.core.decide import SOONEST, decide
from activator.core.model import (
    GroupState,
    Lag,
    Memory,
    Observation,
    Policy,
    SleepFrom,
    Trigger,
    WakeTo,
)
from tests.core.decisions import GATEWAY, KAFKA, MAILS, NINE, OUTAGE, TAIL, at, lag

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
        passed=draw(st.sampled_from([False, False, readable > 0])),
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
