"""What is recorded: decisions with what became of them, notices, and what of a target outlives a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model.configured import Cluster, Handover, Policy, TargetRef
    from activator.core.model.decided import Decision, Observation, Phase


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


APPLIED_OK = "ok"
FOUND_APPLIED = "applied, answer lost, found at the next look"
"""The status of a PATCH that was applied, although its answer never came."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One PATCH of a scale subresource."""

    started_at: datetime
    ended_at: datetime
    status: str
    """``ok``, `FOUND_APPLIED`, or what went wrong in one clause."""
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
    warnings: tuple[str, ...] = ()
    """What a person should see to, although nothing is wrong with the annotations."""
    kept: Mapping[GroupOnTopic, KeptOffsets] = field(default_factory=dict)
    """Of a sleeping target where its groups stand; of an awake one only what its groups have not committed."""
    episode_id: str | None = None
    trace_id: str | None = None
