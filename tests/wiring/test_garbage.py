"""The garbage collector's pauses: what is frozen, and that nothing is kept for ever."""

from __future__ import annotations

import asyncio
import gc
import weakref

from activator.wiring.garbage import FREEZE_SECONDS, FREEZES_A_COLLECTION, keep_pauses_short
from tests.virtual_time import virtual


class Loop:
    """An object that only holds itself."""

    def __init__(self) -> None:
        self.itself = self


@virtual
async def test_what_lives_long_is_out_of_the_collectors_way_and_cycles_go_within_the_hour() -> None:
    """Frozen while it runs, walked over once an hour, and everything is as it was when it ends."""
    usual = gc.get_threshold()
    keeping = asyncio.create_task(keep_pauses_short())
    await asyncio.sleep(0)
    cycle = Loop()
    await asyncio.sleep(FREEZE_SECONDS + 1)
    assert gc.get_freeze_count() > 0
    gone = weakref.ref(cycle)
    del cycle
    gc.collect()
    assert gone() is not None, "it was alive as it was frozen, and only an unfreezing collection finds it"
    await asyncio.sleep(FREEZE_SECONDS * FREEZES_A_COLLECTION)
    assert gone() is None

    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == usual
