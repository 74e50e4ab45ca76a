"""Offsets -> the lag that a new replica could really work off, partition by partition, with the rule that gave it.

Lag of a partition is max(0, end - max(committed, log start)). What makes it more than one line is when those three
numbers may be believed:

- An end offset that falls is not believed until two reads agree: brokers that restart have been seen to answer 0 for
  a moment, and a zero end is a zero lag, which would put a busy target to sleep. In the first reading a commit beyond
  the end is such a fall, too: the log once reached that far.
- A commit beyond an end that is believed means that the topic was recreated or truncated: the consumer will be told
  OFFSET_OUT_OF_RANGE and start by its reset policy, so the lag is that of a group without a commit.
- A commit before the log start counts from the log start: records that retention removed cannot be worked off.
- Without a commit `earliest` has everything to read. `latest` has nothing to read and is not safe to sleep: such a
  consumer joins after the record that wakes it, and skips it.
- With the offsets guard on, what is kept of a group (`kept_offsets`) stands in for a commit that it lost or never made:
  it will have been committed by the time that a consumer asks. While the group has members at `latest`, what they
  have read without a commit is not known, so records beyond the pin hold them awake and are not counted.
- A commit before the log start, at `latest`, is no safer to sleep with than none: the consumer that wakes finds it out
  of range and begins at the end. With the guard on it will have been moved to the log start.
- KEDA's `scaleToZeroOnInvalidOffset` takes a partition without a commit for one without lag, lossy as that is.
- Control markers of transactions and aborted records take offsets but are never handed to a consumer. A stretch that
  was probed and holds nothing else (`Phantom`) does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from activator.core.group_topics import names_no_topic
from activator.core.kept_offsets import WITHOUT_MEMBERS, follow, offset_of
from activator.core.model import (
    KeptOffsets,
    Lag,
    MetricType,
    OffsetReset,
    PartitionLag,
    PartitionOffsets,
    Trigger,
    TriggerOffsets,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from activator.core.model import Reading

TopicPartition = tuple[str, int]

_PROBLEMS_SHOWN = 3


class Rule(StrEnum):
    """Which line of the table gave a partition's lag."""

    UNREADABLE = "unreadable"
    END_FELL = "end-fell"
    NO_COMMIT_EARLIEST = "no-commit-earliest"
    NO_COMMIT_LATEST = "no-commit-latest"
    MARKERS_ONLY = "markers-only"
    COMMIT_BEFORE_LOG_START = "commit-before-log-start"
    COMMITTED = "committed"
    NO_COMMIT_IGNORED = "no-commit-ignored"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class PartitionMemory:
    """What one read of a partition leaves for the next."""

    end: int
    """The last end offset that was believed."""
    suspect_end: int | None = None
    """A lower end offset, seen once."""
    committed: int | None = None
    stuck: bool = False
    """The commit had not moved since the read before."""
    steady: bool = False
    """Neither commit nor end had moved since the read before: a probe of what is left may be worth its bytes."""
    phantom: tuple[int, int] | None = None
    """[start, end) was probed and holds nothing for a consumer."""


@dataclass(frozen=True, slots=True)
class LagMemory:
    """What the reads of one trigger leave for the next."""

    partitions: Mapping[TopicPartition, PartitionMemory] = field(default_factory=lambda: MappingProxyType({}))
    read_at: datetime | None = None
    """Of the reading that left it: the same reading, measured again after a probe, is not a second look."""
    kept: KeptOffsets = field(default_factory=KeptOffsets)
    """Where the group stands, whether or not Kafka has it by itself."""

    def with_phantom(self, partition: TopicPartition, start: int, end: int) -> LagMemory:
        """Return this memory with [start, end) of a partition known to hold nothing for a consumer."""
        known = self.partitions.get(partition)
        if known is None:
            return self
        if known.phantom is not None and known.phantom[1] == start:
            start = known.phantom[0]
        return replace(self, partitions={**self.partitions, partition: replace(known, phantom=(start, end))})


@dataclass(frozen=True, slots=True)
class Remainder:
    """A stretch of a partition that counts as lag and may hold nothing for a consumer."""

    partition: TopicPartition
    start: int
    end: int
    steady: bool
    """It has not moved since the read before."""


