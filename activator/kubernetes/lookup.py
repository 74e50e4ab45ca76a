"""Finding a workload by what a person has at hand: its own name, one of its Pods, its HPA or its ScaledObject."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from activator.core.model import TargetRef
from activator.core.naming import ANNOTATION_PREFIX, hpa_name, scale_target_name
from activator.doctor.facts import Unknown
from activator.errors import NotFoundError, SettingsError, UnavailableError
from activator.kubernetes import hpa_object, paths, scale_target_object
from activator.kubernetes.inspection import APPS, KEDA, WORKLOADS, items, read
from activator.specs.keda.scaled_object import hpa_name_of_scaled_object, target_of

if TYPE_CHECKING:
    from activator.kubernetes.client import Document, KubernetesClient

_KINDS = {kind.lower(): (kind, plural) for kind, plural in WORKLOADS}


class Lookup:
    """Finds workloads of one namespace, and what belongs to them."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def find(self, name: str, kind: str = "") -> tuple[TargetRef, Document]:
        """Find a workload, also by the name of a Pod, of an HPA or of a ScaledObject.

        Raises:
            NotFoundError: nothing here has this name; the message names the nearest one that has.
            SettingsError: a Deployment and a StatefulSet have it, or the kind is none that is managed.
            UnavailableError: it cannot be read.
        """
        if kind and kind.lower() not in _KINDS:
            allowed = " or ".join(_KINDS)
            raise SettingsError(f"{kind!r} is no kind of workload; allowed: {allowed}")
        found = await self._workloads(name, [_KINDS[kind.lower()]] if kind else list(_KINDS.values()))
        if not found:
            driven = (
                await self._driven_by_scaled_object(name)
                or await self._driven_by_hpa(name)
                or await self._owner_of_pod(name)
            )
            found = await self._workloads(driven[1], [_KINDS[driven[0].lower()]]) if driven else []
        if not found:
            raise NotFoundError(await self._nothing(name))
        annotated = [pair for pair in found if _is_annotated(pair[1])] or found
        if len(annotated) > 1:
            kinds = " and a ".join(ref.kind for ref, _ in annotated)
            example = f"{self._namespace}/{annotated[0][0].kind.lower()}/{name}"
            raise SettingsError(f"{self._namespace}/{name} is a {kinds}; say which, such as {example}")
        return annotated[0]

    async def scale_target(self, ref: TargetRef) -> Document | None:
        """Read the ScaleTarget of a workload."""
        return await self._read(scale_target_object.API_VERSION, scale_target_object.PLURAL, scale_target_name(ref))

    async def scaled_object(self, ref: TargetRef) -> Document | None:
        """Find the ScaledObject that drives a workload: the oldest; None: there is none, or it may not be read."""
        found = await items(self._client, KEDA, "scaledobjects", (self._namespace,))
        driving = [] if isinstance(found, Unknown) else [each for each in found if _drives(each, ref)]
        return min(driving, key=lambda each: str(each["metadata"].get("creationTimestamp", "")), default=None)

    async def hpa(self, ref: TargetRef, scaled_object: Document | None = None) -> Document | None:
        """Read the HPA that wakegate made for a workload; the ScaledObject that drives it names its own."""
        return await self._read(hpa_object.API_VERSION, hpa_object.PLURAL, _hpa_name(ref, scaled_object))

    async def events(self, ref: TargetRef, scaled_object: Document | None = None) -> tuple[Document, ...]:
        """List the Events on a workload, its HPA and its ScaledObject; none where they may not be read."""
        about = {(ref.kind, ref.name), ("HorizontalPodAutoscaler", _hpa_name(ref, scaled_object))}
        if scaled_object is not None:
            about.add(("ScaledObject", scaled_object["metadata"]["name"]))
        found = await items(self._client, "v1", "events", (self._namespace,))
        if isinstance(found, Unknown):
            return ()
        return tuple(event for event in found if _about(event) in about)

    async def _workloads(self, name: str, kinds: list[tuple[str, str]]) -> list[tuple[TargetRef, Document]]:
        found = []
        for kind, plural in kinds:
            document = await self._read(APPS, plural, name)
            if document is not None:
                found.append((TargetRef(self._namespace, kind, name), document))
        return found

    async def _driven_by_hpa(self, name: str) -> tuple[str, str] | None:
        hpa = await self._read(hpa_object.API_VERSION, hpa_object.PLURAL, name)
        if hpa is None:
            return None
        driven = hpa["spec"]["scaleTargetRef"]
        return _managed(driven["kind"], driven["name"])

    async def _driven_by_scaled_object(self, name: str) -> tuple[str, str] | None:
        try:
            found = await self._read(KEDA, "scaledobjects", name)
        except UnavailableError:
            return None  # whoever looks may not read them: no reason not to look further
        target = target_of(found) if found is not None else None
        return _managed(target.kind, target.name) if target is not None else None

    async def _owner_of_pod(self, name: str) -> tuple[str, str] | None:
        pod = await self._read("v1", "pods", name)
        owner = _controller(pod)
        if owner and owner[0] == "ReplicaSet":
            owner = _controller(await self._read(APPS, "replicasets", owner[1]))
        return _managed(*owner) if owner else None

    async def _read(self, api_version: str, plural: str, name: str) -> Document | None:
        found = await read(self._client, paths.member(api_version, plural, self._namespace, name))
        if not isinstance(found, Unknown):
            return found
        # In a Pod of wakegate we are its account, which needs to list and watch, and may not get.
        listed = await items(self._client, api_version, plural, (self._namespace,), name=name)
        if isinstance(listed, Unknown):
            raise UnavailableError(f"{plural} {self._namespace}/{name}", found.reason)
        return next(iter(listed), None)

    async def _nothing(self, name: str) -> str:
        names: list[str] = []
        for _, plural in WORKLOADS:
            listed = await items(self._client, APPS, plural, (self._namespace,))
            names += [] if isinstance(listed, Unknown) else [item["metadata"]["name"] for item in listed]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"no Deployment, StatefulSet, ScaledObject, HPA or Pod {name} in namespace {self._namespace}{hint}"


def _drives(scaled_object: Document, ref: TargetRef) -> bool:
    target = target_of(scaled_object)
    return target is not None and (target.kind, target.name) == (ref.kind, ref.name)


def _hpa_name(ref: TargetRef, scaled_object: Document | None) -> str:
    return hpa_name_of_scaled_object(scaled_object) if scaled_object is not None else hpa_name(ref)


def _managed(kind: str, name: str) -> tuple[str, str] | None:
    return (kind, name) if kind.lower() in _KINDS else None


def _controller(document: Document | None) -> tuple[str, str] | None:
    owners = ((document or {}).get("metadata") or {}).get("ownerReferences") or ()
    return next(((owner["kind"], owner["name"]) for owner in owners if owner.get("controller")), None)


def _is_annotated(document: Document) -> bool:
    return any(key.startswith(ANNOTATION_PREFIX) for key in document["metadata"].get("annotations") or {})


def _about(event: Document) -> tuple[str | None, str | None]:
    involved = event.get("involvedObject") or {}
    return involved.get("kind"), involved.get("name")
