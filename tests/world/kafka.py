"""Kafka as one seed has it: what is true, what the lag reader and the tail are told of it, and who consumes.

`FakeKafka` holds logs and commits. Here the way there takes time, breaks, and lies: a reader gets the commits of one
moment and the ends of a later one, as from real brokers, and a broker may answer with an end that is not true.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from activator.core.group_topics import names_no_topic
from activator.core.model import (
    GroupState,
    IsolationLevel,
    OffsetReset,
    PartitionOffsets,
    Push,
    PushSource,
    Reading,
    TriggerOffsets,
    Unreadable,
)
from activator.errors import NotFoundError, UnavailableError, WakegateError
from tests.fakes.kafka import FakeGroup, FakeKafka, FakePartition
from tests.fakes.kafka_ports import FakeGroupOffsets
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from activator.core.model import Cluster, TargetRef, Trigger
    from activator.ports import PushListener, TopicPartition
    from tests.world.evidence import Witness
    from tests.world.scheduler import Process

FIRST_OFFSET = 5000
"""Where every log stands at the beginning, so that it has room to be wrong about."""
DEADLINE_SECONDS = 5.0
"""After so long a read is given up."""
READ_SECONDS = (0.002, 0.02)
"""How long each half of a read takes, while nothing is broken."""
TAIL_SECONDS = 0.02
"""How long a record takes at most from the log to a push, while nothing is broken."""
TAIL_RECONNECTS_SECONDS = 0.5


class Logs(FakeKafka):
    """One cluster: its logs, when each record arrived, and what its brokers do wrong."""

    def __init__(self, bootstrap_servers: str, dice: random.Random) -> None:
        super().__init__(bootstrap_servers)
        self.dice = dice
        self.arrivals: defaultdict[TopicPartition, list[tuple[int, float]]] = defaultdict(list)
        """Per partition: (end of the log, since when)."""
        self.lies: dict[str, Callable[[TopicPartition, int], int | None]] = {}
        """Per topic: what is told instead of the true end."""
        self.undetectable: set[str] = set()
        """Topics whose lies nobody can tell from the truth by looking at offsets."""
        self.tail_broken_until = 0.0
        """The tail has no connection until then."""
        self.read_seconds = READ_SECONDS
        """How long each half of a read takes now."""
        self.down_at_once = False
        """It answers with an error instead of not at all."""
        self.answers_lost: set[str] = set()
        """Groups whose commits by us are made, and not answered."""
        self.renewed_at: dict[str, float] = {}
        """When a commit was last made for a group by somebody who is no member of it."""
        self.on_commit: Callable[..., None] = lambda *_: None
        """Told of every commit that reaches a broker so."""
        self.faults = 0
        """How many are under way."""
        self.healthy_since = 0.0

    def later(self) -> float:
        """Draw how long half a read takes."""
        return self.dice.uniform(*self.read_seconds)

    def arrived(self, where: TopicPartition) -> None:
        """Note that the log is longer now."""
        self.arrivals[where].append((self.topics[where[0]][where[1]].end, seeded_loop().time()))

    def age_of(self, where: TopicPartition, offset: int) -> float:
        """Return how long ago the record at an offset arrived."""
        now = seeded_loop().time()
        return next((now - since for end, since in self.arrivals[where] if end > offset), 0.0)

    def copy_of(self, group: str) -> FakeGroup:
        """Return a group as it is at this moment."""
        found = self.groups.get(group)
        if found is None:
            return FakeGroup(GroupState.DEAD, None)
        return FakeGroup(found.state, found.members, dict(found.commits), found.consumed)

    def told_end(self, where: TopicPartition, isolation: IsolationLevel) -> int | None:
        """Return what a broker answers for the end of a log; None: an error."""
        log = self.topics[where[0]][where[1]]
        end = log.visible_end(isolation)
        lie = self.lies.get(where[0])
        return end if lie is None else lie(where, end)


def start_of(log: FakePartition, trigger: Trigger, committed: int | None) -> int:
    """Return where a consumer starts to read a partition."""
    if committed is None or committed > log.end:
        earliest = trigger.offset_reset is OffsetReset.EARLIEST
        return log.log_start if earliest else log.visible_end(trigger.isolation)
    return max(committed, log.log_start)


def count(logs: Logs, trigger: Trigger, commits: Mapping[TopicPartition, int]) -> int:
    """Count the records that a consumer would be given; cheap where there are no markers."""
    total = 0
    for number, log in enumerate(logs.topics.get(trigger.topic, ())):
        committed = commits.get((trigger.topic, number))
        if committed == log.end:
            continue
        start = start_of(log, trigger, committed)
        end = log.visible_end(trigger.isolation)
        total += max(0, end - start)
        if log.invisible and end > start:
            total -= sum(1 for offset in log.invisible if start <= offset < end)
    return total


class Reader:
    """`ports.LagReader` of one process."""

    def __init__(self, process: Process, clusters: Mapping[str, Logs], witness: Witness) -> None:
        self._process = process
        self._clusters = clusters
        self._witness = witness

    async def read(self, cluster: Cluster, triggers: Sequence[Trigger], now: datetime) -> Mapping[Trigger, Reading]:
        """Answer from the commits of one moment and the ends of a later one."""
        logs, loop = self._clusters[cluster.bootstrap_servers], seeded_loop()
        asked_at = loop.time()
        await asyncio.sleep(logs.later())
        if logs.down is not None:
            if not logs.down_at_once:
                await asyncio.sleep(DEADLINE_SECONDS)
            reason = f"Kafka {cluster.bootstrap_servers}: {logs.down}"
            readings: dict[Trigger, Reading] = {trigger: Unreadable(reason, now) for trigger in triggers}
            for trigger, reading in readings.items():
                self._witness.was_told(self._process, trigger, reading, {}, asked_at)
            return readings
        groups = [logs.copy_of(trigger.group) for trigger in triggers]
        await asyncio.sleep(logs.later())
        readings = {}
        for trigger, group in zip(triggers, groups, strict=True):
            readings[trigger] = reading = self._answer(logs, trigger, group, now)
            self._witness.was_told(self._process, trigger, reading, group.commits, asked_at)
        return readings

    async def probe(self, trigger: Trigger, partition: TopicPartition, start: int, end: int) -> bool | None:
        """Tell whether a consumer would be given any record in [start, end)."""
        logs = self._clusters[trigger.cluster.bootstrap_servers]
        await asyncio.sleep(logs.later())
        return logs.records_visible(*partition, start, end)

    def _answer(self, logs: Logs, trigger: Trigger, group: FakeGroup, now: datetime) -> Reading:
        place = f"Kafka {logs.bootstrap_servers}"
        if logs.down is not None:
            return Unreadable(f"{place}: {logs.down}", now)
        if names_no_topic(trigger):
            return self._topics(logs, trigger, group, now)
        if trigger.topic not in logs.topics:
            why = f"{place}: UNKNOWN_TOPIC_OR_PARTITION: topic {trigger.topic!r}"
            by_group = trigger.topics_of_group  # nobody asks for the rest where a topic is named
            state = group.state if by_group else GroupState.UNKNOWN
            return Unreadable(why, now, missing=by_group, group_state=state)
        for what, faults, name in (
            ("topic", logs.topic_errors, trigger.topic),
            ("group", logs.group_errors, trigger.group),
        ):
            if (error := faults.get(name)) is not None:
                return Unreadable(f"{place}: {error}: {what} {name!r}", now)
        partitions = tuple(
            self._partition(logs, trigger, group, number) for number in range(len(logs.topics[trigger.topic]))
        )
        if all(partition.error for partition in partitions):
            return Unreadable(f"{place}: topic {trigger.topic!r}: {partitions[0].error}", now)
        topic_id = logs.topic_ids[trigger.topic]
        return TriggerOffsets(partitions, now, group.state, group.members, topic_id, group.consumed)

    @staticmethod
    def _topics(logs: Logs, trigger: Trigger, group: FakeGroup, now: datetime) -> Reading:
        """Answer which topics a group has committed on: those that may be described."""
        if (error := logs.group_errors.get(trigger.group)) is not None:
            return Unreadable(f"Kafka {logs.bootstrap_servers}: {error}: group {trigger.group!r}", now)
        committed = frozenset(topic for topic, _ in group.commits if topic not in logs.topic_errors)
        return TriggerOffsets((), now, group.state, group.members, consumed=group.consumed, topics=committed)

    @staticmethod
    def _partition(logs: Logs, trigger: Trigger, group: FakeGroup, number: int) -> PartitionOffsets:
        where = (trigger.topic, number)
        if (error := logs.partition_errors.get(where)) is not None:
            return PartitionOffsets(trigger.topic, number, error=error)
        end = logs.told_end(where, trigger.isolation)
        if end is None:
            return PartitionOffsets(trigger.topic, number, error="LEADER_NOT_AVAILABLE")
        committed = group.commits.get(where)
        log_start = None if committed == end else logs.topics[trigger.topic][number].log_start
        if log_start is not None and where[0] not in logs.lies:
            end = max(end, log_start)
        return PartitionOffsets(trigger.topic, number, end, committed, log_start)


class GroupOffsets(FakeGroupOffsets):
    """`ports.GroupOffsets` of one process: a commit that was sent outlives its sender, and its answer may be lost.

    What the adapter does in two requests (what is there, then what is missing) is one moment here: a reset by an
    operator between the two is not promised to survive (docs/safety.md), so it is not struck.
    """

    def __init__(self, process: Process, clusters: Mapping[str, Logs], witness: Witness) -> None:
        super().__init__(*clusters.values())
        self._process = process
        self._clusters = clusters
        self._witness = witness

    async def check(self, cluster: Cluster, group: str, topic: str) -> None:  # noqa: ARG002 - the port's
        """Find out whether we may commit."""
        logs = await self._reach(cluster)
        self._may_commit(logs, group)
        await asyncio.sleep(logs.later())
        self._witness.may_commit(self._process, group)

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
        return await self._send("missing", cluster, group, topic, offsets, topic_id, passed)

    async def commit_again(
        self, cluster: Cluster, group: str, topic: str, offsets: Mapping[int, int], *, topic_id: str | None = None
    ) -> Mapping[int, int]:
        """Commit for a group without members, where it stands."""
        return await self._send("again", cluster, group, topic, offsets, topic_id)

    async def _reach(self, cluster: Cluster) -> Logs:
        logs = self._clusters[cluster.bootstrap_servers]
        await asyncio.sleep(logs.later())
        if logs.down is not None:
            if not logs.down_at_once:
                await asyncio.sleep(DEADLINE_SECONDS)
            raise UnavailableError(f"Kafka {logs.bootstrap_servers}", logs.down)
        return logs

    async def _send(
        self,
        what: str,
        cluster: Cluster,
        group: str,
        topic: str,
        offsets: Mapping[int, int],
        topic_id: str | None,
        passed: Collection[int] = (),
    ) -> Mapping[int, int]:
        logs, loop = await self._reach(cluster), seeded_loop()
        answered: asyncio.Future[Mapping[int, int]] = loop.create_future()

        def arrive() -> None:
            try:
                there = self._commit_now(what, logs, group, topic, offsets, topic_id, passed)
            except WakegateError as error:
                logs.on_commit(what, group, type(error).__name__)
                loop.later(logs.later(), _settle, answered, error)
            else:
                logs.on_commit(what, group, sorted(there.items()))
                lost = UnavailableError(f"Kafka {logs.bootstrap_servers}", f"no answer to a commit of {group!r}")
                loop.later(logs.later(), _settle, answered, lost if group in logs.answers_lost else there)

        loop.later(logs.later(), arrive)
        there = await answered
        self._witness.has_committed(self._process, topic, there)
        return there

    def _commit_now(
        self,
        what: str,
        logs: Logs,
        group: str,
        topic: str,
        offsets: Mapping[int, int],
        topic_id: str | None,
        passed: Collection[int],
    ) -> Mapping[int, int]:
        if logs.down is not None:
            raise UnavailableError(f"Kafka {logs.bootstrap_servers}", logs.down)
        self._may_commit(logs, group)
        if topic not in logs.topics:
            raise NotFoundError(f"Kafka {logs.bootstrap_servers}: topic {topic!r} does not exist")
        stands = self._stands(logs, group, topic, offsets)
        if what == "again":
            self._write(logs, group, topic, stands, topic_id)
        elif not self._write_missing(logs, group, topic, offsets, topic_id, passed):
            return stands
        logs.renewed_at[group] = seeded_loop().time()
        return self._stands(logs, group, topic, offsets)


def _settle(answered: asyncio.Future[Mapping[int, int]], answer: Mapping[int, int] | WakegateError) -> None:
    if answered.done():  # who asked may have given up
        return
    if isinstance(answer, WakegateError):
        answered.set_exception(answer)
    else:
        answered.set_result(answer)


@dataclass
class Watch:
    """What the tail watches of one cluster for one target."""

    logs: Logs
    positions: dict[TopicPartition, int]
    isolation: IsolationLevel
    since: float
    outdated: set[TopicPartition] = field(default_factory=set)
    """Partitions whose log was another one when it was joined."""


class Tail:
    """`ports.WakeSource` of one process."""

    def __init__(
        self,
        process: Process,
        clusters: Mapping[str, Logs],
        listener: PushListener,
        now: Callable[[], datetime],
        dice: random.Random,
    ) -> None:
        self._process = process
        self._clusters = clusters
        self._listener = listener
        self._now = now
        self._dice = dice
        self.watched: dict[TargetRef, dict[Cluster, Watch]] = {}
        self._due: dict[Logs, float] = {}
        for logs in clusters.values():
            logs.on_change(partial(self._schedule, logs))

    def join(
        self,
        ref: TargetRef,
        cluster: Cluster,
        positions: Mapping[TopicPartition, int],
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> None:
        """Watch for a target; a record already there is pushed at once."""
        logs = self._clusters[cluster.bootstrap_servers]
        watch = Watch(logs, dict(positions), isolation, seeded_loop().time())
        self.watched.setdefault(ref, {})[cluster] = watch
        self._schedule(logs)

    def leave(self, ref: TargetRef) -> None:
        """Stop watching for a target."""
        self.watched.pop(ref, None)

    def watching_since(self, ref: TargetRef, where: TopicPartition) -> float | None:
        """Tell since when a partition is watched for a target; None: it is not."""
        for watch in self.watched.get(ref, {}).values():
            if where in watch.positions:
                return watch.since
        return None

    def _schedule(self, logs: Logs) -> None:
        if not self._process.alive or not self.watched:
            return
        loop = seeded_loop()
        at = loop.time() + self._dice.uniform(0.001, TAIL_SECONDS)
        if loop.time() < logs.tail_broken_until:
            at = logs.tail_broken_until + TAIL_RECONNECTS_SECONDS
        if self._due.get(logs, -1.0) < loop.time() or at < self._due[logs]:
            self._due[logs] = at
            loop.call_at(at, self._deliver, logs, context=self._process.context)

    def _deliver(self, logs: Logs) -> None:
        self._due.pop(logs, None)
        if seeded_loop().time() < logs.tail_broken_until:
            self._schedule(logs)
            return
        found: dict[tuple[TopicPartition, int | None], None] = {}
        for watch in [watch for watches in self.watched.values() for watch in watches.values() if watch.logs is logs]:
            self._grow(watch)
            for where, position in watch.positions.items():
                log = self._log(logs, where)
                if log is None:
                    continue
                if recreated := position > log.end:
                    watch.outdated.add(where)
                start = max(log.log_start, 0 if recreated else position)
                end = log.visible_end(watch.isolation)
                offset = next((offset for offset in range(start, end) if offset not in log.invisible), None)
                if offset is not None:
                    watch.positions[where] = end
                    found[where, None if where in watch.outdated else offset] = None
        for where, offset in found:
            self._listener.push(Push(logs.bootstrap_servers, where[0], PushSource.TAIL, self._now(), where[1], offset))

    @staticmethod
    def _grow(watch: Watch) -> None:
        for topic in dict.fromkeys(topic for topic, _ in watch.positions):
            known = max(number for name, number in watch.positions if name == topic)
            for number in range(known + 1, len(watch.logs.topics.get(topic, ()))):
                watch.positions[topic, number] = 0

    @staticmethod
    def _log(logs: Logs, where: TopicPartition) -> FakePartition | None:
        found = logs.topics.get(where[0], ())
        faulty = logs.down is not None or where[0] in logs.topic_errors or where in logs.partition_errors
        return None if faulty or where[1] >= len(found) else found[where[1]]
