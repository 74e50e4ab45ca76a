"""The embedded broker in a process of its own, for a measurement from outside."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from activator.local.broker.config import BrokerConfig
from activator.local.broker.server import EmbeddedBroker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MEMORY_BYTES = 1024 * 1024 * 1024
"""So that a run of the bulk measure, 100 MB, never meets the cap."""


def serve(parent: Connection) -> None:
    """Send the bootstrap servers to the parent, and serve until it sends anything back."""

    async def run() -> None:
        config = BrokerConfig(memory_bytes=MEMORY_BYTES)
        async with EmbeddedBroker(now=lambda: datetime.now(UTC), config=config) as broker:
            parent.send(broker.bootstrap_servers)
            await asyncio.to_thread(parent.recv)

    asyncio.run(run())
