"""A Kubernetes world that contract tests move and look at: in memory, or a real API server. One test, two worlds."""

# ruff: noqa: D102 - what the methods of both worlds do is said once, in the protocol

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from activator.core.model import Policy, ScaledObject, TargetRef
from activator.core.naming import hpa_name
from activator.errors import NotFoundError
from activator.kubernetes import paths
from activator.kubernetes.catalog import KubernetesCatalog
from activator.kubernetes.hpa import KubernetesHandoff
from activator.kubernetes.lease import LeaseElection, LeaseTimes
from activator.kubernetes.resources import Resources
from activator.kubernetes.scale import KubernetesScaler
from activator.kubernetes.scale_targets import ScaleTargetStore
from tests.fakes.api_server import FakeApiServer
from tests.fakes.kubernetes import FakeCatalog, FakeHandoff, FakeLeadership, FakeScaler, FakeStateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.core.model import Workload
    from activator.errors import SpecError
    from activator.kubernetes.client import KubernetesClient
    from activator.ports import Handoff, ManagedWorkload, Scaler, StateStore, TargetCatalog

EVENTUALLY_SECONDS = 10.0
LEASE_TIMES = LeaseTimes(duration=timedelta(seconds=2), renewal=timedelta(seconds=1), retry=timedelta(milliseconds=100))


