"""TargetCatalog: which workloads carry our annotations or are driven by a ScaledObject, and what they look like now.

Deployments and StatefulSets are watched. A workload of any other kind is known by its scale subresource alone, which
is looked at every few seconds, because nobody can watch a subresource.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from activator.core.model import Policy, Scale, TargetRef, Workload
from activator.core.naming import ANNOTATION_PREFIX, FIELD_MANAGER
from activator.errors import DeniedError, NotFoundError, SpecError, WakegateError
from activator.kubernetes import paths
from activator.kubernetes.reflector import Key, Reflector
from activator.kubernetes.responses import FIRST_REFUSALS
from activator.kubernetes.workloads import APPS, KINDS, read_workload
from activator.ports import ManagedWorkload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.kubernetes.client import Document, KubernetesClient
    from activator.kubernetes.environment_objects import EnvironmentObjects
    from activator.kubernetes.resources import Resources
    from activator.kubernetes.scaled_objects import ScaledObjects
    from activator.ports import CatalogListener

Parse = Callable[[Mapping[str, str], TargetRef], tuple[Policy | None, tuple[SpecError, ...]]]
"""Annotations of a workload to its policy, or to every mistake in them."""

Pack = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, str]]
"""A ScaledObject and its target's document to what stands in the place of annotations."""

log = logging.getLogger(__name__)

_LOOKS = "targets of ScaledObjects"
LOOK_SECONDS = 5.0
"""How often a workload that cannot be watched is looked at, and one that is not there (yet)."""
FIRST_LOOKS_SECONDS = 60.0
"""For so long what could not be read at first holds up the word that all has been delivered: what is kept of targets
that were not is given back then. No longer: until then no replica is ready."""


