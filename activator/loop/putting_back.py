"""A count that is put back: of a target that is managed no more, or that sleeps by our hand and gets a rival.

Where a PATCH had no answer, the next look at the scale tells whether it was applied (`unanswered.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from activator.core.model import APPLIED_OK, FOUND_APPLIED, Applied, OnRelease, Outcome, Reason, Step
from activator.errors import ConflictError, NotFoundError, WakegateError
from activator.loop import acting

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.model import Scale, ScaledObject, TargetRef
    from activator.loop.target import Target
    from activator.loop.world import World


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a count that was to be put back."""

    before: Scale
    after: Scale
    """The same where there was nothing to do."""
    status: str = APPLIED_OK


class LostAnswerError(WakegateError):
    """A PATCH had no answer, and what became of it is not known (yet).

    Args:
        error: what came instead, or what stood in the way of finding out.
        named: the scale that the PATCH named.
    """

    def __init__(self, error: WakegateError, named: Scale) -> None:
        super().__init__(str(error))
        self.error = error
        self.named = named


class NotDueError(WakegateError):
    """It is not to be put back any more, or not by this replica."""


async def release(
    world: World,
    ref: TargetRef,
    goal: int,
    *,
    is_due: Callable[[], bool],
    asleep_by_us: bool,
    on_release: OnRelease = OnRelease.AT_LEAST_ORIGINAL,
    scaled_object: ScaledObject | None = None,
    lost: Scale | None = None,
) -> PutBack | None:
    """Give a target back, its HPA removed.

    `on_release` says with how many replicas: no fewer than `goal`, unless somebody else put it to zero; exactly
    `goal`; or as many as there are. With `scaled_object` it stays ours, and comes back once its rival is gone.
    `is_due` is asked before each write: a call may take so long that the lease is another replica's by then.
    `lost` is what an earlier try's PATCH named, where that had no answer.

    Returns:
        What became of it; None where it does not exist any more.

    Raises:
        LostAnswerError: it may have been done; `named` is to be given to the next try.
        NotDueError: nothing was done since `is_due` was last asked.
        WakegateError: it could not be done just now.
    """
    try:
        _demand(is_due, ref)
        await world.handoff.remove(ref, scaled_object)
        for _ in range(acting.MOST_ATTEMPTS):
            before = await world.scaler.get(ref)
            if lost is not None and before.resource_version != lost.resource_version and before.replicas == goal:
                return PutBack(lost, before, FOUND_APPLIED)
            lost = None
            if is_given_back(before.replicas, goal, on_release, asleep_by_us=asleep_by_us):
                return PutBack(before, before)
            _demand(is_due, ref)
            try:
                return PutBack(before, await world.scaler.set(ref, goal, before))
            except WakegateError as error:
                lost = before if acting.is_unanswered(error) else None
                if not isinstance(error, ConflictError):
                    raise
        raise acting.fought_over(ref)
    except NotFoundError:
        return None
    except WakegateError as error:
        if lost is None:
            raise
        raise LostAnswerError(error, lost) from error


def _demand(is_due: Callable[[], bool], ref: TargetRef) -> None:
    if not is_due():
        raise NotDueError(f"{ref} is not to be put back by this replica any more")


def is_given_back(replicas: int, goal: int, on_release: OnRelease, *, asleep_by_us: bool) -> bool:
    """Tell whether a count is one that may be left behind."""
    match on_release:
        case OnRelease.KEEP:
            return True
        case OnRelease.ORIGINAL:
            return replicas == goal
        case OnRelease.AT_LEAST_ORIGINAL:
            return replicas >= goal or (replicas == 0 and not asleep_by_us)


async def step_aside(world: World, target: Target, act: acting.Act) -> acting.Act:
    """Leave a target to its rival; one that sleeps by our hand is put back first, by the leader.

    An HPA does not act at zero: left there by us, it would never be woken by anybody.

    Returns:
        The act: refused, or applied or failed where it had to be put back.
    """
    if not (target.asleep and target.asleep_by_us and world.leads()):
        return replace(act, outcome=Outcome.REFUSED)
    goal = max(target.original_replicas, target.policy.min_replicas)
    text = f"put back to {goal} first, because an HPA does not act at zero"
    steps = (*act.decision.steps, Step("rival", goal, Reason.RIVAL, text))
    putting_back = replace(act, decision=replace(act.decision, replicas=goal, steps=steps))
    started = world.now()
    try:
        made = await release(
            world,
            target.ref,
            goal,
            is_due=world.leads,
            asleep_by_us=True,
            scaled_object=target.policy.scaled_object,
        )
    except NotDueError:  # another replica leads by now
        return replace(act, outcome=Outcome.REFUSED)
    except LostAnswerError as lost:
        return acting.failed(world, putting_back, started, lost.error, 1, unanswered=lost.named)
    except WakegateError as error:
        return acting.failed(world, putting_back, started, error, 1)
    if made is None or made.before.replicas == made.after.replicas:
        target.asleep_by_us = False
        return replace(act, outcome=Outcome.REFUSED)
    acting.take_scale(target, made.after, by_us=True)
    acting.take_effect(target, act)
    applied = Applied(started, world.now(), made.status)
    return replace(putting_back, outcome=Outcome.APPLIED, applied=applied)
