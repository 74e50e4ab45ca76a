"""What is known of one trigger of one target, from one reading to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from activator.core import consumption, group_topics
from activator.core.lag import LagMemory, limited, measure
from activator.core.model import Lag, TriggerOffsets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from activator.core.consumption import NotConsumed
    from activator.core.model import PartitionLag, Reading, Trigger, Unreadable
    from activator.ports import TopicPartition

    Extent = tuple[TopicPartition, int, int]
    """A partition, and which offsets of it: [start, end)."""

NEVER_READ = Lag(known=0, complete=False, partitions=None)


@dataclass(slots=True)
class Tracker:
    """What is known of one trigger."""

    memory: LagMemory = field(default_factory=LagMemory)
    lag: Lag = NEVER_READ
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
            self.lag = replace(self.lag, read_at=reading.read_at)
            self.memory = LagMemory(before.partitions, reading.read_at, before.kept)
            self._settled = self.memory, guarded
        else:
            self.lag, self.partitions, self.memory = measure(trigger, reading, before, guarded=guarded)
            unchanged = (before.partitions, before.kept) == (self.memory.partitions, self.memory.kept)
            self._settled = (self.memory, guarded) if unchanged and before.read_at != reading.read_at else None
        self.offsets = reading
        self.not_consumed = consumption.follow(self.not_consumed, trigger, reading, self.lag)
        self.told = self.told and self.not_consumed is not None

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
