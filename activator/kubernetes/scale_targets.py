"""StateStore: one ScaleTarget a target. Without the CRD nothing is kept, which is said once."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.naming import scale_target_name
from activator.errors import NotFoundError, UnavailableError, WakegateError
from activator.kubernetes import paths, scale_target_object
from activator.kubernetes.responses import ExpiredError
from activator.kubernetes.scale_target_object import API_VERSION, PLURAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.core.model import TargetRef, TargetState
    from activator.kubernetes.client import Document, KubernetesClient

log = logging.getLogger(__name__)

LOOK_AGAIN = timedelta(seconds=60)
"""How long a missing CRD is believed to be missing still: it may be installed at any time."""


class ScaleTargetStore:
    """Reads and writes ScaleTargets of some namespaces (none named: of all)."""

    def __init__(
        self,
        client: KubernetesClient,
        namespaces: Sequence[str] = (),
        leads: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._collections = paths.followed(API_VERSION, PLURAL, namespaces)
        self._leads = leads
        self._monotonic = monotonic
        self._owners: dict[TargetRef, str] = {}
        """The uid that owns each ScaleTarget that exists: for these, only the status needs to be written."""
        self._unkept: dict[TargetRef, tuple[str, TargetState]] = {}
        """What was not written because the CRD is missing."""
        self._look_again_at: float | None = None
        """Set while the CRD is missing."""

    async def run(self) -> None:
        """Write what could not be kept once the CRD has been installed, until cancelled; a leader's work."""
        while True:
            await asyncio.sleep(LOOK_AGAIN.total_seconds())
            if not self._leads():
                self._unkept.clear()  # another replica keeps them, and knows better by now
            try:
                for ref, (uid, state) in list(self._unkept.items()):
                    await self.save(ref, uid, state)
            except WakegateError as error:
                log.warning("states that were not kept before could not be written, trying again: %s", error)

    async def load(self) -> Mapping[TargetRef, TargetState] | None:
        """Read all that was kept; None where nothing can be kept (no CRD). Raises DeniedError, UnavailableError."""
        owners: dict[TargetRef, str] = {}
        states: dict[TargetRef, TargetState] = {}
        try:
            for collection in self._collections:
                async with aclosing(self._client.list_pages(collection)) as pages:
                    async for page in pages:
                        for document in page.get("items") or ():
                            if found := scale_target_object.read(document):
                                ref, owners[ref], states[ref] = found[0], found[1], found[2]
        except NotFoundError as error:
            self._is_missing(error)
            return None
        except ExpiredError as error:
            raise UnavailableError(f"API server {self._client.server}", f"listing took too long: {error}") from error
        self._is_there()
        self._owners = owners
        self._unkept.clear()
        return states

    async def save(self, ref: TargetRef, uid: str, state: TargetState) -> None:
        """Keep a target's state before returning, owned by the workload with `uid`; does nothing without the CRD.

        Raises DeniedError, InvalidError, UnavailableError.
        """
        if self._is_known_missing():
            self._unkept[ref] = uid, state
            return
        path = paths.member(API_VERSION, PLURAL, ref.namespace, scale_target_name(ref))
        status = scale_target_object.with_status(ref, state)
        try:
            if self._owners.get(ref) != uid or not await self._wrote(path, status):
                await self._client.apply(path, scale_target_object.body(ref, uid))
                await self._client.apply(f"{path}/status", status)
        except NotFoundError as error:
            if not await self._serves():
                self._is_missing(error)
                self._unkept[ref] = uid, state
            return  # else the namespace is gone, and the target with it
        self._is_there()
        self._owners[ref] = uid
        self._unkept.pop(ref, None)

    async def forget(self, ref: TargetRef) -> None:
        """Delete what was kept of a target. Raises DeniedError, UnavailableError."""
        self._owners.pop(ref, None)
        self._unkept.pop(ref, None)
        if not self._is_known_missing():
            await self._client.delete(paths.member(API_VERSION, PLURAL, ref.namespace, scale_target_name(ref)))

    async def _wrote(self, path: str, status: Document) -> bool:
        """Write the status of an object that should be there; False where somebody deleted it."""
        try:
            await self._client.apply(f"{path}/status", status)
        except NotFoundError:
            return False
        return True

    async def _serves(self) -> bool:
        try:
            served = await self._client.get(paths.group(API_VERSION))
        except NotFoundError:
            return False
        return any(resource["name"] == PLURAL for resource in served.get("resources") or ())

    def _is_known_missing(self) -> bool:
        return self._look_again_at is not None and self._monotonic() < self._look_again_at

    def _is_missing(self, error: NotFoundError) -> None:
        if self._look_again_at is None:
            log.warning(
                "the CRD scaletargets.wakegate.dev is not installed (%s): wakegate works, but after a restart every "
                "target begins a fresh cooldown and cannot be put back to its original count; looking again every %d s",
                error,
                LOOK_AGAIN.total_seconds(),
            )
        self._owners.clear()
        self._look_again_at = self._monotonic() + LOOK_AGAIN.total_seconds()

    def _is_there(self) -> None:
        if self._look_again_at is not None:
            log.info("the CRD scaletargets.wakegate.dev is installed now: states are kept")
        self._look_again_at = None
