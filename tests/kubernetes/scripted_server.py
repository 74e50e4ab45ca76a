"""A tiny HTTP server on loopback that answers as a test says: faults that a real API server does not make to order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from activator.kubernetes import configuration
from activator.kubernetes.client import KubernetesClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: cluster, cluster: {{server: "{url}", insecure-skip-tls-verify: true}}}}]
users: [{{name: user, user: {{token: sesame}}}}]
contexts: [{{name: context, context: {{cluster: cluster, user: user}}}}]
current-context: context
"""


class ScriptedServer:
    """Answers requests in the order of its script; the last answer is repeated."""

    def __init__(self, *script: Answer) -> None:
        self._script = deque(script)
        self.requests: list[web.Request] = []
        self.bodies: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note a request and answer it."""
        self.requests.append(request)
        self.bodies.append(await request.text())
        answer = self._script[0] if len(self._script) == 1 else self._script.popleft()
        return await answer(request)


@asynccontextmanager
async def scripted(folder: Path, *script: Answer) -> AsyncIterator[tuple[KubernetesClient, ScriptedServer]]:
    """Yield a client, and the server that it talks to."""
    server = ScriptedServer(*script)
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    client = await client_of(folder, server.url)
    yield client, server
    await client.close()
    await runner.cleanup()


async def client_of(folder: Path, url: str) -> KubernetesClient:
    """Return a client of the server at a URL, whose configuration is written into a folder."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(url=url), encoding="utf-8")
    return KubernetesClient(await configuration.load({"KUBECONFIG": str(kubeconfig)}))


def ok(document: object, status: int = 200) -> Answer:
    """Answer with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(document, status=status)

    return answer


def refused(status: int, message: str = "", **headers: str) -> Answer:
    """Answer with a Status object."""

    async def answer(_: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "code": status, "message": message}
        return web.json_response(body, status=status, headers={key.replace("_", "-"): v for key, v in headers.items()})

    return answer


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Take the request and close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    await asyncio.sleep(0)
    return web.Response()


async def silence(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    return web.Response()


def stream(*lines: str, then: Answer | None = None) -> Answer:
    """Begin a stream of lines; then end it, or go on as told."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(line.encode() + b"\n")
        if then is not None:
            await then(request)
        return response

    return answer
