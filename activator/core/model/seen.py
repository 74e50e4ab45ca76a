"""What is seen: offsets, groups, pushes, scales and workloads as they were read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from activator.core.model.configured import TargetRef


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
    consumed: frozenset[str] | None = None
    """Topics that members of the group are subscribed to or assigned; None: not known, never "none"."""
    topics: frozenset[str] | None = None
    """Topics that the group has commits on; None: not asked, because the trigger names its topic."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A trigger of which nothing could be read."""

    reason: str
    """One clause for a person, naming Kafka's error and the place."""
    since: datetime
    missing: bool = False
    """The broker says that there is no such topic."""
    group_state: GroupState = GroupState.UNKNOWN


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
