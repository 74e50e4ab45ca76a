"""The walk of one request, and each answer's status code.

route -> method -> token -> headers -> length -> room -> body -> events -> records -> Kafka -> answer, wake

Each step may end it with a `ProblemError`; what costs little is asked before what costs much, and nothing is read of a
body that will not be taken.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import hdrs, web

from gateway import answers, body
from gateway.cloudevents.http import ContentMode
from gateway.intake import open_envelope, take
from gateway.problems import ProblemError
from gateway.producer.outcome import Failure, Receipt
from gateway.tokens import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.admission import Admission, Ticket
    from gateway.cloudevents.kafka import Record
    from gateway.intake import Intake
    from gateway.metrics import Metrics
    from gateway.producer.outcome import Outcome
    from gateway.routes import Destination, RouteTable, Rules
    from gateway.tokens import Tokens
    from gateway.tracing import Hop, Tracing

_ALLOW: Final = "POST, OPTIONS"
_ALLOWED_PATHS: Final = (
    "allowed: /topics/{topic} unless the routes file closes it to the topic, and the routes file's own paths"
)
_ENCODINGS: Final = ((hdrs.CONTENT_ENCODING, "identity"), (hdrs.TRANSFER_ENCODING, "chunked"))
_NO_ROUTE: Final = "none"
_CLIENT_GONE: Final = 499
"""Status in metrics of a request whose client left before its answer, as nginx counts it."""


class Deliverer(Protocol):
    """Puts records into Kafka; see `producer.Producer.deliver`."""

    async def deliver(
        self, topic: str, records: Sequence[Record], *, seconds: float, released: Callable[[], None]
    ) -> list[Outcome]:
        """Return what became of each record, within so many seconds."""


class App:
    """Answers requests.

    Args:
        routes: where requests lead.
        admission: how much may be under way.
        producer: takes the records.
        tokens: reads token files.
        metrics: counts.
        tracing: begins each request's trace.
        wake: told of each topic that got a record, with the trace to carry.
        body_seconds: how long a body may take.
    """

    def __init__(
        self,
        *,
        routes: RouteTable,
        admission: Admission,
        producer: Deliverer,
        tokens: Tokens,
        metrics: Metrics,
        tracing: Tracing,
        wake: Callable[[str, str | None], None],
        body_seconds: float,
    ) -> None:
        self._routes = routes
        self._admission = admission
        self._producer = producer
        self._tokens = tokens
        self._metrics = metrics
        self._tracing = tracing
        self._wake = wake
        self._body_seconds = body_seconds
        self.draining = False
        """Whether clients are asked to take their next request elsewhere."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        destination = self._routes.find(request.headers.get(hdrs.HOST), request.rel_url.raw_path)
        route = _NO_ROUTE if destination is None else destination.share.route
        hop = self._tracing.begin(request.headers, request.method, route)
        status = 500
        try:
            response = await self._answer(request, destination, hop)
            status = response.status
        except ProblemError as problem:
            self._metrics.rejected(route, problem.code)
            response = problem.response()
            status = problem.status
        except asyncio.CancelledError:
            status = _CLIENT_GONE
            raise
        finally:
            self._metrics.answered(route, status)
            hop.end(status)
        if self.draining:
            response.force_close()
        return response

    def refused(self, problem: ProblemError) -> None:
        """Count what the listener has refused because it is no request."""
        self._metrics.rejected(_NO_ROUTE, problem.code)
        self._metrics.answered(_NO_ROUTE, problem.status)

    async def _answer(self, request: web.BaseRequest, destination: Destination | None, hop: Hop) -> web.Response:
        if destination is None:
            raise ProblemError(
                404, "no-route", f"nothing is taken at {request.rel_url.raw_path[:200]}; {_ALLOWED_PATHS}"
            )
        rules = destination.rules
        if request.method == hdrs.METH_OPTIONS:
            return _handshake(request, rules)
        if request.method != hdrs.METH_POST:
            raise ProblemError(
                405, "method-not-allowed", f"events are sent by POST; allowed: {_ALLOW}", headers={"Allow": _ALLOW}
            )
        if rules.token_file is not None:
            self._authorize(request, rules.token_file)
        _refuse_compressed(request)
        envelope = open_envelope(request.raw_headers, rules)
        with body.admit(self._admission, destination.share, rules, request, envelope.mode) as ticket:
            content = await body.read(request, ticket, body.largest(rules, envelope.mode), self._body_seconds)
            self._metrics.body_read(destination.share.route, len(content))
            intake = take(envelope, content, rules)
            body.admit_batch(ticket, len(intake.records))
            outcomes = await self._deliver(destination, intake, ticket, hop)
        if envelope.mode is ContentMode.BATCH:
            return answers.batch(destination.topic, intake.ids, outcomes)
        return answers.single(destination.topic, outcomes[0])

    def _authorize(self, request: web.BaseRequest, token_file: Path) -> None:
        match self._tokens.check(token_file, request.headers.get(hdrs.AUTHORIZATION)):
            case Verdict.CLOSED:
                raise ProblemError(
                    403, "no-token-configured", "the gateway has no token for this route: nobody may send"
                )
            case Verdict.WRONG:
                raise ProblemError(
                    401,
                    "unauthorized",
                    "the Authorization header must be 'Bearer' and a token of this route",
                    headers={"WWW-Authenticate": 'Bearer realm="wakegate"'},
                )
            case Verdict.ALLOWED:
                pass

    async def _deliver(self, destination: Destination, intake: Intake, ticket: Ticket, hop: Hop) -> list[Outcome]:
        """Hand the records to Kafka, and the ticket with them: it is given back when the last has left memory."""
        if not intake.records:
            return []
        carried = hop.sending(destination.topic, len(intake.records), intake.origin)
        for record in intake.records:
            record.headers.extend(carried)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            outcomes = await self._producer.deliver(
                destination.topic,
                intake.records,
                seconds=destination.rules.delivery_seconds,
                released=ticket.hand_over(),
            )
        except asyncio.CancelledError:  # the client has gone, and what was on its way may be in Kafka all the same
            self._metrics.delivered(destination.share.route, loop.time() - began, 0, 0, len(intake.records))
            self._wake(destination.topic, hop.traceparent())
            raise
        accepted, failed, unknown = answers.tally(outcomes)
        self._metrics.delivered(destination.share.route, loop.time() - began, accepted, failed, unknown)
        _end_sending(hop, outcomes)
        if accepted or unknown:
            self._wake(destination.topic, hop.traceparent())
        return outcomes


