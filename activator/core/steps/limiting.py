"""How far a count may go: an HPA's smoothing, the partitions, the bounds."""

from __future__ import annotations

from dataclasses import replace

from activator.core.behavior import Bounds, Metric, forget_last, recommend
from activator.core.joined import joined
from activator.core.lag import served_value
from activator.core.model import Lag, MetricType, Policy, Reason, WakeTo
from activator.core.schedule import window_at
from activator.core.steps.draft import Draft, held, readable


def smooth(draft: Draft) -> Draft:
    """Where no HPA moves 1..N, answer as one would: it looks at the same metrics, within the same bounds.

    While nothing is active it goes on counting down to the minimum, as an HPA does; to idle leads the cooldown alone.
    """
    policy, seen = draft.policy, draft.seen
    if seen.handed_off or draft.memory.fallback is not None:
        return draft
    if seen.replicas <= (policy.idle_replicas or 0):
        return _wake_to_min(replace(draft, memory=replace(draft.memory, behavior=forget_last(draft.memory.behavior))))
    metrics = _metrics(draft)
    if not metrics:  # what only an HPA can follow
        return draft
    answer = recommend(
        policy.behavior,
        hpa_bounds(policy, seen.lags),
        metrics,
        draft.memory.behavior,
        seen.replicas,
        draft.now,
    )
    draft.memory = replace(draft.memory, behavior=answer.memory)
    draft.look_at(answer.changes_at)
    if not readable(draft):  # an HPA above its maximum comes down without a look at any metric; ours must know
        answer = replace(answer, replicas=max(answer.replicas, seen.replicas))
    draft.smoothed = answer
    to_idle = readable(draft) and not draft.active and policy.idle_replicas is not None
    if to_idle or answer.replicas == draft.replicas:
        return draft
    return draft.say("smooth", answer.replicas, answer.reason, answer.text)


def _metrics(draft: Draft) -> list[Metric]:
    """Return what an HPA would be served."""
    policy, seen = draft.policy, draft.seen
    of_lag = [
        Metric(
            served_value(trigger, lag, seen.replicas),
            trigger.lag_threshold,
            is_average=trigger.metric_type is MetricType.AVERAGE_VALUE,
        )
        for trigger, lag in joined(policy.triggers, seen.lags)
    ]
    of_windows = [
        Metric(schedule.replicas if window_at(schedule, draft.now).is_open else 0, 1, name="a window")
        for schedule in policy.schedules
    ]
    return [*of_lag, *of_windows]


def _wake_to_min(draft: Draft) -> Draft:
    """Wake to the minimum, from where the behavior's rates count; an HPA would not be asked either."""
    least = draft.policy.min_replicas
    if draft.replicas <= least or draft.policy.wake_to is WakeTo.LAG:
        return draft
    cause = draft.cause()
    text = f"{cause.text}; wakes to min-replica-count {least}, its behavior does the rest"
    return draft.say("smooth", least, cause.reason, text)


def hpa_bounds(policy: Policy, lags: tuple[Lag, ...]) -> Bounds:
    """Return an HPA's bounds: at least 1, at most the partitions, and never a maximum below the minimum."""
    least = max(1, policy.min_replicas)
    cap = partition_cap(policy, lags)
    return Bounds(least, max(least, policy.max_replicas if cap is None else min(policy.max_replicas, cap)))


def cap_at_partitions(draft: Draft) -> Draft:
    """Ask for no more consumers than partitions: the rest would be idle."""
    cap = partition_cap(draft.policy, draft.seen.lags)
    if cap is None:
        return draft
    capped = max(cap, draft.policy.min_replicas, held(draft))
    if capped >= draft.replicas:
        return draft
    text = f"{draft.replicas} are asked for, but {cap} partitions feed no more than {cap} consumers"
    return draft.say("cap at partitions", capped, Reason.PARTITION_CAP, text)


def partition_cap(policy: Policy, lags: tuple[Lag, ...]) -> int | None:
    """Return how many consumers the largest trigger can feed; None: no cap, or not known."""
    if any(trigger.allow_idle_consumers for trigger in policy.triggers):
        return None
    if policy.schedules or policy.resources:  # what they ask for has nothing to do with partitions
        return None
    counts = [lag.partitions for _, lag in joined(policy.triggers, lags)]
    if not counts or any(count is None for count in counts):
        return None
    return max(count for count in counts if count is not None)


def bounds(draft: Draft) -> Draft:
    """Keep to max where it is active (no trigger asks for less than min), else to idle, or to min without sleep."""
    policy, replicas = draft.policy, draft.replicas
    if not draft.active:
        floor = policy.min_replicas if policy.idle_replicas is None else policy.idle_replicas
        if replicas < floor and readable(draft):
            name = "min" if policy.idle_replicas is None else "idle"
            return draft.say("bounds", floor, Reason.MIN_REPLICAS, f"{name}-replica-count is {floor}")
        return draft
    most = max(policy.max_replicas, held(draft))
    if replicas > most:
        text = f"{replicas} are asked for, max-replica-count is {policy.max_replicas}"
        return draft.say("bounds", most, Reason.MAX_REPLICAS, text)
    return draft
