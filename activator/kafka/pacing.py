"""Long work in short turns, so that no step holds the event loop for more than some milliseconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

Item = TypeVar("Item")


async def in_turns(items: Iterable[Item], per_turn: int) -> AsyncIterator[Item]:
    """Yield items and give up the event loop after every `per_turn` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % per_turn == 0:
            await asyncio.sleep(0)
