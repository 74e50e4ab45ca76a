"""The two brokers that must answer alike: the embedded one, and a real Kafka of the testbed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from activator.local.broker.config import BrokerConfig
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance.broker_thread import BrokerThread
from tests.conformance.raw_client import RawClient
from tests.conformance.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.local.broker.protocol import Body

MIN_SESSION_TIMEOUT_MS = 1_000
NO_RETENTION_CHECK_MS = 86_400_000
"""The records of the suite are from 2001, and must be there until a case has read them: nobody looks at their age.

Kafka looks for the first time 30 s after its start, in the middle of the suite, and takes away all that it finds.
"""

_STARTING = {
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
}
_READY_SECONDS = 60.0


@pytest.fixture(scope="session", params=["embedded", pytest.param("real", marks=pytest.mark.real)])
def bootstrap_servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker that is ready for groups and producers."""
    if request.param == "embedded":
        config = BrokerConfig(
            group_min_session_timeout_ms=MIN_SESSION_TIMEOUT_MS,
            retention_check_interval_ms=NO_RETENTION_CHECK_MS,
        )
        with BrokerThread(config) as broker:
            yield broker.bootstrap_servers
    else:
        from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the real parts are started only where asked for

        properties = {
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": str(MIN_SESSION_TIMEOUT_MS),
            "offsets.topic.num.partitions": "1",
            "log.initial.task.delay.ms": str(NO_RETENTION_CHECK_MS),
        }
        with KafkaCluster(tmp_path_factory.mktemp("kafka"), properties=properties) as kafka:
            _wait_for_coordinators(kafka.bootstrap_servers)
            yield kafka.bootstrap_servers


@pytest.fixture
def world(bootstrap_servers: str) -> Iterator[World]:
    """A topic with a few records and a group name that nobody else uses."""
    with RawClient(bootstrap_servers) as client:
        yield World(bootstrap_servers, client)


def _wait_for_coordinators(bootstrap_servers: str) -> None:
    """A Kafka that has just started answers groups and producers with retriable errors."""
    deadline = time.monotonic() + _READY_SECONDS
    questions: list[tuple[ApiKey, int, Body]] = [
        (ApiKey.FIND_COORDINATOR, 2, {"key": "any", "key_type": 0}),
        (ApiKey.OFFSET_FETCH, 5, {"group_id": "any", "topics": None}),
        (ApiKey.INIT_PRODUCER_ID, 1, {"transactional_id": None, "transaction_timeout_ms": 1000}),
    ]
    with RawClient(bootstrap_servers) as client:
        for api, version, body in questions:
            while client.call(api, version, body)["error_code"] in _STARTING:
                assert time.monotonic() < deadline, f"{api.name} is not ready"
                time.sleep(0.1)
