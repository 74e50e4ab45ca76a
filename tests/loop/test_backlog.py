"""What a backlog of looks holds up, and for how long."""

from __future__ import annotations

import asyncio

from activator.loop.backlog import LONGEST_SECONDS, Backlog
from tests.virtual_time import virtual


@virtual
async def test_others_go_on_as_soon_as_there_is_none() -> None:
    """Without one nobody waits; with one everybody does, until it is gone."""
    backlog = Backlog()
    await backlog.give_way()
    backlog.note(exists=True)
    gives_way = asyncio.create_task(backlog.give_way())
    await asyncio.sleep(3)
    backlog.note(exists=True)
    assert not gives_way.done()
    backlog.note(exists=False)
    await gives_way
    assert asyncio.get_running_loop().time() == 3


@virtual
async def test_nobody_gives_way_for_ever() -> None:
    """One that does not end is given way to for ten seconds, and not again before it has ended; the next one is."""
    backlog = Backlog()
    backlog.note(exists=True)
    await backlog.give_way()
    assert asyncio.get_running_loop().time() == LONGEST_SECONDS
    backlog.note(exists=True)
    assert not backlog.is_pressing
    backlog.note(exists=False)
    backlog.note(exists=True)
    await backlog.give_way()
    assert asyncio.get_running_loop().time() == 2 * LONGEST_SECONDS
