"""The walk of a request: what each step refuses, in which order, and what a client, Kafka and the activator get."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from gateway.admission import Limits
from gateway.producer.outcome import Failure, Outcome, Reason, Receipt
from gateway.routes import OpenRoute, Route, RouteTable, Rules
from tests.gateway.support import FakeProducer, door, eventually, exchange, read_answer, request_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.cloudevents.kafka import Record

EVENT = (("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"))
BATCH = (("Content-Type", "application/cloudevents-batch+json"),)


def batch_of(count: int) -> bytes:
    """A batch of so many events."""
    return json.dumps(
        [{"specversion": "1.0", "id": str(at), "source": "/s", "type": "t", "data": at} for at in range(count)]
    ).encode()


def outcomes(*given: Outcome) -> FakeProducer:
    """A producer with these outcomes."""
    return FakeProducer(outcomes=lambda _: list(given))


async def test_accepted() -> None:
    """202 says where the event is, and the activator is told of the topic."""
    async with door() as at:
        answer = await at.post("/topics/orders", EVENT)
        assert (answer.status, answer.json()) == (202, {"topic": "orders", "partition": 0, "offset": 0})
        assert at.wakes == [("orders", None)]
        assert at.counted("requests_total", route="topics", status="202") == 1
        assert at.counted("events_total", route="topics", outcome="accepted") == 1


async def test_duplicate_has_no_offset() -> None:
    """What Kafka has from an earlier attempt is accepted, at an offset that nobody knows any more."""
    async with door(producer=outcomes(Receipt(2, None))) as at:
        assert (await at.post("/topics/t", EVENT)).json() == {"topic": "t", "partition": 2, "offset": None}


@pytest.mark.parametrize(
    ("failure", "status", "outcome", "woken"),
    [
        (Failure(Reason.TOPIC_MISSING, "no topic"), 404, "not-written", False),
        (Failure(Reason.DENIED, "no right"), 403, "not-written", False),
        (Failure(Reason.TOO_LARGE, "too large"), 413, "not-written", False),
        (Failure(Reason.REFUSED, "no key"), 400, "not-written", False),
        (Failure(Reason.UNAVAILABLE, "no leader"), 503, "not-written", False),
        (Failure(Reason.UNAVAILABLE, "no answer", maybe_written=True), 503, "unknown", True),
    ],
)
async def test_kafka_says_no(failure: Failure, status: int, outcome: str, woken: bool) -> None:  # noqa: FBT001 - a column
    """Permanent failures are 4xx and transient ones 503 with Retry-After; what may be written wakes all the same."""
    async with door(producer=outcomes(failure)) as at:
        answer = await at.post("/topics/t", EVENT)
        assert (answer.status, answer.json()["code"], answer.json()["outcome"]) == (status, failure.reason, outcome)
        assert ("retry-after" in answer.headers) == (status == 503)
        assert bool(at.wakes) == woken


async def test_batch_accepted() -> None:
    """A batch that Kafka has whole is 202, with a result for each event."""
    async with door() as at:
        answer = await at.post("/topics/t", BATCH, batch_of(2))
        assert answer.status == 202
        assert answer.json() == {
            "topic": "t",
            "accepted": 2,
            "results": [
                {"id": "0", "status": 202, "partition": 0, "offset": 0},
                {"id": "1", "status": 202, "partition": 0, "offset": 1},
            ],
        }


async def test_batch_accepted_with_ids_of_any_kind() -> None:
    """Ids come back as they were sent, and an offset that Kafka no longer knows as null."""
    ids = ['"', "\\", "ä", "😀", "</script>"]
    events = [{"specversion": "1.0", "id": event_id, "source": "/s", "type": "t"} for event_id in ids]
    producer = outcomes(Receipt(0, None), *(Receipt(0, at) for at in range(4)))
    async with door(producer=producer) as at:
        results = (await at.post("/topics/t", BATCH, json.dumps(events).encode())).json()["results"]
    assert [result["id"] for result in results] == ids
    assert [result["offset"] for result in results] == [None, 0, 1, 2, 3]


async def test_batch_split() -> None:
    """A batch that Kafka has in part is 207: no 2xx hides a failure."""
    failure = Failure(Reason.UNAVAILABLE, "no answer", maybe_written=True)
    async with door(producer=outcomes(Receipt(0, 7), failure)) as at:
        answer = await at.post("/topics/t", BATCH, batch_of(2))
        assert (answer.status, answer.json()["accepted"]) == (207, 1)
        assert answer.json()["results"] == [
            {"id": "0", "status": 202, "partition": 0, "offset": 7},
            {"id": "1", "status": 503, "code": "unavailable", "detail": "no answer", "outcome": "unknown"},
        ]
        assert at.counted("events_total", route="topics", outcome="unknown") == 1


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ((Failure(Reason.TOPIC_MISSING, ""), Failure(Reason.TOPIC_MISSING, "")), 404),
        ((Failure(Reason.TOO_LARGE, ""), Failure(Reason.UNAVAILABLE, "")), 503),
    ],
)
async def test_batch_failed(failures: tuple[Failure, ...], status: int) -> None:
    """A batch of which Kafka has nothing is no 2xx; it is worth another try if one of its events is."""
    async with door(producer=outcomes(*failures)) as at:
        answer = await at.post("/topics/t", BATCH, batch_of(2))
        assert (answer.status, len(answer.json()["results"])) == (status, 2)


async def test_empty_batch() -> None:
    """A batch of none is accepted and touches nothing."""
    async with door() as at:
        answer = await at.post("/topics/t", BATCH, b"[]")
        assert (answer.status, answer.json()) == (202, {"topic": "t", "accepted": 0, "results": []})
        assert not at.producer.seconds
        assert not at.wakes
        assert at.admission.total.events == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_method(method: str) -> None:
    """Events come by POST alone."""
    async with door() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes(method, "/topics/t", EVENT, b""))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"Allow: POST, OPTIONS" in head


@pytest.mark.parametrize(
    "path", ["/", "/topics", "/topics/", "/topics/a/b", "/topics/a%20b", "/topics/__consumer_offsets", "/topics/a%2Fb"]
)
async def test_no_route(path: str) -> None:
    """What is no route is 404 before anything is looked at."""
    async with door() as at:
        answer = await at.post(path)
        assert (answer.status, answer.json()["code"]) == (404, "no-route")


async def test_handshake() -> None:
    """The webhook handshake names the origin back where it is welcome."""
    routes = RouteTable([Route("r", "/r", "t", rules=Rules(webhook_origins=("grid.test",)))], OpenRoute())
    async with door(routes) as at:
        for path, origin, allowed in (
            ("/topics/t", "any.test", "any.test"),
            ("/r", "GRID.test", "GRID.test"),
            ("/r", "other.test", None),
        ):
            answer = await at.post(path, [("WebHook-Request-Origin", origin)], method="OPTIONS")
            assert (answer.status, answer.headers["allow"]) == (200, "POST, OPTIONS")
            assert answer.headers.get("webhook-allowed-origin") == allowed
            assert answer.headers.get("webhook-allowed-rate") == (None if allowed is None else "*")
        for none in ([], [("WebHook-Request-Origin", "")], [("WebHook-Request-Origin", b"\xff.test")]):
            answer = await at.post("/topics/t", none, method="OPTIONS")
            assert answer.status == 200
            assert "webhook-allowed-origin" not in answer.headers


async def test_tokens(tmp_path: Path) -> None:
    """Any token of the route's file opens it; without one nothing of the request is looked at."""
    tokens = tmp_path / "tokens"
    tokens.write_text("# for shop\nfirst\n\nsecond\n")
    routes = RouteTable(open_route=OpenRoute(rules=Rules(token_file=tokens)))
    async with door(routes) as at:
        for given, status in (("first", 202), ("second", 202), ("third", 401), ("", 401), ("# for shop", 401)):
            answer = await at.post("/topics/t", [*EVENT, ("Authorization", f"Bearer {given}")])
            assert answer.status == status
        assert (await at.post("/topics/t")).headers["www-authenticate"] == 'Bearer realm="wakegate"'
        tokens.write_text("third\n")
        assert (await at.post("/topics/t", [*EVENT, ("Authorization", "bearer third")])).status == 202
        tokens.write_text("")
        assert (await at.post("/topics/t", [*EVENT, ("Authorization", "Bearer third")])).status == 403


