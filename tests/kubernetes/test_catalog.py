"""What the catalog keeps of a workload, and how often it parses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import Policy, Scale, TargetRef, Workload
from activator.kubernetes.catalog import KubernetesCatalog, replicas_manager, workload_of
from activator.kubernetes.resources import Resources
from tests.kubernetes.memory_api import MemoryApi
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.errors import SpecError
    from activator.kubernetes.client import KubernetesClient
    from activator.ports import ManagedWorkload

ORDERS = TargetRef("shop", "Deployment", "orders")
PATH = "/apis/apps/v1/namespaces/shop/deployments/orders"


def document(**spec: Any) -> dict[str, Any]:
    """A Deployment with our annotations."""
    metadata = {"name": "orders", "namespace": "shop", "uid": "u", "annotations": {"wakegate.dev/topic": "orders"}}
    return {"metadata": metadata, "spec": spec}


def entry(
    manager: str, *, operation: str = "Update", time: str | None = None, field: str = "f:replicas"
) -> dict[str, Any]:
    """An entry of managedFields."""
    stamped = {"time": time} if time else {"subresource": "scale"}
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {field: {}}}, **stamped}


@pytest.mark.parametrize(
    ("entries", "manager"),
    [
        pytest.param([], None, id="nobody that the API server knows of"),
        pytest.param([entry("kubectl", field="f:template")], None, id="somebody, but not of replicas"),
        pytest.param(
            [entry("kubectl", time="2026-01-05T12:00:00Z"), entry("x", field="f:paused")], "kubectl", id="one"
        ),
        pytest.param([entry("wakegate", operation="Apply")], "wakegate", id="ours, through /scale"),
        pytest.param(
            [entry("flux", operation="Apply", time="2026-01-05T12:00:00Z"), entry("kubectl")],
            "kubectl",
            id="an Apply that asks for what an Update had written",
        ),
        pytest.param(
            [entry("wakegate", operation="Apply"), entry("flux", operation="Apply", time="2026-01-05T12:00:00Z")],
            "wakegate",
            id="an Apply that asks for what we had written",
        ),
        pytest.param(
            [entry("a", time="2026-01-05T12:00:01Z"), entry("b", time="2026-01-05T12:00:00Z")], "a", id="the newest"
        ),
        pytest.param([{"manager": "old", "operation": "Update"}], None, id="without fields"),
    ],
)
def test_who_wrote_the_count(entries: list[dict[str, Any]], manager: str | None) -> None:
    """By metadata.managedFields."""
    assert replicas_manager(entries) == manager


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        pytest.param({"replicas": 3}, {"readyReplicas": 2}, (3, 2), id="both"),
        pytest.param({"replicas": 0}, {}, (0, 0), id="asleep: readyReplicas is left out at zero"),
        pytest.param({}, None, (1, 0), id="a workload's own replicas default to one"),
    ],
)
def test_what_is_kept_of_a_workload(
    spec: dict[str, Any], status: dict[str, Any] | None, expected: tuple[int, int]
) -> None:
    """The counts, and what a PATCH must name."""
    metadata = {"name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "7"}
    found = workload_of({"metadata": metadata, "spec": spec, "status": status}, ORDERS)
    assert found == Workload(ORDERS, Scale(expected[0], "u", "7"), expected[1])


class Counts:
    """A listener and a parser that count."""

    def __init__(self) -> None:
        self.parsed = 0
        self.latest: ManagedWorkload | None = None
        self.synced_times = 0

    def parse(self, _: Mapping[str, str], __: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
        """Count a parse."""
        self.parsed += 1
        return Policy(triggers=()), ()

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload."""
        self.latest = managed

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Lose a workload."""
        del ref, workload
        self.latest = None

    def synced(self) -> None:
        """All has been delivered."""
        self.synced_times += 1


@virtual
async def test_status_changes_are_not_parsed_again() -> None:
    """A rollout changes a Deployment's status many times a second; its annotations are the same."""
    api, counts = MemoryApi(), Counts()
    api.put(PATH, document(replicas=1))
    client = cast("KubernetesClient", api)
    catalog = KubernetesCatalog(client, Resources(client), counts.parse)
    task = asyncio.create_task(catalog.run(counts))
    await asyncio.sleep(1)
    for ready in range(10):
        api.put(PATH, {**document(replicas=10), "status": {"readyReplicas": ready}})
    await asyncio.sleep(1)
    assert counts.latest is not None
    assert counts.latest.workload.ready_replicas == 9
    assert counts.parsed == 1
    assert catalog.uid(ORDERS) == "u"
    task.cancel()


@virtual
async def test_it_is_synced_once_every_collection_was_listed() -> None:
    """Deployments and StatefulSets of each namespace; a relist later is no news."""
    api, counts = MemoryApi(), Counts()
    client = cast("KubernetesClient", api)
    task = asyncio.create_task(KubernetesCatalog(client, Resources(client), counts.parse, ["a", "b"]).run(counts))
    await asyncio.sleep(1)
    assert sorted(api.asked("LIST")) == [
        f"/apis/apps/v1/namespaces/{namespace}/{plural}"
        for namespace in ("a", "b")
        for plural in ("deployments", "statefulsets")
    ]
    assert counts.synced_times == 1
    task.cancel()
