"""How late the loop looks at its targets, half of them asleep, at a short polling interval.

The floor, at the same time on the same machine: a process with as many bare timers of the same interval.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from benchmarks import bare, processes
from benchmarks.crowd import crowd, start_watching
from benchmarks.figures import Figures, percentiles
from benchmarks.idle import half_asleep

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

POLLING_SECONDS = 5
SETTLE_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--targets", type=int, default=3000, help="half of them asleep (3000)")
    parser.add_argument("--partitions", type=int, default=4, help="of each topic (4)")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long it is watched (3)")


def run(arguments: argparse.Namespace) -> None:
    """Let it look, and compare how late its looks are with bare timers."""
    figures = Figures("lateness")
    with crowd(partitions=arguments.partitions, polling_interval=str(POLLING_SECONDS), jaeger=True) as made:
        sleepers, awake = half_asleep(made, arguments.targets)
        wakegate = start_watching(made, sleepers)
        time.sleep(SETTLE_SECONDS)
        with bare.running(bare.timers, arguments.targets, POLLING_SECONDS) as floor:
            before = wakegate.lateness()
            cost = processes.watch(wakegate.process.pid or 0, arguments.minutes * 60)
            after = wakegate.lateness()
            late = floor.stop()
    looks = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    least = percentiles(late, 50, 95, 99)
    figures.add("targets", f"{sleepers} asleep, {awake} awake, polling interval {POLLING_SECONDS} s")
    figures.add("looks", f"{looks[math.inf]:.0f}")
    for percent, floor_seconds in least.items():
        ours = quantile(looks, percent / 100)
        more = (ours - floor_seconds) * 1000
        figures.add(
            f"p{percent}", f"{ours * 1000:.1f} ms; bare timers {floor_seconds * 1000:.1f} ms; {more:.1f} ms later"
        )
        figures.raw[f"p{percent}"] = {"seconds": ours, "floor_seconds": floor_seconds}
    cost.add_to(figures, "wakegate")
    figures.tell()


def quantile(buckets: Mapping[float, float], share: float) -> float:
    """Estimate a quantile of a cumulative histogram (upper bound -> count), evenly within a bucket."""
    wanted, below, lower = share * buckets[math.inf], 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= wanted and count > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below)
        below, lower = count, bound
    return lower
