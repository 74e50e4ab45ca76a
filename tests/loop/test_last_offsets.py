"""What is managed no more has its offsets as it is given back, also where nobody has looked at it for long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.api_server import server_error
from tests.fakes.bed import Bed, ref
from tests.fakes.bed import orders as orders_of
from tests.fakes.kafka import FakeKafka
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from activator.core.model import TargetRef

AWAY_AT_SECONDS = 60.0
BACK_AT_SECONDS = 70.0


def told_without_offsets(bed: Bed) -> int:
    """Count the Events that tell that offsets may be missing."""
    return [notice.reason for notice in bed.recorder.notices].count("WokenWithoutOffsets")


async def given_back_after_an_absence(bed: Bed, policy: str) -> TargetRef:
    """Let a sleeper's offsets expire, and its annotations go, while there is no wakegate; then there is one again."""
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", offset_reset_policy=policy)
    bed.kafka.produce("orders", 0, 10)
    await bed.until(AWAY_AT_SECONDS)
    assert bed.server.replicas(orders) == 0
    await bed.replica.kill()
    bed.kafka.expire("orders")
    bed.kafka.produce("orders", 0, 3)
    bed.server.unannotate(orders)
    await bed.until(BACK_AT_SECONDS)
    bed.start_next()
    return orders


@pytest.mark.parametrize("policy", ["latest", "earliest"])
@virtual
async def test_what_expired_meanwhile_is_committed_first(policy: str) -> None:
    """Else it would skip three records at `latest`, and read ten again at `earliest`."""
    async with Bed(hpa=False) as bed:
        orders = await given_back_after_an_absence(bed, policy)
        await bed.until(BACK_AT_SECONDS + 10)
        assert bed.server.replicas(orders) == 1
        assert bed.consumed == {"orders": 13}
        assert orders not in bed.server.scale_targets


@virtual
async def test_a_kafka_that_does_not_answer_is_waited_for_half_a_minute() -> None:
    """Then it is given back all the same, and an Event says that its offsets may be missing."""
    async with Bed(hpa=False) as bed:
        orders = await given_back_after_an_absence(bed, "latest")
        bed.kafka.stop()
        await bed.until(BACK_AT_SECONDS + 25)
        assert bed.server.replicas(orders) == 0
        await bed.until(BACK_AT_SECONDS + 40)
        assert bed.server.replicas(orders) == 1
        assert told_without_offsets(bed) == 1


@virtual
async def test_many_that_wait_for_one_cluster_wait_no_longer_than_one() -> None:
    """Each question to it takes four seconds: asked one by one, the last of twenty would wait for minutes."""
    bed = Bed(hpa=False)
    targets = [bed.deploy(f"o{number}", cooldown_period="20", polling_interval="30") for number in range(20)]
    async with bed:
        await bed.until(AWAY_AT_SECONDS)
        await bed.replica.kill()
        bed.kafka.stop()
        bed.kafka.slow = 4.0
        for target in targets:
            bed.server.unannotate(target)
        bed.start_next()
        await bed.until(AWAY_AT_SECONDS + 45)
        assert {bed.server.replicas(target) for target in targets} == {1}


@pytest.mark.parametrize("policy", ["earliest", "latest"])
@virtual
async def test_annotations_that_are_away_for_a_moment_forget_no_offsets(policy: str) -> None:
    """They expire within that moment: what was kept of the sleeper is still known when it is managed again."""
    bed = Bed(hpa=False)
    orders = bed.deploy(
        partitions=1,
        cooldown_period="20",
        polling_interval="300",
        offset_reset_policy=policy,
        activation_lag_threshold="5",
    )
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(900.2)
        assert bed.server.replicas(orders) == 0
        written = dict(bed.server.workloads[orders].annotations)
        bed.kafka.expire("orders")
        bed.server.unannotate(orders)
        await bed.until(900.3)
        assert bed.server.replicas(orders) == 0
        bed.server.annotate(orders, written)
        await bed.until(920)
        bed.kafka.produce("orders", 0, 10)
        await bed.until(930)
        assert bed.consumed == {"orders": 20}


@virtual
async def test_clusters_that_are_down_hold_up_nobody_on_another() -> None:
    """Each of ten answers nothing for four seconds: the sleeper on the eleventh does not wait for them in turn."""
    others = [FakeKafka(f"k{number}:9092") for number in range(10)]
    bed = Bed(hpa=False, other_clusters=others)
    targets = [bed.deploy("orders", partitions=1, cooldown_period="20", polling_interval="30")]
    for number, kafka in enumerate(others):
        name = f"o{number}"
        kafka.create_topic(name, 1)
        kafka.commit_all(name, name)
        annotations = orders_of(name, cooldown_period="20", bootstrap_servers=kafka.bootstrap_servers)
        bed.server.add(ref(name), annotations=annotations)
        targets.append(ref(name))
    async with bed:
        await bed.until(AWAY_AT_SECONDS)
        assert {bed.server.replicas(target) for target in targets} == {0}
        for kafka in others:
            kafka.stop()
            kafka.slow = 4.0
        for target in targets:
            bed.server.unannotate(target)
        await bed.until(AWAY_AT_SECONDS + 10)
        assert bed.server.replicas(targets[0]) == 1
        await bed.until(AWAY_AT_SECONDS + 50)
        assert {bed.server.replicas(target) for target in targets} == {1}


@virtual
async def test_that_its_offsets_may_be_missing_is_told_once_it_is_given_back() -> None:
    """Kafka is down, and the API server refuses for as long: nothing was done that a person should know of."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30")
    async with bed:
        await bed.until(AWAY_AT_SECONDS)
        bed.kafka.stop()
        bed.server.inject("hpa.remove", server_error(), times=200)
        bed.server.unannotate(orders)
        await bed.until(AWAY_AT_SECONDS + 90)
        assert bed.server.replicas(orders) == 0
        assert told_without_offsets(bed) == 0
        bed.server.heal()
        await bed.until(AWAY_AT_SECONDS + 100)
        assert bed.server.replicas(orders) == 1
        assert told_without_offsets(bed) == 1


@pytest.mark.parametrize("mode", ["off", "observe"])
@virtual
async def test_without_the_guard_kafka_is_not_asked(mode: str) -> None:
    """It would commit nothing: so nothing is waited for."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", offset_guard=mode)
    async with bed:
        await bed.until(AWAY_AT_SECONDS)
        assert bed.server.replicas(orders) == 0
        bed.kafka.stop()
        bed.server.unannotate(orders)
        await bed.until(AWAY_AT_SECONDS + 3)
        assert bed.server.replicas(orders) == 1
