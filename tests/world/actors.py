"""What lives on Kafka and Kubernetes besides wakegate: producers, pods that consume, and the HPA controller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.core.model import GroupState, IsolationLevel, OffsetReset
from activator.core.naming import metric_name
from tests.fakes.api_server import HPA_CONTROLLER
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    import random

    from activator.core.model import TargetRef, Trigger, Workload
    from activator.ports import TopicPartition
    from tests.fakes.api_server import StoredHpa
    from tests.fakes.kafka import FakeGroup, FakePartition
    from tests.world.kafka import Logs
    from tests.world.plan import TargetPlan
    from tests.world.run import World

HPA_SYNC_SECONDS = 15.0
TOLERANCE = 0.1
STALE_SAMPLE_SECONDS = 60.0


@dataclass(eq=False)
class Consumers:
    """The pods of one workload: they start, join the group, consume, commit, and go."""

    world: World
    plan: TargetPlan
    ref: TargetRef
    trigger: Trigger
    logs: Logs
    dice: random.Random
    members: int = 0
    assigned: bool = False
    """The group is Stable and its members consume."""
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    progress: dict[TopicPartition, int] = field(default_factory=dict)
    """How far each partition has ever been processed."""
    never_ready: bool = False
    never_commits: bool = False
    leaves_late_seconds: float = 0.0
    """How long the group still counts a member that is gone."""
    empty_since: float = 0.0
    """Since when its group has had no members."""
    starts_at: float = 0.0
    """When the processes that start, or the last that did, are ready."""
    _epoch: int = 0
    _ticking: bool = False
    _starting: bool = False

    @property
    def group(self) -> FakeGroup:
        """As Kafka has it."""
        return self.logs.groups[self.trigger.group]

    @property
    def isolation(self) -> IsolationLevel:
        """What they read."""
        return self.trigger.isolation

    def scaled(self) -> None:
        """spec.replicas has changed, or readiness: start what is missing, drop what is too many."""
        workload = self._workload()
        if workload is None:
            self._join(0)
            return
        wanted = workload.scale.replicas
        if wanted < self.members:
            self._join(wanted)
        if wanted > self.members and not self._starting and not self.never_ready:
            self._starting = True
            seconds = self.plan.start_seconds * self.dice.uniform(0.7, 1.3)
            self.starts_at = seeded_loop().time() + seconds
            seeded_loop().later(seconds, self._started)

    def start_at_once(self) -> None:
        """What is missing is there, as from a warm pool."""
        if (workload := self._workload()) is not None:
            self._set_ready(workload.scale.replicas)

    def crash(self) -> None:
        """All of them die at once; the Deployment starts them again."""
        if self._workload() is not None:
            self._set_ready(0)
            self.scaled()

    def heal(self) -> None:
        """Whatever was wrong with them is over."""
        self.never_ready = self.never_commits = False
        self.leaves_late_seconds = 0.0
        self.scaled()
        self.wake()

    def wake(self) -> None:
        """There may be something to consume."""
        if self.assigned and not self._ticking:
            self._ticking = True
            seeded_loop().later(1.0, self._tick)

    def rebalance(self) -> None:
        """Let the members agree anew on who reads what."""
        self._epoch += 1
        self.assigned = False
        if self.members == 0:
            self._group(GroupState.EMPTY, 0)
            return
        self._group(GroupState.PREPARING_REBALANCE, self.members)
        self.world.oracle.rebalanced(self.ref)
        seeded_loop().later(self.dice.uniform(0.5, 4.0), self._assign, self._epoch)

    def _started(self) -> None:
        self._starting = False
        workload = self._workload()
        if workload is None or self.never_ready or workload.scale.replicas <= self.members:
            return
        self._set_ready(workload.scale.replicas)

    def _set_ready(self, ready: int) -> None:
        workload = self._workload()
        if workload is not None and workload.ready_replicas != ready:
            self.world.server.become_ready(self.ref, ready)
        self._join(ready)

    def _join(self, members: int) -> None:
        before, self.members = self.members, members
        if before == members:
            return
        if members == 0 and self.leaves_late_seconds:
            self._epoch += 1
            self.assigned = False
            seeded_loop().later(self.leaves_late_seconds, self._forget, self._epoch)
            return
        self.rebalance()

    def _forget(self, epoch: int) -> None:
        if epoch == self._epoch and self.members == 0:
            self._group(GroupState.EMPTY, 0)

    def _group(self, state: GroupState, members: int) -> None:
        self.group.state, self.group.members = state, members
        if self.trigger.topics_of_group:
            self.group.consumed = frozenset({self.trigger.topic}) if state is GroupState.STABLE else None
        self.world.journal.note("group", self.trigger.group, state, members)
        if state is GroupState.EMPTY:
            self.positions.clear()
            self.empty_since = seeded_loop().time()

    def _assign(self, epoch: int) -> None:
        """Take positions up where the group has committed, or by the reset policy."""
        if epoch != self._epoch:
            return
        self._group(GroupState.STABLE, self.members)
        self.assigned = True
        for number, log in enumerate(self.logs.topics.get(self.trigger.topic, ())):
            where = (self.trigger.topic, number)
            committed = self.group.commits.get(where)
            end = log.visible_end(self.isolation)
            if committed is None or not log.log_start <= committed <= log.end:
                at = log.log_start if self.trigger.offset_reset is OffsetReset.EARLIEST else end
            else:
                at = committed
            self.world.oracle.assigned(self, where, at, committed)
            self.positions[where] = at
            if self.plan.commits_idle and not self.never_commits:
                self._commit(where, at)
        self.world.oracle.touch(self.ref)
        self.wake()

    def _tick(self) -> None:
        """Once a second: consume, process, commit."""
        self._ticking = False
        if not self.assigned:
            return
        budget = self.members * self.plan.records_per_second
        for number, log in enumerate(self.logs.topics.get(self.trigger.topic, ())):
            where = (self.trigger.topic, number)
            at = self.positions.get(where)
            if at is None or at > log.end or at < log.log_start:
                at = log.log_start if self.trigger.offset_reset is OffsetReset.EARLIEST or at is None else log.end
            taken = min(budget, log.visible_end(self.isolation) - at)
            if taken > 0:
                budget -= taken
                self.positions[where] = at + taken
                self.progress[where] = at + taken
                if not self.never_commits:
                    self._commit(where, self._commit_at(log, at + taken))
            elif (
                not self.never_commits
                and self.group.commits.get(where) != self._commit_at(log, at)
                and (where in self.progress or self.plan.commits_idle)
            ):
                self.positions[where] = at
                self._commit(where, self._commit_at(log, at))
        self.world.oracle.touch(self.ref)
        if self._has_more():
            self.wake()

    def _commit_at(self, log: FakePartition, position: int) -> int:
        """Return what is committed at a position; who commits the record that he has read never commits a marker."""
        if not self.plan.commits_idle:
            while position - 1 in log.invisible and position > log.log_start:
                position -= 1
        return position

    def _has_more(self) -> bool:
        logs = self.logs.topics.get(self.trigger.topic, ())
        return any(
            self.positions.get((self.trigger.topic, number), 0) < log.visible_end(self.isolation)
            for number, log in enumerate(logs)
        )

    def _commit(self, where: TopicPartition, offset: int) -> None:
        self.group.lasting.discard(where)
        if self.group.commits.get(where) != offset:
            self.group.commits[where] = offset
            self.world.journal.note("commit", self.trigger.group, where[1], offset)

    def _workload(self) -> Workload | None:
        stored = self.world.server.workloads.get(self.ref)
        return stored.workload if stored else None


@dataclass(eq=False)
class HpaController:
    """The HPA controller, as far as it matters here: AverageValue, tolerance, scale-down window, nothing at zero."""

    world: World
    recommended: dict[TargetRef, list[tuple[float, int]]] = field(default_factory=dict)

    def start(self) -> None:
        """Sync for ever."""
        seeded_loop().later(HPA_SYNC_SECONDS, self._sync)

    def _sync(self) -> None:
        for consumers in self.world.consumers.values():
            self._look_at(consumers)
        self.start()

    def _look_at(self, consumers: Consumers) -> None:
        server, ref = self.world.server, consumers.ref
        hpa = server.hpa_of(ref)
        if hpa is None or ref not in server.workloads or server.down:
            return
        current = server.replicas(ref)
        if current == 0:
            self.recommended.pop(ref, None)
            return
        value = self.world.served(ref, metric_name(consumers.trigger))
        if value is None:
            return
        threshold = consumers.trigger.lag_threshold
        wanted = -(-value // threshold)
        if abs(value / (threshold * current) - 1) <= TOLERANCE:
            wanted = current
        wanted = self._stabilized(ref, hpa, wanted)
        wanted = min(hpa.max_replicas, max(hpa.min_replicas, wanted), max(2 * current, current + 4))
        if hpa.scaling_active is not True:
            server.hpa_condition(ref, active=True)
        if wanted != current:
            server.scale(ref, wanted, manager=HPA_CONTROLLER)

    def _stabilized(self, ref: TargetRef, hpa: StoredHpa, wanted: int) -> int:
        now = seeded_loop().time()
        window = hpa.policy.behavior.scale_down.stabilization.total_seconds() if hpa.policy else 300.0
        kept = [(at, count) for at, count in self.recommended.get(ref, []) if now - at < window]
        self.recommended[ref] = [*kept, (now, wanted)]
        return max(count for _, count in self.recommended[ref])
