"""Recorder: Kubernetes Events about the targets, written in the background and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from activator.core.model import Evaluation, Notice, Outcome
from activator.errors import ConflictError, NotFoundError, UnavailableError, WakegateError
from activator.kubernetes import event_object, paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from activator.core.model import Fact, TargetRef
    from activator.kubernetes.client import KubernetesClient
    from activator.kubernetes.event_object import Happening, Held

log = logging.getLogger(__name__)

QUEUED_AT_MOST = 1000
"""Different Events that wait to be written; what comes after is dropped and counted."""
REMEMBERED_AT_MOST = 10_000
"""Events that may be told again as a count, and targets whose last hold is known."""
BURST = 25
REFILL_SECONDS = 60.0
"""A target may have 25 Events at once and then one a minute: a target in trouble must not fill etcd."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_GIVE_UP_AFTER = 300.0
"""Seconds after which an Event that could not be written is no news any more."""

_Key = tuple["TargetRef", str, str, str]
_K = TypeVar("_K")
_V = TypeVar("_V")


class _Recent(OrderedDict[_K, _V], Generic[_K, _V]):
    """A mapping that forgets what was set longest ago once it is full."""

    def __setitem__(self, key: _K, value: _V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > REMEMBERED_AT_MOST:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The latest of happenings that become one Event, and how many they are."""

    happening: Happening
    times: int
    since: float


@dataclass(frozen=True, slots=True)
class _Written:
    """An Event that exists."""

    name: str
    first: datetime
    count: int


@dataclass(slots=True)
class _Bucket:
    """What a target may still say."""

    tokens: float
    filled_at: float


@dataclass(slots=True)
class _Failing:
    """A namespace whose last Event could not be written."""

    pause: float = 0.0
    rests_until: float = 0.0


class EventRecorder:
    """Turns evaluations and notices into Events: deduplicated, bounded, rate-limited a target."""

    def __init__(
        self,
        client: KubernetesClient,
        identity: str,
        uid_of: Callable[[TargetRef], str | None],
        leads: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._identity = identity
        self._uid_of = uid_of
        self._leads = leads
        self._monotonic = monotonic
        self._held: _Recent[TargetRef, Held] = _Recent()
        self._written: _Recent[_Key, _Written] = _Recent()
        self._buckets: _Recent[TargetRef, _Bucket] = _Recent()
        self._waiting: OrderedDict[_Key, _Waiting] = OrderedDict()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._failing: _Recent[str, _Failing] = _Recent()
        """By namespace."""
        self.dropped = 0
        """Events that were not written: too many waiting, too many about one target, or refused by the API server."""

    def record(self, fact: Fact) -> None:
        """Take one fact; evaluations and notices may become an Event, whatever else happens is not for Events."""
        if isinstance(fact, Notice):
            self._take(event_object.of_notice(fact))
        elif isinstance(fact, Evaluation):
            self._take_evaluation(fact)

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            while self._waiting:
                if (key := self._next()) is None:
                    await self._rest()
                else:
                    await self._write_one(key, self._waiting.pop(key))
            self._news.clear()
            self._idle.set()
            await self._news.wait()

    async def drained(self, within_seconds: float) -> None:
        """Wait until everything recorded so far has been written, but no longer than this: before a process ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within_seconds)

    def _take_evaluation(self, evaluation: Evaluation) -> None:
        before = self._held.get(evaluation.ref)
        self._held[evaluation.ref] = evaluation.outcome, evaluation.decision.reason
        # Every replica sees why a target holds; one of them tells it. Whoever changed something tells that himself.
        if evaluation.outcome in {Outcome.HELD, Outcome.REFUSED} and not self._leads():
            return
        uid = self._uid_of(evaluation.ref)
        if uid is None:  # gone: nobody will look at its Events
            return
        happening = event_object.of_evaluation(evaluation, uid, before)
        if happening is not None:
            self._take(happening)

    def _take(self, happening: Happening) -> None:
        waiting = self._waiting.get(happening.key)
        if waiting is not None:
            self._waiting[happening.key] = replace(waiting, happening=happening, times=waiting.times + 1)
        elif len(self._waiting) < QUEUED_AT_MOST and self._may_speak(happening.ref):
            self._waiting[happening.key] = _Waiting(happening, 1, self._monotonic())
            self._news.set()
            self._idle.clear()
        else:
            self.dropped += 1

    def _may_speak(self, ref: TargetRef) -> bool:
        now = self._monotonic()
        bucket = self._buckets.get(ref) or _Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.filled_at) / REFILL_SECONDS)
        bucket.filled_at = now
        self._buckets[ref] = bucket
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _next(self) -> _Key | None:
        """Return what has waited longest in a namespace that does not rest; None: all of them do."""
        now = self._monotonic()
        for key, waiting in self._waiting.items():
            failing = self._failing.get(waiting.happening.ref.namespace)
            if failing is None or failing.rests_until <= now:
                return key
        return None

    async def _rest(self) -> None:
        """Wait until a namespace has rested, or there is something new."""
        namespaces = {waiting.happening.ref.namespace for waiting in self._waiting.values()}
        until = min(self._failing[namespace].rests_until for namespace in namespaces)
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), until - self._monotonic())

    async def _write_one(self, key: _Key, waiting: _Waiting) -> None:
        namespace = waiting.happening.ref.namespace
        try:
            self._written[key] = await self._write(waiting, self._written.get(key))
        except UnavailableError as error:
            # Of this namespace alone, perhaps: a webhook that validates its Events is dead. Others need not wait.
            failing = self._failed(namespace, error)
            failing.pause = min(failing.pause * 2, _LONGEST_PAUSE) if failing.pause else _FIRST_PAUSE
            failing.rests_until = self._monotonic() + failing.pause
            self._put_back(key, waiting)
        except WakegateError as error:  # no right to, or the namespace is being deleted: the next may fare better
            self._failed(namespace, error)
            self.dropped += 1
        else:
            self._failing.pop(namespace, None)

    def _put_back(self, key: _Key, waiting: _Waiting) -> None:
        """Let an Event wait behind all others, or be counted with the next that is equal."""
        newer = self._waiting.get(key)
        if newer is not None:
            self._waiting[key] = replace(newer, times=newer.times + waiting.times)
        elif self._monotonic() - waiting.since > _GIVE_UP_AFTER:
            self.dropped += 1
        else:
            self._waiting[key] = waiting

    async def _write(self, waiting: _Waiting, written: _Written | None) -> _Written:
        happening = waiting.happening
        collection = paths.collection("v1", "events", happening.ref.namespace)
        if written is not None:
            count = written.count + waiting.times
            try:
                await self._client.merge_patch(
                    f"{collection}/{written.name}", event_object.repetition(happening, count)
                )
            except NotFoundError:  # Events live for an hour: then it is told anew
                pass
            else:
                return replace(written, count=count)
        made = event_object.body(happening, waiting.times, happening.now, self._identity)
        try:
            await self._client.create(collection, made)
        except ConflictError:  # made by an attempt whose answer was lost
            log.debug("event %s exists", made["metadata"]["name"])
        return _Written(made["metadata"]["name"], happening.now, waiting.times)

    def _failed(self, namespace: str, error: WakegateError) -> _Failing:
        """Take note that a namespace fails, and say so once."""
        if namespace not in self._failing:
            log.warning("an Event could not be written: %s", error)
            self._failing[namespace] = _Failing()
        return self._failing[namespace]
