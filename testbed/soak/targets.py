"""The workloads that are put to sleep and woken, the records that are sent to them, and what was read of those."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from testbed import ledger
from testbed.errors import ApiError
from testbed.soak.oracle import Place, Sent, unread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from confluent_kafka import KafkaError, Message

    from testbed.api import ApiClient

PARTITIONS = 3
LOOK_SECONDS = 0.3
FLOW_SECONDS = 1.0
FLUSH_SECONDS = 60.0


class Ledger:
    """What a target's consumers have written down so far; read on from where it was left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self.entries: list[ledger.Entry] = []
        self.read_at: dict[Place, float] = {}

    def read_on(self) -> None:
        """Take in the lines that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            lines.seek(self._position)
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                self._take(ledger.parse(line.decode()))

    def _take(self, entry: ledger.Entry) -> None:
        self.entries.append(entry)
        if entry.event == "record" and entry.partition is not None and entry.offset is not None:
            self.read_at.setdefault((entry.partition, entry.offset), entry.at.timestamp())


@dataclass
class Target:
    """One workload.

    Attributes:
        name: of its Deployment.
        topic: that it reads; also its group.
        partitions: of the topic.
        ledger: what was read; None for one whose consumers never read anything.
        deep: left asleep for longer than Kafka keeps the offsets of a group without members.
        secured: ours has to log in to Kafka for it.
        sent: records that Kafka has acknowledged.
        under_way: records that it has neither acknowledged nor refused yet.
        refused: records that it has refused, or not answered for in all the time that they had.
    """

    name: str
    topic: str
    partitions: int
    ledger: Ledger | None
    deep: bool = False
    secured: bool = False
    sent: list[Sent] = field(default_factory=list)
    under_way: int = 0
    refused: int = 0
    _next: int = 0

    def next_partition(self) -> int:
        """Where the next record goes."""
        self._next += 1
        return self._next % self.partitions

    def unread(self, at: float) -> list[Sent]:
        """Records that Kafka had by then and nobody had read."""
        read_at: dict[Place, float] = {}
        if self.ledger is not None:
            self.ledger.read_on()
            read_at = self.ledger.read_at
        return unread(list(self.sent), read_at, at)


class Sender:
    """Produces records past every proxy, and one a second to a target that always has work; a context manager."""

    def __init__(self, bootstrap_servers: str, busy: Target) -> None:
        # Idempotent: a record that the client sends again after a broken connection must not be there twice.
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": 300_000,
                "reconnect.backoff.max.ms": 500,
                "retry.backoff.max.ms": 500,
                "socket.timeout.ms": 10_000,
                "log_level": 0,
            }
        )
        self._busy = busy
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self.failures: list[str] = []

    def send(self, target: Target, count: int = 1) -> None:
        """Hand records over; `target.sent` grows as Kafka acknowledges them."""
        for _ in range(count):
            target.under_way += 1

            def delivered(error: KafkaError | None, message: Message, target: Target = target) -> None:
                partition, offset = message.partition(), message.offset()
                if error is not None or partition is None or offset is None:
                    self.failures.append(f"{target.name}: {error}")
                    target.refused += 1
                else:
                    target.sent.append(Sent(partition, offset, time.time()))
                target.under_way -= 1  # last: another thread looks for the record as soon as none is under way

            self._producer.produce(
                target.topic, value=b"soak", partition=target.next_partition(), on_delivery=delivered
            )

    def ends(self, target: Target) -> dict[int, int]:
        """End offsets as far as they are known to be: one beyond the last acknowledged record of each partition."""
        found: dict[int, int] = {}
        for record in target.sent:
            found[record.partition] = max(found.get(record.partition, 0), record.offset + 1)
        return found

    def end_flow(self) -> None:
        """Send nothing more, and wait for what is under way."""
        self._ending.set()
        self._thread.join(FLUSH_SECONDS)
        self._producer.flush(FLUSH_SECONDS)

    def _run(self) -> None:
        next_record = time.monotonic()
        while not self._ending.is_set():
            self._producer.poll(0.05)
            if time.monotonic() >= next_record:
                next_record = time.monotonic() + FLOW_SECONDS
                self.send(self._busy)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_flow()


class Observer:
    """Looks at the replicas of every Deployment, past every proxy, three times a second; a context manager."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self.seen_at = 0.0
        """When the last answer was asked for; it is older than that in no case."""
        self.replicas: dict[str, int] = {}
        self.since: dict[str, float] = {}
        """Since when each has been at zero, or at more than zero."""
        self.woke_at: dict[str, float] = {}
        """When each was last seen to have come from zero."""

    def asleep_seconds(self, name: str, now: float) -> float:
        """For how long a Deployment has been at zero; 0: it is not."""
        return now - self.since[name] if self.replicas.get(name) == 0 else 0.0

    def _run(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            asked_at = time.time()
            try:
                items = self._api.get(self._path)["items"]
            except (ApiError, OSError):
                continue  # unknown: what was seen last stands, with its age
            self._take({item["metadata"]["name"]: item["spec"].get("replicas", 0) for item in items})
            self.seen_at = asked_at

    def _take(self, replicas: dict[str, int]) -> None:
        now = time.time()
        for name, count in replicas.items():
            if name not in self.replicas or (self.replicas[name] > 0) != (count > 0):
                self.since[name] = now
                if count > 0:
                    self.woke_at[name] = now
        self.replicas = replicas

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(FLUSH_SECONDS)


def choose_sleeper(
    targets: Sequence[Target],
    observer: Observer,
    choice: float,
    now: float,
    *,
    settled_seconds: float,
    expired_seconds: float,
) -> Target | None:
    """A target that sleeps: first those that have for longer than Kafka keeps offsets, then any other; None: none does.

    Args:
        targets: those that may be woken.
        observer: who sleeps since when.
        choice: 0 <= choice < 1, which of several.
        now: seconds since the epoch.
        settled_seconds: for how long it must have been asleep.
        expired_seconds: after how long Kafka forgets the offsets; the deep sleepers are left alone until then.
    """
    asleep = {target.name: observer.asleep_seconds(target.name, now) for target in targets}
    asleep_for_long = [target for target in targets if target.deep and asleep[target.name] > expired_seconds]
    settled = [target for target in targets if not target.deep and asleep[target.name] > settled_seconds]
    candidates = asleep_for_long or settled
    return candidates[int(choice * len(candidates))] if candidates else None
