"""The plain HTTP listener of the activator: /healthz, /readyz, /metrics and POST /wake."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from activator.core.model import Push, PushSource
from activator.web.bearer import TokenFile, Verdict
from activator.web.listener import BODY_BYTES, Listener, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from activator.ports import PushListener

_MAX_PUSHES = 1000
_MAX_TRACEPARENT = 128
"""Twice the length of version 00; what is longer is not a trace context."""


class Server:
    """Answers the kubelet, Prometheus and the gateway.

    Args:
        address: host and port; port 0 takes a free one.
        registry: what /metrics shows.
        ready: why this process should get no traffic, one clause each; empty: it is ready.
        alive: why this process should be restarted; empty: it is alive. That the answer comes at all shows that the
            event loop is not stuck.
        pushes: takes what POST /wake brings.
        wake_token_file: tokens that POST /wake asks for; None: it is refused.
        now: the clock that stamps pushes.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        registry: CollectorRegistry,
        ready: Callable[[], Sequence[str]],
        pushes: PushListener,
        wake_token_file: Path | None,
        now: Callable[[], datetime],
        alive: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._registry = registry
        self._ready = ready
        self._alive = alive
        self._pushes = pushes
        self._token = TokenFile(wake_token_file)
        self._now = now
        app = web.Application(middlewares=[guard(_problem)], client_max_size=BODY_BYTES)
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.post("/wake", self._wake),
            ]
        )
        self._listener = Listener(app, address)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    async def start(self) -> None:
        """Listen. Raises UnavailableError where the address cannot be had."""
        await self._listener.start()

    async def close(self) -> None:
        """End open requests within two seconds and close."""
        await self._listener.close()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _probe(self._alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _probe(self._ready())

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        compressed = "gzip" in request.headers.get("Accept-Encoding", "")

        def render() -> bytes:
            text: bytes = encode(self._registry)
            return gzip.compress(text, compresslevel=1) if compressed else text

        # With thousands of targets the text takes a good part of a second: a wake must not wait for it.
        body = await asyncio.to_thread(render)
        headers = {"Content-Type": content_type} | ({"Content-Encoding": "gzip"} if compressed else {})
        return web.Response(body=body, headers=headers)

    async def _wake(self, request: web.Request) -> web.Response:
        match self._token.check(request.headers.get("Authorization")):
            case Verdict.NO_TOKEN_CONFIGURED:
                return _problem(403, "POST /wake is off: WAKEGATE_WAKE_TOKEN_FILE names no file with a token in it")
            case Verdict.REFUSED:
                answer = _problem(401, "the Authorization header must be 'Bearer' and a token of the activator's")
                answer.headers["WWW-Authenticate"] = 'Bearer realm="wakegate"'
                return answer
            case Verdict.ALLOWED:
                pass
        try:
            topics = _topics(await request.read())
        except ValueError as error:
            return _problem(400, str(error))
        traceparent = request.headers.get("traceparent")
        if traceparent is not None and len(traceparent) > _MAX_TRACEPARENT:
            traceparent = None
        now = self._now()
        for bootstrap_servers, topic in topics:
            self._pushes.push(Push(bootstrap_servers, topic, PushSource.GATEWAY, now, traceparent=traceparent))
        return web.json_response({"accepted": len(topics)}, status=202)


def _topics(body: bytes) -> tuple[tuple[str, str], ...]:
    """Read ``[{"bootstrapServers": "kafka:9092", "topic": "orders"}, ...]``; the same topic twice is one push."""
    try:
        listed: Any = json.loads(body)
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_PUSHES:
        raise ValueError(
            f'the body must be a list of 1 to {_MAX_PUSHES} objects {{"bootstrapServers": "...", "topic": "..."}}'
        )
    return tuple(dict.fromkeys(_topic(index, entry) for index, entry in enumerate(listed)))


def _topic(index: int, entry: Any) -> tuple[str, str]:
    return _text(index, entry, "bootstrapServers", separator=","), _text(index, entry, "topic")


def _text(index: int, entry: Any, key: str, separator: str | None = None) -> str:
    """Return a text without the white space around it, and around its parts where it is a list."""
    value = entry.get(key) if isinstance(entry, dict) else None
    parts = (value.split(separator) if separator else [value]) if isinstance(value, str) else []
    text = (separator or "").join(part.strip() for part in parts if part.strip())
    if not text:
        raise ValueError(f"[{index}].{key} is {value!r}; allowed: a text that is not empty")
    return text


def _probe(problems: Sequence[str]) -> web.Response:
    if not problems:
        return web.Response(text="ok\n")
    return web.Response(text="".join(f"{problem}\n" for problem in problems), status=503)


def _problem(status: int, message: str) -> web.Response:
    return web.Response(text=f"{message}\n", status=status)
