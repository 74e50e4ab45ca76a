"""Log lines: one for what happened, none for what did not."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.admin import SaslAuthenticateRequest

from activator.core.model import Applied, Departed, Notice, Outcome, Reason, Severity
from activator.telemetry.logs import JsonFormatter, LogRecorder, TextFormatter, configure_logging
from tests.fakes.facts import ORDERS, START, at, batch_read, hold, new_ids, stretch, wake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.core.model import Fact


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what is logged from debug level on."""
    caplog.set_level(logging.DEBUG)
    return caplog


def written(lines: pytest.LogCaptureFixture, *facts: Fact) -> list[str]:
    """Record facts; return the lines that they made."""
    recorder = LogRecorder()
    for fact in facts:
        recorder.record(fact)
    return [record.getMessage() for record in lines.records]


def test_an_applied_decision_is_one_line_with_its_reason(lines: pytest.LogCaptureFixture) -> None:
    """Who, what, from where to where, and why."""
    assert written(lines, wake(1)) == [
        "Deployment shop/orders: applied 0 -> 1 (record-arrived): a record has arrived on pizza"
    ]
    assert lines.records[0].levelno == logging.INFO


def test_a_failed_one_says_what_went_wrong(lines: pytest.LogCaptureFixture) -> None:
    """It is a warning, and names the API server's answer."""
    failed = wake(1, outcome=Outcome.FAILED, applied=Applied(at(1), at(6), "API server: no answer within 5 s"))
    [line] = written(lines, failed)
    assert line.endswith("a record has arrived on pizza; API server: no answer within 5 s")
    assert lines.records[0].levelno == logging.WARNING


def test_a_hold_is_told_once_for_each_reason(lines: pytest.LogCaptureFixture) -> None:
    """A thousand looks that find the same make one line; another reason makes another."""
    quiet, cooling = hold(0, 30, 60), hold(90, 120, reason=Reason.COOLING_DOWN, text="sleeps in 4 minutes")
    assert written(lines, *quiet, *cooling) == [
        "Deployment shop/orders: held 0 (quiet): no lag",
        "Deployment shop/orders: held 0 (cooling-down): sleeps in 4 minutes",
    ]


def test_a_target_that_was_made_anew_is_told_of_as_a_new_one(lines: pytest.LogCaptureFixture) -> None:
    """Its first hold is no repetition of that of the deleted one, whose name it has."""
    told = written(lines, *hold(0, 30), Departed(ORDERS, at(40)), *hold(60, 90))
    assert told == ["Deployment shop/orders: held 0 (quiet): no lag"] * 2


def test_a_refused_decision_is_a_warning_told_once(lines: pytest.LogCaptureFixture) -> None:
    """Somebody has to do something about it, but need not be told every thirty seconds."""
    written(lines, *hold(0, 30, outcome=Outcome.REFUSED, reason=Reason.RIVAL))
    assert [record.levelno for record in lines.records] == [logging.WARNING]


def test_a_cluster_s_outage_is_told_at_its_beginning_and_end(lines: pytest.LogCaptureFixture) -> None:
    """Not at each read in between."""
    problem = "kafka:9092: connection refused"
    broken = [batch_read(second, unreadable=12, problem=problem) for second in (30, 60, 90)]
    assert written(lines, batch_read(0), *broken, batch_read(120), batch_read(150)) == [
        f"Kafka kafka:9092: 12 of 12 triggers cannot be read: {problem}; what depends on them is held",
        "Kafka kafka:9092: everything can be read again",
    ]


def test_an_episode_is_told_as_a_whole(lines: pytest.LogCaptureFixture) -> None:
    """Its stretches are in metrics and spans; what never came is a warning."""
    whole = new_ids()
    assert written(lines, stretch("ready", 2, whole=whole), stretch("", 3.25, whole=whole)) == [
        "Deployment shop/orders: wake complete after 3.250 s"
    ]
    assert written(lines, stretch("", 600, whole=whole, missing=("ready", "first_commit")))[-1] == (
        "Deployment shop/orders: wake not complete after 600 s: no ready, first_commit"
    )


