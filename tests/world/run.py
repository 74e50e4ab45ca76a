"""One run of one plan: the real core, specs and loop between fakes, on a virtual clock, under an oracle's eye."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from activator.core.model import GroupState, TargetRef, TraceIds
from activator.web import selector as selectors
from tests.world.actors import Consumers, HpaController
from tests.world.author import Author
from tests.world.journal import Journal, Violation
from tests.world.kafka import FIRST_OFFSET, Logs, Tail
from tests.world.kubernetes import ApiServer, parsed
from tests.world.oracle import Oracle
from tests.world.plan import CALM_SECONDS, CLUSTERS, END_SECONDS, Plan, TargetPlan, target_ref
from tests.world.scheduler import Process, SeededLoop, seeded_loop
from tests.world.strikes import Strikes
from tests.world.truth import Truth
from tests.world.wakegate import Wakegate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from activator.web.selector import Selector

LAST_RECORD_SECONDS = 60.0
"""So long before the end a last record arrives on every topic."""
QUIET_SECONDS = 600.0
"""So long before that nothing may be written any more."""
SETTLED_SECONDS = 10.0
LOOKS_CHECKED_SECONDS = 300.0
SERVED_SECONDS = 60.0
"""An older sample is served as an error."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run."""

    plan: Plan
    digest: str
    violations: tuple[Violation, ...]
    events: int
    reasons: Counter[str]
    strikes: Counter[tuple[str, str]]
    lines: tuple[str, ...] = ()


@cache
def _selector(name: str) -> Selector:
    """Of the metrics of one Deployment, as its HPA asks for them."""
    return selectors.parse(f"wakegate.dev/target=deployment-{name}")


class World:
    """Everything there is in one run."""

    def __init__(self, plan: Plan, *, keep: bool = False, stops_at: frozenset[str] = frozenset()) -> None:
        self.plan = plan
        loop = seeded_loop()
        self.loop = loop
        self._over = asyncio.Event()
        self.journal = Journal(loop.time, keep=keep, stops_at=stops_at, stop=self._over.set)
        loop.on_error = lambda error: self.journal.violation("broke", repr(error))
        self.oracle = Oracle(self)
        self.server = ApiServer(random.Random(f"{plan.seed}/api"), self.oracle)  # noqa: S311
        self.server.crd_installed = plan.crd_installed
        self.server.on_scaled = lambda ref: self.consumers[ref].scaled()
        self.clusters = {name: Logs(name, random.Random(f"{plan.seed}/{name}")) for name in CLUSTERS}  # noqa: S311
        for logs in self.clusters.values():
            logs.on_commit = self._committed_for
        self.consumers: dict[TargetRef, Consumers] = {}
        self.processes: list[Wakegate] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._identities = 0
        self._ids = 0
        self.hpa = HpaController(self)
        self.author = Author(self.server, self.oracle)
        self.strikes = Strikes(self)
        for target in plan.targets:
            self._deploy(target)

    # ---------------------------------------------------------------------------------------------------- the stage

    def new_ids(self, trace_id: str | None) -> TraceIds:
        """Ids that count up."""
        self._ids += 1
        return TraceIds(trace_id or f"{self._ids:032x}", f"{self._ids:016x}")

    def _deploy(self, target: TargetPlan) -> None:
        ref = target_ref(target.index)
        annotations = dict(target.annotations)
        policy, problems = parsed(annotations)
        assert policy is not None, problems
        trigger, logs = replace(policy.triggers[0], topic=target.name), self.clusters[target.cluster]
        logs.create_topic(target.name, target.partitions)
        logs.set_group(target.name, GroupState.EMPTY, 0)
        for number, log in enumerate(logs.topics[target.name]):
            log.end = FIRST_OFFSET
            if target.committed:
                logs.commit(target.name, target.name, number)
        dice = random.Random(f"{self.plan.seed}/pods/{target.index}")  # noqa: S311
        consumers = Consumers(self, target, ref, trigger, logs, dice)
        self.consumers[ref] = consumers
        self.oracle.truths[ref] = Truth(ref, consumers, policy, target.replicas)
        self.oracle.partitions_changed(ref, target.partitions)
        self.server.add(ref, replicas=target.replicas, ready=0, annotations=annotations)
        consumers.scaled()
        for burst in target.bursts:
            for number in range(burst.records if burst.every_seconds else 1):
                at = burst.at + number * burst.every_seconds
                if at < END_SECONDS - CALM_SECONDS:
                    records = 1 if burst.every_seconds else burst.records
                    self.loop.later(at, self.produce, ref, burst.partition, records)

    def produce(self, ref: TargetRef, partition: int, records: int) -> bool:
        """Let records arrive; returns whether they did."""
        consumers = self.consumers[ref]
        logs, topic = consumers.logs, consumers.trigger.topic
        if partition >= len(logs.topics.get(topic, ())) or logs.topics[topic][partition].open_since is not None:
            return False  # behind an open transaction nothing is stable: those records are another fault's
        logs.topics[topic][partition].end += records
        logs.arrived((topic, partition))
        self.journal.note("produced", topic, partition, logs.topics[topic][partition].end)
        self.oracle.record_arrived(ref)
        logs._changed()
        consumers.wake()
        return True

    def _committed_for(self, what: str, group: str, outcome: object) -> None:
        """Somebody who is no member has committed for a group: its lag may be another from now on."""
        self.journal.note("committed-for", what, group, outcome)
        for ref, consumers in self.consumers.items():
            if consumers.trigger.group == group:
                self.oracle.touch(ref)

    def served(self, ref: TargetRef, metric: str) -> int | None:
        """Ask some replica's metrics API, as the HPA controller does through the Service."""
        running = self.running()
        if not running:
            return None
        process = running[self._ids % len(running)]
        samples = process.metrics.lookup(ref.namespace, metric, _selector(ref.name))
        if not samples or (process.now() - samples[0].read_at).total_seconds() > SERVED_SECONDS:
            return None
        return samples[0].value

    def recreate(self, ref: TargetRef) -> None:
        """Delete a workload and apply it again as its author wrote it."""
        consumers = self.consumers[ref]
        stored = self.server.workloads[ref]
        self.server.delete(ref)
        consumers.scaled()
        self.server.add(ref, replicas=consumers.plan.replicas, ready=0, annotations=stored.annotations)
        truth = self.oracle.truths[ref]
        truth.raised_at = truth.woken_at = self.loop.time()
        truth.asleep_when_left = False  # the one that did is gone
        truth.original = consumers.plan.replicas
        truth.standing.forget_missing()
        if not truth.asleep:  # it has never slept: where its group stands is nobody's but the group's (seed 6576)
            truth.standing.offsets.clear()
        consumers.scaled()
        self.oracle.touch(ref)

    # -------------------------------------------------------------------------------------------------- processes

    def running(self) -> list[Wakegate]:
        """Every process that lives."""
        return [wakegate for wakegate in self.processes if wakegate.process.alive]

    def start_process(self, clock_offset: timedelta = timedelta(0)) -> Wakegate:
        """Start one more."""
        self._identities += 1
        wakegate = Wakegate(self, f"wakegate-{self._identities}", clock_offset)
        self.processes.append(wakegate)
        self.journal.note("starts", wakegate.process.name, clock_offset)
        self.oracle.process_starts(clock_offset)
        self._tasks.append(self.loop.start(wakegate.process, wakegate.run()))
        return wakegate

    def light_fuse(self, wakegate: Wakegate, callbacks: int) -> None:
        """Let a process die before its so-manieth callback from now."""
        wakegate.process.fuse = callbacks

    def replace(self, wakegate: Wakegate, clock_offset: timedelta = timedelta(0)) -> None:
        """Start a process in place of one that has died."""
        wakegate.process.dies()  # where nothing of it has been due since
        self.start_process(clock_offset)

    def tail_of(self, process: Process) -> Tail:
        """Return the tail of a process."""
        return next(wakegate.tail for wakegate in self.processes if wakegate.process is process)

    def settled(self) -> bool:
        """Some process has run for long enough to know everything."""
        now = self.loop.time()
        return any(
            not wakegate.process.stalled and now - wakegate.process.started_at > SETTLED_SECONDS
            for wakegate in self.running()
        )

    # ---------------------------------------------------------------------------------------------------- the run

    async def run(self) -> None:
        """Let the hours pass."""
        for _ in range(self.plan.replicas):
            self.start_process()
        self.hpa.start()
        self.strikes.begin(self.plan)
        self.loop.later(END_SECONDS - LAST_RECORD_SECONDS - QUIET_SECONDS, self.oracle.begin_quiet)
        self.loop.later(END_SECONDS - LAST_RECORD_SECONDS, self._last_records)
        self._check_looks()
        self.loop.later(self.plan.until, self._over.set)
        await self._over.wait()

    def _check_looks(self) -> None:
        self.oracle.check_looks()
        self.loop.later(LOOKS_CHECKED_SECONDS, self._check_looks)

    def _last_records(self) -> None:
        self.oracle.last_calm = False
        for ref in self.consumers:
            threshold = self.consumers[ref].trigger.activation_lag_threshold
            self.produce(ref, 0, threshold + 1)


