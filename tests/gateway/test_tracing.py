"""A request's place in its trace: what the record, the activator and a tracing backend get of it."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from tests.gateway.support import door

EVENT = (("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"))
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_trace_is_carried_without_spans() -> None:
    """With tracing off the sender's context reaches the record and the activator untouched."""
    async with door() as at:
        await at.post("/topics/t", [*EVENT, ("traceparent", TRACEPARENT), ("tracestate", "a=b")])
        headers = dict(at.producer.sent[0][1].headers)
        assert (headers["traceparent"], headers["tracestate"]) == (TRACEPARENT.encode(), b"a=b")
        assert at.wakes == [("t", TRACEPARENT)]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        f"ff{TRACEPARENT[2:]}",
        TRACEPARENT.upper(),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"{TRACEPARENT}-é",
        f"{TRACEPARENT}-a b",
    ],
)
async def test_trace_that_is_none(given: str) -> None:
    """What is no trace context is not carried on, and the event is taken all the same."""
    async with door() as at:
        answer = await at.post("/topics/t", [*EVENT, ("traceparent", given), ("tracestate", "a=b")], b"data")
        assert answer.status == 202
        assert at.admission.shares() == []
        assert not {"traceparent", "tracestate"} & dict(at.producer.sent[0][1].headers).keys()


async def test_trace_of_a_later_version() -> None:
    """What a later version of the header says behind the flags is carried on with it."""
    later = f"01{TRACEPARENT[2:]}-more"
    async with door() as at:
        await at.post("/topics/t", [*EVENT, ("traceparent", later)])
        assert dict(at.producer.sent[0][1].headers)["traceparent"] == later.encode()


async def test_state_of_several_lines() -> None:
    """Lines of `tracestate` are one list, in the order in which they came."""
    states = [("tracestate", "a=1,b=2"), ("tracestate", "c=3")]
    async with door() as at:
        await at.post("/topics/t", [*EVENT, ("traceparent", TRACEPARENT), *states])
        assert dict(at.producer.sent[0][1].headers)["tracestate"] == b"a=1,b=2,c=3"


async def test_unsampled_trace_wakes_without_it() -> None:
    """A wake carries a trace only where some backend knows it."""
    async with door() as at:
        await at.post("/topics/t", [*EVENT, ("traceparent", f"{TRACEPARENT[:-2]}00")])
        assert at.wakes == [("t", None)]
        assert "traceparent" in dict(at.producer.sent[0][1].headers)


async def test_spans() -> None:
    """A sampled request has a server span and under it a send span, which the record carries; the origin is linked."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    origin = f"00-{'a' * 32}-{'b' * 16}-01"
    async with door(tracer=provider.get_tracer("test")) as at:
        await at.post("/topics/orders", [*EVENT, ("traceparent", TRACEPARENT), ("ce-traceparent", origin)])
        record = dict(at.producer.sent[0][1].headers)
    send, server = exporter.get_finished_spans()
    assert (server.name, send.name) == ("POST topics", "send orders")
    assert server.parent is not None
    assert server.context is not None
    assert send.context is not None
    assert f"{server.parent.span_id:016x}" == TRACEPARENT.split("-")[2]
    assert send.parent == server.context
    assert record["traceparent"].decode().split("-")[2] == f"{send.context.span_id:016x}"
    assert record["ce_traceparent"].decode() == origin
    assert [f"{link.context.trace_id:032x}" for link in send.links] == ["a" * 32]
    assert send.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
        "messaging.batch.message_count": 1,
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
    }
    assert at.wakes == [("orders", record["traceparent"].decode())]


async def test_unsampled_request_still_carries_a_trace() -> None:
    """Where the sampler says no there is no span to export, but the context goes on."""
    provider = TracerProvider(sampler=ALWAYS_OFF)
    async with door(tracer=provider.get_tracer("test")) as at:
        await at.post("/topics/orders", [*EVENT, ("traceparent", TRACEPARENT)])
        carried = dict(at.producer.sent[0][1].headers)["traceparent"].decode()
        assert carried.split("-")[1] == TRACEPARENT.split("-")[1]
        assert carried.endswith("-00")
        assert at.wakes == [("orders", None)]
