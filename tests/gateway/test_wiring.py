"""The whole gateway against the embedded broker: from the request to the record, and its end on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activator.errors import SettingsError
from activator.local.broker.faults import Delay, Fault
from activator.local.broker.protocol import ApiKey
from activator.local.broker.server import EmbeddedBroker
from gateway import __main__ as command
from gateway import tracing
from gateway.settings import Settings
from gateway.wiring import Gateway
from tests.gateway.support import eventually, exchange, read_answer, request_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

EVENT = (("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"))
GET_READY = request_bytes("GET", "/readyz", [], b"")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
START_SECONDS = 60.0
"""Until a process answers that has only been started: a matter of what else the machine does."""


@asynccontextmanager
async def broker() -> AsyncIterator[EmbeddedBroker]:
    """A broker with the topic `orders`."""
    async with EmbeddedBroker(now=lambda: NOW, host="127.0.0.1", port=0) as running:
        running.create_topic("orders", partitions=1)
        yield running


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[tuple[Gateway, asyncio.Task[None]]]:
    """Run a gateway on free ports until it stops or the test ends."""
    made = Gateway(replace(settings, listen=("127.0.0.1", 0), management_listen=("127.0.0.1", 0)))
    task = asyncio.create_task(made.run())
    try:
        await eventually(lambda: bool(made.door.port))
        yield made, task
    finally:
        made.stop(patient=False)
        await task


async def test_from_request_to_record_to_readiness() -> None:
    """An event is in Kafka when its 202 comes; the gateway is ready while Kafka answers, and well without it."""
    async with broker() as kafka, gateway(Settings(kafka.bootstrap_servers)) as (made, _):
        await eventually(lambda: made.problems() == [])
        answer = await exchange(made.door.port, request_bytes("POST", "/topics/orders", EVENT, b"data"))
        assert (answer.status, answer.json()) == (202, {"topic": "orders", "partition": 0, "offset": 0})
        assert kafka.log("orders", 0).end_offset == 1
        assert (await exchange(made.management.port, GET_READY)).status == 200
        metrics = await exchange(made.management.port, request_bytes("GET", "/metrics", [], b""))
        assert b"wakegate_gateway_kafka_up 1.0" in metrics.body


async def test_no_kafka() -> None:
    """Without Kafka it starts, is not ready, and is healthy."""
    async with gateway(Settings("127.0.0.1:1")) as (made, _):
        assert (await exchange(made.management.port, GET_READY)).status == 503
        assert (await exchange(made.management.port, request_bytes("GET", "/healthz", [], b""))).status == 200


async def test_sigterm_lets_requests_end() -> None:
    """Stopping turns readiness off first, then lets what is under way end with its receipt."""
    async with broker() as kafka:
        settings = Settings(kafka.bootstrap_servers, shutdown_delay=1.5, shutdown_grace=5)
        async with gateway(settings) as (made, task):
            await eventually(lambda: made.problems() == [])
            kafka.faults.add(Fault(ApiKey.PRODUCE, Delay(2000), times=1))  # beyond the shutdown's delay
            sending = asyncio.create_task(exchange(made.door.port, request_bytes("POST", "/topics/orders", EVENT, b"")))
            await eventually(lambda: made.door.connections == 1)
            made.stop()
            await eventually(lambda: made.problems() == ["the gateway is shutting down"])
            assert (await exchange(made.management.port, GET_READY)).status == 503
            during = await exchange(made.door.port, request_bytes("OPTIONS", "/topics/orders", [], b""))
            assert (during.status, during.headers["connection"]) == (200, "close")
            assert (await sending).status == 202
            await task
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", made.door.port or 1)


async def test_a_second_signal_ends_the_delay() -> None:
    """Who asks politely and then at once does not wait for load balancers."""
    async with broker() as kafka, gateway(Settings(kafka.bootstrap_servers, shutdown_delay=600)) as (made, task):
        await eventually(lambda: made.problems() == [])
        made.stop()
        await eventually(lambda: made.problems() != [])
        made.stop(patient=False)
        async with asyncio.timeout(10):
            await task


async def test_a_client_that_leaves_first() -> None:
    """What was on its way is in Kafka: the activator is told of the topic, and the event is counted."""
    async with broker() as kafka, gateway(Settings(kafka.bootstrap_servers)) as (made, _):
        woken: list[str] = []
        made._app._wake = lambda topic, _: woken.append(topic)
        await eventually(lambda: made.problems() == [])
        kafka.faults.add(Fault(ApiKey.PRODUCE, Delay(300), times=1))
        _, writer = await asyncio.open_connection("127.0.0.1", made.door.port)
        writer.write(request_bytes("POST", "/topics/orders", EVENT, b""))
        await eventually(lambda: ("orders", 0) in made.producer._lanes and made.producer._lanes["orders", 0].busy)
        writer.close()
        await eventually(lambda: woken == ["orders"])
        await eventually(lambda: kafka.log("orders", 0).end_offset == 1)
        outcome = {"route": "topics", "outcome": "unknown"}
        assert made.metrics.registry.get_sample_value("wakegate_gateway_events_total", outcome) == 1


async def test_spans_that_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracing backend that hangs does not hold up the end."""
    monkeypatch.setattr(tracing, "_CLOSE_SECONDS", 0.1)

    connections: list[asyncio.StreamWriter] = []
    hanging = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    async with broker() as kafka, gateway(Settings(kafka.bootstrap_servers, shutdown_grace=0.1)) as (made, task):
        await eventually(lambda: made.problems() == [])
        answer = await exchange(made.door.port, request_bytes("POST", "/topics/orders", EVENT, b""))
        assert answer.status == 202
        made.stop(patient=False)
        async with asyncio.timeout(5):  # the exporter itself gives up after ten seconds
            await task
    hanging.close()
    for connection in connections:
        connection.close()
        await connection.wait_closed()


