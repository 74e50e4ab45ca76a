"""Readiness by HTTP, as the kubelet asks for it. Other probes, and liveness, are not made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from testbed.kubelet.address import pod_ip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FIRST_SECONDS = 0.2
"""Between tries until the first success: a test need not wait for a period."""
DEFAULT_PERIOD_SECONDS = 10
DEFAULT_TIMEOUT_SECONDS = 1
OK = range(200, 400)


def readiness_url(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
    """The URL of a container's readiness probe; None where it has none that asks by HTTP."""
    asked = (container.get("readinessProbe") or {}).get("httpGet")
    if not asked:
        return None
    ports = {port.get("name"): port["containerPort"] for port in container.get("ports") or []}
    port = ports.get(asked["port"], asked["port"])
    return f"{asked.get('scheme', 'HTTP').lower()}://{pod_ip(pod)}:{port}{asked.get('path', '/')}"


async def watch(url: str, probe: Mapping[str, Any], changed: Callable[[bool], None]) -> None:
    """Ask until cancelled, and tell each change: ready at one success, not ready at `failureThreshold` failures."""
    period = float(probe.get("periodSeconds", DEFAULT_PERIOD_SECONDS))
    timeout = aiohttp.ClientTimeout(total=float(probe.get("timeoutSeconds", DEFAULT_TIMEOUT_SECONDS)))
    ready, failures, ever = False, 0, False
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=False)) as session:
        while True:
            good = await _succeeds(session, url)
            failures = 0 if good else failures + 1
            if good != ready and (good or failures >= int(probe.get("failureThreshold", 3))):
                ready = good
                changed(ready)
            ever = ever or good
            await asyncio.sleep(period if ever else FIRST_SECONDS)


async def _succeeds(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, allow_redirects=False) as answer:
            return answer.status in OK
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
