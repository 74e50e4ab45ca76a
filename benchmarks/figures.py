"""Tables and files of figures."""

from __future__ import annotations

import json
import os
import statistics
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts" / "benchmarks"


@dataclass
class Figures:
    """What one benchmark measured, and how busy the machine was meanwhile."""

    name: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    raw: dict[str, object] = field(default_factory=dict)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    load_before: tuple[float, float, float] = field(default_factory=os.getloadavg)

    def add(self, what: str, value: str) -> None:
        """Add a row of the table."""
        self.rows.append((what, value))

    def add_latencies(self, what: str, seconds: Sequence[float]) -> None:
        """Add the percentiles of latencies, and keep every one of them."""
        self.raw[what] = list(seconds)
        at = percentiles(seconds, 50, 95, 99)
        shown = ", ".join(f"p{p} {value * 1000:.1f} ms" for p, value in at.items())
        self.add(what, f"{shown}, max {max(seconds) * 1000:.1f} ms (n = {len(seconds)})")

    def tell(self) -> None:
        """Print the table and write the file."""
        before, after = self.load_before, os.getloadavg()
        self.add("load of the machine", f"{before[0]:.1f} before, {after[0]:.1f} after, on {os.cpu_count()} cores")
        width = max(len(what) for what, _ in self.rows)
        sys.stdout.write(f"\n{self.name}\n")
        for what, value in self.rows:
            sys.stdout.write(f"  {what:<{width}}  {value}\n")
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = (
            ARTIFACTS / f"{self.name}-{self.began:%Y%m%dT%H%M%S}.json"
        )  # one a run: the spread of runs is a figure too
        machine = {"began": self.began.isoformat(), "load_before": before, "load_after": after, "cores": os.cpu_count()}
        path.write_text(json.dumps({"machine": machine, "rows": dict(self.rows), "raw": self.raw}, indent=1))
        sys.stdout.write(f"  written: artifacts/benchmarks/{path.name}\n")


def percentiles(values: Sequence[float], *wanted: int) -> dict[int, float]:
    """Return percentiles of values, by their number; of a lone value it is that one."""
    if len(values) < 2:  # noqa: PLR2004 - what statistics.quantiles needs
        return dict.fromkeys(wanted, values[0])
    at = statistics.quantiles(values, n=100, method="inclusive")
    return {p: at[p - 1] for p in wanted}
