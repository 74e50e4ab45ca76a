"""What is known of one trigger of one target, from one reading to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from activator.core import consumption, group_topics
from activator.core.kept_offsets import WITHOUT_MEMBERS, offset_of
from activator.core.lag import LagMemory, limited, measure
from activator.core.model import Lag, TriggerOffsets
from activator.ports import OFFSETS_KEPT_FOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from activator.core.consumption import NotConsumed
    from activator.core.model import PartitionLag, PartitionOffsets, Reading, Trigger, Unreadable
    from activator.ports import TopicPartition

    Extent = tuple[TopicPartition, int, int]
    """A partition, and which offsets of it: [start, end)."""

TRIED_AGAIN_AFTER = timedelta(minutes=1)
"""What is committed for a sleeper once more, and what fails of it, is not tried again sooner."""
PROLONGED_AGAIN_AFTER = OFFSETS_KEPT_FOR / 2
"""What a sleeper has committed is committed once more before it has slept so long that it expires."""

NEVER_READ = Lag(known=0, complete=False, partitions=None)


class LastingCommit(NamedTuple):
    """A commit of ours with a retention of its own."""

    offset: int
    since: datetime


@dataclass(slots=True)
class Tracker:
    """What is known of one trigger."""

    memory: LagMemory = field(default_factory=LagMemory)
    lag: Lag = NEVER_READ
    arrived: int = 0
    """Records that came since the last decision: of two readings between two decisions, those of both."""
    partitions: tuple[PartitionLag, ...] = ()
    offsets: TriggerOffsets | None = None
    """The last reading that was more than an error."""
    not_consumed: NotConsumed | None = None
    """Its lag is one that no member of the group will ever work off."""
    told: bool = False
    """That was told to a person."""
    record_found: tuple[Extent, datetime] | None = None
    """Where the last probe found a record, and when."""
    missing_since: datetime | None = None
    """Since when the broker has said that there is no such topic."""
    steady: bool = False
    """The last two looks have seen the group without members, and the same commits."""
    lasting: dict[int, LastingCommit] = field(default_factory=dict)
    """By partition, what was committed for the group with a retention of its own; nobody was seen to commit since."""
    prolonged_at: datetime | None = None
    """When that was last tried."""
    _settled: tuple[LagMemory, bool] | None = None
    """The memory that the last reading left, and whether it was guarded, where it left nothing that was not in the one
    before: the same reading once more would change nothing either."""

    def take(self, trigger: Trigger, reading: Reading, *, guarded: bool) -> None:
        """Take a reading in; `guarded`: what is kept of the group counts as committed."""
        if not isinstance(reading, TriggerOffsets):
            if self._is_gone(trigger, reading):
                return
            last = self.lag
            self.lag, self.partitions, self.memory = measure(trigger, reading, self.memory, guarded=guarded)
            # What was known of the topic's size and the group stays the best guess there is.
            self.lag = replace(self.lag, partitions=last.partitions, read_at=last.read_at, group_state=last.group_state)
            return
        self.missing_since = None
        before, reading = self.memory, limited(trigger, reading)
        if self._is_repeated(reading, guarded=guarded):  # the usual one of a sleeper
            self.steady = self.has_no_members
            self.lag = replace(self.lag, read_at=reading.read_at, arrived=self.arrived)
            self.memory = LagMemory(before.partitions, reading.read_at, before.kept)
            self._settled = self.memory, guarded
        else:
            self._follow_commits(reading)
            self.lag, self.partitions, self.memory = measure(trigger, reading, before, guarded=guarded)
            self.arrived += self.lag.arrived
            if self.arrived != self.lag.arrived:
                self.lag = replace(self.lag, arrived=self.arrived)
            unchanged = (before.partitions, before.kept) == (self.memory.partitions, self.memory.kept)
            self._settled = (self.memory, guarded) if unchanged and before.read_at != reading.read_at else None
        self.offsets = reading
        self.not_consumed = consumption.follow(self.not_consumed, trigger, reading, self.lag)
        self.told = self.told and self.not_consumed is not None

    @property
    def has_no_members(self) -> bool:
        """Whether the group had no members at the last look."""
        return self.lag.group_state in WITHOUT_MEMBERS

    def _follow_commits(self, reading: TriggerOffsets) -> None:
        """Take note whether the commits stand still, and drop what is no longer committed as it was prolonged."""
        if reading.group_state not in WITHOUT_MEMBERS or not self.has_no_members:
            self.steady, self.lasting = False, {}  # a commit of a member's ends such a retention
            return
        commits = {partition.partition: partition.committed for partition in reading.partitions}
        before = {} if self.offsets is None else {each.partition: each.committed for each in self.offsets.partitions}
        self.steady = commits == before
        self.lasting = {
            number: commit for number, commit in self.lasting.items() if commits.get(number) == commit.offset
        }

    def was_prolonged(self, commits: Mapping[int, int], since: datetime) -> None:
        """Take note that these commits have a retention of their own; none: it has failed."""
        self.lasting.update((number, LastingCommit(offset, since)) for number, offset in commits.items())

    def may_expire(self, now: datetime, asleep_since: datetime) -> bool:
        """Tell whether Kafka may forget a commit of a group that stands still, and it is time to see to it.

        What was prolonged in an earlier sleep does not count: a process that ran may have committed the very same.
        """
        if self.offsets is None or not self.steady or not self.lag.complete:
            return False
        if self.prolonged_at is not None and now - self.prolonged_at < TRIED_AGAIN_AFTER:
            return False
        lasts_from = max(asleep_since, now - PROLONGED_AGAIN_AFTER)
        return any(self._expires(partition, lasts_from) for partition in self.offsets.partitions)

    def _expires(self, partition: PartitionOffsets, lasts_from: datetime) -> bool:
        if partition.committed is None or offset_of(self.memory.kept, partition.partition) is None:
            return False
        lasting = self.lasting.get(partition.partition)
        return lasting is None or lasting.since < lasts_from

    def _is_gone(self, trigger: Trigger, reading: Unreadable) -> bool:
        """Take note that a topic does not exist; tell whether it has not for long enough to count for nothing.

        Only one that was found by the group's commits: one that a user names is a mistake, or yet to come.
        """
        self.missing_since = (self.missing_since or reading.since) if reading.missing else None
        if self.missing_since is None or not trigger.topics_of_group:
            return False
        if reading.since - self.missing_since < group_topics.MISSING_BELIEVED_AFTER:
            return False
        # What is kept of it stays: should it be made anew, nothing of it has been read.
        self.memory, self.offsets, self.partitions = LagMemory(kept=self.memory.kept), None, ()
        self.not_consumed, self._settled = None, None
        self.lag = Lag(0, complete=True, partitions=0, read_at=reading.since, group_state=reading.group_state)
        return True

    def _is_repeated(self, reading: TriggerOffsets, *, guarded: bool) -> bool:
        """Tell whether a reading says what the last one said, after which nothing changed any more."""
        if self._settled is None or self.offsets is None or not self.lag.complete:
            return False
        memory, was_guarded = self._settled
        if memory is not self.memory or was_guarded is not guarded or memory.read_at == reading.read_at:
            return False
        last = self.offsets
        return (last.group_state, last.topic_id, last.partitions) == (
            reading.group_state,
            reading.topic_id,
            reading.partitions,
        )

    def measure_again(self, trigger: Trigger, *, guarded: bool) -> None:
        """Measure the last reading anew, with what was learnt since: it is no second look."""
        if self.offsets is not None:
            arrived = self.lag.arrived
            self.lag, self.partitions, self.memory = measure(trigger, self.offsets, self.memory, guarded=guarded)
            self.lag = replace(self.lag, arrived=arrived)

    def was_committed(self, trigger: Trigger, commits: Mapping[int, int]) -> None:
        """Take note that a group without members has these offsets now."""
        if self.offsets is None:
            return
        partitions = (
            replace(partition, committed=commits.get(partition.partition, partition.committed))
            for partition in self.offsets.partitions
        )
        self.offsets = replace(self.offsets, partitions=tuple(partitions))
        self.measure_again(trigger, guarded=True)

    def commits(self) -> Iterator[tuple[TopicPartition, int]]:
        """Yield the committed offset of each partition that has one."""
        for partition, known in self.memory.partitions.items():
            if known.committed is not None:
                yield partition, known.committed
