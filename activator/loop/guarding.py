"""The offsets guard: what Kafka forgets of a sleeping group, or never had, is committed for it before it wakes.

- Looks carry on where each group stands (`core.kept_offsets`), and it is written down before a sleep (`keeping`).
- A look at a sleeper that finds a commit missing commits it, once the group has no members any more. That is the
  leader's, and outside any wake: the next record finds nothing left to do. Of a target that was woken it is any
  replica's: who has woken it may be gone, and its first process asks before the lease is free.
- What the group of a sleeper has is committed once more, with a retention of its own, so that it does not expire before
  a wake either (`prolonging`).
- A wake that comes before that waits for it, five seconds at most. Where nothing is missing it asks nobody anything.
- Right after a wake, what the group has is committed once more: what expires between two looks while the first process
  starts would be missing when it asks, and nobody may commit for a group that has a member by then.
- Before the first sleep it is found out whether we may commit at all: without the permission a group that never
  committed is kept awake, as with the guard off.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.kept_offsets import missing_commits
from activator.core.model import OffsetGuard
from activator.errors import ConflictError, DeniedError, NotFoundError, UnavailableError
from activator.loop import notices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from activator.core.kept_offsets import MissingCommit
    from activator.core.model import Notice, Trigger
    from activator.loop.target import Target
    from activator.loop.tracker import Tracker
    from activator.loop.world import World
    from activator.ports import GroupOffsets

BEFORE_A_WAKE_SECONDS = 5.0
"""The longest that a wake waits for offsets to be committed."""
RETRY_SECONDS = 0.1
CHECKED_AGAIN_AFTER = timedelta(minutes=5)
"""A permission that was missing may have been granted by then."""

_log = logging.getLogger(__name__)


def is_guarded(world: World, target: Target) -> bool:
    """Tell whether what is kept of a target's groups will be committed where it is missing."""
    if _mode(world, target) is not OffsetGuard.ON:
        return False
    denied_at = target.guard.denied_at
    return denied_at is None or world.now() - denied_at >= CHECKED_AGAIN_AFTER


def may_lack_what_was_kept(world: World, target: Target) -> bool:
    """Tell whether its groups may stand where only what was kept would tell, and that could not be read yet.

    By a commit on every partition Kafka itself tells where they stand.
    """
    if not target.lacks_kept or not is_guarded(world, target):
        return False
    readings = [target.tracker(trigger).offsets for trigger in target.policy.triggers]
    return any(
        reading is None or any(partition.committed is None for partition in reading.partitions) for reading in readings
    )


async def check(world: World, target: Target) -> None:
    """Find out, once, whether we may commit for a target's groups. Raises UnavailableError."""
    if world.group_offsets is None or target.guard.allowed or not is_guarded(world, target):
        return
    try:
        for trigger in target.policy.triggers:
            await world.group_offsets.check(trigger.cluster, trigger.group, trigger.topic)
    except DeniedError as error:
        _denied(world, target, error)
    else:
        target.guard.allowed, target.guard.denied_at = True, None


async def restore(world: World, target: Target) -> None:
    """Commit what the groups of a target lack, where they have no members; what fails has another look.

    The leader's, and of a target that was woken any replica's. But where a group that never committed is to begin, who
    does not lead may not know: another has pinned it.
    """
    leads = world.leads()
    if not (target.woken or (leads and target.asleep)):
        return
    for trigger, lacking in _missing(target):
        missing = lacking if leads else tuple(entry for entry in lacking if not entry.pinned)
        if not missing or not target.tracker(trigger).has_no_members:
            continue
        if _mode(world, target) is OffsetGuard.OBSERVE:
            if leads:
                _tell_once(world, target, notices.would_commit(target, trigger, missing, world.now()))
        elif is_guarded(world, target):
            try:
                await _commit(world, target, trigger, missing)
            except (ConflictError, NotFoundError) as error:  # it has members by now, or the topic is another one
                _log.info("offsets of %s were not committed, the next look tries again: %s", target.ref, error)
            except DeniedError as error:
                _denied(world, target, error)
            except UnavailableError as error:
                _log.warning("offsets of %s could not be committed, the next look tries again: %s", target.ref, error)


async def before_a_wake(world: World, target: Target) -> bool:
    """Wait until what a waking target's groups lack is committed, five seconds at most; mostly nothing is lacking.

    Returns:
        Whether to wake it: somebody else may have woken it meanwhile, or what its groups lack may be kept where it
        cannot be read yet.
    """
    if may_lack_what_was_kept(world, target):
        _tell_once(world, target, notices.not_woken_yet(target, world.now()))
        return False
    if not is_guarded(world, target) or not any(_missing(target)):
        return True
    why = "it still had members"
    try:
        async with asyncio.timeout(BEFORE_A_WAKE_SECONDS):
            while target.asleep and (lacking := next(_missing(target), None)) is not None:
                try:
                    if world.leads():  # else the leader does it, and wakes it
                        await _commit(world, target, *lacking)
                        continue
                except DeniedError as error:
                    _denied(world, target, error)
                    break
                except (ConflictError, NotFoundError, UnavailableError) as error:
                    why = str(error)
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError:
        world.recorder.record(notices.woken_without_offsets(target, why, world.now()))
    return target.asleep


