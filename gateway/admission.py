"""How much may be under way at once: events and bytes, per route and in all. Pure bookkeeping, no waiting.

A request asks for its headers before its body is read, and grows as bytes come in; what is refused costs nothing. What
was granted is held until the last of its records has left the producer, even where its client was answered or has gone:
it is memory that is counted, not attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


HEAD_BYTES: Final = 64 * 1024
"""How much a request line and its headers may take together; the listener sees to it, because aiohttp would keep 128
lines of 8 KiB, a MiB in all, of each connection that never ends its headers."""


class Refusal(Enum):
    """Which limit has no room left."""

    ROUTE_EVENTS = "route-events"
    ROUTE_BYTES = "route-bytes"
    TOTAL_EVENTS = "total-events"
    TOTAL_BYTES = "total-bytes"


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of what is under way."""

    events: int
    """Events, of requests that are being read, checked or delivered."""
    size: int
    """Bytes of their headers and bodies."""


@dataclass(frozen=True, slots=True)
class Share:
    """Whose limits a request counts against: a route's, or on the open route those of one topic."""

    route: str
    topic: str


class Usage:
    """What is under way within one pair of limits."""

    __slots__ = ("events", "size")

    def __init__(self) -> None:
        self.events = 0
        self.size = 0


class Admission:
    """Grants tickets within the limits in all and those of each share."""

    def __init__(self, total: Limits) -> None:
        self._limits = total
        self.total = Usage()
        self._shares: dict[Share, Usage] = {}

    def shares(self) -> list[tuple[Share, Usage]]:
        """Return what is under way in each share that has anything."""
        return list(self._shares.items())

    def enter(self, share: Share, limits: Limits, size: int) -> Ticket | Refusal:
        """Ask for one event of so many bytes."""
        usage = self._shares.get(share)
        if usage is None:
            usage = self._shares[share] = Usage()
        ticket = Ticket(self, share, usage, limits)
        refusal = ticket.grow(events=1, size=size)
        if refusal is None:
            return ticket
        self._forget(share, usage)
        return refusal

    def _refusal(self, usage: Usage, limits: Limits, events: int, size: int) -> Refusal | None:
        if events and usage.events + events > limits.events:
            return Refusal.ROUTE_EVENTS
        if size and usage.size + size > limits.size:
            return Refusal.ROUTE_BYTES
        if events and self.total.events + events > self._limits.events:
            return Refusal.TOTAL_EVENTS
        if size and self.total.size + size > self._limits.size:
            return Refusal.TOTAL_BYTES
        return None

    def _forget(self, share: Share, usage: Usage) -> None:
        """Drop a share with nothing under way: topics come out of URLs, and any number of them may be asked for."""
        if not usage.events and not usage.size and self._shares.get(share) is usage:
            del self._shares[share]


class Ticket:
    """What one request holds until it is released; releasing twice is harmless.

    As a context it is released at its end, unless it was handed over to who holds the records from there on. An error
    ends it all the same: whoever it was handed over to is not sure to remember it, and room that is never given back
    is missing until the process ends. A client that leaves is no error: its records may still be on their way.
    """

    __slots__ = ("_admission", "_events", "_handed_over", "_limits", "_share", "_size", "_usage")

    def __init__(self, admission: Admission, share: Share, usage: Usage, limits: Limits) -> None:
        self._admission = admission
        self._share = share
        self._usage = usage
        self._limits = limits
        self._events = 0
        self._size = 0
        self._handed_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if not self._handed_over or (kind is not None and issubclass(kind, Exception)):
            self.release()

    def hand_over(self) -> Callable[[], None]:
        """Outlive the context; return what releases it."""
        self._handed_over = True
        return self.release

    def grow(self, *, events: int = 0, size: int = 0) -> Refusal | None:
        """Ask for more; all of it is granted, or nothing and the limit is returned that stands against it."""
        refusal = self._admission._refusal(self._usage, self._limits, events, size)  # noqa: SLF001 - one mechanism
        if refusal is None:
            for usage in (self._usage, self._admission.total):
                usage.events += events
                usage.size += size
            self._events += events
            self._size += size
        return refusal

    def release(self) -> None:
        """Give everything back."""
        for usage in (self._usage, self._admission.total):
            usage.events -= self._events
            usage.size -= self._size
        self._events = self._size = 0
        self._admission._forget(self._share, self._usage)  # noqa: SLF001 - one mechanism
