"""What runs in a cluster: Kafka and the API server joined, the listeners, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from activator.errors import WakegateError
from activator.kafka.client import Connections
from activator.kafka.tail import KafkaTail
from activator.kubernetes.client import KubernetesClient
from activator.loop import Activator
from activator.telemetry.metrics import OutsideCollector
from activator.web.dashboard import Dashboard
from activator.web.external_metrics import ExternalMetricsServer
from activator.web.server import Server
from activator.wiring.cluster import WAKE_CONNECTIONS, Cluster, process_identity, scaled_object_tasks
from activator.wiring.garbage import keep_pauses_short
from activator.wiring.parts import Clock, Pushes, observability, running, with_mistakes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from activator.kubernetes.credential_gate import CredentialGate
    from activator.settings import Settings
    from activator.wiring.parts import Observability

_log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Manage the cluster that the kubeconfig or the service account leads to, until SIGTERM or SIGINT.

    Raises:
        SettingsError: there is no cluster to be found, or a certificate cannot be used.
        UnavailableError: an address to listen on is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    identity = settings.identity or process_identity()
    async with contextlib.AsyncExitStack() as exits:
        client = await KubernetesClient.from_environment()
        exits.push_async_callback(client.close)
        cluster = Cluster(settings, Clock(), identity, client)
        observed = await observability(exits, cluster.clock.now, settings.trace_held, *cluster.recorders())
        lookup = cluster.credentials()
        connections = Connections(lookup)
        exits.push_async_callback(connections.close)
        pushes = Pushes(observed.metrics)
        tail = KafkaTail(connections, pushes, cluster.clock.now)
        observed.registry.register(_outside(cluster, tail))
        activator = Activator(cluster.world(connections, tail, observed))
        observed.metrics.leads = cluster.leads
        observed.metrics.managed = observed.board.managed = partial(with_mistakes, activator)
        pushes.listener = activator
        cluster.join(activator)
        await _listen(exits, cluster, observed, activator, pushes)
        tasks = _tasks(cluster, activator, cluster.gate(activator, lookup), tail)
        async with running({"lease": cluster.election.run} if cluster.election else {}), running(tasks):
            await stop.wait()
            _log.info("stopping: no further decision is made")
        # The lease is given back only now, when nothing of ours can be on its way any more.


def _tasks(
    cluster: Cluster, activator: Activator, gate: CredentialGate, tail: KafkaTail
) -> dict[str, Callable[[], Awaitable[None]]]:
    """Name every task of the process but the lease's."""

    async def manage() -> None:
        """Deliver the catalog to the loop once everything that a decision looks at has been seen."""
        await cluster.handoff.listed()
        await _restore(activator)
        await cluster.catalog.run(gate)

    shared = cluster.shared_certificate
    return {
        **({"certificate": shared.run} if shared is not None else {}),
        **scaled_object_tasks(cluster),
        "HPA watch": cluster.handoff.run,
        "ScaleTarget store": cluster.states.run,
        "Events": cluster.events.run,
        "front proxy": cluster.front_proxy.run,
        "metrics API owner": cluster.metrics_api_owner.run,
        "Secrets": cluster.secrets.run,
        "tail": tail.run,
        "catalog": manage,
        "loop": activator.run,
        "warm connections": partial(cluster.scale_client.keep_warm, WAKE_CONNECTIONS),
        "garbage collection": keep_pauses_short,
    }


async def _listen(
    exits: contextlib.AsyncExitStack, cluster: Cluster, observed: Observability, activator: Activator, pushes: Pushes
) -> None:
    """Open every listener; they close with `exits`."""
    settings = cluster.settings
    metrics_api = ExternalMetricsServer(
        settings.metrics_api_listen,
        store=cluster.store,
        certificate=cluster.certificate,
        authority=cluster.front_proxy,
        now=cluster.clock.now,
        served=observed.metrics.external_metric_served,
    )

    def not_ready() -> list[str]:
        reasons = [] if activator.is_synced else ["the catalog has not been read yet"]
        shared = cluster.shared_certificate
        return [*reasons, *metrics_api.problems(), *(shared.problems() if shared is not None else ())]

    server = Server(
        settings.listen,
        registry=observed.registry,
        ready=not_ready,
        pushes=pushes,
        wake_token_file=Path(settings.wake_token_file) if settings.wake_token_file else None,
        now=cluster.clock.now,
    )
    dashboard = Dashboard(
        settings.dashboard_listen,
        board=observed.board,
        now=cluster.clock.now,
        leads=cluster.leads,
        trace_url=settings.trace_url,
    )
    for name, listener in (("metrics API", metrics_api), ("health and metrics", server), ("dashboard", dashboard)):
        await listener.start()
        exits.push_async_callback(listener.close)
        _log.info("%s on port %d", name, listener.port)


async def _restore(activator: Activator) -> None:
    """Read what outlived the last process before the catalog is delivered.

    Where it cannot be read the loop goes on without: asking again is its part, and so is what may not be done before.
    """
    try:
        await activator.restore()
    except WakegateError as error:
        _log.warning(
            "what outlived the last process cannot be read yet, trying again; until then nothing is put to sleep, given"
            " back or written down, and woken is who has a commit on every partition: %s",
            error,
        )


def _outside(cluster: Cluster, tail: KafkaTail) -> OutsideCollector:
    return OutsideCollector(lambda: _watched(tail), lambda: cluster.events.dropped, cluster.leads)


def _watched(tail: KafkaTail) -> Iterator[tuple[str, str, int]]:
    found: Counter[tuple[str, str]] = Counter()
    for watched_cluster, watched in tail.watched().items():
        for way, partitions in watched._asdict().items():  # one series for all who log in to the same servers
            found[watched_cluster.bootstrap_servers, way] += partitions
    for (servers, way), partitions in found.items():
        yield servers, way, partitions
