"""Tables and files of figures."""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts" / "benchmarks"


@dataclass
class Figures:
    """What one benchmark measured."""

    name: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    raw: dict[str, object] = field(default_factory=dict)

    def add(self, what: str, value: str) -> None:
        """Add a row of the table."""
        self.rows.append((what, value))

    def add_latencies(self, what: str, seconds: Sequence[float]) -> None:
        """Add the percentiles of latencies, and keep every one of them."""
        self.raw[what] = list(seconds)
        at = statistics.quantiles(seconds, n=100, method="inclusive")
        shown = ", ".join(f"p{p} {at[p - 1] * 1000:.1f} ms" for p in (50, 95, 99))
        self.add(what, f"{shown}, max {max(seconds) * 1000:.1f} ms (n = {len(seconds)})")

    def tell(self) -> None:
        """Print the table and write the file."""
        width = max(len(what) for what, _ in self.rows)
        sys.stdout.write(f"\n{self.name}\n")
        for what, value in self.rows:
            sys.stdout.write(f"  {what:<{width}}  {value}\n")
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{self.name}.json"
        path.write_text(json.dumps({"rows": dict(self.rows), "raw": self.raw}, indent=1))
        sys.stdout.write(f"  written: artifacts/benchmarks/{path.name}\n")
