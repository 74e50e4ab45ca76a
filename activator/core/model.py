"""The vocabulary: what is configured, what is seen, what is decided. Frozen values, no behaviour beyond reading them.

Durations are `timedelta`, moments are aware UTC `datetime`, counts are `int`; an unknown is `None` or a value that
says why, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.schedule import Schedule

# ---------------------------------------------------------------------------------------------------- configured


@dataclass(frozen=True, slots=True, order=True)
class TargetRef:
    """A workload with a scale subresource, by its coordinates."""

    namespace: str
    kind: str
    name: str
    api_version: str = "apps/v1"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Cluster:
    """A Kafka cluster as one set of credentials sees it: the unit of connections and of read batches."""

    bootstrap_servers: str
    """Comma-separated ``host:port`` list, white space removed, in the user's order."""
    credential: str = ""
    """Key of the credentials at the adapter (a namespaced Secret); empty: none. Never the secret itself."""


class OffsetReset(StrEnum):
    """Where a consumer without a committed offset begins (Kafka's ``auto.offset.reset``)."""

    EARLIEST = "earliest"
    LATEST = "latest"


class IsolationLevel(StrEnum):
    """Which end of the log counts: the high watermark, or the last stable offset (Kafka's ``isolation.level``)."""

    READ_UNCOMMITTED = "read_uncommitted"
    READ_COMMITTED = "read_committed"


class MetricType(StrEnum):
    """What an HPA makes of a metric (autoscaling/v2 ``MetricTargetType``)."""

    AVERAGE_VALUE = "AverageValue"
    VALUE = "Value"
    UTILIZATION = "Utilization"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One Kafka topic as one consumer group reads it, and how much lag asks for how many replicas."""

    cluster: Cluster
    topic: str
    group: str
    index: int = 0
    lag_threshold: int = 10
    """Records of lag that one replica is meant to carry; at least 1."""
    activation_lag_threshold: int = 0
    """A sleeping target wakes on more lag than this."""
    offset_reset: OffsetReset = OffsetReset.LATEST
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED
    allow_idle_consumers: bool = False
    """Lifts the cap at the number of partitions."""
    limit_to_partitions_with_lag: bool = False
    """Caps at the number of partitions that have lag, instead of all."""
    exclude_persistent_lag: bool = False
    """A partition whose commit has not moved since the last read does not ask for replicas (it still wakes)."""
    ensure_even_distribution: bool = False
    """Asks for a count that divides the number of partitions, so that each consumer has equally many."""
    partition_limitation: frozenset[int] = frozenset()
    """The only partitions that count; empty: all."""
    scale_to_zero_on_invalid_offset: bool = False
    """A partition without a commit has no lag. Lossy at `latest`: the record that wakes it is skipped."""
    metric_type: MetricType = MetricType.AVERAGE_VALUE


@dataclass(frozen=True, slots=True)
class ResourceMetric:
    """A trigger that the HPA reads by itself: CPU or memory of the Pods."""

    resource: str
    """``cpu`` or ``memory``."""
    metric_type: MetricType
    value: str
    """A percentage for UTILIZATION, else a quantity."""
    container: str = ""
    """The only container that counts; empty: the whole Pod."""


class SelectPolicy(StrEnum):
    """Which of several HPA scaling policies holds (autoscaling/v2 ``selectPolicy``)."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """One HPA rate limit: at most `value` pods or percent in any `period` (autoscaling/v2 ``HPAScalingPolicy``)."""

    type: str
    """``Pods`` or ``Percent``."""
    value: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """One direction of an HPA's behavior (autoscaling/v2 ``HPAScalingRules``)."""

    stabilization: timedelta
    policies: tuple[ScalingPolicy, ...]
    select: SelectPolicy = SelectPolicy.MAX
    tolerance: str | None = None
    """A quantity such as ``0.05``; None: the controller's own, 10 % by default."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """How fast an HPA may move (autoscaling/v2 ``HorizontalPodAutoscalerBehavior``), always complete."""

    scale_up: ScalingRules = ScalingRules(
        stabilization=timedelta(0),
        policies=(
            ScalingPolicy("Pods", 4, timedelta(seconds=15)),
            ScalingPolicy("Percent", 100, timedelta(seconds=15)),
        ),
    )
    scale_down: ScalingRules = ScalingRules(
        stabilization=timedelta(seconds=300),
        policies=(ScalingPolicy("Percent", 100, timedelta(seconds=15)),),
    )


class Handover(StrEnum):
    """Who moves a target between 1 and N."""

    AUTO = "auto"
    HPA = "hpa"
    DIRECT = "direct"


class SleepFrom(StrEnum):
    """From which count a target may be put to idle."""

    ANY = "any"
    FLOOR = "floor"


class WakeTo(StrEnum):
    """To which count a target is woken."""

    MIN = "min"
    LAG = "lag"


class OffsetGuard(StrEnum):
    """Whether the offsets of a sleeping workload's group are kept for it."""

    ON = "on"
    OBSERVE = "observe"
    OFF = "off"


