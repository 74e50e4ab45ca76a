"""The ports of Kubernetes over a `FakeApiServer`: `tests/contracts/` holds them to what the adapters do."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core import naming
from activator.errors import ConflictError, NotFoundError
from activator.ports import HandoffView, ManagedWorkload
from tests.fakes.api_server import FakeApiServer, StoredHpa, StoredWorkload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from activator.core.model import Policy, Scale, ScaledObject, TargetRef, TargetState, Workload
    from activator.errors import SpecError
    from activator.ports import CatalogListener

    ParsedSpec = tuple[Policy | None, tuple[SpecError, ...]]
    Parse = Callable[[Mapping[str, str], TargetRef], ParsedSpec]


class FakeCatalog:
    """TargetCatalog: delivers the difference between the world and what it has delivered, as it changes."""

    def __init__(self, server: FakeApiServer, parse: Parse) -> None:
        self._server = server
        self._parse = parse
        self._delivered: dict[TargetRef, ManagedWorkload | None] = {}

    async def run(self, listener: CatalogListener) -> None:
        """Deliver until cancelled; the first list waits for the end of an outage."""
        first_list = asyncio.Event()
        self._delivered = dict.fromkeys(self._delivered)  # a second run repeats everything, and still tells removals

        def look() -> None:
            seen = dict(self._server.workloads)
            if self._server.watch_lag and first_list.is_set():
                lag = self._server.watch_lag.total_seconds()
                asyncio.get_running_loop().call_later(lag, self._deliver, listener, seen)
                return
            self._deliver(listener, seen)
            if not first_list.is_set():
                first_list.set()
                listener.synced()

        unsubscribe = self._server.subscribe(look)
        try:
            if not self._server.down:
                look()
            await asyncio.Event().wait()
        finally:
            unsubscribe()

    async def find(self, ref: TargetRef) -> Workload | None:
        """Read one workload, managed or not."""

        def act() -> Workload | None:
            stored = self._server.workloads.get(ref)
            return stored.workload if stored else None

        return await self._server.answer("workload.get", ref, "catalog", act)

    def uid(self, ref: TargetRef) -> str | None:
        """The uid of a managed workload as last delivered."""
        managed = self._delivered.get(ref)
        return managed.workload.scale.uid if managed else None

    def delivered(self, ref: TargetRef) -> ManagedWorkload:
        """What was last delivered of a workload that is managed."""
        managed = self._delivered[ref]
        assert managed is not None
        return managed

    def _deliver(self, listener: CatalogListener, seen: Mapping[TargetRef, StoredWorkload]) -> None:
        for ref, stored in seen.items():
            annotations = {k: v for k, v in stored.annotations.items() if k.startswith(naming.ANNOTATION_PREFIX)}
            if not annotations:
                continue
            policy, problems = self._parse(annotations, ref)
            managed = ManagedWorkload(stored.workload, annotations, policy, problems)
            if self._delivered.get(ref) != managed:
                self._delivered[ref] = managed
                listener.upsert(managed)
        for ref in [ref for ref in self._delivered if not _is_managed(seen.get(ref))]:
            del self._delivered[ref]
            gone = seen.get(ref)
            listener.remove(ref, gone.workload if gone else None)


def _is_managed(stored: StoredWorkload | None) -> bool:
    return stored is not None and any(key.startswith(naming.ANNOTATION_PREFIX) for key in stored.annotations)


class FakeScaler:
    """Scaler: optimistic concurrency as the API server has it."""

    def __init__(self, server: FakeApiServer, identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity

    async def get(self, ref: TargetRef) -> Scale:
        """Read the count as it is."""
        return await self._server.answer("scale.get", ref, self._identity, lambda: self._stored(ref).scale)

    async def set(self, ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        """Set the count of the very object that was seen."""

        def act() -> Scale:
            scale = self._stored(ref).scale
            if scale.uid != seen.uid:
                raise NotFoundError(f"{ref} has been recreated")
            if scale.resource_version != seen.resource_version:
                raise ConflictError(f"{ref} has been modified")
            if scale.replicas == replicas:  # a no-op PATCH leaves the resourceVersion as it is
                return scale
            return self._server.scale(ref, replicas, manager=naming.FIELD_MANAGER).scale

        return await self._server.answer("scale.set", ref, self._identity, act, replicas=replicas)

    def _stored(self, ref: TargetRef) -> Workload:
        if ref not in self._server.workloads:
            raise NotFoundError(f"{ref} does not exist")
        return self._server.workloads[ref].workload


class FakeHandoff:
    """Handoff: HPAs that exist; what they would do a test does through `FakeApiServer.scale`."""

    def __init__(self, server: FakeApiServer, identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity
        self._taken_away: set[TargetRef] = set()

    def look(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> HandoffView:
        """Tell what exists now."""
        ours = self._server.hpa_of(ref)
        left = self._left_by_keda(ref, scaled_object)
        rivals = sorted(
            hpa.name
            for hpa in self._server.hpas.values()
            if hpa.target == ref and hpa.policy is None and hpa is not left
        )
        return HandoffView(
            rival=f"HorizontalPodAutoscaler {rivals[0]}" if rivals else None,
            ours=ours is not None or left is not None,
            scaling_active=ours.scaling_active if ours else None,
            message=ours.message if ours else "",
        )

    async def ensure(self, ref: TargetRef, uid: str, policy: Policy, partitions: int | None) -> None:
        """Make the HPA what the policy asks for; no request where it is so already."""
        before = self._server.hpa_of(ref)
        cap = policy.max_replicas if partitions is None else min(policy.max_replicas, partitions)
        wanted = StoredHpa(
            namespace=ref.namespace,
            name=naming.hpa_name_of(ref, policy),
            target=ref,
            min_replicas=max(1, policy.min_replicas),
            max_replicas=max(policy.min_replicas, 1, cap),
            owner_uid=uid,
            policy=policy,
            scaling_active=before.scaling_active if before else None,
            message=before.message if before else "",
        )
        if before == wanted:
            return

        def act() -> None:
            self._server.hpas[wanted.namespace, wanted.name] = wanted
            self._server.changed()

        await self._server.answer("hpa.ensure", ref, self._identity, act)

    async def remove(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> None:
        """Delete our HPA where there is one, and the one that KEDA left."""
        if scaled_object is None:
            self._taken_away.discard(ref)
        left = self._left_by_keda(ref, scaled_object)
        if self._server.hpa_of(ref) is None and left is None:
            return

        def act() -> None:
            for gone in (self._server.hpa_of(ref), left):
                if gone is not None:
                    del self._server.hpas[gone.namespace, gone.name]
                    self._server.changed()

        await self._server.answer("hpa.remove", ref, self._identity, act)
        if left is not None:
            self._taken_away.add(ref)

    def _left_by_keda(self, ref: TargetRef, scaled_object: ScaledObject | None) -> StoredHpa | None:
        if scaled_object is None or ref in self._taken_away:
            return None
        found = (hpa for hpa in self._server.hpas.values() if hpa.target == ref and hpa.policy is None)
        return next((hpa for hpa in found if hpa.owner_uid == scaled_object.uid), None)


class FakeLeadership:
    """Leadership: one holder in the world at a time; a test may also hand it over with `FakeApiServer.lease_holder`."""

    def __init__(self, server: FakeApiServer, now: Callable[[], datetime], identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity
        self._now = now
        self._others_led_until: datetime | None = None
        self.left = timedelta(seconds=15)
        """What `remaining` tells while this one holds the lease."""

    def remaining(self) -> timedelta:
        """All of `left` while this one holds the lease, else nothing."""
        return self.left if self._server.lease_holder == self._identity else timedelta(0)

    def others_led_until(self) -> datetime | None:
        """When another was last seen to hold the lease: who holds it here is seen at every change in the world."""
        return self._others_led_until

    async def run(self) -> None:
        """Take the lease when it is free and give it back when cancelled."""
        free = asyncio.Event()
        unsubscribe = self._server.subscribe(free.set)
        try:
            while True:
                free.clear()
                if self._server.lease_holder not in {None, self._identity}:
                    self._others_led_until = self._now()
                if self._server.lease_holder is None and not self._server.down:
                    self._server.lease_holder = self._identity
                    self._server.lease_transitions += 1
                await free.wait()
        finally:
            unsubscribe()
            if self._server.lease_holder == self._identity:
                self._server.lease_holder = None
                self._server.changed()


class FakeStateStore:
    """StateStore: keeps states by reference, or nothing without the CRD."""

    def __init__(self, server: FakeApiServer, identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity

    async def load(self) -> Mapping[TargetRef, TargetState] | None:
        """Read all that was kept; None without the CRD."""

        def act() -> dict[TargetRef, TargetState] | None:
            if not self._server.crd_installed:
                return None
            return {ref: state for ref, (_, state) in self._server.scale_targets.items()}

        return await self._server.answer("state.load", None, self._identity, act)

    async def save(self, ref: TargetRef, uid: str, state: TargetState) -> None:
        """Keep a target's state; nothing is sent where it is kept so already, or without the CRD."""
        if not self._server.crd_installed or self._server.scale_targets.get(ref) == (uid, state):
            return

        def act() -> None:
            self._server.scale_targets[ref] = (uid, state)

        await self._server.answer("state.save", ref, self._identity, act)

    async def forget(self, ref: TargetRef) -> None:
        """Delete what was kept of a target."""
        if ref not in self._server.scale_targets:
            return
        await self._server.answer(
            "state.forget", ref, self._identity, lambda: self._server.scale_targets.pop(ref, None) and None
        )