def measure(
    trigger: Trigger, reading: Reading, memory: LagMemory, *, guarded: bool = False
) -> tuple[Lag, tuple[PartitionLag, ...], LagMemory]:
    """Turn one reading of a trigger into its lag.

    Args:
        trigger: what is read.
        reading: its offsets, or why there are none.
        memory: what the reading before left.
        guarded: what is kept of the group counts as committed, because it will be.

    Returns:
        The lag of the trigger, that of each partition, and the memory for the next reading (unchanged where nothing
        could be read). The reading that left the memory may be measured again, to take a phantom into account: it
        does not count as a second look.
    """
    if not isinstance(reading, TriggerOffsets):
        return Lag(known=0, complete=False, partitions=None, problems=(reading.reason,)), (), memory
    reading = limited(trigger, reading)
    again = memory.read_at == reading.read_at
    believed = {
        offsets.partition: _believed_end(
            offsets, memory.partitions.get((offsets.topic, offsets.partition)), memory.kept, again=again
        )
        for offsets in reading.partitions
    }
    ends = {partition: end for partition, (end, _) in believed.items() if end is not None}
    followed = follow(memory.kept, trigger, reading, ends)
    stands_in = followed if guarded else KeptOffsets()
    lags: list[PartitionLag] = []
    kept: dict[TopicPartition, PartitionMemory] = {}
    scalable = arrived = 0
    problems: list[str] = []
    for offsets in reading.partitions:
        key = (offsets.topic, offsets.partition)
        before = memory.partitions.get(key)
        end, problem = believed[offsets.partition]
        if end is None or offsets.end is None:
            problems.append(problem)
            rule = Rule.UNREADABLE if offsets.end is None or offsets.error else Rule.END_FELL
            lags.append(PartitionLag(offsets.topic, offsets.partition, None, rule))
            if rule is Rule.END_FELL:
                known_end = before.end if before is not None else _stood(offsets, memory.kept) or 0
                before = before or PartitionMemory(known_end, committed=offsets.committed)
                kept[key] = replace(before, suspect_end=offsets.end, stuck=False, steady=False)
            elif before is not None:
                kept[key] = replace(before, stuck=False, steady=False)
            continue
        stand_in = offset_of(stands_in, offsets.partition)
        if stand_in is not None and offsets.committed is None and _counts(trigger, reading, stand_in, end):
            lag, rule, phantom = _without_phantom(max(stand_in, offsets.log_start or 0), end, Rule.KEPT, before)
        else:
            lag, rule, phantom = _partition_lag(trigger, offsets, end, before)
        lags.append(PartitionLag(offsets.topic, offsets.partition, lag, rule))
        stuck, steady = _movement(offsets, end, before, again=again)
        scalable += 0 if trigger.exclude_persistent_lag and stuck else lag
        arrived += 0 if before is None or again else max(0, end - before.end)
        kept[key] = PartitionMemory(end, committed=offsets.committed, stuck=stuck, steady=steady, phantom=phantom)
    if names_no_topic(trigger):
        nothing = "has no committed offsets, and no members that tell which topics it reads"
        problems.append(f"group {trigger.group} {nothing}: name the topic, or let it commit once")
    elif not lags:
        missing = "none of the partitions of partitionLimitation" if trigger.partition_limitation else "no partition"
        problems.append(f"{trigger.topic}: {missing} in the answer")
    known = [entry.lag for entry in lags if entry.lag is not None]
    total = Lag(
        known=sum(known),
        complete=len(known) == len(lags) > 0,
        partitions=len(lags) or None,
        readable=len(known),
        partitions_with_lag=sum(1 for lag in known if lag > 0),
        scalable=scalable,
        arrived=arrived,
        uncommitted=any(entry.rule == Rule.NO_COMMIT_LATEST for entry in lags),
        passed=not guarded
        and any(offsets.partition in ends and _is_passed(trigger, offsets) for offsets in reading.partitions),
        problems=tuple(problems[:_PROBLEMS_SHOWN]),
        read_at=reading.read_at,
        group_state=reading.group_state,
    )
    return total, tuple(lags), LagMemory(kept, reading.read_at, followed)


def limited(trigger: Trigger, reading: TriggerOffsets) -> TriggerOffsets:
    """Return a reading without the partitions that the user does not want to count."""
    if not trigger.partition_limitation:
        return reading
    kept = tuple(offsets for offsets in reading.partitions if offsets.partition in trigger.partition_limitation)
    return replace(reading, partitions=kept)


def _counts(trigger: Trigger, reading: TriggerOffsets, stand_in: int, end: int) -> bool:
    """Tell whether what is kept says what a new replica could work off.

    A member at `latest` that has not committed may have read what is beyond its pin, or may be at it just now.
    """
    unknown = trigger.offset_reset is OffsetReset.LATEST and reading.group_state not in WITHOUT_MEMBERS
    return stand_in >= end or not unknown


def _is_passed(trigger: Trigger, offsets: PartitionOffsets) -> bool:
    """Tell whether a consumer that starts would find the commit out of range, and go on at the end."""
    at_latest = trigger.offset_reset is OffsetReset.LATEST and not trigger.scale_to_zero_on_invalid_offset
    return at_latest and offsets.committed is not None and offsets.committed < (offsets.log_start or 0)


def _stood(offsets: PartitionOffsets, kept: KeptOffsets) -> int | None:
    """Return where the group stands by its commit, else by what is kept."""
    return offsets.committed if offsets.committed is not None else offset_of(kept, offsets.partition)


