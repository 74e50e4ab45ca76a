"""Sleeps that outlast Kafka's retention of offsets, here one minute: nothing is skipped, nothing is read again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions

from testbed import ledger
from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.stage import Stage, install_crd, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.stage import Consumer

pytestmark = pytest.mark.real

EXPIRY = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "5000"}
"""Sixty seconds without a member, and the offsets of a group are gone within five more."""
PARTITIONS = 3
ADMIN_SECONDS = 10.0


@dataclass(frozen=True)
class Kind:
    """One kind of consumer."""

    protocol: str
    reset: str
    committed: bool
    """Its group has commits before it first runs."""

    @property
    def name(self) -> str:
        """Of its workload."""
        return f"{self.protocol}-{self.reset}-{'committed' if self.committed else 'new'}"


KINDS = [
    Kind(protocol, reset, committed)
    for protocol in ("classic", "consumer")
    for reset, committed in (("latest", True), ("earliest", True), ("latest", False))
]


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """All parts but Jaeger, with a Kafka that forgets the offsets of a group without members after a minute."""
    with Testbed(TestbedOptions(kafka_properties=EXPIRY, jaeger=False, hpa=HpaFlags(sync_period="2s"))) as made:
        install_crd(made)
        yield made


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_sleep_longer_than_the_retention_of_offsets(stage: Stage, protocol: str) -> None:
    """Classic and KIP-848, latest and earliest, with commits and without: each reads every record once.

    What they have committed does not expire; a group that somebody deletes meanwhile is restored.
    """
    stage.wakegate().start()
    consumers = {kind: deploy(stage, kind) for kind in KINDS if kind.protocol == protocol}
    produced = dict.fromkeys(consumers, 0)
    for kind, consumer in consumers.items():
        until(f"{kind.name} has its partitions", partial(is_assigned, consumer), 60)
        if kind.committed:
            stage.produce(consumer, 6, partitions=PARTITIONS)
            produced[kind] = 6
        consumer.annotate(keep_awake=None)
    for kind, consumer in consumers.items():
        until(f"{kind.name} sleeps", partial(is_asleep, consumer), 90)
        if not kind.committed:
            told = until(f"{kind.name} is pinned", partial(stage.events, "OffsetsPinned", consumer.name), 60)
            assert "has never committed there" in told[0]["message"]
    unguarded, (kind, deleted) = f"{stage.namespace}-unguarded", next(iter(consumers.items()))
    group = topic_of(stage, kind)
    stage.bed.kafka.commit(unguarded, {(group, number): 0 for number in range(PARTITIONS)})
    until("what nobody looks after has expired", lambda: not committed(stage, unguarded), 150)
    stood = committed(stage, group)
    admin = stage.bed.kafka.admin()
    admin.delete_consumer_groups([group])[group].result(ADMIN_SECONDS)
    until("the group that was deleted is there again", partial(stage.events, "OffsetsRestored", deleted.name), 60)
    assert committed(stage, group) == stood
    assert {count for consumer in consumers.values() for _, count, _ in consumer.changes()} == {0}
    for kind, consumer in consumers.items():
        stage.produce(consumer, 3, partitions=PARTITIONS)
        produced[kind] += 3
    for kind, consumer in consumers.items():
        until(f"{kind.name} has read all", partial(has_read, consumer, produced[kind]), 60)
    time.sleep(2)  # what would be read again is read by then
    for kind, consumer in consumers.items():
        entries = consumer.entries()
        assert ledger.missing(entries, dict.fromkeys(range(PARTITIONS), produced[kind] // PARTITIONS)) == [], kind
        assert ledger.repeats(entries) == [], kind
        assert stage.events("WokenWithoutOffsets", consumer.name) == []
        # What a sleeper's group has is kept for a time of its own.
        assert bool(stage.events("OffsetsRestored", consumer.name)) is (consumer is deleted)


def deploy(stage: Stage, kind: Kind) -> Consumer:
    """Deploy a consumer of a kind, with times that make a cycle short; it is kept awake until it has its partitions."""
    topic = topic_of(stage, kind)
    stage.bed.kafka.create_topic(topic, partitions=PARTITIONS)
    if kind.committed:
        stage.bed.kafka.commit(topic, {(topic, number): 0 for number in range(PARTITIONS)})
    return stage.consumer(
        kind.name,
        topic=False,
        auto_offset_reset=kind.reset,
        group_protocol=kind.protocol,
        cooldown_period="3",
        polling_interval="5",
        keep_awake="true",
    )


def topic_of(stage: Stage, kind: Kind) -> str:
    """Return the name of a consumer's topic, which is that of its group, too."""
    return f"{stage.namespace}-{kind.name}"


def committed(stage: Stage, group: str) -> dict[int, int]:
    """What a group has committed on its topic, by partition."""
    admin = stage.bed.kafka.admin()  # held until it has answered
    (answer,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    places = answer.result(ADMIN_SECONDS).topic_partitions
    return {place.partition: place.offset for place in places if place.offset >= 0}


def is_assigned(consumer: Consumer) -> bool:
    """Whether somebody has been given every partition."""
    return {entry.partition for entry in consumer.entries() if entry.event == "assigned"} == set(range(PARTITIONS))


def is_asleep(consumer: Consumer) -> bool:
    """Whether it has no replicas."""
    return consumer.replicas() == 0


def has_read(consumer: Consumer, records: int) -> bool:
    """Whether so many different records were read."""
    return consumer.consumed() == records
