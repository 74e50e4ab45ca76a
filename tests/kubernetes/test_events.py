"""Events are written in the background: aggregated, bounded, and never at anybody's cost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from activator.core.model import BatchRead, Cluster, Notice, Outcome, Reason, Severity, TargetRef, TraceIds
from activator.errors import DeniedError
from activator.kubernetes import events
from activator.kubernetes.events import EventRecorder
from tests.kubernetes.memory_api import Document, MemoryApi, unreachable
from tests.kubernetes.test_event_object import ORDERS, evaluation
from tests.virtual_time import now, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from activator.kubernetes.client import KubernetesClient


@asynccontextmanager
async def recording(
    api: MemoryApi, *, leads: bool = True, uid_of: Callable[[TargetRef], str | None] = lambda _: "uid-1"
) -> AsyncIterator[EventRecorder]:
    """Run a recorder for the block."""
    recorder = EventRecorder(
        cast("KubernetesClient", api), "wakegate-0", uid_of, lambda: leads, asyncio.get_running_loop().time
    )
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def notice(message: str = "hello", ref: TargetRef = ORDERS, trace_id: str | None = None) -> Notice:
    """A notice of this moment."""
    return Notice(ref, "uid-1", Severity.WARNING, "Test", message, now(), trace_id)


def written(api: MemoryApi) -> list[tuple[str, str, int]]:
    """Reason, message and count of every Event."""
    return sorted((event["reason"], event["message"], event["count"]) for event in _events(api))


def _events(api: MemoryApi) -> list[Document]:
    return list(api.documents.values())


@virtual
async def test_the_same_again_is_counted_and_names_the_latest_trace() -> None:
    """One Event, whose times tell since when and until when."""
    api = MemoryApi()
    async with recording(api) as recorder:
        for number in range(3):
            recorder.record(notice(trace_id=f"trace-{number}"))
            await asyncio.sleep(60)
    [event] = _events(api)
    assert (event["message"], event["count"]) == ("hello (trace trace-2)", 3)
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-01-05T09:00:00Z", "2026-01-05T09:02:00Z")


@virtual
async def test_what_waits_is_written_once_with_its_count() -> None:
    """A burst of the same costs one request."""
    api = MemoryApi()
    async with recording(api) as recorder:
        for _ in range(100):
            recorder.record(notice())
        await asyncio.sleep(1)
    assert written(api) == [("Test", "hello", 100)]
    assert len(api.log) == 1


@virtual
async def test_an_event_that_has_expired_is_told_anew() -> None:
    """The API server keeps Events for an hour."""
    api = MemoryApi()
    async with recording(api) as recorder:
        recorder.record(notice())
        await asyncio.sleep(7200)
        api.documents.clear()
        recorder.record(notice())
        await asyncio.sleep(1)
    assert written(api) == [("Test", "hello", 1)]


@virtual
async def test_a_hold_is_told_when_it_begins() -> None:
    """And its end, where it was one to worry about; hundreds of looks between are silent."""
    api = MemoryApi()
    unreadable = evaluation(reason=Reason.UNREADABLE, texts=("no leader",))
    async with recording(api) as recorder:
        for _ in range(300):
            recorder.record(unreadable)
            await asyncio.sleep(1)
        recorder.record(evaluation(texts=("no lag",)))
        await asyncio.sleep(1)
    assert [(reason, count) for reason, _, count in written(api)] == [("LagReadable", 1), ("LagUnreadable", 1)]


@virtual
async def test_of_several_replicas_one_tells_why_a_target_holds() -> None:
    """Each tells what it did itself; a wake needs no lease."""
    api = MemoryApi()
    async with recording(api, leads=False) as recorder:
        recorder.record(evaluation(reason=Reason.UNREADABLE))
        recorder.record(evaluation(Outcome.APPLIED, replicas=(0, 1)))
        await asyncio.sleep(1)
    assert [reason for reason, _, _ in written(api)] == ["Woken"]


@virtual
async def test_what_is_not_about_a_living_target_is_no_event() -> None:
    """A batch read, and a workload that is gone."""
    api = MemoryApi()
    async with recording(api, uid_of=lambda _: None) as recorder:
        recorder.record(evaluation(Outcome.APPLIED, replicas=(0, 1)))
        recorder.record(BatchRead(Cluster("kafka:9092"), TraceIds("a", "b"), now(), now(), 1, 0))
        await asyncio.sleep(1)
    assert api.log == []


@virtual
async def test_one_target_cannot_flood() -> None:
    """25 at once and one a minute; other targets are heard all the same, and what was not said is counted."""
    api = MemoryApi()
    async with recording(api) as recorder:
        for number in range(100):
            recorder.record(notice(f"trouble {number}"))
            await asyncio.sleep(0)
        recorder.record(notice("calm", replace(ORDERS, name="mail")))
        await asyncio.sleep(1)
        assert len(api.documents) == events.BURST + 1
        assert recorder.dropped == 75
        await asyncio.sleep(120)
        for number in range(10):
            recorder.record(notice(f"more {number}"))
        await asyncio.sleep(1)
        assert len(api.documents) == events.BURST + 1 + 2


@virtual
async def test_an_outage_is_waited_for_and_costs_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost in a minute; the queue is bounded; it is said once."""
    api = MemoryApi()
    api.down = unreachable()
    async with recording(api) as recorder:
        for number in range(events.QUEUED_AT_MOST + 501):
            recorder.record(notice(ref=replace(ORDERS, name=f"orders-{number}")))
            if number == 0:
                await asyncio.sleep(1)  # the first is being written
        await asyncio.sleep(60)
        api.down = None
        await asyncio.sleep(20)
        assert len(api.documents) == events.QUEUED_AT_MOST
        assert recorder.dropped == 501
    assert [record.getMessage() for record in caplog.records] == [
        "an Event could not be written: memory: connection refused"
    ]


