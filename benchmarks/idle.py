"""What many targets cost: half of them asleep, half awake with real HPAs that ask through the aggregator, traced.

Connections are counted at the broker's end, and requests by its own counters; nobody else asks it anything meanwhile.

The floor, on the same parts in the same run: a process that reads the same lags, all in one batch an interval.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks import bare, processes
from benchmarks.crowd import crowd, start_watching
from benchmarks.figures import Figures
from testbed.kafka_counts import requests_answered
from testbed.stage import until

if TYPE_CHECKING:
    import argparse

    from benchmarks.crowd import Crowd

SETTLE_SECONDS = 75.0
FLOOR_SECONDS = 120.0
REQUESTS = (
    "ApiVersions",
    "Fetch",
    "ListOffsets",
    "OffsetFetch",
    "OffsetCommit",
    "DescribeGroups",
    "ConsumerGroupDescribe",
    "FindCoordinator",
    "Metadata",
)
"""Those that a client sends: a broker's own to the controller, such as its heartbeat, are left out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--targets", type=int, default=3000, help="half of them asleep (3000)")
    parser.add_argument("--partitions", type=int, default=4, help="of each topic (4)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it is watched (10)")


def run(arguments: argparse.Namespace) -> None:
    """Let it idle, and look at its process before and after."""
    figures = Figures("idle")
    with crowd(partitions=arguments.partitions, jaeger=True) as made:
        sleepers, awake = half_asleep(made, arguments.targets)
        wakegate = start_watching(made, sleepers)
        until("every awake target has its HPA", lambda: len(made.stage.hpas()) >= awake, 60 + awake)
        time.sleep(SETTLE_SECONDS)
        watched, broker = wakegate.process.pid or 0, made.stage.bed.kafka.node(1).pid or 0
        began, before = time.monotonic(), requests_answered(broker)
        cost = processes.watch(watched, arguments.minutes * 60)
        answered = Counter(requests_answered(broker)) - Counter(before)
        counted_seconds = time.monotonic() - began
        clients = processes.connections(watched, broker)
        topics = [made.topic(name) for name in made.names]
        with bare.running(bare.sweeps, made.stage.bed.kafka.bootstrap_servers, topics, 30) as floor:
            least = processes.watch(floor.process_id, min(FLOOR_SECONDS, arguments.minutes * 60))
    figures.add("targets", f"{sleepers} asleep, {awake} awake, {arguments.partitions} partitions each")
    cost.add_to(figures, "wakegate")
    figures.add("connections at the broker", str(clients))
    _add_requests(figures, {api: answered[api] / counted_seconds for api in REQUESTS})
    least.add_to(figures, "floor, bare reads")
    figures.add("CPU / floor, RSS / floor", f"{cost.cores / least.cores:.1f}, {cost.rss_bytes / least.rss_bytes:.1f}")
    figures.tell()


def _add_requests(figures: Figures, a_second: dict[str, float]) -> None:
    what = "requests a second at the broker"
    each = ", ".join(f"{api} {rate:.2f}" for api, rate in a_second.items())
    figures.add(what, f"{sum(a_second.values()):.1f}: {each}")
    figures.raw[what] = a_second


def half_asleep(made: Crowd, targets: int) -> tuple[int, int]:
    """Make targets of which half sleep; return how many sleep and how many are awake, which they stay."""
    awake = targets // 2
    made.add(targets - awake)
    made.add(awake, replicas=1, cooldown_period="86400")
    return targets - awake, awake
