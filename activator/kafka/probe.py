"""Is a constant small remainder of lag made of records, or of nothing that a consumer would ever be given?

Transaction markers and aborted records occupy offsets: a log that ends in them looks like lag for ever. Reading
the few bytes in question tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.kafka.fetch import Fetch
from activator.kafka.records import visible, walk
from activator.kafka.topology import KAFKA_FAILURES, Failure
from activator.kafka.wire import MALFORMED

if TYPE_CHECKING:
    from activator.kafka.client import ClusterClient
    from activator.kafka.topology import Topology
    from activator.ports import TopicPartition

MAX_BYTES = 64 * 1024


async def any_record(
    client: ClusterClient, topology: Topology, where: TopicPartition, start: int, end: int
) -> bool | None:
    """Tell whether [start, end) of a partition holds a record; None: it could not be told within `MAX_BYTES`.

    Read as a read_committed consumer reads, whatever the group's isolation level: aborted records mean nothing to
    anybody. Past the last stable offset lie records of a transaction that is still open, and those count as records.
    """
    topic, number = where
    spent = 0
    while start < end and spent < MAX_BYTES:
        leader = await _leader(topology, where)
        if leader is None:
            return None
        request = Fetch({topic: {number: start}}, 0, MAX_BYTES - spent, MAX_BYTES - spent, read_committed=True)
        try:
            answer = next((await client.request(leader, request)).partitions, None)
            batches = [] if answer is None else list(walk(answer.records))
        except (*KAFKA_FAILURES, *MALFORMED):
            return None
        if answer is None or answer.error:
            topology.forget_topics([topic])
            return None
        if any(batch.first < end and batch.last >= start for batch in visible(iter(batches), answer.aborted)):
            return True
        if not batches:
            return True if start >= answer.last_stable_offset and start < answer.high_watermark else None
        spent += len(answer.records)
        start = max(start + 1, batches[-1].last + 1)
    return False if start >= end else None


async def _leader(topology: Topology, where: TopicPartition) -> int | None:
    topic, number = where
    known = (await topology.topics([topic]))[topic]
    if isinstance(known, Failure):
        return None
    leader = known.leaders.get(number, -1)
    return leader if leader >= 0 else None
