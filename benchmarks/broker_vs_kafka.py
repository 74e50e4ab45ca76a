"""The embedded broker beside a real Kafka, measured by the same clients in the same run.

    python -m benchmarks broker_vs_kafka [--rounds 3] [--output json]

Brokers take turns within each round and begin alternately, so that a busy machine is busy for both. What the embedded
broker must keep is in `TARGETS`; the exit code is 1 where it does not. Kafka comes from the testbed (Java and Maven).
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.broker_process import serve

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

TOPICS = 1_000
RECORDS, RECORD_BYTES = 100_000, 1_000
WAKES = 200
GROUPS = 7
READS = 3
CONNECT_SECONDS = 0.2
DEADLINE_SECONDS = 120.0
IDLE_PERCENT = 10.0


@dataclass(frozen=True)
class Target:
    """How a figure of the embedded broker must compare with Kafka's."""

    text: str
    holds: Callable[[float, float], bool]


NOISE = 1.1
"""Two runs of the same broker differ by so much: most of the time a group takes is its clients' own."""

NONE_SLOWER = Target("none slower", lambda ours, theirs: ours <= theirs * NOISE)
HALF_THE_RATE = Target("at least half the rate", lambda ours, theirs: ours >= theirs / 2)

TARGETS = {
    "topics_created_seconds": NONE_SLOWER,
    "produce_to_waiting_fetch_p50_milliseconds": NONE_SLOWER,
    "group_of_two_balanced_seconds": NONE_SLOWER,
    "records_in_per_second": HALF_THE_RATE,
    "records_out_per_second": HALF_THE_RATE,
}


def unique(prefix: str) -> str:
    """A name nobody has used."""
    return f"{prefix}-{uuid4().hex[:10]}"


def client(bootstrap_servers: str, **settings: str | float | bool) -> dict[str, str | int | float | bool]:
    """Settings of a librdkafka client."""
    return {
        "bootstrap.servers": bootstrap_servers,
        "log_level": 0,
        **{key.replace("_", "."): value for key, value in settings.items()},
    }


def connected(bootstrap_servers: str) -> AdminClient:
    """An admin client whose connections are made.

    librdkafka makes one connection in 50 ms at most, and needs a second one to the broker whose name it has learnt.
    That is a tenth of a second which is no broker's.
    """
    admin = AdminClient(client(bootstrap_servers))
    admin.list_topics(timeout=60)
    time.sleep(CONNECT_SECONDS)
    return admin


def create(admin: AdminClient, *names: str, partitions: int = 1) -> None:
    """Make topics, and wait until metadata shows them all."""
    wanted = [NewTopic(name, partitions, 1) for name in names]
    for future in admin.create_topics(wanted, operation_timeout=60, request_timeout=60).values():
        future.result(DEADLINE_SECONDS)
    while not set(names) <= set(admin.list_topics(timeout=60).topics):
        time.sleep(0.005)


def delete(admin: AdminClient, *names: str) -> None:
    """Remove topics."""
    for future in admin.delete_topics(list(names), operation_timeout=60, request_timeout=60).values():
        future.result(DEADLINE_SECONDS)


def topics_created(bootstrap_servers: str) -> dict[str, float]:
    """A thousand topics in one request, until metadata shows them."""
    names = [unique("many") for _ in range(TOPICS)]
    admin = connected(bootstrap_servers)
    began = time.perf_counter()
    create(admin, *names)
    seconds = time.perf_counter() - began
    delete(admin, *names)
    return {"topics_created_seconds": seconds}


def wakes(bootstrap_servers: str) -> dict[str, float]:
    """From the call of produce to the record in the hands of a consumer that waits for it."""
    topic = unique("wake")
    create(connected(bootstrap_servers), topic)
    producer = Producer(client(bootstrap_servers, linger_ms=0, acks="all"))
    waiting = Consumer(client(bootstrap_servers, group_id=unique("wake"), fetch_wait_max_ms=10_000))
    waiting.assign([TopicPartition(topic, 0, OFFSET_END)])
    while waiting.poll(0.5) is not None or waiting.position([TopicPartition(topic, 0)])[0].offset == OFFSET_END:
        pass
    milliseconds = []
    for number in range(WAKES):
        began = time.perf_counter()
        producer.produce(topic, str(number).encode())
        producer.poll(0)
        message = waiting.poll(DEADLINE_SECONDS)
        if message is None or message.error():
            raise RuntimeError(f"record {number} did not come: {message and message.error()}")
        milliseconds.append((time.perf_counter() - began) * 1000)
        producer.flush(DEADLINE_SECONDS)
    waiting.close()
    return {
        "produce_to_waiting_fetch_p50_milliseconds": statistics.median(milliseconds),
        "produce_to_waiting_fetch_p95_milliseconds": statistics.quantiles(milliseconds, n=20)[-1],
    }


def groups_balanced(bootstrap_servers: str) -> dict[str, float]:
    """The median of several groups: whether two members meet in one rebalance or in two is chance."""
    seconds = [group_balanced(bootstrap_servers) for _ in range(GROUPS)]
    return {"group_of_two_balanced_seconds": statistics.median(seconds)}


