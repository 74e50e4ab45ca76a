"""Whether KEDA, or OpenShift's Custom Metrics Autoscaler, is alive in this cluster.

By two signs: the external metrics API is served by it and available, or its Lease is renewed, in whatever namespace it
was installed. What an uninstalled one left behind (an APIService that leads nowhere, a Lease that nobody renews) is
none. Who may not look (rights in one namespace alone) takes it for live: WAKEGATE_KEDA says otherwise. One refusal is
no such answer: an API server that starts knows no roles yet, and every ScaledObject would be given away for it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
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
LOOK_SECONDS = 10.0
GONE_AFTER_LOOKS = 6
"""So many looks without a sign, and it counts as gone: a restart of KEDA's must not hand its objects over. So many that
were refused, and it counts as live."""
FIRST_REFUSAL_SECONDS = 1.0
"""How soon it is looked again after a refusal where nothing has been seen before: others wait for the answer."""

log = logging.getLogger(__name__)


class KedaPresence:
    """Looks for it again and again."""

    def __init__(self, client: KubernetesClient, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self._live: bool | None = None
        self._misses = 0
        self._refusals = 0

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
                await asyncio.sleep(LOOK_SECONDS if self._live is not None else FIRST_REFUSAL_SECONDS)
            except WakegateError as error:
                log.debug("whether KEDA is live could not be seen: %s", error)
                await asyncio.sleep(LOOK_SECONDS / 10)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    def _refuse(self, error: DeniedError) -> None:
        self._refusals += 1
        enough = FIRST_REFUSALS if self._live is None else GONE_AFTER_LOOKS
        if self._live is not True and self._refusals >= enough:
            log.warning("whether KEDA is live may not be seen, so its ScaledObjects are left alone: %s", error)
            self._live = True

    def _take(self, *, seen: bool) -> None:
        self._refusals = 0
        self._misses = 0 if seen else self._misses + 1
        live = seen or (self._live is True and self._misses < GONE_AFTER_LOOKS)
        if live is not self._live:
            what = "is live in this cluster" if live else "is not live in this cluster: ScaledObjects are managed"
            log.info("KEDA %s", what)
        self._live = live

    async def _has_a_sign(self) -> bool:
        if await self._serves_metrics():
            return True
        async with aclosing(self._client.list_pages(LEASES, OF_ITS_OPERATOR)) as pages:
            return any([self._is_renewed(lease) async for page in pages for lease in page["items"]])

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

    def _is_renewed(self, lease: Document) -> bool:
        renewed = (lease.get("spec") or {}).get("renewTime")
        return isinstance(renewed, str) and self._now() - datetime.fromisoformat(renewed) < RENEWED_WITHIN
