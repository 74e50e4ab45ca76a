"""What survives the end of a process, and what two of them do together."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Push, PushSource
from activator.core.naming import ANNOTATION_PREFIX
from activator.loop.takeover import adopt_state
from activator.web import selector as selectors
from activator.wiring.parts import supervise
from tests.fakes.api_server import denied, server_error
from tests.fakes.bed import Bed
from tests.virtual_time import now, virtual

if TYPE_CHECKING:
    from activator.errors import WakegateError

ALWAYS = 1_000_000


async def restart_unread(bed: Bed, error: WakegateError) -> None:
    """Replace the process by one that cannot read what was kept."""
    await bed.replica.kill()
    bed.server.inject("state.load", error, times=ALWAYS)
    bed.start_next()


@virtual
async def test_killed_while_asleep_the_next_process_watches_and_wakes() -> None:
    """A process that starts over a sleeping target takes it up where it was, and the tail wakes it."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300", replicas=3)
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        await bed.replica.kill()
        bed.start_next()
        await bed.until(110)
        assert bed.server.replicas(orders) == 0
        bed.kafka.produce("orders")
        await bed.until(110.1)
        assert bed.server.replicas(orders) == 1
        _, state = bed.server.scale_targets[orders]
        assert state.original_replicas == 3


@virtual
async def test_killed_during_cooldown_the_rest_of_it_is_kept() -> None:
    """Last active outlives the process, coarsely: the target sleeps no more than 30 s later than it would have."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="100", polling_interval="10", initial_cooldown_period="0")
    async with bed:
        for second in range(0, 60, 5):
            await bed.until(second)
            bed.kafka.produce("orders")
        await bed.until(90)
        await bed.replica.kill()
        bed.start_next()
        await bed.until(125)
        assert bed.server.replicas(orders) == 1
        await bed.until(165)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_killed_right_after_a_wake_the_cooldown_begins_with_the_next_process() -> None:
    """Nothing of the wake was written down, and all was read before the next process looks: a cooldown begins there."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="10")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        bed.server.inject("state.save", server_error(), times=ALWAYS)
        bed.kafka.produce("orders")
        await bed.until(100.1)
        assert bed.server.replicas(orders) == 1
        await bed.replica.kill()
        bed.server.heal()
        await bed.until(110)
        bed.start_next()
        await bed.until(165)
        assert bed.server.replicas(orders) == 1
        await bed.until(185)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_what_was_sent_before_a_sleep_does_not_arrive_over_what_was_kept_for_it() -> None:
    """A write of the awake target takes two seconds, and so does the PATCH: kept under the sleep is that it sleeps."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="0", polling_interval="10")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        bed.server.delay_next("state.save", 2.0)
        bed.kafka.produce("orders")
        await bed.until(100.5)
        assert bed.server.replicas(orders) == 1
        bed.server.delay_next("scale.set", 2.0)
        await bed.until_true(lambda: bed.server.replicas(orders) == 0)
        assert bed.server.scale_targets[orders][1].asleep_by_us
        assert bed.now_seconds() < 110


@virtual
async def test_a_raise_lies_in_no_future_after_the_clock_was_stepped_back() -> None:
    """Whoever leads again by an earlier clock waits a cooldown from now, and not from when the raise was seen."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until(3)
        bed.server.scale(orders, 2, manager="kube-controller-manager")
        await bed.until(3.1)
        target, earlier = bed.replica.activator.targets[orders], now() - timedelta(hours=1)
        adopt_state(target, target.state(now()), earlier)
        assert target.raised_at == earlier


@virtual
async def test_without_the_crd_a_restart_begins_a_fresh_cooldown() -> None:
    """Without ScaleTargets everything works, and only what a restart forgets is forgotten."""
    bed = Bed(hpa=False)
    bed.server.crd_installed = False
    orders = bed.deploy(cooldown_period="100", polling_interval="10")
    async with bed:
        await bed.until(90)
        await bed.replica.kill()
        bed.start_next()
        await bed.until(180)
        assert bed.server.replicas(orders) == 1
        await bed.until(195)
        assert bed.server.replicas(orders) == 0
        assert len(bed.server.hpas) == 1