async def test_announced_length_is_refused_unread() -> None:
    """A body that is announced too large is refused at once; not one byte of it need be sent."""
    async with door() as at:
        answer = await exchange(at.port, request_bytes("POST", "/topics/t", EVENT, b"", length=2_000_000))
        assert (answer.status, answer.json()["code"], answer.json()["maxBytes"]) == (413, "too-large", 1_048_576)


async def test_chunked_body_is_cut_off() -> None:
    """A body of unknown length is refused as soon as it is over the limit."""
    routes = RouteTable(open_route=OpenRoute(rules=Rules(max_event_bytes=10)))
    async with door(routes) as at:
        head = request_bytes("POST", "/topics/t", [*EVENT, ("Transfer-Encoding", "chunked")], b"", length=None)
        assert (await exchange(at.port, head + b"a\r\n0123456789\r\n0\r\n\r\n")).status == 202
        assert (await exchange(at.port, head + b"b\r\n0123456789x\r\n")).status == 413
        assert at.admission.total.size == 0


async def test_batches_have_a_limit_of_their_own() -> None:
    """A batch may be larger than an event."""
    routes = RouteTable(open_route=OpenRoute(rules=Rules(max_event_bytes=100, max_batch_bytes=10_000)))
    async with door(routes) as at:
        assert (await at.post("/topics/t", BATCH, batch_of(20))).status == 202
        assert (await at.post("/topics/t", EVENT, b"x" * 101)).status == 413


