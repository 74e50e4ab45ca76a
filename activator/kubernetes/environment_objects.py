"""The Secrets and ConfigMaps that targets' environments come from, as far as triggers ask for them.

A GET by name, as for credentials (`secrets.py`), each object once for all who name it. What was read last holds while
it cannot be read; an object that is gone, or may not be read, is told as that.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from activator.errors import DeniedError, NotFoundError, WakegateError
from activator.kubernetes.referenced_objects import data_of, path_of, unreadable
from activator.kubernetes.secrets import LOOK_SECONDS, LOOKS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from activator.core.model import TargetRef
    from activator.kubernetes.client import Document, KubernetesClient
    from activator.specs.authentication import Reference


@dataclass(slots=True)
class _Object:
    """One object as it was read last."""

    data: Mapping[str, str] | str | None
    """What is in it; None: it does not exist; a text: why that is not known."""
    read_at: float | None = None
    """By the event loop's clock; None: not yet."""
    named_by: set[TargetRef] = field(default_factory=set)


class EnvironmentObjects:
    """What is in the objects that are named.

    Args:
        client: to the API server.
        needs: which objects a target's triggers come from.
    """

    def __init__(
        self,
        client: KubernetesClient,
        needs: Callable[[Mapping[str, Any], Mapping[str, Any]], frozenset[Reference]],
    ) -> None:
        self._client = client
        self._needs = needs
        self._objects: dict[Reference, _Object] = {}
        self._named: dict[TargetRef, frozenset[Reference]] = {}
        self._at_once = asyncio.Semaphore(LOOKS_AT_ONCE)

    def data(self, reference: Reference) -> Mapping[str, str] | str | None:
        """Return what is in an object; None: there is none; a text: why that is not known."""
        known = self._objects.get(reference)
        return _unread(reference) if known is None else known.data

    def is_known(self, scaled_object: Document, workload: Document) -> bool:
        """Tell whether all that a target needs has been read, however that went."""
        return all(self._is_read(reference) for reference in self._needs(scaled_object, workload))

    async def fetch(self, ref: TargetRef, scaled_object: Document, workload: Document) -> None:
        """Take note of what a target needs, and read what of it nobody has read yet."""
        needed = self._needs(scaled_object, workload)
        self._name(ref, needed)
        await self._read(reference for reference in needed if not self._is_read(reference))

    def forget(self, ref: TargetRef) -> None:
        """Take note that a target needs nothing any more."""
        self._name(ref, frozenset())

    async def look(self) -> set[TargetRef]:
        """Read again what was not looked at for a while; answers whose objects have changed."""
        # Whoever calls does so every few seconds, and sooner where there is something else to do: what was read just
        # before would otherwise wait for a third time.
        oldest = asyncio.get_running_loop().time() - LOOK_SECONDS / 2
        due = {
            reference: known.data
            for reference, known in self._objects.items()
            if known.read_at is not None and known.read_at <= oldest
        }
        await self._read(due)
        return {
            ref
            for reference, before in due.items()
            if (known := self._objects.get(reference)) is not None and known.data != before
            for ref in known.named_by
        }

    def _is_read(self, reference: Reference) -> bool:
        known = self._objects.get(reference)
        return known is not None and known.read_at is not None

    def _name(self, ref: TargetRef, needed: frozenset[Reference]) -> None:
        for reference in self._named.pop(ref, frozenset()) - needed:
            self._objects[reference].named_by.discard(ref)
            if not self._objects[reference].named_by:
                del self._objects[reference]
        for reference in needed:
            self._objects.setdefault(reference, _Object(_unread(reference))).named_by.add(ref)
        if needed:
            self._named[ref] = needed

    async def _read(self, references: Iterable[Reference]) -> None:
        await asyncio.gather(*map(self._read_one, references))

    async def _read_one(self, reference: Reference) -> None:
        async with self._at_once:
            data = await self._answer(reference)
        if (known := self._objects.get(reference)) is not None:  # else nobody needs it any more
            known.data, known.read_at = data, asyncio.get_running_loop().time()

    async def _answer(self, reference: Reference) -> Mapping[str, str] | str | None:
        try:
            return data_of(await self._client.get(path_of(reference)))
        except NotFoundError:
            return None
        except DeniedError:
            return str(unreadable(str(reference), reference.namespace))
        except WakegateError as error:
            known = self._objects.get(reference)
            if known is not None and not isinstance(known.data, str):
                return known.data
            return f"{reference} could not be read: {error}"


def _unread(reference: Reference) -> str:
    return f"{reference} has not been read yet"
