"""Who is told what became of spans."""

from __future__ import annotations

from typing import Protocol


class SpanCounts(Protocol):
    """Takes note of what became of spans; called from the exporting thread too."""

    def spans_exported(self, spans: int) -> None:
        """Count spans that a backend has taken."""

    def spans_dropped(self, spans: int, why: str) -> None:
        """Count spans that are lost: ``queue-full`` or ``export-failed``."""
