"""The client gives every call a deadline, repeats what may be repeated, and speaks of errors in our own words."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from activator.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    WakegateError,
)
from activator.kubernetes import client as module
from activator.kubernetes import configuration
from activator.kubernetes.responses import ExpiredError
from tests.kubernetes import scripted_server as server
from tests.kubernetes.scripted_server import hang_up, ok, refused, silence, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from aiohttp import web

    from activator.kubernetes.client import KubernetesClient
    from tests.kubernetes.scripted_server import Answer, ScriptedServer

    Scripted = Callable[..., AbstractAsyncContextManager[tuple[KubernetesClient, ScriptedServer]]]

ORDERS = "/apis/apps/v1/namespaces/shop/deployments/orders"
FOUND = {"metadata": {"name": "orders"}}


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Return a client of a scripted server, which takes a watch for dead sooner than in earnest."""
    monkeypatch.setattr(module, "WATCH_SILENCE", timedelta(seconds=0.2))

    @asynccontextmanager
    async def begin(*script: Answer) -> AsyncIterator[tuple[KubernetesClient, ScriptedServer]]:
        async with server.scripted(tmp_path, *script) as both:
            yield both

    return begin


async def test_a_call_says_who_we_are_and_how_long_we_wait(scripted: Scripted) -> None:
    """The server drops a write that we have given up on; an administrator finds us in the audit log."""
    async with scripted(ok(FOUND)) as (client, api):
        assert await client.get(ORDERS, {"labelSelector": "a=b"}) == FOUND
        [request] = api.requests
        assert request.path == ORDERS
        assert request.query["labelSelector"] == "a=b"
        assert 0 < int(request.query["timeout"].removesuffix("ms")) <= 5000
        assert request.headers["Authorization"] == "Bearer sesame"
        assert request.headers["User-Agent"].startswith("wakegate/")


@pytest.mark.parametrize(
    ("method", "http_method", "content_type", "query"),
    [
        ("apply", "PATCH", "application/apply-patch+yaml", {"fieldManager": "wakegate", "force": "true"}),
        ("merge_patch", "PATCH", "application/merge-patch+json", {"fieldManager": "wakegate"}),
        ("replace", "PUT", "application/json", {"fieldManager": "wakegate"}),
        ("create", "POST", "application/json", {"fieldManager": "wakegate"}),
    ],
)
async def test_a_write_names_its_kind_and_its_manager(
    scripted: Scripted, method: str, http_method: str, content_type: str, query: dict[str, str]
) -> None:
    """A body of the wrong content type is refused by the server, or read as something else."""
    async with scripted(ok(FOUND)) as (client, api):
        assert await getattr(client, method)(ORDERS, {"spec": {"replicas": 0}}) == FOUND
        [request] = api.requests
        assert (request.method, request.headers["Content-Type"]) == (http_method, content_type)
        assert {key: value for key, value in request.query.items() if key != "timeout"} == query
        assert json.loads(api.bodies[0]) == {"spec": {"replicas": 0}}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidError),
        (401, DeniedError),
        (403, DeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, ExpiredError),
        (422, InvalidError),
    ],
)
async def test_what_does_not_pass_is_raised_at_once(
    scripted: Scripted, status: int, error: type[WakegateError]
) -> None:
    """With the place and the server's own words, and without a second try."""
    async with scripted(refused(status, "the server's own words")) as (client, api):
        with pytest.raises(error, match=rf"GET {ORDERS}: {status} the server's own words"):
            await client.get(ORDERS)
        assert len(api.requests) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(refused(500), id="500"),
        pytest.param(refused(503), id="503"),
        pytest.param(refused(429, Retry_After="0"), id="429"),
        pytest.param(hang_up, id="no answer"),
        pytest.param(stream("not json"), id="garbage"),
    ],
)
@pytest.mark.parametrize("method", ["get", "apply", "merge_patch", "replace"])
async def test_what_passes_is_waited_for(scripted: Scripted, trouble: Answer, method: str) -> None:
    """Twice in trouble, then well: one call for the caller."""
    async with scripted(trouble, trouble, ok(FOUND)) as (client, api):
        arguments = [ORDERS] if method == "get" else [ORDERS, {"spec": {}}]
        assert await getattr(client, method)(*arguments) == FOUND
        assert len(api.requests) == 3


async def test_a_create_is_not_repeated(scripted: Scripted) -> None:
    """It may have been made: the caller knows whether a second one would hurt."""
    async with scripted(hang_up, ok(FOUND)) as (client, api):
        with pytest.raises(UnavailableError):
            await client.create(ORDERS, FOUND)
        assert len(api.requests) == 1


async def test_the_server_says_how_long_to_wait(scripted: Scripted) -> None:
    """Retry-After is kept, where our own patience would have been shorter."""
    async with scripted(refused(429, Retry_After="1"), ok(FOUND)) as (client, _):
        started = asyncio.get_running_loop().time()
        await client.get(ORDERS)
        assert asyncio.get_running_loop().time() - started >= 1