class FallbackBehavior(StrEnum):
    """How many replicas there are while lag cannot be read (KEDA's ``fallback.behavior``)."""

    STATIC = "static"
    CURRENT = "currentReplicas"
    CURRENT_IF_HIGHER = "currentReplicasIfHigher"
    CURRENT_IF_LOWER = "currentReplicasIfLower"


@dataclass(frozen=True, slots=True)
class Fallback:
    """What holds where lag has not been readable for a while."""

    replicas: int
    after: timedelta
    """Since the last look at which everything was readable."""
    behavior: FallbackBehavior = FallbackBehavior.CURRENT_IF_HIGHER


class OnRelease(StrEnum):
    """With how many replicas a target is given back."""

    AT_LEAST_ORIGINAL = "at-least-original"
    ORIGINAL = "original"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class ScaledObject:
    """The ScaledObject that a policy was read from, as far as the HPA and its metrics are named by it."""

    name: str
    uid: str
    hpa_name: str
    labels: tuple[tuple[str, str], ...] = ()
    """Those that are copied to the HPA, by key, ordered."""
    transfers_hpa: bool = False
    """It takes over an HPA of that name, whoever made it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a user asked for, complete and within bounds: every default is filled in."""

    triggers: tuple[Trigger, ...]
    min_replicas: int = 1
    max_replicas: int = 100
    idle_replicas: int | None = 0
    """Where it sleeps; None: it never sleeps and min_replicas is kept."""
    polling_interval: timedelta = timedelta(seconds=30)
    cooldown: timedelta = timedelta(seconds=300)
    initial_cooldown: timedelta = timedelta(seconds=300)
    """No target sleeps before this long after its takeover."""
    behavior: Behavior = Behavior()
    handoff: Handover = Handover.AUTO
    sleep_from: SleepFrom = SleepFrom.ANY
    wake_to: WakeTo = WakeTo.MIN
    paused: bool = False
    keep_awake: bool = False
    dry_run: bool = False
    offset_guard: OffsetGuard = OffsetGuard.ON
    schedules: tuple[Schedule, ...] = ()
    """Windows in which it is awake with at least so many replicas."""
    resources: tuple[ResourceMetric, ...] = ()
    """Metrics that only an HPA can follow."""
    fallback: Fallback | None = None
    """None: what cannot be read holds what is."""
    paused_replicas: int | None = None
    """Paused at this count, which it is set to first; `paused` is true beside it."""
    pause_scale_in: bool = False
    """Nothing lowers the count."""
    pause_scale_out: bool = False
    """Nothing raises the count."""
    force_active: bool = False
    """It is active whatever the triggers say."""
    on_release: OnRelease = OnRelease.AT_LEAST_ORIGINAL
    scaled_object: ScaledObject | None = None
    """Where this was read from; None: from annotations."""
    notes: tuple[str, ...] = ()
    """What of the configuration has no effect here, in sentences."""
    config_hash: str = ""
    """Of what the user wrote: two policies with equal hashes were written alike."""


# ---------------------------------------------------------------------------------------------------------- seen


class GroupState(StrEnum):
    """A consumer group's state, classic and KIP-848 names alike; UNKNOWN where it could not be read."""

    EMPTY = "Empty"
    DEAD = "Dead"
    STABLE = "Stable"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """The raw offsets of one partition. With `error` set, nothing else in it may be believed."""

    topic: str
    partition: int
    end: int | None = None
    """High watermark, or last stable offset for read_committed."""
    committed: int | None = None
    """The group's next offset to read; None: no commit."""
    log_start: int | None = None
    """Earliest offset still there; None: not asked for, because a commit at or past it was there to see."""
    error: str | None = None
    """Kafka's error name, where the partition could not be read."""


