"""Brokers, topics and leaders, answer by answer."""

from __future__ import annotations

from typing import Any

from activator.kafka.connection import Address
from gateway.producer.outcome import Failure, Reason
from gateway.producer.view import NO_LEADER, ClusterView, Topic

BROKERS = [(1, "kafka-1", 9092, None), (2, "kafka-2", 9092, None)]
MISSING: list[tuple[Any, ...]] = [(3, "orders", False, [])]


def topic(*leaders: int) -> list[tuple[Any, ...]]:
    """An answer with these leaders."""
    return [(0, "orders", False, [(0, at, leader, [], []) for at, leader in enumerate(leaders)])]


def test_known() -> None:
    """A topic is its leaders by partition, in whatever order they were answered."""
    view = ClusterView(failure_seconds=2)
    view.apply(BROKERS, [(0, "orders", False, [(0, 1, 2, [], []), (5, 0, NO_LEADER, [], [])])], now=0)
    assert view.brokers == {1: Address("kafka-1", 9092), 2: Address("kafka-2", 9092)}
    assert view.find("orders", 0) == Topic((NO_LEADER, 2))
    assert [view.leader("orders", at) for at in (0, 1, 2)] == [NO_LEADER, 2, None]
    assert view.find("else", 0) is None


def test_missing_twice_is_missing() -> None:
    """A broker that has just started may not know a topic: one such answer changes nothing."""
    view = ClusterView(failure_seconds=2)
    view.apply(BROKERS, topic(1), now=0)
    view.apply(BROKERS, MISSING, now=1)
    assert view.find("orders", 1) == Topic((1,))
    assert view.unsettled() == {"orders"}
    view.apply(BROKERS, MISSING, now=2)
    failure = view.find("orders", 2)
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.TOPIC_MISSING
    assert view.unsettled() == set()


def test_missing_once_and_there_again() -> None:
    """Misses count in a row."""
    view = ClusterView(failure_seconds=2)
    for answer in (MISSING, topic(1), MISSING, topic(2)):
        view.apply(BROKERS, answer, now=0)
    assert view.find("orders", 0) == Topic((2,))


def test_missing_is_forgotten() -> None:
    """A topic that was created meanwhile is found after a moment."""
    view = ClusterView(failure_seconds=2)
    view.apply(BROKERS, MISSING, now=0)
    view.apply(BROKERS, MISSING, now=0)
    assert isinstance(view.find("orders", 1.9), Failure)
    assert view.find("orders", 2.0) is None


def test_denied() -> None:
    """A topic that may not be seen is denied, not missing."""
    view = ClusterView(failure_seconds=2)
    view.apply(BROKERS, [(29, "orders", False, [])], now=0)
    failure = view.find("orders", 0)
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.DENIED


def test_election() -> None:
    """A topic whose leader is being elected keeps what was known of it."""
    view = ClusterView(failure_seconds=2)
    view.apply(BROKERS, topic(1), now=0)
    view.apply(BROKERS, [(5, "orders", False, [])], now=1)
    assert view.find("orders", 1) == Topic((1,))


def test_flood_of_names() -> None:
    """Names that do not exist cannot fill the memory."""
    view = ClusterView(failure_seconds=1000)
    names: list[tuple[Any, ...]] = [(3, f"t{at}", False, []) for at in range(3000)]
    view.apply(BROKERS, names, now=0)
    view.apply(BROKERS, names, now=0)
    remembered = [at for at in range(3000) if view.find(f"t{at}", 1) is not None]
    assert len(remembered) == 1000
    assert remembered[-1] == 2999
