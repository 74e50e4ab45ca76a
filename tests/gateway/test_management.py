"""Health, readiness and metrics."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway.listener import Listener
from gateway.management import Management
from tests.gateway.support import Answer, exchange, request_bytes


async def ask(path: str, problems: list[str], method: str = "GET") -> Answer:
    """Ask a management listener with these problems."""
    registry = CollectorRegistry()
    Counter("events", "Events.", registry=registry).inc(3)
    listener = Listener(Management(registry, lambda: problems).handle, ("127.0.0.1", 0))
    await listener.start()
    try:
        return await exchange(listener.port, request_bytes(method, path, [], b""))
    finally:
        await asyncio.shield(listener.close())


@pytest.mark.parametrize(
    ("path", "problems", "status", "text"),
    [
        ("/healthz", [], 200, "ok\n"),
        ("/healthz", ["Kafka is away"], 200, "ok\n"),
        ("/readyz", [], 200, "ok\n"),
        ("/readyz", ["Kafka is away"], 503, "Kafka is away\n"),
        ("/else", [], 404, "served here: /healthz, /readyz and /metrics\n"),
    ],
)
async def test_probes(path: str, problems: list[str], status: int, text: str) -> None:
    """Readiness follows Kafka, health does not: a restart cures no Kafka."""
    answer = await ask(path, problems)
    assert (answer.status, answer.body.decode()) == (status, text)


async def test_metrics() -> None:
    """Metrics are Prometheus' text."""
    answer = await ask("/metrics", [])
    assert answer.status == 200
    assert b"events_total 3.0" in answer.body


async def test_method() -> None:
    """Nothing is changed here."""
    answer = await ask("/healthz", [], method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
