"""How long a sleeper takes to be woken: the producer's ack -> the API server's 200 to the PATCH.

The floors, on the same parts in the same run: how long a waiting fetch of one bare consumer takes to return a record
that was just acknowledged, and how long a bare PATCH of a scale subresource takes.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.crowd import crowd, start_watching
from benchmarks.figures import Figures
from testbed.stage import until

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.crowd import Crowd

FLOOR_SAMPLES = 100
PAUSE_SECONDS = (0.05, 0.45)
"""Between two records: at any moment of whatever has a period."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--targets", type=int, default=1000, help="sleeping targets (1000)")
    parser.add_argument("--wakes", type=int, default=300, help="of which so many are woken, one by one (300)")


def run(arguments: argparse.Namespace) -> None:
    """Wake random sleepers one by one."""
    figures, dice = Figures("wake"), random.Random(1)  # noqa: S311 - a repeatable order, nothing secret
    with crowd() as made:
        names = made.add(arguments.targets)
        bare = made.bystanders(FLOOR_SAMPLES)
        start_watching(made, len(names))
        time.sleep(10)  # the first looks at all of them are done
        fetches, patches = _bare_fetch(made), bare_patches(made, bare)
        drawn = dice.sample(names, min(arguments.wakes, len(names)))
        acknowledged = _produce(made, [made.topic(name) for name in drawn], dice)
        until("all are awake", lambda: all(made.answered(drawn).values()), 30)
        answered = made.answered(drawn)
    wakes = [(answered[name][0].completed_at - acknowledged[made.topic(name)]).total_seconds() for name in drawn]
    figures.add_latencies("wake: ack -> 200", wakes)
    served = [(answered[name][0].completed_at - answered[name][0].received_at).total_seconds() for name in drawn]
    figures.add_latencies("of which at the API server", served)
    figures.add_latencies("and before", [wake - at for wake, at in zip(wakes, served, strict=True)])
    figures.add_latencies("floor: ack -> a bare waiting fetch returns", fetches)
    figures.add_latencies("floor: a bare PATCH of /scale", patches)
    floor = statistics.median(fetches) + statistics.median(patches)
    figures.add("p50 / (bare fetch p50 + bare PATCH p50)", f"{statistics.median(wakes) / floor:.2f}")
    figures.add("woken by more than one PATCH", str(sum(len(patches) > 1 for patches in answered.values())))
    figures.tell()


def _produce(made: Crowd, topics: Sequence[str], dice: random.Random) -> dict[str, datetime]:
    """Produce one record after the other; return the moment at which the last one of each topic was acknowledged."""
    acknowledged: dict[str, datetime] = {}
    producer = Producer({"bootstrap.servers": made.stage.bed.kafka.bootstrap_servers, "linger.ms": 0})
    for topic in topics:
        producer.list_topics(topic, timeout=10)  # the connection and the metadata are not part of what is measured
    for topic in topics:
        time.sleep(dice.uniform(*PAUSE_SECONDS))
        producer.produce(
            topic, b"x", on_delivery=lambda *_, topic=topic: acknowledged.update({topic: datetime.now(UTC)})
        )
        producer.flush(10)
    return acknowledged


def _bare_fetch(made: Crowd) -> list[float]:
    """Let one consumer wait for records, and time each from its acknowledgement."""
    topic = f"{made.stage.namespace}-floor"
    made.stage.bed.kafka.create_topic(topic, partitions=1)
    servers = made.stage.bed.kafka.bootstrap_servers
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "floor", "fetch.wait.max.ms": 1000, "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    consumer.poll(1.0)
    seen: list[datetime] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if (message := consumer.poll(0.5)) is not None and message.error() is None:
                seen.append(datetime.now(UTC))

    reader = threading.Thread(target=read)
    reader.start()
    dice = random.Random(2)  # noqa: S311 - as above
    acknowledged = [_produce(made, [topic], dice)[topic] for _ in range(FLOOR_SAMPLES)]
    until("all are read", lambda: len(seen) == FLOOR_SAMPLES, 10)
    done.set()
    reader.join()
    consumer.close()
    return [max(0.0, (at - ack).total_seconds()) for at, ack in zip(seen, acknowledged, strict=True)]


def bare_patches(made: Crowd, names: Sequence[str]) -> list[float]:
    """PATCH the scale of Deployments that nobody manages, one by one over a warm connection, by the server's clock."""
    made.patch_scale(names, 1, at_once=1)
    events = [
        event
        for event in made.stage.bed.control_plane.audit_events()
        if event.is_scale_write and event.user_agent == "floor" and event.status == HTTPStatus.OK
    ]
    return [(event.completed_at - event.received_at).total_seconds() for event in events]
