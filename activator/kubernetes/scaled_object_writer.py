"""Recorder: the status of ScaledObjects, and the Events about them, written on change and in nobody's way."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from activator.core.model import Evaluation, Notice, Severity
from activator.errors import NotFoundError, WakegateError
from activator.kubernetes import paths, scaled_object_status
from activator.kubernetes.scaled_objects import API_VERSION, PLURAL, ref_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from activator.core.model import Fact, TargetRef
    from activator.kubernetes.client import Document, KubernetesClient
    from activator.kubernetes.scaled_object_status import Remembered
    from activator.kubernetes.scaled_objects import ScaledObjects
    from activator.ports import Recorder

AFTER_A_FAILURE_SECONDS = 5.0

_Key = tuple[str, str]

log = logging.getLogger(__name__)


class ScaledObjectWriter:
    """Writes what the leader knows.

    Args:
        client: the API server.
        scaled_objects: which one drives a target.
        events: takes Notices about them.
        leads: whether this replica writes.
        now: aware UTC.
    """

    def __init__(
        self,
        client: KubernetesClient,
        scaled_objects: ScaledObjects,
        events: Recorder,
        leads: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._scaled_objects = scaled_objects
        self._events = events
        self._leads = leads
        self._now = now
        self._written: dict[_Key, dict[str, Any]] = {}
        self._waiting: dict[_Key, dict[str, Any]] = {}
        self._work = asyncio.Event()
        self.remembered: Callable[[TargetRef], Remembered | None] = lambda _: None
        """What else is known of a target."""

    def record(self, fact: Fact) -> None:
        """Take an evaluation of a target that a ScaledObject drives."""
        if not self._is_ours_to_tell() or not isinstance(fact, Evaluation) or fact.policy.scaled_object is None:
            return
        document, known = self._scaled_objects.of(fact.ref), self.remembered(fact.ref)
        if document is None or known is None:
            return
        before = self._before(document)
        for severity, reason, message in scaled_object_status.events(fact, known, before):
            self._tell(document, severity, reason, message, fact.ids.trace_id)
        self._offer(document, scaled_object_status.status(fact, known))

    def refuse(self, document: Document, why: tuple[str, ...]) -> None:
        """Say in its status and in an Event that one cannot be followed as it is, once for each wording."""
        if not self._is_ours_to_tell():
            return
        ready, before = scaled_object_status.ready_condition_of_problems(why), self._before(document)
        if ready in (before.get("conditions") or ()):
            return
        self._tell(document, Severity.WARNING, "ScaledObjectCheckFailed", ready["message"], None)
        others = [entry for entry in before.get("conditions") or () if entry["type"] != "Ready"]
        self._offer(document, {**before, "conditions": [ready, *others]})

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                key, status = self._waiting.popitem()
                path = f"{paths.member(API_VERSION, PLURAL, *key)}/status"
                try:
                    await self._client.merge_patch(path, {"status": status})
                except NotFoundError:
                    self._written.pop(key, None)
                except WakegateError as error:
                    log.warning("%s was not written, it is tried again at the next change: %s", path, error)
                    self._written.pop(key, None)
                    await asyncio.sleep(AFTER_A_FAILURE_SECONDS)

    def _is_ours_to_tell(self) -> bool:
        """Tell whether we lead; while another does, what we wrote last is not what stands there."""
        if not self._leads():
            self._written.clear()
            return False
        return True

    def _before(self, document: Document) -> dict[str, Any]:
        return self._written.get(_key(document)) or document.get("status") or {}

    def _offer(self, document: Document, status: dict[str, Any]) -> None:
        key = _key(document)
        written = self._written.get(key)
        if written is not None and not scaled_object_status.is_news(written, status):
            return
        # What still waits names metrics that are gone, too: they are told in the order in which they were known.
        before = {**(document.get("status") or {}), **(self._waiting.get(key) or written or {})}
        self._written[key] = status
        self._waiting[key] = scaled_object_status.patch(before, status)
        self._work.set()

    def _tell(self, document: Document, severity: Severity, reason: str, message: str, trace_id: str | None) -> None:
        uid = document["metadata"]["uid"]
        self._events.record(Notice(ref_of(document), uid, severity, reason, message, self._now(), trace_id))


def _key(document: Document) -> _Key:
    return document["metadata"]["namespace"], document["metadata"]["name"]
