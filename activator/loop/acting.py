"""The order of a wake, of a sleep, and of a move between 1 and N.

The order is what makes them safe.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from activator.core import naming
from activator.core.decide import decide
from activator.core.invariants import refused, violation
from activator.core.model import APPLIED_OK, Applied, IsolationLevel, Outcome
from activator.errors import ConflictError, UnavailableError, WakegateError
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
    unanswered: Scale | None = None
    """It failed for want of an answer, and may have been applied: the scale that its PATCH named."""


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
    return await _set(world, target, act, policy, lambda: target.asleep)


async def sleep(world: World, target: Target, act: Act, save: Callable[[Target, Scale], Awaitable[None]]) -> Act | None:
    """Put a target to idle, on evidence of one moment.

    1. the scale as it is, so that the PATCH hits what was looked at; the first time, whether offsets may be committed
    2. a fresh read: the one that led here may be a whole round trip old
    3. the tail joins at the end offsets of that very read: a record from here on is pushed
    4. what must outlive us is written, and where the groups stand by that very read is part of it
    5. the PATCH, with that uid and resourceVersion, while the lease has more left than it can take

    Returns:
        The act: applied, failed, or held where the fresh look says so; None where somebody else wrote in between, a
        record arrived, it was read once more, its policy is another by now, it is managed no more, or we do not lead
        (any more).
    """
    began = started = world.now()
    named: Scale | None = None
    try:
        scale = await world.scaler.get(target.ref)
        take_scale(target, scale)
        await guarding.check(world, target)
        links = await reading.read(world, reading.clusters_of(target), [target])
        await reading.probe_markers(world, target)
        told = replace(act.seen, pushed=None, push_is_proof=False)
        seen = replace(told, replicas=scale.replicas, lags=target.lags(), raised_at=target.raised_at)
        policy = target.policy
        decision, memory = decide(policy, target.memory, seen, world.now())
        target.decided()
        target.note_work(memory.last_active)  # whatever comes of it
        act = Act(Outcome.HELD, decision, memory, seen, links=links)
        if decision.replicas > target.idle or target.asleep:
            moved = not target.asleep and decision.replicas != scale.replicas
            return await change(world, target, act) if moved else act
        join_tail(world, target)
        await save(target, scale)
        # A count that somebody else has written meanwhile is another question, above all where it is the idle one.
        overtaken = target.workload.scale.replicas != scale.replicas or target.raised_at != seen.raised_at
        # A read that another look began meanwhile may have found records, or have failed.
        read_again = target.lags() != seen.lags
        outdated = (
            target.departed or target.policy is not policy or target.has_other_topics() or overtaken or read_again
        )
        gives_way = target.pushed is not None or outdated or not world.leads()
        broken = None if gives_way else _violation(world, target, act, began)
        if gives_way or broken is not None:
            leave_tail(world, target)
            return None if broken is None else _refused(world, act, broken)
        started, named = world.now(), scale
        take_scale(target, await world.scaler.set(target.ref, decision.replicas, scale), by_us=True)
    except WakegateError as error:
        if named is not None and is_unanswered(error):  # it may have been a yes: keep watching
            return failed(world, act, started, error, 1, unanswered=named)
        leave_tail(world, target)
        return None if isinstance(error, ConflictError) else failed(world, act, started, error, 1)
    act = replace(act, outcome=Outcome.APPLIED, applied=Applied(started, world.now(), APPLIED_OK))
    take_effect(target, act)
    return act


async def change(world: World, target: Target, act: Act) -> Act | None:
    """Move a target between its minimum and maximum, where no HPA does, or to the count it is paused at.

    The leader's alone.

    Returns:
        The act, applied or failed; None where somebody else has moved it meanwhile, its policy is another by now, or
        we do not lead any more: the decision was about something else.
    """
    replicas = target.workload.scale.replicas
    # A conflict is mostly a status that moved on: the count is what matters.
    return await _set(
        world, target, act, target.policy, lambda: world.leads() and target.workload.scale.replicas == replicas
    )


def take_effect(target: Target, act: Act) -> None:
    """Take note of a count that we have set."""
    target.asleep_by_us = target.asleep
    target.woken = target.woken or (act.seen.replicas <= target.idle and not target.asleep)


def take_scale(target: Target, scale: Scale, *, by_us: bool = False) -> None:
    """Believe a scale that was read or written just now; who wrote a count that was read, the catalog will tell."""
    known = target.workload.replicas_manager if scale.replicas == target.workload.scale.replicas else None
    manager = naming.FIELD_MANAGER if by_us else known
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


def has_unwatched_topic(target: Target) -> bool:
    """Tell whether a topic was found since the tail joined."""
    watched = {(cluster, topic) for cluster, (topic, _) in target.joined or ()}
    return any(
        (trigger.cluster, trigger.topic) not in watched and target.tracker(trigger).memory.partitions
        for trigger in target.policy.triggers
        if trigger.topics_of_group
    )


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

    def is_due() -> bool:
        return not target.departed and target.policy is policy and still_due()

    started = world.now()
    attempts = 0
    unanswered: Scale | None = None
    try:
        while is_due():
            unanswered = None  # it is still to be done: what had no answer was not applied
            if attempts == MOST_ATTEMPTS:
                raise fought_over(target.ref)
            if (broken := _violation(world, target, act, started)) is not None:
                return _refused(world, act, broken)
            attempts += 1
            named = target.workload.scale
            try:
                scale = await world.scaler.set(target.ref, act.decision.replicas, named)
            except WakegateError as error:
                unanswered = named if is_unanswered(error) else None
                if not isinstance(error, ConflictError):
                    raise
                take_scale(target, await world.scaler.get(target.ref))
                if unanswered is not None and not is_due():
                    raise  # perhaps because of this very PATCH: what became of it is yet to be told
            else:
                take_scale(target, scale, by_us=True)
                applied = Applied(started, world.now(), APPLIED_OK, attempts)
                act = replace(act, outcome=Outcome.APPLIED, applied=applied)
                take_effect(target, act)
                return act
    except WakegateError as error:
        return failed(world, act, started, error, attempts, unanswered=unanswered)
    return None


def _violation(world: World, target: Target, act: Act, since: datetime) -> str | None:
    """Return what forbids the PATCH of an act, by a second look at what it was decided on."""
    seen = replace(act.seen, replicas=target.workload.scale.replicas)
    return violation(target.policy, seen, act.decision.replicas, leads=world.leads(), since=since)


def _refused(world: World, act: Act, broken: str) -> Act:
    decision = refused(act.decision, act.seen, broken, world.now())
    return replace(act, outcome=Outcome.REFUSED, decision=decision)


def fought_over(ref: TargetRef) -> ConflictError:
    """Return what is raised where a change was sent `MOST_ATTEMPTS` times."""
    return ConflictError(f"{ref} was changed by somebody else {MOST_ATTEMPTS} times in a row")


def is_unanswered(error: WakegateError) -> bool:
    """Tell whether a PATCH that ended so may have been applied all the same."""
    if isinstance(error, ConflictError):
        return error.maybe_by_us
    return isinstance(error, UnavailableError) and error.maybe_done


def failed(
    world: World, act: Act, started: datetime, error: WakegateError, attempts: int, *, unanswered: Scale | None = None
) -> Act:
    """Return an act that was sent, and failed or had no answer."""
    retry_after = error.retry_after if isinstance(error, UnavailableError) else None
    applied = Applied(started, world.now(), str(error), attempts)
    return replace(act, outcome=Outcome.FAILED, applied=applied, retry_after=retry_after, unanswered=unanswered)
