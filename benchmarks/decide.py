"""Evaluations of the pure decision in a second of CPU, so that a regression shows.

The floor: making the same objects (an observation, one step, a decision) without deciding anything.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from activator.core.decide import decide
from activator.core.model import (
    Cluster,
    Decision,
    GroupState,
    Handover,
    Lag,
    Memory,
    Observation,
    Policy,
    Reason,
    Step,
    Trigger,
)
from benchmarks.figures import Figures

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
POLICY = Policy(triggers=(Trigger(Cluster("kafka:9092"), "orders", "orders"),))
MEMORY = Memory(taken_over_at=NOW - timedelta(hours=1), replicas=0)
ROUNDS = 5
"""Of which the median counts."""


def observation(replicas: int, lag: int, state: GroupState) -> Observation:
    """See a target with one trigger."""
    known = Lag(known=lag, complete=True, partitions=4, read_at=NOW, group_state=state)
    return Observation(replicas=replicas, ready_replicas=replicas, lags=(known,))


CASES = {
    "asleep, nothing to do": (POLICY, observation(0, 0, GroupState.EMPTY)),
    "asleep, woken by lag": (POLICY, observation(0, 5, GroupState.EMPTY)),
    "awake, left to the HPA": (POLICY, observation(3, 40, GroupState.STABLE)),
    "awake, going to sleep": (POLICY, observation(1, 0, GroupState.STABLE)),
    "moved by wakegate itself": (
        replace(POLICY, handoff=Handover.DIRECT),
        replace(observation(3, 80, GroupState.STABLE), handed_off=False),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--evaluations", type=int, default=5_000, help="a round (5000)")


def run(arguments: argparse.Namespace) -> None:
    """Decide each case again and again."""
    figures = Figures("decide")
    floor = _rate(lambda: _bare(CASES["asleep, nothing to do"][1]), arguments.evaluations)
    for name, (policy, seen) in CASES.items():
        rate = _rate(lambda policy=policy, seen=seen: decide(policy, MEMORY, seen, NOW), arguments.evaluations)  # type: ignore[misc]
        figures.add(name, f"{rate:,.0f} a second: {1e6 / rate:.1f} us each, {floor / rate:.1f} x the floor")
        figures.raw[name] = rate
    figures.add("floor: making the objects", f"{floor:,.0f} a second")
    figures.raw["floor"] = floor
    figures.tell()


def _rate(evaluate: Callable[[], object], times: int) -> float:
    rates = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            evaluate()
        rates.append(times / (time.process_time() - began))
    return statistics.median(rates)


def _bare(seen: Observation) -> Decision:
    seen = replace(seen, replicas=seen.replicas)
    steps = (Step("bounds", seen.replicas, Reason.NEVER_READ, ""),)
    return Decision(seen.replicas, steps, NOW + timedelta(seconds=30))
