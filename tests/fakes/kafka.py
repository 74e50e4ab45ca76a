"""An in-memory Kafka cluster for tests of speed, virtual time and faults; `kafka_ports` has the ports over it.

`FakeKafka` is one cluster that a test drives by hand: it holds log start, end and kinds of records, groups with
commits, state and members, and faults. Nothing here reads a clock or sleeps: a delay, where one is set, is the event
loop's own time.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.core.group_topics import names_no_topic
from activator.core.model import (
    Cluster,
    GroupState,
    IsolationLevel,
    PartitionOffsets,
    Reading,
    Trigger,
    TriggerOffsets,
    Unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from activator.ports import TopicPartition

PROBE_BYTES = 64 * 1024


@dataclass
class FakePartition:
    """One partition's log: only what offsets can tell, no payloads."""

    log_start: int = 0
    end: int = 0
    open_since: int | None = None
    """First offset of the open transaction; the last stable offset stands there."""
    invisible: set[int] = field(default_factory=set)
    """Offsets of markers and aborted records: they count as lag but are never given to a consumer."""
    traceparents: dict[int, str] = field(default_factory=dict)

    def visible_end(self, isolation: IsolationLevel) -> int:
        """End of what a consumer of this isolation level may read."""
        if isolation is IsolationLevel.READ_COMMITTED and self.open_since is not None:
            return self.open_since
        return self.end


@dataclass
class FakeGroup:
    """One consumer group."""

    state: GroupState = GroupState.EMPTY
    members: int | None = 0
    commits: dict[TopicPartition, int] = field(default_factory=dict)
    consumed: frozenset[str] | None = None
    """Topics that its members are subscribed to; None: not told."""
    lasting: set[TopicPartition] = field(default_factory=set)
    """Where the last commit came with a retention of its own."""

    def lacks(self, topic: str, offsets: Mapping[int, int], passed: Collection[int]) -> list[int]:
        """Return the partitions on which it has no commit, or one that the log start has passed."""
        commits = {number: self.commits.get((topic, number)) for number in offsets}
        return [
            number
            for number, committed in commits.items()
            if committed is None or (number in passed and committed < offsets[number])
        ]


