"""Which URL path a kind of object has: built in for the usual workloads, by discovery for every other.

Source: Kubernetes API concepts ("Discovery"): GET of a group and version lists its kinds with their plurals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.errors import NotFoundError
from activator.kubernetes import paths

if TYPE_CHECKING:
    from activator.core.model import TargetRef
    from activator.kubernetes.client import KubernetesClient

_BUILT_IN = {
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "StatefulSet"): "statefulsets",
    ("apps/v1", "ReplicaSet"): "replicasets",
}


class Resources:
    """Plurals by kind, learned once; a kind that is not served is asked for again, for it may be installed later."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._plurals = dict(_BUILT_IN)

    async def path(self, ref: TargetRef, subresource: str = "") -> str:
        """Return the path of a workload or of its subresource. Raises NotFoundError where the kind is not served."""
        plural = self._plurals.get((ref.api_version, ref.kind)) or await self._discover(ref)
        return paths.member(ref.api_version, plural, ref.namespace, ref.name, subresource)

    async def _discover(self, ref: TargetRef) -> str:
        served = await self._client.get(paths.group(ref.api_version))
        for resource in served.get("resources") or ():
            if resource["kind"] == ref.kind and "/" not in resource["name"]:
                plural = str(resource["name"])
                self._plurals[ref.api_version, ref.kind] = plural
                return plural
        raise NotFoundError(f"kind {ref.kind} is not served in {ref.api_version}; is its CRD installed?")
