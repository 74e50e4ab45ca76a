"""Whether KEDA, or OpenShift's Custom Metrics Autoscaler, is alive in this cluster.

By two signs: the external metrics API is served by it and available, or its Lease is renewed, in whatever namespace it
was installed. As in an election it is renewed where its record changes while we look; the time in it is by another
machine's clock, and gives no more than a first impression. What an uninstalled one left behind (an APIService that
leads nowhere, a Lease that nobody renews) is none. Who may not look (rights in one namespace alone) takes it for live:
WAKEGATE_KEDA says otherwise. One refusal is no such answer: an API server that starts knows no roles yet, and every
ScaledObject would be given away for it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from activator.errors import DeniedError, NotFoundError, WakegateError
from activator.kubernetes import paths
from activator.kubernetes.api_service import PATH as API_SERVICE_PATH
from activator.kubernetes.responses import FIRST_REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.kubernetes.client import Document, KubernetesClient

LEASES = paths.collection("coordination.k8s.io/v1", "leases")
OF_ITS_OPERATOR = {"fieldSelector": "metadata.name=operator.keda.sh"}
"""With this selector a right by resourceNames is enough to list, over all namespaces."""
RENEWED_WITHIN = timedelta(seconds=60)
"""A Lease that is seen not to change for so long is not renewed."""
SURELY_OLD = timedelta(hours=1)
"""Two clocks may be minutes apart, so that a Lease looks old that is renewed: it is watched first. One older than this
is taken at its word, or each start would wait a minute for what a KEDA of last year left behind."""
LOOK_SECONDS = 10.0
GONE_AFTER_LOOKS = 6
"""So many looks without a sign, and it counts as gone: a restart of KEDA's must not hand its objects over. So many that
were refused, and it counts as live."""
EARLY_LOOK_SECONDS = 1.0
"""How soon it is looked again where nothing is known yet: others wait for the answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A Lease as last seen, since when it is the same by our own clock, and what is made of it; None: not known yet."""

    spec: Document
    since: datetime
    renewed: bool | None


class KedaPresence:
    """Looks for it again and again."""

    def __init__(self, client: KubernetesClient, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self._live: bool | None = None
        self._misses = 0
        self._refusals = 0
        self._leases: dict[str, _Sighting] = {}

    def is_live(self) -> bool | None:
        """Tell whether it runs; None: not known yet."""
        return self._live

    async def run(self) -> None:
        """Look until cancelled; what was seen last holds while the API server is away."""
        while True:
            try:
                self._take(seen=await self._has_a_sign())
            except DeniedError as error:
                self._refuse(error)
                await asyncio.sleep(self._pause())
            except WakegateError as error:
                log.debug("whether KEDA is live could not be seen: %s", error)
                await asyncio.sleep(LOOK_SECONDS / 10)
            else:
                await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        return LOOK_SECONDS if self._live is not None else EARLY_LOOK_SECONDS

    def _refuse(self, error: DeniedError) -> None:
        self._refusals += 1
        enough = FIRST_REFUSALS if self._live is None else GONE_AFTER_LOOKS
        if self._live is not True and self._refusals >= enough:
            log.warning("whether KEDA is live may not be seen, so its ScaledObjects are left alone: %s", error)
            self._live = True

    def _take(self, *, seen: bool | None) -> None:
        self._refusals = 0
        if seen is None:
            return
        self._misses = 0 if seen else self._misses + 1
        live = seen or (self._live is True and self._misses < GONE_AFTER_LOOKS)
        if live is not self._live:
            what = "is live in this cluster" if live else "is not live in this cluster: ScaledObjects are managed"
            log.info("KEDA %s", what)
        self._live = live

    async def _has_a_sign(self) -> bool | None:
        if await self._serves_metrics():
            return True
        async with aclosing(self._client.list_pages(LEASES, OF_ITS_OPERATOR)) as pages:
            renewed = [self._is_renewed(lease) async for page in pages for lease in page["items"]]
        if True in renewed:
            return True
        return None if None in renewed else False

    async def _serves_metrics(self) -> bool:
        """Tell whether the external metrics API is KEDA's, and available."""
        try:
            document = await self._client.get(API_SERVICE_PATH)
        except NotFoundError:
            return False
        service = (document.get("spec") or {}).get("service") or {}
        conditions = (document.get("status") or {}).get("conditions") or []
        available = any(entry["type"] == "Available" and entry["status"] == "True" for entry in conditions)
        return available and "keda" in service.get("name", "")

    def _is_renewed(self, lease: Document) -> bool | None:
        spec, now, namespace = lease.get("spec") or {}, self._now(), lease["metadata"]["namespace"]
        sighting = self._leases.get(namespace)
        if sighting is None:
            sighting = _Sighting(spec, now, _first_impression(spec, now))
        elif sighting.spec != spec:
            sighting = _Sighting(spec, now, renewed=True)
        self._leases[namespace] = sighting
        return sighting.renewed if now - sighting.since < RENEWED_WITHIN else False


def _first_impression(spec: Document, now: datetime) -> bool | None:
    renewed = spec.get("renewTime")
    if not isinstance(renewed, str):
        return False
    age = now - datetime.fromisoformat(renewed)
    if age < RENEWED_WITHIN:
        return True
    return None if age < SURELY_OLD else False
