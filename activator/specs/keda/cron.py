"""Cron expressions of five fields, as robfig/cron's standard parser reads them (the one that KEDA uses)."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from activator.core.schedule import CronExpression, next_after
from activator.specs.values import EPOCH

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _WEEKDAYS),
)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART = re.compile(r"(?P<range>\*|\?|(?P<first>\w+)(-(?P<last>\w+))?)(/(?P<step>[0-9]{1,2}))?")


def expression(value: str) -> CronExpression:
    """Read a cron expression. Raises ValueError with what is allowed."""
    cleaned = value.strip()
    words = _DESCRIPTORS.get(cleaned.lower(), cleaned).split()
    if len(words) != len(_FIELDS):
        raise ValueError("a cron expression of five fields: minute, hour, day of month, month, day of week")
    sets = [
        _field(word, name, least, most, names) for word, (name, least, most, names) in zip(words, _FIELDS, strict=True)
    ]
    read = CronExpression(
        text=cleaned,
        minutes=sets[0],
        hours=sets[1],
        days=None if words[2][0] in "*?" else sets[2],
        months=sets[3],
        weekdays=None if words[4][0] in "*?" else sets[4],
    )
    if words[2][0] in "*?" and "/" in words[2]:
        read = CronExpression(read.text, read.minutes, read.hours, sets[2], read.months, read.weekdays)
    try:
        next_after(read, "UTC", EPOCH)
    except ValueError:
        raise ValueError("a cron expression that happens at some time: this one never does") from None
    return read


def time_zone(value: str) -> str:
    """Read the name of a time zone. Raises ValueError with what is allowed."""
    name = value.strip()
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("an IANA time zone such as Europe/Berlin or UTC") from None
    return name


def _field(word: str, name: str, least: int, most: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in word.lower().split(","):
        match = _PART.fullmatch(part)
        step = int(match["step"] or 1) if match else 0
        if match is None or step < 1:
            raise ValueError(f"a cron expression; its {name} {part!r} is none of *, 5, 1-5, */2, 1-9/2")
        if match["range"] in {"*", "?"}:
            first, last = least, most
        else:
            first = _number(match["first"], name, least, most, names)
            alone = most if match["step"] else first
            last = _number(match["last"], name, least, most, names) if match["last"] else alone
        if first > last:
            raise ValueError(f"a cron expression; its {name} {part!r} ends before it begins")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str, least: int, most: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + least
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        by_name = f" or {names[0]} to {names[-1]}" if names else ""
        raise ValueError(f"a cron expression; its {name} must be {least} to {most}{by_name}, not {text!r}")
    return int(text)
