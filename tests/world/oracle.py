"""The oracle: it knows every record, every commit and every replica, and tells what must not have happened.

It shares no code with `activator.core`: what is consumable it counts itself, from the logs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.core.model import (
    Evaluation,
    GroupOnTopic,
    Handover,
    OffsetReset,
    Outcome,
    Reason,
    SleepFrom,
)
from activator.core.naming import FIELD_MANAGER
from tests.world.faults import Phase
from tests.world.kafka import FIRST_OFFSET, Evidence, count
from tests.world.scheduler import seeded_loop
from tests.world.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Fact, Policy, Reading, Scale, TargetRef, Trigger
    from activator.errors import WakegateError
    from activator.ports import TopicPartition
    from tests.world.actors import Consumers
    from tests.world.journal import Journal
    from tests.world.run import World
    from tests.world.scheduler import Process

RULES: dict[str, str] = {
    "slept-with-records": "No PATCH to idle is sent while records exist that the tail has had time to see.",
    "slept-blind": "No PATCH to idle without a complete reading that truly showed no work, taken after the scale.",
    "slept-without-lease": "No PATCH to idle arrives from who does not hold the Lease.",
    "slept-too-soon": "No PATCH to idle before the cooldown is over, since the last work, wake or foreign raise.",
    "slept-uncommitted": "No PATCH to idle where a consumer would start at latest with no commit and none kept.",
    "slept-in-rebalance": "No PATCH to idle on a reading that shows the group in rebalance.",
    "slept-unkept": "No PATCH to idle before what must outlive us is kept.",
    "overwrote": "No PATCH changes a count that somebody else wrote after it was read.",
    "out-of-bounds": "No PATCH below min (but idle) or above max or the partition cap.",
    "moved-beside-the-hpa": "No PATCH between 1 and N where an HPA moves it.",
    "moved-while-paused": "No PATCH while paused.",
    "moved-in-dry-run": "No PATCH in a dry run.",
    "moved-beside-a-rival": "No PATCH while another autoscaler drives the target.",
    "slept-while-kept-awake": "No PATCH to idle while keep-awake is set.",
    "changed-unled": "No PATCH but a wake arrives from who does not hold the Lease.",
    "unexplained": "Every PATCH that was made has one evaluation with its reason.",
    "never-happened": "No evaluation tells of a PATCH that was not made.",
    "woke-unready": "No wake is sent before what its group is known to lack is committed, but after five seconds.",
    "missed-wake": "A record on a sleeping target is a PATCH within one second, while nothing is broken.",
    "not-awake": "Ten seconds after the last fault no target with work is at idle (a moved commit: one poll more).",
    "never-slept": "A target without work is put to idle once its cooldown is over and what outlives us can be kept.",
    "restless": "In the last ten minutes, with no record and no fault, nothing is written.",
    "not-looked-at": "Every target is read at least once per polling interval by every process that runs: none hangs.",
    "given-back-short": "A target that is managed no more has no fewer replicas than it came with, or min.",
    "hpa-wrong": "Once all is quiet, each target has the HPA that its policy asks for, or none.",
    "refused-by-ourselves": "The last check before a PATCH never finds anything: what it refuses is a defect.",
    "skipped": "No record is skipped over a sleep.",
    "read-again": "No record is read again over a sleep.",
    "broke": "Nothing raises what nobody foresaw.",
}

FORBIDS = {"paused": "moved-while-paused", "dry-run": "moved-in-dry-run", "rival": "moved-beside-a-rival"}
TAIL_SLACK_SECONDS = 0.25
"""A record older than this has been pushed, if the tail had a connection."""
GRACE_SECONDS = 10.0
"""Everything is normal so long after the last fault."""
WAKE_SECONDS = 1.0
WAITS_BEFORE_A_WAKE_SECONDS = 4.5
"""Five by the promise; the rest is on its way."""
EVALUATED_SECONDS = 15.0
GIVEN_BACK_SECONDS = 30.0
LATE_SECONDS = 30.0
COOLDOWN_SLACK_SECONDS = 60.0
"""Looks are up to 15 s apart, and last active is kept by 30 s."""
SHORTEST_COOLDOWN_CHECKED = 120.0


@dataclass
class Patch:
    """One PATCH of a scale that was sent."""

    process: Process
    ref: TargetRef
    replicas: int
    seen: Scale
    sent_at: float
    applied_at: float | None = None
    before: int | None = None


@dataclass
class Truth:
    """What the oracle knows of one target."""

    ref: TargetRef
    consumers: Consumers
    policy: Policy
    original: int
    phase: Phase = Phase.QUIET
    work: bool = False
    work_since: float = 0.0
    worked_at: float = 0.0
    """The last moment with work."""
    raised_at: float = 0.0
    """The last moment at which somebody raised the count."""
    slept_at: float = 0.0
    disturbed: int = 0
    """Strikes under way that concern it."""
    calm_since: float = 0.0
    falling: bool = False
    managed: bool = True
    asleep_when_left: bool = False
    """It slept by our hand when its annotations were taken away."""
    frozen: dict[str, float] = field(default_factory=dict)
    """What forbids acting at all, and since when: ``paused``, ``dry-run``, ``rival``."""
    _freezing: Counter[str] = field(default_factory=Counter)
    """How many strikes under way forbid it: two may do the same."""
    kept_awake_at: float | None = None
    clocks_wrong: bool = False
    moved_commits_at: float = -1e9
    partitions: list[tuple[float, int]] = field(default_factory=list)
    """How many there were, from when."""
    conditions: dict[str, int] = field(default_factory=dict)
    standing: Standing = field(init=False)
    """Where its consumers must go on after the sleep."""
    raised_by_us: bool = False
    excused: set[str] = field(default_factory=set)
    """What makes a jump of its consumers legitimate during this sleep."""

    def __post_init__(self) -> None:
        self.standing = Standing(self.consumers, self.policy.offset_guard)

    def freeze(self, why: str, now: float) -> None:
        """Take note of what forbids acting from now on."""
        self._freezing[why] += 1
        self.frozen.setdefault(why, now)

    def thaw(self, why: str) -> None:
        """It is over, where nothing else forbids the same."""
        self._freezing[why] -= 1
        if not self._freezing[why]:
            del self.frozen[why]


class Oracle:
    """Follows one run."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.world: World
        self.truths: dict[TargetRef, Truth] = {}
        self._evidence: dict[tuple[Process, str], Evidence] = {}
        self._got_scale: dict[tuple[Process, TargetRef], float] = {}
        self._sent: defaultdict[tuple[Process, TargetRef], list[Patch]] = defaultdict(list)
        self._permitted: set[tuple[Process, str]] = set()
        self._epochs = 0
        self._refusing_states = 0
        """Strikes under way that let nothing be kept of any target."""
        self.last_calm = False
        """The last ten minutes: nothing may be written."""

    # ------------------------------------------------------------------------------------------------ what is told

    def was_told(
        self,
        process: Process,
        trigger: Trigger,
        reading: Reading,
        commits: Mapping[TopicPartition, int],
        asked_at: float,
    ) -> None:
        """Note what a process was told of a trigger, and what was true."""
        logs = self.world.clusters[trigger.cluster.bootstrap_servers]
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
        told = " ".join([f"{p.partition}:{p.end}/{p.committed}/{p.error or ''}" for p in evidence.partitions])
        self.journal.note("told", process.name, trigger.topic, told or reading, getattr(reading, "group_state", ""))

    def recorded(self, process: Process, fact: Fact) -> None:
        """Take what a process records."""
        if not isinstance(fact, Evaluation):
            self.journal.note("recorded", process.name, type(fact).__name__, getattr(fact, "reason", ""))
            return
        self.journal.note(
            "decided",
            process.name,
            fact.ref,
            fact.seen.replicas,
            fact.decision.replicas,
            fact.outcome,
            "; ".join(f"{step.name}: {step.reason} ({step.text})" for step in fact.decision.steps)
            if self.journal.keep
            else ",".join(step.reason for step in fact.decision.steps),
        )
        for step in fact.decision.steps:
            self.journal.reasons[step.reason] += 1
        if fact.decision.reason is Reason.INVARIANT_VIOLATED:
            self._break("refused-by-ourselves", f"{process.name}: {fact.ref} {fact.decision.text}")
        truth = self.truths[fact.ref]
        if truth.falling:
            truth.falling = False
            self.touch(fact.ref)
        if fact.applied is None:
            return
        patches = self._sent.pop((process, fact.ref), [])
        who = f"{process.name}: {fact.ref} to {fact.decision.replicas}"
        if not any(patch.replicas == fact.decision.replicas for patch in patches) and fact.outcome is Outcome.APPLIED:
            self._break("never-happened", who)
        if sum(1 for patch in patches if patch.applied_at is not None) > 1:
            self._break("unexplained", f"{who}: one evaluation for several PATCHes")

    def may_commit(self, process: Process, group: str) -> None:
        """A process has found out that it may commit for a group."""
        self._permitted.add((process, group))

    def asked_scale(self, ref: TargetRef) -> None:
        """A process reads a scale: of an awake target that is how a sleep begins."""
        truth = self.truths[ref]
        if ref in self.world.server.workloads and self.world.server.replicas(ref) > self._idle(truth):
            truth.falling = True
            self.touch(ref)

    def got_scale(self, process: Process, ref: TargetRef) -> None:
        """A process has read a scale."""
        self._got_scale[process, ref] = seeded_loop().time()

    # -------------------------------------------------------------------------------------------------- the PATCHes

    def sends(self, process: Process, ref: TargetRef, replicas: int, seen: Scale) -> None:
        """A process sends a PATCH."""
        now = seeded_loop().time()
        truth = self.truths[ref]
        self._sent[process, ref].append(Patch(process, ref, replicas, seen, now))
        self.journal.note("sends", process.name, ref, seen.replicas, replicas)
        if self.last_calm:
            self._break("restless", f"{process.name} writes {replicas} to {ref}")
        stored = self.world.server.workloads.get(ref)
        if not truth.managed or stored is None or _version(stored.workload.scale) != _version(seen):
            return  # what it names is gone, or was written since: the API server refuses it
        if replicas <= self._idle(truth) < seen.replicas:
            self._check_sleep(process, truth, now)
        elif seen.replicas <= self._idle(truth) < replicas:
            self._check_ready(process, truth, now)
        self._check_frozen(process, truth, replicas, now)

    def patched(self, process: Process, ref: TargetRef, before: Scale, after: Scale) -> None:
        """A PATCH was made: it has arrived, and the precondition held."""
        now, truth = seeded_loop().time(), self.truths[ref]
        patch = next((sent for sent in reversed(self._sent[process, ref]) if sent.applied_at is None), None)
        if patch is None:
            self._break("never-happened", f"{process.name}: a PATCH of {ref} that was never sent")
            return
        if before.resource_version == after.resource_version:
            return  # a PATCH that changes nothing
        patch.applied_at, patch.before = now, before.replicas
        if before.replicas != patch.seen.replicas:
            self._break(
                "overwrote",
                f"{process.name}: {ref} from {before.replicas} to {after.replicas}, saw {patch.seen.replicas}",
            )
        lease, idle = self.world.server.lease, self._idle(truth)
        led = lease.holder == process.name and now - lease.sent_at <= LEASE_SECONDS
        if not led and before.replicas > idle:
            rule = "slept-without-lease" if after.replicas <= idle else "changed-unled"
            self._break(rule, f"{process.name}: {ref} to {after.replicas}, the Lease is {lease.holder}'s")
        if after.replicas <= idle < before.replicas:
            self._slept(process, truth, now)
        elif truth.managed:
            self._check_bounds(process, truth, before.replicas, after.replicas, now)
        seeded_loop().later(EVALUATED_SECONDS, self._check_explained, patch)

    def was_answered(self, process: Process, ref: TargetRef, error: WakegateError | None) -> None:
        """The answer of a PATCH came in."""
        self.journal.note("answered", process.name, ref, type(error).__name__ if error else "ok")

    def _check_explained(self, patch: Patch) -> None:
        if not patch.process.alive or patch not in self._sent[patch.process, patch.ref]:
            return
        if patch.process.stalled:
            seeded_loop().later(EVALUATED_SECONDS, self._check_explained, patch)
            return
        self._sent[patch.process, patch.ref].remove(patch)
        self._break("unexplained", f"{patch.process.name}: {patch.ref} to {patch.replicas} at {patch.applied_at:.3f}")

    def _check_sleep(self, process: Process, truth: Truth, now: float) -> None:
        ref, trigger = truth.ref, truth.consumers.trigger
        who = f"{process.name}: {ref}"
        evidence = self._evidence.get((process, trigger.topic))
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
        kept = self.world.server.scale_targets.get(ref)
        if self.world.server.crd_installed and (kept is None or not kept[1].asleep_by_us):
            self._break("slept-unkept", f"{who}, a successor would not know that it sleeps by our hand")
        if evidence is not None and evidence.uncommitted:
            self._check_pinned(who, process, truth, evidence)
        cooldown = truth.policy.cooldown.total_seconds()
        quiet = now - max(truth.worked_at, truth.raised_at)
        if (
            cooldown >= SHORTEST_COOLDOWN_CHECKED
            and not truth.clocks_wrong
            and quiet < cooldown - COOLDOWN_SLACK_SECONDS
        ):
            self._break("slept-too-soon", f"{who}, quiet for {quiet:.1f} s of {cooldown:g} s")
        if truth.kept_awake_at is not None and now - truth.kept_awake_at > GRACE_SECONDS:
            self._break("slept-while-kept-awake", who)

    def _check_pinned(self, who: str, process: Process, truth: Truth, evidence: Evidence) -> None:
        """Without a commit, what is kept must be at or before the ends of the deciding read, partition by partition."""
        if not truth.standing.guarded:
            self._break("slept-uncommitted", f"{who}, it would skip the record that wakes it")
            return
        if (process, truth.consumers.trigger.group) not in self._permitted:
            self._break("slept-uncommitted", f"{who}, and whether it may be committed for was never found out")
        stored = self.world.server.scale_targets.get(truth.ref)
        if not self.world.server.crd_installed or stored is None:
            return
        trigger = truth.consumers.trigger
        kept = stored[1].kept.get(GroupOnTopic(trigger.cluster.bootstrap_servers, trigger.topic, trigger.group))
        offsets = kept.offsets if kept is not None else ()
        for (_, number), end in evidence.ends.items():
            offset = offsets[number] if number < len(offsets) else None
            if offset is None or offset > end:
                self._break("slept-uncommitted", f"{who}, kept of partition {number} is {offset}, its end was {end}")

    def _check_ready(self, process: Process, truth: Truth, now: float) -> None:
        """What the last reading showed to be missing is committed by now, or was waited for."""
        evidence = self._evidence.get((process, truth.consumers.trigger.topic))
        standing, commits = truth.standing, truth.consumers.group.commits
        logs = truth.consumers.logs
        waited = now - truth.work_since
        if evidence is None or not evidence.complete or not truth.work or waited > WAITS_BEFORE_A_WAKE_SECONDS:
            return
        if logs.faults or now - logs.healthy_since < GRACE_SECONDS or not standing.able or not self._remembers(truth):
            return
        earliest = evidence.trigger.offset_reset is OffsetReset.EARLIEST
        missing = [
            where
            for p in evidence.partitions
            if p.committed is None
            and (where := (p.topic, p.partition)) not in commits
            and (kept := standing.offsets.get(where)) is not None
            and not (earliest and kept <= (p.log_start or 0))  # it begins there by itself
        ]
        if missing:
            self._break("woke-unready", f"{process.name}: {truth.ref}, {missing} after {waited:.3f} s")

    def _known_commits(self, trigger: Trigger, commits: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """What a group has by an answer, and what is known to be kept for it where that shows nothing."""
        standing = next(
            truth.standing for truth in self.truths.values() if truth.consumers.trigger.topic == trigger.topic
        )
        return {**standing.offsets, **commits} if standing.guarded and standing.offsets else commits

    def _check_unseen(self, process: Process, truth: Truth, evidence: Evidence, threshold: int, now: float) -> None:
        """Records past the ends of the deciding read: the tail that joined there has seen those that are not new."""
        trigger = truth.consumers.trigger
        logs = self.world.clusters[trigger.cluster.bootstrap_servers]
        if logs.faults or now - logs.healthy_since < GRACE_SECONDS:
            return
        tail, unseen = self.world.tail_of(process), 0
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

    def _check_frozen(self, process: Process, truth: Truth, replicas: int, now: float) -> None:
        for why, since in truth.frozen.items():
            put_back = why == "rival" and self._asleep(truth) and replicas > self._idle(truth)
            if now - since > GRACE_SECONDS and not put_back:
                self._break(FORBIDS[why], f"{process.name}: {truth.ref} to {replicas}")

    def _check_bounds(self, process: Process, truth: Truth, before: int, after: int, now: float) -> None:
        policy, idle = truth.policy, self._idle(truth)
        if after <= idle or "rival" in truth.frozen:
            return
        who = f"{process.name}: {truth.ref} from {before} to {after}"
        most = policy.max_replicas
        if not truth.consumers.trigger.allow_idle_consumers:
            most = min(most, self._most_partitions(truth, now))
        most = max(most, policy.min_replicas)
        if not policy.min_replicas <= after <= most:
            self._break("out-of-bounds", f"{who}, allowed are {policy.min_replicas}..{most}")
        if policy.handoff is not Handover.DIRECT and before > idle:
            self._break("moved-beside-the-hpa", who)

    def _most_partitions(self, truth: Truth, now: float) -> int:
        """The most partitions that a process can have seen in the last minutes."""
        horizon = now - truth.policy.polling_interval.total_seconds() - 60.0
        recent = [
            number
            for (at, number), (until, _) in zip(truth.partitions, [*truth.partitions[1:], (now + 1, 0)], strict=True)
            if until >= horizon
        ]
        return max(recent, default=1)

    # --------------------------------------------------------------------------------------------- what has changed

    def scaled(self, ref: TargetRef, before: int, after: int, manager: str) -> None:
        """spec.replicas is another."""
        truth = self.truths[ref]
        if after > before and (manager != FIELD_MANAGER or before <= self._idle(truth)):
            truth.raised_at = seeded_loop().time()
        if before <= self._idle(truth) < after:
            truth.raised_by_us = manager == FIELD_MANAGER
        elif after <= self._idle(truth) and manager != FIELD_MANAGER:
            truth.standing.offsets.clear()  # put to idle by another hand: nothing was read and kept before it

    def _slept(self, process: Process, truth: Truth, now: float) -> None:
        """Remember where its consumers must go on."""
        truth.slept_at, truth.falling = now, False
        evidence = self._evidence.get((process, truth.consumers.trigger.topic))
        ends = evidence.ends if evidence is not None and not evidence.undetectable else {}
        truth.standing.sleeps(ends, now)
        truth.excused = set()

    def assigned(self, consumers: Consumers, where: TopicPartition, at: int, committed: int | None) -> None:
        """A consumer begins to read a partition."""
        truth = self.truths[consumers.ref]
        standing, now = truth.standing, seeded_loop().time()
        expected = standing.offsets.get(where)
        rule = standing.moved(where, at)
        if rule is None or truth.excused:
            return
        if committed is None and not (
            truth.managed
            and not truth.frozen
            and not truth.disturbed
            and self._remembers(truth)
            and standing.lacks_excuse(now, truth.calm_since, truth.raised_at, by_us=truth.raised_by_us)
        ):
            return
        found = "without a commit" if committed is None else "as committed"
        self._break(rule, f"{consumers.ref} {where[0]}-{where[1]}: goes on at {at} {found}, slept at {expected}")

    def _remembers(self, truth: Truth) -> bool:
        """Without the CRD what is kept is kept in memory: a process that came later knows nothing of it."""
        if self.world.server.crd_installed:
            return True
        return all(wakegate.process.started_at < truth.slept_at for wakegate in self.world.running())

    def partitions_changed(self, ref: TargetRef, number: int) -> None:
        """A topic has another number of partitions."""
        self.truths[ref].partitions.append((seeded_loop().time(), number))

    def disturb(self, ref: TargetRef) -> None:
        """Something strikes that concerns a target."""
        self.truths[ref].disturbed += 1
        self.touch(ref)

    def calm(self, ref: TargetRef) -> None:
        """It is over."""
        truth = self.truths[ref]
        truth.disturbed -= 1
        truth.calm_since = seeded_loop().time()
        self.touch(ref)

    def states_are_refused(self, more: int) -> None:
        """Nothing can be kept of any target, or can be again: what must be kept before a sleep is waited for."""
        self._refusing_states += more
        for ref in self.truths:
            self.touch(ref)

    def record_arrived(self, ref: TargetRef) -> None:
        """A record has arrived: while nothing is broken a sleeper is woken within a second."""
        truth, now = self.truths[ref], seeded_loop().time()
        slept = self._asleep(truth)
        before = truth.work
        self.touch(ref)
        if not slept or not truth.work or before or not self._must_act(truth):
            return
        if truth.disturbed or now - truth.calm_since < GRACE_SECONDS or not self.world.settled():
            return
        seeded_loop().later(WAKE_SECONDS, self._check_woken, ref, now)

    def _check_woken(self, ref: TargetRef, since: float) -> None:
        truth = self.truths[ref]
        if truth.disturbed or truth.calm_since > since or not self._must_act(truth) or not truth.work:
            return
        if self._asleep(truth):
            self._break("missed-wake", f"{ref} still sleeps, {WAKE_SECONDS:g} s after a record arrived")

    def touch(self, ref: TargetRef) -> None:
        """Look at a target again: something about it has changed."""
        truth = self.truths.get(ref)
        if truth is None:
            return
        now = seeded_loop().time()
        trigger = truth.consumers.trigger
        logs = self.world.clusters[trigger.cluster.bootstrap_servers]
        was = truth.work
        truth.work = count(logs, trigger, self._commits(truth)) > trigger.activation_lag_threshold
        if truth.work or was:
            truth.worked_at = now
        if truth.work and not was:
            truth.work_since = now
        phase = self._phase(truth)
        if phase is not truth.phase:
            truth.phase = phase
            self.journal.note("phase", ref, phase)
            self.world.entered(ref, phase)
        must = self._must_act(truth) and not truth.disturbed
        asleep = self._asleep(truth)
        moved = now - truth.moved_commits_at < truth.policy.polling_interval.total_seconds() + GRACE_SECONDS
        extra = truth.policy.polling_interval.total_seconds() if moved else 0.0
        self._hold(truth, "not-awake", must and asleep and truth.work, GRACE_SECONDS + extra)
        sleeps = truth.policy.idle_replicas is not None and truth.kept_awake_at is None and self._committed(truth)
        sleeps = sleeps and not (self._refusing_states and self.world.server.crd_installed)  # "slept-unkept"
        limit = truth.policy.cooldown.total_seconds() + truth.policy.initial_cooldown.total_seconds() + 120.0
        if truth.policy.sleep_from is SleepFrom.FLOOR:
            limit += 600.0
        self._hold(truth, "never-slept", must and sleeps and not asleep and not truth.work, limit)

    def _hold(self, truth: Truth, rule: str, holds: bool, limit: float) -> None:  # noqa: FBT001 - a condition by name
        """Break a rule where a condition has held without a break for so long."""
        if not holds:
            truth.conditions.pop(rule, None)
        elif rule not in truth.conditions:
            self._epochs += 1
            truth.conditions[rule] = self._epochs
            seeded_loop().later(limit, self._held, truth, rule, self._epochs, limit)

    def _held(self, truth: Truth, rule: str, epoch: int, limit: float) -> None:
        if truth.conditions.get(rule) == epoch:
            self._break(rule, f"{truth.ref} for {limit:g} s ({truth.phase})")

    def _commits(self, truth: Truth) -> Mapping[TopicPartition, int]:
        """Where its consumers will go on, as far as anybody can know."""
        return truth.standing.commits if self._remembers(truth) else truth.consumers.group.commits

    def _phase(self, truth: Truth) -> Phase:
        stored = self.world.server.workloads.get(truth.ref)
        if stored is None or self._asleep(truth):
            return Phase.ASLEEP
        if truth.falling:
            return Phase.FALLING
        if stored.workload.ready_replicas == 0:
            return Phase.WAKING
        return Phase.BUSY if truth.work else Phase.QUIET

    def _asleep(self, truth: Truth) -> bool:
        stored = self.world.server.workloads.get(truth.ref)
        return stored is not None and stored.workload.scale.replicas <= self._idle(truth)

    def _must_act(self, truth: Truth) -> bool:
        return truth.managed and not truth.frozen and truth.ref in self.world.server.workloads

    def _committed(self, truth: Truth) -> bool:
        """Every partition has a commit that can be used, or does not need one, or surely can be pinned."""
        trigger, commits = truth.consumers.trigger, truth.consumers.group.commits
        logs = self.world.clusters[trigger.cluster.bootstrap_servers].topics.get(trigger.topic, ())
        return bool(logs) and (
            trigger.offset_reset is OffsetReset.EARLIEST
            or all(
                at <= log.visible_end(trigger.isolation)
                if (at := commits.get((trigger.topic, number))) is not None
                else truth.standing.able and log.end == FIRST_OFFSET  # nobody can have read what nobody committed
                for number, log in enumerate(logs)
            )
        )

    def left(self, ref: TargetRef) -> None:
        """Its annotations are taken away."""
        truth = self.truths[ref]
        truth.managed, truth.calm_since = False, seeded_loop().time()
        workload = self.world.server.workloads[ref].workload
        truth.asleep_when_left = self._asleep(truth) and workload.replicas_manager == FIELD_MANAGER

    def came_back(self, ref: TargetRef) -> None:
        """Its annotations are there again."""
        truth, now = self.truths[ref], seeded_loop().time()
        truth.managed = True
        if ref not in self.world.server.workloads:
            return
        workload = self.world.server.workloads[ref].workload
        replicas = workload.scale.replicas
        # One that was being put to sleep as it left slept by our hand as well.
        slept = truth.asleep_when_left or (self._asleep(truth) and workload.replicas_manager == FIELD_MANAGER)
        kept = truth.original if self.world.server.crd_installed else 0
        undisturbed = truth.disturbed == 1 and now - truth.calm_since > GIVEN_BACK_SECONDS
        if slept and undisturbed and replicas < max(kept, truth.policy.min_replicas):
            self._break("given-back-short", f"{ref} has {replicas}, came with {truth.original}")
        truth.original = replicas

    def begin_quiet(self) -> None:
        """From here on nothing may be written: everything is as it should be."""
        self.last_calm = True
        for ref, truth in self.truths.items():
            hpa, policy = self.world.server.hpa_of(ref), truth.policy
            most = policy.max_replicas
            if not truth.consumers.trigger.allow_idle_consumers:
                most = min(most, truth.partitions[-1][1])
            bounds = (policy.min_replicas, max(policy.min_replicas, most))
            if policy.handoff is Handover.DIRECT and hpa is not None:
                self._break("hpa-wrong", f"{ref} has one, and is moved by us")
            elif policy.handoff is not Handover.DIRECT and (
                hpa is None or (hpa.min_replicas, hpa.max_replicas) != bounds
            ):
                self._break("hpa-wrong", f"{ref} has {hpa and (hpa.min_replicas, hpa.max_replicas)}, asked is {bounds}")

    def check_looks(self) -> None:
        """Every running process has read every target within its polling interval."""
        now = seeded_loop().time()
        for truth in self.truths.values():
            longest = truth.policy.polling_interval.total_seconds() + LATE_SECONDS
            if truth.disturbed or not self._must_act(truth) or now - truth.calm_since < longest:
                continue
            for wakegate in self.world.running():
                process = wakegate.process
                told = self._evidence.get((process, truth.consumers.trigger.topic))
                if now - process.started_at > longest and (told is None or now - told.answered_at > longest):
                    self._break("not-looked-at", f"{truth.ref} by {process.name} for {longest:g} s")

    @staticmethod
    def _idle(truth: Truth) -> int:
        return truth.policy.idle_replicas or 0

    def _break(self, rule: str, text: str) -> None:
        assert rule in RULES, rule
        self.journal.violation(rule, text)


def _version(scale: Scale) -> tuple[str, str]:
    return scale.uid, scale.resource_version


LEASE_SECONDS = 15.0
