"""One batch read a cluster, and the probe of what may be nothing but transaction markers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.core.lag import remainders
from activator.core.model import BatchRead, Unreadable
from activator.loop import guarding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.model import Cluster, TraceIds
    from activator.loop.target import Target
    from activator.loop.world import World

MOST_PROBES = 8
"""Partitions probed for one target at one look: the rest of them have their turn at the next."""


def clusters_of(target: Target) -> tuple[Cluster, ...]:
    """Return the clusters that a target's triggers are on, in an order of their own."""
    triggers = target.policy.triggers
    if len(triggers) == 1:
        return (triggers[0].cluster,)
    return tuple(sorted({trigger.cluster for trigger in triggers}))


async def read(world: World, clusters: Iterable[Cluster], targets: list[Target]) -> tuple[TraceIds, ...]:
    """Read every trigger of these targets, one batch a cluster, and take the readings in.

    Returns:
        The ids of the batch reads, for the decisions that use them to link to.
    """
    reads = [_read_cluster(world, cluster, targets) for cluster in clusters]
    if len(reads) == 1:  # nearly always: a task of its own would cost as much as the walk through the answer
        return (await reads[0],)
    return tuple(await asyncio.gather(*reads))


async def _read_cluster(world: World, cluster: Cluster, targets: list[Target]) -> TraceIds:
    asked = [
        (target, trigger) for target in targets for trigger in target.policy.triggers if trigger.cluster == cluster
    ]
    started = world.now()
    # Equal triggers of different targets (two workloads of one group) are read once.
    readings = await world.reader.read(cluster, list(dict.fromkeys(trigger for _, trigger in asked)), started)
    ids = world.new_ids(None)
    problem: str | None = None
    unreadable = 0
    for target, trigger in asked:
        reading = readings[trigger]
        if isinstance(reading, Unreadable):
            unreadable, problem = unreadable + 1, problem or reading.reason
        if trigger in target.policy.triggers:  # it may have been reconfigured while the read was on its way
            target.tracker(trigger).take(trigger, reading, guarded=guarding.is_guarded(world, target))
    world.recorder.record(
        BatchRead(
            cluster=cluster,
            ids=ids,
            started_at=started,
            ended_at=world.now(),
            triggers=len(asked),
            unreadable=unreadable,
            problem=problem,
        )
    )
    return ids


async def probe_markers(world: World, target: Target) -> None:
    """Probe what stands in a target's way of sleeping, or would wake it, and may be markers only.

    Control markers and aborted records are offsets that no consumer is ever handed: counted as lag they would keep a
    target awake for ever, or wake it for nothing. They are looked at only where nothing else is in the way.
    """
    for trigger in target.policy.triggers:
        tracker = target.tracker(trigger)
        if tracker.offsets is None or tracker.lag.known == 0 or not tracker.lag.complete:
            continue
        stretches = list(remainders(tracker.offsets, tracker.partitions, tracker.memory))
        if len(stretches) != tracker.lag.partitions_with_lag:
            continue  # some partition has more than markers could be
        if not target.asleep and not all(stretch.steady for stretch in stretches):
            continue
        for stretch in stretches[:MOST_PROBES]:
            holds_records = await world.reader.probe(trigger, stretch.partition, stretch.start, stretch.end)
            if holds_records is not False:
                break  # one record is enough; unknown is not "none"
            tracker.memory = tracker.memory.with_phantom(stretch.partition, stretch.start, stretch.end)
        tracker.measure_again(trigger, guarded=guarding.is_guarded(world, target))