def to_prolong(world: World, target: Target) -> Iterator[Trigger]:
    """Yield the triggers of a sleeper whose group has commits, and lacks none, that Kafka may forget while it sleeps.

    What is missing is `restore`'s, which tells of it.
    """
    asleep_since = target.memory.asleep_since
    if asleep_since is None or not target.asleep or target.departed or not world.leads():
        return
    if not is_guarded(world, target):
        return
    now = world.now()
    expiring = [found for found in target.policy.triggers if target.tracker(found).may_expire(now, asleep_since)]
    if expiring:  # seldom
        lacking = {trigger for trigger, _ in _missing(target)}
        yield from (trigger for trigger in expiring if trigger not in lacking)


async def prolong(world: World, target: Target) -> None:
    """Have the commits of a sleeper outlast its sleep; what fails is tried again by a look of a minute later."""
    for trigger in list(to_prolong(world, target)):
        if trigger not in to_prolong(world, target):  # while the one before was committed, much may have changed
            continue
        tracker = target.tracker(trigger)
        tracker.prolonged_at = now = world.now()  # also where a look ends it: a slow broker is not asked at each
        try:
            await check(world, target)
            if target.guard.allowed and world.background_offsets is not None:
                tracker.was_prolonged(await _commit_again(world.background_offsets, tracker, trigger), now)
        except (ConflictError, DeniedError, NotFoundError, UnavailableError) as error:
            # A permission that has been taken away, or a login while credentials change: the next check tells which.
            target.guard.allowed = target.guard.allowed and not isinstance(error, DeniedError)
            _log.info("offsets of %s were not prolonged: %s", target.ref, error)


async def renew(world: World, target: Target) -> None:
    """Have the commits of a target that was woken just now outlast the start of its first process."""
    if world.group_offsets is None or not is_guarded(world, target):
        return
    for trigger in target.policy.triggers:
        tracker = target.tracker(trigger)
        if not tracker.has_no_members:
            continue
        try:
            tracker.was_committed(trigger, await _commit_again(world.group_offsets, tracker, trigger))
        except DeniedError as error:
            _denied(world, target, error)
        except (ConflictError, NotFoundError, UnavailableError) as error:
            _log.info("offsets of %s were not committed again after its wake: %s", target.ref, error)


async def _commit_again(offsets: GroupOffsets, tracker: Tracker, trigger: Trigger) -> Mapping[int, int]:
    """Commit once more what a group has, or had, and return that. Raises as `GroupOffsets.commit_again` does."""
    kept = tracker.memory.kept
    stand = {number: offset for number, offset in enumerate(kept.offsets) if offset is not None}
    if not stand:
        return {}
    return await offsets.commit_again(trigger.cluster, trigger.group, trigger.topic, stand, topic_id=kept.topic_id)


def _mode(world: World, target: Target) -> OffsetGuard:
    if world.group_offsets is None:
        return OffsetGuard.OFF
    mode = target.policy.offset_guard
    return OffsetGuard.OBSERVE if target.policy.dry_run and mode is OffsetGuard.ON else mode


def _missing(target: Target) -> Iterator[tuple[Trigger, tuple[MissingCommit, ...]]]:
    """Yield what each group lacks by its last reading, where that can be believed in full."""
    for trigger in target.policy.triggers:
        tracker = target.tracker(trigger)
        if tracker.offsets is not None and tracker.lag.complete:
            missing = missing_commits(trigger, tracker.offsets, tracker.memory.kept)
            if missing:
                yield trigger, missing


async def _commit(world: World, target: Target, trigger: Trigger, missing: tuple[MissingCommit, ...]) -> None:
    """Commit what is missing and say so. Raises ConflictError, NotFoundError, DeniedError, UnavailableError."""
    if world.group_offsets is None:
        return
    tracker = target.tracker(trigger)
    there = await world.group_offsets.commit_missing(
        trigger.cluster,
        trigger.group,
        trigger.topic,
        {entry.partition: entry.offset for entry in missing},
        passed=frozenset(entry.partition for entry in missing if entry.passed),
        topic_id=tracker.memory.kept.topic_id,
    )
    tracker.was_committed(trigger, there)
    made = tuple(entry for entry in missing if there.get(entry.partition) == entry.offset)
    for notice in notices.committed(target, trigger, made, world.now()):
        world.recorder.record(notice)


def _denied(world: World, target: Target, error: DeniedError) -> None:
    """Go on without the guard for a while, beginning at once: a sleeper may have to be woken before its next record."""
    target.guard.denied_at, target.guard.allowed = world.now(), False
    target.again = True
    for trigger in target.policy.triggers:
        target.tracker(trigger).measure_again(trigger, guarded=False)
    _tell_once(world, target, notices.offsets_denied(target, error, world.now()))


def _tell_once(world: World, target: Target, notice: Notice) -> None:
    if notice.message not in target.guard.told:
        target.guard.told.add(notice.message)
        world.recorder.record(notice)