async def test_the_command() -> None:
    """The process serves, on a socket that it was handed over, and ends with 0 on SIGTERM."""
    async with broker() as kafka:
        with socket.create_server(("127.0.0.1", 0)) as handed_over:
            port = handed_over.getsockname()[1]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "--bootstrap-servers", kafka.bootstrap_servers,
                "--listen", f"fd://{handed_over.fileno()}", "--management-listen", "127.0.0.1:0",
                "--shutdown-delay", "0",
                pass_fds=[handed_over.fileno()], env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )  # fmt: skip
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes("POST", "/topics/orders", EVENT, b""))
        assert (await read_answer(reader, START_SECONDS)).status == 202
        writer.close()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 for a setting or a file that is wrong, 0 for a check that finds nothing; --help shows an example."""
    assert command.main([]) == 2
    assert "no Kafka to write to" in capsys.readouterr().err
    routes = tmp_path / "routes.yaml"
    routes.write_text("openRoute:\n  key: id\n")
    arguments = ["--bootstrap-servers", "kafka:9092", "--routes", str(routes), "--check"]
    assert command.main(arguments) == 2
    assert "routes.yaml:2: openRoute.key is 'id'" in capsys.readouterr().err
    routes.write_text("openRoute:\n  key: subject\n")
    assert command.main([*arguments, "--max-in-flight-bytes", "1000"]) == 2
    assert "--max-in-flight-bytes is 1000, but a route takes bodies of 4194304 bytes" in capsys.readouterr().err
    assert command.main(arguments) == 0
    told = "POST /topics/{topic} -> topics * (records binary; key partitionkey, else subject; CloudEvents only; "
    assert capsys.readouterr().out == f"{told}anyone may send)\n"
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    assert "curl -i localhost:8080/topics/orders" in capsys.readouterr().out


LIMITS = [
    (
        "--max-in-flight-bytes",
        4_259_840,
        "bodies of 4194304 bytes, with 65536 of headers",
        "maxEventBytes and maxBatchBytes",
    ),
    ("--max-in-flight-events", 1000, "batches of 1000 events", "maxBatchEvents"),
]


@pytest.mark.parametrize(("limit", "least", "taken", "keys"), LIMITS)
def test_limit_below_a_request(
    limit: str, least: int, taken: str, keys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit that the largest request cannot pass would be 429, "try again", for ever: it is refused at the start."""
    given = ["--check", "--bootstrap-servers", "kafka:9092"]
    assert command.main([*given, limit, str(least - 1)]) == 2
    assert capsys.readouterr().err == (
        f"wakegate-gateway: {limit} is {least - 1}, but a route takes {taken}; allowed: {least} and more, or lower "
        f"{keys} in the routes file\n"
    )
    assert command.main([*given, limit, str(least)]) == 0


