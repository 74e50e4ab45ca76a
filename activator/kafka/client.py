"""Connections to the brokers of a cluster: one a broker and purpose, made when needed, with a deadline on every call.

Built on aiokafka's connection (framing, TLS, SASL, version negotiation) and not on its `AIOKafkaClient`, which asks
for the metadata of all topics in the background, holds one connect lock over all brokers (so that one black-holed
broker delays the others), and may create topics by asking for them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from activator.errors import DeniedError, UnavailableError
from activator.kafka.connection import Address, bootstrap_addresses, no_credentials, open_connection
from activator.kafka.pacing import in_turns
from activator.kafka.wire import MALFORMED, Frame, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from activator.core.model import Cluster
    from activator.kafka.connection import BrokerConnection, Credentials, SecurityOptions
    from activator.kafka.requests import BrokerRow
    from activator.kafka.wire import KafkaRequest

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Row = TypeVar("Row")

LAG = "lag"
"""Purpose of the connections for short questions. A broker serves the requests of one connection in turn, so each
waiting fetch has a connection, and so a purpose, of its own."""

ROWS_PER_TURN = 500
"""Rows decoded before the event loop is given up: some 2 ms of work."""
REQUEST_SECONDS = 4.0
"""How long a broker may take to answer, unless the request itself waits for records."""
ANY_BROKER_SECONDS = 5.0
"""How long to look for a broker that answers at all."""
FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 3.0
DENIED_BACKOFF_SECONDS = 10.0
CLOSE_SECONDS = 2.0


@dataclass
class _Link:
    """One broker's connection for one purpose, and how it fared."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: BrokerConnection | None = None
    security: SecurityOptions | None = None
    """What the connection was made with, or was tried with."""
    rotated: bool = False
    """These are not the first, and no connection has been made with them yet."""
    failures: int = 0
    retry_at: float = 0.0
    problem: UnavailableError | DeniedError | None = None

    def renew(self, security: SecurityOptions) -> None:
        """Take other credentials: what the old ones met says nothing of these."""
        self.rotated = self.security is not None
        if self.connection is not None:
            self.connection.retire()
        self.connection, self.security = None, security
        self.answered()

    def usable(self) -> BrokerConnection | None:
        """Return the connection where it may be used; one whose token is near its end is left to what is on it."""
        if self.connection is None or not self.connection.is_open():
            return None
        if not self.connection.is_fresh():
            self.connection.retire()
            self.connection = None
        return self.connection

    def check(self) -> None:
        """Raise the last problem again while its back-off lasts, so that one dead broker costs one deadline a read."""
        if self.problem is not None and asyncio.get_running_loop().time() < self.retry_at:
            if isinstance(self.problem, DeniedError):
                raise DeniedError(str(self.problem))
            raise UnavailableError(self.problem.where, self.problem.what)

    def failed(self, problem: UnavailableError | DeniedError) -> None:
        """Begin a back-off, twice as long as the last; long at once where the credentials were refused."""
        longest = DENIED_BACKOFF_SECONDS if isinstance(problem, DeniedError) else MAX_BACKOFF_SECONDS
        first = longest if isinstance(problem, DeniedError) else FIRST_BACKOFF_SECONDS
        backoff = min(longest, first * 2 ** min(self.failures, 10))
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries of many clients, guards nothing
        self.retry_at = asyncio.get_running_loop().time() + backoff * spread
        self.failures, self.problem = self.failures + 1, problem

    def answered(self) -> None:
        """The broker is well."""
        self.failures, self.problem = 0, None


