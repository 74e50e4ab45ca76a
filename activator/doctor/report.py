"""How the results are told: for a person, whole or problems only, and as JSON."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

from activator.doctor.checks import problems, succeeded
from activator.doctor.verdict import Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activator.doctor.checks import Result

DOCS = "docs/doctor.md"

Line = tuple[str, str]
"""What a line is, which it may be coloured by, and the line: a `Level`, ``title``, or nothing in particular."""


def lines(results: Sequence[Result]) -> Iterator[Line]:
    """Tell everything, in sections."""
    for section, members in groupby(results, key=lambda result: result.check.section):
        yield "", section
        for result in members:
            yield from _told(result)
        yield "", ""
    yield _summary(results)


def short_lines(results: Sequence[Result]) -> Iterator[Line]:
    """Tell problems only, one block each, without sections; nothing where all is well."""
    for result in problems(results):
        yield from _told(result)


def document(results: Sequence[Result]) -> dict[str, Any]:
    """Return what ``-o json`` prints, in the shape of `linkerd check`."""
    return {
        "success": succeeded(results),
        "categories": [
            {"categoryName": section, "checks": [_as_json(result) for result in members]}
            for section, members in groupby(results, key=lambda result: result.check.section)
        ],
    }


def hint(check_id: str) -> str:
    """Where a check is explained."""
    return f"{DOCS}#{check_id}"


def _told(result: Result) -> Iterator[Line]:
    verdict = result.verdict
    yield verdict.level, f"  {verdict.level.value:<8} {result.check.id}: {verdict.text}"
    for cause in verdict.causes:
        yield "", f"           {cause}"
    if verdict.fix:
        yield "", f"           fix: {verdict.fix}"
        yield "", f"           see {hint(result.check.id)}"


def _summary(results: Sequence[Result]) -> Line:
    counted = Counter(result.verdict.level for result in results)
    worst = Level.FAIL if counted[Level.FAIL] else Level.WARN if counted[Level.WARN] else Level.OK
    told = ", ".join(f"{counted[level]} {level.value}" for level in Level if counted[level])
    return worst, f"{'all is well' if worst is Level.OK else f'status: {worst.value}'} ({told})"


def _as_json(result: Result) -> dict[str, Any]:
    verdict = result.verdict
    told: dict[str, Any] = {"id": result.check.id, "description": verdict.text, "result": verdict.level.value}
    if verdict.fix:
        told |= {"error": list(verdict.causes), "fix": verdict.fix, "hint": hint(result.check.id)}
    return told
