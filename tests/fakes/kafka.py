"""An in-memory Kafka cluster, and the two ports over it, for tests of speed, virtual time and faults.

`FakeKafka` is one cluster that a test drives by hand: it holds log start, end and kinds of records, groups with
commits, state and members, and faults. `FakeLagReader` and `FakeWakeSource` pass the contract suites that the real
adapters pass. Nothing here reads a clock or sleeps: a delay, where one is set, is the event loop's own time.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from activator.core.group_topics import names_no_topic
from activator.core.model import (
    Cluster,
    GroupState,
    IsolationLevel,
    PartitionOffsets,
    Push,
    PushSource,
    Reading,
    TargetRef,
    Trigger,
    TriggerOffsets,
    Unreadable,
)
from activator.errors import ConflictError, DeniedError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from activator.ports import PushListener, TopicPartition

PROBE_BYTES = 64 * 1024
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


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

    # -- for the ports below

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


def _by_servers(kafkas: Sequence[FakeKafka]) -> dict[str, FakeKafka]:
    return {kafka.bootstrap_servers: kafka for kafka in kafkas}


class FakeLagReader:
    """`ports.LagReader` over one or several `FakeKafka`; a cluster that no test made is unreachable."""

    def __init__(self, *kafkas: FakeKafka) -> None:
        self._kafkas = _by_servers(kafkas)
        self.reads: list[tuple[Cluster, tuple[Trigger, ...]]] = []
        """Every `read` in order: the cluster and what was asked."""
        self.probes: list[tuple[Trigger, TopicPartition, int, int]] = []
        """Every `probe` in order."""

    async def read(self, cluster: Cluster, triggers: Sequence[Trigger], now: datetime) -> Mapping[Trigger, Reading]:
        """Answer every trigger from the state at the end of the cluster's delay."""
        self.reads.append((cluster, tuple(triggers)))
        kafka = self._kafkas.get(cluster.bootstrap_servers)
        if kafka is None:
            reason = f"Kafka {cluster.bootstrap_servers}: no such host"
            return {trigger: Unreadable(reason, now) for trigger in triggers}
        await asyncio.sleep(kafka.slow)
        return {trigger: kafka.offsets(trigger, now) for trigger in triggers}

    async def probe(self, trigger: Trigger, partition: TopicPartition, start: int, end: int) -> bool | None:
        """Tell whether a consumer would be given any record in [start, end)."""
        self.probes.append((trigger, partition, start, end))
        kafka = self._kafkas.get(trigger.cluster.bootstrap_servers)
        if kafka is None:
            return None
        await asyncio.sleep(kafka.slow)
        return kafka.records_visible(*partition, start, end)


def lacks(group: FakeGroup, topic: str, offsets: Mapping[int, int], passed: Collection[int]) -> list[int]:
    """Return the partitions on which a group has no commit, or one that its log start has passed."""
    commits = {number: group.commits.get((topic, number)) for number in offsets}
    return [
        number
        for number, committed in commits.items()
        if committed is None or (number in passed and committed < offsets[number])
    ]


