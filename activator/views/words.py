"""Moments, spans of time and tables, for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def moment(text: str | None) -> datetime | None:
    """Read a timestamp of the API; None: there is none, or it is none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def span(duration: timedelta) -> str:
    """Write a span by its largest unit: ``45 s``, ``12 min``, ``3 h``, ``9 d``."""
    seconds = max(0, int(duration.total_seconds()))
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size} {unit}"


def ago(then: datetime | None, now: datetime) -> str:
    """Write a moment with how long ago it was; empty: it is not known."""
    return f"{then:%Y-%m-%d %H:%M:%S} UTC, {span(now - then)} ago" if then else ""


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Set rows in columns as wide as their widest cell, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
