"""What others give way to, and for how long."""

from __future__ import annotations

import asyncio
import contextlib

from activator.loop.pressing import LONGEST_SECONDS, MANY, Pressing
from tests.virtual_time import virtual


class Wakes:
    """Wakes under way, to begin and to end one by one."""

    def __init__(self) -> None:
        self.told_at: list[float] = []
        self.pressing = Pressing(lambda: self.told_at.append(asyncio.get_running_loop().time()))
        self._under_way: list[contextlib.ExitStack] = []

    @property
    def pressing_storm(self) -> tuple[bool, bool]:
        """Whether others give way, and whether even looks do."""
        return self.pressing.is_on, self.pressing.is_storm

    def begin(self, number: int) -> None:
        """Begin so many."""
        for _ in range(number):
            stack = contextlib.ExitStack()
            stack.enter_context(self.pressing.wake())
            self._under_way.append(stack)

    def end(self, number: int) -> None:
        """End so many."""
        for _ in range(number):
            self._under_way.pop().close()


@virtual
async def test_a_few_wakes_are_no_storm() -> None:
    """Nobody gives way to them."""
    wakes = Wakes()
    wakes.begin(MANY - 1)
    assert wakes.pressing_storm == (False, False)
    await wakes.pressing.give_way()
    wakes.end(MANY - 1)
    assert asyncio.get_running_loop().time() == 0.0


@virtual
async def test_a_storm_is_over_with_the_last_of_many() -> None:
    """Others go on, and are told, as soon as no more than a few are left."""
    wakes = Wakes()
    wakes.begin(MANY + 3)
    assert wakes.pressing_storm == (True, True)
    gives_way = asyncio.create_task(wakes.pressing.give_way())
    await asyncio.sleep(1)
    wakes.end(3)
    await asyncio.sleep(1)
    assert not gives_way.done()
    assert wakes.told_at == []
    wakes.end(1)
    await gives_way
    assert wakes.pressing_storm == (False, False)
    assert wakes.told_at == [2.0]
    wakes.end(MANY - 1)


@virtual
async def test_nobody_gives_way_for_ever() -> None:
    """A storm that does not end is given way to for ten seconds; the next one anew."""
    wakes = Wakes()
    wakes.begin(MANY)
    await wakes.pressing.give_way()
    assert asyncio.get_running_loop().time() == LONGEST_SECONDS
    assert wakes.told_at == [LONGEST_SECONDS]
    wakes.begin(5)
    assert wakes.pressing_storm == (False, False)
    wakes.end(MANY + 5)
    wakes.begin(MANY)
    await wakes.pressing.give_way()
    assert asyncio.get_running_loop().time() == 2 * LONGEST_SECONDS
    wakes.end(MANY)


@virtual
async def test_a_backlog_is_no_storm_but_pressing() -> None:
    """Looks go on, what comes after them waits; and a storm's end is told while the backlog remains."""
    wakes = Wakes()
    wakes.pressing.backlog(exists=True)
    assert wakes.pressing_storm == (True, False)
    wakes.begin(MANY)
    assert wakes.pressing_storm == (True, True)
    wakes.end(1)
    assert wakes.told_at == [0.0]
    assert wakes.pressing_storm == (True, False)
    wakes.pressing.backlog(exists=False)
    await wakes.pressing.give_way()
    wakes.end(MANY - 1)
    assert asyncio.get_running_loop().time() == 0.0