async def test_continue() -> None:
    """A client that asks first is told to go on only where its body is welcome."""
    async with door() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes("POST", "/topics/t", [*EVENT, ("Expect", "100-continue")], b"", length=4))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await read_answer(reader)).status == 202
        writer.close()
        too_large = request_bytes("POST", "/topics/t", [*EVENT, ("Expect", "100-continue")], b"", length=9_999_999)
        assert (await exchange(at.port, too_large)).status == 413
        other = request_bytes("POST", "/topics/t", [*EVENT, ("Expect", "200-maybe")], b"", length=4)
        assert (await exchange(at.port, other)).status == 417
        answer = await at.post("/topics/t", [*EVENT, ("Expect", "200-maybe")], b"sent all the same")
        assert (answer.status, answer.json()["code"]) == (417, "unknown-expectation")
        assert [record.value for _, record in at.producer.sent] == [b"body"]


@pytest.mark.parametrize(
    "headers",
    [
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "chunked"), ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")],
        [("Transfer-Encoding", "chunked"), ("Content-Encoding", "br")],
    ],
    ids=["on the way", "in the second of two headers", "once"],
)
async def test_compressed(headers: list[tuple[str, str]]) -> None:
    """A compressed body is refused wherever that is said: the record would hold the compressed bytes."""
    async with door() as at:
        head = request_bytes("POST", "/topics/t", [*EVENT, *headers], b"", length=None)
        answer = await exchange(at.port, head + b"1\r\na\r\n0\r\n\r\n")
        assert (answer.status, answer.json()["code"]) == (415, "compressed")
        assert at.producer.sent == []


async def test_slow_body() -> None:
    """A body that does not come in time is 408, and what it held is given back."""
    async with door(body_seconds=0.05) as at:
        answer = await exchange(at.port, request_bytes("POST", "/topics/t", EVENT, b"half", length=8))
        assert (answer.status, answer.json()["code"]) == (408, "body-too-slow")
        assert at.admission.total.size == 0


async def test_broken_body() -> None:
    """A chunked body that is not one is 400."""
    async with door() as at:
        head = request_bytes("POST", "/topics/t", [*EVENT, ("Transfer-Encoding", "chunked")], b"", length=None)
        assert (await exchange(at.port, head + b"zz\r\n")).status == 400
        assert at.admission.total.events == 0


@pytest.mark.parametrize(
    ("rules", "total", "code"),
    [
        (Rules(limits=Limits(1, 1000)), Limits(9, 9000), "route-events"),
        (Rules(limits=Limits(9, 100)), Limits(9, 9000), "route-bytes"),
        (Rules(limits=Limits(9, 9000)), Limits(1, 9000), "total-events"),
        (Rules(limits=Limits(9, 9000)), Limits(9, 100), "total-bytes"),
    ],
)
async def test_limits(rules: Rules, total: Limits, code: str) -> None:
    """At each limit a request is 429 with Retry-After, and room comes back with the answer to the one before."""
    producer = FakeProducer(gate=asyncio.Event())
    async with door(RouteTable(open_route=OpenRoute(rules=rules)), producer=producer, total=total) as at:
        first = asyncio.create_task(at.post("/topics/t", EVENT, b"123456"))
        await producer.entered.wait()
        refused = await at.post("/topics/t", EVENT, b"123456")
        assert (refused.status, refused.json()["code"], refused.headers["retry-after"]) == (429, code, "1")
        assert at.counted("rejections_total", route="topics", reason=code) == 1
        assert producer.gate is not None
        producer.gate.set()
        assert (await first).status == 202
        assert (await at.post("/topics/t", EVENT, b"123456")).status == 202


