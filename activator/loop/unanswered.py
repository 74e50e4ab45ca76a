"""Acts whose PATCH had no answer: told as applied, or as failed, by the look that finds out.

The API server may have applied a PATCH and answered too late, with 504, or into a connection that was cut. Told as
failed, such a wake had no episode and no applied decision, and a target that slept by it was not known to sleep by our
hand. So the act is kept with its target until the scale tells: by its resourceVersion, its count and its field manager.

Two replicas of wakegate write under one name. Where the PATCHes of both were on their way at once and neither was told
of its own, the one that leads counts it: a wake has one episode. Only a leader puts to sleep, so that a sleep is its
sender's also where that has lost the lease since, such as in a stall, unless another was seen to hold it in between.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core import naming
from activator.core.model import FOUND_APPLIED, Outcome
from activator.errors import UnavailableError, WakegateError
from activator.loop import acting, telling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.model import Push, Scale, TraceIds
    from activator.loop.target import Target
    from activator.loop.world import World
    from activator.ports import TopicPartition

CLEARED_UP_WITHIN = timedelta(minutes=5)
"""An act of which nothing could be found out for so long is given up: the leader tells it as failed."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An act that may have been applied."""

    act: acting.Act
    named: Scale
    """The scale that its PATCH named: as long as it is there, nothing was applied."""
    push: Push | None
    links: tuple[TraceIds, ...]
    at: datetime
    """When it was decided."""
    commits: Mapping[TopicPartition, int]
    """Committed offsets at that time: the first commit after it is one that has moved past."""

    def is_same(self, other: Unanswered) -> bool:
        """Tell whether another one asked for the same count of the same scale."""
        asked = self.act.decision.replicas == other.act.decision.replicas
        return asked and self.named.resource_version == other.named.resource_version


class _Found(enum.Enum):
    """What the scale tells of an act."""

    APPLIED = enum.auto()
    FAILED = enum.auto()
    """It is as the PATCH named it."""
    OVERWRITTEN = enum.auto()
    """It was written since, and has another count, or another hand's: whether by way of what was asked for, nobody can
    tell."""
    UNKNOWN = enum.auto()
    """It cannot be read, or another replica may have been the one."""


def keep(world: World, target: Target, unanswered: Unanswered) -> None:
    """Keep an act until a look has found out what became of it.

    The same act sent again names the same scale, so that one of both has failed: the first began what they ask for.
    """
    before = target.unanswered
    if before is not None and before.is_same(unanswered):
        _tell(world, target, unanswered)
        return
    give_up(world, target)
    target.unanswered = unanswered


def give_up(world: World, target: Target) -> None:
    """Tell an act that is still kept as failed: something else has been done, or the target is managed no more."""
    lost, target.unanswered = target.unanswered, None
    if lost is not None:
        _tell(world, target, lost)


def supersede(world: World, target: Target, act: acting.Act) -> acting.Act:
    """Return an act that was applied, with how often it was sent before without an answer; another act has failed."""
    lost = target.unanswered
    if lost is None or lost.act.decision.replicas != act.decision.replicas:
        give_up(world, target)
        return act
    target.unanswered = None
    if act.applied is None or lost.act.applied is None:
        return act
    attempts = lost.act.applied.attempts + act.applied.attempts
    return replace(act, applied=replace(act.applied, attempts=attempts))


async def settle(world: World, target: Target) -> bool:
    """Find out what became of an unanswered act, and tell it; what cannot be found out yet has another look.

    Returns:
        Whether it is known now that it was applied.
    """
    lost = target.unanswered
    if lost is None:
        return False
    found = await _look(world, target, lost)
    if target.unanswered is not lost:  # managed no more
        return False
    if found is _Found.UNKNOWN and world.now() - lost.at < CLEARED_UP_WITHIN:
        return False
    if found is _Found.FAILED:
        target.unanswered = replace(lost, act=replace(lost.act, unanswered=None))
    if found is not _Found.APPLIED or lost.act.applied is None:
        give_up(world, target)
        return False
    target.unanswered = None
    act = replace(lost.act, outcome=Outcome.APPLIED, applied=replace(lost.act.applied, status=FOUND_APPLIED))
    acting.take_effect(target, act)
    target.memory = replace(target.memory, replicas=act.decision.replicas)
    telling.tell(world, target, act, lost.push, lost.links, lost.at, commits=lost.commits)
    return True


def _tell(world: World, target: Target, failed: Unanswered) -> None:
    telling.tell(world, target, failed.act, failed.push, failed.links, failed.at)


async def _look(world: World, target: Target, lost: Unanswered) -> _Found:
    """Tell by the scale as it is what became of an act."""
    if target.workload.scale.resource_version == lost.named.resource_version:  # no watch has told of a change
        try:
            acting.take_scale(target, await world.scaler.get(target.ref))
        except UnavailableError:
            return _Found.UNKNOWN
        except WakegateError:
            return _Found.OVERWRITTEN
    scale, manager = target.workload.scale, target.workload.replicas_manager
    if scale.resource_version == lost.named.resource_version:
        return _Found.FAILED
    if scale.replicas != lost.act.decision.replicas or manager not in {naming.FIELD_MANAGER, None}:
        return _Found.OVERWRITTEN
    return _Found.APPLIED if world.leads() or _is_nobody_elses(world, target, lost) else _Found.UNKNOWN


def _is_nobody_elses(world: World, target: Target, lost: Unanswered) -> bool:
    """Tell whether no other replica can have made what an act asked for, as far as is known of the lease."""
    others = world.leadership.others_led_until()
    return lost.act.seen.replicas > target.idle and (others is None or others <= lost.at)
