"""Readiness by HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from testbed.kubelet import probe
from testbed.kubelet.address import pod_ip

POD: dict[str, Any] = {"metadata": {"uid": "u1"}}
PORTS = [{"name": "http", "containerPort": 8080}]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, None),
        ({"readinessProbe": {"exec": {"command": ["true"]}}}, None),
        ({"readinessProbe": {"httpGet": {"port": "http", "path": "/readyz"}}, "ports": PORTS}, ":8080/readyz"),
        ({"readinessProbe": {"httpGet": {"port": 9090}}}, ":9090/"),
    ],
)
def test_url(container: dict[str, Any], expected: str | None) -> None:
    """A named port is looked up; a container without such a probe has no URL."""
    found = probe.readiness_url(POD, container)
    assert found == (expected and f"http://{pod_ip(POD)}{expected}")


async def test_each_change_is_told_once() -> None:
    """Not ready until the first success; then not ready again only after as many failures as were asked for."""
    answers = [503, 200, 503, 200, 503, 503, 503]
    told: list[bool] = []
    over = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        status = answers.pop(0) if answers else 503
        if not answers:
            over.set()
        return web.Response(status=status)

    app = web.Application()
    app.add_routes([web.get("/readyz", answer)])
    async with TestServer(app) as server:
        asked = {"periodSeconds": 0.01, "failureThreshold": 2}
        watching = asyncio.create_task(probe.watch(str(server.make_url("/readyz")), asked, told.append))
        await asyncio.wait_for(over.wait(), 10)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
    assert told == [True, False]
