"""What is decided, from what, and what is remembered from one decision to the next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from activator.core.model.seen import GroupState, Push

if TYPE_CHECKING:
    from datetime import datetime


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
    """Offsets by which the ends have moved since the last decision: work that may be done already."""
    uncommitted: bool = False
    """Some partition has no commit and the policy is `latest`: the record that wakes it would be skipped."""
    passed: bool = False
    """Retention has passed some commit, the policy is `latest` and nobody will move it: as above."""
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
        "It starts at latest with no commit, or one that retention has passed: asleep it would skip what wakes it.",
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
    rival: str | None = None
    """Another autoscaler that drives the same target, by kind and name."""
    handed_off: bool = False
    """An HPA moves this target between 1 and N."""
    raised_at: datetime | None = None
    """When a watch last told that another hand had raised the count, which may have been lowered again since."""

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
    """The count seen at the last look, or set by it, to tell a change by another hand."""
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
