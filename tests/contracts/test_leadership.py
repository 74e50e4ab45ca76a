"""What every Leadership must do: never two at once, and the next one when the first has gone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.contracts.kubernetes_worlds import clock, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.contracts.kubernetes_worlds import Candidate, KubernetesWorld

    Start = Callable[[Candidate], asyncio.Task[None]]

NOTHING = timedelta(0)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Return how to let a candidate take part; all are stopped at the end."""
    tasks: list[asyncio.Task[None]] = []

    def begin(candidate: Candidate) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(candidate.run()))
        return tasks[-1]

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_nobody_leads_before_he_takes_part(world: KubernetesWorld) -> None:
    """Not knowing is not leading."""
    assert world.candidate("a").remaining() <= NOTHING


async def test_a_free_lease_is_taken(world: KubernetesWorld, start: Start) -> None:
    """The first candidate leads without waiting."""
    candidate = world.candidate("a")
    start(candidate)
    await eventually(lambda: candidate.remaining() > NOTHING, "the lease")


async def test_only_one_of_several_leads(world: KubernetesWorld, start: Start) -> None:
    """However many look at the same moment."""
    candidates = [world.candidate(name) for name in "abc"]
    for candidate in candidates:
        start(candidate)
    await eventually(lambda: any(candidate.remaining() > NOTHING for candidate in candidates), "a leader")
    assert sum(candidate.remaining() > NOTHING for candidate in candidates) == 1


async def test_a_leader_that_ends_hands_over(world: KubernetesWorld, start: Start) -> None:
    """And is none any more from the moment it has ended."""
    first, second = world.candidate("a"), world.candidate("b")
    leading = start(first)
    await eventually(lambda: first.remaining() > NOTHING, "the first to lead")
    start(second)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    assert first.remaining() <= NOTHING
    await eventually(lambda: second.remaining() > NOTHING, "the second to lead")


async def test_who_waits_sees_that_another_leads(world: KubernetesWorld, start: Start) -> None:
    """And when he last did, once he leads himself; who has never waited has seen nobody."""
    first, second = world.candidate("a"), world.candidate("b")
    leading = start(first)
    await eventually(lambda: first.remaining() > NOTHING, "the first to lead")
    start(second)
    await eventually(lambda: second.others_led_until() is not None, "the second to see it")
    assert first.others_led_until() is None
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    await eventually(lambda: second.remaining() > NOTHING, "the second to lead")
    seen = second.others_led_until()
    assert seen is not None
    assert timedelta(0) <= clock() - seen < timedelta(minutes=1)
