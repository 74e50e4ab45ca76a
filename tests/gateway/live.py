"""A whole gateway over the embedded broker, in this process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from activator.local.broker.server import EmbeddedBroker
from gateway.settings import Settings
from gateway.wiring import Gateway
from tests.gateway.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def running() -> AsyncIterator[Gateway]:
    """A gateway on free ports; Kafka has the topic `orders`."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with EmbeddedBroker(now=lambda: now, host="127.0.0.1", port=0) as broker:
        broker.create_topic("orders", partitions=1)
        made = Gateway(Settings(broker.bootstrap_servers, listen=("127.0.0.1", 0), management_listen=("127.0.0.1", 0)))
        task = asyncio.create_task(made.run())
        await eventually(lambda: made.problems() == [])
        try:
            yield made
        finally:
            made.stop(patient=False)
            await task
