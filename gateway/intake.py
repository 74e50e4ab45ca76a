"""One message -> the records that it becomes, or the problem that it is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.cloudevents import http
from gateway.cloudevents.attributes import shown
from gateway.cloudevents.event import BatchError, BatchTooLongError, EventError, UnsupportedFormatError
from gateway.cloudevents.http import ContentMode
from gateway.cloudevents.kafka import write_plain, write_record
from gateway.problems import ProblemError

if TYPE_CHECKING:
    from gateway.cloudevents.event import Event
    from gateway.cloudevents.http import RawHeaders
    from gateway.cloudevents.kafka import Record
    from gateway.routes import Rules

_FORMATS: Final = "application/cloudevents+json, application/cloudevents-batch+json"
"""As they stand in an Accept header."""
_SHOWN_ERRORS: Final = 20
"""How many of a batch's errors are told: a sender that gets one thing wrong gets it wrong in every event."""


class Envelope(NamedTuple):
    """What is known of a message before its body is read."""

    headers: RawHeaders
    media_type: str | None
    mode: ContentMode
    plain: bool
    """Whether the body is no event and need not be one."""


class Intake(NamedTuple):
    """The records of a message, with the ids of their events (None: a plain body has none) in the same order."""

    records: list[Record]
    ids: list[str | None]
    origin: str | None = None
    """The `traceparent` extension of a single event."""


def open_envelope(headers: RawHeaders, rules: Rules) -> Envelope:
    """Read what the headers say. Raises ProblemError (400 or 415)."""
    try:
        media_type = http.content_type(headers)
        mode = http.content_mode(media_type)
    except EventError as error:
        raise _invalid(error) from None
    except UnsupportedFormatError as error:
        raise ProblemError(415, "unsupported-format", str(error), headers={"Accept": _FORMATS}) from None
    plain = mode is ContentMode.BINARY and not http.has_attributes(headers)
    if plain and not rules.plain:
        raise ProblemError(
            400,
            "invalid-event",
            "ce-specversion is missing, as is every ce- header; the route takes nothing but CloudEvents: attributes as "
            f"ce- headers, or the whole event as {_FORMATS} (Content-Type is {_given(media_type)})",
            attribute="ce-specversion",
        )
    return Envelope(headers, media_type, mode, plain)


def _given(media_type: str | None) -> str:
    return "missing" if media_type is None else shown(media_type)


def take(envelope: Envelope, body: bytes, rules: Rules) -> Intake:
    """Turn a body into records. Raises ProblemError (400 or 413)."""
    if envelope.plain:
        return Intake([write_plain(envelope.media_type, body)], [None])
    events = _events(envelope, body, rules)
    records = [write_record(event, rules.mode, rules.key) for event in events]
    origin = events[0].attributes.get("traceparent") if len(events) == 1 else None
    return Intake(records, [str(event.attributes["id"]) for event in events], str(origin) if origin else None)


def _events(envelope: Envelope, body: bytes, rules: Rules) -> list[Event]:
    try:
        match envelope.mode:
            case ContentMode.BINARY:
                return [http.read_binary(envelope.headers, envelope.media_type, body)]
            case ContentMode.STRUCTURED:
                return [http.read_structured(body)]
            case ContentMode.BATCH:
                return http.read_batch(body, max_events=rules.max_batch_events)
    except EventError as error:
        raise _invalid(error) from None
    except BatchTooLongError as error:
        raise ProblemError(413, "batch-too-long", str(error), maxBatchEvents=error.allowed) from None
    except BatchError as error:
        raise _invalid_batch(error) from None


def _invalid(error: EventError) -> ProblemError:
    return ProblemError(400, "invalid-event", str(error), attribute=error.attribute)


def _invalid_batch(error: BatchError) -> ProblemError:
    index, first = error.errors[0]
    count = len(error.errors)
    whose = "1 event of the batch is" if count == 1 else f"{count} events of the batch are"
    return ProblemError(
        400,
        "invalid-event",
        f"{whose} not valid, so none was taken; the first: [{index}] {first}",
        attribute=first.attribute,
        errors=[
            {"index": at, "attribute": wrong.attribute, "detail": wrong.detail}
            for at, wrong in error.errors[:_SHOWN_ERRORS]
        ],
    )
