"""What waits to be written while others go first, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.model import Phase, TargetState
from activator.loop.keeping import AT_ONCE, Keeper
from tests.fakes.api_server import denied
from tests.fakes.bed import Bed
from tests.virtual_time import START, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AWAKE = TargetState(phase=Phase.AWAKE, replicas=1, reason="lag", message="", since=START, taken_over_at=START)
ALWAYS = 1_000_000


@contextlib.asynccontextmanager
async def keeping(bed: Bed) -> AsyncIterator[tuple[Keeper, asyncio.Event]]:
    """Run the Keeper of a leader alone; the event lets it go on."""
    bed.server.lease_holder = "wakegate-0"
    keeper, go_on = Keeper(bed.replica.world), asyncio.Event()

    async def give_way() -> None:
        await go_on.wait()

    running = asyncio.create_task(keeper.run(give_way))
    yield keeper, go_on
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@virtual
async def test_what_waits_when_the_lease_goes_over_is_not_written_over_what_its_holder_keeps() -> None:
    """Who lost the Lease while he gave way writes nothing; once it is his again, only what is news then."""
    bed = Bed(hpa=False)
    orders = bed.deploy()
    async with keeping(bed) as (keeper, go_on):
        keeper.offer(orders, "uid", AWAKE)
        await bed.until(1)
        bed.server.lease_holder = "wakegate-1"
        go_on.set()
        await bed.until(2)
        assert not bed.server.sent("state.save")
        bed.server.lease_holder = "wakegate-0"
        keeper.offer(orders, "uid", AWAKE)
        await bed.until(3)
        assert len(bed.server.sent("state.save")) == 1


@virtual
async def test_what_waits_is_older_than_what_another_leader_has_kept_meanwhile() -> None:
    """The Lease went over and came back while he gave way: what he reads then counts, not what waited."""
    bed = Bed(hpa=False)
    orders = bed.deploy()
    async with keeping(bed) as (keeper, go_on):
        keeper.offer(orders, "uid", AWAKE)
        await bed.until(1)
        keeper.restored(orders, replace(AWAKE, phase=Phase.ASLEEP, replicas=0, asleep_by_us=True))
        go_on.set()
        await bed.until(2)
        assert not bed.server.sent("state.save")


@virtual
async def test_states_that_cannot_be_kept_hold_up_no_others() -> None:
    """More of them than are written at once fail for ever: the rest is written before they are tried again."""
    bed = Bed(hpa=False)
    refused = [bed.deploy(f"refused{number}") for number in range(2 * AT_ONCE)]
    for ref in refused:
        bed.server.inject("state.save", denied(), times=ALWAYS, ref=ref)
    orders = bed.deploy()
    async with keeping(bed) as (keeper, go_on):
        for ref in [*refused[:AT_ONCE], orders, *refused[AT_ONCE:]]:
            keeper.offer(ref, "uid", AWAKE)
        go_on.set()
        await bed.until(6)
        assert len(bed.server.sent("state.save", orders)) == 1
