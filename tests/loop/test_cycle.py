"""The whole cycle of a target in virtual time: asleep, woken, handed to the HPA, asleep again."""

from __future__ import annotations

import asyncio

from activator.core.model import Outcome, Phase, Push, PushSource, Reason
from tests.fakes.bed import Bed
from tests.virtual_time import now, virtual


@virtual
async def test_sleeps_after_cooldown_wakes_on_one_record_and_sleeps_again() -> None:
    """A quiet target sleeps after its cooldown; one record wakes it in milliseconds; then it sleeps again."""
    bed = Bed()
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(59)
        assert bed.server.replicas(orders) == 1
        await bed.until(62)
        assert bed.server.replicas(orders) == 0
        await bed.until(100)
        bed.kafka.produce("orders")
        await bed.until(100.1)
        assert bed.server.replicas(orders) == 1
        await bed.until(102)
        assert bed.consumed == {"orders": 1}
        await bed.until(200)
        assert bed.server.replicas(orders) == 0
    assert [(e.seen.replicas, e.decision.replicas, e.decision.reason) for e in bed.recorder.applied] == [
        (1, 0, Reason.QUIET),
        (0, 1, Reason.RECORD_ARRIVED),
        (1, 0, Reason.QUIET),
    ]


@virtual
async def test_the_hpa_takes_it_to_the_partition_count_and_never_past_it() -> None:
    """500 records on five partitions: the HPA goes to five, although max-replica-count is 100."""
    bed = Bed(records_per_second=1)
    orders = bed.deploy(cooldown_period="60")
    most = 0
    async with bed:
        await bed.until(70)
        for partition in range(5):
            bed.kafka.produce("orders", partition, 100)
        for _ in range(300):
            await asyncio.sleep(1)
            most = max(most, bed.server.replicas(orders))
        await bed.until(600)
        assert bed.server.replicas(orders) == 0
    assert most == 5
    assert bed.consumed == {"orders": 500}
    assert {(e.seen.replicas > 0, e.decision.replicas) for e in bed.recorder.applied} == {(True, 0), (False, 1)}


@virtual
async def test_a_quiet_day_costs_a_look_every_polling_interval() -> None:
    """A sleeper is looked at once per polling interval, and nothing is written but its beginning."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(600)
        reads, writes = len(bed.replica.reader.reads), len(bed.server.sent("state.save"))
        await bed.until(24 * 3600)
        assert bed.server.replicas(orders) == 0
        assert len(bed.replica.reader.reads) - reads <= (24 * 3600 - 600) / 300 + 1
        assert len(bed.server.sent("state.save")) == writes
    assert bed.recorder.evaluations[-1].phase is Phase.ASLEEP
    assert all(e.outcome in {Outcome.HELD, Outcome.APPLIED} for e in bed.recorder.evaluations)


@virtual
async def test_an_old_push_keeps_no_new_one_out() -> None:
    """Both come while a look is under way: of one topic, the first may be meant for another target."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="300")
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(900)
        target = bed.replica.activator.targets[orders]
        assert target.asleep
        bed.kafka.slow = 1.0
        bed.kafka.expire("orders")
        await bed.until_true(lambda: target.busy)
        bed.replica.push(Push("kafka:9092", "orders", PushSource.TAIL, now(), 0, 9))
        bed.kafka.produce("orders")
        await bed.until(bed.now_seconds() + 4)
        assert bed.server.replicas(orders) == 1
