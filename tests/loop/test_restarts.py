"""What survives the end of a process, and what two of them do together."""

from __future__ import annotations

from activator.core.model import Outcome, Reason
from tests.fakes.bed import Bed, Replica
from tests.virtual_time import virtual


@virtual
async def test_killed_while_asleep_the_next_process_watches_and_wakes() -> None:
    """A process that starts over a sleeping target takes it up where it was, and the tail wakes it."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300", replicas=3)
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        await bed.replica.kill()
        bed.replicas_of_wakegate[0] = Replica(bed, "wakegate-next")
        bed.replica.start()
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
        bed.replicas_of_wakegate[0] = Replica(bed, "wakegate-next")
        bed.replica.start()
        await bed.until(125)
        assert bed.server.replicas(orders) == 1
        await bed.until(165)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_without_the_crd_a_restart_begins_a_fresh_cooldown() -> None:
    """Without ScaleTargets everything works, and only what a restart forgets is forgotten."""
    bed = Bed(hpa=False)
    bed.server.crd_installed = False
    orders = bed.deploy(cooldown_period="100", polling_interval="10")
    async with bed:
        await bed.until(90)
        await bed.replica.kill()
        bed.replicas_of_wakegate[0] = Replica(bed, "wakegate-next")
        bed.replica.start()
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
async def test_an_answer_that_was_lost_is_found_out() -> None:
    """A wake whose PATCH was made and whose answer was lost: the next attempt finds it awake and is done."""
    from tests.fakes.kubernetes import unreachable  # noqa: PLC0415 - only here

    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(100)
        bed.server.inject("scale.set", unreachable(), applied=True)
        bed.kafka.produce("orders")
        await bed.until(105)
        assert bed.server.replicas(orders) == 1
        failed = [e for e in bed.recorder.evaluations if e.outcome is Outcome.FAILED]
        assert len(failed) == 1
        await bed.until(300)
        assert bed.recorder.evaluations[-1].decision.reason in {Reason.NO_LAG, Reason.QUIET}