def group_balanced(bootstrap_servers: str) -> float:
    """From two subscriptions at once to two members with two of four partitions each.

    Both are connected before, as in `connected`.
    """
    topic, group = unique("group"), unique("group")
    create(connected(bootstrap_servers), topic, partitions=4)
    settings = client(bootstrap_servers, group_id=group, heartbeat_interval_ms=200, session_timeout_ms=6000)
    members = [Consumer(settings) for _ in range(2)]
    for member in members:
        member.list_topics(topic, timeout=DEADLINE_SECONDS)
    time.sleep(CONNECT_SECONDS)
    began = time.perf_counter()
    for member in members:
        member.subscribe([topic])
    while [len(member.assignment()) for member in members] != [2, 2]:
        for member in members:
            member.poll(0.005)
        if time.perf_counter() - began > DEADLINE_SECONDS:
            raise RuntimeError("the group does not come to rest")
    seconds = time.perf_counter() - began
    for member in members:
        member.close()
    return seconds


def throughput(bootstrap_servers: str) -> dict[str, float]:
    """Records in by an idempotent producer, and out by a consumer that starts at the beginning."""
    topic = unique("bulk")
    create(connected(bootstrap_servers), topic)
    value = bytes(RECORD_BYTES)
    producer = Producer(
        client(bootstrap_servers, enable_idempotence=True, linger_ms=5, **{"queue.buffering.max.messages": RECORDS})
    )
    began = time.perf_counter()
    for _ in range(RECORDS):
        producer.produce(topic, value, partition=0)
    if producer.flush(DEADLINE_SECONDS):
        raise RuntimeError("not all records were acknowledged")
    records_in = RECORDS / (time.perf_counter() - began)
    records_out = statistics.median(read_all(bootstrap_servers, topic) for _ in range(READS))
    delete(connected(bootstrap_servers), topic)
    return {"records_in_per_second": records_in, "records_out_per_second": records_out}


def read_all(bootstrap_servers: str, topic: str) -> float:
    """Records a second, by a consumer that is connected before."""
    consumer = Consumer(client(bootstrap_servers, group_id=unique("bulk")))
    consumer.list_topics(topic, timeout=DEADLINE_SECONDS)
    time.sleep(CONNECT_SECONDS)
    began = time.perf_counter()
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = 0
    while found < RECORDS:
        messages = consumer.consume(10_000, 0.2)
        found += sum(1 for message in messages if message.error() is None)
        if time.perf_counter() - began > DEADLINE_SECONDS:
            raise RuntimeError(f"{found} of {RECORDS} records came out")
    seconds = time.perf_counter() - began
    consumer.close()
    return RECORDS / seconds


MEASURES = (topics_created, wakes, groups_balanced, throughput)


@dataclass
class Broker:
    """A broker under measurement and its process."""

    name: str
    bootstrap_servers: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """CPU it has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def settle(self) -> None:
        """Wait until it is idle: Kafka is busy for a while after it has answered that topics are deleted."""
        while self.process.cpu_percent(interval=0.5) > IDLE_PERCENT:
            pass


@contextmanager
def embedded() -> Iterator[Broker]:
    """The embedded broker in a process of its own, as Kafka is."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Broker("embedded", ours.recv(), psutil.Process(process.pid))
    finally:
        ours.send(None)
        process.join(10)


@contextmanager
def kafka() -> Iterator[Broker]:
    """A real Kafka of one node."""
    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is not part of the product

    with tempfile.TemporaryDirectory() as folder, KafkaCluster(Path(folder)) as cluster:
        (process,) = [one for one in psutil.process_iter() if folder in " ".join(_command(one))]
        yield Broker("kafka", cluster.bootstrap_servers, process)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Figures by name and broker, one a round; a round to warm up is not counted."""
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with embedded() as ours, kafka() as theirs:
        for number in range(rounds + 1):
            for measured in MEASURES:
                for broker in (ours, theirs) if number % 2 else (theirs, ours):
                    _progress(f"round {number} of {rounds}: {measured.__name__} of {broker.name}")
                    broker.settle()
                    used = broker.cpu_seconds()
                    found = measured(broker.bootstrap_servers)
                    found[f"{measured.__name__}_broker_cpu_seconds"] = broker.cpu_seconds() - used
                    for name, value in found.items():
                        if number:
                            figures[name][broker.name].append(value)
    return figures


def _progress(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}" if sys.stderr.isatty() else f"{text}\n")
    sys.stderr.flush()


def verdicts(figures: dict[str, dict[str, list[float]]]) -> dict[str, bool]:
    """Whether each target holds, by the medians."""
    medians = {
        name: {broker: statistics.median(values) for broker, values in by_broker.items()}
        for name, by_broker in figures.items()
    }
    return {name: target.holds(medians[name]["embedded"], medians[name]["kafka"]) for name, target in TARGETS.items()}


def report(figures: dict[str, dict[str, list[float]]]) -> str:
    """A table of medians with the range of the rounds."""
    kept = verdicts(figures)
    lines = [f"{'':44} {'embedded':>28} {'kafka':>28}  target"]
    for name, by_broker in figures.items():
        cells = [
            f"{statistics.median(values):>12,.3f} ({min(values):,.3f}..{max(values):,.3f})"
            for values in (by_broker["embedded"], by_broker["kafka"])
        ]
        verdict = f"{TARGETS[name].text}: {'kept' if kept[name] else 'MISSED'}" if name in TARGETS else ""
        lines.append(f"{name:44} {cells[0]:>28} {cells[1]:>28}  {verdict}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default 3), after one to warm up")
    parser.add_argument("--output", choices=["text", "json"], default="text")


def run(arguments: argparse.Namespace) -> int:
    """Measure, report, and say by the exit code whether every target is kept."""
    figures = measure(arguments.rounds)
    if arguments.output == "json":
        sys.stdout.write(json.dumps({"figures": figures, "kept": verdicts(figures)}, indent=2) + "\n")
    else:
        sys.stdout.write(report(figures) + "\n")
    return 0 if all(verdicts(figures).values()) else 1
