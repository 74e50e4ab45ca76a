"""`LagReader`: the offsets of many triggers of one cluster in a handful of requests.

One read is a walk of four steps, each batched by the broker that answers it:

1. Metadata of topics that are not known, or were last seen 30 s ago, and coordinators of groups that are not known.
2. What the groups have committed, and beside it what state they are in.
3. Where the logs end. After the commits, never before: a consumer moves on in between, and a commit beyond the end
   would look like a topic that was recreated. This way round the lag can only be overstated.
4. Where the logs begin, for those partitions only whose answer it changes: where there is no commit, or the commit is
   not the end. A commit that equals the end has no lag wherever the log begins.

A dead or denied broker, topic or group makes its own partitions errors and touches no other.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from activator.core.group_topics import names_no_topic
from activator.core.model import (
    GroupState,
    IsolationLevel,
    PartitionOffsets,
    Reading,
    Trigger,
    TriggerOffsets,
    Unreadable,
)
from activator.kafka.error_codes import ErrorCode
from activator.kafka.groups import UNKNOWN_GROUP, Groups, GroupView
from activator.kafka.offsets import list_offsets
from activator.kafka.pacing import in_turns
from activator.kafka.probe import any_record
from activator.kafka.requests import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP
from activator.kafka.topology import Failure, Topology
from activator.kafka.wire import is_string

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from activator.core.model import Cluster
    from activator.kafka.client import ClusterClient, Connections
    from activator.kafka.groups import Commits
    from activator.kafka.offsets import OffsetOrFailure
    from activator.kafka.topology import Topic
    from activator.ports import TopicPartition

TRIGGERS_PER_TURN = 200
"""Readings joined before the event loop is given up."""
LONGEST_SHOWN = 80
"""Characters of a name that a message shows where it may be of any length."""


class KafkaLagReader:
    """`ports.LagReader` over real brokers."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._topologies: dict[Cluster, Topology] = {}

    async def read(self, cluster: Cluster, triggers: Sequence[Trigger], now: datetime) -> Mapping[Trigger, Reading]:
        """Answer every trigger with its offsets or with why they are unreadable."""
        client, topology = self._cluster(cluster)
        sendable = [trigger for trigger in triggers if is_string(trigger.topic) and is_string(trigger.group)]
        readings = await _Sweep(client, topology, sendable, now).run()
        if len(sendable) == len(triggers):
            return readings
        others = set(triggers) - set(sendable)  # in a request with others they would be the end of all of it
        return {**readings, **{trigger: Unreadable(_unsendable(client.where, trigger), now) for trigger in others}}

    async def probe(self, trigger: Trigger, partition: TopicPartition, start: int, end: int) -> bool | None:
        """Tell whether a consumer would be given any record in [start, end) of a partition; None: not known."""
        client, topology = self._cluster(trigger.cluster)
        return await any_record(client, topology, partition, start, end)

    def _cluster(self, cluster: Cluster) -> tuple[ClusterClient, Topology]:
        client = self._connections.client(cluster)
        return client, self._topologies.setdefault(cluster, Topology(client))


def _unsendable(where: str, trigger: Trigger) -> str:
    what, name = ("topic", trigger.topic) if is_string(trigger.group) else ("consumer group", trigger.group)
    return f"{where}: {what} {name[:LONGEST_SHOWN]!r}: it is no text in UTF-8 of at most 32767 bytes, as Kafka takes it"


