"""The tail of one cluster: every watched partition is, at any time, in one of four places.

- fetched: in the fetch session with its leader;
- looked at: asked for its end offset every second, because its leader declines sessions or READ is not granted, or
  because its log does not reach our position (recreated, truncated or trimmed);
- resting: a moment after a push (its target wakes meanwhile and leaves), or after an error of the partition, which the
  broker would otherwise repeat in every answer at once;
- homeless: without a known leader, until metadata tells one.

`_place` is the only way into a place, `_take_out` the only way out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from activator.core.model import Push, PushSource
from activator.kafka.broker_tail import BrokerTail
from activator.kafka.error_codes import LEADER_MOVED, ErrorCode, error_name
from activator.kafka.leaders import Leaders
from activator.kafka.offsets import list_ranges
from activator.kafka.requests import NO_LEADER
from activator.kafka.topology import Topology
from activator.kafka.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from activator.core.model import TargetRef
    from activator.kafka.client import ClusterClient
    from activator.kafka.fetch import FetchedPartition
    from activator.kafka.watch import Sighting
    from activator.ports import PushListener, TopicPartition

WAIT_SECONDS = 1.0
LONG_WAIT_SECONDS = 2.0
MANY_PARTITIONS = 5000
LOOK_SECONDS = 1.0
REST_AFTER_PUSH_SECONDS = 1.0
"""How often at most one partition is pushed while its target stays asleep."""
FIRST_REST_SECONDS = 0.1
MAX_REST_SECONDS = 5.0
GOOD_SECONDS = 10.0
"""A partition that was fetched for so long without an error has recovered."""
SESSION_RETRY_SECONDS = 60.0
"""When to try a session again where it was declined, or READ was not granted."""

_SLOWER = f"its sleeping targets wake within {LOOK_SECONDS:g} s instead of milliseconds"

_log = logging.getLogger(__name__)


class Watched(NamedTuple):
    """How many partitions are watched in which way."""

    fetched: int
    """In a fetch session: a push comes within milliseconds."""
    looked_at: int
    """By a look at the end offset every second."""
    waiting: int
    """Not watched just now: no leader, or resting after a push or an error."""


WatchKey = tuple[str, int, bool]
"""Topic, partition, and whether only committed records count."""


@dataclass(eq=False, slots=True)
class _Entry:
    """A watch and where it is."""

    watch: Watch
    fetched_by: BrokerTail | None = None
    looked_at: bool = False
    resting: asyncio.TimerHandle | None = None
    errors: int = 0
    fetched_since: float = 0.0
    no_session_before: float = 0.0

    @property
    def where(self) -> TopicPartition:
        return self.watch.topic, self.watch.partition


@dataclass(slots=True)
class _Sleeper:
    """What one target watches."""

    keys: set[WatchKey] = field(default_factory=set)
    partitions: dict[str, int] = field(default_factory=dict)
    """Number of partitions that each topic had when it was joined: any beyond is new."""
    read_committed: bool = False


class ClusterTail:
    """Watches one cluster."""

    def __init__(self, client: ClusterClient, listener: PushListener, now: Callable[[], datetime]) -> None:
        self._client = client
        self._listener = listener
        self._now = now
        self._topology = Topology(client)
        self._leaders = Leaders(client.where, self._topology, lambda: self._by_topic, self._moved)
        self._entries: dict[WatchKey, _Entry] = {}
        self._by_topic: dict[str, set[WatchKey]] = defaultdict(set)
        self._sleepers: dict[TargetRef, _Sleeper] = {}
        self._brokers: dict[tuple[int, bool], list[BrokerTail]] = defaultdict(list)
        self._tasks: asyncio.TaskGroup | None = None
        self._look_wanted = asyncio.Event()
        self._told: set[str] = set()

    # ------------------------------------------------------------------------------------------ who watches what

    def join(self, ref: TargetRef, positions: Mapping[TopicPartition, int], *, read_committed: bool) -> None:
        """Watch for a target instead of what it watched before."""
        self.leave(ref)
        sleeper = self._sleepers[ref] = _Sleeper(read_committed=read_committed)
        for (topic, number), offset in positions.items():
            sleeper.partitions[topic] = max(sleeper.partitions.get(topic, 0), number + 1)
            self._add(ref, sleeper, topic, number, offset)
        for topic in sleeper.partitions:
            self._watch_growth(ref, sleeper, topic)

    def leave(self, ref: TargetRef) -> None:
        """Stop watching for a target."""
        sleeper = self._sleepers.pop(ref, None)
        for key in sleeper.keys if sleeper is not None else ():
            entry = self._entries[key]
            entry.watch.leave(ref)
            if not entry.watch.positions:
                self._take_out(entry)
                del self._entries[key]
                self._by_topic[key[0]].discard(key)
                if not self._by_topic[key[0]]:
                    del self._by_topic[key[0]]
                    self._leaders.forget(key[0])

    def watched(self) -> Watched:
        """Count partitions by how they are watched. Safe in any thread: Prometheus' page is made in one of its own."""
        entries = list(self._entries.values())
        fetched = sum(entry.fetched_by is not None for entry in entries)
        looked_at = sum(entry.looked_at for entry in entries)
        return Watched(fetched, looked_at, len(entries) - fetched - looked_at)

    def _add(self, ref: TargetRef, sleeper: _Sleeper, topic: str, number: int, offset: int) -> None:
        key = (topic, number, sleeper.read_committed)
        sleeper.keys.add(key)
        if key not in self._entries:
            self._entries[key] = _Entry(Watch(*key))
            self._by_topic[topic].add(key)
        entry = self._entries[key]
        entry.watch.join(ref, offset)
        self._place(entry)

    def _watch_growth(self, ref: TargetRef, sleeper: _Sleeper, topic: str) -> None:
        """Watch partitions that a topic has gained since it was joined, from their beginning."""
        for number in self._leaders.of(topic) or ():
            key = (topic, number, sleeper.read_committed)
            if number >= sleeper.partitions[topic] and key not in sleeper.keys:
                self._add(ref, sleeper, topic, number, 0)

    def _moved(self, topic: str) -> None:
        """Take note of a topic's new leaders or partitions."""
        for key in list(self._by_topic[topic]):
            if (entry := self._entries[key]).resting is None:
                self._place(entry)
        for ref in {ref for key in self._by_topic[topic] for ref in self._entries[key].watch.positions}:
            self._watch_growth(ref, self._sleepers[ref], topic)

    # ------------------------------------------------------------------------------------------ where a watch is

    def _place(self, entry: _Entry) -> None:
        """Put a watch where it belongs now, out of wherever it was."""
        if self._tasks is None:
            return  # `run` places everything when it begins
        clock = asyncio.get_running_loop().time()
        self._take_out(entry, keep=True)
        topic, number = entry.where
        leaders = self._leaders.of(topic)
        if leaders is None:
            self._leaders.ask(topic)
        leader = (leaders or {}).get(number, NO_LEADER)
        if leader == NO_LEADER:
            self._leave_fetch(entry)
            return
        broker = self._broker(entry, leader)
        if entry.watch.shorter_end is not None or clock < max(entry.no_session_before, broker.no_session_before):
            self._leave_fetch(entry)
            entry.looked_at = True
            self._look_wanted.set()
            return
        if entry.fetched_by is not broker:
            self._leave_fetch(entry)
            entry.fetched_by, entry.fetched_since = broker, clock
        broker.put(entry.where, entry.watch.position)

    def _take_out(self, entry: _Entry, *, keep: bool = False) -> None:
        """Take a watch out of its place; `keep` leaves it in its fetch session, whose position is about to change."""
        if entry.resting is not None:
            entry.resting.cancel()
            entry.resting = None
        entry.looked_at = False
        if not keep:
            self._leave_fetch(entry)

    @staticmethod
    def _leave_fetch(entry: _Entry) -> None:
        if entry.fetched_by is not None:
            entry.fetched_by.drop(entry.where)
            entry.fetched_by = None

    def _rest(self, entry: _Entry, seconds: float) -> None:
        self._take_out(entry)
        entry.resting = asyncio.get_running_loop().call_later(seconds, self._place, entry)

    def _broker(self, entry: _Entry, leader: int) -> BrokerTail:
        """Return the tail of the leader that fetches a watch already, or one that has room for it."""
        there = self._brokers[leader, entry.watch.read_committed]
        if entry.fetched_by is not None and entry.fetched_by in there:
            return entry.fetched_by
        broker = next((broker for broker in there if broker.has_room()), None)
        if broker is None:
            committed = entry.watch.read_committed
            broker = BrokerTail(self._client, leader, self, read_committed=committed, number=len(there))
            there.append(broker)
            if self._tasks is not None:
                self._tasks.create_task(broker.run(), name=f"tail of {self._client.place(leader)}")
        return broker

    # ------------------------------------------------------------------------------------------ what brokers tell

    @property
    def wait_seconds(self) -> float:
        """How long a fetch may wait: longer where a broker has much to walk over each time."""
        return LONG_WAIT_SECONDS if len(self._entries) > MANY_PARTITIONS else WAIT_SECONDS

    def fetched(self, broker: BrokerTail, answer: FetchedPartition, asked_from: int) -> None:
        """Take one partition of a fetch's answer."""
        entry = self._entries.get((answer.topic, answer.partition, broker.read_committed))
        if entry is None or entry.fetched_by is not broker:
            return  # left, or moved on, while the answer was on its way
        if answer.error:
            self._failed(entry, answer.error)
            return
        entry.errors = 0
        if sightings := entry.watch.fetched(answer, asked_from):
            self._push(entry, sightings)
        else:
            broker.put(entry.where, entry.watch.position)

    def lost(self, broker: BrokerTail) -> None:
        """A broker did not answer: its partitions may be led elsewhere by now."""
        self._leaders.ask(*{topic for topic, _ in broker.partitions()})

    def declined(self, broker: BrokerTail) -> None:
        """A broker keeps no session for us: look at its partitions instead for a while."""
        broker.no_session_before = asyncio.get_running_loop().time() + SESSION_RETRY_SECONDS
        self._tell_once(
            f"{self._client.place(broker.node_id)} grants no fetch session (are all of its "
            f"max.incremental.fetch.session.cache.slots in use?): {_SLOWER}"
        )
        for topic, number in broker.partitions():
            self._place(self._entries[topic, number, broker.read_committed])

    def _failed(self, entry: _Entry, code: int) -> None:
        topic, _ = entry.where
        clock = asyncio.get_running_loop().time()
        if code == ErrorCode.OFFSET_OUT_OF_RANGE:
            entry.no_session_before = clock + LOOK_SECONDS / 2  # until a look has told why
            self._take_out(entry)
            self._place(entry)
        elif code in LEADER_MOVED:
            if clock - entry.fetched_since > GOOD_SECONDS:
                entry.errors = 0
            self._leaders.ask(topic)
            self._rest(entry, min(MAX_REST_SECONDS, FIRST_REST_SECONDS * 2 ** min(entry.errors, 10)))
            entry.errors += 1
        else:
            ask = f": grant the ACL Read on Topic {topic}" if code == ErrorCode.TOPIC_AUTHORIZATION_FAILED else ""
            self._tell_once(f"{self._client.where}: {error_name(code)} on fetching topic {topic!r}: {_SLOWER}{ask}")
            entry.no_session_before = clock + SESSION_RETRY_SECONDS
            self._take_out(entry)
            self._place(entry)

    def _push(self, entry: _Entry, sightings: Iterable[Sighting]) -> None:
        topic, number = entry.where
        for sighting in sightings:
            self._listener.push(
                Push(
                    bootstrap_servers=self._client.cluster.bootstrap_servers,
                    topic=topic,
                    source=PushSource.TAIL,
                    seen_at=self._now(),
                    partition=number,
                    offset=sighting.offset,
                    traceparent=sighting.traceparent,
                )
            )
        if entry.watch.positions:  # a listener may have left at once
            self._rest(entry, REST_AFTER_PUSH_SECONDS)

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            _log.warning("%s", message)

    # ------------------------------------------------------------------------------------------ tasks

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._leaders.run())
                tasks.create_task(self._keep_looking())
                for entry in self._entries.values():
                    self._place(entry)
        finally:
            self._tasks = None
            for entry in self._entries.values():
                self._take_out(entry)
            self._brokers.clear()

    async def _keep_looking(self) -> None:
        """Ask every second for the ends of the logs that no session watches."""
        while True:
            self._look_wanted.clear()
            for read_committed in (False, True):
                await self._look_at(
                    {
                        entry.where: entry
                        for entry in self._entries.values()
                        if entry.looked_at and entry.watch.read_committed is read_committed
                    },
                    read_committed=read_committed,
                )
            if not any(entry.looked_at for entry in self._entries.values()):
                await self._look_wanted.wait()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_at(self, entries: Mapping[TopicPartition, _Entry], *, read_committed: bool) -> None:
        positions = {where: entry.watch.position for where, entry in entries.items()}
        if not positions:
            return
        found = await list_ranges(self._client, self._topology, positions, read_committed=read_committed)
        for where, (start, end) in found.items():
            entry = entries[where]
            if not entry.looked_at:
                continue  # left, or placed anew, while the answer was on its way
            sightings = entry.watch.looked(start, end)
            if sightings:
                self._push(entry, sightings)
            else:
                self._place(entry)