async def test_a_wait_longer_than_the_deadline_is_the_callers(scripted: Scripted) -> None:
    """He is told how long, instead of being held."""
    async with scripted(refused(429, "slow down", Retry_After="30")) as (client, api):
        with pytest.raises(UnavailableError, match="429 slow down") as raised:
            await client.get(ORDERS)
        assert raised.value.retry_after == timedelta(seconds=30)
        assert len(api.requests) == 1


async def test_no_answer_is_an_answer_after_the_deadline(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is stopped must not hold a task for ever."""
    monkeypatch.setattr(module, "PAGE_DEADLINE", timedelta(seconds=0.2))
    async with scripted(silence) as (client, _):
        with pytest.raises(UnavailableError, match="no answer within"):
            async for _page in client.list_pages(ORDERS):
                pass


async def test_nobody_there_is_unavailable(scripted: Scripted) -> None:
    """The address and what the system said of it are in the error."""
    async with scripted(hang_up) as (client, api):
        with pytest.raises(UnavailableError, match=api.url):
            await client.create(ORDERS, FOUND)


@pytest.mark.parametrize(
    ("answers", "maybe_by_us"),
    [
        ([refused(409)], False),
        ([refused(429), refused(409)], False),
        ([hang_up, refused(409)], True),
        ([refused(504), refused(429), refused(409)], True),
    ],
)
async def test_a_conflict_may_be_with_a_try_of_ours(
    scripted: Scripted, answers: list[Answer], *, maybe_by_us: bool
) -> None:
    """A write that was cut off or timed out may have been made: sent again, it conflicts with itself."""
    async with scripted(*answers) as (client, _):
        with pytest.raises(ConflictError) as caught:
            await client.apply(ORDERS, FOUND)
        assert caught.value.maybe_by_us is maybe_by_us


@pytest.mark.parametrize(("answer", "maybe_done"), [(refused(429), False), (refused(504), True), (hang_up, True)])
async def test_a_write_without_an_answer_may_have_been_made(
    scripted: Scripted, answer: Answer, *, maybe_done: bool
) -> None:
    """Whoever throttles has done nothing; whoever times out, or hangs up, may have."""
    async with scripted(answer) as (client, _):
        with pytest.raises(UnavailableError) as caught:
            await client.create(ORDERS, FOUND)
        assert caught.value.maybe_done is maybe_done


async def test_where_nobody_listens_nothing_was_done(tmp_path: Path) -> None:
    """A connection that was refused has carried no request."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = await server.client_of(tmp_path, f"http://127.0.0.1:{port}")
    with pytest.raises(UnavailableError) as caught:
        await client.create(ORDERS, FOUND)
    await client.close()
    assert not caught.value.maybe_done


async def test_deleting_what_is_gone_is_no_error(scripted: Scripted) -> None:
    """Nor is a second try, whose first was applied."""
    async with scripted(hang_up, refused(404)) as (client, api):
        await client.delete(ORDERS)
        assert [request.method for request in api.requests] == ["DELETE", "DELETE"]


async def test_pages_follow_each_other(scripted: Scripted) -> None:
    """Each asks for what follows the one before; a page that failed is asked for again."""
    first = {"metadata": {"continue": "token"}, "items": [1]}
    last = {"metadata": {}, "items": [2]}
    async with scripted(ok(first), refused(503), ok(last)) as (client, api):
        assert [page["items"] async for page in client.list_pages(ORDERS)] == [[1], [2]]
        assert [request.query.get("continue") for request in api.requests] == [None, "token", "token"]


# --------------------------------------------------------------------------------------------------------- watching


def event(kind: str, version: str) -> str:
    """One line of a watch."""
    return json.dumps({"type": kind, "object": {"metadata": {"resourceVersion": version}}})


async def collect(client: KubernetesClient) -> list[str]:
    """Watch to the end."""
    return [f"{kind} {found['metadata']['resourceVersion']}" async for kind, found in client.watch(ORDERS, "7")]


async def test_a_watch_yields_until_the_server_ends_it(scripted: Scripted) -> None:
    """It asks for bookmarks, from a version on, and to be ended some time."""
    async with scripted(stream(event("ADDED", "8"), event("BOOKMARK", "9"))) as (client, api):
        assert await collect(client) == ["ADDED 8", "BOOKMARK 9"]
        query = api.requests[0].query
        assert (query["watch"], query["resourceVersion"], query["allowWatchBookmarks"]) == ("true", "7", "true")
        assert int(query["timeoutSeconds"]) in range(240, 301)


EXPIRED = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        pytest.param(stream(event("ADDED", "8"), then=silence), UnavailableError, "no answer within", id="silent"),
        pytest.param(stream(event("ADDED", "8"), then=hang_up), UnavailableError, "WATCH", id="cut off"),
        pytest.param(stream(event("ADDED", "8"), "{"), UnavailableError, "WATCH", id="garbage"),
        pytest.param(stream(event("ADDED", "8"), EXPIRED), ExpiredError, "410 too old", id="expired on the way"),
        pytest.param(refused(410, "too old"), ExpiredError, "410 too old", id="expired at once"),
        pytest.param(refused(403, "no"), DeniedError, "403 no", id="denied"),
        pytest.param(refused(429, Retry_After="3"), UnavailableError, "429", id="busy"),
    ],
)
async def test_a_watch_that_breaks_says_how(
    scripted: Scripted, answer: Answer, error: type[WakegateError], match: str
) -> None:
    """A dead peer says nothing at all: only the deadline on silence finds it."""
    async with scripted(answer) as (client, _):
        with pytest.raises(error, match=match):
            await collect(client)


