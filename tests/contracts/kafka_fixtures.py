"""The worlds that the contract suites of the Kafka ports run on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from activator.kafka import cluster_tail, leaders
from activator.local.broker.config import BrokerConfig
from activator.local.broker.server import EmbeddedBroker
from tests.contracts.kafka_worlds import EmbeddedWorld, FakeWorld, LiveWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.contracts.kafka_worlds import KafkaWorld


def utc_now() -> datetime:
    """Read the clock for the embedded broker's record times."""
    return datetime.now(UTC)  # noqa: TID251 - an adapter's test, in real time


LOOKS_OFTEN = BrokerConfig(offsets_retention_check_interval_ms=50)
ONE_MINUTE = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "500"}
REAL = pytest.param("real", marks=pytest.mark.real)


@pytest.fixture(params=["fake", "embedded", REAL])
async def kafka_world(request: pytest.FixtureRequest, short_looks: None) -> AsyncIterator[KafkaWorld]:  # noqa: ARG001
    """Yield each kind of Kafka."""
    async with _world(request) as world:
        yield world


@pytest.fixture(params=["fake", REAL])
async def transactional_world(request: pytest.FixtureRequest, short_looks: None) -> AsyncIterator[KafkaWorld]:  # noqa: ARG001
    """Yield each kind of Kafka that has transactions; the embedded broker refuses them."""
    async with _world(request) as world:
        yield world


@pytest.fixture(params=["fake", "embedded", REAL])
async def forgetful_world(request: pytest.FixtureRequest, short_looks: None) -> AsyncIterator[KafkaWorld]:  # noqa: ARG001
    """Yield each kind of Kafka, one whose retention of offsets can be waited for."""
    match request.param:
        case "fake":
            yield FakeWorld()
        case "embedded":
            async with (
                EmbeddedBroker(now=utc_now, config=LOOKS_OFTEN) as broker,
                EmbeddedWorld(broker, LOOKS_OFTEN) as world,
            ):
                yield world
        case _:
            kafka = request.getfixturevalue("forgetful_kafka_bootstrap_servers")
            async with LiveWorld(kafka, retention_seconds=60.0) as world:
                yield world


@pytest.fixture
def forgetful_kafka_bootstrap_servers(tmp_path: Path) -> Iterator[str]:
    """Run a real Kafka of its own: retention is a setting of the broker."""
    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is for the real tests alone

    with KafkaCluster(tmp_path, properties=ONE_MINUTE) as kafka:
        yield kafka.bootstrap_servers


@pytest.fixture
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let live tails look around often, so that what takes seconds in production is tested in less."""
    monkeypatch.setattr(leaders, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(cluster_tail, "LOOK_SECONDS", 0.2)


@asynccontextmanager
async def _world(request: pytest.FixtureRequest) -> AsyncIterator[KafkaWorld]:
    match request.param:
        case "fake":
            yield FakeWorld()
        case "embedded":
            async with EmbeddedBroker(now=utc_now) as broker, LiveWorld(broker.bootstrap_servers) as world:
                yield world
        case _:
            async with LiveWorld(request.getfixturevalue("kafka_bootstrap_servers")) as world:
                yield world
