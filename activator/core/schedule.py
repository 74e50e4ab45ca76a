"""Cron windows: open now, and until when. Pure: the moment comes in, the next change goes out.

A window is open where its next end comes no later than its next start (KEDA's cron scaler: start and end are two cron
expressions in one time zone, and nothing is remembered). Expressions have five fields: minute, hour, day of month,
month, day of week; where both days are restricted either will do (crontab(5)).

Clocks that are put forward skip local times: a start or end in the gap happens as much later as the gap is long, or
the window of that day would never open, or never close. Of a local time that comes twice the first one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SEARCH_DAYS = 366 * 9
"""29 February of a certain weekday may be that far away where a century has no leap year."""


@dataclass(frozen=True, slots=True)
class CronExpression:
    """When something happens, in some time zone."""

    text: str
    """As written."""
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    """Of the month; None: any."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """0 is Sunday; None: any."""

    def on(self, day: date) -> bool:
        """Tell whether it happens on a day at all."""
        if day.month not in self.months:
            return False
        weekday = day.isoweekday() % 7
        if self.days is None or self.weekdays is None:
            return (self.days is None or day.day in self.days) and (self.weekdays is None or weekday in self.weekdays)
        return day.day in self.days or weekday in self.weekdays


@dataclass(frozen=True, slots=True)
class Schedule:
    """One window that comes again and again, and how many replicas it asks for."""

    start: CronExpression
    end: CronExpression
    time_zone: str
    """IANA name, known to be one."""
    replicas: int
    """At least 1."""
    index: int = 0
    """Its place among the triggers."""

    def __str__(self) -> str:
        return f"the window {self.start.text} to {self.end.text} ({self.time_zone})"


@dataclass(frozen=True, slots=True)
class Window:
    """How a schedule stands at one moment."""

    is_open: bool
    changes_at: datetime
    """When it closes, or opens next; aware UTC, later than the moment asked about."""


def window_at(schedule: Schedule, now: datetime) -> Window:
    """Tell whether a window is open at a moment, and when that changes."""
    starts = next_after(schedule.start, schedule.time_zone, now)
    ends = next_after(schedule.end, schedule.time_zone, now)
    return Window(is_open=ends <= starts, changes_at=min(starts, ends))


def next_after(expression: CronExpression, time_zone: str, now: datetime) -> datetime:
    """Return the first moment later than `now` at which an expression happens, as aware UTC.

    Raises:
        ValueError: it never does (30 February).
    """
    zone = _zone(time_zone)
    # From the day before: an end inside a gap of midnight belongs to it, and happens today.
    first = now.astimezone(zone).date() - timedelta(days=1)
    for offset in range(LONGEST_SEARCH_DAYS):
        day = first + timedelta(days=offset)
        if expression.on(day):
            for moment in _moments(expression, day, zone):
                if moment > now:
                    return moment
    raise ValueError(f"{expression.text} never happens")


def _moments(expression: CronExpression, day: date, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when it happens on a day, in order."""
    found = (
        datetime.combine(day, time(hour, minute), zone).astimezone(UTC)
        for hour in expression.hours
        for minute in expression.minutes
    )
    yield from sorted(found)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
