"""Clients that do nothing, or nothing good, in numbers: memory stays under its bound and the others are served."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.gateway.support import exchange, request_bytes
from tests.gateway.test_real_kafka import cluster, gateway

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.processes import ManagedProcess

pytestmark = pytest.mark.real

EVENT = (("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"))
MEBIBYTE = 1024 * 1024
HEADERS = b"POST /topics/orders HTTP/1.1\r\nHost: a\r\n" + b"".join(
    b"x%d: " % number + b"y" * 8000 + b"\r\n" for number in range(120)
)
"""Most of a MiB, each line of which is allowed."""
IDLE = 10_000
MAX_CONNECTIONS = 10_100
"""The default, and room for the others."""
STALLED = 2_000
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def memory(process: ManagedProcess) -> float:
    """Resident memory in MiB."""
    assert process.pid is not None
    return float(psutil.Process(process.pid).memory_info().rss) / MEBIBYTE


async def connect(port: int, count: int) -> list[Connection]:
    """Open connections, a few hundred at a time."""
    opened: list[Connection] = []
    while len(opened) < count:
        some = min(200, count - len(opened))
        opened += await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(some)))
    return opened


async def slowest_of(port: int, count: int) -> float:
    """Send events one after another and return how long the slowest took."""
    loop, slowest = asyncio.get_running_loop(), 0.0
    for _ in range(count):
        began = loop.time()
        assert (await exchange(port, request_bytes("POST", "/topics/orders", EVENT, b"x" * 1000))).status == 202
        slowest = max(slowest, loop.time() - began)
    return slowest


async def test_crowd(tmp_path: Path) -> None:
    """10,000 idle connections; 2,000 headers that never end; 2,000 bodies that stop half-way at 64 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 30_000), hard))
    try:
        room = ("--max-connections", str(MAX_CONNECTIONS))
        with cluster(tmp_path, nodes=1) as kafka, gateway(tmp_path, kafka.bootstrap_servers, *room) as (process, port):
            await slowest_of(port, 20)
            at_rest = memory(process)
            idle = await connect(port, IDLE)
            assert await slowest_of(port, 20) < 1
            with_idle = memory(process)
            for _, writer in idle:
                writer.close()
            large = await connect(port, STALLED)
            for _, writer in large:
                writer.write(HEADERS)
            await asyncio.sleep(1)
            with_headers = memory(process)
            assert await slowest_of(port, 20) < 1
            for _, writer in large:
                writer.transport.abort()
            stalled = await connect(port, STALLED)
            half = request_bytes("POST", "/topics/orders", EVENT, b"x" * 32_768, length=65_536)
            for _, writer in stalled:
                writer.write(half)
            await asyncio.sleep(1)
            with_stalled = memory(process)
            answers = await asyncio.gather(*(_status(connection) for connection in stalled))
            print(  # noqa: T201 - the measurement itself
                f"MiB at rest {at_rest:.0f}, {IDLE} idle {with_idle:.0f}, {STALLED} "
                f"with headers that never end {with_headers:.0f}, {STALLED} stalled {with_stalled:.0f}; "
                f"answers {sorted((status, answers.count(status)) for status in set(answers))}"
            )
            assert with_idle - at_rest < 400
            assert with_headers - at_rest < STALLED * 64 / 1024 * 2 + 100
            assert with_stalled - at_rest < 5 * 64
            assert set(answers) <= {408, 429}
            assert await slowest_of(port, 20) < 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _status(connection: Connection) -> int:
    reader, writer = connection
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
    writer.close()
    return int(head.split(b" ")[1])
