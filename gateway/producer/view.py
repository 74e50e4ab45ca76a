"""Brokers, topics and leaders, as the metadata last said. Pure.

A topic counts as missing only when it was answered so twice in a row: a broker that has just started may not know all
topics yet, and a client that gets a 404 does not try again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from activator.kafka.connection import Address
from gateway.producer.outcome import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

_NONE: Final = 0
_MISSING: Final = frozenset({3, 17})  # UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION
_TOPIC_AUTHORIZATION_FAILED: Final = 29
NO_LEADER: Final = -1
_MISSES: Final = 2
_REMEMBERED_FAILURES: Final = 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that exists."""

    leaders: tuple[int, ...]
    """Node id of the leader by partition; `NO_LEADER`: it has none just now."""


class ClusterView:
    """What is known of a cluster."""

    def __init__(self, failure_seconds: float) -> None:
        self.brokers: dict[int, Address] = {}
        self.topics: dict[str, Topic] = {}
        self._failure_seconds = failure_seconds
        self._failures: OrderedDict[str, tuple[Failure, float]] = OrderedDict()
        self._misses: dict[str, int] = {}

    def find(self, topic: str, now: float) -> Topic | Failure | None:
        """Return a topic, or why it cannot be written to; None: it has to be asked for.

        That a topic is missing is remembered for a moment only, but for any number of requests.
        """
        found = self.topics.get(topic)
        if found is not None:
            return found
        failure, until = self._failures.get(topic, (None, 0.0))
        return failure if now < until else None

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the leader's node id; None: the partition does not exist, as far as is known."""
        found = self.topics.get(topic)
        return found.leaders[partition] if found is not None and partition < len(found.leaders) else None

    def apply(self, brokers: Iterable[Any], topics: Iterable[Any], now: float) -> None:
        """Take a Metadata answer (v1 to v5: only their common fields are looked at).

        Args:
            brokers: (node id, host, port, ...) each.
            topics: (error code, name, is internal, partitions) each; a partition: (error code, id, leader, ...).
            now: the monotonic clock, in seconds.
        """
        self.brokers = {node_id: Address(host, port) for node_id, host, port, *_ in brokers}
        for code, name, _, partitions in topics:
            if code == _NONE:
                self.topics[name] = _topic(partitions)
                self._failures.pop(name, None)
                self._misses.pop(name, None)
            elif code in _MISSING:
                self._miss(name, now)
            elif code == _TOPIC_AUTHORIZATION_FAILED:
                self._fail(name, Failure(Reason.DENIED, f"Kafka does not let the gateway see topic {name}"), now)
            # Else LEADER_NOT_AVAILABLE and the like: it exists, or will; what was known of it stays.

    def unsettled(self) -> set[str]:
        """Return the topics that were missing once and have to be asked for again."""
        return set(self._misses)

    def _miss(self, name: str, now: float) -> None:
        misses = self._misses.pop(name, 0) + 1
        if misses < _MISSES:
            self._misses[name] = misses
        else:
            self._fail(name, Failure(Reason.TOPIC_MISSING, f"topic {name} does not exist, and is not created"), now)

    def _fail(self, name: str, failure: Failure, now: float) -> None:
        self.topics.pop(name, None)
        self._misses.pop(name, None)
        self._failures[name] = (failure, now + self._failure_seconds)
        self._failures.move_to_end(name)
        while len(self._failures) > _REMEMBERED_FAILURES:
            self._failures.popitem(last=False)


def _topic(partitions: Iterable[Any]) -> Topic:
    leaders = {partition: leader for _, partition, leader, *_ in partitions}
    return Topic(tuple(leaders.get(partition, NO_LEADER) for partition in range(max(leaders, default=-1) + 1)))
