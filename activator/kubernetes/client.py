"""The few calls that the adapters make to an API server: raw dicts, a deadline on each, errors translated once.

Paths are those of the API (``/apis/apps/v1/namespaces/shop/deployments/orders``); what comes back is parsed JSON.
All calls raise only `activator.errors` (and `ExpiredError` for HTTP 410, which only the reflector has a use for).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import aclosing
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import tenacity

from activator.core.naming import FIELD_MANAGER
from activator.errors import ConflictError, InvalidError, NotFoundError, UnavailableError, WakegateError
from activator.kubernetes import configuration as configurations
from activator.kubernetes.responses import ExpiredError, error_of, error_of_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from kubernetes_asyncio.client import ApiClient, Configuration

log = logging.getLogger(__name__)

Document = dict[str, Any]
"""A Kubernetes object, or a list of them, as parsed JSON."""

REQUEST_DEADLINE = timedelta(seconds=5)
"""How long any call but a list page or a watch may take, retries included. The server is told it too, so that a write
does not take effect after we have given up on it. Well under the lease's 15 s, of which a call must leave some."""
PAGE_DEADLINE = timedelta(seconds=30)
"""A page of a list may have to wait for a server that has just started."""
WATCH_SECONDS = (240, 300)
"""Every watch asks to be ended after a random time between these, so that they do not all end together."""
WATCH_SILENCE = timedelta(seconds=80)
"""A watch that says nothing for so long is taken for dead: bookmarks come every 60 s, and TCP alone never tells."""
WARM_EVERY = timedelta(seconds=45)
"""How often kept-warm connections are used: before `configuration.IDLE_SECONDS` are over."""
WARM_AGAIN_AFTER = timedelta(seconds=5)
"""When it is tried again where one of them was not answered."""
PAGE_SIZE = 200
"""Objects a list page: fewer cost the server a read of etcd each, more hold the loop (200 Deployments: about 15 ms)."""

_CONNECTIONS = 32
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_FOREIGN_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
_LONGEST_PAUSE = 1.0


