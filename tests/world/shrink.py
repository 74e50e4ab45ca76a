"""A failing plan made small: fewer strikes, fewer targets, less time, while it still breaks the same rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world.plan import Plan
    from tests.world.run import Result

AFTERWARDS_SECONDS = 1.0
MOST_RUNS = 80


class Run(Protocol):
    """Runs a plan, to its end or to the first violation of one of these rules."""

    def __call__(self, plan: Plan, *, stops_at: frozenset[str] = frozenset()) -> Result:
        """Run it."""


def shrink(result: Result, run: Run) -> Result:
    """Return the smallest run that was found to break the first rule that `result` broke."""
    rule = result.violations[0].rule
    best, runs = _cut(result, rule), 0

    def attempt(plan: Plan) -> bool:
        nonlocal best, runs
        if runs >= MOST_RUNS:
            return False
        runs += 1
        tried = run(plan, stops_at=frozenset({rule}))
        if all(violation.rule != rule for violation in tried.violations):
            return False
        best = _cut(tried, rule)
        return True

    _halve([strike.index for strike in best.strikes], lambda kept: attempt(best.narrowed(strikes=kept)))
    _halve([target.index for target in best.targets], lambda kept: attempt(best.narrowed(targets=kept)))
    _halve([strike.index for strike in best.strikes], lambda kept: attempt(best.narrowed(strikes=kept)))
    return run(best)


def _cut(result: Result, rule: str) -> Plan:
    """End the plan right after the rule was broken: what comes later cannot have to do with it."""
    at = next(violation.at for violation in result.violations if violation.rule == rule)
    return result.plan.narrowed(until=math.ceil(at + AFTERWARDS_SECONDS))


def _halve(items: list[int], fails_with: Callable[[list[int]], bool]) -> None:
    """Drop as many items as possible, in large pieces first (delta debugging)."""
    size = len(items)
    while size >= 1 and items:
        start = 0
        while start < len(items):
            kept = items[:start] + items[start + size :]
            if fails_with(kept):
                items = kept
            else:
                start += size
        size //= 2
