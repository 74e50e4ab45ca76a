"""The kinds of workloads that are watched, and how one of them is read: by a list of one, without a right to `get`."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from activator.kubernetes import paths

if TYPE_CHECKING:
    from activator.core.model import TargetRef
    from activator.kubernetes.client import Document, KubernetesClient

APPS = "apps/v1"
KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


async def read_workload(client: KubernetesClient, ref: TargetRef) -> Document | None:
    """Read a Deployment or StatefulSet; None: it does not exist. Raises WakegateError."""
    collection = paths.collection(APPS, KINDS[ref.kind], ref.namespace)
    async with aclosing(client.list_pages(collection, {"fieldSelector": f"metadata.name={ref.name}"})) as pages:
        async for page in pages:
            for document in page.get("items") or ():
                if document["metadata"]["name"] == ref.name:
                    found: Document = document
                    return found
    return None
