"""Moments, spans and tables in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from activator.views.words import ago, moment, span, table

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(hours=23, minutes=59), "23 h"),
        (timedelta(days=9, hours=3), "9 d"),
    ],
)
def test_a_span_is_written_by_its_largest_unit(duration: timedelta, written: str) -> None:
    """Whole units, never negative: two clocks may disagree by a moment."""
    assert span(duration) == written


@pytest.mark.parametrize("text", [None, "", "yesterday"])
def test_what_is_no_moment_is_none(text: str | None) -> None:
    """An absent or unreadable timestamp is unknown, and is written as nothing."""
    assert moment(text) is None
    assert ago(moment(text), NOW) == ""


def test_a_moment_is_written_with_its_age() -> None:
    """In UTC, whatever zone it came in."""
    assert ago(moment("2026-03-01T12:55:00+01:00"), NOW) == "2026-03-01 11:55:00 UTC, 5 min ago"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """And no line ends in blanks."""
    assert list(table([("a", "long cell", ""), ("abc", "b", "c")])) == ["a    long cell", "abc  b          c"]