@dataclass(frozen=True, slots=True)
class TriggerOffsets:
    """One read of one trigger: every partition of its topic, and the group."""

    partitions: tuple[PartitionOffsets, ...]
    read_at: datetime
    """When the answers came in; the age of everything derived from it counts from here."""
    group_state: GroupState = GroupState.UNKNOWN
    members: int | None = None
    """Members of the group; None: unknown, never "none"."""
    topic_id: str | None = None
    """Kafka's id of the topic (KIP-516): another id is another topic of the same name; None: not known."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A trigger of which nothing could be read."""

    reason: str
    """One clause for a person, naming Kafka's error and the place."""
    since: datetime


Reading = TriggerOffsets | Unreadable


class PushSource(StrEnum):
    """Who said that a record has arrived."""

    TAIL = "tail"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Push:
    """Somebody saw a record arrive on a topic."""

    bootstrap_servers: str
    topic: str
    source: PushSource
    seen_at: datetime
    partition: int | None = None
    offset: int | None = None
    """Offset of the record; None where the source does not know it (the gateway)."""
    traceparent: str | None = None
    """W3C trace context of the record's producer, where it could be read without waiting."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale subresource as read: what a PATCH must name so that it hits what was looked at."""

    replicas: int
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Workload:
    """The catalog's last look at a workload: only what a decision needs."""

    ref: TargetRef
    scale: Scale
    ready_replicas: int
    replicas_manager: str | None = None
    """Field manager that wrote spec.replicas last, where it is known (metadata.managedFields)."""


# ------------------------------------------------------------------------------------------------------- decided


class Phase(StrEnum):
    """Where a target is in its cycle, derived from its replicas and never remembered."""

    ASLEEP = "Asleep"
    WAKING = "Waking"
    AWAKE = "Awake"
    PAUSED = "Paused"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """The lag of one partition that a new replica could work off, and which rule gave it."""

    topic: str
    partition: int
    lag: int | None
    """None: unreadable."""
    rule: str
    """A name from the table in `core.lag`."""


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag of one trigger: what is known for certain, and whether that is all of it."""

    known: int
    """Sum over readable partitions: a lower bound, the lag itself where `complete`."""
    complete: bool
    """Every partition was readable."""
    partitions: int | None
    """Partitions of the topic; None: unknown."""
    readable: int = 0
    """Partitions that could be read."""
    partitions_with_lag: int = 0
    scalable: int = 0
    """The part of `known` that asks for replicas (persistent lag left out where the user asked for it)."""
    arrived: int = 0
    """Offsets by which the ends have moved since the read before: work that may be done already."""
    uncommitted: bool = False
    """Some partition has no commit and the policy is `latest`: the record that wakes it would be skipped."""
    problems: tuple[str, ...] = ()
    """Why partitions are unreadable, one clause each, no more than a handful."""
    read_at: datetime | None = None
    """When the last good (complete) reading or this partial one came in; None: never read."""
    group_state: GroupState = GroupState.UNKNOWN


class Reason(StrEnum):
    """Why a step gave its answer: the code, and what it means to a person. Docs and metrics list them from here."""

    def __new__(cls, code: str, meaning: str) -> Self:
        """Make a member whose value is its code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

    LAG = "lag", "There is lag: it asks for replicas."
    NO_LAG = "no-lag", "There is no lag."
    RECORD_ARRIVED = "record-arrived", "A record was seen to arrive for a group that has no members."
    BELOW_ACTIVATION = "below-activation-threshold", "There is lag, but no more than activation-lag-threshold."
    NO_COMMITTED_OFFSET = (
        "no-committed-offset",
        "The group has not committed everywhere and starts at latest: asleep it would skip the record that wakes it.",
    )
    NEVER_READ = "never-read", "Nothing has been read yet: it holds what is."
    UNREADABLE = "unreadable", "The lag could not be read, or not all of it: it holds what is."
    PARTITION_CAP = "partition-cap", "More consumers than partitions would be idle."
    MIN_REPLICAS = "min-replicas", "Never below min-replica-count while it is awake."
    MAX_REPLICAS = "max-replicas", "Never above max-replica-count."
    WITHIN_TOLERANCE = "within-tolerance", "Direct hand-off: the lag is within the tolerance of what the count carries."
    STABILIZED = "stabilized", "Direct hand-off: a stabilization window holds an earlier recommendation."
    RATE_LIMITED = "rate-limited", "Direct hand-off: a scaling policy allows no larger step yet."
    COOLING_DOWN = "cooling-down", "There is no lag, and the cooldown-period has not passed yet."
    INITIAL_COOLDOWN = "initial-cooldown", "It was taken over less than initial-cooldown-period ago."
    WAITING_FOR_FLOOR = "waiting-for-floor", "sleep-from is floor, and the HPA has not reached the minimum yet."
    REBALANCING = "rebalancing", "The group is in rebalance: nobody can be reading just now."
    QUIET = "quiet", "There was no lag for the cooldown-period: to idle."
    PAUSED = "paused", "paused is true: the count is frozen."
    KEEP_AWAKE = "keep-awake", "keep-awake is true: it does not sleep."
    DRY_RUN = "dry-run", "dry-run is true: it would have been changed."
    LEFT_TO_HPA = "left-to-hpa", "It is awake: the HPA moves it."
    RIVAL = "rival", "Another autoscaler drives it too: it is left alone."
    INVARIANT_VIOLATED = "invariant-violated", "A last check before the PATCH failed: a defect of ours. It is not sent."
    NO_REPLICA_READY = "no-replica-ready", "It was woken, and no replica has become ready for five minutes."
    SCHEDULE = "schedule", "A cron window is open: it asks for its replicas."
    FORCED = "force-activation", "force-activation is set: it counts as active."
    FALLBACK = "fallback", "The lag has not been readable for long: the fallback count holds."
    SCALE_IN_PAUSED = "scale-in-paused", "paused-scale-in is set: nothing lowers the count."
    SCALE_OUT_PAUSED = "scale-out-paused", "paused-scale-out is set: nothing raises the count."
    UNMANAGED = "unmanaged", "It is managed no more and was given back."


