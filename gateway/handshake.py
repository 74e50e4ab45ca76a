"""Agreeing on TLS with a client, as something that is counted, can be refused and has an end.

asyncio's own server tells of a connection when TLS is agreed on, and of one that does not get there not at all: who
connects and says nothing would be in no count for as long as a handshake may take.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_HANDSHAKE_SECONDS: Final = 10.0


class Handshake(asyncio.Protocol):
    """A connection until TLS is agreed on; from there on it is that of another protocol.

    Args:
        context: whose certificate is shown.
        then: takes the connection over.
        turned_away: whether the connection is not wanted.
        under_way: holds this for as long as it lasts.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        then: asyncio.Protocol,
        turned_away: Callable[[], bool],
        under_way: set[Handshake],
    ) -> None:
        self._context = context
        self._then = then
        self._turned_away = turned_away
        self._under_way = under_way
        self._early: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = False
        self._handed_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn the client away."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
        if self._turned_away():
            transport.abort()
            return
        transport.pause_reading()  # the first bytes are the handshake's: it reads them itself
        self._under_way.add(self)
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._agree(transport))

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the other protocol has taken over: a request behind the handshake's last word."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of a connection that TLS had been agreed on for.

        asyncio tells it in the loop's next turn, to whoever the connection belonged to when it ended: the other
        protocol may have taken over in between, and would never be told.
        """
        self._lost = True
        if self._handed_over:
            self._then.connection_lost(exc)

    def abort(self) -> None:
        """End it, and the connection."""
        if self._task is not None and self._transport is not None:
            self._task.cancel()
            self._transport.abort()  # a task that has not begun yet does not get to close it

    async def _agree(self, transport: asyncio.Transport) -> None:
        agreed = None
        try:
            agreed = await asyncio.get_running_loop().start_tls(
                transport, self, self._context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except OSError:  # what is wrong with TLS is one, too
            transport.abort()
        finally:
            self._under_way.discard(self)
        if agreed is None or self._lost:  # the client has gone
            return
        self._handed_over = True
        agreed.set_protocol(self._then)
        self._then.connection_made(agreed)
        for data in self._early:
            self._then.data_received(data)
