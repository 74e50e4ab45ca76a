"""What must never happen, and what must go on, while something is broken."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.model import Handover, Outcome, Reason
from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.bed import Bed, ref
from tests.virtual_time import now, virtual

if TYPE_CHECKING:
    from activator.core.model import Notice, Scale, TargetRef


@virtual
async def test_kafka_away_for_a_minute_puts_nothing_to_sleep_and_wakes_nothing() -> None:
    """An unreadable source holds what is; ten seconds after its return everything is normal."""
    bed = Bed(hpa=False, records_per_second=0)
    awake = bed.deploy("awake", cooldown_period="20", polling_interval="5")
    asleep = bed.deploy("asleep", cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until(10)
        bed.kafka.produce("awake", 0, 20)
        await bed.until(60)
        bed.kafka.stop()
        await bed.until(120)
        assert (bed.server.replicas(awake), bed.server.replicas(asleep)) == (1, 0)
        bed.kafka.heal()
        bed.kafka.produce("asleep")
        await bed.until(121)
        assert bed.server.replicas(asleep) == 1
        await bed.until(130)
        samples = list(bed.replica.activator.targets[awake].samples(now()))
        assert [sample.value for sample in samples] == [20]


@virtual
async def test_the_api_server_away_for_a_minute_loses_no_wake() -> None:
    """A wake that cannot be sent is sent within seconds of the API server's return."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(40)
        assert bed.server.replicas(orders) == 0
        bed.server.start_outage()
        bed.kafka.produce("orders")
        await bed.until(100)
        tried = len(bed.server.sent("scale.set", orders))
        assert tried < 20, "a wake that fails is tried again with growing pauses, not at once"
        bed.server.end_outage()
        await bed.until(106)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_one_poisoned_target_in_a_hundred_touches_no_other() -> None:
    """A topic that errors holds its own target; the others are looked at on time."""
    bed = Bed(hpa=False)
    targets = [bed.deploy(f"t{number}", cooldown_period="60", polling_interval="10") for number in range(100)]
    bed.kafka.fail_topic("t7", "TOPIC_AUTHORIZATION_FAILED")
    async with bed:
        await bed.until(120)
        counts = {target.name: bed.server.replicas(target) for target in targets}
        assert counts.pop("t7") == 1
        assert set(counts.values()) == {0}
    late = [
        (later.now - earlier.now).total_seconds()
        for target in targets
        for earlier, later in zip(
            bed.recorder.evaluations_of(target), bed.recorder.evaluations_of(target)[1:], strict=False
        )
    ]
    assert max(late) < 20
    poisoned = bed.recorder.evaluations_of(ref("t7"))
    assert {e.decision.reason for e in poisoned} == {Reason.UNREADABLE}


@virtual
async def test_a_record_that_is_read_and_pushed_at_once_is_what_woke_its_target() -> None:
    """Read a moment before its push, looked at as that comes: the decision links to the record all the same."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="30")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        bed.kafka.slow = 0.05
        due = bed.replica.activator._agenda.next_begin()
        assert due is not None
        await bed.until(bed.now_seconds() + (due - now()).total_seconds() + 0.0495)
        bed.kafka.produce("orders", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        await bed.until(bed.now_seconds() + 1)
        [wake] = [one for one in bed.recorder.evaluations_of(orders) if one.outcome is Outcome.APPLIED][1:]
        assert wake.seen.pushed is not None
        assert wake.seen.pushed.traceparent


@virtual
async def test_what_breaks_in_following_a_decision_up_is_tried_again_with_the_next_look(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of ours costs one line of the log and one try a look, and the target is looked at as ever."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="10")
    tries: list[float] = []

    def broken(*_: object) -> list[Notice]:
        tries.append(bed.now_seconds())
        raise RuntimeError("nobody foresaw this")

    async with bed:
        await bed.until(20)
        before = len(bed.recorder.evaluations_of(orders))
        monkeypatch.setattr("activator.loop.notices.not_consumed", broken)
        await bed.until(58)
        assert len(tries) == len(bed.recorder.evaluations_of(orders)) - before > 3
        assert sum("nobody foresaw" in record.message for record in caplog.records) == len(tries)


@virtual
async def test_a_record_between_the_read_and_the_patch_wakes_it_again() -> None:
    """The tail joins at the end offsets of the deciding read, before the PATCH: what comes after it is pushed."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(19.5)
        saved = len(bed.server.sent("state.save", orders))
        await bed.until_true(lambda: len(bed.server.sent("state.save", orders)) > saved)  # the last before the PATCH
        assert bed.server.sent("scale.set", orders) == []
        assert bed.replica.tail.joins == [(orders, {("orders", number): 0 for number in range(5)})]
        assert bed.replica.tail.leaves == []
        bed.kafka.produce("orders")
        await bed.until(25)
        # Without the sleep nothing would have been between the reading and a PATCH.
        assert [request.replicas for request in bed.server.sent("scale.set", orders)] == [0, 1]
        assert bed.server.replicas(orders) == 1
        [push] = bed.replica.tail.pushes
        assert (push.topic, push.offset) == ("orders", 0)


