"""Where groups stood, kept while their workloads sleep, and what of it Kafka has forgotten.

Kafka forgets the offsets of a group without members (`offsets.retention.minutes`, seven days), and has none of a group
that never committed. A consumer at `latest` that wakes without an offset skips the record that woke it, one at
`earliest` reads the topic again. So each look carries on what the look before it kept:

- A commit that is there is what is kept, whoever made it: an operator who resets offsets while it sleeps wins.
- A commit that is missing leaves what was kept: that is what is to be committed again.
- A group at `latest` that has never committed is pinned where the log ended when it was first seen so.
- A commit that lies before the log start, at `latest`, is as good as none: a consumer finds it out of range and begins
  at the end, past what woke it. The log start is what is to be committed; at `earliest` it begins there by itself.
- A partition that a known topic has gained, and every partition of a topic that was recreated, is kept from its
  beginning: nothing of it can have been read.
- At `earliest` nothing needs to be kept of what was never committed: the consumer begins where nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.model import GroupState, KeptOffsets, OffsetReset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import PartitionOffsets, Trigger, TriggerOffsets

WITHOUT_MEMBERS = frozenset({GroupState.EMPTY, GroupState.DEAD})
"""The states of a group for which somebody else than a member may commit (Dead: it does not exist)."""


@dataclass(frozen=True, slots=True)
class MissingCommit:
    """A partition on which a group has no commit to begin from although it is known where it stands."""

    topic: str
    partition: int
    offset: int
    """What is to be committed: what is kept, or the log start where retention has passed that."""
    expired: int
    """Offsets between the two: at most as many records are gone unread."""
    pinned: bool
    """It never had a commit there."""
    passed: bool = False
    """It has a commit there, which the log start has passed."""


def offset_of(kept: KeptOffsets, partition: int) -> int | None:
    """Return what is kept of a partition; None: nothing."""
    return kept.offsets[partition] if partition < len(kept.offsets) else None


def follow(kept: KeptOffsets, trigger: Trigger, reading: TriggerOffsets, ends: Mapping[int, int]) -> KeptOffsets:
    """Carry what is kept over to another reading; the same reading twice changes nothing.

    Args:
        kept: what the reading before left; empty: there was none.
        trigger: whose group it is.
        reading: of the trigger.
        ends: end offset by partition, of those that may be believed.
    """
    seen = {partition.partition: partition for partition in reading.partitions}
    width = max(seen, default=-1) + 1
    look = _Look(
        kept,
        at_latest=trigger.offset_reset is OffsetReset.LATEST,
        recreated=width < len(kept.offsets) or _differ(kept.topic_id, reading.topic_id),
    )
    followed = [look.follow(number, seen.get(number), ends.get(number)) for number in range(width)]
    return KeptOffsets(
        tuple(offset for offset, _ in followed),
        frozenset(number for number, (offset, is_pin) in enumerate(followed) if is_pin and offset is not None),
        reading.topic_id or kept.topic_id,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What holds for every partition at one look."""

    kept: KeptOffsets
    at_latest: bool
    recreated: bool
    """The topic of this name is surely another one than before."""

    def follow(self, number: int, seen: PartitionOffsets | None, end: int | None) -> tuple[int | None, bool]:
        """Return what is kept of a partition from now on, and whether it is a pin."""
        kept = offset_of(self.kept, number)
        is_pin = number in self.kept.pinned
        beginning = (0, True) if self.at_latest else (None, False)
        if seen is None or end is None:
            return beginning if self.recreated else (kept, is_pin)
        if seen.committed is not None and seen.committed <= end:
            return seen.committed, False
        if self.recreated or (kept is None and 0 < len(self.kept.offsets) <= number):
            return beginning
        stood = kept if seen.committed is None else seen.committed
        if stood is not None and stood > end:
            # The log is shorter than what was read of it: another topic, whose id is not known here yet, or one that
            # lost its end. To read the rest of that again is the lesser evil.
            return beginning
        if stood is not None:
            return stood, is_pin
        return (end, True) if self.at_latest else (None, False)


def missing_commits(trigger: Trigger, reading: TriggerOffsets, kept: KeptOffsets) -> tuple[MissingCommit, ...]:
    """Return what a group has lost, never had, or can begin from no more, by a reading that can be believed in full."""
    at_latest = trigger.offset_reset is OffsetReset.LATEST
    return tuple(
        MissingCommit(
            topic=partition.topic,
            partition=partition.partition,
            offset=max(offset, partition.log_start or 0),
            expired=max(0, (partition.log_start or 0) - offset),
            pinned=partition.committed is None and partition.partition in kept.pinned,
            passed=partition.committed is not None,
        )
        for partition in reading.partitions
        if partition.error is None
        and (partition.committed is None or (at_latest and partition.committed < (partition.log_start or 0)))
        and (offset := offset_of(kept, partition.partition)) is not None
    )


def within(kept: KeptOffsets, trigger: Trigger) -> KeptOffsets:
    """Return what is kept of the partitions that count for a trigger.

    Kept of more than are read, a topic would seem to have lost partitions, which means that it is another one.
    """
    counted = trigger.partition_limitation
    if not counted:
        return kept
    width = min(len(kept.offsets), max(counted) + 1)
    return KeptOffsets(
        tuple(kept.offsets[number] if number in counted else None for number in range(width)),
        kept.pinned & counted,
        kept.topic_id,
    )


def together(one: KeptOffsets | None, other: KeptOffsets) -> KeptOffsets:
    """Return what two triggers of a target keep of parts of one topic; None: there was no other."""
    if one is None or _differ(one.topic_id, other.topic_id):
        return other
    width = max(len(one.offsets), len(other.offsets))
    pairs = ((offset_of(one, number), offset_of(other, number)) for number in range(width))
    return KeptOffsets(
        tuple(second if first is None else first for first, second in pairs),
        one.pinned | other.pinned,
        one.topic_id or other.topic_id,
    )


def merge(stored: KeptOffsets, own: KeptOffsets, reading: TriggerOffsets | None) -> KeptOffsets:
    """Join what another process has kept with what this one has seen: what was stored is older, and so a better pin.

    Where the last reading shows a commit, that is what holds. Partitions that were added after that was stored are kept
    from their beginning: who has first seen them since has pinned them where they ended.
    """
    committed = {p.partition for p in reading.partitions if p.committed is not None} if reading is not None else set()
    if not own.offsets or _differ(stored.topic_id, own.topic_id):
        return own if own.offsets else stored
    width = len(own.offsets)
    from_stored = {
        number
        for number in range(min(width, len(stored.offsets)))
        if number not in committed and stored.offsets[number] is not None
    }
    gained = {number for number in own.pinned if 0 < len(stored.offsets) <= number}
    return KeptOffsets(
        tuple(
            0 if number in gained else offset_of(stored if number in from_stored else own, number)
            for number in range(width)
        ),
        frozenset(number for number in range(width) if number in (stored if number in from_stored else own).pinned),
        own.topic_id or stored.topic_id,
    )


def only_missing(kept: KeptOffsets, reading: TriggerOffsets | None) -> KeptOffsets:
    """Return the part of what is kept that Kafka does not have by itself; nothing without a reading."""
    if reading is None:
        return KeptOffsets()
    missing = {p.partition for p in reading.partitions if p.committed is None}
    if not any(offset_of(kept, number) is not None for number in missing):
        return KeptOffsets()
    offsets = tuple(offset if number in missing else None for number, offset in enumerate(kept.offsets))
    return KeptOffsets(offsets, kept.pinned & missing, kept.topic_id)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other
