"""What is asked for: by lag, pushes and windows; what holds where lag is not known, and what follows if it stays so."""

from __future__ import annotations

from dataclasses import replace

from activator.core.joined import joined
from activator.core.lag import asking_lag
from activator.core.model import Fallback, FallbackBehavior, Lag, MetricType, Push, Reason, Trigger
from activator.core.schedule import window_at
from activator.core.steps.draft import FALL_BACK, FOLLOW_TRIGGERS, Draft, readable

ARRIVED = " arrived on "
"""Between a record and its topic: an Event keeps of a step nothing but its words, and by these it is found again."""

_Wish = tuple[int, Reason, str]
"""A count that something asks for, and why."""


def follow_triggers(draft: Draft) -> Draft:
    """Ask for the largest count that any trigger asks for."""
    policy, seen = draft.policy, draft.seen
    active = False
    said: list[_Wish] = []
    for trigger, lag in joined(policy.triggers, seen.lags):
        wants, is_active, reason, text = _trigger_wants(trigger, lag, max(1, seen.replicas))
        if is_active and wants < policy.min_replicas:  # part of the same reason, or a wake would be told as a bound
            wants, text = policy.min_replicas, f"{text}; min-replica-count is {policy.min_replicas}"
        said.append((wants, reason, text))
        active = active or is_active
    if seen.pushed is not None and seen.push_is_proof:
        active = True
        said.append((max(1, policy.min_replicas), Reason.RECORD_ARRIVED, _arrival(seen.pushed)))
    draft, wishes = _besides_lag(draft)
    active = active or any(wants > 0 for wants, _, _ in wishes)
    said.extend(wishes)
    if active or _worked_off(draft):
        draft.active, draft.memory = active, replace(draft.memory, last_active=draft.now)
    # The one that settles the count speaks last; of those that ask for none, one that has a little lag.
    said.sort(key=lambda entry: (entry[0], entry[1] is not Reason.NO_LAG))
    for wants, reason, text in said:
        draft = draft.say(FOLLOW_TRIGGERS, wants, reason, text)
    return draft


def _besides_lag(draft: Draft) -> tuple[Draft, list[_Wish]]:
    """Return what is asked for without any lag, with a look at the moment when a window opens or closes."""
    policy, least = draft.policy, max(1, draft.policy.min_replicas)
    said: list[_Wish] = []
    for schedule in policy.schedules:
        window = window_at(schedule, draft.now)
        draft = draft.look_at(window.changes_at)
        until = f"until {window.changes_at:%Y-%m-%d %H:%M} UTC"
        if window.is_open:
            wants = max(least, schedule.replicas)
            said.append((wants, Reason.SCHEDULE, f"{schedule} is open {until}: asks for {wants}"))
        elif not policy.triggers:  # else the lag has more to say
            said.append((0, Reason.SCHEDULE, f"{schedule} is closed {until}"))
    if policy.force_active:
        said.append((least, Reason.FORCED, f"force-activation is set; min-replica-count is {policy.min_replicas}"))
    if policy.resources and not policy.triggers and not policy.schedules:
        followed = " and ".join(metric.resource for metric in policy.resources)
        said.append((least, Reason.LEFT_TO_HPA, f"{followed} is followed by the HPA alone"))
    return draft, said


def _worked_off(draft: Draft) -> bool:
    """Tell whether records came and went between two looks: a consumer that keeps up shows no lag, and has work."""
    return draft.seen.replicas > (draft.policy.idle_replicas or 0) and any(
        lag.arrived > trigger.activation_lag_threshold
        for trigger, lag in joined(draft.policy.triggers, draft.seen.lags)
    )


def _arrival(push: Push) -> str:
    known = push.partition is not None and push.offset is not None
    record = f"the record at offset {push.offset} of partition {push.partition}" if known else "a record"
    return f"{record}{ARRIVED}{push.topic} (told by the {push.source})"