@virtual
async def test_a_read_that_fails_between_the_deciding_one_and_the_patch_stops_the_sleep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something else has the target looked at while what must outlive us is written; by then Kafka is away."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    save = bed.replica.world.states.save

    async def slowly(*state: Any) -> None:
        if bed.now_seconds() > 19:
            bed.kafka.down = "timed out"
            bed.replica.activator.look(orders)
            await asyncio.sleep(0.5)
        await save(*state)

    monkeypatch.setattr(bed.replica.world.states, "save", slowly)
    async with bed:
        await bed.until(30)
        assert bed.server.sent("scale.set", orders) == []
        monkeypatch.undo()
        bed.kafka.down = None
        await bed.until(60)
        assert bed.server.replicas(orders) == 0


@pytest.mark.parametrize("threshold", [None, "11"], ids=["", "another-threshold-meanwhile"])
@virtual
async def test_work_that_is_read_on_the_way_to_a_sleep_and_over_before_the_next_look_begins_a_cooldown(
    threshold: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading that found it stops the sleep, and nobody decides on it: the next one finds it worked off."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    save = bed.replica.world.states.save
    came: list[float] = []

    async def slowly(*state: Any) -> None:
        if bed.now_seconds() > 19 and not came:
            await asyncio.sleep(0.1)
            bed.kafka.produce("orders")
            bed.replica.activator.look(orders)
            await asyncio.sleep(0.5)
            bed.kafka.commit_all("orders", "orders")
            came.append(bed.now_seconds())
            if threshold is not None:
                bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}lag-threshold": threshold})
        await save(*state)

    monkeypatch.setattr(bed.replica.world.states, "save", slowly)
    async with bed:
        await bed.until(39)
        assert len(came) == 1
        assert bed.server.sent("scale.set", orders) == []
        await bed.until(45)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_work_that_the_deciding_reading_finds_as_the_lease_runs_out_begins_a_cooldown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More replicas are no longer ours to give; it is worked off before we lead again."""
    bed = Bed(hpa=False, records_per_second=0)
    bed.auto_handoff = Handover.DIRECT
    orders = bed.deploy(cooldown_period="20", polling_interval="10")
    get = bed.replica.world.scaler.get
    came: list[float] = []

    async def slowly(ref: TargetRef) -> Scale:
        scale = await get(ref)
        if bed.now_seconds() > 19 and not came:
            for partition in range(5):
                bed.kafka.produce("orders", partition, 20)
            bed.replica.leadership.left = timedelta(0)
            came.append(bed.now_seconds())
        return scale

    monkeypatch.setattr(bed.replica.world.scaler, "get", slowly)
    async with bed:
        await bed.until(20.5)
        assert len(came) == 1
        bed.kafka.commit_all("orders", "orders")
        await bed.until(22)
        bed.replica.leadership.left = timedelta(seconds=15)
        await bed.until(39)
        assert bed.server.sent("scale.set", orders) == []
        await bed.until(50)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_without_the_guard_a_group_that_never_committed_with_latest_is_held_awake() -> None:
    """Such a consumer skips the record that wakes it, so it is not put to sleep, and the reason says so."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(committed=False, cooldown_period="20", polling_interval="5", offset_guard="off")
    async with bed:
        await bed.until(120)
        assert bed.server.replicas(orders) == 1
    reasons = [evaluation.decision.reason for evaluation in bed.recorder.evaluations_of(orders)]
    assert set(reasons) == {Reason.NO_COMMITTED_OFFSET}


