"""The strikes of a plan: each waits for its target's phase, strikes, and ends."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.model import IsolationLevel
from tests.world.faults import FAULTS, Phase, Scope, nothing
from tests.world.plan import CALM_SECONDS, END_SECONDS, target_ref
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.model import TargetRef
    from tests.world.actors import Consumers
    from tests.world.kafka import Logs
    from tests.world.kubernetes import Trouble
    from tests.world.plan import Plan, Strike
    from tests.world.run import World
    from tests.world.standing import Standing


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


@dataclass
class Armed:
    """A strike that waits for its target's phase."""

    strike: Strike
    dice: random.Random


class Strikes:
    """All that may strike in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._loop = seeded_loop()
        self._armed: dict[tuple[TargetRef, Phase], list[Armed]] = {}

    def begin(self, plan: Plan) -> None:
        """Arm each at its moment."""
        for strike in plan.strikes:
            dice = random.Random(f"{plan.seed}/hit/{strike.index}")  # noqa: S311 - replayed, not secret
            self._loop.later(strike.at, self._arm, Armed(strike, dice))

    def entered(self, ref: TargetRef, phase: Phase) -> None:
        """A target is in another phase: what has waited for that strikes."""
        for armed in self._armed.pop((ref, phase), []):
            self._strike_soon(armed)

    def _arm(self, armed: Armed) -> None:
        """From now on a strike waits for its phase."""
        ref = target_ref(armed.strike.target)
        if self._loop.time() > END_SECONDS - CALM_SECONDS - armed.strike.lasts_seconds:
            return
        if self._world.oracle.truths[ref].phase is armed.strike.phase:
            self._strike_soon(armed)
        else:
            self._armed.setdefault((ref, armed.strike.phase), []).append(armed)

    def _strike_soon(self, armed: Armed) -> None:
        delay = armed.strike.delay_seconds * (0.04 if armed.strike.phase is Phase.FALLING else 10.0)
        self._loop.later(delay, self._strike, armed)

    def _strike(self, armed: Armed) -> None:
        strike, fault = armed.strike, FAULTS[armed.strike.fault]
        ref = target_ref(strike.target)
        phase = self._world.oracle.truths[ref].phase
        late = self._loop.time() > END_SECONDS - CALM_SECONDS - strike.lasts_seconds
        if late or phase not in fault.phases:
            self._arm(armed)
            return
        consumers = self._world.consumers[ref]
        self._world.journal.note("strikes", strike.index, strike.fault, ref, phase, f"{strike.lasts_seconds:.3f}")
        concerned = self._concerned(fault.scope, ref)
        for other in concerned:
            self._world.oracle.disturb(other, fault.scope)
        hit = Hit(self._world, strike, ref, consumers, armed.dice, phase)
        end = fault.begin(hit)
        if end is not nothing:
            hit.strikes()
        over_at_once = end is None or end is nothing
        self._loop.later(0.0 if over_at_once else strike.lasts_seconds, self._end, armed, end, concerned)

    def _end(self, armed: Armed, end: Callable[[], None] | None, concerned: list[TargetRef]) -> None:
        self._world.journal.note("ends", armed.strike.index, armed.strike.fault)
        if end is not None:
            end()
        for ref in concerned:
            self._world.oracle.calm(ref, FAULTS[armed.strike.fault].scope)

    def _concerned(self, scope: Scope, ref: TargetRef) -> list[TargetRef]:
        if scope in {Scope.ALL, Scope.LEASE}:
            return list(self._world.consumers)
        if scope is Scope.CLUSTER:
            logs = self._world.consumers[ref].logs
            return [other for other, found in self._world.consumers.items() if found.logs is logs]
        return [ref] if scope is Scope.TARGET else []
