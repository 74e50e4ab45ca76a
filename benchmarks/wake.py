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
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.figures import Figures
from benchmarks.sleepers import sleeping
from testbed.stage import until

if TYPE_CHECKING:
    import argparse

    from testbed.stage import Stage

_FLOOR_SAMPLES = 100


def run(arguments: argparse.Namespace) -> None:
    """Wake random sleepers one by one."""
    figures = Figures("wake")
    with sleeping(arguments.targets) as (stage, _):
        fetches, patches = _bare_fetch(stage), _bare_patch(stage)
        wakes = [_one_wake(stage, number) for number in _drawn(arguments.targets, arguments.wakes)]
    figures.add_latencies("wake: ack -> 200", wakes)
    figures.add_latencies("floor: ack -> a bare waiting fetch returns", fetches)
    figures.add_latencies("floor: a bare PATCH of /scale", patches)
    floor = statistics.median(fetches) + statistics.median(patches)
    figures.add("p50 / (bare fetch p50 + bare PATCH p50)", f"{statistics.median(wakes) / floor:.2f}")
    figures.tell()


def _drawn(targets: int, wakes: int) -> list[int]:
    """Draw targets at random; a target that was woken sleeps again before its next turn."""
    order = random.Random(1)  # noqa: S311 - a repeatable order, nothing secret
    rounds = -(-wakes // targets)
    return [number for _ in range(rounds) for number in order.sample(range(targets), targets)][:wakes]


def _one_wake(stage: Stage, number: int) -> float:
    name = f"t{number}"
    path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments/{name}"
    until("it sleeps", lambda: not stage.api.get(path)["spec"].get("replicas"), 60)
    acknowledged = _produce(stage, f"{stage.namespace}-{name}")
    until("it is awake", lambda: stage.api.get(path)["spec"].get("replicas") == 1, 30)
    answered = [
        event.completed_at
        for event in stage.bed.control_plane.audit_events()
        if event.is_scale_write
        and event.name == name
        and event.namespace == stage.namespace
        and event.status == HTTPStatus.OK
        and event.requested_replicas == 1
    ]
    return (answered[-1] - acknowledged).total_seconds()


def _produce(stage: Stage, topic: str) -> datetime:
    """Produce one record and return the moment of its acknowledgement."""
    acknowledged: list[datetime] = []
    producer = Producer({"bootstrap.servers": stage.bed.kafka.bootstrap_servers, "linger.ms": 0})
    producer.list_topics(topic, timeout=10)  # the connection and the metadata are not part of what is measured
    producer.produce(topic, b"x", on_delivery=lambda *_: acknowledged.append(datetime.now(UTC)))
    producer.flush(10)
    return acknowledged[0]


def _bare_fetch(stage: Stage) -> list[float]:
    topic = f"{stage.namespace}-floor"
    stage.bed.kafka.create_topic(topic, partitions=1)
    consumer = Consumer(
        {
            "bootstrap.servers": stage.bed.kafka.bootstrap_servers,
            "group.id": "floor",
            "fetch.wait.max.ms": 1000,
            "enable.auto.commit": False,
        }
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
    acknowledged = []
    for number in range(_FLOOR_SAMPLES):
        time.sleep(0.05)
        acknowledged.append(_produce(stage, topic))
        until("it is read", partial(_longer, seen, number), 10)
    done.set()
    reader.join()
    consumer.close()
    return [max(0.0, (at - ack).total_seconds()) for at, ack in zip(seen, acknowledged, strict=True)]


def _longer(seen: list[datetime], than: int) -> bool:
    return len(seen) > than


def _bare_patch(stage: Stage) -> list[float]:
    """PATCH the scale of a Deployment of its own, which nobody manages, over a connection that is warm."""
    from testbed import workloads  # noqa: PLC0415 - only this floor needs it

    stage.api.create_namespaces([f"{stage.namespace}-floor"])
    manifest = workloads.deployment("floor", {"image": workloads.PAUSE}, namespace=f"{stage.namespace}-floor")
    stage.api.apply(manifest)
    path = f"/apis/apps/v1/namespaces/{stage.namespace}-floor/deployments/floor/scale"
    for number in range(_FLOOR_SAMPLES):
        stage.api.patch(path, {"spec": {"replicas": number % 2}})
    events = [
        event
        for event in stage.bed.control_plane.audit_events()
        if event.is_scale_write and event.name == "floor" and event.status == HTTPStatus.OK
    ]
    return [(event.completed_at - event.received_at).total_seconds() for event in events]
