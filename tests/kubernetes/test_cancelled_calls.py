"""A call that is given up leaves no connection open, whatever the peer does."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from activator.kubernetes import configuration
from activator.web.issuing import issue
from tests.kubernetes.scripted_server import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

TURNS = 60
"""More turns of the event loop than connecting, the handshake and sending a request take."""


class Relay:
    """Carries bytes to a TLS server that never answers a request; once `silent`, nothing comes back from it."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.opened = self.closed = 0
        self.silent = False
        self.all_closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection's bytes until the client closes it."""
        self.opened += 1
        self.all_closed.clear()
        back, forth = await asyncio.open_connection("127.0.0.1", self._server_port)
        returning = asyncio.create_task(self._return(back, writer))
        with suppress(ConnectionError):
            while content := await reader.read(4096):
                forth.write(content)
        returning.cancel()
        for end in (forth, writer):
            end.transport.abort()
        self.closed += 1
        if self.closed == self.opened:
            self.all_closed.set()

    async def _return(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while content := await back.read(4096):
                if not self.silent:
                    writer.write(content)


@asynccontextmanager
async def silent_after(folder: Path) -> AsyncIterator[tuple[Relay, str]]:
    """Yield a relay before a TLS server, and the URL of the relay."""
    issued = issue(["127.0.0.1"], datetime(2026, 1, 5, tzinfo=UTC), timedelta(days=1))
    (folder / "chain.pem").write_text(issued.chain, encoding="utf-8")
    (folder / "key.pem").write_text(issued.key, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")

    async def listen_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(4096):
                pass
        writer.transport.abort()

    async with await asyncio.start_server(listen_only, "127.0.0.1", 0, ssl=context) as server:
        relay = Relay(server.sockets[0].getsockname()[1])
        async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as front:
            yield relay, f"https://127.0.0.1:{front.sockets[0].getsockname()[1]}"


async def test_a_call_that_is_cancelled_leaves_no_connection_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever turn of the loop it is cancelled: asyncio would wait 30 s for a silent peer's farewell."""
    monkeypatch.setattr(configuration, "_CANCELLED_DEADLINE", timedelta(seconds=0.02))
    async with silent_after(tmp_path) as (relay, url):
        client = await client_of(tmp_path, url)
        for turns in range(TURNS):
            relay.silent = False
            call = asyncio.create_task(client.get("/version"))
            for _ in range(turns):
                await asyncio.sleep(0)
            relay.silent = True
            call.cancel()
            await asyncio.wait({call})
        async with asyncio.timeout(10):
            await relay.all_closed.wait()
        await client.close()
    assert relay.opened > TURNS // 2
