"""/healthz, /readyz and /metrics, on a listener of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry

_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


class Management:
    """Answers the kubelet and Prometheus.

    Args:
        registry: what /metrics shows.
        ready: why this process should get no events, one clause each; empty: it is ready. Kafka is asked about here.
            /healthz asks nothing: that it answers shows that the event loop turns, and a restart cures no Kafka.
    """

    def __init__(self, registry: CollectorRegistry, ready: Callable[[], Sequence[str]]) -> None:
        self._registry = registry
        self._ready = ready

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.method not in _METHODS:
            return web.Response(status=405, text="allowed: GET, HEAD\n", headers={"Allow": "GET, HEAD"})
        match request.rel_url.raw_path:
            case "/healthz":
                return web.Response(text="ok\n")
            case "/readyz":
                problems = self._ready()
                text = "".join(f"{problem}\n" for problem in problems) or "ok\n"
                return web.Response(text=text, status=503 if problems else 200)
            case "/metrics":
                return await self._metrics(request)
        return web.Response(status=404, text="served here: /healthz, /readyz and /metrics\n")

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        body = await asyncio.to_thread(encode, self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})
