"""The network between ours and the rest: TCP over loopback that can be slow, cut or swallow everything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from testbed.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

CHUNK_BYTES = 65_536
CALL_SECONDS = 10.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST, as a firewall or a dead host does."""

Way = Literal["pass", "delay", "cut", "black-hole"]


@dataclass(eq=False)
class Link:
    """One connection through a proxy."""

    writers: list[asyncio.StreamWriter]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    lossy: bool = False
    """Bytes or an end have been swallowed: it can never go on as if nothing had happened."""

    def reset(self) -> None:
        """End both sides with RST."""
        self.ended.set()
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


@dataclass
class Proxy:
    """One listening port in front of another.

    `delay` holds each piece of data back; `cut` resets what is open and what is opened; `black-hole` takes everything
    and passes nothing on, neither data nor ends. Afterwards, connections that lost something are reset: TCP either
    delivers or breaks.
    """

    port: int
    upstream_port: int
    way: Way = "pass"
    delay_seconds: float = 0.0
    taken: int = 0
    """Connections so far, however they fared."""
    _links: set[Link] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._take, LOOPBACK, self.port)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def turn(self, way: Way, delay_seconds: float = 0.0) -> None:
        """Change what happens to connections, open and new."""
        self.way, self.delay_seconds = way, delay_seconds
        for link in list(self._links):
            if way == "cut" or (way != "black-hole" and link.lossy):
                link.reset()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link([writer])
        self._links.add(link)
        try:
            if self.way == "cut":
                return
            upstream_reader, upstream_writer = await asyncio.open_connection(LOOPBACK, self.upstream_port)
            link.writers.append(upstream_writer)
            # Both until one is broken; an orderly end of one direction is passed on and the other goes on.
            await asyncio.gather(self._pump(link, reader, upstream_writer), self._pump(link, upstream_reader, writer))
        except OSError:
            pass  # either side is gone: so is the connection
        finally:
            link.reset()
            self._links.discard(link)

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            data = await reader.read(CHUNK_BYTES)
            if self.way == "delay":
                await asyncio.sleep(self.delay_seconds)
            if self.way == "black-hole":
                link.lossy = True
                if not data:
                    await link.ended.wait()  # the other side learns of this end when the link is reset
                    return
                continue
            if not data:
                if writer.can_write_eof() and not writer.is_closing():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()


class Network:
    """Proxies on an event loop in a thread of their own; use as a context manager."""

    def __init__(self, proxies: Iterable[Proxy]) -> None:
        self._proxies = list(proxies)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def turn(self, proxies: Iterable[Proxy], way: Way, delay_seconds: float = 0.0) -> None:
        """Change some of them, and return when it is done."""

        async def change() -> None:
            for proxy in proxies:
                proxy.turn(way, delay_seconds)

        self._call(change())

    def __enter__(self) -> Self:
        self._thread.start()
        for proxy in self._proxies:
            self._call(proxy.start())
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            self._call(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def _call(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)