@virtual
async def test_a_namespace_whose_events_fail_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Behind a dead webhook they are tried again and again, each with all that has come to it, and said once."""
    api = MemoryApi()
    api.broken["/api/v1/namespaces/sick/"] = unreachable()
    sick = [replace(ORDERS, namespace="sick", name=name) for name in ("bills", "mails")]
    async with recording(api) as recorder:
        for number in range(events.BURST):
            for ref in (*sick, ORDERS):
                recorder.record(notice(ref=ref))
            await asyncio.sleep(2)
            assert written(api) == [("Test", "hello", number + 1)]
        assert len(api.asked("POST")) < 15, "it is not hammered"
        api.broken.clear()
        await asyncio.sleep(20)
        assert written(api) == [("Test", "hello", events.BURST)] * 3
        assert recorder.dropped == 0
    assert len(caplog.records) == 1


@virtual
async def test_news_of_long_ago_is_not_told() -> None:
    """After an outage of hours the Events of its beginning would only mislead."""
    api = MemoryApi()
    api.down = unreachable()
    async with recording(api) as recorder:
        recorder.record(notice())
        await asyncio.sleep(3600)
        api.down = None
        recorder.record(notice("now"))
        await asyncio.sleep(20)
        assert written(api) == [("Test", "now", 1)]
        assert recorder.dropped == 1


@virtual
async def test_a_refusal_drops_one_event_and_no_more() -> None:
    """In a namespace that is being deleted nothing can be created; the next target is told of."""
    api = MemoryApi()
    api.faults.append(("POST", DeniedError("403 namespace shop is being terminated"), False))
    async with recording(api) as recorder:
        recorder.record(notice())
        recorder.record(notice("other"))
        await asyncio.sleep(1)
        assert written(api) == [("Test", "other", 1)]
        assert recorder.dropped == 1


@virtual
async def test_an_event_whose_answer_was_lost_is_made_once() -> None:
    """The second try finds it by its name."""
    api = MemoryApi()
    api.faults.append(("POST", unreachable(), True))
    async with recording(api) as recorder:
        recorder.record(notice())
        await asyncio.sleep(5)
        recorder.record(notice())
        await asyncio.sleep(5)
    assert written(api) == [("Test", "hello", 2)]


@virtual
async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets come and go for years."""
    monkeypatch.setattr(events, "REMEMBERED_AT_MOST", 10)
    api = MemoryApi()
    async with recording(api) as recorder:
        for number in range(100):
            ref = replace(ORDERS, name=f"orders-{number}")
            recorder.record(notice(ref=ref))
            recorder.record(replace(evaluation(), ref=ref))
            await asyncio.sleep(1)
        for remembered in (recorder._held, recorder._written, recorder._buckets):
            assert len(remembered) == 10
