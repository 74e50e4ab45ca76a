"""The gateway under load against real Kafka while brokers stop, die and come back, and while it dies itself."""

from __future__ import annotations

import asyncio
import http.client
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.settings import Settings
from gateway.wiring import Gateway
from testbed.kafka import KafkaCluster
from testbed.kafka_config import Listener
from testbed.ports import ReservedPorts
from testbed.processes import ManagedProcess
from tests.gateway.load import FAIL, OK, UNKNOWN, Load, check, read_topic
from tests.gateway.support import eventually, exchange, request_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

PARTITIONS = 6
DELIVERY_SECONDS = 5.0
SLACK_SECONDS = 2.0
"""The test's own: client, gateway and three brokers share two cores."""


@contextmanager
def cluster(folder: Path, nodes: int) -> Iterator[KafkaCluster]:
    """A cluster with the topic `orders`; a dead broker is noticed after three seconds."""
    properties = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    if nodes > 1:
        properties["min.insync.replicas"] = "2"
    with KafkaCluster(folder / "kafka", nodes=nodes, properties=properties) as kafka:
        kafka.create_topic("orders", partitions=PARTITIONS)
        yield kafka


@contextmanager
def gateway(folder: Path, bootstrap_servers: str, *settings: str) -> Iterator[tuple[ManagedProcess, int]]:
    """A gateway process and the port it listens on."""
    with ReservedPorts(2) as ports:
        port, management = ports.ports
        command = [
            sys.executable, "-m", "gateway", "--bootstrap-servers", bootstrap_servers, "--shutdown-delay", "0",
            "--listen", f"127.0.0.1:{port}", "--management-listen", f"127.0.0.1:{management}", *settings,
        ]  # fmt: skip
        with ManagedProcess("gateway", command, log=folder / "gateway.log", grace_seconds=30) as process:
            process.wait_ready(lambda: is_ready(management), within_seconds=20)
            yield process, port


def is_ready(port: int) -> bool:
    """Ask /readyz."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def mount(folder: Path, **files: str) -> None:
    """Write files as a Secret is mounted."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


async def under_load(load: Load, *faults: tuple[float, Callable[[], object]], rest_seconds: float) -> list[float]:
    """Send while faults happen, each so long after the one before is over, and for a while after the last.

    How long a broker takes to start is the machine's business: a fault that comes by the clock would meet a cluster
    that is not whole yet. Returns when each began, by the loop's clock; recovery must show in the last answers.
    """
    loop, over, began = asyncio.get_running_loop(), asyncio.Event(), list[float]()
    running = asyncio.create_task(load.run_until(over))
    try:
        for pause, fault in faults:
            await asyncio.sleep(pause)
            began.append(loop.time())
            await asyncio.to_thread(fault)
        await asyncio.sleep(rest_seconds)
    finally:
        ended = loop.time()
        over.set()
        await running
    last = [sent for sent in load.sent if sent.began > ended - 3]
    assert last
    assert all(sent.fate == OK for sent in last), "it did not recover"
    return began


def report(load: Load) -> str:
    """A line for the log of the test run."""
    fates = {fate: len(load.of(fate)) for fate in (OK, FAIL, UNKNOWN)}
    return f"{fates} answers {dict(load.statuses)} slowest {max(sent.seconds for sent in load.sent):.2f} s"


async def test_one_broker_that_stops_dies_and_returns(tmp_path: Path) -> None:
    """A minute of load: the broker stops for 4 s, is killed and restarted, and the gateway is killed in the middle."""
    with cluster(tmp_path, nodes=1) as kafka, gateway(tmp_path, kafka.bootstrap_servers) as (process, port):
        load = Load(port, "orders")
        await under_load(
            load,
            (8, kafka.pause),
            (4, kafka.resume),
            (10, kafka.kill),
            (2, kafka.restart),
            (14, process.kill),
            (2, process.start),
            rest_seconds=16,
        )
        records = list(read_topic(kafka.bootstrap_servers, "orders", PARTITIONS))
        print(report(load), len(records), "records")  # noqa: T201 - the measurement itself
        check(load, records, DELIVERY_SECONDS + SLACK_SECONDS)
        assert len(load.of(OK)) > 1000
        assert load.of(UNKNOWN), "the faults did not reach the load"


