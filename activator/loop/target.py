"""What is held of one target between two looks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING

from activator.core import consumption, group_topics, naming
from activator.core.decide import phase_of
from activator.core.joined import joined
from activator.core.kept_offsets import merge, only_missing, together, within
from activator.core.lag import LagMemory, asking_lag, holding_value, served_value
from activator.core.model import (
    Evaluation,
    GroupOnTopic,
    Handover,
    KeptOffsets,
    Lag,
    Memory,
    Observation,
    OffsetGuard,
    Outcome,
    Phase,
    Reason,
    TargetState,
    TriggerOffsets,
)
from activator.core.schedule import window_at
from activator.core.steps.limiting import partition_cap
from activator.loop.tracker import NEVER_READ, Tracker
from activator.ports import MetricSample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from activator.core.consumption import NotConsumed
    from activator.core.episode import Episode
    from activator.core.model import (
        Cluster,
        Policy,
        Push,
        Reading,
        Scale,
        TargetRef,
        TraceIds,
        Trigger,
        Workload,
    )
    from activator.errors import SpecError
    from activator.loop.acting import Act
    from activator.loop.unanswered import Unanswered
    from activator.ports import HandoffView, TopicPartition

FOREIGN_WINDOW = timedelta(minutes=15)
"""How long writes of another hand count as one fight, and how long it is told of after its last."""
LONGEST_HOLD = timedelta(minutes=5)
"""A hold is told as one stretch for no longer than this, so that a backend sees it while it lasts."""


@dataclass(slots=True)
class Guard:
    """How the offsets guard fares with one target."""

    allowed: bool = False
    """It was found out that we may commit for its groups."""
    denied_at: datetime | None = None
    """When it was found out that we may not."""
    told: set[str] = field(default_factory=set)
    """What was told already, so that it is told once."""


@dataclass(frozen=True, slots=True)
class Fight:
    """Another hand that writes spec.replicas back again and again."""

    told_at: datetime
    text: str
    """Who it is, and what to exempt."""


@dataclass(slots=True)
class Hold:
    """Evaluations that changed nothing, for the same reason: told as one stretch."""

    ids: TraceIds
    outcome: Outcome
    reason: Reason
    replicas: int
    started: datetime
    evaluations: int = 1


@dataclass(slots=True)
class Target:
    """One managed workload, between two looks."""

    workload: Workload
    policy: Policy
    annotations: Mapping[str, str]
    """Those of `policy`: the last valid ones."""
    memory: Memory
    original_replicas: int
    told: Scale = field(init=False)
    """The newest that the catalog has told; `workload` may be newer, by what we have read or written since."""
    problems: tuple[SpecError, ...] = ()
    """What is wrong with the present annotations, while those of `policy` stay in force."""
    departed: bool = False
    """It is managed no more; a workload of its name that was made anew is another target."""
    asleep_by_us: bool = False
    woken: bool = False
    """It was at idle, and no replica has joined its group since."""
    unanswered: Unanswered | None = None
    """What was done last, where its answer was lost."""
    lacks_kept: bool = False
    """What outlived the last process could not be read yet: where its groups stand may be part of that."""
    guard: Guard = field(default_factory=Guard)
    handoff: Handover | None = None
    """Who moves it between 1 and N: HPA or DIRECT; None: not settled yet, so nobody does."""
    trackers: dict[Trigger, Tracker] = field(default_factory=dict)
    joined: dict[tuple[Cluster, TopicPartition], int] | None = None
    """Where the tail watches from; None: it does not."""
    busy: bool = False
    pushed: Push | None = None
    """A push that came while it was busy."""
    again: bool = False
    """It became due while it was busy."""
    due_at: datetime | None = None
    """When the look that is under way became due."""
    to_follow_up: tuple[Act, datetime] | None = None
    """The decision that waits to be followed up, and when it was made."""
    to_renew: bool = False
    """It was woken, and what its groups have committed is to be committed once more."""
    failures: int = 0
    hold: Hold | None = None
    last_applied: TraceIds | None = None
    last_ids: TraceIds | None = None
    episode: Episode | None = None
    episode_id: str | None = None
    announced: bool = False
    """The Event that tells what will happen has been sent."""
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    raised_at: datetime | None = None
    """When the catalog last told that another hand had raised its count."""
    foreign_writes: list[tuple[datetime, str]] = field(default_factory=list)
    fight: Fight | None = None
    """The last one with another hand over spec.replicas."""
    written: Policy = field(init=False)
    """The policy as a user wrote it; `policy` has a trigger for each topic of one that names none."""
    group_topics: dict[Trigger, frozenset[str]] = field(init=False)
    """The topics that count for such a trigger."""
    group_readings: dict[Trigger, TriggerOffsets] = field(default_factory=dict)
    """The last look at its group."""

    def __post_init__(self) -> None:
        self.told, self.written = self.workload.scale, self.policy
        self.group_topics = {trigger: frozenset() for trigger in self._without_topic()}

    @property
    def ref(self) -> TargetRef:
        """Whose this is."""
        return self.workload.ref

    @property
    def idle(self) -> int:
        """The count at which it is asleep; a target that never sleeps is "asleep" at zero by another's hand."""
        return self.policy.idle_replicas or 0

    @property
    def asleep(self) -> bool:
        """It is at its idle count."""
        return self.workload.scale.replicas <= self.idle

    @property
    def phase(self) -> Phase:
        """Where it is in its cycle."""
        return phase_of(self.policy, self.workload.scale.replicas, self.workload.ready_replicas)

    def tracker(self, trigger: Trigger) -> Tracker:
        """Return what is known of a trigger: nothing of one that is no longer in force, and that is not kept."""
        found = self.trackers.get(trigger)
        if found is None:
            found = Tracker()
            if trigger in self.policy.triggers:
                self.trackers[trigger] = found
        return found

    def lags(self) -> tuple[Lag, ...]:
        """Return the lag of every trigger, in the policy's order."""
        return tuple(self.tracker(trigger).lag for trigger in self.policy.triggers)

    def decided(self) -> None:
        """Take note that a decision has been made on the lags as they are."""
        for tracker in self.trackers.values():
            tracker.arrived = 0

    @property
    def has_ready_replicas(self) -> bool:
        """Whether a replica is ready, as far as has been told."""
        return self.workload.ready_replicas > 0

    @property
    def may_be_asleep(self) -> bool:
        """Whether a PATCH that puts it to idle had no answer, and it is not known yet whether it was applied."""
        return self.unanswered is not None and self.unanswered.act.decision.replicas <= self.idle

    def has_no_members(self) -> bool:
        """Tell whether each group had no members at its last look."""
        return all(self.tracker(trigger).has_no_members for trigger in self.policy.triggers)

    def commits(self) -> dict[TopicPartition, int]:
        """Return the committed offsets that the last readings saw."""
        return {place: offset for tracker in self.trackers.values() for place, offset in tracker.commits()}

    def adopt(self, policy: Policy, annotations: Mapping[str, str]) -> None:
        """Put another policy in force: what is known of triggers that it does not have is dropped."""
        topics = {_group(trigger): topics for trigger, topics in self.group_topics.items()}
        self.written, self.annotations, self.group_readings = policy, annotations, {}
        self._expand({trigger: topics.get(_group(trigger), frozenset()) for trigger in self._without_topic()})

    def _without_topic(self) -> list[Trigger]:
        """Return the triggers that name no topic, as they were written."""
        return [trigger for trigger in self.written.triggers if group_topics.names_no_topic(trigger)]

    def _expand(self, topics: dict[Trigger, frozenset[str]]) -> None:
        """Put a trigger for each of these topics in force, and drop what is known of others."""
        before: defaultdict[GroupOnTopic, list[tuple[Trigger, Tracker]]] = defaultdict(list)
        for trigger, tracker in self.trackers.items():
            before[_place(trigger)].append((trigger, tracker))
        self.group_topics, self.policy = topics, group_topics.expanded(self.written, topics)
        self.trackers = {
            trigger: self.trackers.get(trigger) or _carried_over(before[_place(trigger)], trigger)
            for trigger in self.policy.triggers
        }
        self.guard = Guard()

    def reads(self) -> tuple[Trigger, ...]:
        """Return what is read at a look: every trigger, and the groups of those that name no topic."""
        return tuple(dict.fromkeys((*self.policy.triggers, *self.group_topics)))

    def take(self, trigger: Trigger, reading: Reading, *, guarded: bool) -> None:
        """Take the reading of one of `reads` in; nothing where it was reconfigured while the read was on its way."""
        if isinstance(reading, TriggerOffsets) and trigger in self.group_topics:
            self.group_readings[trigger] = reading
        if trigger in self.policy.triggers:
            self.tracker(trigger).take(trigger, reading, guarded=guarded)

    def _found_topics(self) -> dict[Trigger, frozenset[str]]:
        """Return the topics of each trigger that names none, by the last look at its group."""
        found = {}
        for trigger, known in self.group_topics.items():
            reading = self.group_readings.get(trigger)
            found[trigger] = known if reading is None else group_topics.follow(known, reading, asleep=self.asleep)
        return found

    def has_other_topics(self) -> bool:
        """Tell whether the last look at a group found other topics than those that count."""
        return self._found_topics() != self.group_topics

    def follow_topics(self) -> None:
        """Let the topics count that the last look at each group found; what is new among them is unread yet."""
        self._expand(self._found_topics())

    def take_kept(self, stored: Mapping[GroupOnTopic, KeptOffsets]) -> None:
        """Take over where another process has seen the groups stand, and on which topics."""
        topics: dict[tuple[str, str], set[str]] = defaultdict(set)
        for servers, topic, group in stored:
            topics[servers, group].add(topic)
        found = {trigger: known | topics[_group(trigger)] for trigger, known in self.group_topics.items()}
        if found != self.group_topics:
            self._expand(found)
        for trigger in self.policy.triggers:
            if (kept := stored.get(_place(trigger))) is not None:
                tracker = self.tracker(trigger)
                merged = merge(within(kept, trigger), tracker.memory.kept, tracker.offsets)
                tracker.memory = replace(tracker.memory, kept=merged)

    def kept(self, *, asleep: bool) -> dict[GroupOnTopic, KeptOffsets]:
        """Return where the groups stand: of a sleeper all of it, else what Kafka does not have by itself.

        One that was woken counts as asleep until its group has a member: what expired since the last look, which showed
        it, is committed for it only after its wake, and whoever is to do it may be killed first.
        """
        found: dict[GroupOnTopic, KeptOffsets] = {}
        for trigger in self.policy.triggers:
            tracker, kept = self.tracker(trigger), KeptOffsets()
            if self.policy.offset_guard is not OffsetGuard.OFF:
                kept = tracker.memory.kept if asleep else only_missing(tracker.memory.kept, tracker.offsets)
            if any(offset is not None for offset in kept.offsets):
                found[_place(trigger)] = together(found.get(_place(trigger)), kept)
            elif trigger.topics_of_group and trigger.topic:  # by its name alone: commits that expire take it along
                found.setdefault(_place(trigger), KeptOffsets())
        return found

    def note_work(self, last_active: datetime | None) -> None:
        """Keep when work was seen at a look after which nothing could be done: a cooldown begins all the same."""
        known = self.memory.last_active
        if last_active is not None and (known is None or last_active > known):
            self.memory = replace(self.memory, last_active=last_active)

    def settle_handoff(self, auto: Handover | None) -> None:
        """Settle who moves 1..N: as the policy says, else as `auto` resolves, else as it was settled before."""
        asked = self.policy.handoff
        self.handoff = (auto or self.handoff) if asked is Handover.AUTO else asked

    def observe(self, view: HandoffView, push: Push | None, *, proof: bool) -> Observation:
        """Gather what a decision may look at."""
        return Observation(
            replicas=self.workload.scale.replicas,
            ready_replicas=self.workload.ready_replicas,
            lags=self.lags(),
            pushed=push,
            push_is_proof=proof,
            rival=view.rival,
            # Two hands must not move one count: while our HPA is there, it does.
            handed_off=self.handoff is not Handover.DIRECT or view.ours,
            raised_at=self.raised_at,
        )

    def partition_cap(self) -> int | None:
        """Return the number of consumers that can be busy, where it is known and wanted."""
        return partition_cap(self.policy, self.lags())

    def samples(self, now: datetime, *, at_least: int = 0) -> Iterator[MetricSample]:
        """Yield what the HPA may be served: a lag, or why there is none; and what the windows ask for.

        Args:
            now: aware UTC.
            at_least: a lower bound that something other than the reading proved (a record that was pushed).
        """
        selector = naming.target_metric_selector(self.ref, self.policy)
        for trigger, lag in joined(self.policy.triggers, self.lags()):
            falls_back = self.memory.fallback
            replicas = self.workload.scale.replicas
            if falls_back is not None and not lag.complete:
                value: int | None = max(asking_lag(trigger, lag), holding_value(trigger, falls_back, replicas))
                read_at = now
            elif lag.read_at is None and not at_least:
                continue
            else:
                value = served_value(trigger, lag, replicas)
                read_at = lag.read_at or self.memory.taken_over_at
            yield MetricSample(
                namespace=self.ref.namespace,
                name=naming.metric_name(trigger),
                selector=selector,
                value=max(value or 0, at_least) if at_least else value,
                problem="" if value is not None else "; ".join(lag.problems) or "no reading yet",
                read_at=read_at,
            )
        for schedule in self.policy.schedules:
            yield MetricSample(
                namespace=self.ref.namespace,
                name=naming.schedule_metric_name(schedule),
                selector=selector,
                value=schedule.replicas if window_at(schedule, now).is_open else 0,
                problem="",
                read_at=now,
            )

    def note(self, evaluation: Evaluation) -> None:
        """Keep of an evaluation what the status shows."""
        reason = evaluation.decision.reason
        if reason != self.reason or self.since is None:
            self.since = evaluation.now
        self.reason, self.message = reason, evaluation.decision.text
        self.last_ids = evaluation.ids
        if evaluation.outcome is Outcome.APPLIED:
            self.last_applied = evaluation.ids

    def _meanwhile(self) -> str:
        """Say what holds while the present configuration has a problem."""
        return "the last valid configuration stays in force" if self.announced else "nothing is changed until then"

    def warnings(self, now: datetime) -> tuple[str, ...]:
        """Return what a person should see to, although nothing is wrong with the configuration."""
        fight = [self.fight.text] if self.fight is not None and now - self.fight.told_at < FOREIGN_WINDOW else []
        return (*fight, *(consumption.describe(trigger, found) for trigger, found in self.not_consumed(now)))

    def not_consumed(self, now: datetime) -> Iterator[tuple[Trigger, NotConsumed]]:
        """Yield the triggers whose topic no member of the group has consumed for longer than a change may take."""
        for trigger in self.policy.triggers:
            found = self.tracker(trigger).not_consumed
            if found is not None and now - found.since >= consumption.TOLD_AFTER:
                yield trigger, found

    def state(self, now: datetime, *, going_to_sleep: bool = False) -> TargetState:
        """Return what outlives a restart; `going_to_sleep`: it will be at idle by our hand in a moment."""
        going_to_sleep = going_to_sleep or self.may_be_asleep
        lags = self.lags()
        problems = tuple(str(problem) for problem in self.problems)
        return TargetState(
            phase=Phase.INVALID if problems else self.phase,
            replicas=self.workload.scale.replicas,
            reason="invalid-configuration" if problems else self.reason or Reason.NEVER_READ,
            message=f"{problems[0]}; {self._meanwhile()}" if problems else self.message,
            since=self.since or now,
            taken_over_at=self.memory.taken_over_at,
            lag=sum(lag.known for lag in lags) if all(lag.read_at for lag in lags) else None,
            last_active=self.memory.last_active,
            original_replicas=self.original_replicas,
            asleep_by_us=self.asleep_by_us or going_to_sleep,
            handoff=self.handoff,
            last_valid=self.annotations,
            problems=problems,
            warnings=self.warnings(now),
            kept=self.kept(asleep=self.asleep or going_to_sleep or (self.woken and self.has_no_members())),
            episode_id=self.episode_id,
            trace_id=self.last_ids.trace_id if self.last_ids else None,
        )