class _Sweep:
    """One read of one cluster, step by step."""

    def __init__(self, client: ClusterClient, topology: Topology, triggers: Sequence[Trigger], now: datetime) -> None:
        self._client = client
        self._topology = topology
        self._groups = Groups(client, topology)
        self._triggers = triggers
        self._now = now
        self._topics: Mapping[str, Topic | Failure] = {}
        self._commits: Mapping[str, Commits | Failure] = {}
        self._states: Mapping[str, GroupView] = {}
        self._ends: dict[IsolationLevel, dict[TopicPartition, OffsetOrFailure]] = {}
        self._starts: dict[TopicPartition, OffsetOrFailure] = {}

    async def run(self) -> Mapping[Trigger, Reading]:
        """Take the four steps and join what they gave."""
        self._topics, _ = await asyncio.gather(
            self._topology.topics({trigger.topic for trigger in self._triggers} - {""}),
            self._topology.coordinators({trigger.group for trigger in self._triggers}),
        )
        wanted = self._wanted_commits()
        self._commits, self._states = await asyncio.gather(
            self._groups.committed(wanted), self._groups.described(wanted)
        )
        await self._read_ends()
        await self._read_starts()
        return {trigger: self._reading(trigger) async for trigger in in_turns(self._triggers, TRIGGERS_PER_TURN)}

    def _wanted_commits(self) -> dict[str, dict[str, list[int]] | None]:
        wanted: dict[str, dict[str, list[int]]] = defaultdict(dict)
        for trigger in self._triggers:
            if not isinstance(topic := self._topics.get(trigger.topic), Failure | None):
                wanted[trigger.group][trigger.topic] = sorted(topic.leaders)
        everywhere = {trigger.group: None for trigger in self._triggers if names_no_topic(trigger)}
        return {**wanted, **everywhere}

    async def _readable(self) -> AsyncIterator[tuple[Trigger, Commits, list[TopicPartition]]]:
        """Walk the triggers whose topic and group could be read, with their partitions."""
        async for trigger in in_turns(self._triggers, TRIGGERS_PER_TURN):
            topic, commits = self._topics.get(trigger.topic), self._commits.get(trigger.group)
            if not isinstance(topic, Failure | None) and not isinstance(commits, Failure | None):
                yield trigger, commits, [(trigger.topic, number) for number in sorted(topic.leaders)]

    async def _read_ends(self) -> None:
        wanted: dict[IsolationLevel, dict[TopicPartition, None]] = defaultdict(dict)
        async for trigger, _, partitions in self._readable():
            wanted[trigger.isolation].update(dict.fromkeys(partitions))
        answers = await asyncio.gather(
            *(
                list_offsets(
                    self._client,
                    self._topology,
                    partitions,
                    LATEST_TIMESTAMP,
                    read_committed=isolation is IsolationLevel.READ_COMMITTED,
                )
                for isolation, partitions in wanted.items()
            )
        )
        self._ends = dict(zip(wanted, answers, strict=True))

    async def _read_starts(self) -> None:
        wanted: dict[TopicPartition, None] = {}
        async for trigger, commits, partitions in self._readable():
            ends = self._ends[trigger.isolation]
            for where in partitions:
                end, committed = ends[where], commits.get(where)
                if committed != end and not isinstance(end, Failure) and not isinstance(committed, Failure):
                    wanted[where] = None
        if wanted:
            self._starts = await list_offsets(self._client, self._topology, wanted, EARLIEST_TIMESTAMP)

    def _reading(self, trigger: Trigger) -> Reading:
        view, commits = self._states.get(trigger.group, UNKNOWN_GROUP), self._commits.get(trigger.group)
        topic = self._topics.get(trigger.topic)
        if isinstance(topic, Failure):
            missing = topic.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            return Unreadable(topic.text, self._now, missing=missing, group_state=view.state)
        if commits is None:
            return Unreadable(f"{self._client.where}: consumer group {trigger.group!r}: not answered", self._now)
        if isinstance(commits, Failure):
            return Unreadable(commits.text, self._now)
        if view.state is GroupState.DEAD and any(offset is not None for offset in commits.values()):
            view = UNKNOWN_GROUP  # what has committed exists: a kind of group that neither request describes
        if topic is None:
            topics = frozenset(name for name, _ in commits)
            return TriggerOffsets((), self._now, view.state, view.members, consumed=view.topics, topics=topics)
        ends = self._ends[trigger.isolation]
        partitions = tuple(self._partition((trigger.topic, number), ends, commits) for number in sorted(topic.leaders))
        if partitions and all(partition.error for partition in partitions):
            return Unreadable(f"{self._client.where}: topic {trigger.topic!r}: {partitions[0].error}", self._now)
        return TriggerOffsets(partitions, self._now, view.state, view.members, topic.topic_id, view.topics)

    def _partition(
        self, where: TopicPartition, ends: Mapping[TopicPartition, OffsetOrFailure], commits: Commits
    ) -> PartitionOffsets:
        topic, number = where
        end, committed = ends[where], commits.get(where)
        start = self._starts.get(where)
        if isinstance(end, Failure):
            return PartitionOffsets(topic, number, error=end.text)
        if isinstance(committed, Failure):
            return PartitionOffsets(topic, number, error=committed.text)
        if isinstance(start, Failure):
            return PartitionOffsets(topic, number, error=start.text)
        if start is not None and start > end:
            end = start  # trimmed past the end between the two answers: it lies there at least
        return PartitionOffsets(topic, number, end, committed, start)
