"""One seed -> what will happen: targets, their traffic, and what strikes them. A plan can be narrowed and replayed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from activator.core.model import TargetRef
from tests.world.faults import FAULTS, Fault, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

HOURS = 6
END_SECONDS = HOURS * 3600.0
CALM_SECONDS = 45 * 60.0
"""Nothing strikes any more for so long before the end: everything must become normal and stay so."""
TARGETS = 10
STRIKES = 30
AIMED_STRIKES = 6
"""Of faults that make one situation each: a new one of them moves no other strike."""
CLUSTERS = ("kafka-a:9092", "kafka-b:9092")


def target_ref(index: int) -> TargetRef:
    """Return the workload of that number."""
    return TargetRef("shop", "Deployment", f"t{index}")


@dataclass(frozen=True, slots=True)
class Burst:
    """Records that arrive."""

    at: float
    partition: int
    records: int
    every_seconds: float = 0.0
    """0: all at once; else one by one."""


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """One workload, its topic, its consumers and its traffic."""

    index: int
    cluster: str
    partitions: int
    replicas: int
    annotations: tuple[tuple[str, str], ...]
    committed: bool
    """Its group has committed everywhere before the beginning."""
    start_seconds: float
    """How long a pod takes to become ready."""
    records_per_second: int
    """What one pod works off."""
    commits_idle: bool
    """It commits the position of every partition, also of those it has read nothing from (Kafka's auto-commit); else
    the record that it has read: the markers of transactions behind that are never committed."""
    bursts: tuple[Burst, ...]

    @property
    def name(self) -> str:
        """Of the workload, its topic and its group."""
        return f"t{self.index}"


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault that waits for its target to be in a phase, from a moment on."""

    index: int
    fault: str
    target: int
    phase: Phase
    at: float
    delay_seconds: float
    lasts_seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is drawn before the beginning."""

    seed: int
    targets: tuple[TargetPlan, ...]
    strikes: tuple[Strike, ...]
    replicas: int
    """Processes of wakegate."""
    crd_installed: bool
    until: float = END_SECONDS
    ablation: str | None = None
    """The safeguard that is taken out."""
    topicless: bool = False
    """No target's trigger names its topic; all else is as without."""

    def narrowed(
        self,
        *,
        targets: Iterable[int] | None = None,
        strikes: Iterable[int] | None = None,
        until: float | None = None,
    ) -> Plan:
        """Return the same with only these targets and strikes, and no longer than this."""
        kept = self.targets if targets is None else tuple(t for t in self.targets if t.index in set(targets))
        indices = {target.index for target in kept}
        struck = self.strikes if strikes is None else tuple(s for s in self.strikes if s.index in set(strikes))
        return replace(
            self,
            targets=kept,
            strikes=tuple(strike for strike in struck if strike.target in indices),
            until=self.until if until is None else min(until, self.until),
        )

    @property
    def command(self) -> str:
        """What replays it."""
        whole = plan_of(self.seed, topicless=self.topicless)
        parts = [f"python -m tests.world --seed {self.seed}"]
        if self.topicless:
            parts.append("--topicless")
        if self.targets != whole.targets:
            parts.append(f"--targets {','.join(str(target.index) for target in self.targets)}")
        if self.strikes != whole.strikes:
            parts.append(f"--strikes {','.join(str(strike.index) for strike in self.strikes) or 'none'}")
        if self.until != whole.until:
            parts.append(f"--until {self.until:g}")
        if self.ablation is not None:
            parts.append(f"--ablate {self.ablation}")
        return " ".join(parts)


def plan_of(seed: int, ablation: str | None = None, *, topicless: bool = False) -> Plan:
    """Draw everything from a seed; without topics it is the same world, told otherwise."""
    dice = random.Random(f"{seed}/plan")  # noqa: S311 - replayed, not secret
    targets = tuple(_target(random.Random(f"{seed}/target/{index}"), index) for index in range(TARGETS))  # noqa: S311
    strikes = [_strike(random.Random(f"{seed}/strike/{index}"), index, targets) for index in range(STRIKES)]  # noqa: S311
    for index in range(AIMED_STRIKES):
        aim = random.Random(f"{seed}/aimed/{index}")  # noqa: S311
        strikes.append(_aimed_strike(aim, STRIKES + index, targets))
    return Plan(
        seed=seed,
        targets=tuple(map(_without_topic, targets)) if topicless else targets,
        strikes=tuple(strikes),
        replicas=dice.choice((1, 1, 1, 2)),
        crd_installed=dice.random() > 0.1,
        ablation=ablation,
        topicless=topicless,
    )


def _without_topic(target: TargetPlan) -> TargetPlan:
    """Return a target whose trigger names no topic: which one it is, its group's commits and members tell."""
    written = dict(target.annotations)
    for name in ("topic", "limit-to-partitions-with-lag"):  # the second asks for the first
        written.pop(f"wakegate.dev/{name}", None)
    written["wakegate.dev/triggers"] = "[{type: kafka}]"
    return replace(target, annotations=tuple(written.items()))


def _target(dice: random.Random, index: int) -> TargetPlan:
    partitions = dice.choice((1, 1, 2, 3, 5, 8))
    least = dice.choice((1, 1, 1, 2, 3))
    cooldown = dice.choice((0, 60, 60, 120, 120, 300))
    name, cluster = f"t{index}", dice.choice(CLUSTERS)
    latest = dice.random() < 0.6
    guard = dice.choice(("on",) * 8 + ("observe", "off"))
    written = {
        "topic": name,
        "consumer-group": name,
        "bootstrap-servers": cluster,
        "lag-threshold": str(dice.choice((5, 10, 50))),
        "activation-lag-threshold": str(dice.choice((0, 0, 0, 0, 20))),
        "polling-interval": str(dice.choice((15, 60, 300, 300, 300, 300))),
        "cooldown-period": str(cooldown),
        "min-replica-count": str(least),
        "max-replica-count": str(max(least, dice.choice((3, 5, 10, 100)))),
        "offset-reset-policy": "latest" if latest else "earliest",
        "isolation-level": dice.choice(("read_uncommitted", "read_uncommitted", "read_committed")),
        "offset-guard": guard,
        "handoff": dice.choice(("hpa", "hpa", "direct")),
        "sleep-from": dice.choice(("any", "any", "floor")),
        "wake-to": dice.choice(("min", "lag")),
    }
    if dice.random() < 0.15:
        written["fallback-replicas"] = str(dice.choice((least, least + 1)))
    if dice.random() < 0.3:
        written["behavior"] = "{scaleDown: {stabilizationWindowSeconds: 30}}"
    if dice.random() < 0.03:
        written["idle-replica-count"] = "none"
    if dice.random() < 0.1:
        written["allow-idle-consumers"] = "true"
    elif dice.random() < 0.1:
        written["limit-to-partitions-with-lag"] = "true"
    if dice.random() < 0.1:
        written["exclude-persistent-lag"] = "true"
    return TargetPlan(
        index=index,
        cluster=cluster,
        partitions=partitions,
        replicas=dice.choice((0, 1, 1, 3)),
        annotations=tuple((f"wakegate.dev/{key}", value) for key, value in written.items()),
        committed=dice.random() < (0.8 if guard == "on" else 0.5),
        start_seconds=dice.uniform(1.0, 15.0),
        records_per_second=dice.choice((1, 5, 20)),
        commits_idle=dice.random() < 0.8,
        bursts=tuple(_bursts(dice, partitions)),
    )


def _bursts(dice: random.Random, partitions: int) -> Iterable[Burst]:
    at = dice.uniform(0, 1800)
    while at < END_SECONDS - CALM_SECONDS:
        if dice.random() < 0.1:
            records = dice.randint(10, 60)
            yield Burst(at, dice.randrange(partitions), records, dice.uniform(2.0, 20.0))
        else:
            for _ in range(dice.choice((1, 1, 1, 3))):
                yield Burst(at, dice.randrange(partitions), dice.choice((1, 1, 3, 25, 150)))
                at += dice.choice((0.0, 0.0, 0.5, 30.0))
        at += dice.expovariate(1 / 3600)


def _strike(dice: random.Random, index: int, targets: tuple[TargetPlan, ...]) -> Strike:
    fault, target = FAULTS[dice.choice(_NAMES)], dice.randrange(TARGETS)
    fitting = [other.index for other in targets if fault.fits is None or fault.fits(other)] or range(TARGETS)
    return _drawn(dice, index, fault, fitting[target % len(fitting)])


def _aimed_strike(dice: random.Random, index: int, targets: tuple[TargetPlan, ...]) -> Strike:
    fault = FAULTS[dice.choice(_AIMED)]
    fitting = [target.index for target in targets if fault.aimed_at is None or fault.aimed_at(target)]
    return _drawn(dice, index, fault, dice.choice(fitting or range(TARGETS)))


def _drawn(dice: random.Random, index: int, fault: Fault, target: int) -> Strike:
    return Strike(
        index=index,
        fault=fault.name,
        target=target,
        phase=dice.choice(sorted(fault.phases)),
        at=dice.uniform(60, END_SECONDS - CALM_SECONDS - 600),
        delay_seconds=dice.uniform(0.0, 1.0),
        lasts_seconds=dice.uniform(*fault.lasts),
    )


_NAMES = sorted(name for name, fault in FAULTS.items() if fault.aimed_at is None)
_AIMED = sorted(FAULTS.keys() - set(_NAMES))