def test_a_notice_is_a_line(lines: pytest.LogCaptureFixture) -> None:
    """What a person is told by an Event stands in the log, too."""
    notice = Notice(ORDERS, "uid", Severity.WARNING, "InvalidConfiguration", "lag-treshold: did you mean ...", START)
    assert written(lines, notice) == ["Deployment shop/orders: InvalidConfiguration: lag-treshold: did you mean ..."]


def formatted(formatter: logging.Formatter, lines: pytest.LogCaptureFixture) -> str:
    """Return the last line as it would be written."""
    record = lines.records[-1]
    record.created = START.timestamp() + 0.25
    return formatter.format(record)


def test_text_carries_the_trace_id(lines: pytest.LogCaptureFixture) -> None:
    """From a line to its trace is one search."""
    decided = wake(1)
    written(lines, decided)
    line = formatted(TextFormatter(), lines)
    assert line.startswith("2026-01-05T12:00:00.250Z INFO wakegate: Deployment shop/orders: applied 0 -> 1")
    assert line.endswith(f" trace_id={decided.ids.trace_id} span_id={decided.ids.span_id}")


def test_json_carries_the_fields(lines: pytest.LogCaptureFixture) -> None:
    """A log store searches by field, not by sentence."""
    decided = wake(1)
    written(lines, decided)
    fields = json.loads(formatted(JsonFormatter(), lines))
    assert fields.pop("message").startswith("Deployment shop/orders: applied 0 -> 1")
    assert fields == {
        "time": "2026-01-05T12:00:00.250Z",
        "level": "info",
        "logger": "wakegate",
        "target": "Deployment shop/orders",
        "outcome": "applied",
        "reason": "record-arrived",
        "replicas_from": 0,
        "replicas_to": 1,
        "trace_id": decided.ids.trace_id,
        "span_id": decided.ids.span_id,
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_an_exception_is_written_with_its_line(lines: pytest.LogCaptureFixture, formatter: logging.Formatter) -> None:
    """Where it came from is what one needs at three in the morning; JSON keeps it on one line."""
    try:
        int("the reason")
    except ValueError:
        logging.getLogger("activator.test").exception("it broke")
    text = formatted(formatter, lines)
    assert "ValueError: invalid literal for int() with base 10: 'the reason'" in text
    assert ("\n" in text) is isinstance(formatter, TextFormatter)


CONFIGURED = ("wakegate", "activator", "aiokafka", "kafka", "aiohttp", "asyncio", "kubernetes_asyncio", "urllib3")


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """Return the root logger; it and its descendants are put back as they were afterwards."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in CONFIGURED}
    level = root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.mark.usefixtures("root_logger")
def test_the_level_and_the_form_are_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies below the level is not written; clients' chatter is not either."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("json", "info")
    logging.getLogger("wakegate").debug("not this")
    logging.getLogger("wakegate").info("but this")
    logging.getLogger("aiokafka.conn").info("nor this")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["but this"]


async def log_in(password: str) -> None:
    """Send a SASL login with aiokafka, which writes each request that it sends to its log."""
    ours, theirs = socket.socketpair()
    with theirs:
        connection: Any = AIOKafkaConnection("kafka", 9092)  # type: ignore[no-untyped-call]  # aiokafka's
        connection._reader, connection._writer = await asyncio.open_connection(sock=ours)
        connection._versions = {SaslAuthenticateRequest.API_KEY: (0, 1)}
        await connection.send(SaslAuthenticateRequest(f"\0alice\0{password}".encode()), expect_response=False)
        connection._writer.close()
        await connection._writer.wait_closed()
        connection._reader = connection._writer = None


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_level_shows_a_secret_that_a_client_has_in_its_hands(
    monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    """At debug aiokafka writes logins, kubernetes_asyncio writes Secrets, and others what nobody has looked at."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(log_format, "debug")
    await log_in("s3cret")
    logging.getLogger("kubernetes_asyncio.client.rest").debug("response body: %s", '{"data": {"token": "s3cret"}}')
    logging.getLogger("of.another.library").debug("Authorization: Bearer s3cret")
    logging.getLogger("activator.kafka.client").debug("ours")
    logging.getLogger("wakegate").debug("ours, too")
    assert "s3cret" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2