async def test_headers_under_way_count() -> None:
    """An event may be headers alone, and these take memory as a body does: both count, and come back."""
    producer = FakeProducer(gate=asyncio.Event())
    extensions = [(f"ce-x{at}", "v" * 8000) for at in range(7)]
    async with door(producer=producer) as at:
        sending = asyncio.create_task(at.post("/topics/t", (*EVENT, *extensions), b"data"))
        await producer.entered.wait()
        assert 56_000 < at.counted("in_flight_bytes", route="topics") < 57_000
        assert producer.gate is not None
        producer.gate.set()
        assert (await sending).status == 202
        assert at.admission.shares() == []


async def test_limits_of_a_batch() -> None:
    """A batch counts as its events; one that has no room is taken not at all."""
    routes = RouteTable(open_route=OpenRoute(rules=Rules(limits=Limits(5, 10_000))))
    async with door(routes) as at:
        assert (await at.post("/topics/t", BATCH, batch_of(5))).status == 202
        assert (await at.post("/topics/t", BATCH, batch_of(6))).status == 429
        assert len(at.producer.sent) == 5
        assert at.admission.total.events == 0


async def test_one_topic_does_not_starve_another() -> None:
    """On the open route each topic has limits of its own."""
    producer = FakeProducer(gate=asyncio.Event())
    rules = Rules(limits=Limits(1, 1000))
    async with door(RouteTable(open_route=OpenRoute(rules=rules)), producer=producer) as at:
        stuck = asyncio.create_task(at.post("/topics/dead", EVENT))
        await producer.entered.wait()
        producer.entered.clear()
        alive = asyncio.create_task(at.post("/topics/alive", EVENT))
        await producer.entered.wait()
        assert at.counted("in_flight_events", route="topics") == 2
        assert producer.gate is not None
        producer.gate.set()
        assert {(await stuck).status, (await alive).status} == {202}


async def test_client_that_leaves() -> None:
    """A client that goes away takes its request with it."""
    producer = FakeProducer(gate=asyncio.Event())
    async with door(producer=producer) as at:
        _, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes("POST", "/topics/t", EVENT, b""))
        await producer.entered.wait()
        writer.close()
        await eventually(lambda: producer.cancelled == 1 and not at.admission.total.events)
        assert at.counted("requests_total", route="topics", status="499") == 1