def _trigger_wants(trigger: Trigger, lag: Lag, replicas: int) -> tuple[int, bool, Reason, str]:
    """Return the count that one trigger asks for, whether it is active, and why.

    `replicas` are there, or would be: with metric type Value the count asked for is in proportion to them.
    """
    scale = replicas if trigger.metric_type is MetricType.VALUE else 1
    place = trigger.place
    if lag.uncommitted:
        text = (
            f"{place} has no committed offset to start from and offset-reset-policy is latest: a consumer that starts "
            "after a record skips it, so one is kept running until it has committed on every partition"
        )
        wants = max(1, -(-lag.scalable * scale // trigger.lag_threshold))
        return wants, True, Reason.NO_COMMITTED_OFFSET, text
    at_least = "" if lag.complete else "at least "
    if lag.known > trigger.activation_lag_threshold:
        scalable, limits = lag.scalable, ""
        if scalable < lag.known:
            limits = f", {lag.known - scalable} of it persistent and left out"
        if trigger.limit_to_partitions_with_lag and scalable > lag.partitions_with_lag * trigger.lag_threshold:
            limits += f", on {lag.partitions_with_lag} partitions"
        scalable = asking_lag(trigger, lag)
        if trigger.ensure_even_distribution:
            limits += f", shared evenly by {lag.partitions} partitions"
        wants = max(1, -(-scalable * scale // trigger.lag_threshold))
        per = "a replica" if trigger.metric_type is MetricType.AVERAGE_VALUE else "in all"
        text = f"{place} lags {at_least}{lag.known}{limits}, {trigger.lag_threshold} {per}: asks for {wants}"
        return wants, True, Reason.LAG, text
    if lag.passed:
        text = (
            f"retention has passed the offset that {place} has committed and offset-reset-policy is latest: a consumer "
            "that starts finds it out of range and skips what woke it, so one is kept running until it has committed "
            "again"
        )
        return max(1, -(-lag.scalable * scale // trigger.lag_threshold)), True, Reason.NO_COMMITTED_OFFSET, text
    if lag.known > 0:
        least = trigger.activation_lag_threshold
        text = f"{place} lags {at_least}{lag.known}, which is not above activation-lag-threshold {least}"
        return 0, False, Reason.BELOW_ACTIVATION, text
    sign = "" if lag.complete else " in what could be read"
    done = f": {lag.arrived} since the last look, all worked off" if lag.arrived else ""
    return 0, False, Reason.NO_LAG, f"{place} has no lag{sign}{done}"


def hold_while_unreadable(draft: Draft) -> Draft:
    """Hold what is there: an unknown lag is not a lag of zero."""
    problems = [problem for lag in draft.seen.lags if not lag.complete for problem in lag.problems]
    if all(lag.complete for lag in draft.seen.lags):
        return draft
    never = all(lag.read_at is None for lag in draft.seen.lags)
    reason = Reason.NEVER_READ if never and not problems else Reason.UNREADABLE
    why = "; ".join(dict.fromkeys(problems)) or "no reading yet"
    # The quiet period is one of good readings: an outage in its middle starts it again.
    draft = replace(draft, memory=replace(draft.memory, last_active=draft.now)) if draft.seen.replicas > 0 else draft
    held = max(draft.replicas, draft.seen.replicas)
    if held == draft.replicas and draft.active:
        return draft
    return draft.say("hold while unreadable", held, reason, f"holds {held}, because the lag is not known: {why}")


def fall_back(draft: Draft) -> Draft:
    """Where lag has not been readable for as long as the user says, hold what the user says."""
    fallback, memory = draft.policy.fallback, draft.memory
    if fallback is None or readable(draft):
        return draft
    due = (memory.readable_at or draft.now) + fallback.after
    if draft.now < due:
        return draft.look_at(due)
    known = max((step.replicas for step in draft.steps if step.name == FOLLOW_TRIGGERS), default=0)
    count = max(_fallback_count(fallback, draft.seen.replicas), known, draft.policy.min_replicas, 1)
    count = min(count, max(draft.policy.max_replicas, draft.policy.min_replicas))
    silent = (draft.now - (memory.readable_at or draft.now)).total_seconds()
    text = f"not readable for {silent:.0f} s: falls back to {count} ({fallback.behavior} {fallback.replicas})"
    draft = replace(draft, active=True, memory=replace(memory, fallback=count, last_active=draft.now))
    return draft.say(FALL_BACK, count, Reason.FALLBACK, text)


def _fallback_count(fallback: Fallback, current: int) -> int:
    match fallback.behavior:
        case FallbackBehavior.STATIC:
            return fallback.replicas
        case FallbackBehavior.CURRENT:
            return current
        case FallbackBehavior.CURRENT_IF_HIGHER:
            return max(current, fallback.replicas)
        case FallbackBehavior.CURRENT_IF_LOWER:
            return min(current, fallback.replicas)
