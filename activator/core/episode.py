"""Episodes: a wake from its record to the first commit after it, a sleep from its PATCH to the last replica's end.

Each stretch of an episode is told when its end is seen, counted from the PATCH, so that its duration answers a
question by itself: how long until a replica was ready, until the HPA had taken over, until the first commit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.model import EpisodePhase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from activator.core.model import TargetRef, TraceIds

LONGEST = timedelta(minutes=10)
"""An episode that has not ended by then is closed with what is missing."""

STRETCHES: dict[str, tuple[str, ...]] = {
    "wake": ("ready", "handoff", "first_commit"),
    "sleep": ("stopped",),
}
"""The stretches of each kind; the last one ends the episode."""


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode that has not ended yet."""

    kind: str
    episode_id: str
    ids: TraceIds
    """Of the span of the whole."""
    began_at: datetime
    """When the record was seen, or the sleep was decided."""
    changed_at: datetime
    """When the PATCH was answered."""
    decision: TraceIds
    commits_before: Mapping[tuple[str, int], int]
    """Committed offsets at the wake: one that has moved past is the first commit."""
    done: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """What is seen of a target while an episode is open."""

    ready_replicas: int
    handed_off: bool
    """The HPA says that it scales this target (condition ScalingActive)."""
    commits: Mapping[tuple[str, int], int]


def advance(
    ref: TargetRef, episode: Episode, seen: Progress, now: datetime, new_ids: Callable[[str], TraceIds]
) -> tuple[Episode | None, tuple[EpisodePhase, ...]]:
    """Follow an episode by one look.

    Args:
        ref: the target.
        episode: as the look before left it.
        seen: what there is now.
        now: aware UTC.
        new_ids: makes the ids of a span in the trace whose id it is given.

    Returns:
        The episode as it goes on (None: it has ended), and the stretches that ended with this look.
    """
    reached = {
        "ready": seen.ready_replicas > 0,
        "handoff": seen.handed_off,
        "first_commit": any(
            offset > episode.commits_before.get(partition, -1) for partition, offset in seen.commits.items()
        ),
        "stopped": seen.ready_replicas == 0,
    }
    stretches = STRETCHES[episode.kind]
    ended = tuple(name for name in stretches if name not in episode.done and reached[name])
    episode = replace(episode, done=episode.done + ended)
    told = [
        EpisodePhase(
            ref=ref,
            episode=episode.kind,
            name=name,
            episode_id=episode.episode_id,
            ids=new_ids(episode.ids.trace_id),
            started_at=episode.changed_at,
            ended_at=max(now, episode.changed_at),
            parent=episode.ids,
        )
        for name in ended
    ]
    if stretches[-1] not in episode.done and now - episode.changed_at < LONGEST:
        return episode, tuple(told)
    told.append(whole(ref, episode, now))
    return None, tuple(told)


def whole(ref: TargetRef, episode: Episode, now: datetime) -> EpisodePhase:
    """Close an episode at `now`, with what had not been seen of it."""
    return EpisodePhase(
        ref=ref,
        episode=episode.kind,
        name="",
        episode_id=episode.episode_id,
        ids=episode.ids,
        started_at=episode.began_at,
        ended_at=max(now, episode.began_at),
        link=episode.decision,
        missing=tuple(name for name in STRETCHES[episode.kind] if name not in episode.done),
    )
