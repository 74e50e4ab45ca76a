"""The dashboard's listener: the page, its data, its stream."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from activator.errors import SettingsError
from activator.web import dashboard
from activator.web.board import Board
from activator.web.dashboard import Dashboard
from tests.fakes.facts import START, evaluation, wake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TRACE_URL = "http://jaeger:16686/trace/{trace_id}"


class World:
    """A running dashboard and its board."""

    def __init__(self) -> None:
        self.board = Board()
        self.leads = True
        self.dashboard = Dashboard(
            ("127.0.0.1", 0), board=self.board, now=lambda: START, leads=lambda: self.leads, trace_url=TRACE_URL
        )

    def url(self, path: str) -> str:
        """Return a URL of it."""
        return f"http://127.0.0.1:{self.dashboard.port}{path}"

    async def get(self, path: str, **headers: str) -> tuple[int, str, aiohttp.ClientResponse]:
        """Return status, text and the response."""
        limit = aiohttp.ClientTimeout(total=10)  # a stream that is let in has no end
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(self.url(path), headers=headers) as response,
        ):
            return response.status, await response.text(), response

    @asynccontextmanager
    async def stream(self, query: str = "") -> AsyncIterator[Stream]:
        """Follow a view."""
        async with aiohttp.ClientSession() as session, session.get(self.url(f"/api/stream{query}")) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            yield Stream(response)


class Stream:
    """Server-sent events, one after the other."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Any] | None:
        """Return an event's name and data; None: the stream has ended."""
        async with asyncio.timeout(10):
            lines = [await self._response.content.readline() for _ in range(3)]
        if not lines[0]:
            return None
        name, data = lines[0].decode().strip(), lines[1].decode().strip()
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a running dashboard."""
    made = World()
    await made.dashboard.start()
    yield made
    await made.dashboard.close()


async def test_the_page_is_one_file_that_may_run_nothing_else(world: World) -> None:
    """No address of any other place stands in it, and the policy names the hash of its own script and style only."""
    status, text, response = await world.get("/")
    assert status == 200
    outside = set(re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(https?:)?//[^"')\s]+""", text.replace(TRACE_URL, "")))
    assert outside == set()
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert json.dumps(TRACE_URL) in text


async def test_a_trace_url_cannot_break_out_of_the_script() -> None:
    """It is the operator's, and still only a text."""
    page, _ = dashboard._page("http://x/{trace_id}</script><script>alert(1)")
    assert b"</script><script>alert" not in page


@pytest.mark.parametrize("template", ["javascript:alert(1)//{trace_id}", "jaeger/{trace_id}", "http://jaeger/trace/"])
def test_a_trace_url_that_is_none_is_refused(template: str) -> None:
    """At the start, with what is allowed."""
    with pytest.raises(SettingsError, match=r"allowed: a URL with \{trace_id\} in it"):
        Dashboard(("127.0.0.1", 0), board=Board(), now=lambda: START, trace_url=template)


async def test_the_data_is_there_for_scripts_too(world: World) -> None:
    """As JSON, with the same filters as the page."""
    world.board.record(evaluation(0))
    _, text, _ = await world.get("/api/targets?q=orders")
    assert [row["id"] for row in json.loads(text)["rows"]] == ["shop/Deployment/orders"]
    _, text, _ = await world.get("/api/targets/shop/Deployment/orders")
    assert json.loads(text)["row"]["phase"] == "Asleep"
    status, text, _ = await world.get("/api/targets/shop/Deployment/none")
    assert (status, text) == (404, "no target shop/Deployment/none is managed by this replica\n")


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "[::1]:8081", "localhost:9", "LocalHost", "10.0.0.7:8081"])
async def test_it_is_read_by_an_address_or_as_localhost(world: World, host: str) -> None:
    """Whichever port it was forwarded to."""
    status, _, _ = await world.get("/api/targets", Host=host)
    assert status == 200


