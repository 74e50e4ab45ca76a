"""The in-memory store keeps nothing of what is gone; its behaviour is in tests/contracts/test_metric_store.py."""

from __future__ import annotations

from datetime import UTC, datetime

from activator.core.model import TargetRef
from activator.ports import MetricSample
from activator.web.metric_store import InMemoryMetricStore


def test_nothing_is_left_after_all_targets_have_come_and_gone() -> None:
    """Targets come and go for months: the index must not grow with those that are gone."""
    store = InMemoryMetricStore()
    at = datetime(2026, 1, 5, tzinfo=UTC)
    for number in range(100):
        ref = TargetRef("shop", "Deployment", f"d{number}")
        store.publish(ref, [MetricSample("shop", f"s0-kafka-t{number}", {}, 1, "", at)])
        store.withdraw(ref)
    assert store._by_name == {}
    assert store._keys == {}