class KubernetesCatalog:
    """Lists and watches the workloads of some namespaces (none named: of all)."""

    def __init__(
        self,
        client: KubernetesClient,
        resources: Resources,
        parse: Parse,
        namespaces: Sequence[str] = (),
        scaled_objects: ScaledObjects | None = None,
        pack: Pack = lambda _document, _workload: {},
        environment: EnvironmentObjects | None = None,
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
        self._scaled_objects = scaled_objects
        self._pack = pack
        self._environment = environment
        """What targets' variables come from; None: nothing is read for them."""
        self._looks: set[TargetRef] = set()
        """Targets of ScaledObjects that are to be read from the API server."""
        self._refusals: Counter[TargetRef] = Counter()
        """How often each of them was refused."""
        self._look_now = asyncio.Event()
        self._looked_at: TargetRef | None = None
        """The one that is being read; None, too, where a watch has told meanwhile that it is gone."""
        self.refused: Callable[[Document, tuple[str, ...]], None] = lambda _document, _why: None
        """Called with a ScaledObject that cannot be followed, and why."""
        if scaled_objects is not None:
            scaled_objects.changed = self._scaled_object_changed

    async def run(self, listener: CatalogListener) -> None:
        """Deliver what is there and then every change, until cancelled; survives outages by itself."""
        self._listener = listener
        if self._scaled_objects is not None:  # what one drives must not look unmanaged for a moment
            await self._scaled_objects.settled()
            self._looks.update(self._scaled_objects.targets())
        self._unlisted = {*self._reflectors, *([_LOOKS] if self._scaled_objects is not None else [])}
        async with asyncio.TaskGroup() as group:
            for path, reflector in self._reflectors.items():
                group.create_task(reflector.run(), name=f"reflector {path}")
            if self._scaled_objects is not None:
                group.create_task(self._look_at_targets(self._scaled_objects), name="targets of ScaledObjects")

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
        return self._take(ref, workload_of(document, ref), everything, document)

    def _take(self, ref: TargetRef, workload: Workload, everything: Mapping[str, str], document: Document) -> bool:
        driver = self._scaled_objects.of(ref) if self._scaled_objects is not None else None
        if driver is not None:
            if self._environment is not None and not self._environment.is_known(driver, document):
                self._scaled_object_changed(ref)  # a look reads it first
                return True
            annotations = dict(self._pack(driver, document))
        else:
            annotations = {key: value for key, value in everything.items() if key.startswith(ANNOTATION_PREFIX)}
        if not annotations:
            if ref in self._managed:
                self.lose(ref, workload)
            return False
        managed = self._read(workload, annotations)
        if driver is not None:
            before = (driver.get("status") or {}).get("originalReplicaCount")
            managed = replace(managed, original_replicas=before if isinstance(before, int) else None)
            if managed.problems:
                self.refused(driver, tuple(map(str, managed.problems)))
        self._managed[ref] = managed
        if self._listener:
            self._listener.upsert(managed)
        return True

    # ------------------------------------------------------------------------------------ targets of ScaledObjects

    def _scaled_object_changed(self, ref: TargetRef) -> None:
        self._looks.add(ref)
        self._look_now.set()

    async def _look_at_targets(self, scaled_objects: ScaledObjects) -> None:
        """Read what a changed ScaledObject drives at once, and what cannot be watched again and again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + FIRST_LOOKS_SECONDS
        while True:
            self._look_now.clear()  # before the looks: what changes while they are made is no reason to wait
            unread = await self._look_at_each(scaled_objects)
            if not unread or loop.time() >= until:
                if unread and _LOOKS in self._unlisted:
                    named = ", ".join(map(str, sorted(unread)))
                    log.warning("not waited for any more, as they cannot be read: %s", named)
                self.listed(_LOOKS)
            self._looks |= unread
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look_now.wait()
            unwatched = {ref for ref in scaled_objects.targets() if not _is_watched(ref) or ref not in self._managed}
            self._looks |= unwatched | (await self._environment.look() if self._environment is not None else set())

    async def _look_at_each(self, scaled_objects: ScaledObjects) -> set[TargetRef]:
        """Look at what is to be looked at; return what could not be.

        Who is refused again and again lacks the right: that is told, and is no reason to wait.
        """
        looks, self._looks = self._looks, set()
        unread: set[TargetRef] = set()
        for ref in sorted(looks):
            try:
                await self._look_at(ref, scaled_objects)
            except DeniedError:
                self._refusals[ref] += 1
                if self._refusals[ref] < FIRST_REFUSALS:
                    unread.add(ref)
            except WakegateError as error:
                log.debug("%s could not be looked at, trying again: %s", ref, error)
                unread.add(ref)
        return unread

    async def _look_at(self, ref: TargetRef, scaled_objects: ScaledObjects) -> None:
        for loser in scaled_objects.beaten(ref):
            self.refused(loser, (f"another ScaledObject, which is older, drives {ref} already",))
        driver = scaled_objects.of(ref)
        if driver is None and ref not in self._managed:
            return
        self._looked_at = ref
        self._want(ref)
        try:
            document = await self._read_target(ref)
        except (NotFoundError, DeniedError) as error:
            if driver is not None:
                self.refused(driver, (f"its target {ref} cannot be read: {error}",))
            if isinstance(error, DeniedError):
                raise
            self.lose(ref, None)
            return
        await self._prepare(ref, driver, document if _is_watched(ref) else {})
        if self._looked_at != ref:  # what was read is no more, and would stay for ever
            self._scaled_object_changed(ref)
        elif not _is_watched(ref):
            self._take(ref, workload_of_scale(document, ref), {}, {})
        else:
            self.take(document, ref.kind)

    def _want(self, ref: TargetRef) -> None:
        """Have the watch tell when a workload is gone, of which it may have known nothing of interest."""
        if _is_watched(ref):
            for path in paths.followed(APPS, KINDS[ref.kind], ["", ref.namespace]):
                if path in self._reflectors:
                    self._reflectors[path].want((ref.namespace, ref.name))

    async def _prepare(self, ref: TargetRef, driver: Document | None, document: Document) -> None:
        """Read what a target's variables come from, where there is somebody who asks for them."""
        if self._environment is None:
            return
        if driver is None:
            self._environment.forget(ref)
        else:
            await self._environment.fetch(ref, driver, document)

    async def _read_target(self, ref: TargetRef) -> Document:
        """Read a workload by a list of one, for which the right to list is enough; of another kind its scale."""
        if not _is_watched(ref):
            return await self._client.get(await self._resources.path(ref, "scale"))
        if (found := await read_workload(self._client, ref)) is not None:
            return found
        raise NotFoundError(f"there is no {ref}")

    # ----------------------------------------------------------------------------------------------------------------

    def gone(self, ref: TargetRef) -> None:
        """Deliver that a workload is gone, also while it is being read."""
        if self._looked_at == ref:
            self._looked_at = None
        self.lose(ref, None)

    def lose(self, ref: TargetRef, workload: Workload | None) -> None:
        """Deliver that a workload is managed no more; None: it is gone altogether."""
        if self._environment is not None:
            self._environment.forget(ref)
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
        self._catalog.gone(TargetRef(key[0], self._kind, key[1], APPS))

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


def workload_of_scale(document: Mapping[str, Any], ref: TargetRef) -> Workload:
    """Keep of a scale subresource what a decision needs; replicas that exist stand in for ready ones."""
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    return Workload(
        ref=ref,
        scale=Scale(spec.get("replicas", 0), metadata["uid"], metadata["resourceVersion"]),
        ready_replicas=status.get("replicas", 0),
        replicas_manager=replicas_manager(metadata.get("managedFields") or ()),
    )


def _is_watched(ref: TargetRef) -> bool:
    return ref.api_version == APPS and ref.kind in KINDS


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
