"""Scaler: GET and PATCH of the scale subresource of any kind.

The PATCH is a server-side apply and not a merge patch, because only that leaves our name on a zero: spec.replicas of
a Scale is left out of the JSON where it is zero, so an update to zero has nobody in managedFields, and no later
update through /scale is tracked either (seen on 1.37). An apply names us at any count, and costs the same.

A custom resource gets a merge patch all the same: an apply to its /scale is answered by 500, "request to convert CR to
an invalid group/version: autoscaling/v1" (seen on 1.37, which converts the Scale as if it were the resource itself).

Sources: Kubernetes API reference, Scale (autoscaling/v1); Kubernetes documentation, "Server-Side Apply".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.model import Scale
from activator.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from activator.core.model import TargetRef
    from activator.kubernetes.client import Document, KubernetesClient
    from activator.kubernetes.resources import Resources

_RECREATED = "UID in precondition"
"""How the API server words that the object of this name has another uid; resourceVersions it words otherwise."""


class KubernetesScaler:
    """Scales through /scale alone: no right to patch a workload is needed, and no field but replicas can change."""

    def __init__(self, client: KubernetesClient, resources: Resources) -> None:
        self._client = client
        self._resources = resources

    async def get(self, ref: TargetRef) -> Scale:
        """Read the count as it is. Raises NotFoundError, DeniedError, UnavailableError."""
        return _scale_of(await self._client.get(await self._resources.path(ref, "scale")))

    async def set(self, ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        """Set the count of the very object that was seen and return it as it is now.

        The preconditions make it safe to send again where no answer came: the second is a conflict where the first
        was applied.

        Raises:
            ConflictError: the object has changed since `seen`; `maybe_by_us` where an earlier try had no answer.
            NotFoundError: it is gone, or another object has its name.
            DeniedError: the role lacks patch on this kind's scale.
            InvalidError: the count is not acceptable.
            UnavailableError: it was not made; `maybe_done` where it may have been.
        """
        wanted = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": ref.name, "uid": seen.uid, "resourceVersion": seen.resource_version},
            "spec": {"replicas": replicas},
        }
        change = self._client.merge_patch if _is_custom_resource(ref) else self._client.apply
        try:
            return _scale_of(await change(await self._resources.path(ref, "scale"), wanted))
        except ConflictError as error:
            if _RECREATED in str(error):
                raise NotFoundError(f"{ref} with uid {seen.uid} is gone; another has its name") from error
            raise


def _is_custom_resource(ref: TargetRef) -> bool:
    """Tell by the group: that of a CRD must have a dot, and none of those that are built in and have /scale does."""
    return "." in ref.api_version.partition("/")[0]


def _scale_of(document: Document) -> Scale:
    metadata = document["metadata"]
    return Scale(
        replicas=(document.get("spec") or {}).get("replicas", 0),
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )
