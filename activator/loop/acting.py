"""The order of a wake, of a sleep, of a move between 1 and N, and of a target's release.

The order is what makes them safe.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from activator.core import naming
from activator.core.decide import decide
from activator.core.invariants import refused, violation
from activator.core.model import Applied, IsolationLevel, OnRelease, Outcome, Reason, Step
from activator.errors import ConflictError, NotFoundError, UnavailableError, WakegateError
from activator.loop import guarding, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from activator.core.model import (
        Cluster,
        Decision,
        Memory,
        Observation,
        Policy,
        Scale,
        ScaledObject,
        TargetRef,
        TraceIds,
    )
    from activator.loop.target import Target
    from activator.loop.world import World
    from activator.ports import TopicPartition

NON_LEADER_DELAY_SECONDS = 0.25
"""A replica that does not lead lets the leader wake first, and wakes itself where the leader has not."""
MOST_ATTEMPTS = 4
"""How often one change is sent where somebody else writes in between."""


@dataclass(frozen=True, slots=True)
class Act:
    """One decision and what became of it."""

    outcome: Outcome
    decision: Decision
    memory: Memory
    seen: Observation
    applied: Applied | None = None
    retry_after: timedelta | None = None
    """How long the dependency that failed asked us to wait."""
    links: tuple[TraceIds, ...] = ()
    """Batch reads made on the way."""


async def wake(world: World, target: Target, act: Act) -> Act | None:
    """Bring a target from idle to the decided count: publish what woke it, then PATCH.

    Where its group still lacks offsets it would skip what woke it: those are waited for, five seconds at most.

    No lease is needed: the PATCH names the resourceVersion that was read, so of several replicas one succeeds, and
    whoever comes second gets a conflict, rereads, and is done.

    Returns:
        The act, applied or failed; None where somebody else had woken it already, or its policy is another by now.
    """
    policy = target.policy
    world.metrics.publish(target.ref, list(target.samples(world.now(), at_least=1)))
    if not world.leads():
        await asyncio.sleep(NON_LEADER_DELAY_SECONDS)
        if not target.asleep:
            return None
    if not await guarding.before_a_wake(world, target):
        return None
    woken = await _set(world, target, act, policy, lambda: target.asleep)
    if woken is not None and woken.outcome is Outcome.APPLIED:
        target.asleep_by_us, target.woken = False, True
    return woken


async def sleep(world: World, target: Target, act: Act, save: Callable[[Target, Scale], Awaitable[None]]) -> Act | None:
    """Put a target to idle, on evidence of one moment.

    1. the scale as it is, so that the PATCH hits what was looked at; the first time, whether offsets may be committed
    2. a fresh read: the one that led here may be a whole round trip old
    3. the tail joins at the end offsets of that very read: a record from here on is pushed
    4. what must outlive us is written, and where the groups stand by that very read is part of it
    5. the PATCH, with that uid and resourceVersion, while the lease has more left than it can take

    Returns:
        The act: applied, failed, or held where the fresh look says so; None where somebody else wrote in between, a
        record arrived, its policy is another by now, it is managed no more, or we do not lead (any more).
    """
    began = started = world.now()
    try:
        scale = await world.scaler.get(target.ref)
        take_scale(target, scale)
        await guarding.check(world, target)
        links = await reading.read(world, reading.clusters_of(target), [target])
        await reading.probe_markers(world, target)
        seen = replace(act.seen, replicas=scale.replicas, lags=target.lags(), pushed=None, push_is_proof=False)
        policy = target.policy
        decision, memory = decide(policy, target.memory, seen, world.now())
        act = Act(Outcome.HELD, decision, memory, seen, links=links)
        if decision.replicas > target.idle or target.asleep:
            moved = not target.asleep and decision.replicas != scale.replicas
            return await change(world, target, act) if moved else act
        join_tail(world, target)
        await save(target, scale)
        # A count that somebody else has written meanwhile is another question, above all where it is the idle one.
        overtaken = target.workload.scale.replicas != scale.replicas
        outdated = target.departed or target.policy is not policy or overtaken
        gives_way = target.pushed is not None or outdated or not world.leads()
        broken = None if gives_way else _violation(world, target, act, began)
        if gives_way or broken is not None:
            leave_tail(world, target)
            return None if broken is None else _refused(world, act, broken)
        started = world.now()
        take_scale(target, await world.scaler.set(target.ref, decision.replicas, scale), by_us=True)
    except ConflictError:
        leave_tail(world, target)
        return None
    except UnavailableError as error:  # an answer that was lost may have been a yes: keep watching
        return _failed(world, act, started, error, 1)
    except WakegateError as error:
        leave_tail(world, target)
        return _failed(world, act, started, error, 1)
    target.asleep_by_us = True
    return replace(act, outcome=Outcome.APPLIED, applied=Applied(started, world.now(), "ok"))


async def change(world: World, target: Target, act: Act) -> Act | None:
    """Move a target between its minimum and maximum, where no HPA does, or to the count it is paused at.

    The leader's alone.

    Returns:
        The act, applied or failed; None where somebody else has moved it meanwhile, its policy is another by now, or
        we do not lead any more: the decision was about something else.
    """
    replicas = target.workload.scale.replicas
    # A conflict is mostly a status that moved on: the count is what matters.
    moved = await _set(
        world, target, act, target.policy, lambda: world.leads() and target.workload.scale.replicas == replicas
    )
    if moved is not None and moved.outcome is Outcome.APPLIED:
        target.asleep_by_us = target.asleep
    return moved


async def release(
    world: World,
    ref: TargetRef,
    goal: int,
    *,
    asleep_by_us: bool,
    on_release: OnRelease = OnRelease.AT_LEAST_ORIGINAL,
    scaled_object: ScaledObject | None = None,
) -> tuple[Scale, Scale] | None:
    """Give a target back, its HPA removed.

    `on_release` says with how many replicas: no fewer than `goal`, unless somebody else put it to zero; exactly
    `goal`; or as many as there are. With `scaled_object` it stays ours, and comes back once its rival is gone.

    Returns:
        Its scale before and after; None where it does not exist any more.

    Raises:
        WakegateError: it could not be done just now.
    """
    await world.handoff.remove(ref, scaled_object)
    for _ in range(MOST_ATTEMPTS):
        try:
            before = await world.scaler.get(ref)
            if _is_given_back(before.replicas, goal, on_release, asleep_by_us=asleep_by_us):
                return before, before
            return before, await world.scaler.set(ref, goal, before)
        except ConflictError:
            continue
        except NotFoundError:
            return None
    raise _fought_over(ref)


def _is_given_back(replicas: int, goal: int, on_release: OnRelease, *, asleep_by_us: bool) -> bool:
    match on_release:
        case OnRelease.KEEP:
            return True
        case OnRelease.ORIGINAL:
            return replicas == goal
        case OnRelease.AT_LEAST_ORIGINAL:
            return replicas >= goal or (replicas == 0 and not asleep_by_us)


async def step_aside(world: World, target: Target, act: Act) -> Act:
    """Leave a target to its rival; one that sleeps by our hand is put back first, by the leader.

    An HPA does not act at zero: left there by us, it would never be woken by anybody.

    Returns:
        The act: refused, or applied or failed where it had to be put back.
    """
    if not (target.asleep and target.asleep_by_us and world.leads()):
        return replace(act, outcome=Outcome.REFUSED)
    goal = max(target.original_replicas, target.policy.min_replicas)
    started = world.now()
    try:
        scales = await release(world, target.ref, goal, asleep_by_us=True, scaled_object=target.policy.scaled_object)
    except WakegateError as error:
        return _failed(world, act, started, error, 1)
    target.asleep_by_us = False
    if scales is None or scales[0].replicas == scales[1].replicas:
        return replace(act, outcome=Outcome.REFUSED)
    take_scale(target, scales[1], by_us=True)
    text = f"put back to {goal} first, because an HPA does not act at zero"
    steps = (*act.decision.steps, Step("rival", goal, Reason.RIVAL, text))
    decision = replace(act.decision, replicas=goal, steps=steps)
    return replace(act, outcome=Outcome.APPLIED, decision=decision, applied=Applied(started, world.now(), "ok"))


def take_scale(target: Target, scale: Scale, *, by_us: bool = False) -> None:
    """Believe a scale that was read or written just now."""
    manager = naming.FIELD_MANAGER if by_us else target.workload.replicas_manager
    ready = min(target.workload.ready_replicas, scale.replicas)
    target.workload = replace(target.workload, scale=scale, replicas_manager=manager, ready_replicas=ready)


def join_tail(world: World, target: Target) -> None:
    """Watch a target's partitions from the end offsets of its last reading."""
    joined: dict[tuple[Cluster, TopicPartition], int] = {}
    for cluster in reading.clusters_of(target):
        positions: dict[TopicPartition, int] = {}
        triggers = [trigger for trigger in target.policy.triggers if trigger.cluster == cluster]
        for trigger in triggers:
            for place, known in target.tracker(trigger).memory.partitions.items():
                positions[place] = min(known.end, positions.get(place, known.end))
        # With one trigger reading uncommitted records among them, a record counts once it is in the log.
        committed_only = all(trigger.isolation is IsolationLevel.READ_COMMITTED for trigger in triggers)
        isolation = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
        world.wakes.join(target.ref, cluster, positions, isolation)
        joined |= {(cluster, place): offset for place, offset in positions.items()}
    target.joined = joined


