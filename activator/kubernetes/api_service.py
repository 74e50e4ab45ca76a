"""Who serves external.metrics.k8s.io in this cluster: only one can, and it may be KEDA, CMA, Datadog or nobody.

The choice goes by what the APIService refers to, never by whether it is Available just now: a metrics API that flaps
must not move targets between an HPA and us.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from activator.core.model import Handover
from activator.errors import NotFoundError, WakegateError

if TYPE_CHECKING:
    from activator.kubernetes.client import Document, KubernetesClient

PATH = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
LOOK_SECONDS = 10.0
RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


def service_of(api_service: Document) -> tuple[str, str]:
    """Return namespace and name of the Service that an APIService leads to; two empty texts: the API server itself."""
    service = api_service.get("spec", {}).get("service") or {}
    return service.get("namespace", ""), service.get("name", "")


class MetricsApiOwner:
    """Looks at the APIService again and again.

    Args:
        client: the API server.
        service: namespace and name of the Service in front of our own metrics API.
    """

    def __init__(self, client: KubernetesClient, service: tuple[str, str]) -> None:
        self._client = client
        self._service = service
        self._handoff: Handover | None = None

    def handoff(self) -> Handover | None:
        """Return who can move 1..N: the HPA where the metrics API leads to us, else we; None: not known yet."""
        return self._handoff

    async def run(self) -> None:
        """Look until cancelled; what was seen last stays in force while the API server is away."""
        while True:
            try:
                await self._look()
            except WakegateError as error:
                _log.debug("the APIService of external metrics could not be read, trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        try:
            document = await self._client.get(PATH)
        except NotFoundError:
            owner = None
        else:
            owner = service_of(document)
        settled = Handover.HPA if owner == self._service else Handover.DIRECT
        if settled is not self._handoff:
            found = "is served by nobody" if owner is None else f"leads to Service {owner[0]}/{owner[1]}"
            meaning = "HPAs move 1..N" if settled is Handover.HPA else "wakegate itself moves 1..N"
            _log.info("external.metrics.k8s.io %s: %s of targets with hand-off auto", found, meaning)
        self._handoff = settled
