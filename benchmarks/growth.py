"""What an idle process costs as sleepers are added: CPU and memory at each size, and the line through them.

The floor, for the largest size in the same run: a process that reads the same lags, all in one batch an interval.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import bare, processes
from benchmarks.crowd import crowd, start_watching, watch
from benchmarks.figures import Figures

if TYPE_CHECKING:
    import argparse

POLLING_SECONDS = 30
SETTLE_SECONDS = 75.0
"""Looks double in distance after a takeover, up to the polling interval; until then it is not idle."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 3000], help="sleepers (100 1000 3000)")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long each size is watched (5)")


def run(arguments: argparse.Namespace) -> None:
    """Add sleepers to one process, and watch it at each size."""
    figures = Figures("growth")
    found: dict[int, processes.Cost] = {}
    with crowd(polling_interval=str(POLLING_SECONDS)) as made:
        sizes = sorted(arguments.sizes)
        made.add(sizes[0])
        wakegate = start_watching(made, sizes[0])
        for size in sizes:
            made.add(size - len(made.names))
            watch(made, wakegate, size)
            time.sleep(SETTLE_SECONDS)
            found[size] = processes.watch(wakegate.process.pid or 0, arguments.minutes * 60)
            found[size].add_to(figures, f"{size} asleep")
        topics = [made.topic(name) for name in made.names]
        with bare.running(bare.sweeps, made.stage.bed.kafka.bootstrap_servers, topics, POLLING_SECONDS) as floor:
            processes.watch(floor.process_id, min(120, arguments.minutes * 60)).add_to(figures, "floor, bare reads")
    if len(found) > 1:
        small, large = found[sizes[0]], found[sizes[-1]]
        more = (sizes[-1] - sizes[0]) / 1000
        cores, memory = (large.cores - small.cores) / more, (large.mebibytes - small.mebibytes) / more
        figures.add("each further 1,000 sleepers", f"{cores:.4f} core, {memory:.1f} MiB")
    figures.tell()
