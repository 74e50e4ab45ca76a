"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It works, but not as well as it could, or not for long."""
    FAIL = "fail"
    SKIPPED = "skipped"
    """It could not be looked at; the text says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a check ended, and where it is a problem, why and what to do."""

    level: Level
    text: str
    causes: tuple[str, ...] = ()
    """One line each."""
    fix: str = ""


def ok(text: str) -> Verdict:
    """All is well."""
    return Verdict(Level.OK, text)


def skipped(text: str) -> Verdict:
    """It could not be looked at."""
    return Verdict(Level.SKIPPED, text)


def warn(text: str, *causes: str, fix: str) -> Verdict:
    """Something should be better."""
    return Verdict(Level.WARN, text, causes, fix)


def fail(text: str, *causes: str, fix: str) -> Verdict:
    """Something does not work."""
    return Verdict(Level.FAIL, text, causes, fix)
