"""HPA's own algorithm for 1..N: metrics -> tolerance -> stabilization -> rate policies and bounds.

Where no HPA can be used (local mode, hand-off `direct`) a target is moved by the same rules, so that it behaves as it
will with one. The rules are those of autoscaling/v2 in Kubernetes 1.37, for external metrics with an average value:

1. A count outside min..max goes to the bound at once; no metric is looked at and nothing is remembered of it.
2. Each metric asks for ceil(value / target), or for the count there is while value / (target x count) lies within the
   tolerance of 1. The largest of them counts. An unreadable one among them forbids to lower, and is then not
   remembered either.
3. Stabilization: upwards to the lowest, downwards to the highest of what was asked for within that direction's
   window. What is remembered is what the metrics asked for, not what became of it.
4. Rate policies: each allows a change from the count at the start of its period, which is the present one without
   what was added and with what was removed since. Percentages round in favour of a change. `selectPolicy` takes the
   policy that allows most (Max), least (Min) or no change (Disabled).
5. Bounds.

Memory is a value: what was asked for and when, and which changes were made and when. A change counts once the count
that was recommended is seen: one that failed, was forbidden or was made by somebody else never was.

Sources: Kubernetes documentation, "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behavior);
KEP-853 (behavior), KEP-4951 (tolerance); replayed against the controller itself in the end-to-end tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.model import BehaviorMemory, Reason, Recommendation, ReplicaChange, SelectPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from activator.core.model import Behavior, ScalingPolicy, ScalingRules

TOLERANCE = 0.1
"""Where a direction has none of its own (``--horizontal-pod-autoscaler-tolerance``)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One external metric."""

    value: int | None
    """None: unreadable."""
    target: int
    """What one replica is meant to carry, or what the whole should come to where it is no average; at least 1."""
    is_average: bool = True
    """Target type AverageValue; else Value."""
    name: str = "a lag"
    """What the value is, for the sentence that explains an answer."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """An HPA's minReplicas and maxReplicas."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HPA would set, and why."""

    replicas: int
    memory: BehaviorMemory
    reason: Reason
    """The rule that settled the count."""
    text: str
    changes_at: datetime | None = None
    """When a window or a period that holds the count back ends, with the metrics as they are; None: none does."""


def recommend(
    behavior: Behavior,
    bounds: Bounds,
    metrics: Sequence[Metric],
    memory: BehaviorMemory,
    current: int,
    now: datetime,
    *,
    running: int | None = None,
) -> Answer:
    """Say how many replicas an HPA would set.

    Args:
        behavior: complete, as `specs.behavior` reads it.
        bounds: minReplicas and maxReplicas.
        metrics: every metric of the HPA, at least one.
        memory: what the answer before this one left.
        current: spec.replicas; more than zero, because an HPA leaves a target at zero alone.
        now: aware UTC, never before that of the answer before.
        running: status.replicas, which the tolerance is measured against; None: as many as `current`.

    Returns:
        The answer, with the memory for the next one.
    """
    memory = _note_change(behavior, memory, current)
    if not memory.recommendations:  # so that a controller that has just started lowers nothing for one window
        memory = replace(memory, recommendations=((current, now),))
    answer = _out_of_bounds(bounds, memory, current)
    if answer is None:
        wanted, reason, text = _ask(behavior, metrics, current, current if running is None else running)
        if wanted is None:
            answer = Answer(current, memory, reason, text)
        else:
            answer = _limit(behavior, bounds, memory, current, wanted, now, Answer(wanted, memory, reason, text))
            kept = _remember(behavior, memory.recommendations, wanted, now)
            answer = replace(answer, memory=replace(memory, recommendations=kept))
    return replace(answer, memory=replace(answer.memory, last=Recommendation(current, answer.replicas, now)))


def forget_last(memory: BehaviorMemory) -> BehaviorMemory:
    """Return the memory of a target that was put to sleep or woken: counts from here on follow no recommendation."""
    return memory if memory.last is None else replace(memory, last=None)


# ------------------------------------------------------------------------------------------------------ the metrics


def _out_of_bounds(bounds: Bounds, memory: BehaviorMemory, current: int) -> Answer | None:
    if current > bounds.most:
        text = f"{current} is more than the maximum of {bounds.most}"
        return Answer(bounds.most, memory, Reason.MAX_REPLICAS, text)
    if current < bounds.least:
        text = f"{current} is less than the minimum of {bounds.least}"
        return Answer(bounds.least, memory, Reason.MIN_REPLICAS, text)
    return None


