"""Sends the orders of the demo to the gateway, as CloudEvents over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from activator.errors import UnavailableError
from activator.local.sample_producer import order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

BATCH = 100
_ANSWER_SECONDS = 15.0
_ACCEPTED = 202
_LONGEST_SHOWN = 200
_BATCH_FORMAT = "application/cloudevents-batch+json"


class Orders:
    """An open connection to `POST /topics/{topic}`.

    Args:
        gateway: its URL.
        topic: where the orders go.
    """

    def __init__(self, gateway: str, topic: str) -> None:
        self._url = f"{gateway}/topics/{topic}"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS))

    async def __aenter__(self) -> Self:
        """Open it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._session.close()

    async def send(self, numbers: Sequence[int]) -> None:
        """Send these orders and wait until Kafka has all of them; in batches, side by side.

        Raises:
            UnavailableError: the gateway did not answer 202 for one of them.
        """
        batches = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
        await asyncio.gather(*(self._post([_event(number) for number in batch]) for batch in batches))

    async def _post(self, events: list[dict[str, Any]]) -> None:
        headers = {"Content-Type": _BATCH_FORMAT}
        try:
            async with self._session.post(self._url, data=json.dumps(events), headers=headers) as answer:
                if answer.status != _ACCEPTED:
                    said = (await answer.text())[:_LONGEST_SHOWN]
                    raise UnavailableError(f"POST {self._url}", f"answered {answer.status}: {said}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError(f"POST {self._url}", f"no answer: {error!r}") from error


def _event(number: int) -> dict[str, Any]:
    """Return one order; its number is its key, so that a rush spreads over all partitions."""
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/pizzeria",
        "type": "pizza.ordered",
        "partitionkey": f"order-{number}",
        "datacontenttype": "text/plain",
        "data": order(number).decode(),
    }
