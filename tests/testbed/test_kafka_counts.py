"""A broker's own counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.errors import PartFailedError
from testbed.kafka import KafkaCluster
from testbed.kafka_counts import requests_answered

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.real
def test_what_a_client_asks_is_counted(tmp_path: Path) -> None:
    """Ten commits are ten OffsetCommit more; a broker that is gone is told of as such."""
    with KafkaCluster(tmp_path) as cluster:
        cluster.create_topic("orders")
        cluster.commit("workers", {("orders", 0): 0})
        broker = cluster.node(1).pid
        assert broker
        before = requests_answered(broker)
        for offset in range(10):
            cluster.commit("workers", {("orders", 0): offset})
        assert requests_answered(broker)["OffsetCommit"] == before["OffsetCommit"] + 10
        cluster.kill()
        with pytest.raises(PartFailedError, match=f"process id {broker}: "):
            requests_answered(broker)
