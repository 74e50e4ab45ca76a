"""The beginning of a target's management: from nothing, or from what outlived the last process or leader."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core import naming
from activator.core.model import Memory, Phase, TargetState
from activator.loop.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.model import Policy
    from activator.ports import ManagedWorkload


def take_over(
    managed: ManagedWorkload,
    policy: Policy,
    annotations: Mapping[str, str],
    kept: TargetState | None,
    now: datetime,
) -> Target:
    """Begin to manage a workload.

    Args:
        managed: as the catalog delivered it.
        policy: the one to put in force: its own, or the last valid one.
        annotations: those of `policy`.
        kept: what outlived the last process; None: nothing, so a fresh cooldown begins.
        now: aware UTC.
    """
    workload = managed.workload
    target = Target(
        workload=workload,
        policy=policy,
        annotations=annotations,
        memory=Memory(taken_over_at=now),
        original_replicas=workload.scale.replicas if managed.original_replicas is None else managed.original_replicas,
        problems=managed.problems,
    )
    # Without anything kept, the field manager still tells by whose hand it is at idle.
    target.asleep_by_us = target.asleep and workload.replicas_manager == naming.FIELD_MANAGER
    if kept is not None:
        adopt_state(target, kept, now)
    return target


def adopt_state(target: Target, kept: TargetState, now: datetime) -> None:
    """Take from what was kept all that cannot be seen by looking.

    The clock may have been stepped back since it was written: no moment lies in the future, or a target could not
    sleep until then.
    """
    active = [moment for moment in (kept.last_active, target.memory.last_active) if moment is not None]
    if not target.asleep and (kept.asleep_by_us or kept.replicas <= target.idle):
        # Woken since that was written, by a process that was killed right then: its consumers may have read everything
        # before we could see any lag, and would be sent to sleep at once by a cooldown that ended long ago.
        active.append(now)
    target.memory = replace(
        target.memory,
        taken_over_at=min(kept.taken_over_at, target.memory.taken_over_at, now),
        last_active=min(max(active), now) if active else None,
    )
    if target.raised_at is not None:
        target.raised_at = min(target.raised_at, now)
    if kept.original_replicas is not None:
        target.original_replicas = kept.original_replicas
    if not target.asleep and _was_woken(target, kept):
        # Its first process may still be starting: what its groups lack can be committed until that has joined. It does
        # not wait for the lease, which is the dead one's for longer than a consumer takes to start (seed 8296).
        target.woken = target.to_renew = True
    target.asleep_by_us = target.asleep and (target.asleep_by_us or kept.asleep_by_us)
    target.take_kept(kept.kept)
    target.handoff = target.handoff or kept.handoff
    target.episode_id = target.episode_id or kept.episode_id
    target.announced = True
    target.reason, target.message, target.since = kept.reason, kept.message, min(kept.since, now)


def _was_woken(target: Target, kept: TargetState) -> bool:
    """Tell whether an awake target was at idle when its state was written, or had not come up since.

    Without a ready replica it may also be one that is rolled out, or crashes, and has not slept. Of such a group that
    never commits nothing may be committed: it would begin there for ever after.
    """
    is_starting = kept.phase is Phase.WAKING and not any(offsets.pinned for offsets in kept.kept.values())
    return kept.replicas <= target.idle or is_starting


def invalid_state(managed: ManagedWorkload, now: datetime) -> TargetState:
    """Return the state of a workload whose configuration has never been valid: marked, and not managed."""
    problems = tuple(str(problem) for problem in managed.problems)
    return TargetState(
        phase=Phase.INVALID,
        replicas=managed.workload.scale.replicas,
        reason="invalid-configuration",
        message=f"{problems[0]}; it is not managed until this is corrected",
        since=now,
        taken_over_at=now,
        problems=problems,
    )