@pytest.mark.parametrize("path", ["/", "/api/targets", "/api/targets/shop/Deployment/orders", "/api/stream", "/none"])
@pytest.mark.parametrize("host", ["evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", ""])
async def test_a_page_whose_name_was_led_here_reads_nothing(world: World, host: str, path: str) -> None:
    """A browser sends the name under which it asks, and lets the page of that name read the answer."""
    world.board.record(evaluation(0))
    status, text, _ = await world.get(path, Host=host)
    assert status == 403
    assert text == (
        f"the dashboard was asked for as {host!r}; allowed where it listens on this machine alone: "
        "an IP address or localhost (--dashboard-listen has it listen elsewhere)\n"
    )


async def test_a_dashboard_for_other_machines_is_read_by_any_name() -> None:
    """Whoever lets it listen there has a name for it, such as that of a Service."""
    served = Dashboard(("0.0.0.0", 0), board=Board(), now=lambda: START)  # noqa: S104 - what it is about
    await served.start()
    url = f"http://127.0.0.1:{served.port}/api/targets"
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Host": "wakegate.ops.svc"}) as response,
        ):
            assert response.status == 200
    finally:
        await served.close()


async def test_a_stream_begins_whole_and_goes_on_with_changes(world: World) -> None:
    """First whether this replica leads, then the view, then what changes."""
    world.board.record(evaluation(0))
    async with world.stream() as stream:
        assert await stream.next() == ("alive", {"leads": True})
        snapshot = await stream.next()
        assert snapshot is not None
        assert snapshot[0] == "snapshot"
        world.board.record(wake(1))
        update = await stream.next()
        assert update is not None
        assert (update[0], update[1]["rows"][0]["phase"]) == ("update", "Waking")
        world.leads = False
        assert await stream.next() == ("alive", {"leads": False})


async def test_a_target_has_a_stream_of_its_own(world: World) -> None:
    """Also while it is not there yet."""
    async with world.stream("?target=shop/Deployment/orders") as stream:
        await stream.next()
        absent = await stream.next()
        assert absent is not None
        assert absent[1]["row"] is None
        world.board.record(evaluation(0))
        present = await stream.next()
        assert present is not None
        assert present[1]["row"]["phase"] == "Asleep"


async def test_a_quiet_stream_says_that_the_server_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nobody could tell silence from absence."""
    monkeypatch.setattr(dashboard, "_HEARTBEAT_SECONDS", 0.0)
    async with world.stream() as stream:
        await stream.next()
        await stream.next()
        assert await stream.next() == ("alive", {"leads": True})


async def test_the_end_of_the_server_ends_its_streams_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tab that somebody left open must not hold up a shutdown."""
    monkeypatch.setattr(dashboard, "_LOOK_SECONDS", 0.01)
    async with world.stream() as stream:
        await stream.next()
        await stream.next()
        async with asyncio.timeout(1.5):  # less than the two seconds that open requests are given
            await world.dashboard.close()
        assert await stream.next() is None


async def test_viewers_are_limited_and_leave_room_when_they_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's forgotten tabs must not eat the process."""
    monkeypatch.setattr(dashboard, "_MOST_STREAMS", 1)
    monkeypatch.setattr(dashboard, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(dashboard, "_HEARTBEAT_SECONDS", 0.0)
    async with world.stream() as stream:
        await stream.next()
        status, text, _ = await world.get("/api/stream")
        assert (status, text) == (503, "1 viewers are here already; close a tab and try again\n")
    async with asyncio.timeout(5):
        while world.dashboard._streams:  # noqa: ASYNC110 - the server notices when it next writes
            await asyncio.sleep(0.01)
    async with world.stream() as stream:
        assert await stream.next()


async def test_it_is_read_only(world: World) -> None:
    """No method but GET is served anywhere."""
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/api/targets", "/api/targets/shop/Deployment/orders", "/api/stream"):
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                async with session.request(method, world.url(path)) as response:
                    assert response.status == 405