@virtual
async def test_the_leader_is_killed_as_the_record_arrives() -> None:
    """The replica that is left wakes the target without the lease, and exactly one wake PATCH succeeds."""
    bed = Bed(hpa=False, replicas=2)
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        assert bed.server.lease_holder == "wakegate-0"
        bed.server.lease_holder = "nobody any more"
        await bed.replicas_of_wakegate[0].kill()
        bed.kafka.produce("orders")
        await bed.until(101)
        assert bed.server.replicas(orders) == 1
        wakes = [made for made in bed.server.sent("scale.set", orders) if made.replicas == 1 and not made.error]
        assert [made.by for made in wakes] == ["wakegate-1"]


@virtual
async def test_two_replicas_send_one_wake() -> None:
    """The leader wakes first; the other sees it and sends nothing."""
    bed = Bed(hpa=False, replicas=2)
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(100)
        bed.kafka.produce("orders")
        await bed.until(130)
        wakes = [made for made in bed.server.sent("scale.set", orders) if made.replicas == 1]
        assert [(made.by, made.error) for made in wakes] == [("wakegate-0", "")]
        second = bed.replicas_of_wakegate[1].recorder
        assert second.evaluations == []


@virtual
@pytest.mark.parametrize("told", [0, 1], ids=["the leader", "a replica that does not lead"])
async def test_any_replica_may_take_a_wake_of_the_gateway(told: int) -> None:
    """The Service hands POST /wake to either replica; with no tail to see the record, that one alone wakes."""
    bed = Bed(hpa=False, replicas=2)
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(100)
        assert bed.server.lease_holder == "wakegate-0"
        for replica in bed.replicas_of_wakegate:
            for watched in list(replica.tail.joined):
                replica.tail.leave(watched)
        bed.kafka.produce("orders")
        await bed.until(105)
        assert bed.server.replicas(orders) == 0
        bed.replicas_of_wakegate[told].push(Push("kafka:9092", "orders", PushSource.GATEWAY, now()))
        await bed.until(106)
        wakes = [made for made in bed.server.sent("scale.set", orders) if made.replicas == 1]
        assert [(made.by, made.error) for made in wakes] == [(f"wakegate-{told}", "")]


@virtual
async def test_who_takes_over_puts_back_what_the_last_leader_put_to_sleep_also_where_nothing_is_kept() -> None:
    """It has seen by whose hand: woken and put to sleep again while it did not lead, without the ScaleTarget CRD."""
    bed = Bed(hpa=False, replicas=2)
    orders = bed.deploy(replicas=3, cooldown_period="20", polling_interval="10")
    async with bed:
        await bed.until(60)
        bed.kafka.produce("orders")
        await bed.until(62)
        assert bed.server.replicas(orders) > 0
        await bed.until(120)
        assert bed.server.replicas(orders) == 0
        bed.server.scale_targets.clear()
        await bed.replicas_of_wakegate[0].kill()
        await bed.until(150)
        bed.server.unannotate(orders)
        await bed.until(180)
        assert bed.server.replicas(orders) == 3


@virtual
async def test_who_is_managed_no_more_since_the_leader_died_is_given_back_also_where_nothing_is_kept() -> None:
    """Its annotations were removed while nobody held the lease: whoever takes it knows of that from nobody else."""
    bed = Bed(hpa=False, replicas=2)
    bed.server.crd_installed = False
    orders = bed.deploy(replicas=3, cooldown_period="60")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        bed.server.lease_holder = "who died"
        await bed.replicas_of_wakegate[0].kill()
        await bed.until(115)
        bed.server.lease_holder = None
        bed.server.unannotate(orders)
        await bed.until(120)
        assert bed.server.replicas(orders) == 3


@virtual
async def test_who_begins_to_lead_leaves_alone_whom_another_has_given_back_where_nothing_is_kept() -> None:
    """It saw the annotations go, too; that their owner scaled it to zero afterwards, nobody watches any more."""
    bed = Bed(hpa=False, replicas=2)
    bed.server.crd_installed = False
    orders = bed.deploy(replicas=3, cooldown_period="60")
    async with bed:
        await bed.until(100)
        bed.server.unannotate(orders)
        await bed.until(105)
        assert bed.server.replicas(orders) == 3
        bed.server.scale(orders, 0)
        await bed.until(3600)
        await bed.replicas_of_wakegate[0].kill()
        await bed.until(3700)
        assert bed.server.lease_holder == "wakegate-1"
        assert bed.server.replicas(orders) == 0