def clock() -> datetime:
    """Tell some time that passes: what a Lease shows to people."""
    return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=time.monotonic())


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fail with what was waited for."""
    try:
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while not holds():  # noqa: ASYNC110 - the condition lies behind a server and has no event to wait for
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not happen within {EVENTUALLY_SECONDS:.0f} s: {what}") from None


class Candidate(Protocol):
    """Somebody who takes part in an election."""

    def remaining(self) -> timedelta:
        """How much of the lease is surely left."""

    def others_led_until(self) -> datetime | None:
        """When another was last seen to take or renew it."""

    async def run(self) -> None:
        """Take part until cancelled."""


class KubernetesWorld(Protocol):
    """What people and controllers do, and the adapters under test."""

    namespace: str

    async def add(self, name: str, *, replicas: int = 1, annotations: Mapping[str, str] | None = None) -> TargetRef:
        """Create a Deployment."""

    async def delete(self, ref: TargetRef) -> None:
        """Delete a Deployment."""

    async def scale(self, ref: TargetRef, replicas: int, manager: str) -> None:
        """Set spec.replicas through /scale, as somebody."""

    async def annotate(self, ref: TargetRef, changes: Mapping[str, str | None]) -> None:
        """Set or remove annotations."""

    async def add_hpa(self, name: str, ref: TargetRef, owner: ScaledObject | None = None) -> None:
        """Create an HPA that is not ours: somebody's, or KEDA's for a ScaledObject."""

    async def bounds(self, ref: TargetRef) -> tuple[int, int] | None:
        """Minimum and maximum of our HPA; None: there is none."""

    async def set_scaling_active(self, ref: TargetRef, message: str, *, active: bool) -> None:
        """Let the HPA controller judge our HPA."""

    def catalog(self) -> TargetCatalog:
        """A catalog of this world."""

    def scaler(self) -> Scaler:
        """A scaler of this world."""

    def handoff(self) -> Handoff:
        """A handoff of this world that knows what is there."""

    def candidate(self, identity: str) -> Candidate:
        """One who takes part in the election of this world."""

    def store(self) -> StateStore:
        """A state store of this world, as a new process has it."""


def parse_topic(annotations: Mapping[str, str], _: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
    """Parse annotations as simply as these tests need: the topic is the configuration."""
    return Policy(triggers=(), config_hash=annotations.get("wakegate.dev/topic", "")), ()


class Listener:
    """What a catalog has delivered: the present state, and each thing in order."""

    def __init__(self) -> None:
        self.managed: dict[TargetRef, ManagedWorkload] = {}
        self.removed: list[tuple[TargetRef, Workload | None]] = []
        self.log: list[str] = []

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload."""
        self.managed[managed.workload.ref] = managed
        self.log.append(f"upsert {managed.workload.ref.name}")

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Lose a workload."""
        del self.managed[ref]
        self.removed.append((ref, workload))
        self.log.append(f"remove {ref.name}")

    def synced(self) -> None:
        """All has been delivered."""
        self.log.append("synced")


class FakeWorld:
    """The world in memory."""

    def __init__(self) -> None:
        self.namespace = "contract"
        self.server = FakeApiServer()

    async def add(self, name: str, *, replicas: int = 1, annotations: Mapping[str, str] | None = None) -> TargetRef:
        ref = TargetRef(self.namespace, "Deployment", name)
        self.server.add(ref, replicas=replicas, ready=0, annotations=annotations)
        return ref

    async def delete(self, ref: TargetRef) -> None:
        self.server.delete(ref)

    async def scale(self, ref: TargetRef, replicas: int, manager: str) -> None:
        self.server.scale(ref, replicas, manager=manager)

    async def annotate(self, ref: TargetRef, changes: Mapping[str, str | None]) -> None:
        self.server.annotate(ref, changes)

    async def add_hpa(self, name: str, ref: TargetRef, owner: ScaledObject | None = None) -> None:
        self.server.add_hpa(name, ref, owner_uid=owner.uid if owner else None)

    async def bounds(self, ref: TargetRef) -> tuple[int, int] | None:
        hpa = self.server.hpa_of(ref)
        return (hpa.min_replicas, hpa.max_replicas) if hpa else None

    async def set_scaling_active(self, ref: TargetRef, message: str, *, active: bool) -> None:
        self.server.hpa_condition(ref, active=active, message=message)

    def catalog(self) -> TargetCatalog:
        return FakeCatalog(self.server, parse_topic)

    def scaler(self) -> Scaler:
        return FakeScaler(self.server)

    def handoff(self) -> Handoff:
        return FakeHandoff(self.server)

    def candidate(self, identity: str) -> Candidate:
        return FakeLeadership(self.server, clock, identity)

    def store(self) -> StateStore:
        return FakeStateStore(self.server)


class RealWorld:
    """A namespace of its own in a real API server without controllers, so that nobody else writes."""

    def __init__(self, client: KubernetesClient) -> None:
        self.namespace = f"contract-{uuid.uuid4().hex[:8]}"
        self._client = client
        self._resources = Resources(client)
        self._running: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Create the namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        await self._client.create("/api/v1/namespaces", body)

    async def close(self) -> None:
        """Stop what was started for this world."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def add(self, name: str, *, replicas: int = 1, annotations: Mapping[str, str] | None = None) -> TargetRef:
        labels = {"app": name}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "annotations": dict(annotations or {})},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "consumer", "image": "consumer"}]},
                },
            },
        }
        await self._client.create(paths.collection("apps/v1", "deployments", self.namespace), body)
        return TargetRef(self.namespace, "Deployment", name)

    async def delete(self, ref: TargetRef) -> None:
        await self._client.delete(await self._resources.path(ref))

    async def scale(self, ref: TargetRef, replicas: int, manager: str) -> None:
        scale_path = await self._resources.path(ref, "scale")
        await self._client._retried(
            "PATCH",
            scale_path,
            body={"spec": {"replicas": replicas}},
            query={"fieldManager": manager},
            kind="application/merge-patch+json",
        )

    async def annotate(self, ref: TargetRef, changes: Mapping[str, str | None]) -> None:
        await self._client.merge_patch(await self._resources.path(ref), {"metadata": {"annotations": dict(changes)}})

    async def add_hpa(self, name: str, ref: TargetRef, owner: ScaledObject | None = None) -> None:
        of_keda = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
        owners = [{**of_keda, "name": owner.name, "uid": owner.uid}] if owner else []
        body = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "ownerReferences": owners},
            "spec": {
                "scaleTargetRef": {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name},
                "maxReplicas": 3,
            },
        }
        await self._client.create(paths.collection("autoscaling/v2", "horizontalpodautoscalers", self.namespace), body)

    async def bounds(self, ref: TargetRef) -> tuple[int, int] | None:
        try:
            spec = (await self._client.get(self._hpa(ref)))["spec"]
        except NotFoundError:
            return None
        return spec["minReplicas"], spec["maxReplicas"]

    async def set_scaling_active(self, ref: TargetRef, message: str, *, active: bool) -> None:
        condition = {
            "type": "ScalingActive",
            "status": str(active),
            "reason": "Test",
            "message": message,
            "lastTransitionTime": "2026-01-05T12:00:00Z",
        }
        status = {"status": {"conditions": [condition], "currentReplicas": 0, "desiredReplicas": 0}}
        await self._client.merge_patch(f"{self._hpa(ref)}/status", status)

    def catalog(self) -> TargetCatalog:
        return KubernetesCatalog(self._client, self._resources, parse_topic, [self.namespace])

    def scaler(self) -> Scaler:
        return KubernetesScaler(self._client, self._resources)

    def handoff(self) -> Handoff:
        handoff = KubernetesHandoff(self._client, [self.namespace])
        self._running.append(asyncio.create_task(handoff.run()))
        return handoff

    def candidate(self, identity: str) -> Candidate:
        lease = (self.namespace, "wakegate")
        return LeaseElection(self._client, lease, identity, clock, times=LEASE_TIMES)

    def store(self) -> StateStore:
        return ScaleTargetStore(self._client, [self.namespace])

    def _hpa(self, ref: TargetRef) -> str:
        return paths.member("autoscaling/v2", "horizontalpodautoscalers", ref.namespace, hpa_name(ref))
