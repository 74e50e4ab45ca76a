"""What may become of a record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from activator.errors import DeniedError, SettingsError, UnavailableError

FAILURES: Final = (UnavailableError, DeniedError, SettingsError)
"""What talking to a broker may fail with; the last where rotated credentials cannot be read. All are tried again."""


class Receipt(NamedTuple):
    """Kafka has it, on all in-sync replicas."""

    partition: int
    offset: int | None
    """None: Kafka says that it has it from an earlier attempt and no longer knows where."""


class Reason(StrEnum):
    """Why a record has no receipt."""

    TOPIC_MISSING = "topic-missing"
    DENIED = "denied"
    TOO_LARGE = "too-large"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"

    @property
    def permanent(self) -> bool:
        """Whether the same record would fail again."""
        return self is not Reason.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Failure:
    """Kafka has not confirmed it."""

    reason: Reason
    detail: str
    maybe_written: bool = False
    """Whether it may be in Kafka all the same, now or later. False: it is not, and never will be."""


Outcome: TypeAlias = Receipt | Failure
