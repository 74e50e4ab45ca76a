"""The real loop on fakes of every port and a virtual clock, with consumers that consume and an HPA that scales."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from activator.core.model import GroupState, Handover, OffsetReset, TargetRef, TraceIds
from activator.core.naming import ANNOTATION_PREFIX, metric_name
from activator.errors import WakegateError
from activator.loop import Activator, World
from activator.specs.annotations import parse
from activator.specs.defaults import AnnotationDefaults
from activator.web import selector as selectors
from activator.web.metric_store import InMemoryMetricStore
from tests.fakes.api_server import HPA_CONTROLLER, FakeApiServer
from tests.fakes.kafka import FakeKafka
from tests.fakes.kafka_ports import FakeGroupOffsets, FakeLagReader, FakeWakeSource
from tests.fakes.kubernetes import FakeCatalog, FakeHandoff, FakeLeadership, FakeScaler, FakeStateStore
from tests.fakes.recorder import FakeRecorder
from tests.virtual_time import now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from activator.core.model import Policy, Push, Trigger
    from activator.errors import SpecError

HPA_SYNC_SECONDS = 15.0
TOLERANCE = 0.1


def orders(name: str = "orders", **annotations: str) -> dict[str, str]:
    """Annotations of a workload that reads the topic of its name; keywords override, with _ for -."""
    written = {"topic": name, "consumer-group": name, "bootstrap-servers": "kafka:9092"}
    written |= {key.replace("_", "-"): value for key, value in annotations.items()}
    return {ANNOTATION_PREFIX + key: value for key, value in written.items()}


def ref(name: str = "orders") -> TargetRef:
    """A Deployment in the namespace that the tests use."""
    return TargetRef("shop", "Deployment", name)


@dataclass
class Replica:
    """One process of wakegate over the shared world: the real loop on fakes."""

    bed: Bed
    identity: str = "wakegate-0"
    recorder: FakeRecorder = field(default_factory=FakeRecorder)

    def __post_init__(self) -> None:
        bed = self.bed
        self.metrics = InMemoryMetricStore()
        self.catalog = FakeCatalog(bed.server, self.parse)
        self.reader = FakeLagReader(*bed.kafkas)
        self.group_offsets = FakeGroupOffsets(*bed.kafkas)
        self.leadership = FakeLeadership(bed.server, now, self.identity)
        self.activator: Activator
        self.tail = FakeWakeSource(*bed.kafkas, listener=self, now=now, delay=0.002)
        self.world = World(
            catalog=self.catalog,
            reader=self.reader,
            wakes=self.tail,
            scaler=FakeScaler(bed.server, self.identity),
            handoff=FakeHandoff(bed.server, self.identity),
            leadership=self.leadership,
            metrics=self.metrics,
            states=FakeStateStore(bed.server, self.identity),
            recorder=self.recorder,
            now=now,
            new_ids=bed.new_ids,
            group_offsets=self.group_offsets,
            background_offsets=self.group_offsets,
            parse=self.parse,
            auto_handoff=lambda: bed.auto_handoff,
        )
        self.activator = Activator(self.world)
        self._task: asyncio.Task[None] | None = None

    def parse(self, annotations: Mapping[str, str], ref: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
        """Read annotations as wiring does."""
        return parse(annotations, self.bed.defaults, ref.namespace)

    def push(self, push: Push) -> None:
        """Hand a push of the tail on to the loop, which is made after the tail."""
        self.activator.push(push)

    async def run(self) -> None:
        """Run as wiring does."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.leadership.run())
            tasks.create_task(self._watch_rivals())
            await asyncio.sleep(0)
            with contextlib.suppress(WakegateError):
                await self.activator.restore()
            tasks.create_task(self.catalog.run(self.activator))
            tasks.create_task(self.activator.run())

    async def _watch_rivals(self) -> None:
        """Have a target looked at whose rivals have changed, as the watch of HPAs does."""
        server, known = self.bed.server, dict[TargetRef, str | None]()

        def look() -> None:
            for target in server.workloads:
                rival = self.world.handoff.look(target).rival
                if known.get(target) != rival:
                    known[target] = rival
                    self.activator.look(target)

        unsubscribe = server.subscribe(look)
        try:
            await asyncio.Event().wait()
        finally:
            unsubscribe()

    def start(self) -> None:
        """Begin to run."""
        self._task = asyncio.create_task(self.run())

    async def kill(self) -> None:
        """End at once, wherever it is."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        for watched in list(self.tail.joined):
            self.tail.leave(watched)
        self._task = None


class Bed:
    """A Kafka, an API server and what lives on them; `async with` starts one replica, the consumers and the HPA."""

    def __init__(
        self,
        *,
        hpa: bool = True,
        records_per_second: int = 5,
        replicas: int = 1,
        other_clusters: Sequence[FakeKafka] = (),
    ) -> None:
        self.kafka = FakeKafka()
        self.kafkas = (self.kafka, *other_clusters)
        self.server = FakeApiServer(pods_become_ready=True, latency=timedelta(milliseconds=3))
        self.defaults = AnnotationDefaults()
        self.auto_handoff: Handover | None = Handover.HPA
        """Who moves 1..N of targets with hand-off `auto`; None: not known yet."""
        self._numbers = itertools.count(1)
        self._hpa = hpa
        self._records_per_second = records_per_second
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: dict[TargetRef, Trigger] = {}
        self.replicas_of_wakegate = [Replica(self, f"wakegate-{number}") for number in range(replicas)]
        self.consumed: dict[str, int] = {}
        """Records read, by topic; one that is read again counts again."""
        self._positions: dict[TargetRef, dict[int, int]] = {}
        """Where the running consumers of a target read next, by partition."""
        self.lingers: dict[TargetRef, float] = {}
        """Seconds that a target's members stay in their group after its last replica has gone."""
        self._gone_since: dict[TargetRef, float] = {}
        self.shows_groups = True
        """Groups are as many members as there are ready replicas; else as a test sets them."""
        self.consumes: dict[TargetRef, set[str]] = {}
        """What a target's members are subscribed to, where it is not the topic of its name."""

    @property
    def replica(self) -> Replica:
        """The first replica of wakegate."""
        return self.replicas_of_wakegate[0]

    def start_next(self) -> None:
        """Start a process in place of the first replica, which was killed."""
        self.replicas_of_wakegate[0] = Replica(self, "wakegate-next")
        self.replica.start()

    @property
    def recorder(self) -> FakeRecorder:
        """What the first replica recorded."""
        return self.replica.recorder

    def new_ids(self, trace_id: str | None) -> TraceIds:
        """Ids that count up: equal runs give equal ids."""
        number = next(self._numbers)
        return TraceIds(trace_id or f"{number:032x}", f"{number:016x}")

    def deploy(
        self,
        name: str = "orders",
        *,
        partitions: int = 5,
        replicas: int = 1,
        committed: bool = True,
        **annotations: str,
    ) -> TargetRef:
        """Create a topic, a group that has committed its ends, and an annotated Deployment whose pods consume."""
        self.kafka.create_topic(name, partitions)
        if committed:
            self.kafka.commit_all(name, name)
        target = ref(name)
        self.server.add(target, replicas=replicas, annotations=orders(name, **annotations))
        reset = annotations.get("offset_reset_policy", OffsetReset.LATEST)
        policy, problems = parse(orders(name, offset_reset_policy=reset), self.defaults)
        assert policy is not None, problems
        self._workers[target] = policy.triggers[0]
        return target

    async def __aenter__(self) -> Self:
        for replica in self.replicas_of_wakegate:
            replica.start()
        self._tasks.append(asyncio.create_task(self._consume()))
        if self._hpa:
            self._tasks.append(asyncio.create_task(self._autoscale()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self.replicas_of_wakegate:
            await replica.kill()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @staticmethod
    def now_seconds() -> float:
        """Virtual time since the start."""
        return asyncio.get_running_loop().time()

    async def until(self, seconds: float) -> None:
        """Let virtual time pass until this many seconds after the start."""
        await asyncio.sleep(max(0.0, seconds - asyncio.get_running_loop().time()))

    async def until_true(self, condition: Callable[[], bool]) -> None:
        """Let virtual time pass until something is so, looking each millisecond; ten minutes at most."""
        async with asyncio.timeout(600.0):
            while not condition():
                await self.until(self.now_seconds() + 0.001)

    async def _consume(self) -> None:
        """Once a second every ready replica consumes and commits; a group without replicas is Empty."""
        while True:
            for target, trigger in self._workers.items():
                stored = self.server.workloads.get(target)
                ready = stored.workload.ready_replicas if stored else 0
                self._show_group(target, trigger, ready)
                if ready:
                    self._work_off(target, trigger, ready * self._records_per_second)
                else:
                    self._positions.pop(target, None)
            await asyncio.sleep(1.0)

    def _show_group(self, target: TargetRef, trigger: Trigger, ready: int) -> None:
        if not self.shows_groups:
            return
        now = asyncio.get_running_loop().time()
        gone_since = now if ready else self._gone_since.get(target, now)
        self._gone_since[target] = gone_since
        if ready or now - gone_since < self.lingers.get(target, 0.0):
            self.kafka.set_group(
                trigger.group, GroupState.STABLE, max(ready, 1), self.consumes.get(target, {trigger.topic})
            )
        else:
            self.kafka.set_group(trigger.group, GroupState.EMPTY, 0)

    def _work_off(self, target: TargetRef, trigger: Trigger, budget: int) -> None:
        """Read on from where the consumers are; those that start now ask the group, and without a commit the policy."""
        commits = self.kafka.groups[trigger.group].commits
        positions = self._positions.setdefault(target, {})
        for number, log in enumerate(self.kafka.topics.get(trigger.topic, ())):
            reset = log.log_start if trigger.offset_reset is OffsetReset.EARLIEST else log.end
            if (position := positions.get(number)) is None:
                position = commits.get((trigger.topic, number), reset)
            if not log.log_start <= position <= log.end:
                position = reset
            taken = min(budget, log.end - position)
            positions[number] = position + taken
            if taken > 0:
                budget -= taken
                self.consumed[trigger.topic] = self.consumed.get(trigger.topic, 0) + taken
                self.kafka.commit(trigger.group, trigger.topic, number, position + taken)

    async def _autoscale(self) -> None:
        """The HPA controller, as far as a test needs it: AverageValue, 10 % tolerance, nothing at zero."""
        while True:
            await asyncio.sleep(HPA_SYNC_SECONDS)
            for target, trigger in self._workers.items():
                hpa = self.server.hpa_of(target)
                if hpa is None or target not in self.server.workloads or self.server.replicas(target) == 0:
                    continue
                selector = selectors.parse("")
                samples = self.replica.metrics.lookup(target.namespace, metric_name(trigger), selector)
                values = [sample.value for sample in samples if sample.value is not None]
                if not values:
                    continue
                current = self.server.replicas(target)
                threshold = hpa.policy.triggers[0].lag_threshold if hpa.policy else trigger.lag_threshold
                wanted = -(-values[0] // threshold)
                if current and abs(values[0] / (threshold * current) - 1) <= TOLERANCE:
                    wanted = current
                wanted = min(hpa.max_replicas, max(hpa.min_replicas, wanted))
                if hpa.scaling_active is not True:
                    self.server.hpa_condition(target, active=True)
                if wanted != current:
                    self.server.scale(target, wanted, manager=HPA_CONTROLLER)
