"""What every suite may use: started once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.kafka import KafkaCluster

HASTY = {"log.cleaner.backoff.ms": "200", "offsets.retention.check.interval.ms": "500"}
"""What Kafka does now and then, in tests it does at once."""

# How long an example takes says more of the machine and its other work than of what is tested.
settings.register_profile(
    "any-machine",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A real one-node Kafka, shared by all tests that make topics of their own."""
    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is for the real tests alone

    with KafkaCluster(tmp_path_factory.mktemp("kafka"), properties=HASTY) as running:
        yield running


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(kafka: KafkaCluster) -> str:
    """Its addresses."""
    return kafka.bootstrap_servers