@virtual
async def test_a_replica_that_does_not_lead_puts_nothing_to_sleep() -> None:
    """Without the lease there is no sleep, no HPA and no status."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60")
    bed.server.lease_holder = "somebody else"
    async with bed:
        await bed.until(600)
        assert bed.server.replicas(orders) == 1
        assert bed.server.hpas == {}
        assert bed.server.scale_targets == {}
        assert bed.recorder.facts == bed.recorder.batches


@virtual
@pytest.mark.parametrize("error", [server_error(), denied()])
async def test_a_record_wakes_while_what_was_kept_cannot_be_read(error: WakegateError) -> None:
    """A group with a commit on every partition needs nothing that was kept: its target is woken, and served."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300", replicas=3)
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        await restart_unread(bed, error)
        bed.kafka.produce("orders")
        await bed.until(100.5)
        assert bed.server.replicas(orders) == 1
        await bed.until(110)
        bed.kafka.produce("orders", 0, 200)
        await bed.until(130)
        samples = bed.replica.metrics.lookup(orders.namespace, "s0-kafka-orders", selectors.parse(""))
        assert [sample.value is not None for sample in samples] == [True]
        bed.server.heal()
        await bed.until(140)
        _, state = bed.server.scale_targets[orders]
        assert state.original_replicas == 3
        await bed.until(300)
        assert bed.server.replicas(orders) == 0
        assert bed.consumed == {"orders": 201}


@virtual
async def test_what_was_kept_of_a_cooldown_is_waited_for() -> None:
    """Nothing is put to sleep, handed over, given back or written before the last process's word was read."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="10")
    gone = bed.deploy("gone", cooldown_period="60", replicas=2)
    async with bed:
        await bed.until(30)
        kept = dict(bed.server.scale_targets)
        await restart_unread(bed, server_error())
        bed.server.unannotate(gone)
        sent = len(bed.server.requests)
        await bed.until(150)
        assert {made.call for made in bed.server.requests[sent:]} == {"state.load"}
        assert bed.server.scale_targets == kept
        bed.server.heal()
        await bed.until(155)
        assert (bed.server.replicas(orders), bed.server.replicas(gone)) == (0, 2)
        assert gone not in bed.server.scale_targets


@virtual
@pytest.mark.parametrize("policy", ["latest", "earliest"])
async def test_a_group_without_a_commit_is_not_woken_before_it_is_known_where_it_stands(policy: str) -> None:
    """Where it goes on may be what was kept: woken without that it would skip the record, or read the topic again."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=2, cooldown_period="20", polling_interval="30", offset_reset_policy=policy)
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(60)
        assert (bed.server.replicas(orders), bed.consumed) == (0, {"orders": 10})
        await restart_unread(bed, server_error())
        bed.kafka.expire("orders")
        bed.kafka.produce("orders", 0, 3)
        await bed.until(70)
        bed.kafka.produce("orders", 0, 3)
        await bed.until(120)
        assert bed.server.replicas(orders) == 0
        assert [notice.reason for notice in bed.recorder.notices] == ["WakeWaitsForState"]
        bed.server.heal()
        await bed.until(125)
        assert bed.server.replicas(orders) == 1
        await bed.until(135)
        assert bed.consumed == {"orders": 16}


