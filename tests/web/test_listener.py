"""The limits of a listener: connections, sizes, times."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from activator.web import listener
from activator.web.certificates import SelfSigned
from activator.web.listener import Listener, guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Serve = Callable[..., Awaitable[Listener]]


def problem(status: int, message: str) -> web.Response:
    """Answer in plain text."""
    return web.Response(text=message, status=status)


async def echo(request: web.Request) -> web.Response:
    """Answer with the body."""
    return web.Response(body=await request.read())


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Return a function that starts a listener around the echo handler and is cleaned up after."""
    started: list[Listener] = []

    async def start(
        *,
        seconds: float = 10.0,
        max_connections: int = 10,
        handler: object = echo,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Listener:
        app = web.Application(middlewares=[guard(problem, seconds)])
        app.router.add_post("/", handler)  # type: ignore[arg-type]  # a test's handler
        made = Listener(app, ("127.0.0.1", 0), ssl_context=ssl_context, max_connections=max_connections)
        await made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        await made.close()


async def connect(to: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection."""
    return await asyncio.open_connection("127.0.0.1", to.port)


async def test_a_connection_over_the_limit_is_closed_at_once(serve: Serve) -> None:
    """A third client learns in a moment that there is no room, and gets it when another has gone."""
    made = await serve(max_connections=2)
    held = [await connect(made) for _ in range(2)]
    for _, writer in held:  # an answered request proves that the server has taken the connection
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    for reader, _ in held:
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    reader, writer = await connect(made)
    assert await reader.read() == b""
    for _, taken in [*held, (reader, writer)]:
        taken.close()


async def asked(of: Listener, context: ssl.SSLContext | None) -> bool:
    """Tell whether a request is answered; else the connection was closed."""
    writer = None
    with suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", of.port, ssl=context)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return line.startswith(b"HTTP/1.1 200")
    if writer is not None:
        writer.close()
    return False


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return that of a server, and that of a client that takes any certificate."""
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    SelfSigned(["localhost"], datetime(2026, 1, 1, tzinfo=UTC)).current().load_into(serving)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    return serving, asking


# asyncio leaves it to the last reference to close the socket of a connection that gets no protocol.
unclosed = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@unclosed
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_connections_count_before_they_say_anything(
    tls: bool,  # noqa: FBT001 - a column
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of clients that connect and are silent no more are held than may be, and nothing is logged of the others."""
    made = await serve(max_connections=2, ssl_context=contexts()[0] if tls else None)
    clients = [await connect(made) for _ in range(20)]
    held, *over = [asyncio.gather(*(reader.read() for reader, _ in some)) for some in (clients[:2], clients[2:])]
    async with asyncio.timeout(5):  # half of what a handshake may take
        assert await over[0] == [b""] * 18
    assert not held.done()
    for _, writer in clients:
        writer.close()
    await held
    assert caplog.messages == []


@unclosed
async def test_a_handshake_that_does_not_come_gives_its_room_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent clients shut the others out for a bounded time."""
    monkeypatch.setattr(listener, "_HANDSHAKE_SECONDS", 0.1)
    serving, asking = contexts()
    made = await serve(max_connections=1, ssl_context=serving)
    reader, writer = await connect(made)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
        while not await asked(made, asking):
            pass
    writer.close()


@unclosed
async def test_a_connection_that_is_served_counts_once(serve: Serve) -> None:
    """Its room is free once it has ended, and not when a handshake would have had to be over."""
    serving, asking = contexts()
    made = await serve(max_connections=1, ssl_context=serving)
    async with asyncio.timeout(5):  # half of what a handshake may take
        for _ in range(2):
            while not await asked(made, asking):
                pass


async def test_a_body_that_does_not_come_is_answered_in_time(serve: Serve) -> None:
    """A sender that stops in the middle holds a connection for a bounded time."""
    made = await serve(seconds=0.05)
    reader, writer = await connect(made)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_an_answer_that_goes_on_is_not_cut_off() -> None:
    """A path that is named as unbounded may take as long as its reader stays."""
    app = web.Application(middlewares=[guard(problem, 0.01, unbounded=frozenset({"/stream"}))])

    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.1)
        return web.Response(text="done")

    app.router.add_get("/stream", slow)
    app.router.add_get("/other", slow)
    made = Listener(app, ("127.0.0.1", 0))
    await made.start()
    try:
        for path, status in ((b"/stream", b"HTTP/1.1 200"), (b"/other", b"HTTP/1.1 408")):
            reader, writer = await connect(made)
            writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(status)
            writer.close()
    finally:
        await made.close()


async def test_headers_that_do_not_end_close_the_connection(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends its headers byte by byte does not prolong its time with each byte."""
    monkeypatch.setattr(listener, "_IDLE_SECONDS", 0.1)
    made = await serve()
    reader, writer = await connect(made)
    writer.write(b"POST / HTTP/1.1\r\nHost")
    assert await reader.read() == b""
    writer.close()


async def test_headers_over_the_limit_are_refused(serve: Serve) -> None:
    """A header line has a size."""
    made = await serve()
    reader, writer = await connect(made)
    writer.write(b"POST / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 400")
    writer.close()


async def test_headers_are_bounded_in_all(serve: Serve) -> None:
    """Lines that are each allowed end the connection once they are too much together; a body of that size does not."""
    made = await serve()
    reader, writer = await connect(made)
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(200_000) == b"x" * 200_000
    writer.write(b"POST / HTTP/1.1\r\n" + b"".join(b"X%d: " % at + b"x" * 8000 + b"\r\n" for at in range(20)))
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_an_answer_that_is_not_read_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stalls does not hold its connection for ever."""
    gone = asyncio.Event()

    class Watched(listener._Connection):
        """A connection that says when it is lost."""

        def connection_lost(self, exc: BaseException | None) -> None:
            super().connection_lost(exc)
            gone.set()

    monkeypatch.setattr(listener, "_RESPONSE_SECONDS", 0.1)
    monkeypatch.setattr(listener, "_Connection", Watched)

    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 64_000_000)

    made = await serve(handler=large)
    reader, writer = await connect(made)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")  # and then reads no more than its buffer holds
    await gone.wait()
    writer.close()


async def test_dropping_connections_spares_the_request_under_way(serve: Serve) -> None:
    """An idle connection is closed; one that waits for its answer gets it first."""
    entered, answer = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        entered.set()
        await answer.wait()
        return web.Response(text="done")

    made = await serve(handler=slow)
    idle_reader, idle_writer = await connect(made)
    busy_reader, busy_writer = await connect(made)
    busy_writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await entered.wait()
    made.drop_connections()
    assert await idle_reader.read() == b""
    answer.set()
    assert (await busy_reader.read()).endswith(b"done")
    idle_writer.close()
    busy_writer.close()


@pytest.mark.parametrize("turns", range(12))
async def test_dropping_connections_at_any_turn_of_a_request(serve: Serve, turns: int) -> None:
    """A request that is taken is answered, also where it falls between its arrival and its task's first step."""
    taken = 0

    async def count(_request: web.Request) -> web.Response:
        nonlocal taken
        taken += 1
        return web.Response(text=str(taken))

    made = await serve(handler=count)
    reader, writer = await connect(made)
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    writer.write(request)
    await reader.readuntil(b"\r\n\r\n1")
    writer.write(request)
    for _ in range(turns):
        await asyncio.sleep(0)
    made.drop_connections()
    answer = b""
    with suppress(ConnectionResetError):  # it came too late to be read
        answer = await reader.read()
    writer.close()
    assert answer.endswith(b"2") == (taken == 2)


async def test_dropping_connections_closes_one_that_has_just_been_made(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left open it would be deaf: what its client asks would never be answered."""
    made = await serve()
    accept = listener._Connection.connection_made

    def drop_at_once(self: listener._Connection, transport: asyncio.BaseTransport) -> None:
        accept(self, transport)
        made.drop_connections()

    monkeypatch.setattr(listener._Connection, "connection_made", drop_at_once)
    reader, writer = await connect(made)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_closing_twice_and_before_the_start_is_safe() -> None:
    """Whatever happened at the start, the end is clean."""
    made = Listener(web.Application(), ("127.0.0.1", 0))
    await made.close()
    await made.close()


async def test_what_is_not_http_is_refused_and_not_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A header with a stray control character may be the one with the token: no line shows what was sent."""
    caplog.set_level(logging.DEBUG)
    made = await serve()
    reader, writer = await connect(made)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\x01\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert b"s3cret" not in answer
    assert "s3cret" not in caplog.text
    assert "refused what is not HTTP, from 127.0.0.1 (BadHttpMessage)" in caplog.text