class FakeKafka:
    """One Kafka cluster, driven by the test: every method takes effect at once."""

    def __init__(self, bootstrap_servers: str = "kafka:9092", *, record_bytes: int = 100) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.record_bytes = record_bytes
        self.topics: dict[str, list[FakePartition]] = {}
        self.topic_ids: dict[str, str] = {}
        """Another one for a topic that is created again (KIP-516)."""
        self._ids = itertools.count(1)
        self.groups: dict[str, FakeGroup] = {}
        self.down: str | None = None
        """Why the whole cluster does not answer; None: it does."""
        self.slow = 0.0
        """Seconds of the event loop's time that every read takes."""
        self.topic_errors: dict[str, str] = {}
        self.partition_errors: dict[TopicPartition, str] = {}
        self.group_errors: dict[str, str] = {}
        self.unwritable_groups: set[str] = set()
        """Groups for which nobody but a member may commit."""
        self._watchers: list[Callable[[], None]] = []

    @property
    def cluster(self) -> Cluster:
        """This cluster without credentials."""
        return Cluster(self.bootstrap_servers)

    # -- what producers and operators do

    def create_topic(self, topic: str, partitions: int = 1) -> None:
        """Create a topic, or grow it to that many partitions."""
        logs = self.topics.setdefault(topic, [])
        self.topic_ids.setdefault(topic, f"id-{next(self._ids)}")
        logs.extend(FakePartition() for _ in range(partitions - len(logs)))
        self._changed()

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with its logs; commits of groups stay, as a recreation at once would find them."""
        del self.topics[topic], self.topic_ids[topic]
        self._changed()

    def produce(self, topic: str, partition: int = 0, count: int = 1, *, traceparent: str | None = None) -> int:
        """Append records and return the first one's offset."""
        log = self.topics[topic][partition]
        first = log.end
        log.end += count
        if traceparent is not None:
            log.traceparents.update(dict.fromkeys(range(first, log.end), traceparent))
        self._changed()
        return first

    def produce_in_transaction(self, topic: str, partition: int = 0, count: int = 1) -> int:
        """Append records of a transaction that stays open, and return the first one's offset."""
        log = self.topics[topic][partition]
        if log.open_since is None:
            log.open_since = log.end
        return self.produce(topic, partition, count)

    def end_transaction(self, topic: str, partition: int = 0, *, commit: bool = True) -> None:
        """Write the marker that commits or aborts the open transaction."""
        log = self.topics[topic][partition]
        if log.open_since is not None and not commit:
            log.invisible.update(range(log.open_since, log.end))
        log.invisible.add(log.end)
        log.end += 1
        log.open_since = None
        self._changed()

    def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset (retention, DeleteRecords)."""
        log = self.topics[topic][partition]
        log.log_start = max(log.log_start, before)
        log.end = max(log.end, before)

    # -- what consumers do

    def commit(self, group: str, topic: str, partition: int = 0, offset: int | None = None) -> None:
        """Commit an offset for a group, by default the end of the log."""
        at = self.topics[topic][partition].end if offset is None else offset
        found = self.groups.setdefault(group, FakeGroup())
        found.commits[topic, partition] = at
        found.lasting.discard((topic, partition))

    def commit_all(self, group: str, topic: str) -> None:
        """Commit the end of every partition: the group has consumed everything."""
        for partition in range(len(self.topics[topic])):
            self.commit(group, topic, partition)

    def expire(self, group: str) -> None:
        """Forget a group's commits, whatever their retention: somebody has deleted it."""
        self.groups.setdefault(group, FakeGroup()).commits.clear()

    def pass_retention(self) -> None:
        """Let offsets.retention.minutes pass: of groups without members only what has its own retention stays."""
        for group, found in self.groups.items():
            if not found.members:
                self.pass_retention_of(group)

    def pass_retention_of(self, group: str) -> None:
        """Forget what one group has committed, where that has no retention of its own."""
        found = self.groups[group]
        found.commits = {where: at for where, at in found.commits.items() if where in found.lasting}

    def set_group(
        self, group: str, state: GroupState, members: int | None, consumed: Collection[str] | None = None
    ) -> None:
        """Set what DescribeGroups tells of a group and the topics that its members consume; None: unknown."""
        found = self.groups.setdefault(group, FakeGroup())
        found.state, found.members = state, members
        found.consumed = None if consumed is None else frozenset(consumed)

    # -- faults

    def stop(self, what: str = "no broker answered within 5 s") -> None:
        """Make the whole cluster unreachable."""
        self.down = what

    def fail_topic(self, topic: str, error: str) -> None:
        """Make every read and push of a topic fail with a Kafka error name."""
        self.topic_errors[topic] = error

    def fail_partition(self, topic: str, partition: int, error: str) -> None:
        """Make one partition fail with a Kafka error name."""
        self.partition_errors[topic, partition] = error

    def fail_group(self, group: str, error: str) -> None:
        """Make a group's offsets and state fail with a Kafka error name."""
        self.group_errors[group] = error

    def deny_commits(self, group: str) -> None:
        """Take the permission away to commit for a group."""
        self.unwritable_groups.add(group)

    def heal(self) -> None:
        """Take all faults away."""
        self.down = None
        self.slow = 0.0
        for faults in (self.topic_errors, self.partition_errors, self.group_errors):
            faults.clear()
        self.unwritable_groups.clear()
        self._changed()

    # -- for the ports over it

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after every change that may let a record be seen."""
        self._watchers.append(callback)

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher()

    def offsets(self, trigger: Trigger, now: datetime) -> Reading:
        """Answer one trigger as the lag reader would."""
        place = f"Kafka {self.bootstrap_servers}"
        if self.down is not None:
            return Unreadable(f"{place}: {self.down}", now)
        if names_no_topic(trigger):
            return self._group(trigger, now)
        if (error := self.topic_errors.get(trigger.topic)) is not None:
            return Unreadable(f"{place}: {error}: topic {trigger.topic!r}", now)
        if trigger.topic not in self.topics:
            missing = f"UNKNOWN_TOPIC_OR_PARTITION: topic {trigger.topic!r} does not exist"
            group = self.groups.get(trigger.group, FakeGroup(GroupState.DEAD, None))
            return Unreadable(f"{place}: {missing}", now, missing=True, group_state=group.state)
        if (error := self.group_errors.get(trigger.group)) is not None:
            return Unreadable(f"{place}: {error}: group {trigger.group!r}", now)
        group = self.groups.get(trigger.group, FakeGroup(GroupState.DEAD, None))
        partitions = tuple(self._partition(trigger, group, number) for number in range(len(self.topics[trigger.topic])))
        topic_id = self.topic_ids[trigger.topic]
        return TriggerOffsets(partitions, now, group.state, group.members, topic_id, group.consumed)

    def _group(self, trigger: Trigger, now: datetime) -> Reading:
        if (error := self.group_errors.get(trigger.group)) is not None:
            return Unreadable(f"Kafka {self.bootstrap_servers}: {error}: group {trigger.group!r}", now)
        group = self.groups.get(trigger.group, FakeGroup(GroupState.DEAD, None))
        topics = frozenset(topic for topic, _ in group.commits)
        return TriggerOffsets((), now, group.state, group.members, consumed=group.consumed, topics=topics)

    def _partition(self, trigger: Trigger, group: FakeGroup, number: int) -> PartitionOffsets:
        if (error := self.partition_errors.get((trigger.topic, number))) is not None:
            return PartitionOffsets(trigger.topic, number, error=error)
        log = self.topics[trigger.topic][number]
        end = log.visible_end(trigger.isolation)
        committed = group.commits.get((trigger.topic, number))
        # As the real reader: the log start is asked for only where it can change the answer.
        log_start = None if committed == end else log.log_start
        return PartitionOffsets(trigger.topic, number, end, committed, log_start)

    def records_visible(self, topic: str, partition: int, start: int, end: int) -> bool | None:
        """Tell whether any offset in [start, end) is a record that a consumer would be given."""
        faulty = self.down is not None or topic in self.topic_errors or (topic, partition) in self.partition_errors
        if faulty or partition >= len(self.topics.get(topic, ())):
            return None
        log = self.topics[topic][partition]
        first, last = max(start, log.log_start), min(end, log.end)
        if (last - first) * self.record_bytes > PROBE_BYTES:
            return None
        return any(offset not in log.invisible for offset in range(first, last))