@virtual
async def test_a_partition_added_meanwhile_is_read_from_its_beginning() -> None:
    """Who has first seen it without knowing what was kept takes it for one that was always there."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", committed=False)
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        await bed.replica.kill()
        bed.server.inject("state.load", server_error(), times=ALWAYS)
        bed.kafka.create_topic("orders", 2)
        bed.kafka.produce("orders", 1, 5)
        bed.start_next()
        await bed.until(90)
        assert bed.server.replicas(orders) == 0
        bed.server.heal()
        await bed.until(110)
        assert bed.consumed == {"orders": 5}


@virtual
async def test_the_last_valid_configuration_is_waited_for() -> None:
    """A mistake that was made before the restart is judged once what was valid before it may be known."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="30")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}lag-threshold": "many"})
        await bed.until(101)
        await restart_unread(bed, server_error())
        await bed.until(130)
        assert orders not in bed.replica.activator.targets
        assert bed.recorder.notices == []
        bed.server.heal()
        bed.kafka.produce("orders")
        await bed.until(135)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_a_new_leader_leads_once_it_has_read_what_the_last_one_kept() -> None:
    """It has its own idea of the target, which must not be written over what is kept."""
    bed = Bed(hpa=False, replicas=2)
    orders = bed.deploy(cooldown_period="60", polling_interval="10")
    async with bed:
        await bed.until(30)
        bed.server.inject("state.load", server_error(), times=ALWAYS)
        await bed.replicas_of_wakegate[0].kill()
        assert bed.server.lease_holder == "wakegate-1"
        await bed.until(150)
        assert bed.server.replicas(orders) == 1
        assert {made.call for made in bed.server.requests if made.by == "wakegate-1"} == {"state.load"}
        bed.server.heal()
        await bed.until(152)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_after_the_loop_broke_every_target_is_looked_at_again() -> None:
    """A mistake of ours in giving one back ends it while the other two are being read; then it is run again."""
    bed = Bed(hpa=False)
    others = {bed.deploy(name, cooldown_period="40", polling_interval="10") for name in ("first", "second")}
    orders = bed.deploy(cooldown_period="40", polling_interval="10")
    activator = bed.replica.activator
    run, ends = activator.run, []

    async def once() -> None:
        try:
            await run()
        finally:
            ends.append(bed.now_seconds())

    async def supervised() -> None:
        await supervise("loop", once)

    activator.run = supervised  # type: ignore[method-assign]
    async with bed:
        await bed.until(9)
        bed.kafka.slow = 4.0
        reads = len(bed.replica.reader.reads)
        await bed.until_true(lambda: len(bed.replica.reader.reads) > reads)
        bed.server.inject("hpa.remove", RuntimeError("a mistake of ours"))  # type: ignore[arg-type]
        bed.server.unannotate(orders)
        await bed.until_true(lambda: bool(ends))
        bed.kafka.slow = 0.0
        bed.recorder.facts.clear()
        await bed.until(ends[0] + 190)
        assert len(ends) == 1
        assert others <= {made.ref for made in bed.recorder.evaluations}
        assert [bed.server.replicas(other) for other in others] == [0, 0]


@pytest.mark.parametrize("crd", [True, False], ids=["kept", "nothing-kept"])
@virtual
async def test_what_a_standby_knows_of_an_earlier_management_is_not_of_this_one(*, crd: bool) -> None:
    """Given back long ago by the leader, scaled by its owner and annotated again: a new cooldown, another count."""
    bed = Bed(hpa=False, replicas=2)
    bed.server.crd_installed = crd
    orders = bed.deploy(replicas=3, cooldown_period="300", polling_interval="30")
    async with bed:
        await bed.until(20)
        written = dict(bed.server.workloads[orders].annotations)
        bed.server.unannotate(orders)
        await bed.until(1000)
        bed.server.scale(orders, 5, manager="kubectl")
        await bed.until(2000)
        bed.server.annotate(orders, written)
        await bed.until(2010)
        await next(replica for replica in bed.replicas_of_wakegate if replica.world.leads()).kill()
        await bed.until(2100)
        assert bed.server.replicas(orders) == 5
        await bed.until(2500)
        assert bed.server.replicas(orders) == 0
        bed.server.unannotate(orders)
        await bed.until(2510)
        assert bed.server.replicas(orders) == 5


@virtual
async def test_work_that_was_seen_without_the_lease_begins_a_cooldown() -> None:
    """It asked for more replicas, which was not ours to give: who leads next does not sleep as if it had not been."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(handoff="direct", lag_threshold="2", cooldown_period="60", polling_interval="5")
    async with bed:
        await bed.until(10)
        bed.server.lease_holder = "nobody any more"
        bed.kafka.produce("orders", 0, 10)
        await bed.until(50)
        bed.kafka.commit_all("orders", "orders")
        await bed.until(70)
        bed.server.lease_holder = None
        bed.server.changed()
        await bed.until(90)
        assert bed.server.replicas(orders) == 1
        await bed.until(130)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_who_wins_the_lease_again_reads_again_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another has led for a few seconds, in the midst of something that takes long: it has kept what is not known."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    leads, remove = bed.replica.activator._world.leads, bed.replica.world.handoff.remove

    async def slowly(*named: object) -> None:
        await asyncio.sleep(10)
        await remove(*named)  # type: ignore[arg-type]

    async with bed:
        await bed.until(60)
        monkeypatch.setattr(bed.replica.world.handoff, "remove", slowly)
        bed.server.unannotate(orders)
        await bed.until(63)
        loads = len(bed.server.sent("state.load"))
        for holder, until in (("another", 67.0), ("wakegate-0", 68.5)):
            bed.server.lease_holder = holder
            bed.server.changed()
            await bed.until(until)
            assert not leads()
        await bed.until(75)
        assert leads()
        assert len(bed.server.sent("state.load")) > loads
