"""Cron windows: open or closed at a moment, and when that changes, across time zones and changed clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.schedule import Schedule, next_after, window_at
from activator.specs.keda.cron import expression

NEXT: dict[str, tuple[str, str, str, str]] = {
    "later today": ("0 8 * * *", "UTC", "2026-01-05 07:59", "2026-01-05 08:00"),
    "strictly later": ("0 8 * * *", "UTC", "2026-01-05 08:00", "2026-01-06 08:00"),
    "in its own zone": ("0 8 * * *", "Europe/Berlin", "2026-01-05 06:00", "2026-01-05 07:00"),
    "in summer": ("0 8 * * *", "Europe/Berlin", "2026-07-05 05:00", "2026-07-05 06:00"),
    "a zone ahead by a day": ("0 1 * * *", "Pacific/Auckland", "2026-01-05 11:30", "2026-01-05 12:00"),
    "steps": ("*/15 * * * *", "UTC", "2026-01-05 08:16", "2026-01-05 08:30"),
    "weekdays by name": ("0 8 * * mon-fri", "UTC", "2026-01-09 09:00", "2026-01-12 08:00"),
    "a day of the month": ("0 0 31 * *", "UTC", "2026-01-31 01:00", "2026-03-31 00:00"),
    "either day will do": ("0 0 13 * fri", "UTC", "2026-01-10 00:00", "2026-01-13 00:00"),
    "a leap day": ("0 0 29 2 *", "UTC", "2026-01-01 00:00", "2028-02-29 00:00"),
    "in the gap of spring": ("30 2 * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 01:30"),
    "twice in autumn, the first counts": ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:00", "2026-10-25 00:30"),
    "and not again": ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:30", "2026-10-26 01:30"),
    "a descriptor": ("@weekly", "UTC", "2026-01-05 00:00", "2026-01-11 00:00"),
}


def utc(text: str) -> datetime:
    """A moment as written."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("written", "zone", "now", "expected"), NEXT.values(), ids=NEXT)
def test_when_it_happens_next(written: str, zone: str, now: str, expected: str) -> None:
    """The first moment later than now."""
    assert next_after(expression(written), zone, utc(now)) == utc(expected)


WORKDAY = Schedule(expression("0 8 * * 1-5"), expression("0 18 * * 1-5"), "Europe/Berlin", 3)
OPEN: dict[str, tuple[str, bool, str]] = {
    "before": ("2026-01-05 06:59", False, "2026-01-05 07:00"),
    "at its start": ("2026-01-05 07:00", True, "2026-01-05 17:00"),
    "inside": ("2026-01-05 12:00", True, "2026-01-05 17:00"),
    "at its end": ("2026-01-05 17:00", False, "2026-01-06 07:00"),
    "at the weekend": ("2026-01-10 12:00", False, "2026-01-12 07:00"),
}


@pytest.mark.parametrize(("now", "is_open", "changes_at"), OPEN.values(), ids=OPEN)
def test_a_window(now: str, is_open: bool, changes_at: str) -> None:  # noqa: FBT001 - a row
    """Open from its start until its end, and the next change is known."""
    window = window_at(WORKDAY, utc(now))
    assert (window.is_open, window.changes_at) == (is_open, utc(changes_at))


@given(st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)))  # noqa: DTZ001 - naive is what it takes
def test_a_window_changes_when_it_says_so(moment: datetime) -> None:
    """Just before the change it is as it was, and at the change it is the other."""
    now = moment.replace(tzinfo=UTC)
    window = window_at(WORKDAY, now)
    assert window.changes_at > now
    assert window_at(WORKDAY, window.changes_at).is_open is not window.is_open


@pytest.mark.parametrize(
    "written", ["", "* * * *", "60 * * * *", "0 0 30 2 *", "5-1 * * * *", "a * * * *", "*/0 * * * *"]
)
def test_what_is_no_cron_expression(written: str) -> None:
    """It is refused with what is allowed."""
    with pytest.raises(ValueError, match="cron expression"):
        expression(written)