def _ask(behavior: Behavior, metrics: Sequence[Metric], current: int, running: int) -> tuple[int | None, Reason, str]:
    """Return the count that the metrics ask for (None: it may not be told), and why."""
    asked = [
        (_proposal(behavior, metric, metric.value, running), metric.value, number)
        for number, metric in enumerate(metrics)
        if metric.value is not None
    ]
    unreadable = len(metrics) - len(asked)
    wanted, value, number = max(asked, default=(0, 0, 0))
    if not asked or (unreadable and wanted < current):
        return None, Reason.UNREADABLE, f"{unreadable} of {len(metrics)} metrics are unreadable: holds {current}"
    metric = metrics[number]
    per = "a replica" if metric.is_average else "in all"
    if _plain(metric, value, running) != wanted:
        text = f"{metric.name} of {value} is within the tolerance of {metric.target} {per}: asks for {wanted}"
        return wanted, Reason.WITHIN_TOLERANCE, text
    return wanted, Reason.LAG, f"{metric.name} of {value}, {metric.target} {per}: asks for {wanted}"


def _proposal(behavior: Behavior, metric: Metric, value: int, running: int) -> int:
    counted = metric.target * (running if metric.is_average else 1)
    ratio = value / counted if counted else math.inf
    if 1 - _tolerance(behavior.scale_down) <= ratio <= 1 + _tolerance(behavior.scale_up):
        return running
    return _plain(metric, value, running)


def _plain(metric: Metric, value: int, running: int) -> int:
    """Return what a metric asks for without tolerance: an average is shared out, a whole is in proportion."""
    return math.ceil(value / metric.target) if metric.is_average else math.ceil(running * value / metric.target)


def _tolerance(rules: ScalingRules) -> float:
    return TOLERANCE if rules.tolerance is None else float(rules.tolerance)


# ------------------------------------------------------------------------------------------- windows and rate limits


def _limit(
    behavior: Behavior,
    bounds: Bounds,
    memory: BehaviorMemory,
    current: int,
    wanted: int,
    now: datetime,
    answer: Answer,
) -> Answer:
    """Pass what the metrics ask for through the windows, the rate policies and the bounds."""
    answer = _stabilize(behavior, memory, current, wanted, now, answer)
    stable = answer.replicas
    if stable > current:
        limit, policy = _up_limit(behavior.scale_up, memory, current, now)
        if stable > min(limit, bounds.most):
            if bounds.most <= limit:
                return _bounded(answer, bounds.most, Reason.MAX_REPLICAS, f"the lag asks for {stable}, the maximum")
            return _rate_limited(answer, limit, stable, policy, _period_ends(behavior.scale_up, memory, now))
    elif stable < current:
        limit, policy = _down_limit(behavior.scale_down, memory, current, now)
        if stable < max(limit, bounds.least):
            if bounds.least >= limit:
                return _bounded(answer, bounds.least, Reason.MIN_REPLICAS, f"the lag asks for {stable}, the minimum")
            return _rate_limited(answer, limit, stable, policy, _period_ends(behavior.scale_down, memory, now))
    return answer


def _bounded(answer: Answer, bound: int, reason: Reason, text: str) -> Answer:
    return replace(answer, replicas=bound, reason=reason, text=f"{text} is {bound}")


def _rate_limited(answer: Answer, limit: int, wanted: int, policy: str, ends: datetime | None) -> Answer:
    moments = [moment for moment in (answer.changes_at, ends) if moment is not None]
    return replace(
        answer,
        replicas=limit,
        reason=Reason.RATE_LIMITED,
        text=f"the lag asks for {wanted}, {policy} allows {limit} just now",
        changes_at=min(moments, default=None),
    )


def _stabilize(
    behavior: Behavior, memory: BehaviorMemory, current: int, wanted: int, now: datetime, answer: Answer
) -> Answer:
    """Keep the count within what both windows allow."""
    up_window, down_window = behavior.scale_up.stabilization, behavior.scale_down.stabilization
    low, high = (wanted, now), (wanted, now)
    for asked, at in memory.recommendations:
        if at > now - up_window:
            low = min(low, (asked, at))
        if at > now - down_window:
            high = max(high, (asked, at))
    stable = min(max(current, low[0]), high[0])
    if stable == wanted:
        return answer
    way, window, (asked, at) = ("up", up_window, low) if wanted > current else ("down", down_window, high)
    text = (
        f"the lag asks for {wanted}, but asked for {asked} {(now - at).total_seconds():.0f} s ago: "
        f"scale-{way} is stabilized over {window.total_seconds():g} s"
    )
    return replace(answer, replicas=stable, reason=Reason.STABILIZED, text=text, changes_at=at + window)


