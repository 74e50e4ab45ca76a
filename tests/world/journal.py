"""Everything that happens in one run, in order: its digest, and what was not as it must be."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.world.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not have happened."""

    rule: str
    """Name of the rule, from the table in `rules.py`."""
    at: float
    """Seconds of virtual time."""
    text: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.at:.3f} s: {self.text}"


@dataclass
class Journal:
    """What happened. Two runs that did the same have the same digest."""

    time: Callable[[], float]
    keep: bool = False
    """Keep the lines, not only their digest."""
    lines: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    strikes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(fault, phase) pairs that were seen."""
    events: int = 0
    stops_at: frozenset[str] = frozenset()
    """Rules of which the first violation ends the run: nothing else is asked of it."""
    stop: Callable[[], None] | None = None
    """How to end it."""
    closed: bool = False
    """The run is over: what happens while it is taken down is not part of it."""

    def __post_init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    @property
    def digest(self) -> str:
        """Of everything that has happened."""
        return self._hash.hexdigest()

    def note(self, what: str, *details: object) -> None:
        """Take note of an event."""
        if self.closed:
            return
        line = f"{self.time():.6f} {what} {' '.join(map(str, details))}"
        self._hash.update(line.encode())
        self.events += 1
        if self.keep:
            self.lines.append(line)

    def violation(self, rule: str, text: str) -> None:
        """Take note of something that must not happen."""
        assert rule in RULES, rule
        if self.closed:
            return
        self.violations.append(Violation(rule, self.time(), text))
        self.note("VIOLATION", rule, text)
        if rule in self.stops_at and self.stop is not None:
            self.closed = True
            self.stop()
