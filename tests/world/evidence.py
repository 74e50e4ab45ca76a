"""What each process was told, what was true then, and whether a PATCH is founded on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.model import GroupOnTopic, GroupState, OffsetReset, TriggerOffsets
from tests.world.kafka import count
from tests.world.rules import GRACE_SECONDS
from tests.world.scheduler import seeded_loop
from tests.world.standing import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from activator.core.model import PartitionOffsets, Reading, TargetRef, Trigger
    from activator.ports import TopicPartition
    from tests.world.run import World
    from tests.world.scheduler import Process
    from tests.world.truth import Truth

REBALANCING = frozenset({GroupState.PREPARING_REBALANCE, GroupState.COMPLETING_REBALANCE})
TAIL_SLACK_SECONDS = 0.25
"""A record older than this has been pushed, if the tail had a connection."""
WAITS_BEFORE_A_WAKE_SECONDS = 4.5
"""Five by the promise; the rest is on its way."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one process was told of one trigger, and what was true then."""

    trigger: Trigger
    reading: Reading
    asked_at: float
    answered_at: float
    records: int
    """Consumable records by the very commits and logs that the answer was made of."""
    undetectable: bool
    """The answer was a lie that looks like the truth."""

    @property
    def partitions(self) -> tuple[PartitionOffsets, ...]:
        """What was told of them."""
        return self.reading.partitions if isinstance(self.reading, TriggerOffsets) else ()

    @property
    def complete(self) -> bool:
        """All of it was told."""
        return isinstance(self.reading, TriggerOffsets) and not any(p.error for p in self.partitions)

    @property
    def rebalancing(self) -> bool:
        """The group was told to be in rebalance."""
        return isinstance(self.reading, TriggerOffsets) and self.reading.group_state in REBALANCING

    @property
    def uncommitted(self) -> bool:
        """Some partition has no usable commit, and the consumer starts at latest."""
        return self.trigger.offset_reset is OffsetReset.LATEST and any(
            p.committed is None or p.committed < (p.log_start or 0) or (p.end is not None and p.committed > p.end)
            for p in self.partitions
            if not p.error
        )

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """End offsets, as told."""
        return {(p.topic, p.partition): p.end for p in self.partitions if p.end is not None}


