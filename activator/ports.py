"""What the loop needs from the world, as Protocols of a few methods each.

Nothing here knows a client or a wire format. Every method that leaves the process has a deadline of its own and
raises only `activator.errors`; readings carry errors as values. Each Protocol has one contract suite in
`tests/contracts/`, which every adapter and every fake passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from activator.core.model import IsolationLevel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from activator.core.model import (
        Cluster,
        Fact,
        Policy,
        Push,
        Reading,
        Scale,
        ScaledObject,
        TargetRef,
        TargetState,
        Trigger,
        Workload,
    )
    from activator.errors import SpecError

TopicPartition = tuple[str, int]
"""Topic and partition number."""

OFFSETS_KEPT_FOR = timedelta(days=365)
"""How long what `GroupOffsets` commits outlasts `offsets.retention.minutes`; a member's next commit ends that."""


@dataclass(frozen=True, slots=True)
class ManagedWorkload:
    """What the catalog knows of a workload that a user put under our care.

    Exactly one of `policy` and `problems` is filled: annotations that parse, or every mistake in them.
    """

    workload: Workload
    annotations: Mapping[str, str]
    """Its ``wakegate.dev/`` annotations as written."""
    policy: Policy | None
    problems: tuple[SpecError, ...] = ()
    original_replicas: int | None = None
    """What it had before somebody else began to manage it, where that is known (KEDA's status)."""


class CatalogListener(Protocol):
    """Where a catalog delivers what it sees. Calls are cheap, synchronous and made on the event loop."""

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload that is new or changed (its annotations, replicas, readiness or resourceVersion)."""

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Take note that a workload is no longer managed: `workload` is None where it is gone altogether."""

    def synced(self) -> None:
        """Take note that the first complete list of workloads has been delivered."""


class TargetCatalog(Protocol):
    """Which workloads are managed, how, and what they look like now."""

    async def run(self, listener: CatalogListener) -> None:
        """Deliver what is there and then every change, until cancelled; survives outages by itself."""

    async def find(self, ref: TargetRef) -> Workload | None:
        """Read one workload from its source, managed or not; None: it does not exist. Raises UnavailableError."""


class LagReader(Protocol):
    """Reads offsets of many triggers of one cluster in few requests."""

    async def read(self, cluster: Cluster, triggers: Sequence[Trigger], now: datetime) -> Mapping[Trigger, Reading]:
        """Answer every trigger with its offsets or with why they are unreadable; never raises for a broker's fault.

        `now` stamps ``Unreadable.since``; ``TriggerOffsets.read_at`` is `now` too: the moment before the first
        request, so that the age of a reading is never understated.
        """

    async def probe(self, trigger: Trigger, partition: TopicPartition, start: int, end: int) -> bool | None:
        """Tell whether a consumer would be given any record in [start, end): False means markers and aborted only.

        Reads 64 KiB at most; None: it could not be told (too much to read, or not readable).
        """


class GroupOffsets(Protocol):
    """Commits offsets for groups that have no members: where they have none, or once more what they have."""

    async def check(self, cluster: Cluster, group: str, topic: str) -> None:
        """Find out whether we may commit, without committing anything. Raises DeniedError, UnavailableError."""

    async def commit_missing(
        self,
        cluster: Cluster,
        group: str,
        topic: str,
        offsets: Mapping[int, int],
        *,
        passed: Collection[int] = (),
        topic_id: str | None = None,
    ) -> Mapping[int, int]:
        """Commit these offsets for a group without members; a commit that is there and in the log is never moved.

        They are kept for `OFFSETS_KEPT_FOR`, as those of `commit_again`.

        Args:
            cluster: where.
            group: for whom.
            topic: on what.
            offsets: by partition.
            passed: the partitions whose offset is the log start, which has passed the commit: one before it is moved.
            topic_id: the topic that these are offsets of, where that is known (KIP-516).

        Returns:
            What the group has on each of these partitions now: its own commit, or the one that was made for it.

        Raises:
            NotFoundError: the topic of this name is another one.
            ConflictError: the group has members: they commit for themselves.
            DeniedError: a permission is missing.
            UnavailableError: it may or may not have been committed.
        """

    async def commit_again(
        self, cluster: Cluster, group: str, topic: str, offsets: Mapping[int, int], *, topic_id: str | None = None
    ) -> Mapping[int, int]:
        """Have these commits of a group without members outlast whatever expires now, each where it stands.

        Kafka keeps them for `OFFSETS_KEPT_FOR`; a broker that knows no such time begins their retention anew, which a
        classic group's has from when it became Empty.

        Args:
            cluster: where.
            group: for whom.
            topic: on what.
            offsets: by partition, what is committed where the group has nothing (any more).
            topic_id: the topic that these are offsets of, where that is known (KIP-516).

        Returns:
            What the group has on each of these partitions now.

        Raises:
            NotFoundError: the topic of this name is another one.
            ConflictError: the group has members: they commit for themselves.
            DeniedError: a permission is missing.
            UnavailableError: it may or may not have been committed.
        """


