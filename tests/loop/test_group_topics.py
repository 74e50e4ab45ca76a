"""A trigger that names no topic, over time: whichever topics its group has committed on, also those that expire."""

from __future__ import annotations

from typing import Any

import pytest

from activator.core.model import KeptOffsets, OffsetGuard, Reason, TargetRef
from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.bed import Bed
from tests.virtual_time import now, virtual

TRIGGERS = """
- type: kafka
  metadata: {bootstrapServers: "kafka:9092", consumerGroup: orders}
"""
METRIC = "s0-kafka-orders-topics"


def deployed(*topics: str, **annotations: Any) -> tuple[Bed, TargetRef]:
    """A workload of group orders that has read topic orders, and these, to their ends; its trigger names no topic.

    Its consumers work nothing off: what a test produces stays their lag.
    """
    bed = Bed(hpa=False, records_per_second=0)
    target = bed.deploy(committed=False, partitions=1, cooldown_period="20", polling_interval="30", **annotations)
    named = {"topic": None, "consumer-group": None, "bootstrap-servers": None, "triggers": TRIGGERS}
    bed.server.annotate(target, {ANNOTATION_PREFIX + name: value for name, value in named.items()})
    bed.consumes[target] = {"orders", *topics}
    for topic in ("orders", *topics):
        bed.kafka.create_topic(topic)
        bed.kafka.commit_all("orders", topic)
    return bed, target


def topics_of(bed: Bed, target: TargetRef) -> list[str]:
    """The topics that count."""
    return [trigger.topic for trigger in bed.replica.activator.targets[target].policy.triggers]


@virtual
async def test_a_record_on_any_topic_of_the_group_wakes_it() -> None:
    """The tail joins at all of them; their lags are one sum under one name, and none is left out of what is kept."""
    bed, orders = deployed("returns", "refunds")
    async with bed:
        await bed.until(60)
        assert topics_of(bed, orders) == ["orders", "refunds", "returns"]
        assert bed.server.replicas(orders) == 0
        kept = bed.server.scale_targets[orders][1].kept
        assert [place.topic for place in kept] == ["orders", "refunds", "returns"]
        bed.kafka.produce("refunds", 0, 3)
        await bed.until(60.1)
        assert bed.server.replicas(orders) == 1
        bed.kafka.produce("returns", 0, 4)
        await bed.until(90)
        samples = [(sample.name, sample.value) for sample in bed.replica.activator.targets[orders].samples(now())]
        assert samples == [(METRIC, 7)]


@virtual
@pytest.mark.parametrize("guard", OffsetGuard)
async def test_commits_that_expire_in_its_sleep_take_no_topic_along(guard: OffsetGuard) -> None:
    """Its topics are kept before it sleeps: the next process watches those that Kafka has forgotten."""
    bed, orders = deployed("returns", offset_guard=guard, offset_reset_policy="earliest")
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        await bed.replica.kill()
        for place in [place for place in bed.kafka.groups["orders"].commits if place[0] == "returns"]:
            del bed.kafka.groups["orders"].commits[place]
        bed.start_next()
        await bed.until(120)
        assert bed.server.replicas(orders) == 0
        assert topics_of(bed, orders) == ["orders", "returns"]
        bed.kafka.produce("returns")
        await bed.until(120.1)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_a_group_without_commits_is_held_awake() -> None:
    """Which topics it reads is not known, and that is no lag of zero; its first commit lets it sleep in its time."""
    bed, orders = deployed()
    bed.kafka.expire("orders")
    bed.consumes[orders] = set()
    async with bed:
        await bed.until(200)
        assert bed.server.replicas(orders) == 1
        decision = bed.recorder.evaluations_of(orders)[-1].decision
        assert decision.reason is Reason.UNREADABLE
        assert "group orders has no committed offsets, and no members that tell which topics it reads" in decision.text
        bed.kafka.commit_all("orders", "orders")
        await bed.until(218)
        assert bed.server.replicas(orders) == 1
        await bed.until(260)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_a_topic_that_is_found_in_its_sleep_is_watched() -> None:
    """Whoever commits for a sleeping group on another topic wants that one read."""
    bed, orders = deployed()
    bed.kafka.create_topic("returns")
    async with bed:
        await bed.until(60)
        bed.kafka.commit_all("orders", "returns")
        await bed.until(130)
        assert bed.server.replicas(orders) == 0
        assert set(bed.replica.tail.joined[orders][bed.kafka.cluster].positions) == {("orders", 0), ("returns", 0)}
        bed.kafka.produce("returns")
        await bed.until(130.1)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_a_topic_found_at_the_last_moment_is_read_before_it_sleeps() -> None:
    """It is found by the read that the sleep itself makes: no topic that was not looked at is slept over."""
    bed, orders = deployed()
    bed.kafka.create_topic("returns")
    bed.kafka.produce("returns", 0, 5)
    async with bed:
        for tick in range(3000):
            await bed.until(19 + tick / 1000)
            if bed.server.sent("scale.get", orders):  # the first step of a sleep
                break
        bed.kafka.commit("orders", "returns", 0, 2)
        await bed.until(100)
        assert topics_of(bed, orders) == ["orders", "returns"]
        assert bed.server.replicas(orders) == 1
        assert not bed.recorder.applied


