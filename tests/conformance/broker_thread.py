"""The embedded broker on an event loop of its own in a thread, so that blocking clients can be asked in a test."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, TypeVar

from activator.local.broker.server import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.local.broker.config import BrokerConfig

T = TypeVar("T")


def utc_now() -> datetime:
    """The real time: librdkafka stamps records with it too."""
    return datetime.now(UTC)  # noqa: TID251 - the clients under test read the real clock as well


class BrokerThread:
    """An `EmbeddedBroker` for the length of a `with` block."""

    def __init__(self, config: BrokerConfig | None = None) -> None:
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded broker")

    def __enter__(self) -> Self:
        self._thread.start()
        self._broker = EmbeddedBroker(now=utc_now, config=self._config)
        asyncio.run_coroutine_threadsafe(self._broker.__aenter__(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._broker.__aexit__(None, None, None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`."""
        return self._broker.bootstrap_servers

    def do(self, action: Callable[[EmbeddedBroker], T]) -> T:
        """Call `action` on the broker's loop and wait for what it answers."""

        async def run() -> T:
            return action(self._broker)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()