def _end_sending(hop: Hop, outcomes: list[Outcome]) -> None:
    failure = next((outcome for outcome in outcomes if isinstance(outcome, Failure)), None)
    only = outcomes[0] if len(outcomes) == 1 else None
    place = only if isinstance(only, Receipt) else None
    hop.sent(
        None if place is None else place.partition,
        None if place is None else place.offset,
        None if failure is None else failure.detail,
    )


def _refuse_compressed(request: web.BaseRequest) -> None:
    """Refuse a body that is not itself on the wire: what would be written is what it was packed into."""
    for header, allowed in _ENCODINGS:
        encoding = request.headers.get(header)
        if encoding is None:
            continue
        encoding = ", ".join(request.headers.getall(header))
        if encoding.strip().lower() != allowed:
            raise ProblemError(
                415,
                "compressed",
                f"{header} is {encoding[:80]!r}; allowed: {allowed}, as bodies are taken uncompressed",
                headers={"Accept-Encoding": "identity"},
            )


def _handshake(request: web.BaseRequest, rules: Rules) -> web.Response:
    """Answer the validation request of the webhook specification (`http-webhook.md`, section 4)."""
    headers = {"Allow": _ALLOW}
    origin = request.headers.get("WebHook-Request-Origin", "")
    welcome = "*" in rules.webhook_origins or origin.lower() in rules.webhook_origins
    if welcome and origin and origin.isascii() and origin.isprintable():
        headers["WebHook-Allowed-Origin"] = origin
        headers["WebHook-Allowed-Rate"] = "*"
    return web.Response(headers=headers)
