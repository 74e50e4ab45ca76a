"""Health, metrics and pushes over a real socket."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from activator.core.model import Push, PushSource
from activator.errors import UnavailableError
from activator.web.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RIGHT = "right"
ORDERS = {"bootstrapServers": "kafka:9092", "topic": "orders"}


class World:
    """A running server, what it shows and what it was told."""

    def __init__(self, token_file: Path | None) -> None:
        self.not_ready: list[str] = []
        self.dead: list[str] = []
        self.pushes: list[Push] = []
        self.registry = CollectorRegistry()
        self.server = Server(
            ("127.0.0.1", 0),
            registry=self.registry,
            ready=lambda: self.not_ready,
            alive=lambda: self.dead,
            pushes=self,
            wake_token_file=token_file,
            now=lambda: NOW,
        )

    def push(self, push: Push) -> None:
        """Take a push."""
        self.pushes.append(push)

    async def ask(self, method: str, path: str, **request: Any) -> tuple[int, str, Mapping[str, str]]:
        """Return status, body and headers of one answer."""
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, **request) as response:
            return response.status, await response.text(), response.headers

    async def wake(self, body: object, token: str | None = RIGHT, **headers: str) -> tuple[int, str]:
        """Push as the gateway does."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, text, _ = await self.ask("POST", "/wake", data=data, headers=headers)
        return status, text


@asynccontextmanager
async def running(token_file: Path | None) -> AsyncIterator[World]:
    """Run a server with this token file."""
    world = World(token_file)
    await world.server.start()
    try:
        yield world
    finally:
        await world.server.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a running server whose token is ``right``."""
    path = tmp_path / "token"
    path.write_text("right\n", encoding="utf-8")
    async with running(path) as made:
        yield made


async def test_readiness_says_why_not(world: World) -> None:
    """/readyz follows the reasons it is given, and lists them."""
    assert (await world.ask("GET", "/readyz"))[0] == 200
    world.not_ready = ["workloads have not been listed yet", "Kafka kafka:9092 has not answered yet"]
    status, text, _ = await world.ask("GET", "/readyz")
    assert status == 503
    assert text.splitlines() == world.not_ready


async def test_liveness_does_not_follow_readiness(world: World) -> None:
    """A process that waits for Kafka must not be restarted; one whose loop has died must."""
    world.not_ready = ["Kafka is away"]
    assert (await world.ask("GET", "/healthz"))[0] == 200
    world.dead = ["the loop has not turned for 60 s"]
    status, text, _ = await world.ask("GET", "/healthz")
    assert (status, text) == (503, "the loop has not turned for 60 s\n")


async def test_metrics_in_the_form_that_was_asked_for(world: World) -> None:
    """Prometheus' text by default, OpenMetrics where the scraper prefers it; compressed where it may be."""
    Gauge("wakegate_test", "For the test.", registry=world.registry).set(4)
    _, text, headers = await world.ask("GET", "/metrics")
    assert next(iter(text_string_to_metric_families(text))).samples[0].value == 4
    assert headers["Content-Encoding"] == "gzip"  # what aiohttp's client asks for, as Prometheus does
    openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "identity"}
    _, text, headers = await world.ask("GET", "/metrics", headers=openmetrics)
    assert text.endswith("# EOF\n")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert "Content-Encoding" not in headers


async def test_a_push_reaches_the_listener(world: World) -> None:
    """202 means that it is on its way: the trace context goes with it, white space does not."""
    status, text = await world.wake(
        [{"bootstrapServers": "kafka-1:9092, kafka-2:9092", "topic": "orders"}, ORDERS], traceparent=TRACEPARENT
    )
    assert (status, json.loads(text)) == (202, {"accepted": 2})
    assert world.pushes == [
        Push("kafka-1:9092,kafka-2:9092", "orders", PushSource.GATEWAY, NOW, traceparent=TRACEPARENT),
        Push("kafka:9092", "orders", PushSource.GATEWAY, NOW, traceparent=TRACEPARENT),
    ]


async def test_the_same_topic_twice_is_one_push(world: World) -> None:
    """A burst of events for one topic wakes it once."""
    assert (await world.wake([ORDERS] * 5))[0] == 202
    assert len(world.pushes) == 1


async def test_a_trace_context_that_is_none_is_left_behind(world: World) -> None:
    """A header of any length must not travel into spans; the wake goes on without it."""
    assert (await world.wake([ORDERS], traceparent="0" * 500))[0] == 202
    assert world.pushes[0].traceparent is None


@pytest.mark.parametrize("token", ["wrong", None])
async def test_a_push_without_the_token_is_refused(world: World, token: str | None) -> None:
    """Whoever may wake may spend money."""
    assert (await world.wake([ORDERS], token))[0] == 401
    assert world.pushes == []


async def test_without_a_token_file_pushes_are_off() -> None:
    """The answer names the setting that would switch them on."""
    async with running(None) as world:
        status, text = await world.wake([ORDERS])
    assert status == 403
    assert "WAKEGATE_WAKE_TOKEN_FILE" in text
    assert world.pushes == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        ({}, "a list of 1 to 1000"),
        ([], "a list of 1 to 1000"),
        ([ORDERS] * 1001, "a list of 1 to 1000"),
        ([ORDERS, "orders"], "[1].bootstrapServers is None"),
        ([ORDERS | {"topic": ""}], "[0].topic is ''"),
        ([{"bootstrapServers": 9092, "topic": "orders"}], "[0].bootstrapServers is 9092"),
        ([{"bootstrap-servers": "kafka:9092", "topic": "orders"}], "[0].bootstrapServers is None"),
        ([{"bootstrapServers": " , ", "topic": "orders"}], "[0].bootstrapServers is ' , '"),
    ],
)
async def test_a_body_that_cannot_be_used_is_named(world: World, body: object, said: str) -> None:
    """One mistake refuses the whole list, with the place, the value and what is allowed."""
    status, text = await world.wake(body)
    assert status == 400
    assert said in text
    assert world.pushes == []


async def test_a_body_over_the_limit_is_refused(world: World) -> None:
    """64 KiB hold a thousand topics; more is not read."""
    assert (await world.wake(b" " * (64 * 1024 + 1)))[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/wake", 405), ("PUT", "/metrics", 405), ("GET", "/x", 404)]
)
async def test_other_methods_and_paths_are_refused_in_a_sentence(
    world: World, method: str, path: str, status: int
) -> None:
    """The sentence names what was asked for."""
    answered, text, _ = await world.ask(method, path)
    assert answered == status
    assert path in text


async def test_a_port_in_use_is_one_clear_error(world: World) -> None:
    """The error names the address."""
    second = Server(
        ("127.0.0.1", world.server.port),
        registry=CollectorRegistry(),
        ready=list,
        pushes=world,
        wake_token_file=None,
        now=lambda: NOW,
    )
    with pytest.raises(
        UnavailableError, match=f"listener 127.0.0.1:{world.server.port}: cannot listen there: .*in use"
    ):
        await second.start()