def test_check_looks_at_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate or credentials that cannot be used end the check; a token file that is not there is told of."""
    given = ["--check", "--bootstrap-servers", "kafka:9092"]
    missing = str(tmp_path / "missing")
    assert command.main([*given, "--tls-cert", missing, "--tls-key", missing]) == 2
    assert missing in capsys.readouterr().err
    (tmp_path / "sasl").write_text("kerberos")
    assert command.main([*given, "--kafka-credentials", str(tmp_path)]) == 2
    assert "file sasl: it has another value than is allowed" in capsys.readouterr().err
    assert command.main([*given[1:], "--kafka-credentials", str(tmp_path)]) == 2, "it does not begin to serve, either"
    assert "file sasl: it has another value than is allowed" in capsys.readouterr().err
    assert command.main([*given, "--token-file", missing]) == 0
    assert f"token file {missing} cannot be read" in caplog.text
    assert f"tokens {missing})" in capsys.readouterr().out


def test_port_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """1 where an address cannot be had."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = command.main(
            ["--bootstrap-servers", "127.0.0.1:1", "--listen", address, "--management-listen", "127.0.0.1:0"]
        )
    assert code == 1
    assert f"listener {address}: cannot listen there" in capsys.readouterr().err


def test_a_descriptor_that_does_not_listen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 where what was handed over is a socket of another kind, a file, or nothing; it is left open."""
    with (tmp_path / "file").open("wb") as file, socket.socket() as idle:
        given = {"file": file.fileno(), "idle": idle.fileno(), "none": 987}
        said = {}
        for name, descriptor in given.items():
            listen = ["--listen", f"fd://{descriptor}"]
            assert command.main(["--bootstrap-servers", "kafka:9092", *listen]) == 2
            said[name] = capsys.readouterr().err.replace(f"fd://{descriptor}'", "fd://N'")
        assert idle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
    told = "wakegate-gateway: --listen is 'fd://N': {}; allowed: a listening socket that the process has inherited\n"
    assert said == {
        "file": told.format("Socket operation on non-socket"),
        "idle": told.format("it does not listen"),
        "none": told.format("Bad file descriptor"),
    }


def test_wrong_credentials_are_told_at_once(tmp_path: Path) -> None:
    """What is wrong with the credentials is no surprise at the first connect."""
    (tmp_path / "sasl").write_text("kerberos")

    async def make() -> None:
        Gateway(Settings("kafka:9092", kafka_credentials=str(tmp_path)))

    with pytest.raises(SettingsError, match="file sasl: it has another value than is allowed"):
        asyncio.run(make())


@contextmanager
def bare_root_logger() -> Iterator[None]:
    """A root logger as a process begins with; it and ours are put back as they were afterwards.

    No fixture: pytest gives the root logger handlers of its own once the test begins, and `basicConfig` does nothing
    where there are some.
    """
    loggers = [logging.getLogger(name) for name in ("", "gateway", "activator", "aiokafka")]
    levels, handlers = [logger.level for logger in loggers], loggers[0].handlers[:]
    loggers[0].handlers.clear()
    try:
        yield
    finally:
        loggers[0].handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def test_debug_is_for_its_own_lines() -> None:
    """Client libraries write whole requests at debug, with the secrets in them: they are held at info."""
    with bare_root_logger():
        assert command.main(["--check", "--bootstrap-servers", "kafka:9092", "--log-level", "debug"]) == 0
        assert logging.getLogger("of.another.library").getEffectiveLevel() == logging.INFO
        assert logging.getLogger("gateway.tokens").isEnabledFor(logging.DEBUG)
        assert logging.getLogger("activator.kafka.connection").isEnabledFor(logging.DEBUG)
        for client in ("aiokafka.conn", "aiohttp.client", "urllib3.connectionpool"):
            assert not logging.getLogger(client).isEnabledFor(logging.DEBUG), client