def _up_limit(rules: ScalingRules, memory: BehaviorMemory, current: int, now: datetime) -> tuple[int, str]:
    """Return the highest count that the policies allow, and the policy that says so in words."""
    if rules.select is SelectPolicy.DISABLED:
        return current, "selectPolicy Disabled"
    allowed: list[tuple[int, ScalingPolicy]] = []
    for policy in rules.policies:
        start = _at_period_start(policy, memory, current, now)
        percent = math.ceil(start * (1 + policy.value / 100))
        allowed.append((start + policy.value if policy.type == "Pods" else percent, policy))
    select = min if rules.select is SelectPolicy.MIN else max
    limit, policy = select(allowed, key=lambda entry: entry[0])
    return max(limit, current), _in_words(policy)


def _down_limit(rules: ScalingRules, memory: BehaviorMemory, current: int, now: datetime) -> tuple[int, str]:
    """Return the lowest count that the policies allow, and the policy that says so in words."""
    if rules.select is SelectPolicy.DISABLED:
        return current, "selectPolicy Disabled"
    allowed: list[tuple[int, ScalingPolicy]] = []
    for policy in rules.policies:
        start = _at_period_start(policy, memory, current, now)
        percent = math.trunc(start * (1 - policy.value / 100))
        allowed.append((start - policy.value if policy.type == "Pods" else percent, policy))
    select = max if rules.select is SelectPolicy.MIN else min
    limit, policy = select(allowed, key=lambda entry: entry[0])
    return min(limit, current), _in_words(policy)


def _at_period_start(policy: ScalingPolicy, memory: BehaviorMemory, current: int, now: datetime) -> int:
    added = sum(change.replicas for change in memory.added if change.at > now - policy.period)
    removed = sum(change.replicas for change in memory.removed if change.at > now - policy.period)
    return current - added + removed


def _period_ends(rules: ScalingRules, memory: BehaviorMemory, now: datetime) -> datetime | None:
    """Return when the next change leaves the period of a policy that counts it."""
    ends = [change.at + policy.period for policy in rules.policies for change in (*memory.added, *memory.removed)]
    return min((end for end in ends if end > now), default=None)


def _in_words(policy: ScalingPolicy) -> str:
    unit = "%" if policy.type == "Percent" else "pod" if policy.value == 1 else "pods"
    return f"the policy of {policy.value} {unit} in {policy.period.total_seconds():g} s"


# ------------------------------------------------------------------------------------------------------- the memory


def _remember(
    behavior: Behavior, recommendations: Iterable[tuple[int, datetime]], wanted: int, now: datetime
) -> tuple[tuple[int, datetime], ...]:
    """Keep what a window may still look at: of each count the last time, since an older one adds nothing to it."""
    longest = max(behavior.scale_up.stabilization, behavior.scale_down.stabilization)
    kept = [(asked, at) for asked, at in recommendations if asked != wanted and at > now - longest]
    return (*kept, (wanted, now))


def _note_change(behavior: Behavior, memory: BehaviorMemory, current: int) -> BehaviorMemory:
    """Take the count that is there for a change of ours where it is what was recommended."""
    last = memory.last
    if last is None or current != last.replicas or last.replicas == last.current:
        return memory
    change = ReplicaChange(abs(last.replicas - last.current), last.at)
    if last.replicas > last.current:
        return replace(memory, last=None, added=_with(memory.added, change, behavior.scale_up))
    return replace(memory, last=None, removed=_with(memory.removed, change, behavior.scale_down))


def _with(changes: tuple[ReplicaChange, ...], change: ReplicaChange, rules: ScalingRules) -> tuple[ReplicaChange, ...]:
    """Add a change, in the place of one that no policy of its direction counts any more.

    Only the last such place is taken, as the controller does: until then a change may still count for the policies of
    the other direction, whose periods may be longer.
    """
    longest = max((policy.period for policy in rules.policies), default=timedelta(0))
    outdated = [index for index, known in enumerate(changes) if known.at < change.at - longest]
    if not outdated:
        return (*changes, change)
    return (*changes[: outdated[-1]], change, *changes[outdated[-1] + 1 :])
