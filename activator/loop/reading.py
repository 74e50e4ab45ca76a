"""One batch read a cluster, and the probe of what may be nothing but transaction markers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.lag import remainders
from activator.core.model import BatchRead, Unreadable
from activator.loop import guarding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.lag import Remainder
    from activator.core.model import Cluster, TraceIds
    from activator.loop.target import Target
    from activator.loop.tracker import Extent
    from activator.loop.world import World

TAKEN_A_TURN = 64
"""Readings taken in before the event loop turns to whatever else has come in."""
MOST_PROBES = 8
"""Partitions probed for one target at one look: the rest of them have their turn at the next."""
RECORD_BELIEVED_FOR = timedelta(minutes=1)
"""A stretch in which a probe found a record is not fetched again for so long: a consumer that has not come yet, or is
slow, would else cost a fetch a look. Not for ever: compaction or retention may take the record."""


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
    asked = [(target, trigger) for target in targets for trigger in target.reads() if trigger.cluster == cluster]
    started = world.now()
    # Equal triggers of different targets (two workloads of one group) are read once.
    readings = await world.reader.read(cluster, list(dict.fromkeys(trigger for _, trigger in asked)), started)
    ids = world.new_ids(None)
    problem: str | None = None
    unreadable = 0
    for number, (target, trigger) in enumerate(asked, 1):
        reading = readings[trigger]
        if isinstance(reading, Unreadable):
            unreadable, problem = unreadable + 1, problem or reading.reason
        target.take(trigger, reading, guarded=guarding.is_guarded(world, target))
        if number % TAKEN_A_TURN == 0:
            await asyncio.sleep(0)
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
        if tracker.record_found is not None:
            found, found_at = tracker.record_found
            if found in map(_extent, stretches) and world.now() - found_at < RECORD_BELIEVED_FOR:
                continue
        for stretch in stretches[:MOST_PROBES]:
            holds_records = await world.reader.probe(trigger, stretch.partition, stretch.start, stretch.end)
            if holds_records is not False:  # one record is enough; unknown is not "none"
                tracker.record_found = (_extent(stretch), world.now()) if holds_records else None
                break
            tracker.memory = tracker.memory.with_phantom(stretch.partition, stretch.start, stretch.end)
        tracker.measure_again(trigger, guarded=guarding.is_guarded(world, target))


def _extent(stretch: Remainder) -> Extent:
    return stretch.partition, stretch.start, stretch.end
