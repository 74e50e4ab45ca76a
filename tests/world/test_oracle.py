"""What each rule must notice: a mistake is made in wakegate on purpose, in a world of one target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from activator.loop import keeping
from tests.world.ablations import run_ablated
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


def _broken(result: Result) -> set[str]:
    return {violation.rule for violation in result.violations}


def test_what_is_kept_with_every_look_is_written_when_nothing_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """No count is written and no HPA; a state is, although nothing of it is news."""
    plan = _lone(Burst(10.0, 0, 5))
    assert not run_ablated(plan).violations
    monkeypatch.setattr(keeping.Keeper, "_is_news", lambda *_: True)
    assert _broken(run_ablated(plan)) == {"restless"}
