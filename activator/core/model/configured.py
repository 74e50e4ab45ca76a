"""What is configured: workloads, clusters, triggers, and the policy by which a target is scaled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.core.schedule import Schedule


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
    topics: tuple[str, ...] = ()
    """Every topic of a trigger that has several, this one among them: together they count as one (`core.joined`)."""
    topics_of_group: bool = False
    """It names no topic: those that its group has commits on, or consumes, count as one (`core.group_topics`).

    `topic` is one of them, or empty in the trigger as it was written.
    """

    @property
    def place(self) -> str:
        """Whose lag it is, and where, for a person."""
        return f"group {self.group} on {self.topic or 'its topics'}"


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