@virtual
async def test_paused_freezes_and_removes_the_hpa() -> None:
    """Paused: no sleep, no wake, no HPA; afterwards everything as before."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="10")
    paused = f"{ANNOTATION_PREFIX}paused"
    async with bed:
        await bed.until(40)
        bed.server.annotate(orders, {paused: "true"})
        await bed.until(60)
        assert bed.server.hpas == {}
        bed.kafka.produce("orders")
        await bed.until(120)
        assert bed.server.replicas(orders) == 0
        bed.server.annotate(orders, {paused: None})
        await bed.until(125)
        assert bed.server.replicas(orders) == 1
        assert len(bed.server.hpas) == 1


@virtual
async def test_paused_on_the_way_to_sleep_is_another_decision() -> None:
    """A policy that changes between the decision and its PATCH is no defect: nothing is sent, it is decided anew."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(19.5)
        saved = len(bed.server.sent("state.save"))
        for tick in range(1000):
            await bed.until(19.5 + tick / 1000)
            if len(bed.server.sent("state.save", orders)) > saved:  # the last thing before the PATCH
                break
            if bed.replica.tail.joined:
                bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}paused": "true"})
        await bed.until(60)
        assert bed.server.replicas(orders) == 1
        assert not bed.server.sent("scale.set", orders)
    assert Reason.INVARIANT_VIOLATED not in {e.decision.reason for e in bed.recorder.evaluations}
    assert bed.recorder.evaluations[-1].decision.reason is Reason.PAUSED


@virtual
async def test_a_topic_that_nobody_of_its_group_consumes_is_named() -> None:
    """Its lag keeps the target awake: after five minutes an Event and the status say so, until somebody consumes it."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(cooldown_period="20", polling_interval="5")
    bed.kafka.create_topic("orders-v2")
    bed.consumes[orders] = {"orders-v2"}
    async with bed:
        bed.kafka.produce("orders", 0, 7)
        await bed.until(290)
        assert bed.server.scale_targets[orders][1].warnings == ()
        bed.kafka.group_errors["orders"] = "COORDINATOR_LOAD_IN_PROGRESS"  # what cannot be seen ends nothing
        await bed.until(310)
        bed.kafka.heal()
        await bed.until(600)
        assert bed.server.replicas(orders) == 1, "it is told, not acted on"
        (warning,) = bed.server.scale_targets[orders][1].warnings
        assert warning.startswith("no member of consumer group orders is subscribed to topic orders or assigned any")
        assert "(they consume orders-v2)" in warning
        assert "--group orders --topic orders --delete-offsets" in warning
        writes = len(bed.server.sent("state.save", orders))
        bed.kafka.produce("orders", 0, 7)
        await bed.until(640)
        assert len(bed.server.sent("state.save", orders)) <= writes + 2, "its words do not change with the lag"
        bed.consumes[orders] = {"orders", "orders-v2"}
        await bed.until(660)
        assert bed.server.scale_targets[orders][1].warnings == ()
    (told,) = [notice for notice in bed.recorder.notices if notice.reason == "TopicNotConsumed"]
    assert told.message == warning


@virtual
async def test_transaction_markers_alone_neither_wake_nor_keep_awake() -> None:
    """A remainder that holds nothing for a consumer is probed once and counts no more."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="5", isolation_level="read_committed")
    async with bed:
        await bed.until(5)
        bed.kafka.produce_in_transaction("orders", 0, 3)
        bed.kafka.commit("orders", "orders", 0)
        bed.kafka.end_transaction("orders", 0, commit=True)
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.kafka.produce_in_transaction("orders", 0, 1)
        bed.kafka.end_transaction("orders", 0, commit=False)
        await bed.until(90)
        assert bed.server.replicas(orders) == 0
        bed.kafka.produce("orders")
        await bed.until(91)
        assert bed.server.replicas(orders) == 1
