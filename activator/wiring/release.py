"""What is joined to give every workload back: the API server alone, without Kafka and without listeners."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.model import TargetRef
from activator.errors import ConflictError, NotFoundError, UnavailableError, WakegateError
from activator.kafka.client import Connections
from activator.kafka.connection import no_credentials
from activator.kafka.tail import KafkaTail
from activator.kubernetes.client import KubernetesClient
from activator.kubernetes.scale import KubernetesScaler
from activator.kubernetes.scaled_objects import FINALIZER
from activator.kubernetes.workloads import APPS
from activator.loop import give_back_all
from activator.wiring.cluster import Cluster, process_identity, scaled_object_tasks
from activator.wiring.parts import Clock, Pushes, observability, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from datetime import timedelta

    from activator.kubernetes.scaled_objects import ScaledObjects
    from activator.ports import Scaler
    from activator.settings import Settings

LAST_EVENTS_SECONDS = 5.0
LOOK_SECONDS = 0.2
CONFLICT_SECONDS = 0.1
"""Before it is looked again, where somebody else has written meanwhile."""
FINALIZER_SECONDS = 20.0
"""How long may be tried to take the finalizers away."""

_log = logging.getLogger(__name__)


async def release(settings: Settings, deployment: tuple[str, str] | None, within: timedelta) -> None:
    """Give back every workload that wakegate manages, and leave no finalizer on their ScaledObjects.

    Args:
        settings: as for `run`; the Lease is taken, so that no other replica acts meanwhile.
        deployment: namespace and name of the Deployment that runs wakegate: put to zero first, or it would go on; put
            back where giving back fails, or nobody would wake what still sleeps.
        within: how long all of it may take.

    Raises:
        SettingsError: there is no cluster to be found.
        UnavailableError: not all could be given back, or let go, in time; the message names the rest.
        WakegateError: the API server refuses what is needed.
    """
    let_sigterm_cancel()
    identity = settings.identity or process_identity()
    async with contextlib.AsyncExitStack() as exits:
        client = await KubernetesClient.from_environment()
        exits.push_async_callback(client.close)
        cluster = Cluster(settings, Clock(), identity, client)
        if deployment is not None:
            ours = TargetRef(deployment[0], "Deployment", deployment[1], APPS)
            await exits.enter_async_context(stopped(KubernetesScaler(client, cluster.resources), ours))
        observed = await observability(exits, cluster.clock.now, settings.trace_held, cluster.events)
        connections = Connections(credentials=no_credentials)
        exits.push_async_callback(connections.close)
        world = cluster.world(
            connections, KafkaTail(connections, Pushes(observed.metrics), cluster.clock.now), observed
        )
        tasks = {"HPA watch": cluster.handoff.run, "Events": cluster.events.run, **scaled_object_tasks(cluster)}
        async with running({"lease": cluster.election.run} if cluster.election else {}), running(tasks):
            # Without credentials for Kafka nothing can be known of groups; while it ran wakegate has seen to them.
            left = await give_back_all(replace(world, group_offsets=None), within)
            tied = await _let_go(cluster.scaled_objects, left) if cluster.scaled_objects is not None else []
            await cluster.events.drained(LAST_EVENTS_SECONDS)
        if left:
            names = ", ".join(map(str, left))
            raise UnavailableError("giving back", f"not done within {within.total_seconds():g} s for {names}")
        if tied:
            what = f"finalizer {FINALIZER} of the ScaledObjects {', '.join(tied)}"
            raise UnavailableError(what, f"could not be taken away within {FINALIZER_SECONDS:g} s")
        _log.info("every workload is given back")


async def _let_go(scaled_objects: ScaledObjects, left: Collection[TargetRef]) -> list[str]:
    """Take the finalizers away where the target has been given back, and name the ScaledObjects that have one still."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FINALIZER_SECONDS):
            while scaled_objects.tied():
                await scaled_objects.let_go(left)
                if left:
                    break
                await asyncio.sleep(LOOK_SECONDS)  # until the watch shows it
    return ["/".join(key) for key in scaled_objects.tied()]


def let_sigterm_cancel() -> None:
    """Let a Pod that is evicted put back what it has stopped, as Ctrl-C does."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


@contextlib.asynccontextmanager
async def stopped(scaler: Scaler, deployment: TargetRef) -> AsyncIterator[None]:
    """Keep wakegate's own Deployment at zero, and put it back where what is done meanwhile fails."""
    before = await _put(scaler, deployment, 0)
    if before:
        _log.info("%s is put to zero, so that nobody takes over what is given back", deployment)
    try:
        yield
    except BaseException:
        if before:
            await _start_again(scaler, deployment, before)
        raise


async def _start_again(scaler: Scaler, deployment: TargetRef, replicas: int) -> None:
    try:
        await _put(scaler, deployment, replicas)
        _log.warning("%s has %d replicas again: what could not be given back may still sleep", deployment, replicas)
    except WakegateError as error:  # why giving back failed is what is told
        _log.error("%s stays at zero, and nothing wakes what still sleeps: %s", deployment, error)


async def _put(scaler: Scaler, deployment: TargetRef, replicas: int) -> int:
    """Scale wakegate's own Deployment and return its count before; one that is not there runs nothing."""
    while True:
        try:
            seen = await scaler.get(deployment)
            if seen.replicas != replicas:
                await scaler.set(deployment, replicas, seen)
        except NotFoundError:
            _log.info("%s does not exist", deployment)
            return 0
        except ConflictError:
            await asyncio.sleep(CONFLICT_SECONDS)
        else:
            return seen.replicas
