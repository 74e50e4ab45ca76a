"""Where a sleeper's groups stand, given back to them before it is given back itself.

A managed sleeper's groups are seen to at each look. One that is managed no more since wakegate was away has been looked
at by nobody: what Kafka has forgotten meanwhile is known only by what was kept of it, which ends with its management.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

from activator.core.model import Workload
from activator.errors import NotFoundError, WakegateError
from activator.loop import guarding, putting_back, reading, takeover
from activator.ports import ManagedWorkload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import TargetRef
    from activator.loop.batches import Clusters
    from activator.loop.releasing import Release
    from activator.loop.target import Target
    from activator.loop.world import World


async def restore(world: World, due: Mapping[TargetRef, Release]) -> Mapping[TargetRef, str]:
    """Commit what the groups of sleepers lack before these are given back; mostly nothing is lacking.

    All of one cluster are read together, and all clusters at once: whoever is on one that is down waits no longer
    because of others.

    Returns:
        Of whose groups it is not known what they lack, and why.
    """
    unknown: dict[TargetRef, str] = {}
    sleepers: defaultdict[Clusters, list[Target]] = defaultdict(list)
    for ref, release in due.items():
        try:
            target = await _sleeper(world, ref, release)
        except WakegateError as error:
            unknown[ref] = str(error)
            continue
        if target is not None and guarding.is_guarded(world, target):
            sleepers[reading.clusters_of(target)].append(target)
    await asyncio.gather(*(reading.read(world, clusters, targets) for clusters, targets in sleepers.items()))
    known = []
    for target in itertools.chain.from_iterable(sleepers.values()):
        problems = [problem for lag in target.lags() for problem in lag.problems]
        if all(lag.complete for lag in target.lags()):
            known.append(target)
        else:
            unknown[target.ref] = "; ".join(problems)
    await asyncio.gather(*(guarding.before_a_wake(world, target) for target in known))
    return unknown


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
