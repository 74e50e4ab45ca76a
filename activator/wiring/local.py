"""What is joined for a laptop: the same loop as in a cluster, over a folder, local processes and an embedded Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from activator.core.model import Cluster, Handover
from activator.core.naming import ANNOTATION_PREFIX
from activator.errors import SpecError, UnavailableError
from activator.kafka.client import Connections
from activator.kafka.commits import KafkaGroupOffsets
from activator.kafka.connection import no_credentials
from activator.kafka.lag import KafkaLagReader
from activator.kafka.tail import KafkaTail
from activator.local.broker.protocol import ApiError, ErrorCode
from activator.local.broker.server import EmbeddedBroker
from activator.local.catalog import FolderCatalog
from activator.local.manifests import with_bootstrap_servers
from activator.local.process import Reaper
from activator.local.processes import LocalReplicas
from activator.local.single_process import NoHpa, SoleLeader, StateInMemory
from activator.loop import Activator, World
from activator.settings import TraceHeld
from activator.specs.annotations import parse
from activator.specs.defaults import AnnotationDefaults
from activator.specs.keda.scaled_object import is_packed, parse_packed
from activator.web.dashboard import Dashboard
from activator.web.metric_store import InMemoryMetricStore
from activator.web.server import Server
from activator.wiring.parts import Pushes, new_ids, observability, running, with_mistakes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from activator.core.model import Policy
    from activator.local.manifests import WorkloadSpec
    from activator.ports import Recorder
    from activator.wiring.parts import Clock, Observability

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
    dashboard_listen: tuple[str, int] = (HOST, 8081)
    """Where the dashboard is served."""
    wake_token_file: Path | None = None
    trace_url: str = ""
    """Where a trace is looked at, with {trace_id} in it."""
    broker_flag: str = "--broker-port"
    listen_flag: str = "--listen"
    dashboard_flag: str = "--dashboard-listen"
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
    dashboard: Dashboard
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
            if not is_packed(annotations):
                annotations = {**annotations, f"{ANNOTATION_PREFIX}bootstrap-servers": servers}
            policy, problems = _read(annotations, servers)
            return policy and _at_home(policy, servers), problems

        def translate(spec: WorkloadSpec) -> WorkloadSpec:
            """Let a workload use our Kafka, and give it its topic there."""
            policy, _ = parsed(spec.annotations)
            if broker is not None and policy is not None:
                known = {topic.name: topic.partitions for topic in catalog.topics}
                for trigger in policy.triggers:
                    if not trigger.topic:  # its group's commits say which
                        continue
                    _create_topic(broker, trigger.topic, known.get(trigger.topic, options.partitions), spec)
            written, _ = _read(spec.annotations, servers)
            named = {trigger.cluster.bootstrap_servers for trigger in (written.triggers if written else ())}
            return with_bootstrap_servers(spec, servers, named)

        reaper = Reaper()
        replicas = LocalReplicas(reaper, options.environment, output=terminal.output, say=terminal.say)
        catalog = FolderCatalog(options.folder, replicas, parsed, say=terminal.say, translate=translate)
        catalog.load()
        observed = await observability(exits, clock.now, TraceHeld.MERGED, terminal.recorder)
        connections = Connections(credentials=no_credentials)
        exits.push_async_callback(connections.close)
        pushes = Pushes(observed.metrics)
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
                recorder=observed.recorder,
                now=clock.now,
                new_ids=new_ids,
                parse=lambda annotations, _: parsed(annotations),
                group_offsets=KafkaGroupOffsets(connections),
                background_offsets=KafkaGroupOffsets(connections, purpose="background"),
                auto_handoff=lambda: Handover.DIRECT,
            )
        )
        observed.metrics.managed = observed.board.managed = partial(with_mistakes, activator)
        pushes.listener = activator
        server, dashboard = await _listen(exits, options, clock, observed, activator, pushes)
        await reaper.start()
        exits.push_async_callback(reaper.close)
        await activator.restore()
        # Replicas end after the loop, so that nothing starts one anew, and before Kafka, so that they can commit.
        async with running({"replicas": replicas.run}), running({"tail": tail.run, "loop": activator.run}):
            follow = asyncio.create_task(catalog.run(activator), name="folder")
            try:
                yield LocalMode(clock, servers, broker, activator, catalog, replicas, server, dashboard, follow)
            finally:
                follow.cancel()
                with contextlib.suppress(asyncio.CancelledError, UnavailableError):
                    await follow


async def _listen(
    exits: contextlib.AsyncExitStack,
    options: LocalOptions,
    clock: Clock,
    observed: Observability,
    activator: Activator,
    pushes: Pushes,
) -> tuple[Server, Dashboard]:
    """Open both listeners; they close with `exits`."""
    server = Server(
        options.listen,
        registry=observed.registry,
        ready=lambda: [] if activator.is_synced else ["the folder has not been read yet"],
        pushes=pushes,
        wake_token_file=options.wake_token_file,
        now=clock.now,
    )
    dashboard = Dashboard(
        options.dashboard_listen, board=observed.board, now=clock.now, leads=lambda: True, trace_url=options.trace_url
    )
    listeners: tuple[tuple[Server | Dashboard, tuple[str, int], str], ...] = (
        (server, options.listen, options.listen_flag),
        (dashboard, options.dashboard_listen, options.dashboard_flag),
    )
    for listener, address, flag in listeners:
        try:
            await listener.start()
        except UnavailableError as error:
            raise _taken(address, error.__cause__, flag) from None
        exits.push_async_callback(listener.close)
    return server, dashboard


def _read(annotations: Mapping[str, str], servers: str) -> tuple[Policy | None, tuple[SpecError, ...]]:
    defaults = AnnotationDefaults(bootstrap_servers=servers)
    return parse_packed(annotations, defaults) if is_packed(annotations) else parse(annotations, defaults)


def _at_home(policy: Policy, servers: str) -> Policy:
    """Let a policy be without an HPA and without credentials: there is no API server to read Secrets from."""
    triggers = tuple(replace(trigger, cluster=Cluster(servers)) for trigger in policy.triggers)
    notes = (*policy.notes, *_without_effect(policy))
    return replace(policy, triggers=triggers, handoff=Handover.DIRECT, notes=notes)


def _without_effect(policy: Policy) -> Iterator[str]:
    """Yield what of a policy means nothing without an API server; cpu and memory are told of by the loop."""
    if any(trigger.cluster.credential for trigger in policy.triggers):
        yield "authentication and TLS have no effect here: Kafka is contacted in plain text and as nobody"
    driver = policy.scaled_object
    if driver is not None and driver.hpa_name != f"keda-hpa-{driver.name}":
        yield "spec.advanced.horizontalPodAutoscalerConfig.name has no effect here: there is no HPA"


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


def _create_topic(broker: EmbeddedBroker, name: str, partitions: int, spec: WorkloadSpec) -> None:
    try:
        broker.create_topic(name, partitions)
    except ApiError as error:
        if error.code != ErrorCode.TOPIC_ALREADY_EXISTS:
            why = f"the embedded Kafka cannot create topic {name}: {error.message or error.code.name}"
            raise SpecError(f"{spec.place}: {spec.ref.kind} {spec.ref.name}", None, why) from None
