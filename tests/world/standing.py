"""Where a group must go on after a sleep, by the truth, and what excuses it when it goes on elsewhere.

The offsets guard has what it takes to keep its promise where, since the group lacked an offset, nothing was broken and
the group had no members: then a look, or the wake itself, commits it in time. Everything else is an excuse, by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.core.model import OffsetGuard, OffsetReset
from tests.world.rules import GRACE_SECONDS
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.ports import TopicPartition
    from tests.fakes.kafka import FakePartition
    from tests.world.actors import Consumers

NEVER = -1e9
CHECKED_AGAIN_AFTER_SECONDS = 300.0 + GRACE_SECONDS
"""So long a permission that was missed is taken to be missing still."""


@dataclass
class Standing:
    """Of one target's group over its last sleep by our hand."""

    consumers: Consumers
    guard: OffsetGuard
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    """Where each partition must go on; empty: it has not slept by our hand, or something moved it."""
    lost_at: float = NEVER
    """When it last came to lack an offset."""
    denied_until: float = NEVER
    """The permission to commit for it was missing until then."""

    @property
    def guarded(self) -> bool:
        """Its offsets are kept and, as far as permissions go, committed for it."""
        return self.guard is OffsetGuard.ON

    @property
    def able(self) -> bool:
        """It is guarded, and nobody believes that the permission is missing."""
        return self.guarded and seeded_loop().time() - self.denied_until > CHECKED_AGAIN_AFTER_SECONDS

    @property
    def commits(self) -> Mapping[TopicPartition, int]:
        """What its consumers will have found once they have joined: what Kafka has, else what is kept for it."""
        found = self.consumers.group.commits
        return {**self.offsets, **found} if self.able and self.offsets else found

    def sleeps(self, ends: Mapping[TopicPartition, int], now: float) -> None:
        """It is put to idle; `ends`: as told by the reading that decided."""
        commits = self.consumers.group.commits
        # A log that lost its end while the PATCH was on its way (seed 129) leaves a commit that no consumer can use: it
        # begins by its reset policy, and nobody can have it go on anywhere else.
        self.offsets = {where: at for where, at in commits.items() if at <= self._end(where)}
        if not self.guarded or self.consumers.trigger.offset_reset is not OffsetReset.LATEST:
            return
        passed = any(not self.is_usable(where, at) for where, at in self.offsets.items())
        pins = {where: end for where, end in ends.items() if where not in commits}
        self.offsets |= pins
        if pins or passed:
            self.lost_at = now

    def expired(self, now: float) -> None:
        """Kafka has forgotten the group's offsets."""
        self.lost_at = now

    def grew(self, where: TopicPartition, now: float) -> None:
        """The topic has another partition: of it nothing can have been read."""
        if self.offsets:
            self.offsets[where], self.lost_at = 0, now

    def trimmed(self, where: TopicPartition, log_start: int, now: float, *, asleep: bool) -> None:
        """Retention has removed everything before an offset: where it stood before that, it goes on there."""
        if self.offsets.get(where, log_start) >= log_start:
            return
        self.offsets[where] = log_start
        if self.consumers.trigger.offset_reset is OffsetReset.EARLIEST:
            return  # a consumer begins there by itself
        self.lost_at = now
        if not asleep:  # its consumers may ask before the next look, and find what they have out of range
            del self.offsets[where]

    def recreated(self, topic: str, partitions: int, now: float, *, asleep: bool) -> None:
        """The topic is another one: of that nothing can have been read."""
        known = asleep and bool(self.offsets)  # consumers that start just now may ask before the next look
        self.offsets = dict.fromkeys(((topic, number) for number in range(partitions)), 0) if known else {}
        self.lost_at = now

    def truncated(self, where: TopicPartition) -> None:
        """A log has lost its end: from an offset beyond it nobody can go on."""
        if self.offsets.get(where, 0) > self._end(where):
            del self.offsets[where]

    def is_usable(self, where: TopicPartition, committed: int | None) -> bool:
        """Tell whether a consumer begins at a commit, and not by its reset policy."""
        log = self._log(where)
        return committed is not None and log is not None and log.log_start <= committed <= log.end

    def forget_missing(self) -> None:
        """What was kept has gone with the workload: only what Kafka has is known to its successor."""
        self.offsets = {where: at for where, at in self.offsets.items() if where in self.consumers.group.commits}

    def moved(self, where: TopicPartition, at: int) -> str | None:
        """A consumer begins at an offset: return the rule that this breaks; None: it goes on where it must."""
        expected = self.offsets.pop(where, None)
        if expected is None or not self._has_records(where, min(at, expected), max(at, expected)):
            return None
        if at > expected:
            return "skipped"
        # What lies between a pin and the end that was read is not known to have been read: only that is read again.
        read = self.consumers.progress.get(where, 0)
        return "read-again" if self._has_records(where, at, min(expected, read)) else None

    def lacks_excuse(self, now: float, calm_since: float, raised_at: float, *, by_us: bool) -> bool:
        """Tell whether the guard had what it takes since the group lacked an offset."""
        since = max(self.lost_at, calm_since)
        empty_since = self.consumers.empty_since
        if now - calm_since < GRACE_SECONDS or raised_at < empty_since or not self.able:
            return False
        # A wake by us waits for offsets that its last look missed, and looks again at once. Who else wakes it does not
        # know what is missing: a look must have been due since.
        return by_us or raised_at - since > self._poll_seconds + GRACE_SECONDS

    @property
    def _poll_seconds(self) -> float:
        policy = self.consumers.world.oracle.truths[self.consumers.ref].policy
        return policy.polling_interval.total_seconds()

    def _end(self, where: TopicPartition) -> int:
        log = self._log(where)
        return 0 if log is None else log.end

    def _has_records(self, where: TopicPartition, start: int, end: int) -> bool:
        if (log := self._log(where)) is None:
            return False
        # That there is one, not its offset: the first record of all has offset 0.
        return any(offset not in log.invisible for offset in range(max(start, log.log_start), min(end, log.end)))

    def _log(self, where: TopicPartition) -> FakePartition | None:
        """Return the log of a partition; None: its topic is gone, or has fewer."""
        logs = self.consumers.logs.topics.get(where[0], ())
        return logs[where[1]] if where[1] < len(logs) else None
