"""What became of the records -> the answer's status and body. Pure, but for aiohttp's response object.

No 2xx hides a failure: 202 says that Kafka has every event, 207 that it has some and which.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from gateway.problems import ProblemError
from gateway.producer.outcome import Failure, Outcome, Reason, Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUS: Final = {
    Reason.TOPIC_MISSING: 404,
    Reason.DENIED: 403,
    Reason.TOO_LARGE: 413,
    Reason.REFUSED: 400,
    Reason.UNAVAILABLE: 503,
}
_ACCEPTED: Final = 202
_MULTI_STATUS: Final = 207
_JSON: Final = {"Content-Type": "application/json"}
_NOT_WRITTEN: Final = "not-written"
_UNKNOWN: Final = "unknown"


def single(topic: str, outcome: Outcome) -> web.Response:
    """Answer for one event. Raises ProblemError where Kafka has not confirmed it."""
    if isinstance(outcome, Failure):
        raise ProblemError(STATUS[outcome.reason], outcome.reason, outcome.detail, outcome=_fate(outcome))
    # Written by hand, because it is written ten thousand times a second; a topic's name needs no escapes.
    offset = "null" if outcome.offset is None else outcome.offset
    body = f'{{"topic": "{topic}", "partition": {outcome.partition}, "offset": {offset}}}'
    return web.Response(status=_ACCEPTED, body=body.encode("ascii"), headers=_JSON)


def batch(topic: str, ids: Sequence[str | None], outcomes: Sequence[Outcome]) -> web.Response:
    """Answer for a batch, event by event. Raises ProblemError where Kafka has confirmed none."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if not failures:
        return _all_accepted(topic, ids, outcomes)
    results = [_result(event_id, outcome) for event_id, outcome in zip(ids, outcomes, strict=True)]
    if len(failures) == len(outcomes):
        # One that is worth another try makes the batch worth it; the results say which.
        worst = next((failure for failure in failures if not failure.reason.permanent), failures[0])
        detail = f"none of {len(outcomes)} events was confirmed; the first: {failures[0].detail}"
        raise ProblemError(STATUS[worst.reason], worst.reason, detail, topic=topic, accepted=0, results=results)
    answer = {"topic": topic, "accepted": len(outcomes) - len(failures), "results": results}
    return web.Response(status=_MULTI_STATUS, body=json.dumps(answer).encode(), headers=_JSON)


def _all_accepted(topic: str, ids: Sequence[str | None], outcomes: Sequence[Outcome]) -> web.Response:
    """Write what `single` writes, for each event: by hand as well, because a batch is long."""
    results = ", ".join(
        f'{{"id": {_quoted(event_id)}, {_place(outcome)}}}'
        for event_id, outcome in zip(ids, outcomes, strict=True)
        if isinstance(outcome, Receipt)
    )
    body = f'{{"topic": "{topic}", "accepted": {len(outcomes)}, "results": [{results}]}}'
    return web.Response(status=_ACCEPTED, body=body.encode("ascii"), headers=_JSON)


def _quoted(event_id: str | None) -> str:
    return "null" if event_id is None else encode_basestring_ascii(event_id)


def _place(receipt: Receipt) -> str:
    offset = "null" if receipt.offset is None else receipt.offset
    return f'"status": {_ACCEPTED}, "partition": {receipt.partition}, "offset": {offset}'


def tally(outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    """Count the outcomes: accepted, failed (not in Kafka, and never will be) and unknown."""
    accepted = sum(isinstance(outcome, Receipt) for outcome in outcomes)
    unknown = sum(isinstance(outcome, Failure) and outcome.maybe_written for outcome in outcomes)
    return accepted, len(outcomes) - accepted - unknown, unknown


def _result(event_id: str | None, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Receipt):
        return {"id": event_id, "status": _ACCEPTED, "partition": outcome.partition, "offset": outcome.offset}
    return {
        "id": event_id,
        "status": STATUS[outcome.reason],
        "code": outcome.reason,
        "detail": outcome.detail,
        "outcome": _fate(outcome),
    }


def _fate(failure: Failure) -> str:
    return _UNKNOWN if failure.maybe_written else _NOT_WRITTEN