def _believed_end(
    offsets: PartitionOffsets, before: PartitionMemory | None, kept: KeptOffsets, *, again: bool
) -> tuple[int | None, str]:
    """Return the end offset if it may be believed, else None and why not."""
    place = f"{offsets.topic}-{offsets.partition}"
    if offsets.error is not None or offsets.end is None:
        return None, f"{place}: {offsets.error or 'no end offset in the answer'}"
    if before is None:
        stood = _stood(offsets, kept)
        if stood is None or stood <= offsets.end:
            return offsets.end, ""
        beyond = f"its end offset {offsets.end} lies before the group's commit {stood}"
        return None, f"{place}: {beyond}; a second look must agree"
    if offsets.end >= before.end:
        return offsets.end, ""
    # The log fell. A second read that does not fall below the first agrees with it: the log is shorter now.
    if before.suspect_end is not None and offsets.end >= before.suspect_end and not again:
        return offsets.end, ""
    return None, f"{place}: its end offset fell from {before.end} to {offsets.end}; a second look must agree"


def _movement(offsets: PartitionOffsets, end: int, before: PartitionMemory | None, *, again: bool) -> tuple[bool, bool]:
    """Return whether the commit has stood still since the read before, and whether commit and end have."""
    if before is None:
        return False, False
    if again:
        return before.stuck, before.steady
    stands = before.committed == offsets.committed
    return stands and offsets.committed is not None, stands and before.end == end


def _partition_lag(
    trigger: Trigger, offsets: PartitionOffsets, end: int, before: PartitionMemory | None
) -> tuple[int, Rule, tuple[int, int] | None]:
    committed, log_start = offsets.committed, offsets.log_start or 0
    if committed is None and trigger.scale_to_zero_on_invalid_offset:
        return 0, Rule.NO_COMMIT_IGNORED, None
    if committed is None or committed > end:
        if trigger.offset_reset is OffsetReset.LATEST:
            return 0, Rule.NO_COMMIT_LATEST, None
        return _without_phantom(log_start, end, Rule.NO_COMMIT_EARLIEST, before)
    if committed < log_start:
        return _without_phantom(log_start, end, Rule.COMMIT_BEFORE_LOG_START, before)
    return _without_phantom(committed, end, Rule.COMMITTED, before)


def _without_phantom(
    start: int, end: int, rule: Rule, before: PartitionMemory | None
) -> tuple[int, Rule, tuple[int, int] | None]:
    phantom = before.phantom if before is not None else None
    # A commit inside the probed stretch leaves its rest as empty as it was; one outside says nothing about it.
    if phantom is not None and phantom[0] <= start <= phantom[1] <= end and start < phantom[1]:
        left = end - phantom[1]
        return left, rule if left else Rule.MARKERS_ONLY, phantom
    return max(0, end - start), rule, None


def remainders(offsets: TriggerOffsets, lags: tuple[PartitionLag, ...], memory: LagMemory) -> Iterator[Remainder]:
    """Yield the stretches worth probing for markers: lags so small that they may be nothing else.

    A consumer that commits makes the remainder move; one that has nothing left to be handed cannot. The caller
    probes steady ones where they alone keep a target awake, and any where they alone would wake it.
    """
    lag_of = {(entry.topic, entry.partition): entry.lag for entry in lags}
    for partition in offsets.partitions:
        key = (partition.topic, partition.partition)
        known, lag = memory.partitions.get(key), lag_of.get(key)
        if known is not None and lag and lag <= MAX_PROBED_OFFSETS:
            yield Remainder(key, known.end - lag, known.end, known.steady)


MAX_PROBED_OFFSETS = 1000
"""Offsets in a remainder worth fetching: markers are one a partition and transaction, so many more are records."""


def served_value(trigger: Trigger, lag: Lag, replicas: int) -> int | None:
    """Return what the HPA may be told of a trigger: its lag, a floor where part is unreadable, None for "unknown".

    The HPA divides it by the threshold. With one partition of many unreadable, what is known may raise the count but
    must not lower it, so it is served no less than what holds the present count.
    """
    if lag.readable == 0 and lag.known == 0:
        return None
    value = asking_lag(trigger, lag)
    if not lag.complete:
        value = max(value, holding_value(trigger, replicas, replicas))
    return value


def asking_lag(trigger: Trigger, lag: Lag) -> int:
    """Return the lag that asks for replicas: transformed where the user asked for that (KEDA's parameters)."""
    value = lag.scalable
    if trigger.limit_to_partitions_with_lag:
        value = min(value, lag.partitions_with_lag * trigger.lag_threshold)
    if trigger.ensure_even_distribution and lag.partitions and value > 0:
        shares = [count for count in range(1, lag.partitions + 1) if lag.partitions % count == 0]
        even = next((count for count in shares if count * trigger.lag_threshold >= value), lag.partitions)
        value = even * trigger.lag_threshold
    return value


def holding_value(trigger: Trigger, wanted: int, replicas: int) -> int:
    """Return the value that makes an HPA set `wanted` replicas where there are `replicas`."""
    if trigger.metric_type is MetricType.VALUE:
        return wanted * trigger.lag_threshold // max(1, replicas)
    return wanted * trigger.lag_threshold
