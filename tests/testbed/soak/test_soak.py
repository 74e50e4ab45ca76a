"""A slice of the soak: a few minutes of faults on real parts."""

from __future__ import annotations

import pytest

from testbed.soak.run import Bounds, soak

pytestmark = pytest.mark.real

BUSY_MACHINE_SECONDS = 30.0
"""The tests share their machine: what is late is measured by `make soak`, what is lost is found here too."""


def test_a_slice_of_the_soak() -> None:
    """Three minutes of faults by one seed: no false zero, no missed wake, no record skipped or read again."""
    report = soak(Bounds(seed=2, faults=30, minutes=3, normal_seconds=BUSY_MACHINE_SECONDS))
    assert report.violations == [], report.table()
    assert not report.ended_early
    assert len(report.outcomes) >= 5, report.table()
    assert report.facts["sleeps"], "something has slept"