def _carried_over(before: Sequence[tuple[Trigger, Tracker]], trigger: Trigger) -> Tracker:
    """Return what is known of a group on a topic whose trigger has changed: a threshold leaves the log as it was.

    Else a record that comes right before the change, and is consumed before the next look, would begin no cooldown;
    and while its source cannot be read, what it falls back to would not be capped at the partitions that it has.

    Args:
        before: the triggers that there were of that group and topic: several where each has a part of its partitions.
        trigger: the one to be in force.
    """
    if not before:
        return Tracker()
    old, tracker = before[-1]
    kept = within(reduce(together, (each.memory.kept for _, each in before)), trigger)
    same_log = old.isolation is trigger.isolation
    memory = replace(tracker.memory, kept=kept) if same_log else LagMemory(kept=kept)
    partitions = tracker.lag.partitions if old.partition_limitation == trigger.partition_limitation else None
    arrived = sum(each.arrived for _, each in before) if same_log else 0
    return Tracker(memory, replace(NEVER_READ, partitions=partitions), arrived)


def _group(trigger: Trigger) -> tuple[str, str]:
    return trigger.cluster.bootstrap_servers, trigger.group


def _place(trigger: Trigger) -> GroupOnTopic:
    return GroupOnTopic(trigger.cluster.bootstrap_servers, trigger.topic, trigger.group)
