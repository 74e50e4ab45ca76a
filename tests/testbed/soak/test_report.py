"""A line for each fault, a table and a file for all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from testbed.soak.oracle import Violation
from testbed.soak.plan import Fault, Kind
from testbed.soak.report import Outcome, Report, Skip, unproven

if TYPE_CHECKING:
    from pathlib import Path

FAULT = Fault(1, "kafka-cut", 2, 3.0, 0.0, 0.4, 1, record_meanwhile=False, choice=0.0)
GOOD = Outcome(
    FAULT,
    probe="orders",
    slept_seconds=12.0,
    struck_at=0.0,
    answered_seconds=0.1,
    woken_seconds=0.4,
    normal_seconds=2.0,
    load=3.0,
)
LATE = Violation("late", "wakegate-a", "serves no lag")
BAD = replace(GOOD, fault=replace(FAULT, number=2), normal_seconds=None, violations=(LATE,))


def test_a_line_of_progress() -> None:
    """Which fault, how long until all was normal, who was woken, and each violation below it."""
    assert GOOD.line() == "#1   kafka-cut for 3 s: normal after 2.0 s; orders (asleep 12 s) woken after 0.4 s (load 3)"
    assert BAD.line().splitlines()[1].strip() == "VIOLATION late: wakegate-a: serves no lag"


def test_a_table_by_kind() -> None:
    """Times, median, worst and violations; one that never became normal is the worst."""
    report = Report(5, [GOOD, replace(GOOD, normal_seconds=4.0)])
    assert report.table().splitlines()[1].split() == ["kafka-cut", "2", "0", "3.0", "4.0", "0"]
    report.outcomes.append(BAD)
    assert report.table().splitlines()[1].split() == ["kafka-cut", "3", "0", "3.0", "never", "1"]


def test_a_kind_that_was_only_skipped_is_in_the_table() -> None:
    """With how often, and each skip with its reason: it is not as if it had never been in the plan."""
    skip = Skip(replace(FAULT, kind="consumer-kill"), "no consumer runs")
    lines = Report(5, [GOOD], [skip, skip]).table().splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["consumer-kill", "0", "2", "-", "-", "0"],
        ["kafka-cut", "1", "0", "2.0", "2.0", "0"],
        ["all", "1", "2", "2.0", "2.0", "0"],
    ]
    assert lines.count("skipped #1 consumer-kill for 3 s: no consumer runs") == 2


KINDS = [Kind("kafka-cut", 1, (0.0,), ""), Kind("consumer-kill", 1, (0.0,), "")]
SKIP = Skip(replace(FAULT, kind="consumer-kill"), "no consumer runs")
SLEPT = {"orders": [1.0]}
SEEN = [
    pytest.param([GOOD], [], SLEPT, [], id="less than a round"),
    pytest.param([GOOD, GOOD], [], SLEPT, ["consumer-kill never struck"], id="a round without one kind"),
    pytest.param([GOOD], [SKIP], SLEPT, ["consumer-kill never struck"], id="a round in which one was skipped"),
    pytest.param([GOOD], [], {"orders": []}, ["orders was never put to sleep"], id="no sleep"),
    pytest.param([], [], SLEPT, ["no fault struck"], id="nothing"),
]


@pytest.mark.parametrize(("outcomes", "skipped", "sleeps", "lacking"), SEEN)
def test_a_run_that_has_seen_too_little(
    outcomes: list[Outcome], skipped: list[Skip], sleeps: dict[str, list[float]], lacking: list[str]
) -> None:
    """It proves nothing: that is told, and it has not passed."""
    report = Report(5, outcomes, skipped)
    report.unproven = unproven(report, KINDS, ["orders"], sleeps)
    assert report.unproven == lacking
    assert report.passed is (not lacking)
    assert [line for line in report.table().splitlines() if line.startswith("NOT PROVEN")] == [
        f"NOT PROVEN: {text}" for text in lacking
    ]


def test_every_violation_counts() -> None:
    """Those of a fault and those that were found at the end, in the table and in the file."""
    skipped = Violation("skipped", "orders", "(0, 1) was never read")
    report = Report(5, [GOOD, BAD], after=[skipped])
    assert report.violations == [LATE, skipped]
    lines = report.table().splitlines()
    assert str(skipped) in lines
    assert lines[-1] == "seed 5: 2 faults, 2 violations"


def test_the_file_has_all_of_it(tmp_path: Path) -> None:
    """Each outcome with its fault, so that a run can be looked at afterwards."""
    path = tmp_path / "soak" / "seed-5.json"
    Report(5, [BAD]).write(path)
    written = json.loads(path.read_text())
    assert written["outcomes"][0]["fault"]["kind"] == "kafka-cut"
    assert written["outcomes"][0]["violations"][0]["what"] == "late"