@dataclass(frozen=True, slots=True)
class Step:
    """One rule's say: the count before and after it, and why in a code and in words."""

    name: str
    replicas: int
    """The count after this step."""
    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: how many replicas, by which steps, and when to look again."""

    replicas: int
    steps: tuple[Step, ...]
    """At least one; a step that does not change or hold the count says nothing, so the last one settled it."""
    look_again_at: datetime

    @property
    def reason(self) -> Reason:
        """Why the count is what it is."""
        return self.steps[-1].reason

    @property
    def text(self) -> str:
        """The same in words."""
        return self.steps[-1].text


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything a decision may look at, taken at one moment."""

    replicas: int
    """spec.replicas of the target."""
    ready_replicas: int
    lags: tuple[Lag, ...]
    """One a trigger, in the policy's order."""
    pushed: Push | None = None
    """Who brought this look forward; None: it was due."""
    push_is_proof: bool = False
    """The push alone proves work (see `core.decide.push_is_proof`); otherwise the lag that was read decides."""
    by_us: bool = True
    """The count that is there was written by us (or by the HPA that we handed off to)."""
    rival: str | None = None
    """Another autoscaler that drives the same target, by kind and name."""
    handed_off: bool = False
    """An HPA moves this target between 1 and N."""

    @property
    def known_lag(self) -> int | None:
        """All triggers' lag: a lower bound where a part is unreadable; None: nothing is known."""
        known = [lag.known for lag in self.lags if lag.complete or lag.known]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class ReplicaChange:
    """So many replicas added or removed at one moment."""

    replicas: int
    """More than zero, whichever way it went."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What was recommended for a count that was seen."""

    current: int
    replicas: int
    at: datetime


@dataclass(frozen=True, slots=True)
class BehaviorMemory:
    """What `core.behavior` carries from one sync to the next."""

    recommendations: tuple[tuple[int, datetime], ...] = ()
    """Counts that the metrics asked for, each with the last time they did; never empty after the first sync."""
    added: tuple[ReplicaChange, ...] = ()
    removed: tuple[ReplicaChange, ...] = ()
    last: Recommendation | None = None
    """The last answer: a count that follows it was made by it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the decision carries from one look to the next."""

    taken_over_at: datetime
    last_active: datetime | None = None
    """The last moment at which lag, or somebody else's hand, kept it awake."""
    replicas: int | None = None
    """The count seen at the last look, to tell a change by another hand."""
    quiet_since: datetime | None = None
    """Since when `sleep-from: floor` waits for the HPA's minimum."""
    asleep_since: datetime | None = None
    """The first look that found it at idle."""
    waking_since: datetime | None = None
    """The first look that found it above idle without a ready replica."""
    behavior: BehaviorMemory = BehaviorMemory()
    """Where we move 1..N ourselves."""
    readable_at: datetime | None = None
    """The last look at which everything was readable, else the first of all: the fallback counts from here."""
    fallback: int | None = None
    """The count that the fallback holds; None: it is not in force."""