class ClusterClient:
    """All connections to one cluster with one set of credentials."""

    def __init__(
        self,
        cluster: Cluster,
        credentials: Credentials = no_credentials,
        *,
        client_id: str = "wakegate",
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.cluster = cluster
        self.where = f"Kafka {cluster.bootstrap_servers}"
        self.requests_sent = 0
        self._credentials = credentials
        self._client_id = client_id
        self._request_seconds = request_seconds
        self._addresses: dict[int, Address] = {}
        self._links: dict[tuple[Address, str], _Link] = {}
        self._decoding = asyncio.Lock()
        self._encoding = asyncio.Lock()

    def place(self, node_id: int) -> str:
        """Name a broker as errors do."""
        address = self._addresses.get(node_id)
        return f"Kafka {address}" if address else f"{self.where}, broker {node_id}"

    def learn(self, broker: BrokerRow) -> None:
        """Take the address of one broker from an answer that names it."""
        self._addresses[broker.node_id] = Address(broker.host, broker.port)

    def learn_all(self, brokers: Iterable[BrokerRow]) -> None:
        """Take the addresses of all brokers there are, and close the connections to any other (bootstrap servers)."""
        self._addresses = {broker.node_id: Address(broker.host, broker.port) for broker in brokers}
        for key in [key for key in self._links if key[0] not in self._addresses.values()]:
            if (connection := self._links.pop(key).connection) is not None:
                connection.close()

    async def request(
        self,
        node_id: int,
        request: KafkaRequest[Answer],
        *,
        purpose: str = LAG,
        waits_seconds: float = 0.0,
        not_after: float = math.inf,
    ) -> Answer:
        """Ask one broker. Raises UnavailableError, DeniedError.

        Args:
            node_id: the broker, as metadata or a coordinator look-up told.
            request: what to ask.
            purpose: which of the connections to the broker to use.
            waits_seconds: how long the request itself tells the broker to wait.
            not_after: the time of the event loop after which it is not sent any more, but refused.
        """
        seconds = self._request_seconds + waits_seconds
        return await self._ask(self._address(node_id), request, purpose, seconds, not_after)

    async def rows(
        self, node_id: int, request: KafkaRequest[Iterator[Row]], *, purpose: str = LAG, not_after: float = math.inf
    ) -> list[Row]:
        """Ask one broker, encoding and decoding gently. Raises UnavailableError, DeniedError."""
        async with self._encoding:  # whoever waits here goes on in a turn of the loop of its own
            await asyncio.sleep(0)
        return await self._decoded(
            await self.request(node_id, request, purpose=purpose, not_after=not_after), self.place(node_id)
        )

    async def rows_of_any(self, request: KafkaRequest[Iterator[Row]]) -> list[Row]:
        """Ask whichever broker answers, known ones before those of the bootstrap list, and decode gently.

        Raises UnavailableError, DeniedError.
        """
        problem: UnavailableError | DeniedError | None = None
        try:
            async with asyncio.timeout(ANY_BROKER_SECONDS):
                for address in self._candidates():
                    try:
                        answer = await self._ask(address, request, LAG, self._request_seconds)
                        return await self._decoded(answer, f"Kafka {address}")
                    except (UnavailableError, DeniedError) as error:
                        problem = error
        except TimeoutError:
            problem = self._nobody_answers()
        raise problem or UnavailableError(self.where, "names no broker")

    async def _decoded(self, answer: Iterator[Row], where: str) -> list[Row]:
        """Decode in turns, and one answer at a time: a turn of each of ten answers would be a long turn again."""
        async with self._decoding:
            try:
                return [row async for row in in_turns(answer, ROWS_PER_TURN)]
            except MALFORMED as error:
                raise unreadable(where, error) from error

    async def offers(self, node_id: int, request: type[KafkaRequest[Answer]], *, purpose: str = LAG) -> bool:
        """Tell whether a broker offers a version of a request that we speak. Raises as `request` does."""
        connection, _ = await self._connected(self._address(node_id), purpose)
        return connection.version_of(request.API_KEY, request.VERSIONS) is not None

    async def any_offers(self, request: type[KafkaRequest[Answer]]) -> bool:
        """Tell whether the broker that `rows_of_any` would ask offers a request; False: all of them are known to fail.

        Raises UnavailableError where none answers in time.
        """
        try:
            async with asyncio.timeout(ANY_BROKER_SECONDS):
                for address in self._candidates():
                    try:
                        connection, _ = await self._connected(address, LAG)
                    except (UnavailableError, DeniedError):
                        continue
                    return connection.version_of(request.API_KEY, request.VERSIONS) is not None
        except TimeoutError:
            raise self._nobody_answers() from None
        return False

    async def close(self) -> None:
        """Close every connection."""
        links, self._links = list(self._links.values()), {}
        connections = [link.connection for link in links if link.connection is not None]
        if closing := [closed for connection in connections if (closed := connection.close()) is not None]:
            await asyncio.wait(closing, timeout=CLOSE_SECONDS)

    def connections(self) -> int:
        """Count the open connections."""
        return sum(link.connection is not None and link.connection.is_open() for link in self._links.values())

    def _nobody_answers(self) -> UnavailableError:
        return UnavailableError(self.where, f"no broker answered within {ANY_BROKER_SECONDS:g} s")

    def _address(self, node_id: int) -> Address:
        address = self._addresses.get(node_id)
        if address is None:
            raise UnavailableError(self.where, f"broker {node_id} is not among the brokers just now")
        return address

    def _candidates(self) -> list[Address]:
        known = list(self._addresses.values())
        # A broker that is connected and well answers at once; one in its back-off is asked last.
        known.sort(key=lambda address: self._link(address, LAG).failures)
        return [*known, *(address for address in bootstrap_addresses(self.cluster) if address not in known)]

    def _link(self, address: Address, purpose: str) -> _Link:
        return self._links.setdefault((address, purpose), _Link())

    async def _ask(
        self,
        address: Address,
        request: KafkaRequest[Answer],
        purpose: str,
        seconds: float,
        not_after: float = math.inf,
    ) -> Answer:
        connection, fresh = await self._connected(address, purpose)
        link = self._link(address, purpose)
        try:
            try:
                answer = await self._send(connection, request, seconds, not_after)
            except UnavailableError as error:
                if fresh or connection.is_open() or isinstance(error.__cause__, TimeoutError):
                    raise
                # The broker may have closed it long ago, which tells nothing about the broker now.
                connection, _ = await self._connected(address, purpose)
                answer = await self._send(connection, request, seconds, not_after)
        except UnavailableError as error:
            # An open one: only this request cannot be asked here. Another one: many requests were on the way when it
            # broke, and the first of them has counted it.
            if link.connection is connection and not connection.is_open():
                link.connection = None
                link.failed(error)
            raise
        link.answered()
        return answer

    async def _send(
        self, connection: BrokerConnection, request: KafkaRequest[Answer], seconds: float, not_after: float
    ) -> Answer:
        version = connection.version_of(request.API_KEY, request.VERSIONS)
        if version is None:
            spoken = " or ".join(f"v{version}" for version in request.VERSIONS)
            raise UnavailableError(f"Kafka {connection.address}", f"does not offer {type(request).__name__} {spoken}")
        if asyncio.get_running_loop().time() > not_after:
            raise UnavailableError(f"Kafka {connection.address}", f"was not sent {type(request).__name__}: too late")
        self.requests_sent += 1
        body = await connection.send(Frame(request, version), seconds=seconds)
        try:
            return request.decode(body, version)
        except MALFORMED as error:
            raise unreadable(f"Kafka {connection.address}", error) from error

    async def _connected(self, address: Address, purpose: str) -> tuple[BrokerConnection, bool]:
        """Return an open connection and whether it was opened just now."""
        link = self._link(address, purpose)
        async with link.lock:
            security = self._credentials(self.cluster)
            if security != link.security:
                link.renew(security)
            if (connection := link.usable()) is not None:
                return connection, False
            link.check()
            try:
                link.connection = await open_connection(
                    address,
                    security,
                    client_id=f"{self._client_id}-{purpose}",
                )
            except (UnavailableError, DeniedError) as error:
                link.failed(error)
                raise
            if link.rotated:  # the broker has answered, and so taken them: by this line a rotation is known to be over
                link.rotated = False
                _log.info("Kafka %s, %s: connected with the new credentials", address, purpose)
            self._links[address, purpose] = link  # another answer may have dropped it meanwhile: it must be closed once
            return link.connection, True


class Connections:
    """The clients of all clusters, one a cluster and credential.

    Args:
        credentials: how to prove who we are to a cluster, asked at every request.
        client_id: how brokers' logs and metrics name us, with the connection's purpose behind it.
        request_seconds: a broker's deadline for one answer.
    """

    def __init__(
        self,
        credentials: Credentials = no_credentials,
        *,
        client_id: str = "wakegate",
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._make = partial(ClusterClient, client_id=client_id, request_seconds=request_seconds)
        self._credentials = credentials
        self._clients: dict[Cluster, ClusterClient] = {}

    def client(self, cluster: Cluster) -> ClusterClient:
        """Return the client of a cluster; it connects when it is first asked something."""
        if cluster not in self._clients:
            self._clients[cluster] = self._make(cluster, self._credentials)
        return self._clients[cluster]

    async def close(self) -> None:
        """Close every connection to every cluster."""
        clients, self._clients = list(self._clients.values()), {}
        await asyncio.gather(*(client.close() for client in clients))
