"""An embedded broker to mistreat, and the client, reader and tail on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.core.model import Cluster
from activator.kafka import connection
from activator.kafka.client import Connections
from activator.local.broker.server import EmbeddedBroker
from tests.contracts.kafka_fixtures import short_looks, utc_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["short_looks"]


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    """Run an embedded broker."""
    async with EmbeddedBroker(now=utc_now) as running:
        yield running


@pytest.fixture
def cluster(broker: EmbeddedBroker) -> Cluster:
    """Name the embedded broker as targets do."""
    return Cluster(broker.bootstrap_servers)


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    """Make connections that are closed in the end and wait only briefly for an answer."""
    made = Connections(request_seconds=0.5)
    yield made
    await made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than in production: the first handshakes of a broker take seconds on a busy machine.

    What is asked here is who gets in, not how soon.
    """
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 30.0)
