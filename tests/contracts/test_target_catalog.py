"""What every TargetCatalog must do: deliver what is managed, each change of it, and its end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from activator.core.model import TargetRef
from tests.contracts.kubernetes_worlds import Listener, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.ports import TargetCatalog
    from tests.contracts.kubernetes_worlds import KubernetesWorld

TOPIC = "wakegate.dev/topic"


@asynccontextmanager
async def followed(catalog: TargetCatalog, listener: Listener | None = None) -> AsyncIterator[Listener]:
    """Run a catalog until the end of the block, from its first complete list on."""
    listener = listener or Listener()
    task = asyncio.create_task(catalog.run(listener))
    try:
        await eventually(lambda: "synced" in listener.log, "the first complete list")
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_managed_is_delivered_before_synced(world: KubernetesWorld) -> None:
    """Workloads without our annotations are not delivered at all."""
    orders = await world.add("orders", replicas=2, annotations={TOPIC: "orders", "example.com/team": "a"})
    await world.add("web")
    async with followed(world.catalog()) as listener:
        assert listener.log == ["upsert orders", "synced"]
        managed = listener.managed[orders]
        assert managed.annotations == {TOPIC: "orders"}
        assert managed.policy is not None
        assert managed.policy.config_hash == "orders"
        assert managed.workload.scale == await world.scaler().get(orders)
        assert managed.workload.ready_replicas == 0


async def test_a_changed_annotation_is_delivered_with_its_policy(world: KubernetesWorld) -> None:
    """And an annotation of somebody else's changes the resourceVersion, but not the policy."""
    ref = await world.add("orders", annotations={TOPIC: "orders"})
    async with followed(world.catalog()) as listener:
        first = listener.managed[ref]
        await world.annotate(ref, {"example.com/team": "b"})
        await eventually(
            lambda: listener.managed[ref].workload.scale.resource_version != first.workload.scale.resource_version,
            "a new resourceVersion",
        )
        assert listener.managed[ref].policy == first.policy
        await world.annotate(ref, {TOPIC: "orders-v2"})
        await eventually(
            lambda: getattr(listener.managed[ref].policy, "config_hash", "") == "orders-v2", "the new policy"
        )


async def test_a_changed_count_is_delivered_with_its_writer(world: KubernetesWorld) -> None:
    """So that the loop can tell its own hand from the HPA's and from a person's."""
    ref = await world.add("orders", replicas=1, annotations={TOPIC: "orders"})
    async with followed(world.catalog()) as listener:
        await world.scale(ref, 4, "kubectl")
        await eventually(lambda: listener.managed[ref].workload.scale.replicas == 4, "four replicas")
        assert listener.managed[ref].workload.replicas_manager == "kubectl"


async def test_a_new_workload_is_delivered(world: KubernetesWorld) -> None:
    """Also one that exists for long and is annotated now."""
    old = await world.add("old")
    async with followed(world.catalog()) as listener:
        new = await world.add("new", annotations={TOPIC: "new"})
        await world.annotate(old, {TOPIC: "old"})
        await eventually(lambda: set(listener.managed) == {old, new}, "both")


async def test_without_annotations_it_is_managed_no_more(world: KubernetesWorld) -> None:
    """It is handed over as it is, so that it can be put back to its original count."""
    ref = await world.add("orders", replicas=0, annotations={TOPIC: "orders"})
    async with followed(world.catalog()) as listener:
        await world.annotate(ref, {TOPIC: None})
        await eventually(lambda: bool(listener.removed), "the removal")
        [(removed, workload)] = listener.removed
        assert removed == ref
        assert workload is not None
        assert workload.scale == await world.scaler().get(ref)
        await world.annotate(ref, {"example.com/team": "c"})  # nobody manages it: no second removal
        other = await world.add("other", annotations={TOPIC: "other"})
        await eventually(lambda: other in listener.managed, "the other one")
        assert len(listener.removed) == 1


async def test_a_deleted_workload_is_gone(world: KubernetesWorld) -> None:
    """There is nothing left to be put back."""
    ref = await world.add("orders", annotations={TOPIC: "orders"})
    async with followed(world.catalog()) as listener:
        await world.delete(ref)
        await eventually(lambda: bool(listener.removed), "the removal")
        assert listener.removed == [(ref, None)]


async def test_a_second_run_tells_what_went_away_in_between(world: KubernetesWorld) -> None:
    """A catalog that is restarted after a crash repeats what is there, and the removals that it has missed."""
    stays = await world.add("stays", annotations={TOPIC: "stays"})
    goes = await world.add("goes", annotations={TOPIC: "goes"})
    catalog = world.catalog()
    listener = Listener()
    async with followed(catalog, listener):
        assert set(listener.managed) == {stays, goes}
    await world.delete(goes)
    listener.log.clear()
    async with followed(catalog, listener):
        assert sorted(listener.log) == ["remove goes", "synced", "upsert stays"]
    assert listener.removed == [(goes, None)]


async def test_any_workload_can_be_found(world: KubernetesWorld) -> None:
    """Managed or not: what was kept of it before a restart may be all that is known of it."""
    web = await world.add("web", replicas=3)
    found = await world.catalog().find(web)
    assert found is not None
    assert found.scale == await world.scaler().get(web)
    assert await world.catalog().find(TargetRef(world.namespace, "Deployment", "nothing")) is None
