"""What is true of one target: what has happened to it, and what follows for what wakegate must and must not do.

It shares no code with `activator.core`: what is consumable it counts itself, from the logs.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.core.model import OffsetReset
from tests.world.faults import Phase
from tests.world.kafka import FIRST_OFFSET, count
from tests.world.rules import GRACE_SECONDS
from tests.world.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Policy, TargetRef
    from activator.ports import TopicPartition
    from tests.world.actors import Consumers
    from tests.world.run import World


@dataclass
class Truth:
    """What the oracle knows of one target."""

    ref: TargetRef
    consumers: Consumers
    policy: Policy
    original: int
    phase: Phase = Phase.QUIET
    """The one it was in when it was last looked at."""
    lag: int = 0
    """How many records it had to consume when it was last looked at."""
    work: bool = False
    """It had records to consume when it was last looked at."""
    work_since: float = 0.0
    worked_at: float = 0.0
    """The last moment with work."""
    raised_at: float = 0.0
    """The last moment at which somebody raised the count."""
    woken_at: float = 0.0
    """The last moment at which it left its idle count, whoever saw to it; an HPA may have raised it further since."""
    slept_at: float = 0.0
    disturbed: int = 0
    """Strikes under way that concern it."""
    unled: int = 0
    """Those of them that take nothing but the Lease away: a wake needs none."""
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
    _mistaken: int = 0
    """Strikes under way that make its configuration wrong: what is written beside a mistake is not in force."""
    _mistaken_since: float = 0.0
    _corrected_at: float = 0.0
    _untold: int = 0
    """Strikes under way that keep changes of it from being told."""
    _untold_since: float = math.inf
    _told_from: float = 0.0
    """From when what was changed since then is told; nobody knows while they last."""
    clocks_wrong: bool = False
    """What is kept of it may have been told by another clock than that of who runs now."""
    hidden_work_at: float = -1e9
    """When it may last have come to have work that only a poll finds."""
    partitions: list[tuple[float, int]] = field(default_factory=list)
    """How many there were, from when."""
    conditions: dict[str, int] = field(default_factory=dict)
    """Rules that it is about to break, where nothing changes in time."""
    standing: Standing = field(init=False)
    """Where its consumers must go on after the sleep."""
    raised_by_us: bool = False

    def __post_init__(self) -> None:
        self.standing = Standing(self.consumers, self.policy.offset_guard)

    @property
    def _world(self) -> World:
        return self.consumers.world

    # ---------------------------------------------------------------------------------------------- what strikes it

    def mistake(self, more: int, now: float) -> None:
        """Its configuration is wrong from now on, or right again."""
        if not self._mistaken:
            self._mistaken_since = now
        self._mistaken += more
        self._corrected_at = now

    def is_in_force(self, since: float, now: float) -> bool:
        """Tell whether an annotation that was written has had time to be seen, and no mistake stands in its way."""
        if self._mistaken:
            return since + GRACE_SECONDS < self._mistaken_since
        return now - self._corrected_at > GRACE_SECONDS and self.is_told(since, now)

    def is_told(self, since: float, now: float) -> bool:
        """Tell whether every process has had time to hear of what has changed of it."""
        told_at = self._told_from if since >= self._untold_since else 0.0
        return now - max(since, told_at) > GRACE_SECONDS

    def is_not_told(self, now: float) -> None:
        """What changes of it from now on nobody is told, or too late."""
        self._untold += 1
        if self._untold == 1:
            self._untold_since, self._told_from = now, math.inf

    def is_told_again(self, now: float) -> None:
        """What has changed meanwhile is told now, unless something else stands in the way."""
        self._untold -= 1
        if not self._untold:
            self._told_from = now

    def freeze(self, why: str, now: float) -> None:
        """Take note of what forbids acting from now on."""
        self._freezing[why] += 1
        self.frozen.setdefault(why, now)

    def thaw(self, why: str) -> None:
        """It is over, where nothing else forbids the same."""
        self._freezing[why] -= 1
        if not self._freezing[why]:
            del self.frozen[why]

    @property
    def must_act(self) -> bool:
        """Wakegate must act on it."""
        there = self.managed and not self.frozen and self.ref in self._world.server.workloads
        return there and self.has_a_topic

    @property
    def has_a_topic(self) -> bool:
        """Its topic can be known: its trigger names it, its group has a commit there, or it is kept."""
        trigger = self.consumers.trigger
        if not trigger.topics_of_group or any(topic == trigger.topic for topic, _ in self.consumers.group.commits):
            return True
        return bool(self.standing.offsets) and self.is_remembered

    @property
    def may_wake_late(self) -> bool:
        """Without the Lease alone a target is woken all the same, unless somebody must commit for its group first."""
        if self.disturbed > self.unled:
            return True
        holder = self._world.server.lease.holder
        unled = self.unled > 0 or all(wakegate.process.name != holder for wakegate in self._world.running())
        return unled and self._lacks_commits

    @property
    def _lacks_commits(self) -> bool:
        """On some partition there is nothing that a consumer could begin from: none, or what retention has passed."""
        trigger, commits = self.consumers.trigger, self.consumers.group.commits
        at_latest = trigger.offset_reset is OffsetReset.LATEST
        return any(
            (committed := commits.get((trigger.topic, number))) is None or (at_latest and committed < log.log_start)
            for number, log in enumerate(self.consumers.logs.topics.get(trigger.topic, ()))
        )

    # --------------------------------------------------------------------------------------------------- its replicas

    @property
    def idle(self) -> int:
        """Its count while it sleeps."""
        return self.policy.idle_replicas or 0

    @property
    def asleep(self) -> bool:
        """It is there, with no more replicas than that."""
        stored = self._world.server.workloads.get(self.ref)
        return stored is not None and stored.workload.scale.replicas <= self.idle

    @property
    def phase_now(self) -> Phase:
        """The phase it is in, by its replicas and by the work that was last counted."""
        stored = self._world.server.workloads.get(self.ref)
        if stored is None or self.asleep:
            return Phase.ASLEEP
        if self.falling:
            return Phase.FALLING
        if stored.workload.ready_replicas == 0:
            return Phase.WAKING
        return Phase.BUSY if self.work else Phase.QUIET

    def most_partitions(self, now: float) -> int:
        """Return the most partitions that a process can have seen in the last minutes."""
        horizon = now - self.policy.polling_interval.total_seconds() - 60.0
        recent = [
            number
            for (at, number), (until, _) in zip(self.partitions, [*self.partitions[1:], (now + 1, 0)], strict=True)
            if until >= horizon
        ]
        return max(recent, default=1)

    # ------------------------------------------------------------------------------------------------------- its work

    def count_work(self, now: float) -> None:
        """Count again what its consumers have to do."""
        was, trigger = self.work, self.consumers.trigger
        self.lag = count(self.consumers.logs, trigger, self._commits)
        self.work = self.lag > trigger.activation_lag_threshold
        if self.work or was:
            self.worked_at = now
        if self.work and not was:
            self.work_since = now

    @property
    def _commits(self) -> Mapping[TopicPartition, int]:
        """Where its consumers will go on, as far as anybody can know."""
        return self.standing.commits if self.is_remembered else self.consumers.group.commits

    @property
    def is_remembered(self) -> bool:
        """Without the CRD what is kept is kept in memory: a process that came later knows nothing of it."""
        if self._world.server.crd_installed:
            return True
        return all(wakegate.process.started_at < self.slept_at for wakegate in self._world.running())

    @property
    def is_committed(self) -> bool:
        """Every partition has a commit that can be used, or does not need one, or surely can be pinned."""
        trigger, commits = self.consumers.trigger, self.consumers.group.commits
        logs = self.consumers.logs.topics.get(trigger.topic, ())
        return bool(logs) and (
            trigger.offset_reset is OffsetReset.EARLIEST
            or all(
                at <= log.visible_end(trigger.isolation)
                if (at := commits.get((trigger.topic, number))) is not None
                else self.standing.able and log.end == FIRST_OFFSET  # nobody can have read what nobody committed
                for number, log in enumerate(logs)
            )
        )
