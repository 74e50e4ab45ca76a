"""What is told in a storm waits for its end, and none of it is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Departed, TargetRef
from activator.loop.backlog import LONGEST_SECONDS, Backlog
from activator.loop.recording import PatientRecorder
from tests.fakes.recorder import FakeRecorder
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
FACTS = [Departed(TargetRef("shop", "Deployment", f"t{number}"), NOON) for number in range(40)]


@asynccontextmanager
async def running(recorder: PatientRecorder) -> AsyncIterator[PatientRecorder]:
    """Let it hand on what waits, and end it as the loop does."""
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_with_nothing_pressing_a_fact_is_handed_on_at_once() -> None:
    """Before `record` returns."""
    kept = FakeRecorder()
    PatientRecorder(kept, Backlog()).record(FACTS[0])
    assert kept.facts == FACTS[:1]


@virtual
@pytest.mark.parametrize("ends", [True, False], ids=["the storm ends", "the storm goes on"])
async def test_in_a_storm_facts_wait_for_its_end_but_not_for_ever(*, ends: bool) -> None:
    """In the order in which they came, and what comes meanwhile after them."""
    kept, backlog = FakeRecorder(), Backlog()
    async with running(PatientRecorder(kept, backlog)) as recorder:
        backlog.note(exists=True)
        for fact in FACTS[:30]:
            recorder.record(fact)
        await asyncio.sleep(LONGEST_SECONDS / 2)
        assert kept.facts == []
        if ends:
            backlog.note(exists=False)
        else:
            await asyncio.sleep(LONGEST_SECONDS / 2)
        await asyncio.sleep(0)
        recorder.record(FACTS[30])
        await asyncio.sleep(0.001)
        assert kept.facts == FACTS[:31]


@virtual
async def test_storm_after_storm_leaves_nothing_behind() -> None:
    """Between two of them there is but a moment."""
    kept, backlog = FakeRecorder(), Backlog()
    async with running(PatientRecorder(kept, backlog)) as recorder:
        for _ in range(20):
            backlog.note(exists=True)
            for fact in FACTS:
                recorder.record(fact)
            await asyncio.sleep(0.1)
            backlog.note(exists=False)
            backlog.note(exists=True)
            await asyncio.sleep(0.1)
            assert kept.facts == FACTS
            kept.facts.clear()
            backlog.note(exists=False)


@virtual
async def test_who_ends_in_a_storm_has_told_all_of_it() -> None:
    """Also what comes as the other tasks of the loop end after it."""
    kept, backlog = FakeRecorder(), Backlog()
    async with running(PatientRecorder(kept, backlog)) as recorder:
        backlog.note(exists=True)
        await asyncio.sleep(0)
        for fact in FACTS[:30]:
            recorder.record(fact)
    recorder.record(FACTS[30])
    backlog.note(exists=False)
    assert kept.facts == FACTS[:31]