class WakeSource(Protocol):
    """Watches the topics of sleeping targets and pushes at the first record."""

    def join(
        self,
        ref: TargetRef,
        cluster: Cluster,
        positions: Mapping[TopicPartition, int],
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> None:
        """Watch these partitions for a target from these offsets on; a record already there is pushed at once.

        Joining a cluster again replaces what was watched there. With read_committed a record is pushed once its
        transaction has committed.
        """

    def leave(self, ref: TargetRef) -> None:
        """Stop watching for a target."""


class PushListener(Protocol):
    """Where pushes are delivered. Cheap, synchronous, on the event loop."""

    def push(self, push: Push) -> None:
        """Take note that a record has arrived."""


class Scaler(Protocol):
    """Reads and sets the replica count of a workload through its scale subresource."""

    async def get(self, ref: TargetRef) -> Scale:
        """Read the count as it is. Raises NotFoundError, DeniedError, UnavailableError."""

    async def set(self, ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        """Set the count of the very object that was seen and return it as it is now.

        Raises ConflictError where the object has changed since `seen` (`maybe_by_us`: perhaps by this very change, of
        which an earlier try had no answer), NotFoundError where it is gone or has been recreated, DeniedError,
        InvalidError, UnavailableError (`maybe_done`: the change may have been made).
        """


@dataclass(frozen=True, slots=True)
class HandoffView:
    """What is known of the autoscalers on a target, from the last look."""

    rival: str | None = None
    """An HPA that is not ours and targets the same workload, as ``HorizontalPodAutoscaler name``."""
    ours: bool = False
    """Our HPA exists, or the one that KEDA left for the ScaledObject."""
    scaling_active: bool | None = None
    """Our HPA's condition ScalingActive; None: not known yet."""
    message: str = ""
    """The HPA's own words about that condition."""


class Handoff(Protocol):
    """The HPA that owns 1..N of a target."""

    def look(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> HandoffView:
        """Tell what is known now, without leaving the process.

        An HPA of `scaled_object`, or one that it takes over, is no rival until it is made again after `remove`.
        """

    async def ensure(self, ref: TargetRef, uid: str, policy: Policy, partitions: int | None) -> None:
        """Make the HPA what the policy asks for; nothing is sent where it is so already.

        `partitions` caps its maximum (None: unknown, or lifted by the user). Raises InvalidError, DeniedError,
        UnavailableError, ConflictError.
        """

    async def remove(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> None:
        """Delete our HPA where there is one, and the one that KEDA left for `scaled_object`.

        Raises DeniedError, UnavailableError.
        """


class Leadership(Protocol):
    """Whether this replica may put to sleep, write HPAs and write status."""

    def remaining(self) -> timedelta:
        """How much of the lease is surely left, by the monotonic clock; zero or less: not the leader."""

    def others_led_until(self) -> datetime | None:
        """When another replica was last seen to take the lease, renew it or give it back; None: none ever was.

        By our own clock, as `now` is.
        """


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One external metric as the HPA may be served it."""

    namespace: str
    name: str
    selector: Mapping[str, str]
    """Labels that the HPA's selector must match."""
    value: int | None
    """None: unreadable, which is served as an error and never as zero."""
    problem: str
    """Why there is no value; empty where there is one."""
    read_at: datetime
    """A sample older than 60 s is served as an error."""


class MetricStore(Protocol):
    """The last value of every external metric."""

    def publish(self, ref: TargetRef, samples: Sequence[MetricSample]) -> None:
        """Replace all samples of a target."""

    def withdraw(self, ref: TargetRef) -> None:
        """Forget a target."""


class StateStore(Protocol):
    """What outlives a restart: one TargetState a target (the status of its ScaleTarget)."""

    async def load(self) -> Mapping[TargetRef, TargetState] | None:
        """Read all that was kept; None where nothing can be kept (no CRD). Raises DeniedError, UnavailableError."""

    async def save(self, ref: TargetRef, uid: str, state: TargetState) -> None:
        """Keep a target's state before returning, owned by the workload with `uid`; does nothing without the CRD.

        Raises DeniedError, UnavailableError.
        """

    async def forget(self, ref: TargetRef) -> None:
        """Delete what was kept of a target. Raises DeniedError, UnavailableError."""


class Recorder(Protocol):
    """Takes note of what happened. Never waits, never fails the caller."""

    def record(self, fact: Fact) -> None:
        """Take one fact: an evaluation, a batch read, a stretch of an episode, or a notice."""