class FakeGroupOffsets:
    """`ports.GroupOffsets` over one or several `FakeKafka`; a cluster that no test made is unreachable."""

    def __init__(self, *kafkas: FakeKafka) -> None:
        self._kafkas = _by_servers(kafkas)
        self.commits: list[tuple[str, dict[int, int]]] = []
        """Every `commit_missing` in order: the group and what was asked for."""
        self.renewals: list[tuple[str, dict[int, int]]] = []
        """Every `commit_again` in order: the group and what it has since then."""
        self.tries: list[str] = []
        """The group of every `commit_again` in order, also of those that failed."""
        self.checks: list[tuple[str, str]] = []
        """Every `check` in order: the group and the topic."""
        self.failures = 0
        """How many of the next commits fail."""
        self.slow = 0.0
        """Seconds of the event loop's time that every commit takes."""
        self.stalled: set[str] = set()
        """Bootstrap servers of clusters that never answer a commit."""

    async def check(self, cluster: Cluster, group: str, topic: str) -> None:
        """Find out whether we may commit."""
        self.checks.append((group, topic))
        self._may_commit(await self._kafka(cluster), group)

    async def commit_missing(
        self,
        cluster: Cluster,
        group: str,
        topic: str,
        offsets: Mapping[int, int],
        *,
        passed: Collection[int] = (),
        topic_id: str | None = None,
    ) -> Mapping[int, int]:
        """Commit for a group without members, where it has nothing."""
        self.commits.append((group, dict(offsets)))
        kafka = await self._kafka(cluster)
        await self._coordinate(kafka, group)
        self._write_missing(kafka, group, topic, offsets, topic_id, passed)
        return {number: kafka.groups[group].commits[topic, number] for number in offsets}

    async def commit_again(
        self, cluster: Cluster, group: str, topic: str, offsets: Mapping[int, int], *, topic_id: str | None = None
    ) -> Mapping[int, int]:
        """Commit for a group without members, where it stood before the coordinator took its time."""
        self.tries.append(group)
        kafka = await self._kafka(cluster)
        there = self._stands(kafka, group, topic, offsets)
        await self._coordinate(kafka, group)
        self._write(kafka, group, topic, there, topic_id)
        self.renewals.append((group, there))
        return there

    async def _coordinate(self, kafka: FakeKafka, group: str) -> None:
        if kafka.bootstrap_servers in self.stalled:
            await asyncio.Event().wait()
        await asyncio.sleep(self.slow)
        if self.failures:
            self.failures -= 1
            raise UnavailableError(f"Kafka {kafka.bootstrap_servers}", f"NOT_COORDINATOR: group {group!r}")
        self._may_commit(kafka, group)

    @staticmethod
    def _stands(kafka: FakeKafka, group: str, topic: str, offsets: Mapping[int, int]) -> dict[int, int]:
        """Return what a group has committed, and these offsets where it has nothing."""
        commits = kafka.groups.setdefault(group, FakeGroup()).commits
        return {number: commits.get((topic, number), offset) for number, offset in offsets.items()}

    @classmethod
    def _write_missing(
        cls,
        kafka: FakeKafka,
        group: str,
        topic: str,
        offsets: Mapping[int, int],
        topic_id: str | None,
        passed: Collection[int],
    ) -> bool:
        """Commit what a group lacks; return whether it lacked any."""
        missing = lacks(kafka.groups.setdefault(group, FakeGroup()), topic, offsets, passed)
        if missing:
            cls._write(kafka, group, topic, {number: offsets[number] for number in missing}, topic_id)
        return bool(missing)

    @staticmethod
    def _write(kafka: FakeKafka, group: str, topic: str, offsets: Mapping[int, int], topic_id: str | None) -> None:
        """Commit with a retention of its own, as the broker does for nobody's member."""
        found = kafka.groups.setdefault(group, FakeGroup())
        if topic_id is not None and kafka.topic_ids.get(topic) != topic_id:
            raise NotFoundError(f"Kafka {kafka.bootstrap_servers}: topic {topic!r} was recreated")
        if found.state not in {GroupState.EMPTY, GroupState.DEAD} or found.members:
            raise ConflictError(f"Kafka {kafka.bootstrap_servers}: UNKNOWN_MEMBER_ID: group {group!r} has members")
        found.state, found.members = GroupState.EMPTY, 0
        for number, offset in offsets.items():
            found.commits[topic, number] = offset
            found.lasting.add((topic, number))

    async def _kafka(self, cluster: Cluster) -> FakeKafka:
        kafka = self._kafkas.get(cluster.bootstrap_servers)
        if kafka is None or kafka.down is not None:
            why = kafka.down if kafka is not None and kafka.down else "no such host"
            raise UnavailableError(f"Kafka {cluster.bootstrap_servers}", why)
        await asyncio.sleep(kafka.slow)
        return kafka

    @staticmethod
    def _may_commit(kafka: FakeKafka, group: str) -> None:
        place = f"Kafka {kafka.bootstrap_servers}"
        if group in kafka.unwritable_groups:
            raise DeniedError(f"{place}: GROUP_AUTHORIZATION_FAILED: grant the ACL Read on Group {group}")
        if (error := kafka.group_errors.get(group)) is not None:
            raise UnavailableError(place, f"{error}: group {group!r}")


