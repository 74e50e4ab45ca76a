"""Targets whose environment holds credentials: their Pod templates, read when such a target has changed, and then once.

A list of one, for which the right to list that the catalog has is enough: no Secret, no Pod, and no `get`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from activator.errors import DeniedError, SpecError, WakegateError
from activator.kubernetes.referenced_objects import data_of, path_of, unreadable
from activator.kubernetes.workloads import APPS, KINDS, read_workload
from activator.specs.authentication import NOTHING_GIVEN, Plan
from activator.specs.keda.environment import unread
from activator.specs.keda.environment_parameters import objects_of_variables, read_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from activator.core.model import TargetRef
    from activator.kubernetes.client import Document, KubernetesClient
    from activator.specs.authentication import AuthenticationSource, Given, Reference

    Workloads = Mapping[TargetRef, Document | WakegateError | None]
    """Documents, or why they are not known; None: there is none."""
    Found = Mapping[str, Document | WakegateError | None]
    """The same of objects, by path."""


class TargetEnvironments:
    """What is known of targets' containers.

    Args:
        client: to the API server.
    """

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._versions: dict[TargetRef, str] = {}
        """As the catalog delivered them last."""
        self._read: dict[TargetRef, tuple[str, Document]] = {}
        """At which of these versions it was read, and what is kept of it."""

    def seen(self, ref: TargetRef, version: str) -> None:
        """Take note of the resourceVersion of a target that somebody else watches."""
        self._versions[ref] = version

    def forget(self, ref: TargetRef) -> None:
        """Take note that a target is no longer watched."""
        self._versions.pop(ref, None)

    def keep(self, refs: AbstractSet[TargetRef | None]) -> None:
        """Keep nothing of any other target."""
        self._read = {ref: kept for ref, kept in self._read.items() if ref in refs}

    async def read(self, refs: Iterable[TargetRef]) -> Workloads:
        """Return the targets' documents, of which no more is kept than their containers' environments.

        None: there is no such target; or why it is not known. One that is not watched is read each time.
        """
        wanted = sorted(set(refs))
        return dict(zip(wanted, await asyncio.gather(*map(self._one, wanted)), strict=True))

    async def _one(self, ref: TargetRef) -> Document | WakegateError | None:
        if ref.api_version != APPS or ref.kind not in KINDS:
            what = f"the environment of a {' or '.join(KINDS)} can be read, and of no other kind"
            return SpecError(str(ref), None, what)
        version = self._versions.get(ref, "")  # before it is read: what changes meanwhile is read again
        before, kept = self._read.get(ref, ("", {}))
        if version and before == version:
            return kept
        try:
            found = await read_workload(self._client, ref)
        except WakegateError as error:
            return error
        if found is None:
            return None
        self._read[ref] = version, _environments_of(found)
        return self._read[ref][1]


def _environments_of(workload: Mapping[str, Any]) -> Document:
    spec: Any = workload.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = [
        {key: container[key] for key in ("name", "env", "envFrom") if key in container}
        for container in pod.get("containers") or ()
    ]
    namespace = workload["metadata"]["namespace"]
    return {"metadata": {"namespace": namespace}, "spec": {"template": {"spec": {"containers": containers}}}}


# ------------------------------------------------------------------------------ what a source takes from one of them


def has_variables(plan: Plan | WakegateError) -> bool:
    """Tell whether a plan takes anything from the environment of a target."""
    return isinstance(plan, Plan) and bool(plan.variables)


def objects_of(source: AuthenticationSource, plan: Plan | WakegateError, workloads: Workloads) -> frozenset[Reference]:
    """Return what bears on the variables of a source's target."""
    workload = workloads.get(source.target) if source.target is not None else None
    if not isinstance(plan, Plan) or not isinstance(workload, dict):
        return frozenset()
    return objects_of_variables(source, plan, workload)


def failures_of(
    source: AuthenticationSource, plan: Plan | WakegateError, workloads: Workloads, found: Found
) -> list[WakegateError]:
    """Return why it is not known what a source's variables hold; what may not be read is told where it is missing."""
    if source.target is None or not has_variables(plan):
        return []
    objects = [found[path_of(reference)] for reference in objects_of(source, plan, workloads)]
    answers = [workloads[source.target], *(answer for answer in objects if not isinstance(answer, DeniedError))]
    return [answer for answer in answers if isinstance(answer, WakegateError)]


def given_by(source: AuthenticationSource, plan: Plan, workloads: Workloads, found: Found) -> Given:
    """Return what a source's variables hold, all that bears on them having been read."""
    if source.target is None or not has_variables(plan):
        return NOTHING_GIVEN

    def data(reference: Reference) -> dict[str, str] | str | None:
        if path_of(reference) not in found:  # of another variable, which nobody asks for
            return unread(reference)
        answer = found[path_of(reference)]
        if isinstance(answer, DeniedError):
            return str(unreadable(str(reference), reference.namespace))
        return data_of(answer)

    workload = workloads[source.target]
    return read_variables(source, plan, workload if isinstance(workload, dict) else None, data)
