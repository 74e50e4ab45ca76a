"""What every Handoff must do: keep one HPA a target as the policy asks, and know whose HPAs else there are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Cluster, Policy, ScaledObject, TargetRef, Trigger
from tests.contracts.kubernetes_worlds import eventually

if TYPE_CHECKING:
    from tests.contracts.kubernetes_worlds import KubernetesWorld

POLICY = Policy(triggers=(Trigger(Cluster("kafka:9092"), "orders", "billing", lag_threshold=1000),))


async def add_orders(world: KubernetesWorld) -> tuple[TargetRef, str]:
    """Create a workload; return it with its uid."""
    ref = await world.add("orders")
    return ref, (await world.scaler().get(ref)).uid


@pytest.mark.parametrize(
    ("minimum", "maximum", "partitions", "bounds"),
    [
        pytest.param(1, 100, 5, (1, 5), id="no more replicas than partitions"),
        pytest.param(1, 100, None, (1, 100), id="partitions unknown: the user's maximum"),
        pytest.param(2, 5, 64, (2, 5), id="more partitions than the maximum"),
        pytest.param(0, 10, 5, (1, 5), id="zero is wakegate's: the HPA begins at one"),
        pytest.param(3, 10, 2, (3, 3), id="the minimum wins over the partitions"),
        pytest.param(0, 0, 5, (1, 1), id="never below one"),
    ],
)
async def test_the_bounds_of_the_hpa(
    world: KubernetesWorld, minimum: int, maximum: int, partitions: int | None, bounds: tuple[int, int]
) -> None:
    """Min is max(1, min), max is max(min, 1, min(max, partitions))."""
    ref, uid = await add_orders(world)
    handoff = world.handoff()
    await handoff.ensure(ref, uid, replace(POLICY, min_replicas=minimum, max_replicas=maximum), partitions)
    assert await world.bounds(ref) == bounds
    assert handoff.look(ref).ours


async def test_a_changed_policy_changes_the_hpa(world: KubernetesWorld) -> None:
    """Also one that another process has made."""
    ref, uid = await add_orders(world)
    await world.handoff().ensure(ref, uid, POLICY, 5)
    await world.handoff().ensure(ref, uid, replace(POLICY, max_replicas=3), 5)
    assert await world.bounds(ref) == (1, 3)


async def test_removing_it_is_known_at_once_and_may_be_repeated(world: KubernetesWorld) -> None:
    """A direct hand-off acts only once our own HPA is confirmed gone."""
    ref, uid = await add_orders(world)
    handoff = world.handoff()
    await handoff.ensure(ref, uid, POLICY, 5)
    await handoff.remove(ref)
    assert not handoff.look(ref).ours
    assert await world.bounds(ref) is None
    await handoff.remove(ref)
    await handoff.ensure(ref, uid, POLICY, 5)
    assert await world.bounds(ref) == (1, 5)


async def test_one_that_another_process_made_is_removed(world: KubernetesWorld) -> None:
    """After a restart, or by the next leader."""
    ref, uid = await add_orders(world)
    await world.handoff().ensure(ref, uid, POLICY, 5)
    await world.handoff().remove(ref)
    assert await world.bounds(ref) is None


async def test_a_foreign_hpa_is_a_rival_while_it_is_there(world: KubernetesWorld) -> None:
    """Ours is none, nor is one that drives another workload."""
    ref, uid = await add_orders(world)
    handoff = world.handoff()
    await handoff.ensure(ref, uid, POLICY, 5)
    await world.add_hpa("of-another", await world.add("web"))
    assert handoff.look(ref).rival is None
    await world.add_hpa("by-hand", ref)
    await eventually(lambda: handoff.look(ref).rival == "HorizontalPodAutoscaler by-hand", "the rival")
    assert handoff.look(ref).ours


async def test_what_keda_left_is_taken_away_once(world: KubernetesWorld) -> None:
    """It counts as ours until it is gone; one that is made again is a rival, until the target has been given back."""
    ref, _ = await add_orders(world)
    handoff, of_keda = world.handoff(), ScaledObject("orders", "so-1", "keda-hpa-orders")
    await world.add_hpa("keda-hpa-orders", ref, of_keda)
    await eventually(lambda: handoff.look(ref, of_keda).ours, "what KEDA left")
    assert handoff.look(ref, of_keda).rival is None
    await handoff.remove(ref, of_keda)
    assert not handoff.look(ref, of_keda).ours
    await world.add_hpa("keda-hpa-orders", ref, of_keda)  # fails while it is there: it has been deleted
    await eventually(lambda: "keda-hpa-orders" in (handoff.look(ref, of_keda).rival or ""), "the rival")
    await handoff.remove(ref, of_keda)
    assert handoff.look(ref, of_keda).rival is not None, "two would delete and make it for ever"
    await handoff.remove(ref)
    assert handoff.look(ref, of_keda).rival is None


async def test_the_controllers_judgement_of_our_hpa_is_known(world: KubernetesWorld) -> None:
    """Why an HPA does not scale is said in its own words."""
    ref, uid = await add_orders(world)
    handoff = world.handoff()
    await handoff.ensure(ref, uid, POLICY, 5)
    assert handoff.look(ref).scaling_active is None
    await world.set_scaling_active(ref, "unable to get external metric", active=False)
    await eventually(lambda: handoff.look(ref).scaling_active is False, "the condition")
    assert handoff.look(ref).message == "unable to get external metric"
    await world.set_scaling_active(ref, "ok", active=True)
    await eventually(lambda: handoff.look(ref).scaling_active is True, "the condition's change")


async def test_of_a_target_without_hpa_nothing_is_known(world: KubernetesWorld) -> None:
    """No rival, nothing of ours, no judgement."""
    ref, _ = await add_orders(world)
    view = world.handoff().look(ref)
    assert (view.rival, view.ours, view.scaling_active) == (None, False, None)
