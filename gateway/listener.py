"""One listening socket with limits: connections, header sizes, and how long a client may take to read its answer.

What is served on it does not belong here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from activator.errors import UnavailableError
from gateway.admission import HEAD_BYTES
from gateway.handshake import Handshake
from gateway.problems import ProblemError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from aiohttp.http_parser import RawRequestMessage

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

_IDLE_SECONDS: Final = 75.0
"""How long a connection may sit without a complete set of headers: it also ends one that sends them byte by byte."""
_ANSWER_SECONDS: Final = 30.0
"""How long a client may take to read an answer, and what is left of all answers once its connection is closed."""
_SMALL_ANSWER_BYTES: Final = 32 * 1024
"""With its headers well under the 64 KiB that asyncio buffers before it makes a writer wait."""
_LINGER_SECONDS: Final = 3.0
"""How long the rest of a refused body is read and thrown away, so that the client gets to read why."""
_READ_BYTES: Final = 64 * 1024
"""How much of an unread body is kept for a connection; twice so much at most."""
_BACKLOG: Final = 1024
_CLOSE_SECONDS: Final = 1.0
_DRAIN_LOOK_SECONDS: Final = 0.02


class Listener:
    """Serves one handler on one address until closed.

    Args:
        handler: answers every request; it is cancelled when its client goes away.
        address: host and port (port 0 takes a free one), or a socket that listens already.
        ssl_context: None: plain HTTP.
        max_connections: more are closed at once.
        refused: told of each problem with which the listener itself answers, where the handler gets no request.

    Raises:
        UnavailableError: from `start`, where the address cannot be had.
    """

    def __init__(
        self,
        handler: Handler,
        address: tuple[str, int] | socket.socket,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 1000,
        refused: Callable[[ProblemError], None] = lambda _problem: None,
    ) -> None:
        self._handler = handler
        self._address = address
        self._ssl_context = ssl_context
        self._max_connections = max_connections
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._connections: _Connections | None = None
        self._handshakes: set[Handshake] = set()
        self._closed = False

    @property
    def port(self) -> int:
        """The port that is listened on: the one asked for, or the free one that was taken for 0."""
        if self._server is not None and self._server.sockets:
            return int(self._server.sockets[0].getsockname()[1])
        return 0 if isinstance(self._address, socket.socket) else self._address[1]

    @property
    def connections(self) -> int:
        """How many connections are open; they are once TLS is agreed on."""
        return 0 if self._connections is None else self._connections.count

    async def start(self) -> None:
        """Listen."""
        connections = self._connections = _Connections(self._handler, handler_cancellation=True)
        protocol = partial(self._protocol, connections)
        create_server = asyncio.get_running_loop().create_server
        if isinstance(self._address, socket.socket):
            self._server = await create_server(protocol, sock=self._address, backlog=_BACKLOG)
            return
        host, port = self._address
        try:
            self._server = await create_server(protocol, host, port, reuse_address=True, backlog=_BACKLOG)
        except OSError as error:
            what = error.strerror or str(error)
            raise UnavailableError(f"listener {host}:{port}", f"cannot listen there: {what}") from error

    async def close(self, drain_seconds: float = 0.0) -> None:
        """Take no new connection and no new request, let those under way end, and close."""
        self._closed = True
        if self._server is None or self._connections is None:
            return
        self._server.close()
        for handshake in self._handshakes:
            handshake.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                while self.connections:
                    self._close_idle()
                    await asyncio.sleep(_DRAIN_LOOK_SECONDS)
        await self._connections.shutdown(_CLOSE_SECONDS)

    def _close_idle(self) -> None:
        """Close connections without a request; aiohttp's own `close` would stop reading the body of one that has."""
        for connection in () if self._connections is None else self._connections.connections:
            if isinstance(connection, _Connection) and connection.idle:
                connection.force_close()

    def _protocol(self, connections: _Connections) -> asyncio.Protocol:
        connection = _Connection(
            connections,
            self._turned_away,
            self._refused,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,  # a body of 1 MiB may unpack to 1 GiB: compressed bodies are refused
            access_log=None,  # None switches it off, as aiohttp's own runner does
        )
        if self._ssl_context is None:
            return connection
        return Handshake(self._ssl_context, connection, self._turned_away, self._handshakes)

    def _turned_away(self) -> bool:
        """Tell whether the newest connection is one too many, or comes too late.

        It is asked when the connection is there, not when its protocol is made: of a thousand that are accepted in one
        turn of the loop all protocols are made before the first has its connection. And a handshake may outlast the
        listener: what becomes of it then is not among the connections that were closed.
        """
        return self._closed or self.connections + len(self._handshakes) >= self._max_connections


