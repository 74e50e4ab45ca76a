"""Everything given back at once: no workload stays at zero by our hand, and nothing of ours is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from activator.core.model import OnRelease, Phase, Policy, TargetState
from activator.loop import give_back_all
from activator.loop.releasing import Release
from tests.fakes.api_server import unreachable
from tests.fakes.bed import Bed, Replica
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.core.model import TargetRef

WITHIN = timedelta(minutes=5)


async def give_back(bed: Bed) -> Sequence[TargetRef]:
    """End every replica, and give back with a process of its own."""
    for replica in bed.replicas_of_wakegate:
        await replica.kill()
    last = Replica(bed, "release")
    leading = asyncio.create_task(last.leadership.run())
    try:
        return await give_back_all(last.world, WITHIN)
    finally:
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)


@virtual
async def test_sleepers_and_the_awake_get_what_they_had() -> None:
    """One asleep, one awake, one that its owner had put to zero by hand: each as its owner would have it."""
    async with Bed() as bed:
        sleeper = bed.deploy("sleeper", replicas=3, cooldown_period="5", initial_cooldown_period="5")
        awake = bed.deploy("awake", replicas=2, keep_awake="true")
        by_hand = bed.deploy("by-hand", replicas=0, paused="true")
        await asyncio.sleep(60)
        assert bed.server.replicas(sleeper) == 0
        assert await give_back(bed) == ()
        counts = [bed.server.replicas(target) for target in (sleeper, awake, by_hand)]
        assert counts == [3, 2, 0]
        assert bed.server.hpas == {}
        assert bed.server.scale_targets == {}


@virtual
async def test_what_cannot_be_given_back_is_named() -> None:
    """The API server refuses one all the time: the others are given back, and that one is in the answer."""
    async with Bed() as bed:
        targets = [bed.deploy(name, cooldown_period="5", initial_cooldown_period="5") for name in ("a", "b")]
        await asyncio.sleep(60)
        assert [bed.server.replicas(target) for target in targets] == [0, 0]
        bed.server.inject("scale.set", unreachable(), times=10_000, ref=targets[0])
        assert await give_back(bed) == (targets[0],)
        assert [bed.server.replicas(target) for target in targets] == [0, 1]


@virtual
async def test_without_the_crd_the_field_manager_tells_whose_hand_it_was() -> None:
    """Nothing could be kept: what sleeps by our hand gets its minimum, what somebody else put to zero stays there."""
    async with Bed() as bed:
        bed.server.crd_installed = False
        sleeper = bed.deploy("sleeper", min_replica_count="2", cooldown_period="5", initial_cooldown_period="5")
        by_hand = bed.deploy("by-hand", replicas=0, paused="true")
        await asyncio.sleep(60)
        assert bed.server.replicas(sleeper) == 0
        assert await give_back(bed) == ()
        assert (bed.server.replicas(sleeper), bed.server.replicas(by_hand)) == (2, 0)


@virtual
async def test_it_waits_until_it_leads() -> None:
    """Another replica still holds the Lease: nothing is touched before it gives it back or it has run out."""
    async with Bed() as bed:
        sleeper = bed.deploy("sleeper", cooldown_period="5", initial_cooldown_period="5")
        await asyncio.sleep(60)
        last = Replica(bed, "release")
        giving = asyncio.create_task(give_back_all(last.world, WITHIN))
        leading = asyncio.create_task(last.leadership.run())
        await asyncio.sleep(30)
        assert bed.server.replicas(sleeper) == 0
        await bed.replica.kill()
        assert await giving == ()
        assert bed.server.replicas(sleeper) == 1
        leading.cancel()


def test_an_uninstall_puts_back_what_a_scaled_object_would_leave_as_it_is() -> None:
    """Its rule is meant for its own deletion, while wakegate is there; nobody would wake the target any more."""
    keeps = Policy(triggers=(), on_release=OnRelease.KEEP)
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    state = TargetState(Phase.ASLEEP, 0, "idle", "", noon, noon, original_replicas=2, asleep_by_us=True)
    release = Release(state, keeps, begun_at=noon, due=noon)
    assert release.on_release is OnRelease.KEEP
    uninstalled = replace(release, rule=OnRelease.AT_LEAST_ORIGINAL)
    assert (uninstalled.on_release, uninstalled.goal) == (OnRelease.AT_LEAST_ORIGINAL, 2)
