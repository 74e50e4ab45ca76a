"""Asking a dashboard: what is made of an answer that is none of a dashboard's."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from activator.errors import UnavailableError
from activator.web import dashboard_client
from activator.web.dashboard_client import DashboardClient
from activator.web.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST = 1000


@asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[str]:
    """Something that has the same answer to everything; its URL."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    listener = Listener(app, ("127.0.0.1", 0))
    await listener.start()
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        await listener.close()


def padded(size: int) -> bytes:
    """A JSON object of so many bytes."""
    return b"{" + b" " * (size - 2) + b"}"


async def test_an_answer_that_is_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence that names the dashboard and the limit; an answer of just that size is read."""
    monkeypatch.setattr(dashboard_client, "_MOST_BYTES", MOST)
    async with answering(padded(MOST)) as url:
        assert await DashboardClient(url).overview() == {}
    async with answering(padded(MOST + 1)) as url:
        with pytest.raises(UnavailableError) as told:
            await DashboardClient(url).overview()
    assert str(told.value) == f"dashboard {url}: its answer is larger than {MOST} bytes, and was not read to its end"


async def test_a_refusal_is_told_as_it_stands() -> None:
    """A dashboard on loopback that is asked for under another name says which names it answers to."""
    async with answering(b"the dashboard was asked for as 'ops'\n", status=403) as url:
        with pytest.raises(UnavailableError) as told:
            await DashboardClient(url).overview()
    assert str(told.value) == f"dashboard {url}: the dashboard was asked for as 'ops'"
