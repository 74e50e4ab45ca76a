"""A CloudEvent and the three ways in which a message can fail to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from activator.errors import WakegateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value: TypeAlias = str | bool | int
"""An attribute's value: Binary, URI, URI-reference and Timestamp travel as their canonical strings."""


class Event(NamedTuple):
    """One valid CloudEvent: nothing can be one that breaks a rule of the specification."""

    attributes: Mapping[str, Value]
    """All context attributes that are set, `datacontenttype` and extensions among them, in the sender's order."""
    data: bytes | None
    """The payload as it came; None: the event has none."""

    @property
    def media_type(self) -> str | None:
        """The attribute `datacontenttype`, where it is set."""
        value = self.attributes.get("datacontenttype")
        return value if isinstance(value, str) else None


class EventError(WakegateError):
    """A message that is not a valid CloudEvent.

    Args:
        attribute: what is at fault, in the words of the message: ``ce-id``, ``time``, ``Content-Type``, ``data``.
        detail: what is wrong with it and what would be right.
    """

    def __init__(self, attribute: str, detail: str) -> None:
        super().__init__(f"{attribute}: {detail}")
        self.attribute = attribute
        self.detail = detail


class BatchError(WakegateError):
    """A batch in which some events are not valid; none of it may be accepted."""

    def __init__(self, errors: Sequence[tuple[int, EventError]]) -> None:
        super().__init__("; ".join(f"[{index}] {error}" for index, error in errors))
        self.errors = tuple(errors)


class BatchTooLongError(WakegateError):
    """A batch with more events than are accepted at once."""

    def __init__(self, allowed: int) -> None:
        super().__init__(f"the batch has more than {allowed} events; send it in parts")
        self.allowed = allowed


class UnsupportedFormatError(WakegateError):
    """A content type whose events cannot be read here."""
