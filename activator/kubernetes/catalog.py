"""TargetCatalog: which Deployments and StatefulSets carry our annotations, and what they look like now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from activator.core.model import Policy, Scale, TargetRef, Workload
from activator.core.naming import ANNOTATION_PREFIX, FIELD_MANAGER
from activator.errors import NotFoundError, SpecError
from activator.kubernetes import paths
from activator.kubernetes.reflector import Key, Reflector
from activator.ports import ManagedWorkload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.kubernetes.client import Document, KubernetesClient
    from activator.kubernetes.resources import Resources
    from activator.ports import CatalogListener

Parse = Callable[[Mapping[str, str], TargetRef], tuple[Policy | None, tuple[SpecError, ...]]]
"""Annotations of a workload to its policy, or to every mistake in them."""

APPS = "apps/v1"
KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


class KubernetesCatalog:
    """Lists and watches the workloads of some namespaces (none named: of all)."""

    def __init__(
        self, client: KubernetesClient, resources: Resources, parse: Parse, namespaces: Sequence[str] = ()
    ) -> None:
        self._client = client
        self._resources = resources
        self._parse = parse
        self._managed: dict[TargetRef, ManagedWorkload] = {}
        self._listener: CatalogListener | None = None
        # Made once, not in each run: a run after a crash must still tell what has been removed in between.
        self._reflectors = {
            path: Reflector(client, path, _Follower(self, kind, path))
            for kind, plural in KINDS.items()
            for path in paths.followed(APPS, plural, namespaces)
        }
        self._unlisted: set[str] = set()

    async def run(self, listener: CatalogListener) -> None:
        """Deliver what is there and then every change, until cancelled; survives outages by itself."""
        self._listener = listener
        self._unlisted = set(self._reflectors)
        async with asyncio.TaskGroup() as group:
            for path, reflector in self._reflectors.items():
                group.create_task(reflector.run(), name=f"reflector {path}")

    async def find(self, ref: TargetRef) -> Workload | None:
        """Read one workload from its source, managed or not; None: it does not exist. Raises UnavailableError."""
        try:
            document = await self._client.get(await self._resources.path(ref))
        except NotFoundError:
            return None
        return workload_of(document, ref)

    def uid(self, ref: TargetRef) -> str | None:
        """Return the uid of a managed workload as last seen; None: it is not managed."""
        managed = self._managed.get(ref)
        return managed.workload.scale.uid if managed else None

    def take(self, document: Document, kind: str) -> bool:
        """Deliver one workload as it is now; answers whether it is managed."""
        metadata = document["metadata"]
        ref = TargetRef(metadata["namespace"], kind, metadata["name"], APPS)
        everything = metadata.get("annotations") or {}
        annotations = {key: value for key, value in everything.items() if key.startswith(ANNOTATION_PREFIX)}
        if not annotations:
            if ref in self._managed:
                self.lose(ref, workload_of(document, ref))
            return False
        managed = self._read(workload_of(document, ref), annotations)
        self._managed[ref] = managed
        if self._listener:
            self._listener.upsert(managed)
        return True

    def lose(self, ref: TargetRef, workload: Workload | None) -> None:
        """Deliver that a workload is managed no more; None: it is gone altogether."""
        if self._managed.pop(ref, None) and self._listener:
            self._listener.remove(ref, workload)

    def listed(self, path: str) -> None:
        """Take note that one collection has been delivered; after the last one the listener has seen everything."""
        if path in self._unlisted:
            self._unlisted.remove(path)
            if not self._unlisted and self._listener:
                self._listener.synced()

    def _read(self, workload: Workload, annotations: Mapping[str, str]) -> ManagedWorkload:
        before = self._managed.get(workload.ref)
        if before and before.annotations == annotations:  # most changes are the status's: nothing to parse again
            return replace(before, workload=workload)
        policy, problems = self._parse(annotations, workload.ref)
        return ManagedWorkload(workload, annotations, policy, problems)


class _Follower:
    """Hands what one reflector sees to the catalog, with the kind that the items of a list do not name."""

    def __init__(self, catalog: KubernetesCatalog, kind: str, path: str) -> None:
        self._catalog = catalog
        self._kind = kind
        self._path = path

    def seen(self, document: Document) -> bool:
        return self._catalog.take(document, self._kind)

    def gone(self, key: Key) -> None:
        self._catalog.lose(TargetRef(key[0], self._kind, key[1], APPS), None)

    def listed(self) -> None:
        self._catalog.listed(self._path)


def workload_of(document: Mapping[str, Any], ref: TargetRef) -> Workload:
    """Keep of a workload what a decision needs."""
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    return Workload(
        ref=ref,
        scale=Scale(
            # A workload's own spec.replicas defaults to 1 (unlike a Scale's, which is left out at zero).
            replicas=spec.get("replicas", 1),
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        ),
        ready_replicas=status.get("readyReplicas", 0),
        replicas_manager=replicas_manager(metadata.get("managedFields") or ()),
    )


def replicas_manager(managed_fields: Sequence[Mapping[str, Any]]) -> str | None:
    """Tell which field manager gave spec.replicas its value; None: nobody that the API server knows of.

    Whoever changes a field takes it from all others. Two own it only where an Apply asks for the value that is there
    already, so an Update among them made it; and as wakegate writes only to change, so did wakegate. Entries made
    through /scale carry no time (seen on 1.37): it orders only those that have one.
    """
    owners = [entry for entry in managed_fields if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})]
    if not owners:
        return None
    last = max(
        owners,
        key=lambda entry: (
            entry.get("operation") == "Update",
            entry.get("manager") == FIELD_MANAGER,
            entry.get("time", ""),
        ),
    )
    manager = last.get("manager")
    return manager if isinstance(manager, str) else None
