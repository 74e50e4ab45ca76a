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

from activator.core.model import GroupState, IsolationLevel, TargetRef, TraceIds
from activator.errors import UnavailableError
from activator.loop import Activator
from activator.loop import World as LoopWorld
from activator.web import selector as selectors
from activator.web.metric_store import InMemoryMetricStore
from tests.fakes.kubernetes import FakeStateStore
from tests.world.actors import Consumers, HpaController
from tests.world.faults import FAULTS, Phase, Scope, nothing
from tests.world.journal import Journal, Violation
from tests.world.kafka import FIRST_OFFSET, GroupOffsets, Logs, Reader, Tail
from tests.world.kubernetes import ApiServer, Catalog, Election, Handoff, Scaler, parsed
from tests.world.oracle import Oracle
from tests.world.plan import CALM_SECONDS, CLUSTERS, END_SECONDS, Plan, Strike, TargetPlan
from tests.world.scheduler import START, Process, SeededLoop, seeded_loop
from tests.world.truth import Truth

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from activator.core.model import Fact, Push
    from activator.web.selector import Selector
    from tests.world.kubernetes import Trouble
    from tests.world.standing import Standing

NAMESPACE = "shop"
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


class Wakegate:
    """One process of wakegate, wired as wiring.py wires it."""

    def __init__(self, world: World, name: str, clock_offset: timedelta) -> None:
        self.world = world
        self.process = Process(name, clock_offset, on_death=self._dies)
        self._start = START + clock_offset
        self._told = (0.0, self._start)
        dice = random.Random(f"{world.plan.seed}/{name}")  # noqa: S311 - replayed, not secret
        self.metrics = InMemoryMetricStore()
        self.catalog = Catalog(world.server, self.process, dice)
        self.election = Election(world.server, self.process, self.now)
        self.tail = Tail(self.process, world.clusters, self, self.now, dice)
        offsets = GroupOffsets(self.process, world.clusters, world.oracle.witness)
        self.activator = Activator(
            LoopWorld(
                catalog=self.catalog,
                reader=Reader(self.process, world.clusters, world.oracle.witness),
                wakes=self.tail,
                scaler=Scaler(world.server, self.process),
                handoff=Handoff(world.server, self.process, self.catalog),
                leadership=self.election,
                metrics=self.metrics,
                states=FakeStateStore(world.server, name),
                recorder=self,
                group_offsets=offsets,
                background_offsets=offsets,
                now=self.now,
                new_ids=world.new_ids,
                parse=lambda annotations, _: parsed(annotations),
            )
        )

        self.catalog.rivals_changed = self.activator.look

    def now(self) -> datetime:
        """Tell the time as this process has it."""
        elapsed = self.world.loop.time()
        if self._told[0] != elapsed:
            self._told = (elapsed, self._start + timedelta(seconds=elapsed))
        return self._told[1]

    def push(self, push: Push) -> None:
        """Hand a push of the tail on."""
        self.activator.push(push)

    def record(self, fact: Fact) -> None:
        """Hand what is recorded on to the oracle."""
        self.world.oracle.recorded(self.process, fact)

    def _dies(self) -> None:
        self.world.journal.note("dies", self.process.name)
        self.world.oracle.process_dies()

    async def run(self) -> None:
        """Run as wiring does."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.election.run())
                tasks.create_task(self._manage())
                tasks.create_task(self.activator.run())
        except Exception as error:  # noqa: BLE001 - whatever ends a process is what is looked for
            self.world.journal.violation("broke", f"{self.process.name}: {error!r}")

    async def _manage(self) -> None:
        with contextlib.suppress(UnavailableError):
            await self.activator.restore()
        await self.catalog.run(self.activator)


@dataclass(eq=False)
class Hit:
    """A strike that strikes now."""

    world: World
    strike: Strike
    ref: TargetRef
    consumers: Consumers
    dice: random.Random
    phase: Phase
    """Of its target, as it strikes."""

    def strikes(self) -> None:
        """Count it."""
        self.world.journal.strikes[self.strike.fault, self.phase] += 1

    @property
    def logs(self) -> Logs:
        """The cluster of its target."""
        return self.consumers.logs

    @property
    def reads_committed(self) -> bool:
        """Its consumers do not see open transactions."""
        return self.consumers.isolation is IsolationLevel.READ_COMMITTED

    def partition(self) -> tuple[str, int]:
        """Draw a partition of its topic."""
        topic = self.consumers.trigger.topic
        return topic, self.dice.randrange(max(1, len(self.logs.topics.get(topic, ()))))

    @property
    def standing(self) -> Standing:
        """Where its consumers must go on."""
        return self.world.oracle.truths[self.ref].standing

    @property
    def asleep(self) -> bool:
        """It is at idle."""
        return self.world.oracle.truths[self.ref].asleep

    def trouble(self, trouble: Trouble) -> Callable[[], None]:
        """Let requests to the API server meet it, and return how to end that."""
        troubles = self.world.server.troubles
        troubles.append(trouble)
        return lambda: troubles.remove(trouble)

    def hides_work(self) -> None:
        """There may be work now without a record that arrives: only a poll finds it."""
        self.world.oracle.truths[self.ref].hidden_work_at = seeded_loop().time()
        self.world.oracle.touch(self.ref)

    def tempt(self, share: float) -> None:
        """Give it work after a share of its time: that nothing may be done shows where there is something to do."""
        records = 1 + self.consumers.trigger.activation_lag_threshold
        after = share * self.strike.lasts_seconds
        seeded_loop().later(after, self.world.produce, self.ref, self.partition()[1], records)

    def tempt_a_sleeper(self) -> None:
        """Let a record come for some target that sleeps."""
        truths = self.world.oracle.truths.items()
        if sleepers := [ref for ref, truth in truths if truth.phase is Phase.ASLEEP]:
            ref = self.dice.choice(sleepers)
            self.world.produce(ref, 0, 1 + self.world.consumers[ref].trigger.activation_lag_threshold)

    def write(self, replicas: int, manager: str) -> bool:
        """Write spec.replicas as somebody; returns whether that changes it."""
        server = self.world.server
        changes = self.ref in server.workloads and not server.down and server.replicas(self.ref) != replicas
        if changes:
            server.scale(self.ref, replicas, manager=manager)
        return changes


@cache
def _selector(name: str) -> Selector:
    """Of the metrics of one Deployment, as its HPA asks for them."""
    return selectors.parse(f"wakegate.dev/target=deployment-{name}")


@dataclass
class Armed:
    """A strike that waits for its target's phase."""

    strike: Strike
    dice: random.Random
    struck: bool = False


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
        self._put_away: dict[TargetRef, dict[str, str]] = {}
        self._written: dict[tuple[TargetRef, str], list[str | None]] = {}
        """What strikes under way have written into an annotation, after what its author wrote."""
        self._ids = 0
        self._armed: dict[tuple[TargetRef, Phase], list[Armed]] = {}
        self._disturbed_at: dict[Process, float] = {}
        self.hpa = HpaController(self)
        for target in plan.targets:
            self._deploy(target)

    # ---------------------------------------------------------------------------------------------------- the stage

    def new_ids(self, trace_id: str | None) -> TraceIds:
        """Ids that count up."""
        self._ids += 1
        return TraceIds(trace_id or f"{self._ids:032x}", f"{self._ids:016x}")

    def _deploy(self, target: TargetPlan) -> None:
        ref = TargetRef(NAMESPACE, "Deployment", target.name)
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

    def unmanage(self, ref: TargetRef) -> Callable[[], None] | None:
        """Take the annotations away; returns how to put them back, None where they are away already."""
        stored = self.server.workloads.get(ref)
        if stored is None or ref in self._put_away:
            return None
        self._put_away[ref] = dict(stored.annotations)
        self.oracle.left(ref)
        self.server.unannotate(ref)

        def back() -> None:
            self.oracle.came_back(ref)
            written = self._put_away.pop(ref)
            if ref in self.server.workloads:
                self.server.annotate(ref, written)

        return back

    def annotation(self, ref: TargetRef, key: str) -> str | None:
        """Return what the user wants an annotation to be, also while all are away."""
        stored = self.server.workloads.get(ref)
        written = self._put_away.get(ref, stored.annotations if stored else {})
        return written.get(key)

    def annotate(self, ref: TargetRef, key: str, value: str | None) -> None:
        """Write an annotation, or take it away; while all are away, only once they are back.

        A mistake that is corrected while they are away would else come back with them.
        """
        if ref in self._put_away:
            written = {**self._put_away[ref], key: value}
            self._put_away[ref] = {name: text for name, text in written.items() if text is not None}
        elif ref in self.server.workloads:
            self.server.annotate(ref, {key: value})

    def annotate_for_a_while(self, ref: TargetRef, key: str, value: str | None) -> Callable[[], bool]:
        """Write an annotation; returns how to end that, which tells whether nobody else has written it meanwhile.

        Of two who write one annotation, the second must not put back for good what the first wrote for a while.
        """
        written = self._written.setdefault((ref, key), [self.annotation(ref, key)])
        written.append(value)
        self.annotate(ref, key, value)

        def end() -> bool:
            written.reverse()
            written.remove(value)  # the newest of its kind; the author's own stands last
            written.reverse()
            self.annotate(ref, key, written[-1])
            if len(written) > 1:
                return False
            del self._written[ref, key]
            return True

        return end

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

    # ---------------------------------------------------------------------------------------------------- strikes

    def entered(self, ref: TargetRef, phase: Phase) -> None:
        """A target is in another phase: what has waited for that strikes."""
        for armed in self._armed.pop((ref, phase), []):
            self._strike_soon(armed)

    def _arm(self, armed: Armed) -> None:
        """From now on a strike waits for its phase."""
        ref = TargetRef(NAMESPACE, "Deployment", f"t{armed.strike.target}")
        if self.loop.time() > END_SECONDS - CALM_SECONDS - armed.strike.lasts_seconds:
            return
        if self.oracle.truths[ref].phase is armed.strike.phase:
            self._strike_soon(armed)
        else:
            self._armed.setdefault((ref, armed.strike.phase), []).append(armed)

    def _strike_soon(self, armed: Armed) -> None:
        delay = armed.strike.delay_seconds * (0.04 if armed.strike.phase is Phase.FALLING else 10.0)
        self.loop.later(delay, self._strike, armed)

    def _strike(self, armed: Armed) -> None:
        strike, fault = armed.strike, FAULTS[armed.strike.fault]
        ref = TargetRef(NAMESPACE, "Deployment", f"t{strike.target}")
        phase = self.oracle.truths[ref].phase
        late = self.loop.time() > END_SECONDS - CALM_SECONDS - strike.lasts_seconds
        if late or phase not in fault.phases:
            self._arm(armed)
            return
        consumers = self.consumers[ref]
        self.journal.note("strikes", strike.index, strike.fault, ref, phase, f"{strike.lasts_seconds:.3f}")
        concerned = self._concerned(fault.scope, ref)
        for other in concerned:
            self.oracle.disturb(other, fault.scope)
        hit = Hit(self, strike, ref, consumers, armed.dice, phase)
        end = fault.begin(hit)
        if end is not nothing:
            hit.strikes()
        over_at_once = end is None or end is nothing
        self.loop.later(0.0 if over_at_once else strike.lasts_seconds, self._end, armed, end, concerned)

    def _end(self, armed: Armed, end: Callable[[], None] | None, concerned: list[TargetRef]) -> None:
        self.journal.note("ends", armed.strike.index, armed.strike.fault)
        if end is not None:
            end()
        for ref in concerned:
            self.oracle.calm(ref, FAULTS[armed.strike.fault].scope)

    def _concerned(self, scope: Scope, ref: TargetRef) -> list[TargetRef]:
        if scope in {Scope.ALL, Scope.LEASE}:
            return list(self.consumers)
        if scope is Scope.CLUSTER:
            return [other for other, found in self.consumers.items() if found.logs is self.consumers[ref].logs]
        return [ref] if scope is Scope.TARGET else []

    # ---------------------------------------------------------------------------------------------------- the run

    async def run(self) -> None:
        """Let the hours pass."""
        for _ in range(self.plan.replicas):
            self.start_process()
        self.hpa.start()
        for strike in self.plan.strikes:
            dice = random.Random(f"{self.plan.seed}/hit/{strike.index}")  # noqa: S311
            self.loop.later(strike.at, self._arm, Armed(strike, dice))
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
