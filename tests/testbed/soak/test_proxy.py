"""The network between ours and the rest."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from testbed.ports import LOOPBACK, ReservedPorts
from testbed.soak.proxy import Network, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG_SECONDS = 10.0
SHORT_SECONDS = 0.3


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def an_echo() -> AsyncIterator[int]:
    """A port that sends back what comes."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(take, LOOPBACK, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.gather(*tasks)


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy in front of an echo."""
    with ReservedPorts(1) as ports:
        async with an_echo() as port:
            made = Proxy(ports.ports[0], port)
            await made.start()
            yield made
            await made.close()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection that is closed at the end."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    yield reader, writer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float = LONG_SECONDS) -> bytes:
    """Send a word and wait for an answer; nothing: the connection has ended."""
    writer.write(b"word")
    async with asyncio.timeout(seconds):
        return await reader.read(100)


async def is_reset(reader: asyncio.StreamReader) -> bool:
    """Whether a connection breaks, within a long time."""
    try:
        async with asyncio.timeout(LONG_SECONDS):
            await reader.read(100)
    except ConnectionResetError:
        return True
    return False


async def test_it_passes_everything_on(proxy: Proxy) -> None:
    """Both ways, and the end too."""
    async with connected(proxy.port) as (reader, writer):
        assert await ask(reader, writer) == b"word"
        writer.write_eof()
        async with asyncio.timeout(LONG_SECONDS):
            assert await reader.read() == b""


async def test_a_slow_one_delivers_late(proxy: Proxy) -> None:
    """Each piece of data is held back, there and back."""
    async with connected(proxy.port) as connection:
        proxy.turn("delay", SHORT_SECONDS)
        before = asyncio.get_running_loop().time()
        assert await ask(*connection) == b"word"
        assert asyncio.get_running_loop().time() - before >= 2 * SHORT_SECONDS


async def test_a_cut_resets_what_is_open_and_what_is_opened(proxy: Proxy) -> None:
    """Then, once it passes again, a new connection works."""
    async with connected(proxy.port) as open_before:
        assert await ask(*open_before) == b"word"
        proxy.turn("cut")
        assert await is_reset(open_before[0])
    async with connected(proxy.port) as opened_meanwhile:
        assert await is_reset(opened_meanwhile[0])
    proxy.turn("pass")
    async with connected(proxy.port) as opened_after:
        assert await ask(*opened_after) == b"word"


async def test_a_black_hole_answers_nothing_and_breaks_what_lost_something(proxy: Proxy) -> None:
    """A connection that was silent meanwhile goes on; one whose bytes were swallowed is reset."""
    async with connected(proxy.port) as asked, connected(proxy.port) as silent:
        for connection in (asked, silent):
            assert await ask(*connection) == b"word"
        proxy.turn("black-hole")
        with pytest.raises(TimeoutError):
            await ask(*asked, SHORT_SECONDS)
        proxy.turn("pass")
        assert await is_reset(asked[0])
        assert await ask(*silent) == b"word"


async def test_an_end_in_a_black_hole_is_heard_of_afterwards(proxy: Proxy) -> None:
    """While everything is swallowed, the other side does not learn that its peer has gone."""
    async with connected(proxy.port) as (reader, writer):
        assert await ask(reader, writer) == b"word"
        proxy.turn("black-hole")
        writer.write_eof()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_SECONDS):
                await reader.read(1)
        proxy.turn("pass")
        assert await is_reset(reader)


async def test_nothing_behind_it(proxy: Proxy) -> None:
    """It breaks the connection, as a host does whose process is gone."""
    with ReservedPorts(1) as nobody:
        proxy.upstream_port = nobody.ports[0]
        async with connected(proxy.port) as (reader, _writer):
            assert await is_reset(reader)


async def test_a_network_in_a_thread_of_its_own() -> None:
    """Proxies serve while the caller blocks, are turned from outside, and end with it."""
    with ReservedPorts(1) as ports:
        async with an_echo() as port:
            made = Proxy(ports.ports[0], port)
            with Network([made]) as network:
                async with connected(made.port) as (reader, writer):
                    assert await ask(reader, writer) == b"word"
                    network.turn([made], "cut")
                    assert await is_reset(reader)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(LOOPBACK, made.port)
