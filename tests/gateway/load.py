"""A load of events with a ledger: what each was answered, and afterwards what of it Kafka has.

202 counts as ok, 4xx as fail, everything else (503, a broken connection, no answer) as unknown. No event is sent twice,
so that each record that is in Kafka twice was doubled by the gateway.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.gateway.support import Answer, read_answer, request_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

OK, FAIL, UNKNOWN = "ok", "fail", "unknown"
_BATCH = 20
_UNKEYED = "unkeyed"


@dataclass(frozen=True)
class Sent:
    """One event and what it was answered."""

    key: str
    number: int
    fate: str
    began: float
    seconds: float

    @property
    def value(self) -> str:
        """Its payload."""
        return f"{self.key}:{self.number}"


@dataclass
class Load:
    """Senders that each send one event after another: each with a key of its own, the last few with none."""

    port: int
    topic: str
    senders: int = 10
    unkeyed: int = 2
    pause_seconds: float = 0.01
    answer_seconds: float = 15.0
    sent: list[Sent] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    async def run(self, seconds: float) -> None:
        """Send for so many seconds."""
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, over.set)
        await self.run_until(over)

    async def run_until(self, over: asyncio.Event) -> None:
        """Send until it is over; the first sender sends batches."""
        async with asyncio.TaskGroup() as tasks:
            for at in range(self.senders):
                keyed = at < self.senders - self.unkeyed
                name = f"{'key' if keyed else _UNKEYED}-{at}"
                tasks.create_task(self._sender(name, over, batch=_BATCH if at == 0 else 1))

    def unkeyed_between(self, begin: float, end: float) -> list[Sent]:
        """The events without a key that were sent between two moments of the loop's clock."""
        return [sent for sent in self.sent if sent.key.startswith(_UNKEYED) and begin <= sent.began < end]

    def of(self, fate: str) -> list[Sent]:
        """The events with this fate."""
        return [sent for sent in self.sent if sent.fate == fate]

    async def _sender(self, key: str, over: asyncio.Event, batch: int) -> None:
        loop, number = asyncio.get_running_loop(), 0
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not over.is_set():
            began = loop.time()
            numbers = range(number, number + batch)
            number += batch
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", self.port)
                answer = await self._exchange(connection, key, numbers)
                self.statuses[str(answer.status)] += 1
                fates = _fates(answer, batch)
                if answer.headers.get("connection") == "close":
                    connection[1].close()
                    connection = None
            except (OSError, EOFError, TimeoutError) as error:
                self.statuses[type(error).__name__] += 1
                fates = [UNKNOWN] * batch
                _close(connection)
                connection = None
            took = loop.time() - began
            self.sent += [Sent(key, at, fate, began, took) for at, fate in zip(numbers, fates, strict=True)]
            await asyncio.sleep(self.pause_seconds)
        _close(connection)

    async def _exchange(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], key: str, numbers: range
    ) -> Answer:
        reader, writer = connection
        common = {"specversion": "1.0", "source": "/load", "type": "t", "datacontenttype": "text/plain"}
        if not key.startswith(_UNKEYED):
            common["partitionkey"] = key
        events = [{**common, "id": f"{key}:{at}", "data": f"{key}:{at}"} for at in numbers]
        single = len(events) == 1
        kind = "application/cloudevents+json" if single else "application/cloudevents-batch+json"
        body = json.dumps(events[0] if single else events).encode()
        writer.write(request_bytes("POST", f"/topics/{self.topic}", [("Content-Type", kind)], body))
        return await read_answer(reader, self.answer_seconds)


def _fates(answer: Answer, count: int) -> list[str]:
    body = json.loads(answer.body)
    statuses = [result["status"] for result in body["results"]] if "results" in body else [answer.status] * count
    return [OK if status == 202 else FAIL if 400 <= status < 500 else UNKNOWN for status in statuses]


def _close(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if connection is not None:
        connection[1].close()


def read_topic(bootstrap_servers: str, topic: str, partitions: int) -> Iterator[tuple[int, str]]:
    """Read a topic from its beginning to its end by an independent client: (partition, payload)."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "ledger",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    ended: set[int] = set()
    try:
        while len(ended) < partitions:
            message = consumer.poll(30)
            assert message is not None, "Kafka does not answer"
            error = message.error()
            if error is None:
                value, partition = message.value(), message.partition()
                assert value is not None
                assert partition is not None
                yield partition, value.decode()
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition() or 0)
            else:
                raise AssertionError(error)
    finally:
        consumer.close()


def check(load: Load, records: list[tuple[int, str]], deadline_seconds: float) -> None:
    """Hold what was answered against what Kafka has."""
    count = Counter(value for _, value in records)
    lost = [sent.value for sent in load.of(OK) if not count[sent.value]]
    assert not lost, f"answered 202 and not in Kafka: {lost[:5]}"
    doubled = [value for value, times in count.items() if times > 1]
    assert not doubled, f"in Kafka twice, sent once: {doubled[:5]}"
    present = [sent.value for sent in load.of(FAIL) if count[sent.value]]
    assert not present, f"answered 4xx and in Kafka: {present[:5]}"
    order: dict[str, list[int]] = defaultdict(list)
    homes: dict[str, set[int]] = defaultdict(set)
    for partition, value in records:
        key, _, number = value.partition(":")
        if key.startswith(_UNKEYED):
            continue
        order[key].append(int(number))
        homes[key].add(partition)
    assert all(len(partitions) == 1 for partitions in homes.values())
    for key, numbers in order.items():
        assert numbers == sorted(numbers), f"records of {key} overtook each other"
    late = [(sent.value, sent.seconds) for sent in load.sent if sent.seconds > deadline_seconds]
    assert not late, f"answered after the deadline: {late[:5]}"
