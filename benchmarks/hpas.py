"""How late the controller manager syncs awake HPAs; the stock one does each every 15 s, at 20 requests a second.

`--requests-a-second` and `--concurrent-syncs` are its `--kube-api-qps` and its
`--concurrent-horizontal-pod-autoscaler-syncs`.

The floor is the sync period itself. What is counted is how long after the last one an HPA's next look at our metric
was answered by the API server, less the period.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.crowd import crowd, start_watching
from benchmarks.figures import Figures
from testbed.control_plane_flags import HpaFlags
from testbed.stage import until

if TYPE_CHECKING:
    import argparse

    from benchmarks.crowd import Crowd

STOCK = HpaFlags.stock()
PERIOD = timedelta(seconds=15)
CONTROLLER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
SETTLE_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 300, 1000], help="awake targets (50 300 1000)")
    parser.add_argument("--minutes", type=float, default=4.0, help="how long each size is watched (4)")
    parser.add_argument(
        "--requests-a-second", type=int, default=STOCK.requests_a_second, help="its --kube-api-qps (20)"
    )
    parser.add_argument("--concurrent-syncs", type=int, default=STOCK.concurrent_syncs, help="its syncs at a time (5)")


def run(arguments: argparse.Namespace) -> None:
    """Add awake targets, and look at the audit log at each size."""
    figures = Figures("hpas")
    hpa = replace(
        STOCK,
        requests_a_second=arguments.requests_a_second,
        concurrent_syncs=arguments.concurrent_syncs,
    )
    figures.add("controller manager", f"{hpa.requests_a_second} requests a second, {hpa.concurrent_syncs} syncs")
    with crowd(hpa=hpa) as made:
        wakegate = start_watching(made, 0)
        for size in sorted(arguments.sizes):
            began = time.monotonic()
            made.add(size - len(made.names), replicas=1, cooldown_period="86400")
            created = time.monotonic() - began
            until("every target has its HPA", lambda size=size: len(made.stage.hpas()) >= size, 60 + size)  # type: ignore[misc]
            appeared = time.monotonic() - began - created
            time.sleep(SETTLE_SECONDS)
            since = datetime.now(UTC)
            cost = processes.watch(wakegate.process.pid or 0, arguments.minutes * 60)
            late = _late(made, since)
            figures.add(f"{size} HPAs: all there", f"{appeared:.1f} s after the last Deployment was made")
            if late:
                figures.add_latencies(f"{size} HPAs: later than 15 s", late)
            figures.add(f"{size} HPAs: syncs", f"{len(late)} in {arguments.minutes:g} minutes")
            cost.add_to(figures, f"{size} HPAs: wakegate")
    figures.tell()


def _late(made: Crowd, since: datetime) -> list[float]:
    """Return how many seconds later than the period each look at an external metric was; each target has its own."""
    looks: dict[str, list[datetime]] = defaultdict(list)
    for event in made.stage.bed.control_plane.audit_events():
        if event.group == "external.metrics.k8s.io" and event.user == CONTROLLER and event.completed_at >= since:
            looks[event.resource].append(event.completed_at)
    return [
        max(0.0, (later - earlier - PERIOD).total_seconds())
        for times in looks.values()
        for earlier, later in itertools.pairwise(times)
    ]