# ------------------------------------------------------------------------------------------------------ recorded


@dataclass(frozen=True, slots=True)
class TraceIds:
    """A W3C trace id and span id, made for every decision whether or not anything exports it."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""


class Outcome(StrEnum):
    """What became of a decision."""

    APPLIED = "applied"
    HELD = "held"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Applied:
    """One PATCH of a scale subresource."""

    started_at: datetime
    ended_at: datetime
    status: str
    """``ok``, or what went wrong in one clause."""
    attempts: int = 1
    """How often it was sent: more than once where somebody else wrote in between."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One decision with everything that explains it: the single source of every view."""

    ref: TargetRef
    policy: Policy
    seen: Observation
    decision: Decision
    outcome: Outcome
    phase: Phase
    now: datetime
    ids: TraceIds
    links: tuple[TraceIds, ...] = ()
    """The batch read that it used and the previous applied decision."""
    applied: Applied | None = None
    started: datetime | None = None
    """When the hold that this evaluation continues began; None: it stands alone."""
    evaluations: int = 1
    """How many evaluations the hold has had so far, this one included."""
    episode_id: str | None = None
    late: timedelta = timedelta(0)
    """How long after it was due the look began, the read that it used included."""


@dataclass(frozen=True, slots=True)
class BatchRead:
    """One batched read of one cluster."""

    cluster: Cluster
    ids: TraceIds
    started_at: datetime
    ended_at: datetime
    triggers: int
    unreadable: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class EpisodePhase:
    """One finished stretch of a wake or a sleep: ``ready``, ``handoff``, ``first_commit``, or the whole."""

    ref: TargetRef
    episode: str
    """``wake`` or ``sleep``."""
    name: str
    """The stretch, or ``""`` for the episode as a whole."""
    episode_id: str
    ids: TraceIds
    started_at: datetime
    ended_at: datetime
    parent: TraceIds | None = None
    link: TraceIds | None = None
    """The decision that began it."""
    missing: tuple[str, ...] = ()
    """What had not been seen when a whole was closed for want of time."""


class Severity(StrEnum):
    """A Kubernetes Event's type."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should be told about a target once (a Kubernetes Event), outside any decision."""

    ref: TargetRef
    uid: str
    severity: Severity
    reason: str
    """A CamelCase Event reason."""
    message: str
    now: datetime
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Departed:
    """A target is managed no more: nothing of it is to be shown as present."""

    ref: TargetRef
    now: datetime


Fact = Evaluation | BatchRead | EpisodePhase | Notice | Departed


class GroupOnTopic(NamedTuple):
    """A consumer group on one topic, as what is kept of it is named."""

    bootstrap_servers: str
    topic: str
    group: str


@dataclass(frozen=True, slots=True)
class KeptOffsets:
    """Where a group stood on a topic, to be committed for it should Kafka have nothing."""

    offsets: tuple[int | None, ...] = ()
    """Next offset to read by partition number, for each partition that the topic had; None: nothing is kept of it."""
    pinned: frozenset[int] = frozenset()
    """Partitions whose offset the group never committed: where the log ended when it was first seen so."""
    topic_id: str | None = None
    """The topic that these are offsets of; None: not known."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """What of a target outlives a restart, and what `kubectl get scaletargets` shows (status of a ScaleTarget)."""

    phase: Phase
    replicas: int
    reason: str
    message: str
    since: datetime
    """When phase or reason last changed."""
    taken_over_at: datetime
    lag: int | None = None
    last_active: datetime | None = None
    original_replicas: int | None = None
    asleep_by_us: bool = False
    """It is at idle by our hand: to be put back when it is managed no more."""
    handoff: Handover | None = None
    """Who moves it between 1 and N, settled once: HPA or DIRECT."""
    last_valid: Mapping[str, str] = field(default_factory=dict)
    """The annotations of the last valid policy, still in force while the present ones are not valid."""
    problems: tuple[str, ...] = ()
    kept: Mapping[GroupOnTopic, KeptOffsets] = field(default_factory=dict)
    """Of a sleeping target where its groups stand; of an awake one only what its groups have not committed."""
    episode_id: str | None = None
    trace_id: str | None = None
