"""What is joined for a laptop: the same loop as in a cluster, over a folder, local processes and an embedded Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from activator.core.model import Handover
from activator.core.naming import ANNOTATION_PREFIX
from activator.errors import UnavailableError
from activator.kafka.client import Connections
from activator.kafka.connection import no_credentials
from activator.kafka.lag import KafkaLagReader
from activator.kafka.tail import KafkaTail
from activator.local.broker_protocol import ApiError, ErrorCode
from activator.local.broker_server import EmbeddedBroker
from activator.local.catalog import FolderCatalog
from activator.local.manifests import with_bootstrap_servers
from activator.local.process import Reaper
from activator.local.processes import LocalReplicas
from activator.local.single_process import NoHpa, SoleLeader, StateInMemory
from activator.loop import Activator, World
from activator.specs.annotations import AnnotationDefaults, parse
from activator.telemetry import export, holds
from activator.telemetry.fanout import FanOut
from activator.telemetry.metrics import MetricsRecorder
from activator.version import version
from activator.web.metric_store import InMemoryMetricStore
from activator.web.server import Server
from activator.wiring import Clock, Pushes, new_ids, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from pathlib import Path

    from activator.core.model import Policy
    from activator.errors import SpecError
    from activator.local.manifests import WorkloadSpec
    from activator.ports import Recorder

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What `wakegate local` is asked for."""

    folder: Path
    environment: Mapping[str, str]
    """What every replica's process inherits."""
    bootstrap_servers: str = ""
    """A Kafka that is there already; empty: the embedded one."""
    broker_port: int = 9092
    """Port of the embedded Kafka; 0 takes a free one."""
    partitions: int = 5
    """Partitions of a topic that is annotated and not there; only in the embedded Kafka."""
    listen: tuple[str, int] = (HOST, 8080)
    """Where /metrics and POST /wake are served."""
    wake_token_file: Path | None = None
    broker_flag: str = "--broker-port"
    listen_flag: str = "--listen"
    """The flags that choose the ports, for the sentence that says that one is in use."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where what happens is told."""

    output: Callable[[str, str], None]
    """Takes a replica's name and a line that it wrote."""
    say: Callable[[str], None]
    """Takes one sentence."""
    recorder: Recorder


@dataclass(frozen=True, slots=True)
class LocalMode:
    """Local mode while it runs."""

    clock: Clock
    bootstrap_servers: str
    broker: EmbeddedBroker | None
    activator: Activator
    catalog: FolderCatalog
    replicas: LocalReplicas
    server: Server
    _follow: asyncio.Task[None]

    async def wait(self, stop: asyncio.Event) -> None:
        """Wait until told to stop. Raises UnavailableError: the folder has vanished."""
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopped, self._follow}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self._follow.done():
            self._follow.result()


@contextlib.asynccontextmanager
async def start(options: LocalOptions, clock: Clock, terminal: Terminal) -> AsyncIterator[LocalMode]:
    """Run local mode for the length of a block; whatever ends the block, no process is left.

    Raises:
        SettingsError: the folder or a file in it cannot be used.
        UnavailableError: a port is taken.
    """
    async with contextlib.AsyncExitStack() as exits:
        broker = None if options.bootstrap_servers else await exits.enter_async_context(_broker(options, clock))
        servers = options.bootstrap_servers or f"{HOST}:{broker.port if broker else 0}"

        def parsed(annotations: Mapping[str, str]) -> tuple[Policy | None, tuple[SpecError, ...]]:
            written = {**annotations, f"{ANNOTATION_PREFIX}bootstrap-servers": servers}
            policy, problems = parse(written, AnnotationDefaults())
            return policy and replace(policy, handoff=Handover.DIRECT), problems

        def translate(spec: WorkloadSpec) -> WorkloadSpec:
            """Let a workload use our Kafka, and give it its topic there."""
            policy, _ = parsed(spec.annotations)
            if broker is not None and policy is not None:
                known = {topic.name: topic.partitions for topic in catalog.topics}
                for trigger in policy.triggers:
                    _create_topic(broker, trigger.topic, known.get(trigger.topic, options.partitions))
            return with_bootstrap_servers(spec, servers)

        reaper = Reaper()
        replicas = LocalReplicas(reaper, options.environment, output=terminal.output, say=terminal.say)
        catalog = FolderCatalog(options.folder, replicas, parsed, say=terminal.say, translate=translate)
        catalog.load()
        registry = CollectorRegistry()
        metrics = MetricsRecorder(registry, clock.now, version=version())
        recorders: list[Recorder] = [terminal.recorder, metrics]
        if exporting := export.start(metrics, longest_hold=holds.LONGEST, version=version()):
            exits.push_async_callback(exporting.close)
            recorders.append(exporting.recorder)
        connections = Connections(credentials=no_credentials)
        exits.push_async_callback(connections.close)
        pushes = Pushes(metrics)
        tail = KafkaTail(connections, pushes, clock.now)
        activator = Activator(
            World(
                catalog=catalog,
                reader=KafkaLagReader(connections),
                wakes=tail,
                scaler=replicas,
                handoff=NoHpa(),
                leadership=SoleLeader(),
                metrics=InMemoryMetricStore(),
                states=StateInMemory(),
                recorder=FanOut(recorders),
                now=clock.now,
                new_ids=new_ids,
                parse=parsed,
                auto_handoff=lambda: Handover.DIRECT,
            )
        )
        pushes.listener = activator
        server = Server(
            options.listen,
            registry=registry,
            ready=lambda: [] if activator.is_synced else ["the folder has not been read yet"],
            pushes=pushes,
            wake_token_file=options.wake_token_file,
            now=clock.now,
        )
        try:
            await server.start()
        except UnavailableError as error:
            raise _taken(options.listen, error.__cause__, options.listen_flag) from None
        exits.push_async_callback(server.close)
        await reaper.start()
        exits.push_async_callback(reaper.close)
        await activator.restore()
        # Replicas end after the loop, so that nothing starts one anew, and before Kafka, so that they can commit.
        async with _running(replicas.run), _running(tail.run, activator.run):
            follow = asyncio.create_task(catalog.run(activator), name="folder")
            try:
                yield LocalMode(clock, servers, broker, activator, catalog, replicas, server, follow)
            finally:
                follow.cancel()
                with contextlib.suppress(asyncio.CancelledError, UnavailableError):
                    await follow


@contextlib.asynccontextmanager
async def _running(*runs: Callable[[], Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run supervised tasks for the length of a block, and end them with it."""
    tasks = [asyncio.create_task(supervise(run.__qualname__, run), name=run.__qualname__) for run in runs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _broker(options: LocalOptions, clock: Clock) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(now=clock.now, host=HOST, port=options.broker_port)
    try:
        await broker.__aenter__()
    except OSError as error:
        raise _taken((HOST, options.broker_port), error, options.broker_flag) from None
    try:
        yield broker
    finally:
        await broker.__aexit__(None, None, None)


def _taken(address: tuple[str, int], error: BaseException | None, flag: str) -> UnavailableError:
    in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    why = "the port is in use" if in_use else str(error)
    return UnavailableError(f"{address[0]}:{address[1]}", f"{why}; choose another with {flag}")


def _create_topic(broker: EmbeddedBroker, name: str, partitions: int) -> None:
    try:
        broker.create_topic(name, partitions)
    except ApiError as error:
        if error.code != ErrorCode.TOPIC_ALREADY_EXISTS:
            raise UnavailableError(
                "the embedded Kafka", f"topic {name} cannot be created: {error.message or error.code.name}"
            ) from None
