"""What keeps a count from changing: the quiet period, whoever else moves it, pauses, a dry run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from activator.core.model import Reason, SleepFrom, WakeTo
from activator.core.steps.draft import REBALANCING, Draft
from activator.core.steps.limiting import hpa_bounds

FLOOR_GRACE = timedelta(seconds=30)
"""How much longer than the scale-down window `sleep-from: floor` waits for the HPA's minimum."""


NOT_READY_AFTER = timedelta(minutes=5)
"""How long a woken target may go without a ready replica before that is said."""


def cooldown(draft: Draft) -> Draft:
    """Go to idle only after the quiet period, and from where the user allows it."""
    policy, seen, memory, now = draft.policy, draft.seen, draft.memory, draft.now
    idle = policy.idle_replicas
    if idle is None or not draft.replicas <= idle < seen.replicas:
        return draft if memory.quiet_since is None else replace(draft, memory=replace(memory, quiet_since=None))
    for trigger, lag in zip(policy.triggers, seen.lags, strict=True):
        if lag.group_state in REBALANCING:
            text = f"group {trigger.group} is rebalancing ({lag.group_state}): the quiet period begins when it is done"
            draft = replace(draft, memory=replace(memory, last_active=now, quiet_since=None))
            return draft.hold("cooldown", Reason.REBALANCING, text)
    quiet_from = memory.last_active or memory.taken_over_at
    ends = max(
        (quiet_from + policy.cooldown, Reason.COOLING_DOWN, "cooldown-period", policy.cooldown),
        (memory.taken_over_at + policy.initial_cooldown, Reason.INITIAL_COOLDOWN, "initial-cooldown-period",
         policy.initial_cooldown),
    )  # fmt: skip
    if now < ends[0]:
        left = (ends[0] - now).total_seconds()
        text = f"{ends[2]} of {ends[3].total_seconds():g} s has {left:.1f} s left"
        if memory.quiet_since is not None:
            draft.memory = replace(memory, quiet_since=None)
        return draft.look_at(ends[0]).hold("cooldown", ends[1], text)
    if policy.sleep_from is SleepFrom.FLOOR and seen.replicas > policy.min_replicas:
        since = memory.quiet_since or now
        latest = since + policy.behavior.scale_down.stabilization + FLOOR_GRACE
        if now < latest:
            draft = replace(draft.look_at(latest), memory=replace(memory, quiet_since=since))
            text = f"sleep-from floor: waits until it is at {policy.min_replicas}"
            return draft.hold("cooldown", Reason.WAITING_FOR_FLOOR, text)
    quiet = (now - quiet_from).total_seconds()
    what = "no lag above activation-lag-threshold" if any(lag.known for lag in seen.lags) else "no lag"
    text = f"{what} for {quiet:.1f} s, cooldown-period is {policy.cooldown.total_seconds():g} s: sleeps at {idle}"
    return draft.say("cooldown", idle, Reason.QUIET, text)


def keep_awake(draft: Draft) -> Draft:
    """Hold at least min while the user asks for it."""
    floor = draft.policy.min_replicas
    if not draft.policy.keep_awake or draft.replicas >= floor:
        return draft
    return draft.hold("keep awake", Reason.KEEP_AWAKE, f"keep-awake is set: never below {floor}", least=floor)


def hand_over(draft: Draft) -> Draft:
    """Leave 1..N to the HPA: with one handed off, ours are only the ways into and out of idle."""
    policy, seen = draft.policy, draft.seen
    idle = policy.idle_replicas or 0
    if not seen.handed_off:
        return draft
    if seen.replicas > idle:
        if draft.replicas <= idle or draft.replicas == seen.replicas:
            return draft
        bounds = hpa_bounds(policy, seen.lags)
        text = f"the HPA moves it within {bounds.least}..{bounds.most}, it has {seen.replicas}"
        if not draft.active:
            return draft.say("leave 1..N to the HPA", seen.replicas, Reason.LEFT_TO_HPA, text)
        # Why it is awake is news; that the count is the HPA's is true of every awake target.
        cause = draft.cause()
        return draft.say("leave 1..N to the HPA", seen.replicas, cause.reason, f"{cause.text}; {text}")
    by_count = policy.wake_to is WakeTo.LAG or draft.memory.fallback is not None
    if draft.replicas > policy.min_replicas and not by_count:
        cause = draft.cause()
        text = f"{cause.text}; wakes to min-replica-count {policy.min_replicas}, the HPA does the rest"
        return draft.say("leave 1..N to the HPA", policy.min_replicas, cause.reason, text)
    return draft


def one_way_only(draft: Draft) -> Draft:
    """Keep the count from moving the way that the user has paused."""
    policy, seen = draft.policy, draft.seen
    if policy.pause_scale_out and draft.replicas > seen.replicas:
        text = f"paused-scale-out is set: stays at {seen.replicas}"
        return draft.say("pause of one direction", seen.replicas, Reason.SCALE_OUT_PAUSED, text)
    if policy.pause_scale_in and draft.replicas < seen.replicas:
        text = f"paused-scale-in is set: stays at {seen.replicas}"
        return draft.say("pause of one direction", seen.replicas, Reason.SCALE_IN_PAUSED, text)
    return draft


def no_replica_ready(draft: Draft) -> Draft:
    """Say so where a woken target has had no ready replica for long: quota, image, scheduling."""
    since = draft.memory.waking_since
    if since is None or draft.now - since < NOT_READY_AFTER or draft.replicas != draft.seen.replicas:
        return draft
    text = f"no replica of {draft.replicas} has been ready for {(draft.now - since).total_seconds():.0f} s"
    return draft.say("readiness", draft.replicas, Reason.NO_REPLICA_READY, text)


def rival(draft: Draft) -> Draft:
    """Touch nothing that another autoscaler drives."""
    if draft.seen.rival is None:
        return draft
    text = f"{draft.seen.rival} drives this target too: remove it, or our annotations"
    return draft.say("rival", draft.seen.replicas, Reason.RIVAL, text)


def pause(draft: Draft) -> Draft:
    """Freeze the count; `paused` wins over `keep-awake`."""
    if not draft.policy.paused:
        return draft
    count = draft.policy.paused_replicas
    if count is None or draft.seen.rival is not None:
        count = draft.seen.replicas
    return draft.say("pause", count, Reason.PAUSED, f"paused at {count}")


def dry_run(draft: Draft) -> Draft:
    """Say what would be done, and do nothing."""
    if not draft.policy.dry_run or draft.replicas == draft.seen.replicas:
        return draft
    text = f"dry run: would go from {draft.seen.replicas} to {draft.replicas}"
    return draft.say("dry run", draft.seen.replicas, Reason.DRY_RUN, text)
