"""Connections that are not served yet, or never will be: they count, have an end, and lose nothing that was sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gateway import handshake
from gateway.listener import Listener
from gateway.tls import Certificate
from tests.gateway.support import eventually, read_answer, request_bytes
from tests.gateway.test_tls import write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REQUEST = request_bytes("POST", "/", [], b"data")


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with what was sent."""
    return web.Response(body=await request.read())


@asynccontextmanager
async def listening(folder: Path | None, *, max_connections: int = 2) -> AsyncIterator[Listener]:
    """A listener on a free port, with TLS where there is a folder for its certificate."""
    context = None
    if folder is not None:
        write(folder, "gateway")
        context = Certificate(folder / "tls.crt", folder / "tls.key").context
    listener = Listener(echo, ("127.0.0.1", 0), ssl_context=context, max_connections=max_connections)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()


def client_context() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def asked(port: int, context: ssl.SSLContext | None) -> bytes | None:
    """Send a request and return the body of the answer; None: the connection was closed."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except ConnectionError:
        return None
    try:
        writer.write(REQUEST)
        return (await read_answer(reader)).body
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.close()


def is_open(client: socket.socket) -> bool:
    """Whether a connection to which nothing was written has not been closed."""
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_many_at_once(tls: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a column
    """Of clients that connect at once and say nothing no more are held than may be; their room comes back with them."""
    async with listening(tmp_path if tls else None) as listener:
        with ExitStack() as clients:
            opened = [clients.enter_context(socket.create_connection(("127.0.0.1", listener.port))) for _ in range(20)]
            for client in opened:
                client.setblocking(False)
            await eventually(lambda: sum(map(is_open, opened)) == 2)
            context = client_context() if tls else None
            assert await asked(listener.port, context) is None
        async with asyncio.timeout(5):
            while await asked(listener.port, context) != b"data":
                pass


async def test_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that connects and says nothing is closed in time."""
    monkeypatch.setattr(handshake, "_HANDSHAKE_SECONDS", 0.1)
    async with listening(tmp_path) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_what_is_no_tls(tmp_path: Path) -> None:
    """A client that speaks plain HTTP to TLS is closed, and leaves nothing behind."""
    async with listening(tmp_path, max_connections=1) as listener:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(REQUEST)
            async with asyncio.timeout(5):
                assert b"HTTP" not in await reader.read()
            writer.close()
        await eventually(lambda: not listener._handshakes)
        assert await asked(listener.port, client_context()) == b"data"


async def test_request_in_one_packet_with_the_last_word(tmp_path: Path) -> None:
    """A request is answered that arrives together with the end of the handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, server_hostname="gateway")
    async with listening(tmp_path) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
        tls.write(REQUEST)
        writer.write(outgoing.read())
        answer = b""
        async with asyncio.timeout(5):
            while not answer.endswith(b"data"):
                incoming.write(await reader.read(65_536))
                try:
                    answer += tls.read()
                except ssl.SSLWantReadError:  # a session ticket
                    continue
        assert answer.startswith(b"HTTP/1.1 200 OK")
        writer.close()


@pytest.mark.parametrize("turns", range(4))
async def test_close_ends_handshakes(turns: int, tmp_path: Path) -> None:
    """A handshake ends with its listener, at whatever point it is."""
    async with listening(tmp_path) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await eventually(lambda: len(listener._handshakes) == 1)
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.close(drain_seconds=5)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_client_that_leaves_as_tls_is_agreed_on(tmp_path: Path) -> None:
    """Whoever takes over in the same turn of the loop is told of the end; before that there is nothing to take over."""
    told: list[Exception | None] = []

    class Served(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            told.append(exc)

    write(tmp_path, "gateway")
    context = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key").context
    before, after = (handshake.Handshake(context, Served(), lambda: False, set()) for _ in range(2))
    before.connection_lost(None)
    assert told == []
    after._handed_over = True
    after.connection_lost(None)
    assert told == [None]
