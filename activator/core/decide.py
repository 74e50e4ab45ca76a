"""The decision: an ordered list of steps from what is seen to a count, each with its reason.

Every step takes the count that the steps before it arrived at and answers with another, or keeps it and says nothing:
the last step that spoke is the one that settled the count. The order is the design:

1. follow the triggers       what lag, or a record that was pushed, asks for
2. hold while unreadable     what is not known cannot lower anything
3. fall back                 what is not known for long gives way to the user's own count
4. smooth                    where no HPA moves 1..N: what one would set (tolerance, windows, rate policies, bounds)
5. cap at partitions         a consumer without a partition is idle
6. bounds                    min and max, or idle where nothing is active
7. cooldown                  to idle only after the quiet period
8. keep awake
9. leave 1..N to the HPA     with an HPA handed off, only the ways into and out of idle are ours
10. pause of one direction   nothing raises, or nothing lowers
11. readiness                a woken target that stays without a ready replica is said
12. rival, pause, dry run    what forbids acting at all

`Decision.steps` is the one explanation behind the log line, the Event, the span, the dashboard and `explain`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.behavior import Bounds, Metric, forget_last, recommend
from activator.core.lag import asking_lag, served_value
from activator.core.model import (
    Decision,
    FallbackBehavior,
    GroupState,
    Memory,
    MetricType,
    Phase,
    Reason,
    SleepFrom,
    Step,
    WakeTo,
)
from activator.core.schedule import window_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from activator.core.behavior import Answer
    from activator.core.model import Fallback, Lag, Observation, Policy, Push, Trigger

HPA_SYNC_PERIOD = timedelta(seconds=15)
"""How often a stock HPA controller looks (``--horizontal-pod-autoscaler-sync-period``): readings must keep up."""
AFTER_A_CHANGE = timedelta(seconds=1)
"""How soon a change of our own is looked at again."""
WHILE_WAKING = timedelta(seconds=5)
WHILE_UNREADABLE = timedelta(seconds=5)
"""A source that comes back is noticed within seconds, whatever the polling interval is."""
FLOOR_GRACE = timedelta(seconds=30)
"""How much longer than the scale-down window `sleep-from: floor` waits for the HPA's minimum."""
NOT_READY_AFTER = timedelta(minutes=5)
"""How long a woken target may go without a ready replica before that is said."""
SOONEST = timedelta(milliseconds=100)
"""No decision asks for a look sooner than this, so that no mistake turns into a busy loop."""

_FOLLOW_TRIGGERS = "follow triggers"
_FALL_BACK = "fall back"
_Wish = tuple[int, Reason, str]
"""A count that something asks for, and why."""
REBALANCING = frozenset(
    {
        GroupState.PREPARING_REBALANCE,
        GroupState.COMPLETING_REBALANCE,
        GroupState.ASSIGNING,
        GroupState.RECONCILING,
    }
)
"""Nobody can be reading just now."""


@dataclass(slots=True)
class _Draft:
    """What the steps hand on, one to the next: nobody else holds it, so that `say` need not copy it."""

    policy: Policy
    seen: Observation
    memory: Memory
    now: datetime
    replicas: int
    active: bool = False
    steps: tuple[Step, ...] = ()
    wake_at: datetime | None = None
    """A moment at which a step's answer changes by itself."""
    smoothed: Answer | None = None
    """What an HPA would set, where it is us who move 1..N."""

    def hold(self, name: str, reason: Reason, text: str, *, least: int = 0) -> _Draft:
        """Keep it from idle: at the count that is there, or where an HPA would move that count meanwhile."""
        held = self.say(name, max(least, self.seen.replicas), reason, text)
        smoothed = self.smoothed
        if smoothed is None or max(least, smoothed.replicas) == held.replicas:
            return held
        return held.say("smooth", max(least, smoothed.replicas), smoothed.reason, smoothed.text)

    def look_at(self, moment: datetime | None) -> _Draft:
        if moment is not None and (self.wake_at is None or moment < self.wake_at):
            self.wake_at = moment
        return self

    def say(self, name: str, replicas: int, reason: Reason, text: str) -> _Draft:
        self.replicas, self.steps = replicas, (*self.steps, Step(name, replicas, reason, text))
        return self


