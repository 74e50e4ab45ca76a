"""What follows a decision: its group's offsets, the HPA, and the Event that tells of a takeover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.model import Handover
from activator.errors import WakegateError
from activator.loop import guarding, notices

if TYPE_CHECKING:
    from datetime import datetime

    from activator.loop.acting import Act
    from activator.loop.target import Target
    from activator.loop.world import World


async def follow_up(world: World, target: Target, act: Act, now: datetime) -> None:
    """See to what follows a decision that was made at `now`: most of it is the leader's."""
    await guarding.restore(world, target)
    if target.to_renew:
        target.to_renew = False
        await guarding.renew(world, target)
    if target.departed or not world.leads():
        return
    for notice in notices.not_consumed(target, now):
        world.recorder.record(notice)
    # A changed policy waits for a reading under it, too; a pause, and a count for want of a reading, do not.
    complete = all(lag.complete for lag in target.lags())
    if complete or target.policy.paused or target.memory.fallback is not None:
        await _hand_over(world, target, act, now)


async def _hand_over(world: World, target: Target, act: Act, now: datetime) -> None:
    """See to it that the HPA is what policy and rivals leave of it, and say what will happen from now on."""
    scaled_object = target.policy.scaled_object
    try:
        if target.policy.paused or act.seen.rival is not None:
            await world.handoff.remove(target.ref, scaled_object)
        elif target.policy.dry_run:
            pass
        elif target.handoff is Handover.DIRECT:
            await world.handoff.remove(target.ref, scaled_object)
        elif target.handoff is Handover.HPA:
            uid, cap = target.workload.scale.uid, target.partition_cap()
            await world.handoff.ensure(target.ref, uid, target.policy, cap)
    except WakegateError as error:
        world.recorder.record(notices.handoff_failed(target.workload, error, now))
    if not target.announced:
        target.announced = True
        world.recorder.record(notices.taken_over(target, now))
