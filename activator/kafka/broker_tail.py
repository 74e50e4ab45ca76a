"""A waiting fetch on one broker: one session, one connection, one request at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from activator.kafka.fetch import Fetch, Fetched, FetchedPartition
from activator.kafka.fetch_session import FetchSession, SessionAnswer
from activator.kafka.pacing import in_turns
from activator.kafka.topology import KAFKA_FAILURES
from activator.kafka.wire import MALFORMED, unreadable

if TYPE_CHECKING:
    from activator.kafka.client import ClusterClient
    from activator.ports import TopicPartition

SESSION_PARTITIONS = 200
"""A broker walks over all partitions of a session whenever it answers, which a record waits for: 1,000 of them cost a
wake 6 ms more than 200, and 6,000 some 60 ms. More sessions cost a request a second each."""
MAX_BYTES = 256 * 1024
PARTITION_MAX_BYTES = 8 * 1024
"""Enough for the first few records; the broker answers the first batch whole in any case."""
ROWS_PER_TURN = 50
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Who is told what a broker says."""

    @property
    def wait_seconds(self) -> float:
        """How long a fetch may wait at the broker. It cannot be changed while it waits: so late a join may be."""

    def fetched(self, broker: BrokerTail, answer: FetchedPartition, asked_from: int) -> None:
        """Take what is new of one partition that is fetched from `asked_from` on, or its error."""

    def lost(self, broker: BrokerTail) -> None:
        """Take note that the broker did not answer; it is asked again after a back-off."""

    def declined(self, broker: BrokerTail) -> None:
        """Take note that the broker keeps no session; the partitions must be taken out."""


class BrokerTail:
    """Fetches what it has been given from one broker; `run` does the work.

    Args:
        client: connections to the cluster.
        node_id: the broker.
        watcher: who is told.
        read_committed: the isolation level of all its fetches.
        number: tells it from others on the same broker, which have other partitions.
    """

    def __init__(
        self, client: ClusterClient, node_id: int, watcher: Watcher, *, read_committed: bool, number: int = 0
    ) -> None:
        self.node_id = node_id
        self.read_committed = read_committed
        self.no_session_before = 0.0
        """Until when the broker is not asked for a session again, in the event loop's time."""
        self._client = client
        self._watcher = watcher
        self._purpose = f"tail{'-committed' if read_committed else ''}-{number}"
        self._session = FetchSession()
        self._given = asyncio.Event()
        self._failures = 0

    def put(self, where: TopicPartition, offset: int) -> None:
        """Fetch a partition from this offset on."""
        self._session.put(where, offset)
        self._given.set()

    def drop(self, where: TopicPartition) -> None:
        """Fetch a partition no more."""
        self._session.drop(where)

    def has_room(self) -> bool:
        """Tell whether more partitions may be put without slowing those that are there."""
        return len(self._session) < SESSION_PARTITIONS

    def partitions(self) -> list[TopicPartition]:
        """List what is fetched."""
        return self._session.partitions()

    async def run(self) -> None:
        """Fetch until cancelled; a broker that does not answer is asked again, ever less often."""
        while True:
            self._given.clear()
            if not len(self._session):
                await self._given.wait()
            try:
                answer = await self._fetch()
            except KAFKA_FAILURES as error:
                if not self._failures:
                    _log.info("the tail lost a broker and tries it again: %s", error)
                self._session.reset()
                self._watcher.lost(self)
                await self._back_off()
                continue
            await self._take(answer)

    async def _fetch(self) -> Fetched:
        wait = self._watcher.wait_seconds
        told = self._session.next_request()
        request = Fetch(
            told.offsets,
            int(wait * 1000),
            MAX_BYTES,
            PARTITION_MAX_BYTES,
            read_committed=self.read_committed,
            session_id=told.session_id,
            session_epoch=told.epoch,
            forgotten=told.forgotten,
        )
        return await self._client.request(self.node_id, request, purpose=self._purpose, waits_seconds=wait)

    async def _take(self, answer: Fetched) -> None:
        outcome = self._session.answered(answer.session_id, lost=bool(answer.error))
        if outcome is SessionAnswer.LOST:
            # Evicted, or the broker was started again: the next request opens another session, at once at first.
            if self._failures:
                await self._back_off()
            self._failures += 1
            return
        try:
            async for row in in_turns(answer.partitions, ROWS_PER_TURN):
                asked_from = self._session.asked_from((row.topic, row.partition))
                if asked_from is not None:
                    self._watcher.fetched(self, row, asked_from)
        except MALFORMED as error:
            _log.warning("%s", unreadable(self._client.place(self.node_id), error))
            self._session.reset()
            await self._back_off()
            return
        self._failures = 0
        if outcome is SessionAnswer.DECLINED:
            self._watcher.declined(self)

    async def _back_off(self) -> None:
        seconds = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(self._failures, 10))
        self._failures += 1
        await asyncio.sleep(seconds)
