"""Many sleepers hit at once: from the first record's ack to the last PATCH's 200, and whether only they were woken.

The floor, on the same parts in the same run: the same number of bare PATCHes of /scale, 64 at a time over warm
connections, as wakegate has under way at most; the median of four times.

What must be true besides: every sleeper with a record has exactly one 200 to a PATCH that wakes it and one
`wakegate.decide` of it in the tracing backend; no sleeper without a record was woken.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from benchmarks.crowd import crowd, start_watching
from benchmarks.figures import Figures

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.crowd import Crowd

BYSTANDERS = 0.1
"""Sleepers without a record, as a share of those with one."""
SPREAD_SECONDS = {100: 0.1, 400: 0.1, 1000: 1.0}
"""Within which time the records of a storm come, by the goal; else 1 s per 1,000."""
PASSES_SECONDS = {100: 2.0, 400: 6.0, 1000: 15.0}
"""Within which time it is to be over. Nobody looks before that: reading the audit log takes a third of a core."""
SETTLE_SECONDS = 40.0
"""After a storm the woken are looked at each second for half a minute; the next storm waits for that."""
TRACES_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 400, 1000], help="sleepers hit (100 400 1000)")


def run(arguments: argparse.Namespace) -> None:
    """Let the storms come one after the other, each over sleepers of its own."""
    figures = Figures("storm")
    with crowd(jaeger=True) as made:
        storms = {size: made.add(size) for size in arguments.sizes}
        spared = made.add(max(1, round(BYSTANDERS * sum(arguments.sizes))))
        bare = made.bystanders(max(arguments.sizes))
        start_watching(made, len(made.names))
        for number, (size, names) in enumerate(storms.items()):
            if number:
                time.sleep(SETTLE_SECONDS)
            floor = _floor(made, bare[:size])
            _one_storm(figures, made, names, floor)
        woken = [name for name, patches in made.answered(spared).items() if patches]
        figures.add("sleepers without a record that were woken", f"{len(woken)} of {len(spared)}")
        figures.add(
            "decisions to wake in the backend", _traced(made, [name for names in storms.values() for name in names])
        )
    figures.tell()


def _one_storm(figures: Figures, made: Crowd, names: Sequence[str], floor: float) -> None:
    acknowledged = _produce(made, names, SPREAD_SECONDS.get(len(names), len(names) / 1000))
    deadline = time.monotonic() + 120
    time.sleep(PASSES_SECONDS.get(len(names), len(names) / 100))
    while not all(made.answered(names).values()) and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(3)  # a second PATCH of one that was woken already would come about now
    answered = made.answered(names)
    woken = {name: patches[0] for name, patches in answered.items() if patches}
    first, last_ack = min(acknowledged.values()), max(acknowledged.values())
    sent = {name: (patch.received_at - acknowledged[name]).total_seconds() for name, patch in woken.items()}
    took = {name: (patch.completed_at - acknowledged[name]).total_seconds() for name, patch in woken.items()}
    last = (max(patch.completed_at for patch in woken.values()) - first).total_seconds()
    twice = sum(len(patches) > 1 for patches in answered.values())
    label = f"{len(names)} at once"
    spread = (last_ack - first).total_seconds()
    figures.add(
        f"{label}: first ack -> last 200", f"{last:.2f} s (all acknowledged after {spread:.2f} s); {last / floor:.2f} x"
    )
    figures.add_latencies(f"{label}: own ack -> own PATCH at the server", list(sent.values()))
    figures.add_latencies(f"{label}: own ack -> own 200", list(took.values()))
    figures.add(f"{label}: floor, bare PATCHes", f"{floor:.2f} s")
    figures.add(f"{label}: woken by exactly one PATCH", f"{len(woken) - twice} of {len(names)}")
    others = _other_answers(made, names)
    figures.add(
        f"{label}: other answers to its PATCHes", ", ".join(f"{code}: {n}" for code, n in others.items()) or "none"
    )
    figures.add(f"{label}: awake in the end", f"{_awake(made, names)} of {len(names)}")
    figures.raw[label] = {
        "other_answers": others,
        "last_seconds": last,
        "acks_seconds": spread,
        "floor_seconds": floor,
        "twice": twice,
    }


def _awake(made: Crowd, names: Sequence[str]) -> int:
    """Count those above zero: a PATCH that was answered too late (504) may have been applied all the same."""
    wanted = set(names)
    items = made.stage.api.get(made.deployments)["items"]
    return sum(item["metadata"]["name"] in wanted and bool(item["spec"].get("replicas")) for item in items)


def _other_answers(made: Crowd, names: Sequence[str]) -> dict[int, int]:
    """Count the answers to PATCHes by wakegate that were no 200, by status."""
    wanted = set(names)
    return dict(
        Counter(
            event.status
            for event in made.stage.bed.control_plane.audit_events()
            if event.is_scale_write
            and event.name in wanted
            and event.user_agent.startswith("wakegate")
            and event.status != HTTPStatus.OK
        )
    )


def _produce(made: Crowd, names: Sequence[str], seconds: float) -> dict[str, datetime]:
    """Produce one record for each, evenly over some time; return the moments of their acknowledgements."""
    acknowledged: dict[str, datetime] = {}
    producer = Producer({"bootstrap.servers": made.stage.bed.kafka.bootstrap_servers})  # with a client's own defaults
    for name in names:  # connections and metadata are not part of what is measured
        producer.list_topics(made.topic(name), timeout=30)
    began = time.monotonic()
    for number, name in enumerate(names):
        while (early := number * seconds / len(names) - (time.monotonic() - began)) > 0:
            producer.poll(early)  # sleeps: a loop that asks for the time would take one of the storm's cores
        producer.produce(
            made.topic(name), b"x", on_delivery=lambda *_, name=name: acknowledged.update({name: datetime.now(UTC)})
        )
        producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("not all records were acknowledged")
    return acknowledged


def _floor(made: Crowd, names: Sequence[str]) -> float:
    """Time so many bare PATCHes, there and back and once more: a single time varies by a third."""
    return statistics.median(_bare(made, names, replicas) for replicas in (1, 0, 1, 0))


def _bare(made: Crowd, names: Sequence[str], replicas: int) -> float:
    """Time them by the API server's own clock: from the first's arrival to the last's answer."""
    since = datetime.now(UTC)
    made.patch_scale(names, replicas)
    time.sleep(0.5)
    events = [
        event
        for event in made.stage.bed.control_plane.audit_events()
        if event.is_scale_write and event.received_at >= since and event.user_agent == "floor"
    ]
    if any(event.status != HTTPStatus.OK for event in events) or len(events) != len(names):
        raise RuntimeError(f"{len(events)} of {len(names)} bare PATCHes were answered")
    last = max(event.completed_at for event in events)
    return (last - min(event.received_at for event in events)).total_seconds()


def _traced(made: Crowd, names: Sequence[str]) -> str:
    """Count the targets of which the backend has exactly one applied decision to wake."""
    tags = {"wakegate.outcome": "applied"}
    deadline = time.monotonic() + TRACES_SECONDS
    while True:
        traces = made.stage.bed.jaeger.traces(made.stage.namespace, "wakegate.decide", tags=tags, limit=4 * len(names))
        counts: dict[str, int] = dict.fromkeys(names, 0)
        for trace in traces:
            for span in trace.named("wakegate.decide"):
                if (name := str(span.tags.get("k8s.deployment.name", ""))) in counts:
                    counts[name] += 1
        once = sum(count == 1 for count in counts.values())
        if once == len(names) or time.monotonic() > deadline:
            none = sum(count == 0 for count in counts.values())
            return f"{once} of {len(names)} have exactly one, {none} have none"
        time.sleep(2)
