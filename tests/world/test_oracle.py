"""What each rule must notice: a mistake is made in wakegate on purpose, in a world of one target."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from activator.core import decide, kept_offsets
from activator.core.steps import restraining
from activator.loop import keeping
from tests.world.ablations import run_ablated
from tests.world.faults import Phase
from tests.world.plan import END_SECONDS, Burst, Plan, Strike, plan_of

if TYPE_CHECKING:
    import pytest

    from tests.world.run import Result

GUARDED_AT_LATEST = (1, 2)
"""Seed and target: one partition with a commit, no threshold, a cooldown of 60 s, a look at it in 300 s asleep."""


def _lone(*bursts: Burst, strikes: tuple[Strike, ...] = (), until: float = END_SECONDS) -> Plan:
    seed, index = GUARDED_AT_LATEST
    plan = plan_of(seed).narrowed(targets=[index], until=until)
    return replace(plan, targets=(replace(plan.targets[0], bursts=bursts),), strikes=strikes)


def _strike(fault: str, at: float, lasts_seconds: float = 0.0) -> Strike:
    return Strike(0, fault, GUARDED_AT_LATEST[1], Phase.ASLEEP, at=at, delay_seconds=0.0, lasts_seconds=lasts_seconds)


def _broken(result: Result) -> set[str]:
    return {violation.rule for violation in result.violations}


def test_what_is_kept_with_every_look_is_written_when_nothing_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """No count is written and no HPA; a state is, although nothing of it is news."""
    plan = _lone(Burst(10.0, 0, 5))
    assert not run_ablated(plan).violations
    monkeypatch.setattr(keeping.Keeper, "_is_news", lambda *_: True)
    assert _broken(run_ablated(plan)) == {"restless"}


def test_a_recreated_topic_that_is_not_read_from_its_beginning_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first record comes before any look: pinned where the log ends by then, the group would skip it."""
    recreated = _strike("topic-is-recreated", 600.0, 5.0)
    plan = _lone(Burst(10.0, 0, 5), Burst(606.0, 0, 1), strikes=(recreated,), until=700.0)
    result = run_ablated(plan, keep=True)
    assert any("committed-for missing t2 [(0, 0)]" in line for line in result.lines)
    assert not result.violations
    follow = kept_offsets._Look.follow

    def pinned_at_the_end(self: Any, number: int, seen: Any, end: int | None) -> tuple[int | None, bool]:
        at, is_pin = follow(self, number, seen, end)
        return (end, True) if is_pin else (at, is_pin)

    monkeypatch.setattr(kept_offsets._Look, "follow", pinned_at_the_end)
    assert _broken(run_ablated(plan)) == {"skipped"}


def test_a_clock_that_was_wrong_excuses_no_sleep_after_later_work() -> None:
    """Whoever runs has seen that work by one clock: a sleep right after it is too soon, strike or not."""
    behind = _strike("clock-is-behind", 500.0, 5.0)
    plan = _lone(Burst(10.0, 0, 5), Burst(2000.0, 0, 5), strikes=(behind,), until=2300.0)
    assert sum(run_ablated(plan).strikes.values()) == 1
    assert not run_ablated(plan).violations
    late = [found for found in run_ablated(replace(plan, ablation="cooldown")).violations if found.at > 2000.0]
    assert "slept-too-soon" in {violation.rule for violation in late}


def test_thirty_seconds_too_soon_are_noticed_of_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has begun since, and the Lease is whose it was: what is known of the last work is at most one look old."""
    plan = _lone(Burst(300.0, 0, 5), until=500.0)
    assert not run_ablated(plan).violations

    def too_soon(draft: Any) -> Any:
        now = draft.now
        return replace(restraining.cooldown(replace(draft, now=now + timedelta(seconds=30))), now=now)

    steps = tuple(too_soon if step is restraining.cooldown else step for step in decide.STEPS)
    monkeypatch.setattr(decide, "STEPS", steps)
    monkeypatch.setattr("activator.loop.acting._violation", lambda *_, **__: None)
    assert "slept-too-soon" in _broken(run_ablated(plan))


def test_a_commit_that_retention_passed_and_nobody_moved_is_noticed() -> None:
    """Records below the threshold expire before the one that wakes it: at latest a consumer would begin behind that."""
    strike = next(found for found in plan_of(191).strikes if found.fault == "records-below-the-threshold-expire")
    plan = plan_of(191).narrowed(targets=[strike.target], until=800.0)
    assert not run_ablated(plan).violations
    assert _broken(run_ablated(replace(plan, ablation="commits-that-retention-passed"))) == {"skipped"}
