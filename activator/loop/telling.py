"""What is told of a look: one evaluation, the hold that it continues, the episode that it moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.episode import Episode, Progress, advance
from activator.core.model import Evaluation, Handover, Outcome
from activator.loop.target import LONGEST_HOLD, Hold

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.model import Push, TraceIds
    from activator.loop.acting import Act
    from activator.loop.target import Target
    from activator.loop.world import World
    from activator.ports import TopicPartition

_HOLDS = frozenset({Outcome.HELD, Outcome.REFUSED})


def evaluate(world: World, target: Target, act: Act, links: tuple[TraceIds, ...], now: datetime) -> Evaluation:
    """Build the record of a look, and keep of it what the target's state shows."""
    hold = _continued_hold(world, target, act, now) if act.outcome in _HOLDS else None
    target.hold = hold
    previous = (target.last_applied,) if target.last_applied else ()
    evaluation = Evaluation(
        ref=target.ref,
        policy=target.policy,
        seen=act.seen,
        decision=act.decision,
        outcome=act.outcome,
        phase=target.phase,
        now=now,
        ids=hold.ids if hold else world.new_ids(None),
        links=(*links, *act.links, *previous),
        applied=act.applied,
        started=hold.started if hold else None,
        evaluations=hold.evaluations if hold else 1,
        episode_id=target.episode_id,
        late=max(now - target.due_at, timedelta(0)) if target.due_at is not None else timedelta(0),
    )
    target.note(evaluation)
    return evaluation


def tell(
    world: World,
    target: Target,
    act: Act,
    push: Push | None,
    links: tuple[TraceIds, ...],
    now: datetime,
    *,
    commits: Mapping[TopicPartition, int] | None = None,
) -> None:
    """Record a look, and begin the episode that an applied one may be.

    What only holds the leader tells, and so of a wake that failed: it sends its own. Any other PATCH that is known to
    have failed is told by who has sent it, also where that has lost the lease since.

    Args:
        world: the ports.
        target: whose look it was.
        act: what was decided, and what became of it.
        push: what brought it forward.
        links: the reads that it used.
        now: aware UTC, of the decision.
        commits: committed offsets at that time; None: it is now.
    """
    applied = act.outcome is Outcome.APPLIED
    evaluation = evaluate(world, target, act, links, now)
    if applied and target.asleep is not (act.seen.replicas <= target.idle):
        evaluation = _begin_episode(world, target, evaluation, push, target.commits() if commits is None else commits)
    has_failed = act.applied is not None and act.unanswered is None and act.seen.replicas > target.idle
    if applied or has_failed or world.leads():
        world.recorder.record(evaluation)


def _begin_episode(
    world: World, target: Target, evaluation: Evaluation, push: Push | None, commits: Mapping[TopicPartition, int]
) -> Evaluation:
    """Begin the wake or the sleep that an applied decision is; return the evaluation with the episode's id."""
    ids = world.new_ids(None)
    target.episode_id = ids.trace_id
    target.episode = Episode(
        kind="sleep" if target.asleep else "wake",
        episode_id=ids.trace_id,
        ids=ids,
        began_at=push.seen_at if push is not None else evaluation.now,
        changed_at=evaluation.applied.ended_at if evaluation.applied else evaluation.now,
        decision=evaluation.ids,
        commits_before=commits,
        done=("handoff",) if target.handoff is Handover.DIRECT else (),  # there is no HPA to wait for
    )
    return replace(evaluation, episode_id=ids.trace_id)


def follow_episode(world: World, target: Target, now: datetime) -> None:
    """Tell the stretches of an episode that have ended by now."""
    if target.episode is None:
        return
    progress = Progress(
        ready_replicas=target.workload.ready_replicas,
        handed_off=world.handoff.look(target.ref, target.policy.scaled_object).scaling_active is True,
        commits=target.commits(),
    )
    target.episode, phases = advance(target.ref, target.episode, progress, now, world.new_ids)
    for phase in phases:
        world.recorder.record(phase)


def _continued_hold(world: World, target: Target, act: Act, now: datetime) -> Hold:
    hold, decision = target.hold, act.decision
    if (
        hold is not None
        and (hold.outcome, hold.reason, hold.replicas) == (act.outcome, decision.reason, decision.replicas)
        and now - hold.started < LONGEST_HOLD
    ):
        hold.evaluations += 1
        return hold
    return Hold(world.new_ids(None), act.outcome, decision.reason, decision.replicas, now)
