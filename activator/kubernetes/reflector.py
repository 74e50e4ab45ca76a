"""List, then watch, for ever: keeps a handler told of every object of one collection, through any outage.

The handler is told levels, not edges: what an object is now, or that it is gone. It keeps what it needs of the raw
dicts; the reflector itself remembers only the keys that the handler wants, so that of ten thousand Deployments the
seven thousand that nobody manages cost nothing.

Sources: Kubernetes API concepts ("Efficient detection of changes"), KEP-956 (watch bookmarks).
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from activator.errors import DeniedError, WakegateError
from activator.kubernetes.responses import ExpiredError

if TYPE_CHECKING:
    from activator.kubernetes.client import Document, KubernetesClient

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name."""

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
"""Seconds between tries while the API server does not answer; half of it is jitter. Ten, so that ten seconds after
its return every watch runs again."""
_AT_A_STRETCH = 25
"""Objects of a list handed over before other tasks have a turn."""
_SHORT_WATCH = 1.0
"""Seconds that a watch lasts at least, or is waited for before the next."""


class Handler(Protocol):
    """Takes what a reflector sees. Cheap, synchronous, on the event loop; an exception ends the reflector."""

    def seen(self, document: Document) -> bool:
        """Take an object as it is now; answers whether to be told when it is gone."""

    def gone(self, key: Key) -> None:
        """Take note that an object that was wanted exists no more."""

    def listed(self) -> None:
        """Take note that everything there is has been delivered; again after each later relist."""


class Reflector:
    """Follows one collection for one handler."""

    def __init__(self, client: KubernetesClient, path: str, handler: Handler) -> None:
        self._client = client
        self._path = path
        self._handler = handler
        self._wanted: set[Key] = set()
        self._failures = 0

    def want(self, key: Key) -> None:
        """Be told when an object is gone that was of no interest when it was seen."""
        self._wanted.add(key)

    async def run(self) -> None:
        """Follow until cancelled; an outage is logged once when it begins and once when it ends."""
        while True:
            try:
                resource_version = await self._list()
                await self._watch_from(resource_version)
            except WakegateError as error:
                await self._pause_after(error)

    async def _list(self) -> str:
        found: set[Key] = set()
        resource_version = ""
        async with aclosing(self._client.list_pages(self._path)) as pages:
            async for page in pages:
                resource_version = page["metadata"]["resourceVersion"]
                for number, document in enumerate(page.get("items") or ()):
                    if self._handler.seen(document):
                        found.add(_key_of(document))
                    if number % _AT_A_STRETCH == 0:  # ten thousand objects must not hold up a wake
                        await asyncio.sleep(0)
        for key in sorted(self._wanted - found):
            self._handler.gone(key)
        self._wanted = found
        self._handler.listed()
        self._recovered()
        return resource_version

    async def _watch_from(self, resource_version: str) -> None:
        """Watch again and again from where the last watch ended, until that is too long ago and a list is due."""
        loop = asyncio.get_running_loop()
        while True:
            started, expired = loop.time(), False
            try:
                async with aclosing(self._client.watch(self._path, resource_version)) as events:
                    async for kind, document in events:
                        resource_version = document["metadata"]["resourceVersion"]
                        self._take(kind, document)
                        self._recovered()
            except ExpiredError as error:
                log.debug("%s: %s; listing again", self._path, error)
                expired = True
            except WakegateError as error:
                await self._pause_after(error)
                continue
            if loop.time() - started < _SHORT_WATCH:  # a proxy that ends every watch at once must not make us spin
                await asyncio.sleep(_SHORT_WATCH)
            if expired:
                return

    def _take(self, kind: str, document: Document) -> None:
        if kind == "BOOKMARK":
            return
        key = _key_of(document)
        if kind != "DELETED" and self._handler.seen(document):
            self._wanted.add(key)
        elif key in self._wanted:
            self._wanted.remove(key)
            if kind == "DELETED":
                self._handler.gone(key)

    async def _pause_after(self, error: WakegateError) -> None:
        if self._failures == 0:
            then = "is the permission missing? " if isinstance(error, DeniedError) else ""
            log.warning("%s is not followed just now: %s; %strying again", self._path, error, then)
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._failures, 10), _LONGEST_PAUSE)
        self._failures += 1
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spread, not secrecy

    def _recovered(self) -> None:
        if self._failures:
            log.info("%s is followed again", self._path)
            self._failures = 0


def _key_of(document: Document) -> Key:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
