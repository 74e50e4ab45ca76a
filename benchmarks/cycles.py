"""Sleeps that outlast Kafka's retention of offsets, again and again: records skipped, records read again.

Every target sleeps for longer than offsets are kept (one minute here, looked at every five seconds), is woken by a few
records, reads them, and sleeps again: classic and KIP-848 groups, at latest and at earliest, with commits before the
first sleep and without any.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.figures import Figures
from testbed import ledger
from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.stage import Stage, install_crd

if TYPE_CHECKING:
    import argparse

    from testbed.stage import Consumer

EXPIRY = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "5000"}
EXPIRED_AFTER_SECONDS = 68.0
PARTITIONS = 3
KINDS = (
    ("classic", "latest", False),
    ("consumer", "latest", False),
    ("classic", "earliest", True),
    ("consumer", "earliest", True),
    ("classic", "latest", True),
    ("consumer", "latest", True),
)
"""Group protocol, reset policy, whether its group has commits before it first runs."""
STUCK_SECONDS = 180.0
LOOK_SECONDS = 1.0


@dataclass
class Sleeper:
    """One target and how far it is."""

    consumer: Consumer
    kind: str
    pause: float
    """How long it sleeps beyond the expiry, so that records come at every moment of a look's interval."""
    ends: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    cycles: int = 0
    since: float = field(default_factory=time.monotonic)
    woken: bool = False
    """Records have been produced that it has not read yet."""
    stuck: bool = False

    def look(self, replicas: int, dice: random.Random) -> None:
        """Go on to what comes next, where it is time."""
        now = time.monotonic()
        if self.woken and self.consumer.consumed() >= sum(self.ends.values()):
            self.woken, self.since, self.cycles = False, now, self.cycles + 1
        elif self.woken:
            self.stuck = now - self.since > STUCK_SECONDS
        elif replicas:
            self.since = now
        elif now - self.since > EXPIRED_AFTER_SECONDS + self.pause:
            self._produce(dice)
            self.woken, self.since = True, now

    def _produce(self, dice: random.Random) -> None:
        count = dice.randint(1, 2 * PARTITIONS)
        self.consumer.stage.produce(self.consumer, count, partitions=PARTITIONS)
        for number in range(count):
            self.ends[number % PARTITIONS] += 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--targets", type=int, default=100, help="sleeping targets (100)")
    parser.add_argument("--cycles", type=int, default=10, help="sleeps of each target that outlast the retention (10)")


def run(arguments: argparse.Namespace) -> None:
    """Run so many cycles of each target."""
    figures, dice = Figures("cycles"), random.Random(1)  # noqa: S311 - a repeatable order, nothing secret
    with Testbed(TestbedOptions(kafka_properties=EXPIRY, jaeger=False, hpa=HpaFlags.stock())) as bed:
        install_crd(bed)
        stage = Stage.on(bed)
        wakegate = stage.wakegate()
        wakegate.start()
        sleepers = [_deploy(stage, number, dice) for number in range(arguments.targets)]
        path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments"
        while any(not sleeper.stuck and sleeper.cycles < arguments.cycles for sleeper in sleepers):
            replicas = {
                item["metadata"]["name"]: item["spec"].get("replicas", 0) for item in stage.api.get(path)["items"]
            }
            for sleeper in sleepers:
                if sleeper.cycles < arguments.cycles:
                    sleeper.look(replicas[sleeper.consumer.name], dice)
            time.sleep(LOOK_SECONDS)
        log = wakegate.process.log.read_text(errors="replace")
        for kind in sorted({sleeper.kind for sleeper in sleepers}):
            figures.add(kind, _summary([sleeper for sleeper in sleepers if sleeper.kind == kind]))
        figures.add("all", _summary(sleepers))
        for told in ("OffsetsPinned", "OffsetsRestored", "WokenWithoutOffsets"):
            figures.add(told, str(log.count(told)))
    figures.tell()


def _deploy(stage: Stage, number: int, dice: random.Random) -> Sleeper:
    protocol, reset, committed = KINDS[number % len(KINDS)]
    name = f"t{number}"
    topic = f"{stage.namespace}-{name}"
    stage.bed.kafka.create_topic(topic, partitions=PARTITIONS)
    if committed:
        stage.bed.kafka.commit(topic, {(topic, partition): 0 for partition in range(PARTITIONS)})
    consumer = stage.consumer(
        name,
        topic=False,
        auto_offset_reset=reset,
        group_protocol=protocol,
        cooldown_period="3",
        polling_interval="5",
    )
    return Sleeper(consumer, f"{protocol}, {reset}, {'committed' if committed else 'new'}", dice.uniform(0.0, 20.0))


def _summary(sleepers: list[Sleeper]) -> str:
    skipped = sum(len(ledger.missing(one.consumer.entries(), one.ends)) for one in sleepers)
    again = sum(len(ledger.repeats(one.consumer.entries())) for one in sleepers)
    records = sum(sum(one.ends.values()) for one in sleepers)
    stuck = sum(one.stuck for one in sleepers)
    cycles = sum(one.cycles for one in sleepers)
    return f"{cycles} cycles, {records} records: {skipped} skipped, {again} read again, {stuck} targets stuck"