async def test_three_brokers_that_die_in_turn(tmp_path: Path) -> None:
    """Load on three replicas: each broker in turn is killed or stopped while it leads some partitions."""
    with cluster(tmp_path, nodes=3) as kafka, gateway(tmp_path, kafka.bootstrap_servers) as (_, port):
        load = Load(port, "orders")
        *_, paused, resumed, _, _ = await under_load(
            load,
            (5, kafka.node(1).kill),
            (5, kafka.node(1).start_and_wait),
            (4, kafka.node(2).pause),
            (6, kafka.node(2).resume),
            (4, kafka.node(3).kill),
            (2, kafka.node(3).start_and_wait),
            rest_seconds=10,
        )
        records = list(read_topic(kafka.bootstrap_servers, "orders", PARTITIONS))
        print(report(load), len(records), "records")  # noqa: T201 - the measurement itself
        check(load, records, DELIVERY_SECONDS + SLACK_SECONDS)
        assert len(load.of(OK)) > 1000
        while_stopped = load.unkeyed_between(paused + 1, resumed)
        served = sum(sent.fate == OK for sent in while_stopped) / len(while_stopped)
        assert served > 0.9, f"events without a key went to a broker that had stopped: only {served:.0%} were taken"


async def test_credentials(tmp_path: Path) -> None:
    """Over SASL_SSL a wrong password is told by /readyz, and the corrected one is taken up without a restart."""
    folder = tmp_path / "secret"
    folder.mkdir()
    listener = Listener("SASL_SSL", users={"shop": "right"})
    with KafkaCluster(tmp_path / "kafka", nodes=1, listeners=[listener]) as kafka:
        kafka.create_topic("orders", partitions=1)
        files = {"sasl": "scram_sha512", "username": "shop", "password": "wrong", "tls": "enable"}
        mount(folder, **files, ca=kafka.authority.certificate.read_text(encoding="utf-8"))
        settings = Settings(
            kafka.bootstrap_servers_of("SASL_SSL"),
            kafka_credentials=str(folder),
            listen=("127.0.0.1", 0),
            management_listen=("127.0.0.1", 0),
        )
        made = Gateway(settings)
        task = asyncio.create_task(made.run())
        try:
            await eventually(lambda: "refused the credentials" in " ".join(made.problems()), seconds=20)
            assert "wrong" not in " ".join(made.problems())
            mount(folder, password="right")
            await eventually(lambda: made.problems() == [], seconds=20)
            event = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]
            answer = await exchange(made.door.port, request_bytes("POST", "/topics/orders", event, b"data"))
            assert answer.status == 202
        finally:
            made.stop(patient=False)
            await task


async def test_drain_under_load(tmp_path: Path) -> None:
    """SIGTERM under load loses nothing: each request is answered or its connection refused, and none is unknown."""
    with cluster(tmp_path, nodes=1) as kafka, gateway(tmp_path, kafka.bootstrap_servers) as (process, port):
        load = Load(port, "orders", senders=20, pause_seconds=0)
        running = asyncio.create_task(load.run(4))
        await asyncio.sleep(2)
        assert await asyncio.to_thread(process.stop) == 0
        await running
        records = list(read_topic(kafka.bootstrap_servers, "orders", PARTITIONS))
        check(load, records, DELIVERY_SECONDS + SLACK_SECONDS)
        print(report(load), len(records), "records")  # noqa: T201 - the measurement itself
        assert {value for _, value in records} == {sent.value for sent in load.of(OK)}