@dataclass
class _Joined:
    kafka: FakeKafka
    positions: dict[TopicPartition, int]
    """What the target joined at, moved past what was pushed."""
    isolation: IsolationLevel
    outdated: set[TopicPartition] = field(default_factory=set)
    """Partitions whose log was another one when it was joined."""


class FakeWakeSource:
    """`ports.WakeSource` over one or several `FakeKafka`: a push reaches the listener in a later turn of the loop.

    Args:
        kafkas: the clusters.
        listener: who is told.
        now: stamps ``Push.seen_at``.
        delay: seconds of the event loop's time between a record and its push.
    """

    def __init__(
        self,
        *kafkas: FakeKafka,
        listener: PushListener,
        now: Callable[[], datetime] = lambda: EPOCH,
        delay: float = 0.0,
    ) -> None:
        self._kafkas = _by_servers(kafkas)
        self._listener = listener
        self._now = now
        self._delay = delay
        self.joined: dict[TargetRef, dict[Cluster, _Joined]] = {}
        """What each target watches now, by cluster."""
        self.joins: list[tuple[TargetRef, dict[TopicPartition, int]]] = []
        """Every `join` in order."""
        self.leaves: list[TargetRef] = []
        """Every `leave` in order."""
        self.pushes: list[Push] = []
        """Every push that was delivered."""
        for kafka in kafkas:
            kafka.on_change(self._schedule)

    def join(
        self,
        ref: TargetRef,
        cluster: Cluster,
        positions: Mapping[TopicPartition, int],
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> None:
        """Watch for a target; joining a cluster again replaces what was watched there."""
        self.joins.append((ref, dict(positions)))
        kafka = self._kafkas.get(cluster.bootstrap_servers)
        if kafka is None:
            return
        self.joined.setdefault(ref, {})[cluster] = _Joined(kafka, dict(positions), isolation)
        self._schedule()

    def leave(self, ref: TargetRef) -> None:
        """Stop watching for a target; nothing happens where it was not watched."""
        self.leaves.append(ref)
        self.joined.pop(ref, None)

    def _schedule(self) -> None:
        if self.joined:
            asyncio.get_running_loop().call_later(self._delay, self._deliver)

    def _deliver(self) -> None:
        found: dict[tuple[str, TopicPartition, int | None], Push] = {}
        for joined in [joined for clusters in self.joined.values() for joined in clusters.values()]:
            self._grow(joined)
            for where, position in joined.positions.items():
                log = self._log(joined.kafka, where)
                if log is None:
                    continue
                if recreated := position > log.end:
                    joined.outdated.add(where)
                start = max(log.log_start, 0 if recreated else position)
                visible = range(start, log.visible_end(joined.isolation))
                offset = next((offset for offset in visible if offset not in log.invisible), None)
                if offset is None:
                    continue
                joined.positions[where] = log.visible_end(joined.isolation)
                # Two targets may sleep at different offsets of one log: each needs a push at or past its own. The
                # offsets of another log than the one that was joined compare with nothing.
                push = self._push(joined.kafka, where, None if where in joined.outdated else offset)
                found[joined.kafka.bootstrap_servers, where, push.offset] = push
        for push in found.values():
            self.pushes.append(push)
            self._listener.push(push)

    @staticmethod
    def _grow(joined: _Joined) -> None:
        """Partitions that a watched topic gained are watched from their beginning."""
        for topic in {topic for topic, _ in joined.positions}:
            known = max(number for name, number in joined.positions if name == topic)
            for number in range(known + 1, len(joined.kafka.topics.get(topic, ()))):
                joined.positions[topic, number] = 0

    @staticmethod
    def _log(kafka: FakeKafka, where: TopicPartition) -> FakePartition | None:
        """Return a log that can be read now."""
        topic, number = where
        logs = kafka.topics.get(topic, ())
        faulty = kafka.down is not None or topic in kafka.topic_errors or where in kafka.partition_errors
        return None if faulty or number >= len(logs) else logs[number]

    def _push(self, kafka: FakeKafka, where: TopicPartition, offset: int | None) -> Push:
        topic, number = where
        traceparent = None if offset is None else kafka.topics[topic][number].traceparents.get(offset)
        return Push(kafka.bootstrap_servers, topic, PushSource.TAIL, self._now(), number, offset, traceparent)
