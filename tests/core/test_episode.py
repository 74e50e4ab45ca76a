"""Episodes: a wake from its record to the first commit after it, a sleep until its last replica has gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest

from activator.core.episode import LONGEST, STRETCHES, Episode, Progress, advance, whole
from activator.core.model import TargetRef, TraceIds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.core.model import EpisodePhase

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ORDERS = TargetRef("shop", "Deployment", "orders")
WHOLE = TraceIds("e" * 32, "1" * 16)
DECISION = TraceIds("d" * 32, "2" * 16)
Partition = tuple[str, int]


def at(seconds: float) -> datetime:
    """Name a moment by its distance from nine o'clock."""
    return NINE + timedelta(seconds=seconds)


def ids() -> Callable[[str], TraceIds]:
    """Make span ids one after the other, so that no two are alike."""
    numbers = count(100)
    return lambda trace_id: TraceIds(trace_id, f"{next(numbers):016}")


def begun(kind: str, before: Mapping[Partition, int] | None = None) -> Episode:
    """Begin an episode at nine o'clock, whose PATCH was answered 20 ms later."""
    return Episode(kind, "episode-1", WHOLE, at(0), at(0.02), DECISION, before or {})


def told(phases: tuple[EpisodePhase, ...]) -> list[str]:
    """Tell the stretches by name, the whole as such."""
    return [phase.name or "whole" for phase in phases]


def test_a_wake_is_told_stretch_by_stretch() -> None:
    """A record wakes it, a replica is ready after 3 s, the HPA takes over at 8 s, the first commit comes at 9 s."""
    wake, new_ids = begun("wake", {("orders", 0): 41}), ids()
    steps = [
        (1, Progress(0, handed_off=False, commits={("orders", 0): 41}), []),
        (3, Progress(1, handed_off=False, commits={("orders", 0): 41}), ["ready"]),
        (4, Progress(1, handed_off=False, commits={("orders", 0): 41}), []),
        (8, Progress(1, handed_off=True, commits={("orders", 0): 41}), ["handoff"]),
    ]
    for seconds, seen, expected in steps:
        left, phases = advance(ORDERS, wake, seen, at(seconds), new_ids)
        assert told(phases) == expected
        assert left is not None
        wake = left
    left, phases = advance(ORDERS, wake, Progress(1, handed_off=True, commits={("orders", 0): 42}), at(9), new_ids)
    assert left is None
    assert told(phases) == ["first_commit", "whole"]
    commit, total = phases
    assert (commit.started_at, commit.ended_at, commit.parent) == (at(0.02), at(9), WHOLE)
    assert (total.started_at, total.ended_at, total.ids, total.link) == (at(0), at(9), WHOLE, DECISION)
    assert total.missing == ()
    assert {phase.episode_id for phase in phases} == {"episode-1"}
    assert commit.ids.trace_id == WHOLE.trace_id
    assert commit.ids.span_id != WHOLE.span_id


def test_the_first_commit_ends_a_wake_even_where_the_hpa_never_came() -> None:
    """Work is being done: what had not been seen by then is named as missing."""
    seen = Progress(1, handed_off=False, commits={("orders", 0): 1})
    left, phases = advance(ORDERS, begun("wake", {("orders", 0): 0}), seen, at(4), ids())
    assert left is None
    assert told(phases) == ["ready", "first_commit", "whole"]
    assert phases[-1].missing == ("handoff",)


COMMITS: dict[str, tuple[dict[Partition, int], dict[Partition, int], bool]] = {
    "none before and none now": ({}, {}, False),
    "the same": ({("a", 0): 5}, {("a", 0): 5}, False),
    "one further": ({("a", 0): 5}, {("a", 0): 6}, True),
    "the first of its group, at the beginning": ({}, {("a", 0): 0}, True),
    "another partition": ({("a", 0): 5}, {("a", 0): 5, ("a", 1): 7}, True),
    "set back by hand": ({("a", 0): 5}, {("a", 0): 2}, False),
    "gone": ({("a", 0): 5}, {}, False),
}


@pytest.mark.parametrize(("before", "now", "is_commit"), COMMITS.values(), ids=COMMITS)
def test_what_counts_as_a_first_commit(
    before: dict[Partition, int], now: dict[Partition, int], *, is_commit: bool
) -> None:
    """A committed offset past the one that was there at the wake, on any partition."""
    left, phases = advance(ORDERS, begun("wake", before), Progress(0, handed_off=False, commits=now), at(1), ids())
    assert ("first_commit" in told(phases)) is is_commit
    assert (left is None) is is_commit


def test_a_wake_that_leads_to_nothing_is_closed_after_ten_minutes() -> None:
    """An image that cannot be pulled: the episode ends with all that is missing, and not a look sooner."""
    nothing = Progress(0, handed_off=False, commits={})
    left, phases = advance(ORDERS, begun("wake"), nothing, at(600), ids())
    assert left == begun("wake")
    assert phases == ()
    left, phases = advance(ORDERS, begun("wake"), nothing, at(600.02), ids())
    assert left is None
    assert told(phases) == ["whole"]
    assert phases[0].missing == ("ready", "handoff", "first_commit")
    assert timedelta(minutes=10) == LONGEST


def test_a_sleep_ends_with_its_last_replica() -> None:
    """A consumer that takes 25 s to shut down is told as such."""
    sleep, new_ids = begun("sleep"), ids()
    left, phases = advance(ORDERS, sleep, Progress(2, handed_off=False, commits={}), at(5), new_ids)
    assert (left, phases) == (sleep, ())
    left, phases = advance(ORDERS, sleep, Progress(0, handed_off=False, commits={}), at(25), new_ids)
    assert left is None
    assert told(phases) == ["stopped", "whole"]
    assert phases[0].ended_at - phases[0].started_at == timedelta(seconds=24.98)


def test_a_stretch_is_told_once() -> None:
    """A replica that becomes unready and ready again is no second beginning."""
    wake, new_ids = begun("wake"), ids()
    seen: list[list[str]] = []
    for seconds, ready in enumerate([1, 0, 1]):
        left, phases = advance(ORDERS, wake, Progress(ready, handed_off=False, commits={}), at(seconds + 1), new_ids)
        assert left is not None
        wake, seen = left, [*seen, told(phases)]
    assert seen == [["ready"], [], []]


def test_no_span_ends_before_it_begins() -> None:
    """The clock may have been set back since: a duration is zero then, never negative."""
    left, phases = advance(ORDERS, begun("wake"), Progress(1, handed_off=True, commits={("a", 0): 1}), at(-60), ids())
    assert left is None
    assert all(phase.ended_at >= phase.started_at for phase in phases)


@pytest.mark.parametrize("kind", STRETCHES)
def test_what_is_cut_short_tells_what_it_had_not_seen(kind: str) -> None:
    """A wake that is put to sleep again, or a target that is released, closes its episode where it stands."""
    closed = whole(ORDERS, begun(kind), at(2))
    assert (closed.name, closed.missing, closed.ended_at) == ("", STRETCHES[kind], at(2))
