"""What every MetricStore must do: the HPA is served what was published last, and nothing of what was withdrawn."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from activator.core.model import TargetRef
from activator.ports import MetricSample
from activator.web import selector
from activator.web.metric_store import InMemoryMetricStore

ORDERS = TargetRef("shop", "Deployment", "orders")
MAIL = TargetRef("shop", "Deployment", "mail")
AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ALL = selector.Selector()


def sample(
    value: int | None, *, target: str = "orders", name: str = "s0-kafka-Pizza", namespace: str = "shop"
) -> MetricSample:
    """Return a sample as the loop would publish it."""
    labels = {"wakegate.dev/target": f"deployment-{target}"}
    return MetricSample(namespace, name, labels, value, "" if value is not None else "no leader", AT)


@pytest.fixture(params=[InMemoryMetricStore])
def store(request: pytest.FixtureRequest) -> InMemoryMetricStore:
    """Return an empty store of each kind."""
    made: InMemoryMetricStore = request.param()
    return made


def test_the_last_published_value_is_found(store: InMemoryMetricStore) -> None:
    """A second publication replaces the first."""
    store.publish(ORDERS, [sample(3)])
    store.publish(ORDERS, [sample(8)])
    assert [found.value for found in store.lookup("shop", "s0-kafka-Pizza", ALL)] == [8]


def test_names_match_whatever_their_case(store: InMemoryMetricStore) -> None:
    """The API server hands on the metric's name as typed: KEDA's users know that case does not matter."""
    store.publish(ORDERS, [sample(3)])
    assert len(store.lookup("shop", "S0-KAFKA-PIZZA", ALL)) == 1


def test_targets_with_the_same_metric_are_told_apart_by_the_selector(store: InMemoryMetricStore) -> None:
    """Two workloads that read one topic have a metric of the same name each."""
    store.publish(ORDERS, [sample(3)])
    store.publish(MAIL, [sample(70, target="mail")])
    wanted = selector.parse("wakegate.dev/target=deployment-mail")
    assert [found.value for found in store.lookup("shop", "s0-kafka-pizza", wanted)] == [70]
    assert sorted(found.value or 0 for found in store.lookup("shop", "s0-kafka-pizza", ALL)) == [3, 70]


def test_another_namespace_sees_nothing(store: InMemoryMetricStore) -> None:
    """A namespace is a boundary."""
    store.publish(ORDERS, [sample(3)])
    assert store.lookup("bank", "s0-kafka-pizza", ALL) == ()


def test_publishing_replaces_all_samples_of_a_target(store: InMemoryMetricStore) -> None:
    """A trigger that is configured no more leaves no value behind."""
    store.publish(ORDERS, [sample(3), sample(4, name="s1-kafka-mail")])
    store.publish(ORDERS, [sample(5, name="s1-kafka-mail")])
    assert store.lookup("shop", "s0-kafka-pizza", ALL) == ()
    assert [found.value for found in store.lookup("shop", "s1-kafka-mail", ALL)] == [5]


def test_a_withdrawn_target_is_gone_and_others_stay(store: InMemoryMetricStore) -> None:
    """Withdrawing touches one target, and twice is as good as once."""
    store.publish(ORDERS, [sample(3)])
    store.publish(MAIL, [sample(70, target="mail")])
    store.withdraw(ORDERS)
    store.withdraw(ORDERS)
    assert [found.value for found in store.lookup("shop", "s0-kafka-pizza", ALL)] == [70]


def test_an_unreadable_sample_is_kept_as_unreadable(store: InMemoryMetricStore) -> None:
    """Unknown is a value: it is found, and is not zero."""
    store.publish(ORDERS, [sample(None)])
    assert [found.value for found in store.lookup("shop", "s0-kafka-pizza", ALL)] == [None]