def decide(policy: Policy, memory: Memory, seen: Observation, now: datetime) -> tuple[Decision, Memory]:
    """Decide how many replicas a target should have.

    Args:
        policy: what the user asked for.
        memory: what the decision before this one left.
        seen: everything that may be looked at, taken at `now`.
        now: aware UTC.

    Returns:
        The decision, whose `look_again_at` lies after `now`, and the memory for the next one. Equal arguments give
        equal answers.
    """
    memory = _note_standing(policy, _note_foreign_hand(memory, seen, now), seen, now)
    memory = _note_readable(memory, seen, now)
    draft = _Draft(policy=policy, seen=seen, memory=memory, now=now, replicas=0)
    for step in STEPS:
        draft = step(draft)
    kept = draft.memory
    if kept.replicas != seen.replicas:
        kept = replace(kept, replicas=seen.replicas)
    return (
        Decision(
            replicas=draft.replicas,
            steps=draft.steps,
            look_again_at=_look_again(draft),
        ),
        kept,
    )


def phase_of(policy: Policy | None, replicas: int, ready_replicas: int) -> Phase:
    """Derive where a target is in its cycle from what it has; nothing is remembered, so nothing can be stale."""
    if policy is None:
        return Phase.INVALID
    if policy.paused:
        return Phase.PAUSED
    if replicas <= (policy.idle_replicas or 0):
        return Phase.ASLEEP
    return Phase.AWAKE if ready_replicas > 0 else Phase.WAKING


def push_is_proof(trigger: Trigger, last: Lag | None) -> bool:
    """Tell whether a record that arrived on the trigger's topic proves that this group has work, without a read.

    It does where the group had no members at the last look: nobody else can have consumed it. Where it has members
    (somebody else's consumers share the group), where more than one record is needed to wake and where only some
    partitions count, the read decides.
    """
    if trigger.activation_lag_threshold > 0 or trigger.partition_limitation or last is None:
        return False
    return last.group_state in {GroupState.EMPTY, GroupState.DEAD}


# -------------------------------------------------------------------------------------------------------- the steps


