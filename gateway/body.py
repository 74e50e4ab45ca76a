"""Reads a request's body within its limits: of size before and while it is read, of memory in all, and of time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, hdrs
from aiohttp.web import RequestPayloadError

from gateway.admission import Refusal
from gateway.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from gateway.admission import Admission, Share, Ticket
    from gateway.cloudevents.http import ContentMode
    from gateway.routes import Rules

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_WHAT: Final = {
    Refusal.ROUTE_EVENTS: "events under way on this route",
    Refusal.ROUTE_BYTES: "bytes under way on this route",
    Refusal.TOTAL_EVENTS: "events under way in this gateway",
    Refusal.TOTAL_BYTES: "bytes under way in this gateway",
}


def admit(admission: Admission, share: Share, rules: Rules, request: BaseRequest, mode: ContentMode) -> Ticket:
    """Ask for room for the headers, which may be all there is of an event, and the announced body, before it is read.

    Raises:
        ProblemError: 413, where the announced length is over the route's limit; 429, where there is no room.
    """
    announced = request.content_length or 0
    allowed = largest(rules, mode)
    if announced > allowed:
        raise too_large(allowed)
    head = sum(len(name) + len(value) for name, value in request.raw_headers)
    ticket = admission.enter(share, rules.limits, head + announced)
    if isinstance(ticket, Refusal):
        raise no_room(ticket)
    return ticket


def admit_batch(ticket: Ticket, events: int) -> None:
    """Ask for room for all events of a message, once they are counted. Raises ProblemError (429)."""
    refusal = ticket.grow(events=events - 1) if events > 1 else None
    if refusal is not None:
        raise no_room(refusal)


def largest(rules: Rules, mode: ContentMode) -> int:
    """Return the largest body of a message in this content mode."""
    return rules.max_batch_bytes if mode is mode.BATCH else rules.max_event_bytes


async def read(request: BaseRequest, ticket: Ticket, allowed: int, seconds: float) -> bytes:
    """Read a body.

    Raises:
        ProblemError: 400, where it breaks off; 408, where it takes too long; 413, 417 or 429.
    """
    content = request.content
    announced = request.content_length
    asks_first = _asks_first(request)
    try:
        if content.is_eof():  # it came together with its headers, as most do
            body = content.read_nowait()
            _grow(ticket, len(body) if announced is None else 0, len(body), allowed)
            return body
        if asks_first:
            await _invite(request)
        chunks: list[bytes] = []
        size = 0
        async with asyncio.timeout(seconds):
            while not content.at_eof():
                chunk = await content.readany()
                size += len(chunk)
                _grow(ticket, len(chunk) if announced is None else 0, size, allowed)
                chunks.append(chunk)
    except TimeoutError:
        raise ProblemError(408, "body-too-slow", f"the body was not complete within {seconds:g} s") from None
    except (RequestPayloadError, ClientError, ConnectionError) as error:
        raise ProblemError(400, "body-broken", f"the body broke off: {error}") from None
    return b"".join(chunks)


def too_large(allowed: int) -> ProblemError:
    """Return the problem of a body over its limit."""
    return ProblemError(413, "too-large", f"the body is larger than {allowed} bytes", maxBytes=allowed)


def no_room(refusal: Refusal) -> ProblemError:
    """Return the problem of a limit that is reached."""
    return ProblemError(429, refusal.value, f"there are too many {_WHAT[refusal]}; nothing was taken, try again")


def _grow(ticket: Ticket, unannounced: int, size: int, allowed: int) -> None:
    if size > allowed:
        raise too_large(allowed)
    refusal = ticket.grow(size=unannounced) if unannounced else None
    if refusal is not None:
        raise no_room(refusal)


def _asks_first(request: BaseRequest) -> bool:
    """Tell whether a client waits for our word with its body. Raises ProblemError (417): it expects another thing."""
    expected = request.headers.get(hdrs.EXPECT)
    if expected is not None and expected.lower() != "100-continue":
        raise ProblemError(417, "unknown-expectation", f"Expect is {expected[:80]!r}; allowed: 100-continue")
    return expected is not None


async def _invite(request: BaseRequest) -> None:
    """Tell such a client that its body is welcome: only now has everything else been looked at."""
    await request.writer.write(_CONTINUE)
    request.writer.output_size = 0  # the answer itself is still to come
