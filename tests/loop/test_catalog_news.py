"""What the catalog tells: other configurations, workloads made anew, annotations taken away, and old news."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from activator.core.model import Phase, Reason
from activator.core.naming import ANNOTATION_PREFIX
from activator.errors import SpecError
from activator.loop import acting
from tests.fakes.api_server import server_error
from tests.fakes.bed import Bed
from tests.virtual_time import virtual


@virtual
async def test_a_typo_while_asleep_leaves_the_last_valid_policy_in_force() -> None:
    """A broken edit is told, marks the target Invalid, and a record still wakes it."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(40)
        bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}lag-treshold": "5"})
        await bed.until(45)
        _, state = bed.server.scale_targets[orders]
        assert state.phase is Phase.INVALID
        assert "did you mean wakegate.dev/lag-threshold?" in state.problems[0]
        assert [notice.reason for notice in bed.recorder.notices] == ["TakenOver", "InvalidConfiguration"]
        bed.kafka.produce("orders")
        await bed.until(46)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_credentials_that_turn_out_to_be_missing_and_are_made() -> None:
    """Taken over before they were read: told as never valid, not as a last valid policy; then looked at at once."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    bed.kafka.stop("no credentials")
    async with bed:
        await bed.until(5)
        activator, taken = bed.replica.activator, bed.replica.catalog.delivered(orders)
        missing = SpecError("Secret shop/kafka", None, "it does not exist")
        activator.upsert(replace(taken, policy=None, problems=(missing,)))
        activator.look(orders)
        await bed.until(8)
        _, state = bed.server.scale_targets[orders]
        assert state.phase is Phase.INVALID
        assert state.message == "Secret shop/kafka: it does not exist; nothing is changed until then"
        (told,) = bed.recorder.notices
        assert told.message == "Secret shop/kafka: it does not exist. It is not managed until this is corrected."
        assert bed.server.replicas(orders) == 1

        bed.kafka.heal()
        activator.upsert(taken)
        await bed.until(10)
        _, state = bed.server.scale_targets[orders]
        assert state.phase is Phase.AWAKE
        await bed.until(40)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_a_configuration_that_was_never_valid_is_not_taken_over() -> None:
    """With nothing valid to fall back on a target is left alone, and told."""
    bed = Bed(hpa=False)
    orders = bed.deploy(lag_threshold="0")
    async with bed:
        await bed.until(600)
        assert bed.server.replicas(orders) == 1
        assert bed.server.hpas == {}
        _, state = bed.server.scale_targets[orders]
        assert state.phase is Phase.INVALID
        bed.server.touch(orders)
        bed.server.unannotate(orders)
        await bed.until(610)
        assert bed.server.scale_targets == {}
        assert bed.server.replicas(orders) == 1
    assert [notice.reason for notice in bed.recorder.notices] == ["InvalidConfiguration"]


@virtual
async def test_a_workload_that_was_deleted_and_made_anew_is_another_one() -> None:
    """A recreated Deployment begins its own cooldown and is never hit by what was meant for the first."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20")
    async with bed:
        await bed.until(19)
        annotations = bed.server.workloads[orders].annotations
        bed.server.start_outage()
        bed.server.delete(orders)
        bed.server.add(orders, replicas=2, annotations=annotations)
        bed.server.end_outage()
        await bed.until(35)
        assert bed.server.replicas(orders) == 2
        await bed.until(45)
        assert bed.server.replicas(orders) == 0
        assert bed.server.scale_targets[orders][1].original_replicas == 2


@virtual
async def test_of_two_workloads_of_one_name_the_newer_one_counts() -> None:
    """A watch that goes back in time tells of the first one after the second, which is at zero and has to be woken."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=2)
    async with bed:
        await bed.until(5)
        first, annotations = bed.replica.catalog.delivered(orders), bed.server.workloads[orders].annotations
        bed.server.delete(orders)
        bed.server.add(orders, replicas=0, annotations=annotations)
        await bed.until(6)
        bed.replica.activator.upsert(first)
        bed.kafka.produce("orders")
        await bed.until(7)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_what_a_look_has_seen_of_the_one_made_anew_is_newer_than_what_a_watch_tells_of_the_first() -> None:
    """The watch lags, and tells of a last change of the first one after a look has read the second one's count."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=2)
    async with bed:
        await bed.until(5)
        bed.server.watch_lag = timedelta(seconds=1)
        bed.server.touch(orders)
        changed = bed.server.workloads[orders].workload
        annotations = bed.server.workloads[orders].annotations
        bed.server.delete(orders)
        bed.server.add(orders, replicas=0, annotations=annotations)
        target = bed.replica.activator.targets[orders]
        acting.take_scale(target, bed.server.workloads[orders].workload.scale)
        bed.replica.activator.upsert(replace(bed.replica.catalog.delivered(orders), workload=changed))
        assert bed.replica.activator.targets[orders] is target


@virtual
async def test_annotations_removed_while_asleep_put_it_back() -> None:
    """A target that is managed no more is given back with its original count and without its HPA."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=3, cooldown_period="20", min_replica_count="2")
    async with bed:
        await bed.until(40)
        assert bed.server.replicas(orders) == 0
        assert len(bed.server.hpas) == 1
        bed.server.unannotate(orders)
        await bed.until(45)
        assert bed.server.replicas(orders) == 3
        assert (bed.server.hpas, bed.server.scale_targets) == ({}, {})
    last = bed.recorder.applied[-1]
    assert (last.decision.reason, last.seen.replicas, last.decision.replicas) == (Reason.UNMANAGED, 0, 3)


@virtual
async def test_annotations_removed_while_wakegate_is_down_put_it_back_too() -> None:
    """What was kept tells the next process what to give back, also where the API server fails at first."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=2, cooldown_period="20")
    async with bed:
        await bed.until(40)
        await bed.replica.kill()
        bed.server.unannotate(orders)
        bed.server.inject("scale.set", server_error(), times=2)
        bed.start_next()
        await bed.until(60)
        assert bed.server.replicas(orders) == 2
        assert (bed.server.hpas, bed.server.scale_targets) == ({}, {})


@virtual
async def test_a_record_consumed_right_before_a_threshold_changes_begins_a_cooldown() -> None:
    """Another threshold is no other log: that it has grown since the last look is still seen."""
    bed = Bed(hpa=False, records_per_second=100)
    target = bed.deploy(cooldown_period="60", polling_interval="15")
    async with bed:
        await bed.until(47)
        bed.kafka.produce("orders")
        await bed.until(50)
        assert bed.kafka.groups["orders"].commits["orders", 0] == 1
        bed.server.annotate(target, {f"{ANNOTATION_PREFIX}lag-threshold": "7"})
        await bed.until(100)
        assert bed.server.replicas(target) == 1
        await bed.until(125)
        assert bed.server.replicas(target) == 0


@virtual
async def test_what_the_watch_tells_again_brings_no_old_configuration_back() -> None:
    """A pause that was ended stays ended, and a count that was changed stays changed, whatever an old cache tells."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    paused = f"{ANNOTATION_PREFIX}paused"
    async with bed:
        await bed.until(40)
        assert bed.server.replicas(orders) == 0
        bed.server.annotate(orders, {paused: "true"})
        told = bed.replica.catalog.delivered(orders)
        bed.server.annotate(orders, {paused: None})
        bed.replica.activator.upsert(told)
        bed.kafka.produce("orders")
        await bed.until(41)
        assert bed.server.replicas(orders) == 1
