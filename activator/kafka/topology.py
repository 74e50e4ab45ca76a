"""Who leads a partition and who coordinates a group, as last told, and asked again when an answer proves it wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from activator.errors import DeniedError, UnavailableError
from activator.kafka.error_codes import explain_group, explain_topic
from activator.kafka.requests import BrokerRow, CoordinatorRow, FindCoordinator, FindCoordinators, Metadata

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from activator.kafka.client import ClusterClient

Item = TypeVar("Item")

MAX_AGE_SECONDS = 30.0
"""Metadata older than this is asked again: a topic may have gained partitions, which no error tells."""
GROUPS_PER_REQUEST = 200
REQUESTS_AT_ONCE = 64
"""One-group requests on the way to one broker, where it does not know the batched ones."""

KAFKA_FAILURES = (UnavailableError, DeniedError)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be read: an error as a value."""

    text: str
    """Kafka's error name, or a clause where there is no such error."""
    code: int = 0
    """Kafka's error code; 0: no answer came."""


@dataclass(frozen=True, slots=True)
class Topic:
    """The leaders of a topic's partitions."""

    leaders: Mapping[int, int]
    """Broker by partition number, `NO_LEADER` where there is none."""
    seen_at: float
    """When it was told, in the event loop's time."""
    topic_id: str | None = None
    """Tells it from another topic of the same name (KIP-516); None: not known."""


class Topology:
    """The topics and groups of one cluster that somebody has asked for."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._topics: dict[str, Topic] = {}
        self._coordinators: dict[str, int] = {}

    async def topics(
        self, names: Collection[str], *, max_age: float = MAX_AGE_SECONDS
    ) -> Mapping[str, Topic | Failure]:
        """Return the leaders of topics; those not known or older than `max_age` seconds are asked for in one request.

        Where nobody answers, what was told before still holds.
        """
        now = asyncio.get_running_loop().time()
        found: dict[str, Topic | Failure] = {name: self._topics[name] for name in names if name in self._topics}
        fresh = {name for name in found if now - self._topics[name].seen_at <= max_age}
        stale = [name for name in names if name not in fresh]
        if stale:
            try:
                found |= await self._ask_topics(stale, now)
            except KAFKA_FAILURES as error:
                found = {name: found.get(name, Failure(str(error))) for name in names}
        return {name: found.get(name, Failure(f"{self._client.where}: topic {name!r}: not answered")) for name in names}

    def forget_topics(self, names: Iterable[str]) -> None:
        """Ask for these topics anew when they are wanted next."""
        for name in names:
            self._topics.pop(name, None)

    async def coordinators(self, groups: Collection[str]) -> Mapping[str, int | Failure]:
        """Return the coordinator of each group; those not known are asked for, 200 a request."""
        found: dict[str, int | Failure] = {}
        unknown = []
        for group in groups:
            if (node := self._coordinators.get(group)) is None:
                unknown.append(group)
            else:
                found[group] = node
        for batch in batched(unknown, GROUPS_PER_REQUEST):
            found |= await self._ask_coordinators(batch)
        return found

    def forget_coordinators(self, groups: Iterable[str]) -> None:
        """Ask for the coordinators of these groups anew when they are wanted next."""
        for group in groups:
            self._coordinators.pop(group, None)

    async def _ask_topics(self, names: Sequence[str], now: float) -> Mapping[str, Topic | Failure]:
        where = self._client.where
        brokers: list[BrokerRow] = []
        found: dict[str, Topic | Failure] = {}
        for row in await self._client.rows_of_any(Metadata(names)):
            if isinstance(row, BrokerRow):
                brokers.append(row)
            elif row.error:
                self._topics.pop(row.topic, None)
                found[row.topic] = Failure(explain_topic(row.error, row.topic, where), row.error)
            else:
                found[row.topic] = self._topics[row.topic] = Topic(row.leaders, now, row.topic_id)
        self._client.learn_all(brokers)
        return found

    async def _ask_coordinators(self, groups: Sequence[str]) -> Mapping[str, int | Failure]:
        where = self._client.where
        try:
            if await self._client.any_offers(FindCoordinators):
                rows = await self._client.rows_of_any(FindCoordinators(groups))
            else:
                rows = await self._ask_one_by_one(groups)
        except KAFKA_FAILURES as error:
            return dict.fromkeys(groups, Failure(str(error)))
        found: dict[str, int | Failure] = {}
        for row in rows:
            if row.error:
                found[row.group] = Failure(explain_group(row.error, row.group, where), row.error)
            else:
                self._client.learn(row.broker)
                found[row.group] = self._coordinators[row.group] = row.broker.node_id
        return found

    async def _ask_one_by_one(self, groups: Sequence[str]) -> list[CoordinatorRow]:
        limit = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def ask(group: str) -> list[CoordinatorRow]:
            async with limit:
                return await self._client.rows_of_any(FindCoordinator(group))

        return [row for rows in await asyncio.gather(*map(ask, groups)) for row in rows]


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces of at most `size` (itertools.batched is there from Python 3.12 on)."""
    return (items[start : start + size] for start in range(0, len(items), size))
