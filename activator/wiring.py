"""The one place that knows every concrete class: what is joined to what, in which order it starts and ends.

One function a mode; the real clock; supervision, so that one task that breaks is started again and is never the end
of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from activator.core.model import TraceIds
from activator.errors import UnavailableError
from activator.kafka.client import Connections
from activator.kafka.connection import no_credentials
from activator.kafka.lag import KafkaLagReader
from activator.kafka.tail import KafkaTail
from activator.kubernetes.api_service import MetricsApiOwner
from activator.kubernetes.catalog import KubernetesCatalog
from activator.kubernetes.client import KubernetesClient
from activator.kubernetes.events import EventRecorder
from activator.kubernetes.front_proxy import FrontProxyConfigMap
from activator.kubernetes.hpa import KubernetesHandoff
from activator.kubernetes.lease import LeaseElection, SoleLeader
from activator.kubernetes.resources import Resources
from activator.kubernetes.scale import KubernetesScaler
from activator.kubernetes.scale_targets import ScaleTargetStore
from activator.loop import Activator, World
from activator.settings import TraceHeld
from activator.specs.annotations import AnnotationDefaults, parse
from activator.telemetry import export, holds
from activator.telemetry.fanout import FanOut
from activator.telemetry.logs import LogRecorder
from activator.telemetry.metrics import MetricsRecorder, OutsideCollector
from activator.version import version
from activator.web.certificates import FromFiles, SelfSigned
from activator.web.external_metrics import ExternalMetricsServer
from activator.web.metric_store import InMemoryMetricStore
from activator.web.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from activator.core.model import Policy, Push
    from activator.errors import SpecError
    from activator.ports import Recorder
    from activator.settings import Settings
    from activator.web.certificates import CertificateSource

FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
LONG_RUN_SECONDS = 60.0
"""A task that ran this long before it broke starts again at once, as if it had broken for the first time."""

_log = logging.getLogger(__name__)


class Clock:
    """Aware UTC that never goes back: the wall clock at the start, plus what the monotonic clock has counted since.

    A wall clock that is stepped would move every deadline with it: an hour back, and nothing is due for an hour.
    """

    def __init__(self) -> None:
        self._wall = datetime.now(UTC)
        self._monotonic = time.monotonic()

    def now(self) -> datetime:
        """Return the present moment."""
        return self._wall + timedelta(seconds=time.monotonic() - self._monotonic)


def new_ids(trace_id: str | None) -> TraceIds:
    """Make the ids of a span, in the trace whose id is given or in a new one (W3C Trace Context, section 3.2.2)."""
    return TraceIds(trace_id or secrets.token_hex(16), secrets.token_hex(8))


class Pushes:
    """A push listener that is known before the loop it belongs to, and counts what comes."""

    def __init__(self, metrics: MetricsRecorder) -> None:
        self._metrics = metrics
        self.listener: Activator | None = None

    def push(self, push: Push) -> None:
        """Count a push and hand it on; before the loop is there, nothing is asleep by its knowledge."""
        self._metrics.pushed(push)
        if self.listener is not None:
            self.listener.push(push)


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Keep a task of the process running: one that breaks is told and started again, less and less soon."""
    failures = 0
    while True:
        started = time.monotonic()
        try:
            await run()
        except Exception:  # noqa: BLE001 - whatever broke it, the others go on and it is tried again
            failures = 1 if time.monotonic() - started > LONG_RUN_SECONDS else failures + 1
            wait = min(FIRST_RESTART_SECONDS * 2 ** min(failures - 1, 10), LONGEST_RESTART_SECONDS)
            _log.exception("%s broke in a way nobody foresaw; it starts again in %g s", name, wait)
            await asyncio.sleep(wait)
        else:
            return


