"""Requests to the API server that survive its outages."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from testbed.kubeconfig import Credentials

log = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
WATCH_SECONDS = 60
WATCH_READ_SECONDS = 70.0
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 2.0
MERGE_PATCH = "application/merge-patch+json"
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429


class RefusedError(Exception):
    """The API server answered with a 4xx: repeating the same request would not help."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Client:
    """JSON requests; use as an async context manager."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._base = credentials.server
        self._headers = {"Authorization": f"Bearer {credentials.token}", "User-Agent": "testbed-kubelet"}
        self._tls = ssl.create_default_context(cadata=credentials.ca_pem)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=50)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        self._session = aiohttp.ClientSession(self._base, connector=connector, headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Send one request, again and again while the API server is away or overloaded.

        Raises:
            RefusedError: it answered with a 4xx other than 429.
        """
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                return await self._once(method, path, body, content_type)
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("%s %s: %r, next try in %.1f s", method, path, error, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY_SECONDS)

    async def _once(self, method: str, path: str, body: object, content_type: str) -> dict[str, Any]:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= SERVER_ERROR or answer.status == TOO_MANY_REQUESTS:
                answer.raise_for_status()
            if not answer.ok:
                raise RefusedError(answer.status, text)
            document: dict[str, Any] = json.loads(text)
            return document

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield (type, object) until the watch ends by itself.

        Raises:
            aiohttp.ClientError, TimeoutError: the connection broke.
        """
        query: Mapping[str, str] = {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=WATCH_READ_SECONDS)
        async with self._session.get(path, params=query, timeout=timeout) as answer:
            answer.raise_for_status()
            buffer = b""
            # By chunks, not by lines: a line may be longer than the reader's buffer.
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]