class Witness:
    """Has heard everything that the processes were told; what is not founded on it breaks a rule."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._evidence: dict[tuple[Process, str], Evidence] = {}
        self._read_first: dict[tuple[Process, str], float] = {}
        """When a process was first told of the partitions of a topic, since its target is managed."""
        self._told_of_group: dict[tuple[Process, str], float] = {}
        """When a process was last told of a group whose trigger names no topic."""
        self._got_scale: dict[tuple[Process, TargetRef], float] = {}
        self._permitted: set[tuple[Process, str]] = set()
        self._committed: dict[tuple[Process, TopicPartition], float] = {}
        """When a process was last told that what it committed for a partition is there."""

    def was_told(
        self,
        process: Process,
        trigger: Trigger,
        reading: Reading,
        commits: Mapping[TopicPartition, int],
        asked_at: float,
    ) -> None:
        """Note what a process was told of a trigger, and what was true."""
        if not trigger.topic:  # of its group alone: which topics that has
            self._told_of_group[process, trigger.group] = seeded_loop().time()
            topics = sorted(getattr(reading, "topics", None) or ())
            self._world.journal.note("told", process.name, trigger.group, topics)
            return
        logs = self._world.clusters[trigger.cluster.bootstrap_servers]
        evidence = Evidence(
            trigger=trigger,
            reading=reading,
            asked_at=asked_at,
            answered_at=seeded_loop().time(),
            records=count(logs, trigger, self._known_commits(trigger, commits)),
            undetectable=trigger.topic in logs.undetectable,
        )
        # The look at a workload that is gone by now may be answered after that at its successor, and was asked before.
        newest = self._evidence.get((process, trigger.topic))
        if newest is None or newest.asked_at <= asked_at:
            self._evidence[process, trigger.topic] = evidence
        if evidence.partitions:
            self._read_first.setdefault((process, trigger.topic), evidence.answered_at)
        told = " ".join([f"{p.partition}:{p.end}/{p.committed}/{p.error or ''}" for p in evidence.partitions])
        self._world.journal.note(
            "told", process.name, trigger.topic, told or reading, getattr(reading, "group_state", "")
        )

    def _known_commits(self, trigger: Trigger, commits: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """What a group has by an answer, and what is known to be kept for it where that shows nothing."""
        standing = next(
            truth.standing
            for truth in self._world.oracle.truths.values()
            if truth.consumers.trigger.topic == trigger.topic
        )
        return {**standing.offsets, **commits} if standing.guarded and standing.offsets else commits

    def may_commit(self, process: Process, group: str) -> None:
        """A process has found out that it may commit for a group."""
        self._permitted.add((process, group))

    def has_committed(self, process: Process, topic: str, partitions: Iterable[int]) -> None:
        """A process was told that a group has commits on these partitions now."""
        now = seeded_loop().time()
        self._committed.update({(process, (topic, number)): now for number in partitions})

    def got_scale(self, process: Process, ref: TargetRef) -> None:
        """A process has read a scale."""
        self._got_scale[process, ref] = seeded_loop().time()

    def last_told(self, process: Process, truth: Truth) -> Evidence | None:
        """Return what a process was told of a target by its last reading; None: it has had none."""
        return self._evidence.get((process, truth.consumers.trigger.topic))

    def has_read(self, process: Process, truth: Truth) -> bool:
        """Tell whether a process can know how many partitions a target's topic has."""
        return (process, truth.consumers.trigger.topic) in self._read_first

    def had_read(self, process: Process, truth: Truth, at: float) -> bool:
        """Tell whether a process had read a target's topic before a moment."""
        return self._read_first.get((process, truth.consumers.trigger.topic), math.inf) < at

    def begins_anew(self, truth: Truth) -> None:
        """A target is managed again: what was known of its topic went with the end of its management (seed 8903)."""
        topic = truth.consumers.trigger.topic
        self._read_first = {known: at for known, at in self._read_first.items() if known[1] != topic}

    def could_see_work(self, process: Process, truth: Truth) -> bool:
        """Tell whether anybody can have seen what a target last had to do: it may be over before who begins has looked.

        Whoever looked before and after it has seen its offsets move. (Not who was there before it and could not list
        any target until after it: seed 7699.)
        """
        topic = truth.consumers.trigger.topic
        return self.had_read(process, truth, truth.work_since) or any(
            told.answered_at >= truth.work_since
            for (other, of), told in self._evidence.items()
            if of == topic and other is not process
        )

    def last_look(self, process: Process, truth: Truth) -> float:
        """Return when a process has read a target last; 0.0: never. One without a topic (yet) is read by its group."""
        told = self.last_told(process, truth)
        return (
            self._told_of_group.get((process, truth.consumers.trigger.group), 0.0) if told is None else told.answered_at
        )

    def check_sleep(self, process: Process, truth: Truth, now: float) -> None:
        """A PATCH to idle needs a complete reading that is newer than the scale, and what it told is kept."""
        ref, trigger = truth.ref, truth.consumers.trigger
        who = f"{process.name}: {ref}"
        evidence = self.last_told(process, truth)
        got = self._got_scale.get((process, ref), -1.0)
        threshold = trigger.activation_lag_threshold
        if evidence is None or not evidence.complete:
            self._break("slept-blind", f"{who}, the last reading is not complete")
        elif got < 0 or evidence.asked_at < got:
            self._break("slept-blind", f"{who}, the last reading is older than the scale that is written to")
        elif evidence.records > threshold and not evidence.undetectable:
            self._break("slept-blind", f"{who}, with {evidence.records} records by that very reading")
        else:
            self._check_unseen(process, truth, evidence, threshold, now)
        if evidence is not None and evidence.rebalancing:
            self._break("slept-in-rebalance", who)
        kept = self._world.server.scale_targets.get(ref)
        if self._world.server.crd_installed and (kept is None or not kept[1].asleep_by_us):
            self._break("slept-unkept", f"{who}, a successor would not know that it sleeps by our hand")
        if evidence is not None and evidence.uncommitted:
            self._check_pinned(who, process, truth, evidence)

    def _check_unseen(self, process: Process, truth: Truth, evidence: Evidence, threshold: int, now: float) -> None:
        """Records past the ends of the deciding read: the tail that joined there has seen those that are not new."""
        trigger = truth.consumers.trigger
        logs = self._world.clusters[trigger.cluster.bootstrap_servers]
        if logs.faults or now - logs.healthy_since < GRACE_SECONDS:
            return
        tail, unseen = self._world.tail_of(process), 0
        for (topic, number), end in evidence.ends.items():
            if number >= len(logs.topics.get(topic, ())):
                continue
            log = logs.topics[topic][number]
            since = tail.watching_since(truth.ref, (topic, number))
            for offset in range(end, log.visible_end(trigger.isolation)):
                if offset in log.invisible:
                    continue
                known_for = logs.age_of((topic, number), offset)
                if since is not None:
                    known_for = min(known_for, now - since)
                if known_for > TAIL_SLACK_SECONDS:
                    unseen += 1
        if unseen > threshold:
            self._break(
                "slept-with-records",
                f"{process.name}: {truth.ref}, {unseen} records since the reading that decided",
            )

    def _check_pinned(self, who: str, process: Process, truth: Truth, evidence: Evidence) -> None:
        """Without a commit, what is kept must be at or before the ends of the deciding read, partition by partition."""
        if not truth.standing.guarded:
            self._break("slept-uncommitted", f"{who}, it would skip the record that wakes it")
            return
        if (process, truth.consumers.trigger.group) not in self._permitted:
            self._break("slept-uncommitted", f"{who}, and whether it may be committed for was never found out")
        stored = self._world.server.scale_targets.get(truth.ref)
        if not self._world.server.crd_installed or stored is None:
            return
        trigger = truth.consumers.trigger
        kept = stored[1].kept.get(GroupOnTopic(trigger.cluster.bootstrap_servers, trigger.topic, trigger.group))
        offsets = kept.offsets if kept is not None else ()
        for (_, number), end in evidence.ends.items():
            offset = offsets[number] if number < len(offsets) else None
            if offset is None or offset > end:
                self._break("slept-uncommitted", f"{who}, kept of partition {number} is {offset}, its end was {end}")

    def check_ready(self, process: Process, truth: Truth, now: float) -> None:
        """What the last reading showed to be missing is committed by now, or was waited for."""
        evidence = self.last_told(process, truth)
        standing, commits = truth.standing, truth.consumers.group.commits
        logs = truth.consumers.logs
        waited = now - truth.work_since
        if evidence is None or not evidence.complete or not truth.work or waited > WAITS_BEFORE_A_WAKE_SECONDS:
            return
        if logs.faults or now - logs.healthy_since < GRACE_SECONDS or not standing.able or not truth.is_remembered:
            return
        earliest = evidence.trigger.offset_reset is OffsetReset.EARLIEST
        missing = [
            where
            for p in evidence.partitions
            if p.committed is None
            and (where := (p.topic, p.partition)) not in commits
            # Committed since that reading, and expired once more before the next (seed 1595): nobody knows of it.
            and self._committed.get((process, where), NEVER) <= evidence.answered_at
            and (kept := standing.offsets.get(where)) is not None
            and not (earliest and kept <= (p.log_start or 0))  # it begins there by itself
        ]
        if missing:
            self._break("woke-unready", f"{process.name}: {truth.ref}, {missing} after {waited:.3f} s")

    def _break(self, rule: str, text: str) -> None:
        self._world.journal.violation(rule, text)
