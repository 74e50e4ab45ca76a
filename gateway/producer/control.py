"""One connection to any broker, for what a producer asks besides producing: metadata and producer ids.

It has a connection of its own because Kafka serves one request a connection at a time: behind a Produce that waits for
its replicas, the metadata that says where the leader went would wait too.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from activator.errors import DeniedError, UnavailableError, WakegateError
from activator.kafka.connection import open_connection
from gateway.producer import requests
from gateway.producer.lane import Identity
from gateway.producer.outcome import FAILURES
from gateway.producer.view import ClusterView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from activator.kafka.connection import Address, BrokerConnection, SecurityOptions

log = logging.getLogger(__name__)

PING_SECONDS: Final = 2.0
"""How often a broker is asked for a sign of life while nothing else is asked."""
REFRESH_SECONDS: Final = 60.0
"""How often all topics in use are read again, so that added partitions are found."""
_REQUEST_SECONDS: Final = 2.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_CALM_SECONDS: Final = 2.0
_DENIED: Final = frozenset({31, 53})  # CLUSTER_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED
FAILURE_SECONDS: Final = 2.0
"""How long it is remembered that a topic is missing: shields Kafka from floods, hides a created topic for a moment."""


class WithoutIdentity(NamedTuple):
    """That Kafka gives out no producer id."""

    why: str
    since: float
    """On the monotonic clock, in seconds."""


class Control:
    """Keeps the view of the cluster and the identity fresh.

    Args:
        bootstrap: where to begin.
        security: how to prove who we are; asked at each connect, so that rotated secrets are taken up.
        client_id: our name in the brokers' logs and quotas.
        changed: called after each successful answer.
    """

    def __init__(
        self,
        bootstrap: Iterable[Address],
        security: Callable[[], SecurityOptions],
        client_id: str,
        changed: Callable[[], None],
    ) -> None:
        self.view = ClusterView(FAILURE_SECONDS)
        self.identity: Identity | None = None
        self.problem: str | None = "Kafka has not answered yet"
        """Why nothing can be sent; None: the last look went well."""
        self.down_since: float | None = None
        """When all brokers were first found unreachable, on the monotonic clock; None: one answers."""
        self.without_identity: WithoutIdentity | None = None
        """Why, and since when, no other producer id is had, where there was one before."""
        self._bootstrap = tuple(bootstrap)
        self._security = security
        self._client_id = client_id
        self._changed = changed
        self._connection: BrokerConnection | None = None
        self._wanted: set[str] = set()
        self._asked: set[str] = set()
        """What the last answer was about: who wants that again is asked for after a moment."""
        self._refresh = False
        self._wake = asyncio.Event()
        self._next_address = 0
        self._failed_in_a_row = 0
        self._identified = False
        """Whether there has been an identity: from then on the lack of the next one concerns those that need it."""
        self._asked_at = 0.0
        self._refreshed_at = 0.0
        self._refresh_pause = _FIRST_PAUSE

    def want_topic(self, topic: str) -> None:
        """Ask for a topic that is not known yet; many wants become one request."""
        if topic not in self.view.unsettled():  # that is asked for again already, after a moment
            self._wanted.add(topic)
            self._wake.set()

    def want_refresh(self) -> None:
        """Ask for all topics in use: a leader is not where it was."""
        self._refresh = True
        self._wake.set()

    def renounce(self, identity: Identity) -> None:
        """Ask for a new identity, because Kafka takes nothing more from this one."""
        if self.identity == identity:
            self.identity = None
            self._wake.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        self.down_since = loop.time()
        pause = _FIRST_PAUSE
        try:
            while True:
                self._wake.clear()
                wait = self._due(loop.time())
                if wait > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._wake.wait()
                    continue
                began = loop.time()
                try:
                    await self._ask(began)
                    pause = _FIRST_PAUSE
                except FAILURES as error:
                    self._failed(error, began)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            self._drop()

    def _due(self, now: float) -> float:
        """Return in how many seconds the next request is due."""
        if self.identity is None or self._wanted - self._asked:
            return 0.0
        due = self._asked_at + (_FIRST_PAUSE if self._wanted or self.view.unsettled() else PING_SECONDS)
        if self._refresh:
            due = min(due, self._refreshed_at + self._refresh_pause)
        return max(0.0, due - now)

    async def _ask(self, now: float) -> None:
        connection = await self._connected()
        await self._look(connection, now)
        if self.identity is None:
            if self._identified:  # partitions that have an identity of their own go on, whatever comes of this
                self._is_well()
            await self._renew(connection)
        self._is_well()

    async def _look(self, connection: BrokerConnection, now: float) -> None:
        wanted, refresh = self._wanted | self.view.unsettled(), self._refresh_due(now)
        self._wanted = set()
        topics = wanted | set(self.view.topics) if refresh else wanted
        try:
            answer = await connection.send(requests.metadata(topics), seconds=_REQUEST_SECONDS)
        except UnavailableError:
            self._wanted |= wanted
            raise
        if refresh:
            self._refreshed(now)
        self._asked, self._asked_at = topics, asyncio.get_running_loop().time()
        self.view.apply(answer.brokers, answer.topics, self._asked_at)

    def _is_well(self) -> None:
        self._failed_in_a_row, self.problem, self.down_since = 0, None, None
        self._changed()

    def _refresh_due(self, now: float) -> bool:
        wait = self._refresh_pause if self._refresh else REFRESH_SECONDS
        return now - self._refreshed_at >= wait

    def _refreshed(self, now: float) -> None:
        """Note a refresh; an election takes a while, so who asks again and again is answered less and less often."""
        calm = now - self._refreshed_at > _CALM_SECONDS
        self._refresh_pause = _FIRST_PAUSE if calm else min(self._refresh_pause * 2, _LONGEST_PAUSE)
        self._refresh, self._refreshed_at = False, now

    async def _renew(self, connection: BrokerConnection) -> None:
        answer = await connection.send(requests.InitProducerId(), seconds=_REQUEST_SECONDS)
        if answer.error_code in _DENIED:
            raise DeniedError("Kafka gives no producer id: before 3.0 it asks for IDEMPOTENT_WRITE on the cluster")
        if answer.error_code:
            raise UnavailableError(f"Kafka {connection.address}", f"no producer id: error code {answer.error_code}")
        self.identity, self._identified = Identity(answer.producer_id, answer.producer_epoch), True
        self.without_identity = None
        log.info("Kafka gave producer id %d, epoch %d", answer.producer_id, answer.producer_epoch)

    async def _connected(self) -> BrokerConnection:
        if self._connection is None or not self._connection.is_open():
            self._drop()
            address = self._addresses()[self._next_address % len(self._addresses())]
            self._connection = await open_connection(address, self._security(), client_id=self._client_id)
        return self._connection

    def _addresses(self) -> list[Address]:
        """Brokers as last known, then where we began: a cluster may have moved as a whole."""
        return list(dict.fromkeys((*self.view.brokers.values(), *self._bootstrap)))

    def _failed(self, error: WakegateError, began: float) -> None:
        self._drop()
        self._next_address += 1
        if self._identified and self._asked_at > began:  # it answers, and gives out no other producer id just now
            if self.without_identity is None:
                log.warning("Kafka gives no new producer id: %s; asking on", error)
                self.without_identity = WithoutIdentity(str(error), asyncio.get_running_loop().time())
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row == len(self._addresses()):
            log.warning("Kafka cannot be reached: %s; asking on", error)
        if self._failed_in_a_row >= len(self._addresses()):
            self.problem = str(error)
            if self.down_since is None:
                self.down_since = asyncio.get_running_loop().time()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
