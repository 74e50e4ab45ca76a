"""The demo's verdict: each promise beside what was measured, and a miss that cannot be overlooked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from activator.local.verdict import Measured, headline, judge

GOOD = Measured(
    seconds=40.0,
    wakes_seconds=(0.001, 0.030, 0.002, 0.004),
    produced=903,
    consumed=903,
    twice=0,
    most_replicas=5,
    replicas_at_the_end=0,
    replica_seconds=80.0,
)


def test_everything_kept() -> None:
    """The verdict comes in one line, and each promise says what was measured."""
    checks = judge(GOOD, most=5)
    assert all(check.kept for check in checks)
    assert headline(checks, GOOD) == "PASS: 0 -> 5 -> 0 in 40 s, every promise kept"
    assert [check.measured for check in checks] == [
        "3.0 ms (1.0, 30.0, 2.0, 4.0)",
        "903, none twice",
        "5",
        "0",
        "40% (80 of 200)",
    ]


@pytest.mark.parametrize(
    ("row", "changed", "missed"),
    [
        ("too slow", {"wakes_seconds": (0.05, 0.06)}, "wake p50"),
        ("it never woke", {"wakes_seconds": ()}, "wake p50"),
        ("a record was lost", {"consumed": 902}, "records produced = consumed"),
        ("it did not grow", {"most_replicas": 4}, "most replicas"),
        ("it did not sleep", {"replicas_at_the_end": 1}, "replicas at the end"),
        ("it saved nothing", {"replica_seconds": 190.0}, "replica-seconds"),
    ],
)
def test_a_miss(row: str, changed: dict[str, Any], missed: str) -> None:
    """Each promise can be missed by itself, and the first line names it."""
    measured = replace(GOOD, **changed)
    checks = judge(measured, most=5)
    assert [check.name.partition(",")[0] for check in checks if not check.kept] == [missed], row
    assert headline(checks, measured).startswith(f"MISS: {missed} (")


def test_records_done_twice_are_said() -> None:
    """At least once is the promise; what was done twice is said and is no miss."""
    checks = judge(replace(GOOD, twice=3), most=5)
    assert checks[1].measured == "903, 3 of them twice"
    assert checks[1].kept


def test_a_story_that_was_not_told_to_its_end() -> None:
    """What it waited for in vain is the verdict, whatever was kept until then."""
    measured = replace(GOOD, interrupted="it did not go back to sleep within 25 s")
    assert headline(judge(measured, most=5), measured) == "MISS: it did not go back to sleep within 25 s"
