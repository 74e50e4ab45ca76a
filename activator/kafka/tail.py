"""`WakeSource`: pushes within milliseconds of the first record on a sleeping target's topics.

A cluster's partitions stand in incremental fetch sessions with their brokers (`cluster_tail.py`), which wait there and
cost next to nothing while nothing happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from activator.core.model import IsolationLevel
from activator.kafka.cluster_tail import ClusterTail, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from activator.core.model import Cluster, TargetRef
    from activator.kafka.client import Connections
    from activator.ports import PushListener, TopicPartition

RESTART_SECONDS = 1.0

_log = logging.getLogger(__name__)


class KafkaTail:
    """`ports.WakeSource` over real brokers; `run` must be running for pushes to come.

    Args:
        connections: shared with the lag reader; the waiting fetches have connections of their own.
        listener: who is told.
        now: stamps ``Push.seen_at``.
    """

    def __init__(self, connections: Connections, listener: PushListener, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._listener = listener
        self._now = now
        self._clusters: dict[Cluster, ClusterTail] = {}
        self._of_target: dict[TargetRef, set[Cluster]] = defaultdict(set)
        self._new = asyncio.Event()

    def join(
        self,
        ref: TargetRef,
        cluster: Cluster,
        positions: Mapping[TopicPartition, int],
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> None:
        """Watch partitions for a target from these offsets on, in effect with the next fetch (a second at most)."""
        if cluster not in self._clusters:
            client = self._connections.client(cluster)
            self._clusters[cluster] = ClusterTail(client, self._listener, self._now)
            self._new.set()
        self._of_target[ref].add(cluster)
        self._clusters[cluster].join(ref, positions, read_committed=isolation is IsolationLevel.READ_COMMITTED)

    def leave(self, ref: TargetRef) -> None:
        """Stop watching for a target."""
        for cluster in self._of_target.pop(ref, ()):
            self._clusters[cluster].leave(ref)

    def watched(self) -> Mapping[Cluster, Watched]:
        """Count the partitions watched on each cluster, by how they are watched. Safe in any thread."""
        return {cluster: tail.watched() for cluster, tail in list(self._clusters.items())}

    async def run(self) -> None:
        """Watch until cancelled; what breaks on one cluster is restarted there and touches no other."""
        tasks: dict[Cluster, asyncio.Task[None]] = {}
        try:
            while True:
                self._new.clear()
                for cluster in self._clusters.keys() - tasks.keys():
                    tasks[cluster] = asyncio.create_task(self._keep_running(cluster), name=f"tail {cluster}")
                await self._new.wait()
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _keep_running(self, cluster: Cluster) -> None:
        while True:
            try:
                await self._clusters[cluster].run()
            except Exception:  # noqa: BLE001 - a defect of ours must not leave every sleeper of a cluster asleep
                _log.exception("the tail of Kafka %s broke, starting it again", cluster.bootstrap_servers)
            await asyncio.sleep(RESTART_SECONDS)
