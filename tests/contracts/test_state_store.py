"""What every StateStore must do: give back what was saved, to another process, until it is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Handover, Phase, TargetState

if TYPE_CHECKING:
    from tests.contracts.kubernetes_worlds import KubernetesWorld

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
WHOLE = TargetState(
    phase=Phase.ASLEEP,
    replicas=0,
    reason="quiet",
    message="no lag for 300.0 s: to idle",
    since=NOON,
    taken_over_at=NOON - timedelta(days=3),
    lag=0,
    last_active=NOON - timedelta(seconds=300, microseconds=17),
    original_replicas=3,
    asleep_by_us=True,
    handoff=Handover.HPA,
    last_valid={"wakegate.dev/topic": "orders", "wakegate.dev/lag-threshold": "10"},
    problems=("wakegate.dev/lag-treshold; allowed: one of our annotations", "second"),
    episode_id="4bf92f3577b34da6a3ce929d0e0e4736",
    trace_id="00f067aa0ba902b7a3ce929d0e0e4736",
)
BARE = TargetState(Phase.AWAKE, 1, "no-lag", "", since=NOON, taken_over_at=NOON)


async def test_nothing_is_kept_at_first(world: KubernetesWorld) -> None:
    """An empty store is no error."""
    assert await world.store().load() == {}


@pytest.mark.parametrize("state", [pytest.param(WHOLE, id="whole"), pytest.param(BARE, id="bare")])
async def test_another_process_reads_what_was_saved(world: KubernetesWorld, state: TargetState) -> None:
    """Every field, and no field where there was none."""
    ref = await world.add("orders")
    await world.store().save(ref, (await world.scaler().get(ref)).uid, state)
    assert await world.store().load() == {ref: state}


async def test_the_last_state_replaces_all_of_the_one_before(world: KubernetesWorld) -> None:
    """What is unknown now must not be read from before."""
    ref = await world.add("orders")
    uid = (await world.scaler().get(ref)).uid
    store = world.store()
    await store.save(ref, uid, WHOLE)
    await store.save(ref, uid, BARE)
    assert await world.store().load() == {ref: BARE}


async def test_states_are_kept_by_workload(world: KubernetesWorld) -> None:
    """One of them changes, the other does not."""
    store = world.store()
    refs = [await world.add(name) for name in ("orders", "mail")]
    for ref in refs:
        await store.save(ref, (await world.scaler().get(ref)).uid, WHOLE)
    later = replace(WHOLE, lag=7)
    await store.save(refs[0], (await world.scaler().get(refs[0])).uid, later)
    assert await world.store().load() == {refs[0]: later, refs[1]: WHOLE}


async def test_the_state_of_a_recreated_workload_is_its_own(world: KubernetesWorld) -> None:
    """The owner is the workload of today, or the garbage collector takes it away."""
    ref = await world.add("orders")
    store = world.store()
    await store.save(ref, (await world.scaler().get(ref)).uid, WHOLE)
    await world.delete(ref)
    await world.add("orders")
    await store.save(ref, (await world.scaler().get(ref)).uid, BARE)
    assert await world.store().load() == {ref: BARE}


async def test_what_is_forgotten_is_gone(world: KubernetesWorld) -> None:
    """For every process, and forgetting it again is no error."""
    ref = await world.add("orders")
    store = world.store()
    await store.save(ref, (await world.scaler().get(ref)).uid, WHOLE)
    await store.forget(ref)
    await store.forget(ref)
    assert await world.store().load() == {}


async def test_one_that_was_kept_before_a_restart_can_be_forgotten(world: KubernetesWorld) -> None:
    """Its annotations were removed while wakegate was down."""
    ref = await world.add("orders")
    await world.store().save(ref, (await world.scaler().get(ref)).uid, WHOLE)
    store = world.store()
    await store.load()
    await store.forget(ref)
    assert await world.store().load() == {}
