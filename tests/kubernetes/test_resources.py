"""Kinds are found by discovery, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from activator.core.model import TargetRef
from activator.errors import NotFoundError
from activator.kubernetes.resources import Resources
from tests.kubernetes.memory_api import MemoryApi

if TYPE_CHECKING:
    from activator.kubernetes.client import KubernetesClient

ROLLOUT = TargetRef("shop", "Rollout", "orders", "argoproj.io/v1alpha1")
SERVED = {
    "metadata": {},
    "resources": [
        {"name": "rollouts/scale", "kind": "Scale"},
        {"name": "rollouts/status", "kind": "Rollout"},
        {"name": "rollouts", "kind": "Rollout"},
    ],
}


def resources(api: MemoryApi) -> Resources:
    """Resources of an API server."""
    return Resources(cast("KubernetesClient", api))


async def test_the_usual_workloads_need_no_request() -> None:
    """A wake must not wait for discovery."""
    api = MemoryApi()
    path = await resources(api).path(TargetRef("shop", "StatefulSet", "orders"), "scale")
    assert path == "/apis/apps/v1/namespaces/shop/statefulsets/orders/scale"
    assert api.log == []


async def test_another_kind_is_discovered_once() -> None:
    """The resource itself, not a subresource of the same kind."""
    api = MemoryApi()
    api.put("/apis/argoproj.io/v1alpha1", SERVED)
    found = resources(api)
    for _ in range(2):
        path = await found.path(ROLLOUT)
        assert path == "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/orders"
    assert api.asked("GET") == ["/apis/argoproj.io/v1alpha1"]


async def test_a_kind_that_is_installed_later_is_found_then() -> None:
    """Nobody remembers that it was missing."""
    api = MemoryApi()
    found = resources(api)
    with pytest.raises(NotFoundError):
        await found.path(ROLLOUT)
    api.put("/apis/argoproj.io/v1alpha1", {"metadata": {}, "resources": []})
    with pytest.raises(NotFoundError, match=r"kind Rollout is not served in argoproj\.io/v1alpha1"):
        await found.path(ROLLOUT)
    api.put("/apis/argoproj.io/v1alpha1", SERVED)
    assert await found.path(ROLLOUT)