async def test_watches_leave_room_for_calls(scripted: Scripted) -> None:
    """Each watch occupies a connection: they have a pool of their own."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (stream(event("ADDED", "8"), then=silence) if "watch" in request.query else ok(FOUND))(request)

    async with scripted(answer) as (whole, _):
        client = whole.with_own_connections(1)
        watches = [client.watch(ORDERS, "7") for _ in range(3)]
        for watch in watches:
            assert (await anext(watch))[0] == "ADDED"
        assert await client.get(ORDERS) == FOUND
        for watch in watches:
            await watch.aclose()


async def keep_warm_until(enough: asyncio.Event, client: KubernetesClient, connections: int) -> None:
    """Keep connections warm until something has happened."""
    task = asyncio.create_task(client.keep_warm(connections))
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_warm_connections_are_used_again_and_again(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server answers: the next wakes, of a storm too, need no handshake."""
    monkeypatch.setattr(module, "WARM_EVERY", timedelta(seconds=0.01))
    all_there, enough = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if len(api.requests) == 3:
            all_there.set()
        if len(api.requests) == 15:
            enough.set()
        await all_there.wait()
        return await refused(403)(request)

    async with scripted(answer) as (client, api):
        await keep_warm_until(enough, client, 3)
        assert len({id(request.transport) for request in api.requests[:15]}) == 3


@pytest.mark.parametrize(
    ("answer", "again"),
    [(ok(FOUND), "WARM_EVERY"), (refused(403), "WARM_EVERY"), (refused(500), "WARM_AGAIN_AFTER")],
    ids=["answered", "denied", "in trouble"],
)
async def test_connections_that_could_not_be_kept_warm_are_tried_again_soon(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, answer: Answer, again: str
) -> None:
    """A round of which one call was not answered is no round: a wake in the next 45 s would need a handshake."""
    for pause in ("WARM_EVERY", "WARM_AGAIN_AFTER"):
        monkeypatch.setattr(module, pause, timedelta(hours=pause != again))
    enough = asyncio.Event()

    async def counted(request: web.Request) -> web.StreamResponse:
        if len(api.requests) == 6:
            enough.set()
        return await answer(request)

    async with scripted(counted) as (client, api):
        await keep_warm_until(enough, client, 2)


async def test_the_kernel_asks_whether_an_idle_peer_is_still_there(scripted: Scripted) -> None:
    """A node that loses its power says no farewell: the wake that meets its connection would wait for five seconds."""
    async with scripted(ok(FOUND)) as (client, _):
        await client.get(ORDERS)
        connector = client._calls.rest_client.pool_manager.connector
        assert connector is not None
        ((idle, _),) = next(iter(connector._conns.values()))
        assert idle.transport is not None
        connection = idle.transport.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize(("idle_seconds", "connections"), [(configuration.IDLE_SECONDS, 1), (0.0, 2)])
async def test_an_idle_connection_is_kept_for_as_long_as_we_say(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, idle_seconds: float, connections: int
) -> None:
    """The connector is the library's: what we set there must reach aiohttp."""
    monkeypatch.setattr(configuration, "IDLE_SECONDS", idle_seconds)
    async with scripted(ok(FOUND)) as (client, api):
        await client.get(ORDERS)
        await client.get(ORDERS)
        assert len({id(request.transport) for request in api.requests}) == connections


def test_a_warm_connection_is_used_again_before_it_is_given_up() -> None:
    """Else every wake would need a handshake, as without."""
    assert module.WARM_EVERY.total_seconds() < configuration.IDLE_SECONDS


async def test_a_call_over_a_warm_connection_needs_no_thread(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake would wait for its turn: a hop to a thread and back costs as much as the request itself."""
    async with scripted(ok(FOUND)) as (client, _):
        await client.get(ORDERS)
        hops: list[object] = []
        monkeypatch.setattr(
            asyncio.get_running_loop(), "run_in_executor", lambda *arguments: hops.append(arguments[1:])
        )
        await client.merge_patch(ORDERS, {})
        assert hops == []
