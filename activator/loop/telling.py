"""What is told of a look: one evaluation, the hold that it continues, the episode that it moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.episode import Episode, Progress, advance
from activator.core.model import Evaluation, Handover, Outcome
from activator.loop.target import LONGEST_HOLD, Hold

if TYPE_CHECKING:
    from datetime import datetime

    from activator.core.model import Push, TraceIds
    from activator.loop.acting import Act
    from activator.loop.target import Target
    from activator.loop.world import World

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


def begin_episode(world: World, target: Target, evaluation: Evaluation, push: Push | None) -> Evaluation:
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
        commits_before=target.commits(),
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
