"""Spans in a real Jaeger: found by service and name, with their ids, parents and links."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Applied, TraceIds
from activator.telemetry import export
from activator.telemetry.holds import LONGEST
from testbed.bed import Testbed, TestbedOptions
from tests.fakes.facts import START, batch_read, hold, stretch, wake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.core.model import Fact
    from testbed.traces import Trace

pytestmark = pytest.mark.real


class NoCounts:
    """Takes no note."""

    def spans_exported(self, spans: int) -> None:
        """Forget it."""

    def spans_dropped(self, spans: int, why: str) -> None:
        """Forget it."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """Jaeger alone."""
    with Testbed(TestbedOptions(kafka_nodes=0, control_plane=False, kubelet=False)) as made:
        yield made


def random_ids() -> TraceIds:
    """Return ids that no earlier run has sent."""
    return TraceIds(secrets.token_hex(16), secrets.token_hex(8))


async def test_facts_are_found_in_jaeger(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold, a read, a wake and its episode: each under its own trace id, linked as they were."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", bed.jaeger.otlp_endpoint)
    exporting = export.start(NoCounts(), longest_hold=LONGEST, version="1")
    assert exporting is not None
    offset = datetime.now(UTC) - START  # noqa: TID251 - Jaeger searches by the wall clock
    read = replace(batch_read(0), ids=random_ids())
    decided = wake(5)
    assert decided.applied is not None
    decided = replace(
        decided,
        ids=random_ids(),
        links=(read.ids,),
        now=decided.now + offset,
        applied=Applied(decided.applied.started_at + offset, decided.applied.ended_at + offset, "ok"),
    )
    held_ids, whole = random_ids(), random_ids()
    looks = [replace(look, ids=held_ids, now=look.now + offset) for look in hold(0, 2, 4)]
    episode_facts = (stretch("ready", 7, whole=whole), stretch("", 8, whole=whole, link=decided.ids))
    facts: tuple[Fact, ...] = (*looks, read, decided, *episode_facts)
    for fact in facts:
        exporting.recorder.record(fact)
    await exporting.close()

    woken = await found(bed, decided.ids, spans=2)
    decide = woken.named("wakegate.decide")[0]
    assert decide.span_id == decided.ids.span_id
    assert decide.service == "wakegate"
    assert {(link.trace_id, link.span_id) for link in decide.links} == {
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),
        (read.ids.trace_id, read.ids.span_id),
    }
    assert decide.tags["wakegate.reason"] == "record-arrived"
    [apply] = woken.named("wakegate.apply")
    assert apply.parent_id == decide.span_id
    [held] = (await found(bed, held_ids)).named("wakegate.decide")
    assert held.tags["wakegate.evaluations"] == 3
    assert held.duration.total_seconds() == pytest.approx(4)
    episode = await found(bed, whole, spans=2)
    [root], [ready] = episode.named("wakegate.wake"), episode.named("wakegate.wake.ready")
    assert (root.span_id, root.parent_id, ready.parent_id) == (whole.span_id, None, whole.span_id)
    assert [(link.trace_id, link.span_id) for link in root.links] == [(decided.ids.trace_id, decided.ids.span_id)]
    assert (await found(bed, read.ids)).named("wakegate.read_lag")[0].span_id == read.ids.span_id


async def found(bed: Testbed, ids: TraceIds, spans: int = 1) -> Trace:
    """Return a trace once Jaeger shows it with all of its spans, which it stores one by one."""
    deadline = time.monotonic() + 10
    while True:
        trace = await asyncio.to_thread(bed.jaeger.trace, ids.trace_id)
        if trace is not None and len(trace.spans) >= spans:
            return trace
        assert time.monotonic() < deadline, f"trace {ids.trace_id} is not whole in Jaeger: {trace}"
        await asyncio.sleep(0.1)