@virtual
async def test_a_topic_that_was_deleted_counts_for_nothing() -> None:
    """One missing topic neither fails the others nor holds it awake; made anew, its records wake."""
    bed, orders = deployed("returns")
    async with bed:
        await bed.until(10)
        bed.kafka.delete_topic("returns")
        await bed.until(140)
        assert bed.server.replicas(orders) == 0
        bed.kafka.create_topic("returns")
        bed.kafka.produce("returns", 0, 2)
        await bed.until(210)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_a_topic_that_nobody_consumes_is_let_go_once_its_offsets_are_deleted() -> None:
    """An abandoned topic keeps it awake until the command that its warning names: then it counts no more."""
    bed, orders = deployed("abandoned")
    bed.consumes[orders] = {"orders"}
    bed.kafka.produce("abandoned", 0, 9)
    async with bed:
        await bed.until(400)
        assert bed.server.replicas(orders) == 1
        (warning,) = bed.server.scale_targets[orders][1].warnings
        assert "--group orders --topic abandoned --delete-offsets" in warning
        del bed.kafka.groups["orders"].commits["abandoned", 0]
        await bed.until(460)
        assert topics_of(bed, orders) == ["orders"]
        assert bed.server.replicas(orders) == 0
        (place,) = bed.server.scale_targets[orders][1].kept
        assert place.topic == "orders"


@virtual
async def test_the_cluster_s_other_topics_are_never_counted() -> None:
    """Without a commit KEDA takes all topics of the cluster for the group's; here none is read."""
    bed, orders = deployed()
    bed.kafka.expire("orders")
    bed.consumes[orders] = set()
    bed.kafka.create_topic("of-others")
    bed.kafka.produce("of-others", 0, 1000)
    async with bed:
        await bed.until(100)
        assert topics_of(bed, orders) == [""]
        assert bed.server.scale_targets[orders][1].kept == {}
        assert {trigger.topic for _, triggers in bed.replica.reader.reads for trigger in triggers} == {""}


@virtual
async def test_a_topic_that_we_may_not_describe_holds_it_awake() -> None:
    """A broker leaves it out of the group's commits; that its members consume it is seen all the same."""
    bed, orders = deployed("returns")
    bed.kafka.fail_topic("returns", "TOPIC_AUTHORIZATION_FAILED")
    del bed.kafka.groups["orders"].commits["returns", 0]
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 1
        decision = bed.recorder.evaluations_of(orders)[-1].decision
        assert decision.reason is Reason.UNREADABLE
        assert "TOPIC_AUTHORIZATION_FAILED: topic 'returns'" in decision.text


@virtual
async def test_a_changed_configuration_keeps_the_topics() -> None:
    """Another threshold is no reason to forget in its sleep which topics have expired commits."""
    bed, orders = deployed("returns", offset_guard="off", offset_reset_policy="earliest")
    async with bed:
        await bed.until(60)
        bed.kafka.expire("orders")
        bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}lag-threshold": "50"})
        await bed.until(130)
        assert topics_of(bed, orders) == ["orders", "returns"]
        assert set(bed.server.scale_targets[orders][1].kept.values()) == {KeptOffsets()}
