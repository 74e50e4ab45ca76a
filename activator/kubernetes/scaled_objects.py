"""ScaledObjects: followed where their CRD is served, also where that is later; and their finalizer.

One that is being deleted drives nothing any more; it goes once its target has been given back. The finalizer has
KEDA's name, so that an object which KEDA left behind goes as well; before wakegate is uninstalled it is taken away.
Beside a live KEDA they are KEDA's, except those that ask for wakegate by `wakegate.dev/adopt`.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from activator.core.model import TargetRef
from activator.core.naming import SCALED_OBJECT_LABEL
from activator.errors import DeniedError, NotFoundError, WakegateError
from activator.kubernetes import paths
from activator.kubernetes.reflector import Key, Reflector
from activator.kubernetes.responses import FIRST_REFUSALS
from activator.specs.keda.scaled_object import target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from activator.kubernetes.client import Document, KubernetesClient

API_VERSION = "keda.sh/v1alpha1"
KIND = "ScaledObject"
PLURAL = "scaledobjects"
FINALIZER = "finalizer.keda.sh"
ADOPT = "wakegate.dev/adopt"
LOOK_AGAIN_SECONDS = 10.0
"""How often a CRD that is not there is looked for."""
REFUSED_SECONDS = 1.0
"""How soon it is asked again after one of the first refusals."""
HOUSEKEEPING_SECONDS = 1.0

log = logging.getLogger(__name__)


class ScaledObjects:
    """What every ScaledObject says, by the target that it drives.

    Args:
        client: the API server.
        namespaces: those to follow; none named: all.
        keda_is_live: whether KEDA or CMA runs here; None: not known yet, which counts as live.
    """

    def __init__(
        self,
        client: KubernetesClient,
        namespaces: Sequence[str] = (),
        keda_is_live: Callable[[], bool | None] = lambda: False,
    ) -> None:
        self._client = client
        self._keda_is_live = keda_is_live
        self._documents: dict[Key, Document] = {}
        self._by_target: dict[TargetRef, set[Key]] = {}
        # Made once, not in each run: a run after a crash must still tell what has been removed in between.
        self._reflectors = {
            path: Reflector(client, path, _Follower(self, path))
            for path in paths.followed(API_VERSION, PLURAL, namespaces)
        }
        self._unlisted = set(self._reflectors)
        self._refusals = 0
        self._settled = asyncio.Event()
        self._told_left_alone = False
        self._was_live: bool | None = None
        self.changed: Callable[[TargetRef], None] = lambda _: None
        """Called with a target whose ScaledObject is new, changed or gone."""
        self.holds: Callable[[TargetRef], bool] = lambda _: True
        """Whether a target is managed still, or to be given back."""
        self.leads: Callable[[], bool] = lambda: False

    async def settled(self) -> None:
        """Wait until every ScaledObject has been seen, or it is known that there can be none."""
        await self._settled.wait()
        while self._keda_is_live() is None:  # noqa: ASYNC110 - another task finds it out, and it comes and goes
            await asyncio.sleep(0.1)

    async def run(self) -> None:
        """Follow until cancelled."""
        while not await self._is_served():  # noqa: ASYNC110 - a CRD that is installed tells nobody
            await asyncio.sleep(REFUSED_SECONDS if 0 < self._refusals < FIRST_REFUSALS else LOOK_AGAIN_SECONDS)
        async with asyncio.TaskGroup() as group:
            for path, reflector in self._reflectors.items():
                group.create_task(reflector.run(), name=f"reflector {path}")
            group.create_task(self._keep_house())

    def of(self, ref: TargetRef) -> Document | None:
        """Return the ScaledObject that drives a target: of several the oldest, none that is not for us."""
        candidates = [self._documents[key] for key in self._by_target.get(ref, ()) if self._drives(key)]
        return min(candidates, key=_age, default=None)

    def beaten(self, ref: TargetRef) -> list[Document]:
        """Return those that name a target which an older one drives."""
        winner = self.of(ref)
        keys = self._by_target.get(ref, ())
        return [self._documents[key] for key in keys if self._drives(key) and self._documents[key] is not winner]

    def targets(self) -> list[TargetRef]:
        """Return every target that is named."""
        return list(self._by_target)

    def take(self, document: Document) -> None:
        """Take one as it is now."""
        key = document["metadata"]["namespace"], document["metadata"]["name"]
        before = self._documents.get(key)
        if before is not None:
            self._unlink(key, before)
        self._documents[key] = document
        ref = target_of(document)
        if ref is not None:
            self._by_target.setdefault(ref, set()).add(key)
        for named in {ref, target_of(before) if before is not None else None} - {None}:
            if named is not None and (before is None or not _alike(before, document)):
                self.changed(named)

    def lose(self, key: Key) -> None:
        """Take note that one is gone."""
        document = self._documents.pop(key, None)
        if document is None:
            return
        self._unlink(key, document)
        ref = target_of(document)
        if ref is not None:
            self.changed(ref)

    def listed(self, path: str) -> None:
        """Take note that one collection has been seen whole."""
        self._unlisted.discard(path)
        if not self._unlisted:
            self._settled.set()

    async def let_go(self, held: Collection[TargetRef]) -> None:
        """Take our finalizer away from all but those whose target is held still, before wakegate is uninstalled.

        Nobody would take it away later, so that neither they nor their namespace nor the CRD could be deleted.
        """
        for key in self.tied():
            document = self._documents.get(key)  # it may go while another is written
            if document is not None and target_of(document) not in held:
                finalizers = [entry for entry in document["metadata"]["finalizers"] if entry != FINALIZER]
                await self._write(document["metadata"], {"finalizers": finalizers})

    def tied(self) -> list[Key]:
        """Return namespace and name of each of ours that has our finalizer, as it was last seen."""
        return [
            key
            for key, document in self._documents.items()
            if self._is_ours(document) and FINALIZER in (document["metadata"].get("finalizers") or ())
        ]

    # ------------------------------------------------------------------------------------------------- whose it is

    def _drives(self, key: Key) -> bool:
        document = self._documents[key]
        return not document["metadata"].get("deletionTimestamp") and self._is_ours(document)

    def _is_ours(self, document: Document) -> bool:
        annotations = document["metadata"].get("annotations") or {}
        if annotations.get(ADOPT, "").strip().lower() == "true":
            return True
        live = self._keda_is_live()
        if live is False:
            return True
        if live and not self._told_left_alone:
            self._told_left_alone = True
            log.info('KEDA is live here: ScaledObjects are left to it, except those with %s: "true"', ADOPT)
        return False

    def _unlink(self, key: Key, document: Document) -> None:
        ref = target_of(document)
        if ref is None:
            return
        keys = self._by_target.get(ref, set())
        keys.discard(key)
        if not keys:
            self._by_target.pop(ref, None)

    # ----------------------------------------------------------------------------------------------- what is written

    async def _keep_house(self) -> None:
        """Put our finalizer where something is ours, and take it away once its target has been given back."""
        while True:
            live = self._keda_is_live()
            if live is not self._was_live:  # whose they are has changed
                self._was_live = live
                self._told_left_alone = self._told_left_alone and live is not False  # one that comes back is news
                for ref in self.targets():
                    self.changed(ref)
            if self.leads():
                for document in list(self._documents.values()):
                    await self._settle(document)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _settle(self, document: Document) -> None:
        metadata, ref = document["metadata"], target_of(document)
        finalizers = list(metadata.get("finalizers") or ())
        labels = metadata.get("labels") or {}
        wanted: dict[str, Any] = {}
        if not self._is_ours(document):
            return
        if metadata.get("deletionTimestamp"):
            if FINALIZER in finalizers and (ref is None or self.of(ref) is not None or not self.holds(ref)):
                finalizers.remove(FINALIZER)
                wanted = {"finalizers": finalizers}
        elif FINALIZER not in finalizers or labels.get(SCALED_OBJECT_LABEL) != metadata["name"]:
            finalizers = [*(entry for entry in finalizers if entry != FINALIZER), FINALIZER]
            wanted = {"finalizers": finalizers, "labels": {SCALED_OBJECT_LABEL: metadata["name"]}}
        if wanted:
            await self._write(metadata, wanted)

    async def _write(self, metadata: Document, wanted: Document) -> None:
        """Change metadata of one as it was last seen; what fails is left to the next time."""
        path = paths.member(API_VERSION, PLURAL, metadata["namespace"], metadata["name"])
        body = {"metadata": {**wanted, "resourceVersion": metadata["resourceVersion"]}}
        try:
            await self._client.merge_patch(path, body)
        except WakegateError as error:
            log.debug("%s was not written, it is tried again: %s", path, error)

    async def _is_served(self) -> bool:
        """Tell whether they can be followed; while the API server does not answer, nothing is known."""
        try:
            async with aclosing(self._client.list_pages(next(iter(self._reflectors)))) as pages:
                await anext(pages)
        except NotFoundError:
            self._refusals = 0
            self._settled.set()
            return False
        except DeniedError as error:
            self._refusals += 1
            if self._refusals == FIRST_REFUSALS:
                log.warning("ScaledObjects are not followed: %s; is the permission missing?", error)
                self._settled.set()
            return False
        except WakegateError:
            return False
        self._refusals = 0
        return True


class _Follower:
    """Hands what one reflector sees on."""

    def __init__(self, scaled_objects: ScaledObjects, path: str) -> None:
        self._scaled_objects = scaled_objects
        self._path = path

    def seen(self, document: Document) -> bool:
        self._scaled_objects.take(document)
        return True

    def gone(self, key: Key) -> None:
        self._scaled_objects.lose(key)

    def listed(self) -> None:
        self._scaled_objects.listed(self._path)


def ref_of(document: Mapping[str, Any]) -> TargetRef:
    """Return the coordinates of a ScaledObject itself, for Events about it."""
    metadata = document["metadata"]
    return TargetRef(metadata["namespace"], KIND, metadata["name"], API_VERSION)


def _age(document: Document) -> tuple[str, str]:
    return document["metadata"].get("creationTimestamp", ""), document["metadata"]["name"]


def _alike(one: Document, other: Document) -> bool:
    """Tell whether nothing has changed that a policy is read from."""
    parts = [
        (
            document.get("spec"),
            *(document["metadata"].get(key) for key in ("uid", "annotations", "labels", "deletionTimestamp")),
        )
        for document in (one, other)
    ]
    return parts[0] == parts[1]
