"""The body of a scale PATCH, to the letter: what the contract suite sees from outside only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import Scale, TargetRef
from activator.errors import ConflictError, NotFoundError, WakegateError
from activator.kubernetes.resources import Resources
from activator.kubernetes.scale import KubernetesScaler

if TYPE_CHECKING:
    from activator.kubernetes.client import KubernetesClient

ORDERS = TargetRef("shop", "Deployment", "orders")
SEEN = Scale(1, "uid-1", "7")


class ScaleApi:
    """Answers one apply."""

    def __init__(self, answer: dict[str, Any] | WakegateError) -> None:
        self.answer = answer
        self.applied: list[tuple[str, dict[str, Any]]] = []
        self.merged: list[tuple[str, dict[str, Any]]] = []

    async def apply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Take an apply."""
        self.applied.append((path, body))
        if isinstance(self.answer, WakegateError):
            raise self.answer
        return self.answer

    async def merge_patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Take a merge patch."""
        self.merged.append((path, body))
        assert not isinstance(self.answer, WakegateError)
        return self.answer

    async def get(self, path: str) -> dict[str, Any]:
        """Answer discovery."""
        assert path == "/apis/example.org/v1"
        return {"resources": [{"kind": "Worker", "name": "workers"}, {"kind": "Scale", "name": "workers/scale"}]}


def scaler(api: ScaleApi) -> KubernetesScaler:
    """A scaler of that API server."""
    client = cast("KubernetesClient", api)
    return KubernetesScaler(client, Resources(client))


async def test_a_zero_is_written_out_and_read_where_it_is_left_out() -> None:
    """It names the very object and version that were seen, and nothing but replicas."""
    api = ScaleApi({"metadata": {"uid": "uid-1", "resourceVersion": "8"}, "spec": {}})
    assert await scaler(api).set(ORDERS, 0, SEEN) == Scale(0, "uid-1", "8")
    assert api.applied == [
        (
            "/apis/apps/v1/namespaces/shop/deployments/orders/scale",
            {
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": {"name": "orders", "uid": "uid-1", "resourceVersion": "7"},
                "spec": {"replicas": 0},
            },
        )
    ]


async def test_a_custom_resource_is_not_applied() -> None:
    """The API server cannot apply to the /scale of a custom resource: it gets the same as a merge patch."""
    api = ScaleApi({"metadata": {"uid": "uid-1", "resourceVersion": "8"}, "spec": {"replicas": 2}})
    worker = TargetRef("shop", "Worker", "orders", "example.org/v1")
    assert await scaler(api).set(worker, 2, SEEN) == Scale(2, "uid-1", "8")
    ((path, body),) = api.merged
    assert path == "/apis/example.org/v1/namespaces/shop/workers/orders/scale"
    assert body["metadata"] == {"name": "orders", "uid": "uid-1", "resourceVersion": "7"}
    assert not api.applied


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("409 Precondition failed: UID in precondition: a, UID in object meta: b", NotFoundError),
        ("409 the object has been modified; please apply your changes to the latest version", ConflictError),
    ],
)
async def test_a_conflict_of_uids_is_another_object(words: str, error: type[WakegateError]) -> None:
    """The API server says both with the same status."""
    with pytest.raises(error):
        await scaler(ScaleApi(ConflictError(words))).set(ORDERS, 0, SEEN)
