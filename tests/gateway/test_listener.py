"""Clients that take their time: a connection is not theirs for ever."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from functools import partial

import pytest

from gateway import listener
from gateway.admission import Limits
from gateway.routes import OpenRoute, RouteTable, Rules
from tests.gateway.support import Door, door, eventually, read_answer, request_bytes

EVENT = (("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"))
HALF = b"POST / HTTP/1.1\r\nx: "
MEBIBYTE = 1024 * 1024
TURNS = 12
"""More turns of the event loop than it takes to read a small request, deliver it and answer."""


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"POST / HT", b""),
        (HALF, b"a"),
        (request_bytes("POST", "/topics/t", EVENT, b""), b""),
        (request_bytes("POST", "/topics/t", EVENT, b"") + HALF, b"a"),
    ],
    ids=["silent", "half a request line", "headers byte by byte", "after a request", "after a request, byte by byte"],
)
async def test_idle(first: bytes, drip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a complete request is closed in time, whatever trickles in."""
    monkeypatch.setattr(listener, "_IDLE_SECONDS", 0.3)
    async with door() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(first)
        if b"\r\n\r\n" in first:
            assert (await read_answer(reader)).status == 202
        closed = asyncio.create_task(reader.read())
        async with asyncio.timeout(20):
            while not closed.done():
                if drip:
                    writer.write(drip)
                await asyncio.sleep(0.02)
        assert closed.exception() is not None or closed.result() == b""
        await eventually(lambda: at.listener.connections == 0)
        writer.close()


async def test_answer_that_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read its answer loses its connection, which would else wait for it with the answer."""
    monkeypatch.setattr(listener, "_ANSWER_SECONDS", 0.3)
    rules = Rules(max_batch_bytes=16 * MEBIBYTE)
    events = [{"specversion": "1.0", "id": "x" * 20_000, "source": "/s", "type": "t"}] * 500
    batch = [("Content-Type", "application/cloudevents-batch+json")]
    async with door(RouteTable(open_route=OpenRoute(rules=rules)), total=Limits(1000, 64 * MEBIBYTE)) as at:
        _, writer = await asyncio.open_connection("127.0.0.1", at.port, limit=1024)
        writer.write(request_bytes("POST", "/topics/t", batch, json.dumps(events).encode()))
        await eventually(lambda: len(at.producer.sent) == len(events), seconds=30)
        await eventually(lambda: at.listener.connections == 0, seconds=20)
        writer.close()


def answered(at: Door, count: int) -> bool:
    """Whether so many requests to nowhere were answered."""
    return at.counted("requests_total", route="none", status="404") == count


@pytest.mark.parametrize("last", [b"", b"no HTTP\r\n\r\n"], ids=["waits", "is refused"])
async def test_small_answers_that_are_not_read(last: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves small answers unread loses its connection too, once that is closed for another reason."""
    monkeypatch.setattr(listener, "_IDLE_SECONDS", 1.0)
    monkeypatch.setattr(listener, "_ANSWER_SECONDS", 0.3)
    loop = asyncio.get_running_loop()
    async with door() as at:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", at.port))
            await eventually(lambda: at.listener.connections == 1)
            assert at.listener._connections is not None
            (connection,) = at.listener._connections.connections
            transport = connection.transport
            assert transport is not None
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            sent = 0
            while not transport.get_write_buffer_size():
                await loop.sock_sendall(client, request_bytes("GET", "/", [], b""))
                sent += 1
                await eventually(partial(answered, at, sent))
            await loop.sock_sendall(client, last)
            await eventually(lambda: at.listener.connections == 0)


@pytest.mark.parametrize("turns", range(TURNS))
async def test_close_at_any_turn_of_a_request(turns: int) -> None:
    """A request that is taken is answered, also where closing falls between its arrival and its task's first step."""
    async with door() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes("POST", "/topics/t", EVENT, b"1"))
        assert (await read_answer(reader)).status == 202
        writer.write(request_bytes("POST", "/topics/t", EVENT, b"2"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await at.listener.close(drain_seconds=5)
        answer = b""
        with suppress(ConnectionResetError):  # it came too late to be read
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 202") == (len(at.producer.sent) == 2)