class _Foreseen(logging.Handler):
    """What the loop logs as an error is one that nobody foresaw."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.ERROR)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Break a rule."""
        error = record.exc_info[1] if record.exc_info else None
        self._journal.violation("broke", f"{record.getMessage()}: {error!r}")


def run(plan: Plan, *, keep: bool = False, stops_at: frozenset[str] = frozenset()) -> Result:
    """Run a plan from its beginning to its end, or to the first violation of one of these rules."""
    order = random.Random(f"{plan.seed}/order")  # noqa: S311 - replayed, not secret
    log = logging.getLogger("activator.loop")
    with asyncio.Runner(loop_factory=lambda: SeededLoop(order)) as runner, _seldom_collected():
        journal = runner.run(_run(plan, log, keep=keep, stops_at=stops_at))
    return Result(
        plan,
        journal.digest,
        tuple(journal.violations),
        journal.events,
        journal.reasons,
        journal.strikes,
        tuple(journal.lines),
    )


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let the cyclic collector look a hundredth as often: a run makes much that is short-lived, and few cycles."""
    before = gc.get_threshold()
    gc.set_threshold(before[0] * 100, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _run(plan: Plan, log: logging.Logger, *, keep: bool, stops_at: frozenset[str]) -> Journal:
    world = World(plan, keep=keep, stops_at=stops_at)
    handler, level, propagate = _Foreseen(world.journal), log.level, log.propagate
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.ERROR)
    try:
        await world.run()
    finally:
        world.journal.closed = True
        seeded_loop().finish([wakegate.process for wakegate in world.processes])
        for task in world._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*world._tasks, return_exceptions=True)
        log.removeHandler(handler)
        log.propagate = propagate
        log.setLevel(level)
    return world.journal
