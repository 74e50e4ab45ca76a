"""The dashboard's listener: one page, its data as JSON, and changes as server-sent events. Read-only.

The page is one file without external requests; the Content-Security-Policy lets it run nothing but its own script.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from importlib import resources
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from activator.errors import SettingsError
from activator.web.board_views import OverviewFeed, Query, TargetFeed
from activator.web.listener import Listener, guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from activator.web.board import Board
    from activator.web.board_views import Message

_LOOK_SECONDS = 0.3
"""How often a viewer's stream looks for changes: a wake is on the page within a second."""
_HEARTBEAT_SECONDS = 5.0
"""A stream without changes says this often that the server is there; the page gives up on it after three."""
_WRITE_SECONDS = 5.0
_MOST_STREAMS = 64
_LONGEST_SHOWN = 80
_TARGET = "/api/targets/{namespace}/{kind}/{name}"


class Dashboard:
    """Serves a board.

    Args:
        address: host and port; port 0 takes a free one.
        board: what is shown.
        now: the clock.
        leads: whether this replica decides; another replica's page says who to ask.
        trace_url: where a trace is looked at, with ``{trace_id}`` in it; empty: trace ids are plain text.

    Raises:
        SettingsError: `trace_url` is no such template.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        board: Board,
        now: Callable[[], datetime],
        leads: Callable[[], bool] = lambda: True,
        trace_url: str = "",
    ) -> None:
        if trace_url and not (trace_url.startswith(("http://", "https://")) and "{trace_id}" in trace_url):
            raise SettingsError(
                f"trace URL is {trace_url!r}; allowed: a URL with {{trace_id}} in it, "
                "such as http://jaeger:16686/trace/{trace_id}"
            )
        self._board = board
        self._now = now
        self._leads = leads
        self._page, self._policy = _page(trace_url)
        self._closing = asyncio.Event()
        self._streams = 0
        app = web.Application(middlewares=[guard(_problem, unbounded=frozenset({"/api/stream"}))])
        if _is_loopback(address[0]):
            app.middlewares.append(_under_local_names)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/api/targets", self._overview),
                web.get(_TARGET, self._target),
                web.get("/api/stream", self._stream),
            ]
        )
        app.on_shutdown.append(self._end_streams)
        self._listener = Listener(app, address)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    async def start(self) -> None:
        """Listen. Raises UnavailableError where the address cannot be had."""
        await self._listener.start()

    async def close(self) -> None:
        """End all streams and close."""
        await self._listener.close()

    async def _end_streams(self, _app: web.Application) -> None:
        self._closing.set()

    async def _index(self, _request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._policy, "Cache-Control": "no-cache"} | _HARDENED
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=headers)

    async def _overview(self, request: web.Request) -> web.Response:
        return _document(OverviewFeed(self._board, Query.read(request.query)).next(self._now()))

    async def _target(self, request: web.Request) -> web.Response:
        feed = TargetFeed(self._board, **request.match_info)
        message = feed.next(self._now())
        if message is None or message[1]["row"] is None:
            return _problem(404, f"no target {'/'.join(request.match_info.values())} is managed by this replica")
        return _document(message)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send one view as server-sent events until the viewer leaves: ``?target=NS/KIND/NAME``, else the overview."""
        if self._streams >= _MOST_STREAMS:
            return _problem(503, f"{_MOST_STREAMS} viewers are here already; close a tab and try again")
        target = request.query.get("target", "").split("/")
        feed = (
            TargetFeed(self._board, *target)
            if len(target) == 3  # noqa: PLR2004 - namespace, kind, name
            else OverviewFeed(self._board, Query.read(request.query))
        )
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers | _HARDENED)
        self._streams += 1
        try:
            await response.prepare(request)
            await self._feed(response, feed)
        except (ConnectionError, TimeoutError):  # the viewer has left, or does not read
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams -= 1
        return response

    async def _feed(self, response: web.StreamResponse, feed: OverviewFeed | TargetFeed) -> None:
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        told: bool | None = None
        while not self._closing.is_set():
            message, leads = feed.next(self._now()), self._leads()
            if leads is not told or loop.time() - silent_since >= _HEARTBEAT_SECONDS:
                await _send(response, "alive", {"leads": leads})
                told, silent_since = leads, loop.time()
            if message is not None:
                await _send(response, *message)
                silent_since = loop.time()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                continue


_HARDENED = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}


@web.middleware
async def _under_local_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a page of elsewhere that lets its own name lead to this machine (DNS rebinding) to read what is here."""
    host = request.headers.get("Host", "")
    if _is_local_name(host):
        return await handler(request)
    return _problem(
        403,
        f"the dashboard was asked for as {host[:_LONGEST_SHOWN]!r}; allowed where it listens on this machine alone: "
        "an IP address or localhost (--dashboard-listen has it listen elsewhere)",
    )


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not match
        return False
    return name == "localhost" or _is_address(name)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


async def _send(response: web.StreamResponse, event: str, document: object) -> None:
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    async with asyncio.timeout(_WRITE_SECONDS):
        await response.write(f"event: {event}\ndata: {data}\n\n".encode())


def _page(trace_url: str) -> tuple[bytes, str]:
    """Return the page with the one setting it needs, and the policy that lets nothing but its own parts run."""
    text = resources.files(__package__).joinpath("dashboard.html").read_text(encoding="utf-8")
    quoted = json.dumps(trace_url).replace("<", "\\u003c")
    text = text.replace('"TRACE_URL"', quoted)
    hashes = {tag: _hashes(text, tag) for tag in ("script", "style")}
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; script-src {hashes['script']}; "
        f"style-src {hashes['style']}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy


def _hashes(text: str, tag: str) -> str:
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in parts)


def _document(message: Message | None) -> web.Response:
    return web.json_response(message[1] if message else {}, headers=_HARDENED)


def _problem(status: int, message: str) -> web.Response:
    return web.Response(text=f"{message}\n", status=status)