class KubernetesClient:
    """Calls to one API server over a connection pool of its own, and watches over another."""

    def __init__(self, configuration: Configuration, connections: int = _CONNECTIONS) -> None:
        self._configuration = configuration
        self._calls = configurations.new_api_client(configuration, connections)
        # A watch occupies a connection for as long as it lasts: in one pool with calls, a few would starve them.
        self._watches = configurations.new_api_client(configuration, 0)
        self._siblings: list[KubernetesClient] = []
        self.server = str(configuration.host)

    @classmethod
    async def from_environment(cls) -> Self:
        """Connect to the cluster that KUBECONFIG names, or the one we run in. Raises SettingsError."""
        return cls(await configurations.load())

    def with_own_connections(self, connections: int) -> KubernetesClient:
        """Return a client to the same server with pools of its own, so that others' storms do not hold it up.

        It is closed with this one.
        """
        sibling = KubernetesClient(self._configuration, connections)
        self._siblings.append(sibling)
        return sibling

    async def close(self) -> None:
        """Close all connections."""
        for sibling in self._siblings:
            await sibling.close()
        await self._calls.close()
        await self._watches.close()

    async def keep_warm(self, connections: int) -> None:
        """Use so many connections at once, again and again until cancelled: the next calls wait for no TCP and TLS."""
        while True:
            answers = await asyncio.gather(*(self._is_answered() for _ in range(connections)))
            await asyncio.sleep((WARM_EVERY if all(answers) else WARM_AGAIN_AFTER).total_seconds())

    async def _is_answered(self) -> bool:
        try:
            await self._send("GET", "/version", deadline=REQUEST_DEADLINE)
        except UnavailableError as error:  # the next real call meets the same trouble and reports it
            log.debug("connection to %s could not be kept warm: %s", self.server, error)
            return False
        except WakegateError:
            pass  # /version is open to every account; where it is not, a 403 warms the connection just as well
        return True

    # --------------------------------------------------------------------------------------------------- reading

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Document:
        """Read one object (or one list in a single answer)."""
        return await self._retried("GET", path, query=query)

    async def list_pages(self, path: str, query: Mapping[str, str] | None = None) -> AsyncGenerator[Document, None]:
        """Read a list page by page; all pages show the same moment. Raises ExpiredError where that took too long."""
        following = ""
        while True:
            paging = {"limit": str(PAGE_SIZE)} | ({"continue": following} if following else {})
            page = await self._retried("GET", path, query={**(query or {}), **paging}, deadline=PAGE_DEADLINE)
            yield page
            following = page.get("metadata", {}).get("continue") or ""
            if not following:
                return

    async def watch(self, path: str, resource_version: str) -> AsyncGenerator[tuple[str, Document], None]:
        """Yield (type, object) of every change after a resourceVersion, bookmarks included, until the server ends it.

        Raises ExpiredError where the resourceVersion is too old, UnavailableError where the stream breaks or falls
        silent for `WATCH_SILENCE`.
        """
        where = self._where("WATCH", path)
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311 - spread, not secrecy
        }
        try:
            async with asyncio.timeout(REQUEST_DEADLINE.total_seconds()):
                response = await _call(self._watches, "GET", path, query, None, _JSON)
            try:
                async with aclosing(_events(response, where)) as events:
                    async for event in events:
                        yield event
            finally:
                response.close()
        except _FOREIGN_ERRORS as error:
            raise UnavailableError(where, _in_words(error, WATCH_SILENCE)) from error

    async def date(self) -> datetime:
        """Tell the API server's time: the header Date of an answer, whole seconds (RFC 9110, section 6.6.1).

        Raises UnavailableError, also where what answers tells no date.
        """
        where = self._where("GET", "/version")
        try:
            async with (
                asyncio.timeout(REQUEST_DEADLINE.total_seconds()),
                await _call(self._calls, "GET", "/version", {}, None, _JSON) as response,
            ):
                return parsedate_to_datetime(response.headers.get("Date", ""))
        except _FOREIGN_ERRORS as error:
            raise UnavailableError(where, _in_words(error, REQUEST_DEADLINE)) from error

    # --------------------------------------------------------------------------------------------------- writing

    async def create(self, path: str, body: Document) -> Document:
        """Create an object in a collection; not repeated by itself. Raises ConflictError where it exists."""
        return await self._send("POST", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def replace(self, path: str, body: Document) -> Document:
        """Replace an object; its metadata.resourceVersion must be the one that was read, else ConflictError."""
        return await self._retried("PUT", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def merge_patch(self, path: str, body: Document) -> Document:
        """Apply a JSON merge patch (RFC 7386). It is sent again where no answer came, so it must bear that."""
        return await self._retried("PATCH", path, body=body, query={"fieldManager": FIELD_MANAGER}, kind=_MERGE_PATCH)

    async def apply(self, path: str, body: Document) -> Document:
        """Apply server-side what we own of an object, taking fields over from whoever else wrote them."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._retried("PATCH", path, body=body, query=query, kind=_APPLY_PATCH)

    async def delete(self, path: str) -> None:
        """Delete an object; one that is gone already is no error."""
        try:
            await self._retried("DELETE", path, body={"propagationPolicy": "Background"})
        except NotFoundError:
            return

    # -------------------------------------------------------------------------------------------------- in common

    async def _retried(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        kind: str = _JSON,
        deadline: timedelta = REQUEST_DEADLINE,
    ) -> Document:
        """Send a call that may safely be sent again, until it is answered or the deadline has passed."""
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(UnavailableError),
            stop=tenacity.stop_before_delay(deadline.total_seconds()),
            wait=_pause,
            reraise=True,
        )
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline.total_seconds()
        maybe_done = False

        async def once() -> Document:
            nonlocal maybe_done
            left = timedelta(seconds=max(end - loop.time(), 0.001))
            try:
                return await self._send(method, path, query=query, body=body, kind=kind, deadline=left)
            except UnavailableError as error:
                error.maybe_done = maybe_done = maybe_done or error.maybe_done
                raise
            except ConflictError as error:
                error.maybe_by_us = maybe_done
                raise

        return await attempts(once)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        kind: str = _JSON,
        deadline: timedelta = REQUEST_DEADLINE,
    ) -> Document:
        where = self._where(method, path)
        seconds = deadline.total_seconds()
        bounded = {**(query or {}), "timeout": f"{max(round(seconds * 1000), 1)}ms"}
        try:
            async with (
                asyncio.timeout(seconds),
                await _call(self._calls, method, path, bounded, body, kind) as response,
            ):
                content = await response.read()
                status, headers = response.status, response.headers
            if error := error_of(status, headers, content, where):
                raise error
            document = json.loads(content)
        except _FOREIGN_ERRORS as error:
            # Where there was no connection nothing was sent; else the request may have arrived before it broke.
            maybe_done = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            raise UnavailableError(where, _in_words(error, deadline), maybe_done=maybe_done) from error
        if not isinstance(document, dict):
            raise InvalidError(f"{where}: the answer is no JSON object but {type(document).__name__}")
        return document

    def _where(self, method: str, path: str) -> str:
        return f"API server {self.server}, {method} {path}"


async def _call(
    api: ApiClient,
    method: str,
    path: str,
    query: Mapping[str, str],
    body: Document | None,
    kind: str,
) -> aiohttp.ClientResponse:
    """Send one request through kubernetes_asyncio, which knows the address, the certificates and the token."""
    response: aiohttp.ClientResponse = await api.call_api(
        path,
        method,
        query_params=list(query.items()),
        header_params={"Accept": _JSON, "Content-Type": kind},
        body=body,
        auth_settings=["BearerToken"],
        _preload_content=False,  # and no _request_timeout: the callers' deadlines cover the token's renewal too
    )
    return response


async def _events(response: aiohttp.ClientResponse, where: str) -> AsyncGenerator[tuple[str, Document], None]:
    if not response.ok:
        async with asyncio.timeout(REQUEST_DEADLINE.total_seconds()):
            content = await response.read()
        if error := error_of(response.status, response.headers, content, where):
            raise error
    while True:
        async with asyncio.timeout(WATCH_SILENCE.total_seconds()):
            line = await response.content.readline()
        if not line:
            return
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise error_of_status(event["object"], where)
        yield event["type"], event["object"]


def _pause(state: tenacity.RetryCallState) -> float:
    """Wait as long as the server asks, else 50 ms doubled each time, with jitter, up to a second."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, UnavailableError) else None
    backoff: float = min(0.05 * 2 ** (state.attempt_number - 1), _LONGEST_PAUSE)
    jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - spread, not secrecy
    return jittered if asked is None else max(asked.total_seconds(), jittered)


def _in_words(error: BaseException, deadline: timedelta) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {deadline.total_seconds():.0f} s"
    return str(error) or type(error).__name__


__all__ = ["REQUEST_DEADLINE", "Document", "ExpiredError", "KubernetesClient"]
