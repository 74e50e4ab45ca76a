"""Where logs begin and end: one ListOffsets a leader, and one more try where a leader has moved."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from activator.kafka.error_codes import LEADER_MOVED, ErrorCode, error_name
from activator.kafka.pacing import in_turns
from activator.kafka.requests import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, NO_LEADER, ListOffsets
from activator.kafka.topology import KAFKA_FAILURES, Failure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from activator.kafka.client import ClusterClient
    from activator.kafka.topology import Topology
    from activator.ports import TopicPartition

OffsetOrFailure = int | Failure

PARTITIONS_PER_TURN = 2000
"""Partitions sorted by leader before the event loop is given up."""


async def list_offsets(
    client: ClusterClient,
    topology: Topology,
    wanted: Collection[TopicPartition],
    timestamp: int,
    *,
    read_committed: bool = False,
) -> dict[TopicPartition, OffsetOrFailure]:
    """Read one offset of each partition; never raises for a broker's fault.

    Args:
        client: connections to the cluster.
        topology: who leads what.
        wanted: the partitions.
        timestamp: `requests.EARLIEST_TIMESTAMP` or `LATEST_TIMESTAMP`.
        read_committed: the end is the last stable offset.
    """
    found = await _list_once(client, topology, wanted, timestamp, read_committed)
    again = [where for where, offset in found.items() if isinstance(offset, Failure) and may_have_moved(offset)]
    if again:
        topology.forget_topics({topic for topic, _ in again})
        # A broker that is still named as the leader and still dead fails at once: it is in its back-off.
        found |= await _list_once(client, topology, again, timestamp, read_committed)
    return found


async def list_ranges(
    client: ClusterClient, topology: Topology, positions: Mapping[TopicPartition, int], *, read_committed: bool = False
) -> dict[TopicPartition, tuple[int, int]]:
    """Read where logs begin and end, leaving out those that cannot be read.

    The beginning is asked for only of a log that does not end at the position that is known of it; of the others
    the end stands for both.
    """
    ends = await list_offsets(client, topology, positions, LATEST_TIMESTAMP, read_committed=read_committed)
    moved = [where for where, end in ends.items() if not isinstance(end, Failure) and end != positions[where]]
    starts = await list_offsets(client, topology, moved, EARLIEST_TIMESTAMP) if moved else {}
    found = {}
    for where, end in ends.items():
        start = starts.get(where, end)
        if not isinstance(end, Failure) and not isinstance(start, Failure):
            found[where] = (start, end)
    return found


def may_have_moved(failure: Failure) -> bool:
    """Tell whether another broker may lead now: it said so, or it did not answer."""
    return failure.code in LEADER_MOVED or not failure.code


async def _list_once(
    client: ClusterClient,
    topology: Topology,
    wanted: Collection[TopicPartition],
    timestamp: int,
    read_committed: bool,  # noqa: FBT001 - handed through
) -> dict[TopicPartition, OffsetOrFailure]:
    topics = await topology.topics({topic for topic, _ in wanted})
    found: dict[TopicPartition, OffsetOrFailure] = {}
    by_leader: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    async for topic, partition in in_turns(wanted, PARTITIONS_PER_TURN):
        known = topics[topic]
        if isinstance(known, Failure):
            found[topic, partition] = known
        elif (leader := known.leaders.get(partition)) is None:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            found[topic, partition] = Failure(code.name, code)
        elif leader == NO_LEADER:
            found[topic, partition] = Failure(ErrorCode.LEADER_NOT_AVAILABLE.name, ErrorCode.LEADER_NOT_AVAILABLE)
        else:
            by_leader[leader][topic].append(partition)
    requests = {leader: ListOffsets(partitions, timestamp, read_committed) for leader, partitions in by_leader.items()}
    for answer in await asyncio.gather(*(_ask(client, leader, request) for leader, request in requests.items())):
        found |= answer
    return found


async def _ask(client: ClusterClient, leader: int, request: ListOffsets) -> dict[TopicPartition, OffsetOrFailure]:
    asked = [(topic, number) for topic, numbers in request.partitions.items() for number in numbers]
    found: dict[TopicPartition, OffsetOrFailure] = dict.fromkeys(asked, Failure("left out of the broker's answer"))
    try:
        for row in await client.rows(leader, request):
            offset = Failure(error_name(row.error), row.error) if row.error else row.offset
            found[row.topic, row.partition] = offset
    except KAFKA_FAILURES as error:
        return dict.fromkeys(asked, Failure(str(error)))
    return found
