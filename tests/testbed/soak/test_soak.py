"""A slice of the soak: a few minutes of faults on real parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.soak import effects
from testbed.soak.run import Bounds, soak

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

BUSY_MACHINE_SECONDS = 30.0
"""The tests share their machine: what is late is measured by `make soak`, what is lost is found here too."""


def told_of_offsets(logs: Path) -> str:
    """What both replicas said of offsets, for whoever has to find out why some were read again."""
    lines = (line for log in sorted(logs.glob("*wakegate-*.log")) for line in log.read_text().splitlines())
    return "\n".join(line for line in lines if "ffsets" in line)


def test_a_slice_of_the_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three minutes of faults by one seed: no false zero, no missed wake, no record skipped or read again."""
    monkeypatch.setattr(effects, "RESTORED_SECONDS", BUSY_MACHINE_SECONDS)
    logs = tmp_path / "logs"
    report = soak(Bounds(seed=2, faults=30, minutes=3, normal_seconds=BUSY_MACHINE_SECONDS, run_directory=logs))
    assert report.violations == [], f"{report.table()}\n{told_of_offsets(logs)}"
    assert report.passed, report.table()
    assert len(report.outcomes) >= 5, report.table()
    assert report.facts["sleeps"], "something has slept"
