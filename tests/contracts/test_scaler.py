"""What every Scaler must do: hit the very object that was seen, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.core.model import TargetRef
from activator.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from tests.contracts.kubernetes_worlds import KubernetesWorld


@pytest.mark.parametrize("replicas", [0, 1, 7])
async def test_the_count_is_read_as_it_is(world: KubernetesWorld, replicas: int) -> None:
    """Zero too, which the API leaves out of the JSON."""
    ref = await world.add("orders", replicas=replicas)
    assert (await world.scaler().get(ref)).replicas == replicas


async def test_a_cycle_down_and_up_again(world: KubernetesWorld) -> None:
    """Each answer is what the next change must name."""
    scaler = world.scaler()
    ref = await world.add("orders", replicas=3)
    asleep = await scaler.set(ref, 0, await scaler.get(ref))
    awake = await scaler.set(ref, 2, asleep)
    assert (asleep.replicas, awake.replicas) == (0, 2)
    assert await scaler.get(ref) == awake


async def test_setting_what_is_there_changes_nothing(world: KubernetesWorld) -> None:
    """A change that was applied and whose answer was lost may be sent again by whoever rereads."""
    scaler = world.scaler()
    ref = await world.add("orders", replicas=0)
    once = await scaler.set(ref, 2, await scaler.get(ref))
    assert await scaler.set(ref, 2, once) == once


async def test_an_object_that_changed_since_is_a_conflict(world: KubernetesWorld) -> None:
    """The HPA, a person or another replica was faster: the count is left as they put it."""
    scaler = world.scaler()
    ref = await world.add("orders", replicas=0)
    seen = await scaler.get(ref)
    await world.scale(ref, 4, "kubectl")
    with pytest.raises(ConflictError):
        await scaler.set(ref, 1, seen)
    assert (await scaler.get(ref)).replicas == 4


async def test_of_two_who_saw_the_same_one_succeeds(world: KubernetesWorld) -> None:
    """Waking needs no lease: the second PATCH of a wake is a conflict."""
    scaler = world.scaler()
    ref = await world.add("orders", replicas=0)
    seen = await scaler.get(ref)
    await world.scaler().set(ref, 1, seen)
    with pytest.raises(ConflictError):
        await scaler.set(ref, 1, seen)


async def test_a_recreated_object_is_not_hit(world: KubernetesWorld) -> None:
    """The name is the same, but it is another workload, of which nothing has been seen."""
    scaler = world.scaler()
    ref = await world.add("orders", replicas=0)
    seen = await scaler.get(ref)
    await world.delete(ref)
    await world.add("orders", replicas=5)
    with pytest.raises(NotFoundError):
        await scaler.set(ref, 1, seen)
    recreated = await scaler.get(ref)
    with pytest.raises(NotFoundError):
        await scaler.set(ref, 1, replace(recreated, uid=seen.uid))
    assert (await scaler.get(ref)).replicas == 5


async def test_what_does_not_exist_is_not_found(world: KubernetesWorld) -> None:
    """Neither to read nor to set, nor a kind that nobody serves."""
    scaler = world.scaler()
    seen = await scaler.get(await world.add("orders"))
    nothing = TargetRef(world.namespace, "Deployment", "nothing")
    with pytest.raises(NotFoundError):
        await scaler.get(nothing)
    with pytest.raises(NotFoundError):
        await scaler.set(nothing, 1, seen)


async def test_the_writer_of_the_count_is_known_at_any_count(world: KubernetesWorld) -> None:
    """Ours at zero too, where a merge patch leaves nobody's name; then whoever moved it away from us."""
    scaler, catalog = world.scaler(), world.catalog()
    ref = await world.add("orders", replicas=3)
    writers = []
    for replicas in (0, 2, 0):
        await scaler.set(ref, replicas, await scaler.get(ref))
        found = await catalog.find(ref)
        writers.append(found and (found.scale.replicas, found.replicas_manager))
    await world.scale(ref, 4, "kube-controller-manager")
    found = await catalog.find(ref)
    writers.append(found and (found.scale.replicas, found.replicas_manager))
    assert writers == [(0, "wakegate"), (2, "wakegate"), (0, "wakegate"), (4, "kube-controller-manager")]
