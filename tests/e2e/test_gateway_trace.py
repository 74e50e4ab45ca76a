"""Case: an event over HTTP for a sleeping consumer is one connected picture, from its request to its first commit."""

from __future__ import annotations

import secrets
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from testbed.stage import REPOSITORY, until
from tests.e2e.test_wake_trace import spans_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.stage import Stage
    from testbed.traces import Span, Trace

pytestmark = pytest.mark.real

PHASES = ("wakegate.wake.ready", "wakegate.wake.first_commit")


def is_ready(port: int) -> bool:
    """Whether the gateway's /readyz says so."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def gateway(stage: Stage, wake_port: int, token_file: Path) -> Iterator[str]:
    """A gateway process that wakes by POST /wake; its URL."""
    port, management = stage.bed.reserve_ports(2)
    environment = {
        **stage.bed.env,
        "OTEL_SERVICE_NAME": f"{stage.namespace}-gateway",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [
        sys.executable, "-m", "gateway", "--bootstrap-servers", stage.bed.kafka.bootstrap_servers,
        "--listen", f"127.0.0.1:{port}", "--management-listen", f"127.0.0.1:{management}", "--shutdown-delay", "0",
        "--wake-url", f"http://127.0.0.1:{wake_port}/wake", "--wake-token-file", str(token_file),
    ]  # fmt: skip
    process = stage.bed.process(f"{stage.namespace}-gateway", command, env=environment, grace_seconds=30)
    process.start()
    try:
        process.wait_ready(lambda: is_ready(management), within_seconds=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def post(url: str, traceparent: str) -> int:
    """Send one CloudEvent in binary mode as part of a client's trace; return the status."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/shop",
        "ce-type": "order.created",
        "Content-Type": "text/plain",
        "traceparent": traceparent,
    }
    request = urllib.request.Request(url, b"two boxes", headers)  # noqa: S310 - our own gateway on loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
        return int(answer.status)


def place(span: Span) -> tuple[str, str]:
    """How a link names a span."""
    return (span.trace_id, span.span_id)


def linked(span: Span) -> set[tuple[str, str]]:
    """What a span links to."""
    return {(link.trace_id, link.span_id) for link in span.links}


def whole_hop(stage: Stage, trace_id: str) -> Trace | None:
    """The gateway's part of the client's trace, once both of its spans have arrived."""
    found = stage.bed.jaeger.trace(trace_id)
    return found if found is not None and len(found.spans) >= 2 else None


def decision(stage: Stage) -> Span | None:
    """The decision that woke the consumer."""
    traces = stage.bed.jaeger.traces(stage.namespace, operation="wakegate.decide")
    spans = [span for trace in traces for span in trace.named("wakegate.decide")]
    wakes = (s for s in spans if (s.tags.get("wakegate.outcome"), s.tags.get("wakegate.replicas.to")) == ("applied", 1))
    return next(wakes, None)


def episode(stage: Stage, decide: Span) -> Trace | None:
    """The wake that a decision began, once its phases have arrived, which they do in no order."""
    for trace in stage.bed.jaeger.traces(stage.namespace, operation="wakegate.wake"):
        ours = any(place(decide) in linked(span) for span in trace.named("wakegate.wake"))
        if ours and all(map(trace.named, PHASES)):
            return trace
    return None


def test_an_event_for_a_sleeper_is_one_connected_picture(stage: Stage, tmp_path: Path) -> None:
    """Request -> send -> wake decision -> PATCH -> ready -> first commit hang together in Jaeger, by parent or link."""
    token_file = tmp_path / "wake-token"
    token_file.write_text(secrets.token_urlsafe())
    wakegate = stage.wakegate(wake_token_file=str(token_file))
    wakegate.start()
    consumer = stage.consumer(cooldown_period="4", polling_interval="300")
    until("it sleeps", consumer.asleep, 120)
    client_trace, client_span = secrets.token_hex(16), secrets.token_hex(8)
    with gateway(stage, wakegate.port, token_file) as url:
        topic = stage.topic_of(consumer)
        assert post(f"{url}/topics/{topic}", f"00-{client_trace}-{client_span}-01") == 202
        until("it is awake", lambda: consumer.replicas() == 1, 30)
        until(
            "the activator took the gateway's wake",
            lambda: 'wakegate_pushes_total{source="gateway"} 1.0' in wakegate.get("/metrics")[1],
            30,
        )

        request_trace = until("request and send are in Jaeger", lambda: whole_hop(stage, client_trace), 60)
        (request,) = request_trace.named("POST topics")  # the route is named, not its path
        (send,) = request_trace.named(f"send {topic}")
        assert send.parent_id == request.span_id
        decide = until("the wake decision is in Jaeger", lambda: decision(stage), 60)
        assert decide.tags["wakegate.wake.source"] in {"gateway", "tail"}  # whoever told first; both carry the trace
        assert place(send) in linked(decide)
        applied = until("so is its PATCH", lambda: spans_of(stage, decide.trace_id, "wakegate.apply"), 60)
        assert [span.parent_id for span in applied] == [decide.span_id]
        wake_trace = until("the episode is complete", lambda: episode(stage, decide), 120)
        (wake,) = wake_trace.named("wakegate.wake")
        for phase in PHASES:
            assert [span.parent_id for span in wake_trace.named(phase)] == [wake.span_id], phase
