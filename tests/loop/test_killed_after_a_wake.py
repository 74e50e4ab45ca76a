"""wakegate is killed right after the PATCH of a wake: what the woken's group has is there when its process asks."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activator.core.model import GroupState, Handover
from tests.fakes.api_server import server_error
from tests.fakes.bed import Bed, Replica
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.core.model import TargetRef


@asynccontextmanager
async def killed(
    *,
    replicas: int = 1,
    partitions: int = 1,
    direct: bool = False,
    written: bool = False,
    policy: str = "latest",
    guard: str = "on",
) -> AsyncIterator[tuple[Bed, TargetRef]]:
    """Kill who woke a target of which Kafka had forgotten the offsets: the commit after the wake never arrives.

    The woken's first process takes half a minute to start, and the lease is the dead one's until after that.

    Args:
        replicas: of wakegate.
        partitions: each has ten records that were read before the sleep, and gets three that wake.
        direct: wakegate moves 1..N, and will want one replica for each partition.
        written: the wake has been written down before.
        policy: offset-reset-policy.
        guard: offset-guard.
    """
    bed = Bed(hpa=False, replicas=replicas)
    bed.auto_handoff = Handover.DIRECT if direct else Handover.HPA
    orders = bed.deploy(
        partitions=partitions,
        cooldown_period="20",
        polling_interval="300",
        offset_reset_policy=policy,
        offset_guard=guard,
        lag_threshold="3",
    )
    async with bed:
        for partition in range(partitions):
            bed.kafka.produce("orders", partition, 10)
        await bed.until(900)
        assert bed.server.replicas(orders) == 0
        bed.server.pods_become_ready = False
        bed.kafka.expire("orders")
        for partition in range(partitions):
            bed.kafka.produce("orders", partition, 3)
        bed.kafka.slow = 0.5
        await bed.until_true(lambda: bed.server.replicas(orders) > 0)
        if written:
            await bed.until_true(lambda: bed.server.scale_targets[orders][1].replicas > 0)
        await bed.replica.kill()
        bed.server.lease_holder = bed.replica.identity
        bed.kafka.slow = 0.0
        assert bed.kafka.groups["orders"].commits == {}
        await bed.until(905)
        yield bed, orders


def free_the_lease(bed: Bed) -> None:
    """Let the next one lead."""
    bed.server.lease_holder = None
    bed.server.changed()


@pytest.mark.parametrize("lease", ["free", "still held"])
@pytest.mark.parametrize("written", [False, True], ids=["before-the-wake-is-written-down", "after-it"])
@pytest.mark.parametrize("policy", ["latest", "earliest"])
@virtual
async def test_the_next_process_commits_what_had_expired(policy: str, lease: str, *, written: bool) -> None:
    """With or without the lease, and it says so."""
    async with killed(policy=policy, written=written) as (bed, orders):
        if lease == "free":
            free_the_lease(bed)
        bed.start_next()
        await bed.until(930)
        assert bed.kafka.groups["orders"].commits == {("orders", 0): 10}
        assert [notice.reason for notice in bed.recorder.notices] == ["OffsetsRestored"]
        assert ("orders", {0: 10}) in bed.replica.group_offsets.renewals
        bed.server.become_ready(orders)
        await bed.until(935)
        assert bed.consumed == {"orders": 13}


@virtual
async def test_a_standby_commits_what_had_expired() -> None:
    """It has seen the wake, and leads only when the lease has run out."""
    async with killed(replicas=2) as (bed, _):
        await bed.until(915)
        assert bed.kafka.groups["orders"].commits == {("orders", 0): 10}


@virtual
async def test_what_would_be_committed_the_leader_tells() -> None:
    """With `observe` a standby has nothing to do, and so nothing to say."""
    async with killed(replicas=2, policy="earliest", guard="observe") as (bed, _):
        await bed.until(915)
        standby = bed.replicas_of_wakegate[1]
        assert standby.recorder.notices == []
        free_the_lease(bed)
        await bed.until(930)
        assert [notice.reason for notice in standby.recorder.notices] == ["OffsetsWouldBeCommitted"]


@virtual
async def test_a_standby_commits_no_pin_of_its_own() -> None:
    """It could not read where the leader had pinned a group that never committed, and has first seen it later."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(
        partitions=1, committed=False, cooldown_period="20", polling_interval="5", activation_lag_threshold="5"
    )
    async with bed:
        bed.replica.group_offsets.failures = 10_000
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.kafka.produce("orders", 0, 3)
        bed.server.inject("state.load", server_error(), times=10_000)
        standby = Replica(bed, "wakegate-1")
        standby.start()
        await bed.until(90)
        bed.server.pods_become_ready = False
        bed.kafka.produce("orders", 0, 5)
        await bed.until(110)
        assert bed.server.replicas(orders) == 1
        assert standby.activator.targets[orders].woken
        assert bed.kafka.groups["orders"].commits == {}
        await standby.kill()


@virtual
async def test_who_wants_more_replicas_and_does_not_lead_commits_all_the_same() -> None:
    """Each of its looks ends with nothing to do: the next replicas are the leader's to give."""
    async with killed(partitions=3, direct=True) as (bed, orders):
        bed.start_next()
        await bed.until(930)
        assert bed.server.replicas(orders) < 3
        assert bed.kafka.groups["orders"].commits == {("orders", number): 10 for number in range(3)}


@pytest.mark.parametrize("obstacle", ["its coordinator loads", "the commit fails twice", "the last members linger"])
@virtual
async def test_what_cannot_be_committed_by_the_first_look_is_by_a_later_one(obstacle: str) -> None:
    """Also without the lease."""
    async with killed() as (bed, _):
        if obstacle == "its coordinator loads":
            bed.kafka.fail_group("orders", "COORDINATOR_LOAD_IN_PROGRESS")
        elif obstacle == "the last members linger":
            bed.shows_groups = False
            bed.kafka.set_group("orders", GroupState.STABLE, 1)
        bed.start_next()
        bed.replica.group_offsets.failures = 2 if obstacle == "the commit fails twice" else 0
        await bed.until(906)
        bed.kafka.heal()
        if obstacle == "the last members linger":
            bed.kafka.set_group("orders", GroupState.EMPTY, 0)
        await bed.until(930)
        assert bed.kafka.groups["orders"].commits == {("orders", 0): 10}


@pytest.mark.parametrize("who", ["a standby", "the next leader"])
@virtual
async def test_what_has_not_slept_is_not_pinned_while_it_is_rolled_out(who: str) -> None:
    """A group that never commits would begin there for ever after: without a ready replica it was not woken by us."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="5")
    bed.shows_groups = False
    bed.kafka.set_group("orders", GroupState.STABLE, 1)
    async with bed:
        await bed.until(10)
        bed.kafka.produce("orders", 0, 1000)
        await bed.until(200)
        assert bed.server.replicas(orders) == 1
        bed.server.become_ready(orders, 0)
        bed.kafka.set_group("orders", GroupState.EMPTY, 0)
        await bed.until(212)
        if who == "a standby":
            standby = Replica(bed, "wakegate-1")
            standby.start()
        else:
            await bed.replica.kill()
            bed.start_next()
        await bed.until(222)
        assert bed.kafka.groups["orders"].commits == {}
        if who == "a standby":
            await standby.kill()
