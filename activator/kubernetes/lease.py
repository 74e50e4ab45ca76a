"""Leadership: one of several replicas holds a Lease, and knows for how long it surely does.

As client-go elects: whoever does not hold the Lease waits until its record has not changed for the lease's duration
by his own monotonic clock, and only then takes it; the times written in the record are for people, clocks of two
machines are never compared. What is different here is that `remaining` is a quantity and not an event: it is counted
from before the renewal was sent, so that whoever acts only on what remains cannot act after another has taken over.

Sources: coordination.k8s.io/v1 Lease; k8s.io/client-go/tools/leaderelection for the protocol that others speak.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from activator.errors import ConflictError, DeniedError, NotFoundError, UnavailableError, WakegateError
from activator.kubernetes import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.kubernetes.client import Document, KubernetesClient

log = logging.getLogger(__name__)

API_VERSION = "coordination.k8s.io/v1"
PLURAL = "leases"


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a Lease holds and how often it is renewed; Kubernetes' own components use the same."""

    duration: timedelta = timedelta(seconds=15)
    """After so long without a renewal another replica takes over."""
    renewal: timedelta = timedelta(seconds=10)
    """A renewal that has not been answered for so long is given up, well before the lease runs out."""
    retry: timedelta = timedelta(seconds=2)
    """How often it is renewed, or looked at by those who wait."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A Lease as last seen, and when it last changed by our own clock."""

    document: Document
    changed_at: float

    @property
    def spec(self) -> dict[str, Any]:
        return self.document.get("spec") or {}

    @property
    def holder(self) -> str:
        return self.spec.get("holderIdentity") or ""

    @property
    def version(self) -> str:
        return str(self.document["metadata"]["resourceVersion"])


class LeaseElection:
    """Takes part in one election until cancelled, and gives the Lease back then."""

    def __init__(
        self,
        client: KubernetesClient,
        lease: tuple[str, str],
        identity: str,
        now: Callable[[], datetime],
        *,
        times: LeaseTimes | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace, self._name = lease
        self._identity = identity
        self._now = now
        self._times = times or LeaseTimes()
        self._monotonic = monotonic
        self._sighting: _Sighting | None = None
        self._held_until: float | None = None
        self._others_led_until: datetime | None = None
        self._failing = False

    def remaining(self) -> timedelta:
        """How much of the lease is surely left; zero or less: not the leader."""
        if self._held_until is None:
            return timedelta(0)
        return timedelta(seconds=self._held_until - self._monotonic())

    def others_led_until(self) -> datetime | None:
        """When another was last seen to take the Lease, renew it or give it back, by our own clock; None: never."""
        return self._others_led_until

    @property
    def holder(self) -> str:
        """Who holds the Lease as far as we know; empty: nobody."""
        return self._sighting.holder if self._sighting else ""

    async def run(self) -> None:
        """Take the Lease when it is free and renew it, through any outage, until cancelled."""
        try:
            while True:
                await self._take_part()
                pause = self._times.retry.total_seconds()
                await asyncio.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - spread, not secrecy
        finally:
            await self._release()

    async def _take_part(self) -> None:
        led = self.remaining() > timedelta(0)
        try:
            async with asyncio.timeout(self._times.renewal.total_seconds()):
                await self._acquire_or_renew()
        except (WakegateError, TimeoutError) as error:
            self._tell_failure(error)
        else:
            if self._failing:
                log.info("lease %s/%s can be read and written again", self._namespace, self._name)
            self._failing = False
        leads = self.remaining() > timedelta(0)
        if leads != led:
            log.info("%s %s lease %s/%s", self._identity, "holds" if leads else "lost", self._namespace, self._name)

    async def _acquire_or_renew(self) -> None:
        if not self._is_ours():
            await self._look()
            if self._sighting is None:
                await self._create()
                return
            if self._is_held_by_another():
                self._held_until = None
                return
        try:
            await self._write()
        except (ConflictError, NotFoundError):
            # Somebody else wrote: look at once, so that a lost lease is known to be lost now and not in two seconds.
            await self._look()
            if self._sighting is None or not self._is_ours():
                self._held_until = None

    def _is_ours(self) -> bool:
        return self.holder == self._identity

    def _is_held_by_another(self) -> bool:
        sighting = self._sighting
        if sighting is None or not sighting.holder or self._is_ours():
            return False
        theirs = sighting.spec.get("leaseDurationSeconds") or self._times.duration.total_seconds()
        return self._monotonic() < sighting.changed_at + float(theirs)

    async def _look(self) -> None:
        try:
            self._see(await self._client.get(self._path()))
        except NotFoundError:
            self._sighting = None

    async def _create(self) -> None:
        sent_at = self._monotonic()
        body = {
            "apiVersion": API_VERSION,
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._record(transitions=0, acquired_at=self._timestamp()),
        }
        self._see(await self._client.create(paths.collection(API_VERSION, PLURAL, self._namespace), body))
        self._held_until = sent_at + self._times.duration.total_seconds()

    async def _write(self) -> None:
        before = self._sighting
        if before is None:
            return
        ours = self._is_ours()
        transitions = int(before.spec.get("leaseTransitions") or 0) + (0 if ours else 1)
        acquired_at = before.spec.get("acquireTime") if ours else None
        sent_at = self._monotonic()
        await self._replace(before, self._record(transitions, acquired_at or self._timestamp()))
        self._held_until = sent_at + self._times.duration.total_seconds()

    async def _release(self) -> None:
        """Let the next one take over at once; where that fails, he waits for the lease to run out."""
        held, self._held_until = self._held_until, None
        before = self._sighting
        if held is None or before is None or not self._is_ours():
            return
        record = self._record(int(before.spec.get("leaseTransitions") or 0), self._timestamp()) | {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
        }
        try:
            async with asyncio.timeout(self._times.retry.total_seconds()):
                await self._replace(before, record)
        except (WakegateError, TimeoutError) as error:
            log.info("lease %s/%s was not given back: %s", self._namespace, self._name, error)

    async def _replace(self, before: _Sighting, record: Document) -> None:
        body = {**before.document, "spec": record}
        self._see(await self._client.replace(self._path(), body))

    def _see(self, document: Document) -> None:
        before = self._sighting
        if before is None or before.spec != (document.get("spec") or {}):
            self._sighting = _Sighting(document, self._monotonic())
            if not self._is_ours():
                self._others_led_until = self._now()
        else:
            self._sighting = _Sighting(document, before.changed_at)

    def _record(self, transitions: int, acquired_at: str) -> Document:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.duration.total_seconds())),
            "acquireTime": acquired_at,
            "renewTime": self._timestamp(),
            "leaseTransitions": transitions,
        }

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _path(self) -> str:
        return paths.member(API_VERSION, PLURAL, self._namespace, self._name)

    def _tell_failure(self, error: WakegateError | TimeoutError) -> None:
        if self._failing or isinstance(error, ConflictError):  # a conflict: another one was faster
            return
        self._failing = True
        what = str(error) or "no answer in time"
        if isinstance(error, (UnavailableError, TimeoutError)):
            log.warning("lease %s/%s: %s; trying again", self._namespace, self._name, what)
        elif isinstance(error, (DeniedError, NotFoundError)):
            log.error(
                "lease %s/%s: %s; nobody leads and nothing goes to sleep until get, create and update of leases are "
                "granted in that namespace and it exists",
                self._namespace,
                self._name,
                what,
            )
        else:
            log.error("lease %s/%s: %s", self._namespace, self._name, what)