async def test_delivery_that_ends_in_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of ours is one answer of 500, not a room that is never given back."""

    def mistaken(_records: Sequence[Record]) -> list[Outcome]:
        raise RuntimeError

    async with door(producer=FakeProducer(outcomes=mistaken, releases=False)) as at:
        assert (await at.post("/topics/t", EVENT, b"data")).status == 500
        assert at.admission.shares() == []
    assert "RuntimeError" in caplog.text


async def test_keep_alive_after_a_refusal() -> None:
    """A refused body is thrown away, and the connection serves the next request."""
    async with door() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(
            request_bytes("POST", "/nowhere", EVENT, b"x" * 1000) + request_bytes("POST", "/topics/t", EVENT, b"")
        )
        assert [(await read_answer(reader)).status for _ in range(2)] == [404, 202]
        writer.close()


async def test_draining() -> None:
    """While it drains, a client is asked to take its next request elsewhere."""
    async with door() as at:
        at.app.draining = True
        answer = await at.post("/topics/t", EVENT)
        assert (answer.status, answer.headers["connection"]) == (202, "close")


async def test_delivery_time_is_the_routes() -> None:
    """Each route says how long its events may take."""
    routes = RouteTable([Route("slow", "/slow", "t", rules=Rules(delivery_seconds=30.0))], OpenRoute())
    async with door(routes) as at:
        await at.post("/slow", EVENT)
        await at.post("/topics/t", EVENT)
        assert at.producer.seconds == [30.0, 5.0]


async def test_huge_headers() -> None:
    """Headers over the limits are refused in problem details, and the connection is closed."""
    async with door() as at:
        huge = await at.post("/topics/t", [("x", "y" * 9000)])
        assert (huge.status, huge.json()["code"]) == (431, "headers-too-large")
        assert (await at.post("/topics/t", [(f"x{at}", "y") for at in range(200)])).status == 400
        assert (await exchange(at.port, b"\x16\x03\x01\x02\r\n\r\n")).status == 400
        assert at.counted("rejections_total", route="none", reason="headers-too-large") == 1
        assert at.counted("rejections_total", route="none", reason="not-http") == 2
        assert at.counted("requests_total", route="none", status="400") == 2


@pytest.mark.parametrize(
    "sent",
    [b"Bearer SECRET\x01", b"Bearer SECRET" + b"x" * 9000, b"Bearer SECRET\r\n SECRET", b"Bearer\r\nSECRET"],
    ids=["a control character", "too long", "over two lines", "no header"],
)
async def test_log_of_what_is_not_http(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """No log shows what was sent: it may be a token."""
    caplog.set_level(logging.DEBUG)
    async with door() as at:
        answer = await exchange(at.port, b"POST /topics/t HTTP/1.1\r\nHost: a\r\nAuthorization: " + sent + b"\r\n\r\n")
        assert answer.status in {400, 431}
    assert "refused what is not HTTP" in caplog.text
    assert "SECRET" not in caplog.text


LINES = [(f"x{at}", "y" * 8000) for at in range(20)]


async def test_headers_that_are_huge_together() -> None:
    """Lines that are each allowed are refused once they are too much in all, and nothing of the request is taken."""
    async with door() as at:
        answer = await at.post("/topics/t", (*EVENT, *LINES), b"data")
        assert (answer.status, answer.json()["code"]) == (431, "headers-too-large")
        assert at.producer.sent == []
        large = request_bytes("POST", "/topics/t", (*EVENT, *LINES[:7]), b"x" * 500_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        for start in range(0, len(large), 50_000):  # a body may be large, and come in parts
            writer.write(large[start : start + 50_000])
            await writer.drain()
            await asyncio.sleep(0.001)
        assert (await read_answer(reader)).status == 202
        writer.close()


@pytest.mark.parametrize(
    "first", [b"", request_bytes("POST", "/topics/t", EVENT, b"x" * 100_000)], ids=["first", "second"]
)
async def test_headers_that_never_end(first: bytes) -> None:
    """They are refused once they are too much, also behind a request on the same connection, which is answered."""
    async with door() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(first)
        if first:
            assert (await read_answer(reader)).status == 202
        unfinished = request_bytes("POST", "/topics/t", (*EVENT, *LINES), b"").removesuffix(b"\r\n\r\n")
        writer.write(unfinished[:65_536])
        await writer.drain()
        writer.write(unfinished[65_536:65_537])  # one byte too many, and none behind it that could go unread
        assert (await read_answer(reader)).status == 431
        assert await reader.read() == b""
        writer.close()


async def test_headers_behind_a_request_that_waits() -> None:
    """While a request is with Kafka, the headers behind it are not gathered without end either."""
    producer = FakeProducer(gate=asyncio.Event())
    async with door(producer=producer) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes("POST", "/topics/t", EVENT, b"data"))
        await producer.entered.wait()
        writer.write(request_bytes("POST", "/topics/t", (*EVENT, *LINES), b"").removesuffix(b"\r\n\r\n"))
        await writer.drain()
        assert producer.gate is not None
        producer.gate.set()
        assert [(await read_answer(reader)).status for _ in range(2)] == [202, 431]
        writer.close()


async def test_connections_over_the_limit() -> None:
    """A connection too many is closed at once, and the others are served."""
    async with door(max_connections=1) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes("POST", "/topics/t", EVENT, b""))
        assert (await read_answer(reader)).status == 202
        second, other = await asyncio.open_connection("127.0.0.1", at.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await second.readexactly(1)
        other.close()
        writer.write(request_bytes("POST", "/topics/t", EVENT, b""))
        assert (await read_answer(reader)).status == 202
        writer.close()


async def test_close_lets_requests_end() -> None:
    """Closing waits for what is under way: its body may still come, and it gets its answer."""
    producer = FakeProducer(gate=asyncio.Event())
    async with door(producer=producer) as at:
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", at.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes("POST", "/topics/t", EVENT, b"ha", length=4))
        await eventually(lambda: at.admission.total.events == 1)
        closing = asyncio.create_task(at.listener.close(drain_seconds=5))
        assert await idle_reader.read() == b""
        writer.write(b"lf")
        await producer.entered.wait()
        assert producer.gate is not None
        producer.gate.set()
        assert (await read_answer(reader)).status == 202
        assert at.producer.sent[0][1].value == b"half"
        for open_writer in (idle, writer):
            open_writer.close()
        await closing


async def test_close_does_not_wait_for_ever() -> None:
    """What does not end within the grace period is cut off."""
    producer = FakeProducer(gate=asyncio.Event())
    async with door(producer=producer) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(request_bytes("POST", "/topics/t", EVENT, b""))
        await producer.entered.wait()
        await at.listener.close(drain_seconds=0.05)
        assert await reader.read() == b""
        writer.close()
        assert producer.cancelled == 1