def _note_foreign_hand(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Begin a new cooldown where somebody else raised the count.

    The HPA may undo a sleep by a conflict that it retries with a stale count, people scale by hand, GitOps tools
    write `replicas` back. Going back to zero at once would make it a fight; one cooldown gives the other side its say.
    (A count that the HPA lowers says nothing: with each of its steps the cooldown would begin again.)
    """
    raised = memory.replicas is not None and seen.replicas > memory.replicas
    if raised and not seen.by_us:
        return replace(memory, last_active=now)
    return memory


def _note_standing(policy: Policy, memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Note since when it is at idle, or above idle without a ready replica."""
    asleep = seen.replicas <= (policy.idle_replicas or 0)
    waking = not asleep and seen.ready_replicas == 0
    if (memory.asleep_since is not None, memory.waking_since is not None) == (asleep, waking):
        return memory  # nearly always
    return replace(
        memory,
        asleep_since=(memory.asleep_since or now) if asleep else None,
        waking_since=(memory.waking_since or now) if waking else None,
    )


def _note_readable(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Note when everything was readable last; a process that starts in an outage counts from its first look."""
    if all(lag.complete for lag in seen.lags):
        read = [lag.read_at for lag in seen.lags if lag.read_at is not None]
        return replace(memory, readable_at=min(read, default=now), fallback=None)
    return replace(memory, readable_at=memory.readable_at or now, fallback=None)


def _follow_triggers(draft: _Draft) -> _Draft:
    """Ask for the largest count that any trigger asks for."""
    policy, seen = draft.policy, draft.seen
    active = False
    said: list[_Wish] = []
    for trigger, lag in zip(policy.triggers, seen.lags, strict=True):
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
        draft = draft.say(_FOLLOW_TRIGGERS, wants, reason, text)
    return draft


def _besides_lag(draft: _Draft) -> tuple[_Draft, list[_Wish]]:
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


def _worked_off(draft: _Draft) -> bool:
    """Tell whether records came and went between two looks: a consumer that keeps up shows no lag, and has work."""
    return draft.seen.replicas > (draft.policy.idle_replicas or 0) and any(
        lag.arrived > trigger.activation_lag_threshold
        for trigger, lag in zip(draft.policy.triggers, draft.seen.lags, strict=True)
    )


def _arrival(push: Push) -> str:
    known = push.partition is not None and push.offset is not None
    record = f"the record at offset {push.offset} of partition {push.partition}" if known else "a record"
    return f"{record} arrived on {push.topic} (told by the {push.source})"


def _trigger_wants(trigger: Trigger, lag: Lag, replicas: int) -> tuple[int, bool, Reason, str]:
    """Return the count that one trigger asks for, whether it is active, and why.

    `replicas` are there, or would be: with metric type Value the count asked for is in proportion to them.
    """
    scale = replicas if trigger.metric_type is MetricType.VALUE else 1
    place = f"group {trigger.group} on {trigger.topic}"
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
    if lag.known > 0:
        least = trigger.activation_lag_threshold
        text = f"{place} lags {at_least}{lag.known}, which is not above activation-lag-threshold {least}"
        return 0, False, Reason.BELOW_ACTIVATION, text
    sign = "" if lag.complete else " in what could be read"
    done = f": {lag.arrived} since the last look, all worked off" if lag.arrived else ""
    return 0, False, Reason.NO_LAG, f"{place} has no lag{sign}{done}"


def _hold_while_unreadable(draft: _Draft) -> _Draft:
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


def _fall_back(draft: _Draft) -> _Draft:
    """Where lag has not been readable for as long as the user says, hold what the user says."""
    fallback, memory = draft.policy.fallback, draft.memory
    if fallback is None or _readable(draft):
        return draft
    due = (memory.readable_at or draft.now) + fallback.after
    if draft.now < due:
        return draft.look_at(due)
    known = max((step.replicas for step in draft.steps if step.name == _FOLLOW_TRIGGERS), default=0)
    count = max(_fallback_count(fallback, draft.seen.replicas), known, draft.policy.min_replicas, 1)
    count = min(count, max(draft.policy.max_replicas, draft.policy.min_replicas))
    silent = (draft.now - (memory.readable_at or draft.now)).total_seconds()
    text = f"not readable for {silent:.0f} s: falls back to {count} ({fallback.behavior} {fallback.replicas})"
    draft = replace(draft, active=True, memory=replace(memory, fallback=count, last_active=draft.now))
    return draft.say(_FALL_BACK, count, Reason.FALLBACK, text)


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


def _smooth(draft: _Draft) -> _Draft:
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
    if not _readable(draft):  # an HPA above its maximum comes down without a look at any metric; ours must know
        answer = replace(answer, replicas=max(answer.replicas, seen.replicas))
    draft.smoothed = answer
    to_idle = _readable(draft) and not draft.active and policy.idle_replicas is not None
    if to_idle or answer.replicas == draft.replicas:
        return draft
    return draft.say("smooth", answer.replicas, answer.reason, answer.text)


def _metrics(draft: _Draft) -> list[Metric]:
    """Return what an HPA would be served."""
    policy, seen = draft.policy, draft.seen
    of_lag = [
        Metric(
            served_value(trigger, lag, seen.replicas),
            trigger.lag_threshold,
            is_average=trigger.metric_type is MetricType.AVERAGE_VALUE,
        )
        for trigger, lag in zip(policy.triggers, seen.lags, strict=True)
    ]
    of_windows = [
        Metric(schedule.replicas if window_at(schedule, draft.now).is_open else 0, 1, name="a window")
        for schedule in policy.schedules
    ]
    return [*of_lag, *of_windows]


def _wake_to_min(draft: _Draft) -> _Draft:
    """Wake to the minimum, from where the behavior's rates count; an HPA would not be asked either."""
    least = draft.policy.min_replicas
    if draft.replicas <= least or draft.policy.wake_to is WakeTo.LAG:
        return draft
    cause = _cause(draft)
    text = f"{cause.text}; wakes to min-replica-count {least}, its behavior does the rest"
    return draft.say("smooth", least, cause.reason, text)


def hpa_bounds(policy: Policy, lags: tuple[Lag, ...]) -> Bounds:
    """Return an HPA's bounds: at least 1, at most the partitions, and never a maximum below the minimum."""
    least = max(1, policy.min_replicas)
    cap = partition_cap(policy, lags)
    return Bounds(least, max(least, policy.max_replicas if cap is None else min(policy.max_replicas, cap)))


def _cap_at_partitions(draft: _Draft) -> _Draft:
    """Ask for no more consumers than partitions: the rest would be idle."""
    cap = partition_cap(draft.policy, draft.seen.lags)
    if cap is None:
        return draft
    capped = max(cap, draft.policy.min_replicas, _held(draft))
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
    counts = [lag.partitions for lag in lags]
    if not counts or any(count is None for count in counts):
        return None
    return max(count for count in counts if count is not None)


def _bounds(draft: _Draft) -> _Draft:
    """Keep to max where it is active (no trigger asks for less than min), else to idle, or to min without sleep."""
    policy, replicas = draft.policy, draft.replicas
    if not draft.active:
        floor = policy.min_replicas if policy.idle_replicas is None else policy.idle_replicas
        if replicas < floor and _readable(draft):
            name = "min" if policy.idle_replicas is None else "idle"
            return draft.say("bounds", floor, Reason.MIN_REPLICAS, f"{name}-replica-count is {floor}")
        return draft
    most = max(policy.max_replicas, _held(draft))
    if replicas > most:
        text = f"{replicas} are asked for, max-replica-count is {policy.max_replicas}"
        return draft.say("bounds", most, Reason.MAX_REPLICAS, text)
    return draft


def _cooldown(draft: _Draft) -> _Draft:
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


def _keep_awake(draft: _Draft) -> _Draft:
    """Hold at least min while the user asks for it."""
    floor = draft.policy.min_replicas
    if not draft.policy.keep_awake or draft.replicas >= floor:
        return draft
    return draft.hold("keep awake", Reason.KEEP_AWAKE, f"keep-awake is set: never below {floor}", least=floor)


def _hand_over(draft: _Draft) -> _Draft:
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
        cause = _cause(draft)
        return draft.say("leave 1..N to the HPA", seen.replicas, cause.reason, f"{cause.text}; {text}")
    by_count = policy.wake_to is WakeTo.LAG or draft.memory.fallback is not None
    if draft.replicas > policy.min_replicas and not by_count:
        cause = _cause(draft)
        text = f"{cause.text}; wakes to min-replica-count {policy.min_replicas}, the HPA does the rest"
        return draft.say("leave 1..N to the HPA", policy.min_replicas, cause.reason, text)
    return draft


def _cause(draft: _Draft) -> Step:
    """Return the step that wakes it: how far it is woken is no reason for waking."""
    return [step for step in draft.steps if step.name in {_FOLLOW_TRIGGERS, _FALL_BACK}][-1]


def _one_way_only(draft: _Draft) -> _Draft:
    """Keep the count from moving the way that the user has paused."""
    policy, seen = draft.policy, draft.seen
    if policy.pause_scale_out and draft.replicas > seen.replicas:
        text = f"paused-scale-out is set: stays at {seen.replicas}"
        return draft.say("pause of one direction", seen.replicas, Reason.SCALE_OUT_PAUSED, text)
    if policy.pause_scale_in and draft.replicas < seen.replicas:
        text = f"paused-scale-in is set: stays at {seen.replicas}"
        return draft.say("pause of one direction", seen.replicas, Reason.SCALE_IN_PAUSED, text)
    return draft


def _no_replica_ready(draft: _Draft) -> _Draft:
    """Say so where a woken target has had no ready replica for long: quota, image, scheduling."""
    since = draft.memory.waking_since
    if since is None or draft.now - since < NOT_READY_AFTER or draft.replicas != draft.seen.replicas:
        return draft
    text = f"no replica of {draft.replicas} has been ready for {(draft.now - since).total_seconds():.0f} s"
    return draft.say("readiness", draft.replicas, Reason.NO_REPLICA_READY, text)


def _rival(draft: _Draft) -> _Draft:
    """Touch nothing that another autoscaler drives."""
    if draft.seen.rival is None:
        return draft
    text = f"{draft.seen.rival} drives this target too: remove it, or our annotations"
    return draft.say("rival", draft.seen.replicas, Reason.RIVAL, text)


def _pause(draft: _Draft) -> _Draft:
    """Freeze the count; `paused` wins over `keep-awake`."""
    if not draft.policy.paused:
        return draft
    count = draft.policy.paused_replicas
    if count is None or draft.seen.rival is not None:
        count = draft.seen.replicas
    return draft.say("pause", count, Reason.PAUSED, f"paused at {count}")


def _dry_run(draft: _Draft) -> _Draft:
    """Say what would be done, and do nothing."""
    if not draft.policy.dry_run or draft.replicas == draft.seen.replicas:
        return draft
    text = f"dry run: would go from {draft.seen.replicas} to {draft.replicas}"
    return draft.say("dry run", draft.seen.replicas, Reason.DRY_RUN, text)


STEPS: tuple[Callable[[_Draft], _Draft], ...] = (
    _follow_triggers,  # first what the work asks for
    _hold_while_unreadable,  # before any rule that may lower the count
    _fall_back,  # after the hold, which it ends; before whatever limits a count
    _smooth,  # it keeps the bounds itself, as an HPA does: the two after it then have nothing to say
    _cap_at_partitions,  # a min above the partitions is the user's word and wins in the next
    _bounds,
    _cooldown,  # after the bounds: it speaks only of going to idle
    _keep_awake,  # after the cooldown: it overrules it
    _hand_over,  # after everything that asks for a count
    _one_way_only,  # of the count that is ours to set; the HPA is told by its behavior
    _no_replica_ready,  # of the count that stays
    _rival,  # whoever else drives it, we do not
    _pause,  # paused wins over keep-awake
    _dry_run,  # last: it must know what would have been done
)


def _readable(draft: _Draft) -> bool:
    return all(lag.complete for lag in draft.seen.lags)


def _held(draft: _Draft) -> int:
    """Return the count below which no cap may go: what is there, where not all of the lag is known."""
    return 0 if _readable(draft) else draft.seen.replicas


def _look_again(draft: _Draft) -> datetime:
    """Say when to look again: by the polling interval, sooner where a step's answer changes by itself before that."""
    policy, seen, now = draft.policy, draft.seen, draft.now
    if draft.replicas != seen.replicas:
        wait = AFTER_A_CHANGE
    elif draft.memory.asleep_since is not None:
        # A group is Empty only once its consumers have left: looks that double in distance see it soon, and then a
        # record wakes without another read. The polling interval may be minutes.
        wait = min(policy.polling_interval, max(AFTER_A_CHANGE, now - draft.memory.asleep_since))
    elif seen.ready_replicas == 0:
        wait = min(policy.polling_interval, WHILE_WAKING)
    else:
        wait = min(policy.polling_interval, HPA_SYNC_PERIOD)
    if not _readable(draft):
        wait = min(wait, WHILE_UNREADABLE)
    ends = now + wait if draft.wake_at is None else min(now + wait, draft.wake_at)
    return max(ends, now + SOONEST)
