"""What the API server's front proxy is known by: ConfigMap kube-system/extension-apiserver-authentication, kept fresh.

Source: Kubernetes, "Configure the Aggregation Layer". Reading it is granted to an extension API server by the Role
kube-system/extension-apiserver-authentication-reader.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from activator.errors import WakegateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.kubernetes.client import KubernetesClient

PATH = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
LOOK_SECONDS = 30.0
"""The CA of the front proxy is rotated with old and new in force together for much longer than this."""
RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


class FrontProxyConfigMap:
    """The last read of the ConfigMap; what is in it is for the listener to understand."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._data: Mapping[str, str] | None = None

    def current(self) -> Mapping[str, str] | None:
        """Return the ConfigMap's data as last read; None: it has not been read yet."""
        return self._data

    async def run(self) -> None:
        """Read it again and again until cancelled; what was read last stays in force while it cannot be."""
        while True:
            try:
                document = await self._client.get(PATH)
            except WakegateError as error:
                _log.warning("the front proxy's CA could not be read, trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._data = dict(document.get("data") or {})
                await asyncio.sleep(LOOK_SECONDS)
