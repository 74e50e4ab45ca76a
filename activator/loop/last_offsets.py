"""Where a sleeper's groups stand, given back to them before it is given back itself.

A managed sleeper's groups are seen to at each look. One that is managed no more since wakegate was away has been looked
at by nobody: what Kafka has forgotten meanwhile is known only by what was kept of it, which ends with its management.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.model import Workload
from activator.errors import NotFoundError, UnavailableError, WakegateError
from activator.loop import guarding, notices, putting_back, reading, takeover
from activator.ports import ManagedWorkload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import TargetRef
    from activator.loop.batches import Clusters
    from activator.loop.releasing import Release
    from activator.loop.target import Target
    from activator.loop.world import World

KAFKA_WITHIN = timedelta(seconds=30)
"""For so long a release waits for a Kafka that cannot be read: a workload at zero is nobody's gain either."""
AT_ONCE = 16
"""Targets whose offsets are committed at the same time."""


async def restore(world: World, due: Mapping[TargetRef, Release]) -> Mapping[TargetRef, WakegateError]:
    """Commit what the groups of sleepers lack before these are given back; mostly nothing is lacking.

    All of one cluster are read together: a hundred that wait for one that is down, one by one, would wait for minutes.

    Returns:
        Why some are not to be given back yet.
    """
    held_up: dict[TargetRef, WakegateError] = {}
    sleepers: defaultdict[Clusters, list[Target]] = defaultdict(list)
    for ref, release in due.items():
        try:
            target = await _sleeper(world, ref, release)
        except WakegateError as error:
            held_up[ref] = error
            continue
        if target is not None and guarding.is_guarded(world, target):
            sleepers[reading.clusters_of(target)].append(target)
    for clusters, targets in sleepers.items():
        await reading.read(world, clusters, targets)
        for first in range(0, len(targets), AT_ONCE):
            batch = targets[first : first + AT_ONCE]
            await asyncio.gather(*(_commit(world, target, due[target.ref], held_up) for target in batch))
    return held_up


async def _commit(world: World, target: Target, release: Release, held_up: dict[TargetRef, WakegateError]) -> None:
    if all(lag.complete for lag in target.lags()):
        await guarding.before_a_wake(world, target)
        return
    problems = "; ".join(problem for lag in target.lags() for problem in lag.problems)
    if world.now() - release.begun_at < KAFKA_WITHIN:
        held_up[target.ref] = UnavailableError("where its groups stand", problems)
    else:
        world.recorder.record(notices.woken_without_offsets(target, problems, world.now()))


async def _sleeper(world: World, ref: TargetRef, release: Release) -> Target | None:
    """Return a target as it was managed last; None: it is not asleep, is left so, or nothing is kept of its groups."""
    state, policy = release.state, release.policy
    if policy is None or not any(kept.offsets for kept in state.kept.values()):
        return None
    try:
        scale = await world.scaler.get(ref)
    except NotFoundError:
        return None
    if putting_back.is_given_back(scale.replicas, release.goal, release.on_release, asleep_by_us=state.asleep_by_us):
        return None
    last = ManagedWorkload(Workload(ref, scale, ready_replicas=0), state.last_valid or {}, policy)
    target = takeover.take_over(last, policy, last.annotations, state, world.now())
    return target if target.asleep else None