def has_recreated_topic(target: Target) -> bool:
    """Tell whether the tail joined a log that was longer than the one that is there: offsets of both do not compare."""
    if target.joined is None:
        return False
    ends = {
        (trigger.cluster, place): known.end
        for trigger in target.policy.triggers
        for place, known in target.tracker(trigger).memory.partitions.items()
    }
    return any(offset > ends.get(where, offset) for where, offset in target.joined.items())


def leave_tail(world: World, target: Target) -> None:
    """Stop watching."""
    if target.joined is not None:
        world.wakes.leave(target.ref)
        target.joined = None


async def _set(world: World, target: Target, act: Act, policy: Policy, still_due: Callable[[], bool]) -> Act | None:
    """Set the decided count, again where somebody else wrote in between; None: it is not due any more."""
    started = world.now()
    attempts = 0
    try:
        while not target.departed and target.policy is policy and still_due():
            if attempts == MOST_ATTEMPTS:
                raise _fought_over(target.ref)
            if (broken := _violation(world, target, act, started)) is not None:
                return _refused(world, act, broken)
            attempts += 1
            try:
                scale = await world.scaler.set(target.ref, act.decision.replicas, target.workload.scale)
            except ConflictError:
                take_scale(target, await world.scaler.get(target.ref))
            else:
                take_scale(target, scale, by_us=True)
                return replace(act, outcome=Outcome.APPLIED, applied=Applied(started, world.now(), "ok", attempts))
    except WakegateError as error:
        return _failed(world, act, started, error, attempts)
    return None


def _violation(world: World, target: Target, act: Act, since: datetime) -> str | None:
    """Return what forbids the PATCH of an act, by a second look at what it was decided on."""
    seen = replace(act.seen, replicas=target.workload.scale.replicas)
    return violation(target.policy, seen, act.decision.replicas, leads=world.leads(), since=since)


def _refused(world: World, act: Act, broken: str) -> Act:
    decision = refused(act.decision, act.seen, broken, world.now())
    return replace(act, outcome=Outcome.REFUSED, decision=decision)


def _fought_over(ref: TargetRef) -> ConflictError:
    return ConflictError(f"{ref} was changed by somebody else {MOST_ATTEMPTS} times in a row")


def _failed(world: World, act: Act, started: datetime, error: WakegateError, attempts: int) -> Act:
    retry_after = error.retry_after if isinstance(error, UnavailableError) else None
    applied = Applied(started, world.now(), str(error), attempts)
    return replace(act, outcome=Outcome.FAILED, applied=applied, retry_after=retry_after)
