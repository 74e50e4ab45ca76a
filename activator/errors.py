"""What can go wrong, in the house's own words: where it happened, what it was, and what happens next.

Foreign exceptions (aiokafka, kubernetes-asyncio, aiohttp, OSError) are translated into these once, at the edge
where they enter. Nothing inside the house catches anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


_LONGEST_SHOWN = 80
"""Characters of a wrong value that a message shows: a whole YAML document would hide the rest of the sentence."""


class WakegateError(Exception):
    """Base of every error that the house raises on purpose."""


class UnavailableError(WakegateError):
    """A dependency did not answer, or answered that it cannot just now; trying again later may work.

    Args:
        where: the dependency and the place, e.g. ``Kafka kafka:9092`` or ``API server, PATCH scale of shop/orders``.
        what: what it said or failed to say, in one clause.
        retry_after: how long the dependency itself asked us to wait, where it did (HTTP 429 and 503).
        maybe_done: what was asked may have been done all the same: only the answer to it is missing.
    """

    def __init__(
        self, where: str, what: str, *, retry_after: timedelta | None = None, maybe_done: bool = False
    ) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what
        self.retry_after = retry_after
        self.maybe_done = maybe_done


class ConflictError(WakegateError):
    """The object changed since it was read (HTTP 409): reread, decide again.

    Args:
        what: the object, and what was said of it.
        maybe_by_us: it was sent before without an answer, and may have been changed by that.
    """

    def __init__(self, what: str, *, maybe_by_us: bool = False) -> None:
        super().__init__(what)
        self.maybe_by_us = maybe_by_us


class NotFoundError(WakegateError):
    """The object does not exist (HTTP 404), or exists no more."""


class DeniedError(WakegateError):
    """We may not do this (HTTP 401 or 403): a permission is missing, trying again does not help."""


class InvalidError(WakegateError):
    """The dependency refused what we sent as wrong (HTTP 400 or 422): trying again does not help."""


class SettingsError(WakegateError):
    """A flag or environment variable has a value that cannot be used."""


@dataclass(unsafe_hash=True)  # not frozen: contextlib sets __traceback__ on exceptions that pass through it
class SpecError(WakegateError):
    """One mistake in what a user wrote, with the place, the value, what is allowed and the nearest right name.

    Raised while a single value is parsed, and collected as a value where a whole object is read, so that a user
    sees all mistakes of an object at once.
    """

    where: str
    """The key or path, e.g. ``wakegate.dev/lag-threshold`` or ``spec.triggers[0].metadata.topic``."""
    got: str | None
    """The value as written, never that of a secret; None: the place itself is missing or unknown."""
    allowed: str
    """What would be right, as the end of the sentence "allowed: ..."; without a value, what is wrong."""
    did_you_mean: str | None = None
    """The nearest right name, where there is one close enough to be meant."""

    def __str__(self) -> str:
        hint = f"; did you mean {self.did_you_mean}?" if self.did_you_mean else ""
        if self.got is None:
            return f"{self.where}: {self.allowed}{hint}"
        got = self.got if len(self.got) <= _LONGEST_SHOWN else f"{self.got[:_LONGEST_SHOWN]}..."
        return f"{self.where} is {got!r}; allowed: {self.allowed}{hint}"
