"""`docs/openapi/gateway.yaml` says what the app does: no answer that it does not name, none that it only claims."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import gateway
from gateway.admission import Limits, Refusal
from gateway.producer.outcome import Failure, Outcome, Reason, Receipt
from gateway.routes import OpenRoute, RouteTable, Rules
from tests.gateway.support import Answer, Door, FakeProducer, door, exchange, request_bytes

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi" / "gateway.yaml"
API: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
EVENT = (("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"))
BATCH = (("Content-Type", "application/cloudevents-batch+json"),)
ONE = b'{"specversion":"1.0","id":"1","source":"/s","type":"t"}'
UNKNOWN = Failure(Reason.UNAVAILABLE, "no answer", maybe_written=True)


@dataclass(frozen=True)
class Exchange:
    """A request and the status that it is answered with."""

    status: int
    headers: tuple[tuple[str, str], ...] = EVENT
    body: bytes = b""
    method: str = "post"
    path: str = "/topics/orders"
    outcomes: tuple[Outcome, ...] | None = None
    rules: Rules = field(default_factory=Rules)
    length: int | None = -1


SMALL = Rules(max_event_bytes=10, max_batch_events=1)
EXCHANGES = [
    Exchange(202),
    Exchange(202, outcomes=(Receipt(1, None),)),
    Exchange(202, BATCH, b"[" + ONE + b"]"),
    Exchange(202, BATCH, b"[]"),
    Exchange(207, BATCH, b"[" + ONE + b"," + ONE + b"]", outcomes=(Receipt(0, 1), UNKNOWN)),
    Exchange(400, ()),
    Exchange(400, BATCH, b"[{}]"),
    Exchange(400, outcomes=(Failure(Reason.REFUSED, "no key"),)),
    Exchange(401, rules=Rules(token_file=DOCUMENT)),
    Exchange(403, rules=Rules(token_file=Path("/nonexistent"))),
    Exchange(403, outcomes=(Failure(Reason.DENIED, "no right"),)),
    Exchange(404, path="/topics/a/b"),
    Exchange(404, outcomes=(Failure(Reason.TOPIC_MISSING, "no topic"),)),
    Exchange(408, body=b"", length=4),
    Exchange(413, body=b"x" * 11, rules=SMALL),
    Exchange(413, BATCH, b"[" + ONE + b"," + ONE + b"]", rules=SMALL),
    Exchange(415, (*EVENT, ("Content-Encoding", "gzip"))),
    Exchange(415, (("Content-Type", "application/cloudevents+xml"),)),
    Exchange(417, (*EVENT, ("Expect", "much")), length=4),
    Exchange(429, rules=Rules(limits=Limits(0, 0))),
    Exchange(431, (("x", "y" * 9000),)),
    Exchange(503, outcomes=(UNKNOWN,)),
    Exchange(503, BATCH, b"[" + ONE + b"," + ONE + b"]", outcomes=(UNKNOWN, UNKNOWN)),
    Exchange(200, method="options"),
    Exchange(200, (("WebHook-Request-Origin", "grid.test"),), method="options"),
    Exchange(404, method="options", path="/topics/a/b"),
    Exchange(431, (("x", "y" * 9000),), method="options"),
    Exchange(400, (("x" * 20 + "(", "y"),), method="options"),
]


def documented(method: str) -> dict[str, Any]:
    """The answers that a method's documentation names."""
    answers: dict[str, Any] = API["paths"]["/topics/{topic}"][method]["responses"]
    return {
        status: API["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]] if "$ref" in answer else answer
        for status, answer in answers.items()
    }


async def ask(at: Door, request: Exchange) -> Answer:
    """Send a request."""
    return await exchange(
        at.port, request_bytes(request.method.upper(), request.path, request.headers, request.body, request.length)
    )


@pytest.mark.parametrize("request_", EXCHANGES, ids=lambda r: f"{r.method} {r.status} {r.headers[-1:]}")
async def test_answer_is_as_documented(request_: Exchange) -> None:
    """Status, content type, required headers and body are those of the document."""
    given = request_.outcomes
    producer = FakeProducer(outcomes=None if given is None else lambda _: list(given))
    async with door(RouteTable(open_route=OpenRoute(rules=request_.rules)), producer=producer, body_seconds=0.05) as at:
        answer = await ask(at, request_)
    assert answer.status == request_.status
    described = documented(request_.method)[str(answer.status)]
    for name, header in described.get("headers", {}).items():
        value = answer.headers.get(name.lower())
        assert value is not None or not header.get("required")
        if value is not None and header["schema"].get("type") == "string":
            assert value == header["schema"].get("const", value)
    if "content" not in described:
        assert answer.body == b""
        return
    schema = described["content"][answer.headers["content-type"]]["schema"]
    Draft202012Validator({**schema, "components": API["components"]}).validate(answer.json())


@pytest.mark.parametrize("method", ["post", "options"])
def test_nothing_is_only_claimed(method: str) -> None:
    """Each documented answer is given to some request of the table."""
    assert set(documented(method)) == {str(request.status) for request in EXCHANGES if request.method == method}


def test_problem_codes() -> None:
    """The document names exactly the codes that the source can answer with."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in Path(gateway.__file__).parent.rglob("*.py"))
    raised = set(re.findall(r'ProblemError\(\s*(?:\w+|\d+),\s*"([a-z-]+)"', source))
    codes = raised | {reason.value for reason in Reason} | {refusal.value for refusal in Refusal}
    assert set(API["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == codes


async def test_wire_is_released_after_each() -> None:
    """No request of the table leaves anything under way behind."""
    async with door(body_seconds=0.05) as at:
        for request in EXCHANGES:
            if request.length == -1:
                await ask(at, request)
        await asyncio.sleep(0)
        assert at.admission.total.events == 0
