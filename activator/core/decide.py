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

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from activator.core.model import Decision, GroupState, Lag, Memory, Observation, Phase, Policy, Trigger
from activator.core.steps import asking, limiting, restraining
from activator.core.steps.draft import Draft, readable

if TYPE_CHECKING:
    from collections.abc import Callable

HPA_SYNC_PERIOD = timedelta(seconds=15)
"""How often a stock HPA controller looks (``--horizontal-pod-autoscaler-sync-period``): readings must keep up."""
AFTER_A_CHANGE = timedelta(seconds=1)
"""How soon a change of our own is looked at again."""
WHILE_WAKING = timedelta(seconds=5)
WHILE_UNREADABLE = timedelta(seconds=5)
"""A source that comes back is noticed within seconds, whatever the polling interval is."""
SOONEST = timedelta(milliseconds=100)
"""No decision asks for a look sooner than this, so that no mistake turns into a busy loop."""


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
    draft = Draft(policy=policy, seen=seen, memory=memory, now=now, replicas=0)
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


def _note_foreign_hand(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Begin a new cooldown where somebody else raised the count.

    The HPA may undo a sleep by a conflict that it retries with a stale count, people scale by hand, GitOps tools
    write `replicas` back, another replica of wakegate has seen lag where this one sees none. Going back to zero at once
    would make it a fight; one cooldown gives the other side its say. What this process raised stands in its memory.
    (A count that the HPA lowers says nothing: with each of its steps the cooldown would begin again.)

    An HPA that raises it and lowers it again while a look is under way leaves the count of the look before.
    """
    if memory.replicas is not None and seen.replicas > memory.replicas:
        return replace(memory, last_active=now)
    if seen.raised_at is not None and (memory.last_active is None or memory.last_active < seen.raised_at):
        return replace(memory, last_active=seen.raised_at)
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


STEPS: tuple[Callable[[Draft], Draft], ...] = (
    asking.follow_triggers,  # first what the work asks for
    asking.hold_while_unreadable,  # before any rule that may lower the count
    asking.fall_back,  # after the hold, which it ends; before whatever limits a count
    limiting.smooth,  # it keeps the bounds itself, as an HPA does: the two after it then have nothing to say
    limiting.cap_at_partitions,  # a min above the partitions is the user's word and wins in the next
    limiting.bounds,
    restraining.cooldown,  # after the bounds: it speaks only of going to idle
    restraining.keep_awake,  # after the cooldown: it overrules it
    restraining.hand_over,  # after everything that asks for a count
    restraining.one_way_only,  # of the count that is ours to set; the HPA is told by its behavior
    restraining.no_replica_ready,  # of the count that stays
    restraining.rival,  # whoever else drives it, we do not
    restraining.pause,  # paused wins over keep-awake
    restraining.dry_run,  # last: it must know what would have been done
)


def _look_again(draft: Draft) -> datetime:
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
    if not readable(draft):
        wait = min(wait, WHILE_UNREADABLE)
    ends = now + wait if draft.wake_at is None else min(now + wait, draft.wake_at)
    return max(ends, now + SOONEST)
