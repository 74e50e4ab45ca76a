"""A failing plan made small: fewer strikes, fewer targets, less time, while it still breaks the same rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world.plan import Plan
    from tests.world.run import Result

AFTERWARDS_SECONDS = 1.0
MOST_RUNS = 80


def shrink(result: Result, run: Callable[[Plan], Result]) -> Result:
    """Return the smallest run that was found to break the first rule that `result` broke."""
    rule = result.violations[0].rule
    best, runs = result, 0

    def attempt(plan: Plan) -> bool:
        nonlocal best, runs
        if runs >= MOST_RUNS:
            return False
        runs += 1
        tried = run(plan)
        if not any(violation.rule == rule for violation in tried.violations):
            return False
        first = next(violation.at for violation in tried.violations if violation.rule == rule)
        best = _cut(tried, first, run, rule)
        return True

    first = next(violation.at for violation in result.violations if violation.rule == rule)
    best = _cut(result, first, run, rule)
    _halve([strike.index for strike in best.plan.strikes], lambda kept: attempt(best.plan.narrowed(strikes=kept)))
    _halve([target.index for target in best.plan.targets], lambda kept: attempt(best.plan.narrowed(targets=kept)))
    _halve([strike.index for strike in best.plan.strikes], lambda kept: attempt(best.plan.narrowed(strikes=kept)))
    return best


def _cut(result: Result, at: float, run: Callable[[Plan], Result], rule: str) -> Result:
    """End the run right after the rule was broken."""
    until = round(at + AFTERWARDS_SECONDS)
    if until >= result.plan.until:
        return result
    shorter = run(result.plan.narrowed(until=until))
    return shorter if any(violation.rule == rule for violation in shorter.violations) else result


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
