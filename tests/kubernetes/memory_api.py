"""An API server in memory behind the methods of `KubernetesClient`, for adapters under virtual time.

It keeps documents by path and tells watchers of them; it knows resourceVersions, and nothing of schemas. The real
server's judgement is in the contract suites.
"""

# ruff: noqa: D102 - the client's own methods say what each does

from __future__ import annotations

import asyncio
import copy
import itertools
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from activator.errors import ConflictError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from activator.errors import WakegateError

Document = dict[str, Any]
_NAMESPACE = re.compile(r"/namespaces/[^/]+(?=/)")


class MemoryApi:
    """Documents, watches, and what was asked."""

    server = "memory"

    def __init__(self, *, page_size: int = 2) -> None:
        self.documents: dict[str, Document] = {}
        self.log: list[tuple[str, str]] = []
        """Method and path of every call."""
        self.absent: set[str] = set()
        """Prefixes of paths that are not served: 404, as without a CRD."""
        self.broken: dict[str, WakegateError] = {}
        """Prefixes of paths, and what every call of them raises."""
        self.page_size = page_size
        self.down: WakegateError | None = None
        """Raised by every call while it is set."""
        self.latency: Callable[[], float] = lambda: 0.0
        """Seconds that a request takes to come here, and an answer to go back."""
        self.faults: deque[tuple[str, WakegateError, bool]] = deque()
        """Method, error, and whether the call takes effect all the same; each is met once, in order."""
        self.end_each_watch: tuple[WakegateError | None] | None = None
        """How every watch ends as soon as it begins; None: they last."""
        self.dropped_fields: set[str] = set()
        """Keys that this server does not know, at any depth: it drops them without a word."""
        self._versions = itertools.count(100)
        self._watches: list[tuple[str, asyncio.Queue[tuple[str, Document] | WakegateError | None]]] = []

    # ------------------------------------------------------------------------------------------- what tests do to it

    def put(self, path: str, document: Document) -> Document:
        """Store an object as somebody else would."""
        return self._store(path, document)

    def remove(self, path: str) -> None:
        """Delete an object as somebody else would."""
        gone = self.documents.pop(path)
        self._tell("DELETED", path, {**gone, "metadata": {**gone["metadata"], "resourceVersion": self._next()}})

    def bookmark(self) -> None:
        """Let every watch have a bookmark."""
        for _, queue in self._watches:
            queue.put_nowait(("BOOKMARK", {"metadata": {"resourceVersion": self._next()}}))

    def end_watches(self, error: WakegateError | None = None) -> None:
        """End every watch: as after its time, or by an error."""
        for _, queue in self._watches:
            queue.put_nowait(error)

    def asked(self, method: str) -> list[str]:
        """Paths of all calls of one method, in order."""
        return [path for made, path in self.log if made == method]

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    # ------------------------------------------------------------------------------------ the methods of the client

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Document:
        del query
        lost = await self._begin("GET", path)
        document = self._existing(path)
        return await self._answer(document, lost)

    async def list_pages(self, path: str, query: Mapping[str, str] | None = None) -> AsyncGenerator[Document, None]:
        name = (query or {}).get("fieldSelector", "").removeprefix("metadata.name=")
        version = self._next()
        for page in range(0, max(len(self._members(path, name)), 1), self.page_size):
            await self._begin("LIST", path)
            items = [copy.deepcopy(item) for item in self._members(path, name)[page : page + self.page_size]]
            yield {"metadata": {"resourceVersion": version}, "items": items}

    async def watch(self, path: str, resource_version: str) -> AsyncGenerator[tuple[str, Document], None]:
        await self._begin("WATCH", f"{path}@{resource_version}")
        queue: asyncio.Queue[tuple[str, Document] | WakegateError | None] = asyncio.Queue()
        if self.end_each_watch is not None:
            queue.put_nowait(self.end_each_watch[0])
        self._watches.append((path, queue))
        try:
            while True:
                event = await queue.get()
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self._watches = [entry for entry in self._watches if entry[1] is not queue]

    async def create(self, path: str, body: Document) -> Document:
        lost = await self._begin("POST", path)
        member = f"{path}/{body['metadata']['name']}"
        if member in self.documents:
            raise ConflictError(f"{member} already exists")
        return await self._answer(self._store(member, body), lost)

    async def replace(self, path: str, body: Document) -> Document:
        lost = await self._begin("PUT", path)
        if body["metadata"]["resourceVersion"] != self._existing(path)["metadata"]["resourceVersion"]:
            raise ConflictError(f"{path} has been modified")
        return await self._answer(self._store(path, body), lost)

    async def merge_patch(self, path: str, body: Document) -> Document:
        lost = await self._begin("PATCH", path)
        return await self._answer(self._store(path, _merged(self._existing(path), body)), lost)

    async def apply(self, path: str, body: Document) -> Document:
        lost = await self._begin("APPLY", path)
        whole = path.removesuffix("/status")
        if path == whole:
            applied = _merged(self.documents.get(path, {}), body)
        else:
            applied = {**self._existing(whole), "status": body["status"]}
        return await self._answer(self._store(whole, applied), lost)

    async def delete(self, path: str) -> None:
        lost = await self._begin("DELETE", path)
        if path in self.documents:
            self.remove(path)
        await self._answer({}, lost)

    # ----------------------------------------------------------------------------------------------------- in common

    async def _begin(self, method: str, path: str) -> WakegateError | None:
        self.log.append((method, path))
        await asyncio.sleep(self.latency())
        if self.down is not None:
            raise self.down
        if any(path.startswith(prefix) for prefix in self.absent):
            raise NotFoundError(f"{path}: 404 page not found")
        for prefix, broken in self.broken.items():
            if path.startswith(prefix):
                raise broken
        if self.faults and self.faults[0][0] == method:
            _, error, applied = self.faults.popleft()
            if not applied:
                raise error
            return error
        return None

    async def _answer(self, document: Document, lost: WakegateError | None) -> Document:
        await asyncio.sleep(self.latency())
        if lost is not None:
            raise lost
        return copy.deepcopy(document)

    def _existing(self, path: str) -> Document:
        if path not in self.documents:
            raise NotFoundError(f"{path} not found")
        return self.documents[path]

    def _members(self, path: str, name: str = "") -> list[Document]:
        members = [item for item in sorted(self.documents.items()) if _is_in(path, item[0])]
        return [document for member, document in members if not name or member.endswith(f"/{name}")]

    def _store(self, path: str, document: Document) -> Document:
        known: Document = _without(copy.deepcopy(document), self.dropped_fields)
        kind = "MODIFIED" if path in self.documents else "ADDED"
        place = re.search(r"/namespaces/([^/]+)/", path)
        known["metadata"] = {
            "namespace": place[1] if place else "",
            "uid": self.documents[path]["metadata"]["uid"] if path in self.documents else f"uid-{self._next()}",
            **known.get("metadata", {}),
            "resourceVersion": self._next(),
        }
        self.documents[path] = known
        self._tell(kind, path, known)
        return known

    def _tell(self, kind: str, path: str, document: Document) -> None:
        for collection, queue in self._watches:
            if _is_in(collection, path):
                queue.put_nowait((kind, copy.deepcopy(document)))

    def _next(self) -> str:
        return str(next(self._versions))


def unreachable() -> WakegateError:
    """No answer at all."""
    return UnavailableError("memory", "connection refused")


def _is_in(collection: str, path: str) -> bool:
    within = path.rpartition("/")[0]
    return within == collection or _NAMESPACE.sub("", within) == collection


def _merged(there: Document, patch: Mapping[str, Any]) -> Document:
    merged = copy.deepcopy(there)
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return [_without(item, keys) for item in value] if isinstance(value, list) else value
