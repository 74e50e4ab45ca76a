"""Messages that are nearly those of the conformance table: bytes of them flipped, cut, doubled, moved and mixed.

Some ten thousand a second, which generated examples cannot reach; what is found is in the seed and the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.cloudevents.http import ContentMode
from gateway.intake import Intake, open_envelope, take
from gateway.problems import ProblemError
from gateway.routes import Rules
from tests.gateway.cloudevents import reading
from tests.gateway.test_conformance import CASES

if TYPE_CHECKING:
    from random import Random

    from gateway.cloudevents.kafka import Record

_RULES: Final = Rules(max_batch_events=3)
_WORDS: Final = (
    *(
        b"1.0",
        b"%41",
        b"%C0%A0",
        b"%00",
        b'"',
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\xef\xbf\xbf",
        b"\xff",
        b"\x00",
        b"\x7f",
    ),
    *(b"null", b"true", b"-0", b"1e9", b"2147483648", b"NaN", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t"),
    *(b"data", b"data_base64", b"specversion", b"time", b"0000", b"+24:00", b"charset=", b"+json", b"-batch"),
)


class Message(NamedTuple):
    """One request's headers and body."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


CORPUS: Final = [
    Message([(_bytes(name), _bytes(value)) for name, value in case.headers], case.body)
    for case in CASES
    if len(case.body) < 2000  # where one byte of 100,000 brackets is another, nothing is learnt
]


def mutated(random: Random) -> Message:
    """Draw a message of the corpus and spoil it in one to four places."""
    headers, body = random.choice(CORPUS)
    headers = list(headers)
    for _ in range(random.randint(1, 4)):
        kind = random.random()
        if headers and kind < 0.4:
            at = random.randrange(len(headers))
            name, value = headers[at]
            headers[at] = (_spoilt(random, name), value) if kind < 0.1 else (name, _spoilt(random, value))
        elif kind < 0.5:
            headers.extend(random.sample(other, 1) if (other := random.choice(CORPUS).headers) else ())
        elif headers and kind < 0.55:
            del headers[random.randrange(len(headers))]
        else:
            body = _spoilt(random, body)
    return Message(headers, body)


def _spoilt(random: Random, text: bytes) -> bytes:
    start = random.randint(0, len(text))
    end = random.randint(start, min(len(text), start + 8))
    match random.randrange(6):
        case 0:
            return text[:start] + text[end:]
        case 1:
            return text[:end] + text[start:]
        case 2:
            return text[:start] + random.choice(_WORDS) + text[start:]
        case 3:
            return text[:start] + random.choice(_WORDS) + text[end:]
        case 4:
            return text[:start] + random.randbytes(1) + text[start + 1 :]
        case _:
            other = random.choice(CORPUS).body
            cut = random.randint(0, len(other))
            return text[:start] + other[cut : cut + random.randint(0, 40)] + text[end:]


def check(message: Message) -> bool:
    """Hold what becomes of a message to the rules; tell whether it was accepted."""
    taken = intake_of(message.headers, message.body, _RULES)
    if isinstance(taken, ProblemError):
        assert taken.status in {400, 413, 415}, taken
        return False
    mode, intake = taken
    assert len(intake.records) == len(intake.ids)
    for record in intake.records:
        _check_record(record)
    if mode is ContentMode.BINARY:
        assert [record.value or b"" for record in intake.records] == [message.body]
    return True


def intake_of(
    headers: list[tuple[bytes, bytes]], body: bytes, rules: Rules
) -> tuple[ContentMode, Intake] | ProblemError:
    """What becomes of a message on a route."""
    try:
        envelope = open_envelope(headers, rules)
        return envelope.mode, take(envelope, body, rules)
    except ProblemError as problem:
        return problem


def _check_record(record: Record) -> None:
    attributes, _ = reading.binary_record(record)
    assert reading.is_valid(attributes), attributes
