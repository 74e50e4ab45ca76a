"""One listening socket with limits: how many connections, how much they may send, how long they may take.

What is served on it does not belong here.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD

from activator.errors import UnavailableError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Problem = Callable[[int, str], web.Response]
    """Says an HTTP status and a sentence in the words of the API that is served."""

log = logging.getLogger(__name__)

BODY_BYTES = 64 * 1024
"""Largest request body; a push of a thousand topics fits."""
_HEAD_BYTES = 64 * 1024
"""Most of a request's headers in all: aiohttp would keep a MiB of each connection that does not end them."""
_MAX_CONNECTIONS = 512
_IDLE_SECONDS = 75.0
"""How long a connection may sit without a complete request: also what ends one that sends its headers byte by byte.
Longer than the 15 s between two looks of an HPA, so that the aggregator keeps its connection."""
_REQUEST_SECONDS = 10.0
_HANDSHAKE_SECONDS = 10.0
_RESPONSE_SECONDS = 30.0
"""How long a client may take to read an answer."""
_CLOSE_SECONDS = 2.0


class Listener:
    """Serves one aiohttp application on one address until closed.

    Raises:
        UnavailableError: from `start`, where the address cannot be had.
    """

    def __init__(
        self,
        app: web.Application,
        address: tuple[str, int],
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = _MAX_CONNECTIONS,
    ) -> None:
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=_IDLE_SECONDS, shutdown_timeout=_CLOSE_SECONDS
        )
        self._host, self._port = address
        self._ssl_context = ssl_context
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._awaited: dict[_Connection, asyncio.TimerHandle] = {}
        self._closed = False

    @property
    def port(self) -> int:
        """The port that is listened on: the one asked for, or the free one that was taken for 0."""
        if self._server is not None and self._server.sockets:
            return int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._connection,
                self._host,
                self._port,
                reuse_address=True,
                ssl=self._ssl_context,
                ssl_handshake_timeout=None if self._ssl_context is None else _HANDSHAKE_SECONDS,
            )
        except OSError as error:
            await self._runner.cleanup()
            what = error.strerror or str(error)
            raise UnavailableError(f"listener {self._host}:{self._port}", f"cannot listen there: {what}") from error

    async def close(self) -> None:
        """Accept nothing more, let requests under way end within two seconds, and close."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def drop_connections(self) -> None:
        """Close each connection once its present request is answered; clients come back over new ones."""
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                if isinstance(connection, _Connection):
                    connection.retire()

    def _connection(self) -> asyncio.Protocol:
        server, loop = self._runner.server, asyncio.get_running_loop()
        if server is None or len(server.connections) + len(self._awaited) >= self._max_connections:
            if self._ssl_context is not None:
                # Nothing is logged, and the socket goes with its last reference. A protocol would be told once TLS is
                # agreed on, and asyncio keeps 256 KiB for each client that does not get there.
                raise ConnectionRefusedError(f"{self._max_connections} connections are open")
            return _Refusal()
        connection = _Connection(
            server,
            lambda: self._closed,
            self._begun,
            loop=loop,
            keepalive_timeout=_IDLE_SECONDS,
            access_log=None,  # None switches it off, as aiohttp's own runner does
        )
        # It counts from here on. Of a handshake that fails nobody is told: it counts until it would have to be over.
        self._awaited[connection] = loop.call_later(_HANDSHAKE_SECONDS, self._awaited.pop, connection, None)
        return connection

    def _begun(self, connection: _Connection) -> None:
        if awaited := self._awaited.pop(connection, None):
            awaited.cancel()


class _Connection(web.RequestHandler):
    """A connection whose headers are bounded, and whose answers must be read in time.

    aiohttp itself would wait for a stalled reader for ever.
    """

    __slots__ = ("_begun", "_body", "_head_bytes", "_too_late")

    def __init__(
        self, manager: web.Server, too_late: Callable[[], bool], begun: Callable[[_Connection], None], **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._too_late = too_late
        self._begun = begun

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._begun(self)
        self._head_bytes = 0
        self._body = EMPTY_PAYLOAD  # of the newest request; once it is whole, what comes next is headers
        super().connection_made(transport)
        # Accepted before the listener closed, agreed on TLS after: aiohttp has closed all that it knew of by then.
        if self._too_late() and isinstance(transport, asyncio.Transport):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes; headers that do not end are cut off."""
        begun, in_body = self._request_count, not self._body.is_eof()
        super().data_received(data)
        if self._request_count != begun:
            self._body, self._head_bytes = self._messages[-1][1], 0
        elif not in_body:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES and self.transport is not None:
                self.transport.abort()

    def retire(self) -> None:
        """Close after the request under way, or now: `close` alone would leave an idle connection open and deaf.

        Idle is only who has not begun, or waits for a request that has not come: before Python 3.12 one that was taken
        from the queue is "in progress" one turn of the loop later.
        """
        if not self._request_count or (self._waiter is not None and not self._waiter.done()):
            self.force_close()
        else:
            self.close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            async with asyncio.timeout(_RESPONSE_SECONDS):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()  # `close` would wait for the very reader that does not read
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, and what went wrong in a handler; the connection is closed."""
        if status >= 500:  # noqa: PLR2004 - the first status that is our fault
            return super().handle_error(request, status, exc, message)
        # Not the message, as aiohttp does: it shows what was sent, such as the line with the token.
        log.debug("refused what is not HTTP, from %s (%s)", request.remote, type(exc).__name__)
        response = web.Response(status=status, text=(message or "the request is not HTTP").strip().splitlines()[0])
        response.force_close()
        return response


class _Refusal(asyncio.Protocol):
    """Closes a connection over the limit at once, instead of letting it wait for an answer that is not coming."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        with suppress(AttributeError):
            transport.abort()  # type: ignore[attr-defined]  # every stream transport has it


def guard(problem: Problem, seconds: float = _REQUEST_SECONDS, unbounded: frozenset[str] = frozenset()) -> Middleware:
    """Return a middleware that bounds each request's time and answers every refusal in the API's own words.

    Args:
        problem: makes the answer from a status and a sentence.
        seconds: for reading the body and making the answer, together.
        unbounded: paths of answers that go on for as long as their reader stays; they bound each write themselves.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(None if request.path in unbounded else seconds):
                return await handler(request)
        except TimeoutError:
            return problem(408, f"the request was not complete within {seconds:g} s")
        except web.HTTPRequestEntityTooLarge:
            return problem(413, f"the body is larger than {BODY_BYTES} bytes; send it in parts")
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            answer = problem(405, f"{request.method} is not served at {request.path}; allowed: {allowed}")
            answer.headers["Allow"] = allowed
            return answer
        except web.HTTPNotFound:
            return problem(404, f"nothing is served at {request.path}")

    return middleware
