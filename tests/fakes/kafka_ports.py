"""The ports over one or several `FakeKafka`: they pass the contract suites that the real adapters pass."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from activator.core.model import (
    Cluster,
    GroupState,
    IsolationLevel,
    Push,
    PushSource,
    Reading,
    TargetRef,
    Trigger,
    Unreadable,
)
from activator.errors import ConflictError, DeniedError, NotFoundError, UnavailableError
from tests.fakes.kafka import FakeGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from activator.ports import PushListener, TopicPartition
    from tests.fakes.kafka import FakeKafka, FakePartition

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


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
        missing = kafka.groups.setdefault(group, FakeGroup()).lacks(topic, offsets, passed)
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
