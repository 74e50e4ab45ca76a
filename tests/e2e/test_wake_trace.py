"""Case 2: a record wakes by push, however long the polling interval, and the trace says which record it was."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from testbed.stage import until

if TYPE_CHECKING:
    from testbed.stage import Stage
    from testbed.traces import Span

pytestmark = pytest.mark.real


def spans_of(stage: Stage, trace_id: str, operation: str) -> list[Span]:
    """The spans of this name in a trace: Jaeger stores what came in one batch side by side, in no order."""
    found = stage.bed.jaeger.trace(trace_id)
    return found.named(operation) if found is not None else []


def test_a_single_record_wakes_within_a_second_and_its_trace_links_the_producer(stage: Stage) -> None:
    """With a polling interval of five minutes the tail wakes it, and Jaeger shows source, link and the episode."""
    stage.wakegate().start()
    consumer = stage.consumer(cooldown_period="4", polling_interval="300")
    until("it sleeps", consumer.asleep, 60)
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    stage.produce(consumer, headers={"traceparent": f"00-{trace_id}-{span_id}-01".encode()})
    until("it is awake", lambda: consumer.replicas() == 1, 1)

    def wake() -> Span | None:
        spans = [
            span
            for trace in stage.bed.jaeger.traces(stage.namespace, operation="wakegate.decide")
            for span in trace.named("wakegate.decide")
            if span.tags.get("wakegate.outcome") == "applied" and span.tags.get("wakegate.replicas.to") == 1
        ]
        return spans[0] if spans else None

    decide = until("the wake is in Jaeger", wake, 15)
    assert decide.tags["wakegate.wake.source"] == "tail"
    # The record is proof by itself once the group was seen Empty; just after a sleep the lag that it brings forward is.
    assert decide.tags["wakegate.reason"] in {"record-arrived", "lag"}
    assert (trace_id, span_id) in {(link.trace_id, link.span_id) for link in decide.links}
    applied = until("so is its PATCH", lambda: spans_of(stage, decide.trace_id, "wakegate.apply"), 15)
    assert [span.parent_id for span in applied] == [decide.span_id]

    def episode() -> Span | None:
        spans = [
            span
            for trace in stage.bed.jaeger.traces(stage.namespace, operation="wakegate.wake")
            for span in trace.named("wakegate.wake")
        ]
        return spans[0] if spans else None

    wake_span = until("the episode is complete", episode, 30)
    assert (decide.trace_id, decide.span_id) in {(link.trace_id, link.span_id) for link in wake_span.links}
    path = f"/api/v1/namespaces/{stage.namespace}/events"
    until(
        "an Event of the Deployment names the trace",
        lambda: any(
            decide.trace_id in event["message"] and event["involvedObject"]["name"] == consumer.name
            for event in stage.api.get(path)["items"]
        ),
        10,
    )