async def run(settings: Settings) -> None:
    """Manage the cluster that the kubeconfig or the service account leads to, until SIGTERM or SIGINT.

    Raises:
        SettingsError: there is no cluster to be found, or a certificate cannot be used.
        UnavailableError: an address to listen on is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = Clock()
    identity = settings.identity or _identity()
    defaults = AnnotationDefaults(
        bootstrap_servers=settings.bootstrap_servers,
        allowed_bootstrap_servers=frozenset(settings.allowed_bootstrap_servers),
        handoff=settings.handoff,
        dry_run=settings.dry_run,
    )

    def parsed(annotations: Mapping[str, str]) -> tuple[Policy | None, tuple[SpecError, ...]]:
        return parse(annotations, defaults)

    async with contextlib.AsyncExitStack() as exits:
        client = await KubernetesClient.from_environment()
        exits.push_async_callback(client.close)
        scale_client = client.with_own_connections(64)
        resources = Resources(client)
        election = LeaseElection(client, settings.lease, identity, clock.now) if settings.leader_election else None
        leadership = election or SoleLeader()
        catalog = KubernetesCatalog(client, resources, lambda found, _ref: parsed(found), settings.watch_namespace)
        handoff = KubernetesHandoff(client, settings.watch_namespace)
        states = ScaleTargetStore(client, settings.watch_namespace, leads=_leads(leadership.remaining))
        events = EventRecorder(client, identity, uid_of=catalog.uid, leads=_leads(leadership.remaining))
        registry = CollectorRegistry()
        metrics = MetricsRecorder(registry, clock.now, version=version())
        recorders: list[Recorder] = [LogRecorder(), metrics, events]
        longest_hold = holds.NONE if settings.trace_held is TraceHeld.ALL else holds.LONGEST
        if exporting := export.start(metrics, longest_hold=longest_hold, version=version()):
            exits.push_async_callback(exporting.close)
            recorders.append(exporting.recorder)
        connections = Connections(credentials=no_credentials)
        exits.push_async_callback(connections.close)
        pushes = Pushes(metrics)
        tail = KafkaTail(connections, pushes, clock.now)
        registry.register(OutsideCollector(lambda: _watched(tail), lambda: events.dropped))
        store = InMemoryMetricStore()
        front_proxy = FrontProxyConfigMap(client)
        metrics_api_owner = MetricsApiOwner(client, settings.metrics_api_service)
        activator = Activator(
            World(
                catalog=catalog,
                reader=KafkaLagReader(connections),
                wakes=tail,
                scaler=KubernetesScaler(scale_client, resources),
                handoff=handoff,
                leadership=leadership,
                metrics=store,
                states=states,
                recorder=FanOut(recorders),
                now=clock.now,
                new_ids=new_ids,
                parse=parsed,
                auto_handoff=metrics_api_owner.handoff,
            )
        )
        pushes.listener = activator
        metrics_api = ExternalMetricsServer(
            settings.metrics_api_listen,
            store=store,
            certificate=_certificate(settings, clock),
            authority=front_proxy,
            now=clock.now,
            served=metrics.external_metric_served,
        )
        server = Server(
            settings.listen,
            registry=registry,
            ready=lambda: _not_ready(activator, metrics_api),
            pushes=pushes,
            wake_token_file=Path(settings.wake_token_file) if settings.wake_token_file else None,
            now=clock.now,
        )
        for listener in (metrics_api, server):
            await listener.start()
            exits.push_async_callback(listener.close)
        _log.info(
            "wakegate %s started: health and metrics on port %d, metrics API on port %d",
            identity,
            server.port,
            metrics_api.port,
        )

        async def manage() -> None:
            """Deliver the catalog to the loop once everything that a decision looks at has been seen."""
            await handoff.listed()
            await _restored(activator)
            await catalog.run(activator)

        async with _running({"lease": election.run} if election else {}):
            tasks = {
                "HPA watch": handoff.run,
                "ScaleTarget store": states.run,
                "Events": events.run,
                "front proxy": front_proxy.run,
                "metrics API owner": metrics_api_owner.run,
                "tail": tail.run,
                "catalog": manage,
                "loop": activator.run,
                "warm connection": scale_client.keep_warm,
            }
            async with _running(tasks):
                await stop.wait()
                _log.info("stopping: no further decision is made")
        # The lease is given back only now, when nothing of ours can be on its way any more.


@contextlib.asynccontextmanager
async def _running(tasks: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run supervised tasks for the length of a block, and end them with it."""
    async with asyncio.TaskGroup() as group:
        started = [group.create_task(supervise(name, run), name=name) for name, run in tasks.items()]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


async def _restored(activator: Activator) -> None:
    """Read what outlived the last process, however long it takes: deciding without it would forget a cooldown."""
    wait = FIRST_RESTART_SECONDS
    while True:
        try:
            await activator.restore()
        except UnavailableError as error:
            _log.warning("what outlived the last process cannot be read yet, trying again: %s", error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, 5.0)
        else:
            return


def _watched(tail: KafkaTail) -> Iterator[tuple[str, str, int]]:
    for cluster, watched in tail.watched().items():
        for way, partitions in watched._asdict().items():
            yield cluster.bootstrap_servers, way, partitions


def _leads(remaining: Callable[[], timedelta]) -> Callable[[], bool]:
    return lambda: remaining() > timedelta(0)


def _not_ready(activator: Activator, metrics_api: ExternalMetricsServer) -> list[str]:
    reasons = [] if activator.is_synced else ["the catalog has not been read yet"]
    return [*reasons, *metrics_api.problems()]


def _certificate(settings: Settings, clock: Clock) -> CertificateSource:
    if settings.metrics_api_tls_cert:
        return FromFiles(Path(settings.metrics_api_tls_cert), Path(settings.metrics_api_tls_key))
    namespace, name = settings.metrics_api_service
    return SelfSigned(names=[f"{name}.{namespace}.svc", f"{name}.{namespace}", "localhost"], now=clock.now())


def _identity() -> str:
    """Name this process: its Pod, else its host, and a random part, because a restarted container is another one."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