class _HeadTooLargeError(HttpProcessingError):
    """A request whose headers are over the limit in all."""


_HEAD_TOO_LARGE: Final = (_ErrInfo(status=400, exc=_HeadTooLargeError(), message=""), EMPTY_PAYLOAD)
"""How aiohttp hands on what is not a request."""


def _size(message: RawRequestMessage) -> int:
    return len(message.path) + sum(len(name) + len(value) for name, value in message.raw_headers)


class _Connections(web.Server):
    """All open connections."""

    @property
    def count(self) -> int:
        """How many there are; the list of them would be copied for each one that is opened."""
        return len(self._connections)


class _Connection(web.RequestHandler):
    """A connection whose headers are bounded, whose answers must be read in time, and whose refusals are problems."""

    __slots__ = ("_body", "_end", "_head_bytes", "_refused", "_turned_away")

    def __init__(
        self,
        manager: web.Server,
        turned_away: Callable[[], bool],
        refused: Callable[[ProblemError], None],
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._turned_away = turned_away
        self._refused = refused
        self._end: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Serve requests until the connection is closed.

        Closing waits for a client to read what was written, and for one that does not it waits without end: small
        answers are written without waiting, and several of them may stand there when it is idle for too long.
        """
        transport = self.transport
        try:
            await super().start()
        finally:
            if transport is not None and self._manager is not None:  # it is closing, not gone
                self._end = self._loop.call_later(_ANSWER_SECONDS, transport.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._end is not None:
            self._end.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or close a connection at once instead of letting it wait for an answer that is not coming."""
        self._head_bytes = 0
        self._body = EMPTY_PAYLOAD  # of the newest request; once it is whole, what comes next is headers
        if self._turned_away() and isinstance(transport, asyncio.Transport):
            transport.abort()
            self._force_close = True  # what came with the handshake is not read any more
            return
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes; of headers that are larger than they may be, finished or not, these are the last."""
        if self._head_bytes > HEAD_BYTES:
            return
        begun, in_body = self._request_count, not self._body.is_eof()
        super().data_received(data)
        if self._request_count != begun:
            self._body = self._messages[-1][1]
            arrived, self._head_bytes = self._head_bytes + len(data), 0
            if arrived > HEAD_BYTES:  # most of it is a body, as a rule
                self._replace_large_heads()
        elif not in_body:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._messages.append(_HEAD_TOO_LARGE)
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(None)

    def _replace_large_heads(self) -> None:
        for at, (message, _) in enumerate(self._messages):
            if not isinstance(message, _ErrInfo) and _size(message) > HEAD_BYTES:
                self._messages[at] = _HEAD_TOO_LARGE

    @property
    def idle(self) -> bool:
        """Whether the next request is waited for and has not come.

        Nothing else will do: before Python 3.12 a request that was taken from the queue is "in progress" one turn of
        the loop later only, and closed in that turn it went to Kafka without an answer.
        """
        return self._waiter is not None and not self._waiter.done()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._buffers_at_once(resp):
            return await super().finish_response(request, resp, start_time)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if isinstance(self.transport, asyncio.WriteTransport):
                self.transport.abort()  # closing would wait for the very client that does not read
            self.force_close()
            return resp, True

    def _buffers_at_once(self, resp: web.StreamResponse) -> bool:
        """Tell whether an answer is so small that writing it cannot wait for the client: nearly all are."""
        return (
            isinstance(resp, web.Response)
            and isinstance(self.transport, asyncio.WriteTransport)
            and self.transport.get_write_buffer_size() == 0
            and isinstance(resp.body, bytes)
            and len(resp.body) < _SMALL_ANSWER_BYTES
        )

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
        if isinstance(exc, LineTooLong):
            problem = ProblemError(431, "headers-too-large", "a header line, or the request line, is over 8190 bytes")
        elif isinstance(exc, _HeadTooLargeError):
            problem = ProblemError(431, "headers-too-large", f"the headers are over {HEAD_BYTES} bytes in all")
        else:
            problem = ProblemError(status, "not-http", (message or "the request is not HTTP").strip().splitlines()[0])
        # Not the message: it shows what was sent, such as the line with the token.
        log.debug("refused what is not HTTP, from %s: %s (%s)", request.remote, problem.code, type(exc).__name__)
        self._refused(problem)
        response = problem.response()
        response.force_close()
        return response
