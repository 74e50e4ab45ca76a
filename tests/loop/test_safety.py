"""What must never happen, and what must go on, while something is broken."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Outcome, Phase, Reason
from activator.core.naming import ANNOTATION_PREFIX, FIELD_MANAGER
from activator.errors import SpecError
from activator.loop import acting
from tests.fakes.bed import Bed, ref
from tests.fakes.kubernetes import conflict, server_error
from tests.virtual_time import now, virtual

if TYPE_CHECKING:
    from activator.core.model import Notice


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
    """The tail joined at the end offsets of the deciding read: what comes after it is pushed, never lost."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(19.5)
        saved = len(bed.server.sent("state.save"))
        for tick in range(1000):
            await bed.until(19.5 + tick / 1000)
            if len(bed.server.sent("state.save", orders)) > saved:  # the last thing before the PATCH
                bed.kafka.produce("orders")
                break
        await bed.until(25)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_without_the_guard_a_group_that_never_committed_with_latest_is_held_awake() -> None:
    """Such a consumer skips the record that wakes it, so it is not put to sleep, and the reason says so."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(committed=False, cooldown_period="20", polling_interval="5", offset_guard="off")
    async with bed:
        await bed.until(120)
        assert bed.server.replicas(orders) == 1
    assert {e.decision.reason for e in bed.recorder.evaluations} <= {Reason.NO_COMMITTED_OFFSET, Reason.LEFT_TO_HPA}


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
        bed.server.annotate(orders, dict.fromkeys(bed.server.workloads[orders].annotations))
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
        bed.server.annotate(orders, dict.fromkeys(bed.server.workloads[orders].annotations))
        await bed.until(45)
        assert bed.server.replicas(orders) == 3
        assert (bed.server.hpas, bed.server.scale_targets) == ({}, {})
    last = bed.recorder.applied[-1]
    assert (last.decision.reason, last.seen.replicas, last.decision.replicas) == (Reason.UNMANAGED, 0, 3)


@virtual
async def test_what_its_owner_put_to_zero_after_a_sleep_of_ours_stays_there() -> None:
    """Scaled up by hand it sleeps by our hand no more: neither a rival nor the end of its management puts it back."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=3, cooldown_period="20", polling_interval="10")
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.server.scale(orders, 2)
        await bed.until(65)
        bed.server.scale(orders, 0)
        await bed.until(66)
        bed.server.add_hpa("theirs", orders)
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        bed.server.annotate(orders, dict.fromkeys(bed.server.workloads[orders].annotations))
        await bed.until(120)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_annotations_removed_while_wakegate_is_down_put_it_back_too() -> None:
    """What was kept tells the next process what to give back, also where the API server fails at first."""
    from tests.fakes.bed import Replica  # noqa: PLC0415 - only here

    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=2, cooldown_period="20")
    async with bed:
        await bed.until(40)
        await bed.replica.kill()
        bed.server.annotate(orders, dict.fromkeys(bed.server.workloads[orders].annotations))
        bed.server.inject("scale.set", server_error(), times=2)
        bed.replicas_of_wakegate[0] = Replica(bed, "wakegate-next")
        bed.replica.start()
        await bed.until(60)
        assert bed.server.replicas(orders) == 2
        assert (bed.server.hpas, bed.server.scale_targets) == ({}, {})


@virtual
async def test_a_rival_hpa_is_refused_and_left_alone() -> None:
    """A target that another HPA drives is not touched, and ours steps aside."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="10")
    bed.server.add_hpa("theirs", orders)
    async with bed:
        await bed.until(120)
        assert bed.server.replicas(orders) == 1
        assert [name for _, name in bed.server.hpas] == ["theirs"]
        assert {e.outcome for e in bed.recorder.evaluations} == {Outcome.REFUSED}
        bed.server.delete_hpa("shop", "theirs")
        await bed.until(180)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_a_sleeper_that_gets_a_rival_is_put_back() -> None:
    """An HPA does not act at zero, so a target that sleeps by our hand is not left there when a rival takes it."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=3, cooldown_period="20", polling_interval="10")
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.server.add_hpa("theirs", orders)
        await bed.until(75)
        assert bed.server.replicas(orders) == 3
        assert [name for _, name in bed.server.hpas] == ["theirs"]
    put_back = bed.recorder.applied[-1]
    assert (put_back.seen.replicas, put_back.decision.replicas, put_back.decision.reason) == (0, 3, Reason.RIVAL)
    assert put_back.decision.text == "put back to 3 first, because an HPA does not act at zero"


@virtual
async def test_a_rival_that_comes_or_goes_is_seen_at_once() -> None:
    """Records that waited for its end are not kept waiting for the next regular look, minutes later."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=0, cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(20)
        bed.server.add_hpa("theirs", orders)
        await bed.until(20.5)
        assert bed.recorder.evaluations[-1].decision.reason == Reason.RIVAL
        bed.kafka.produce("orders")
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.server.delete_hpa("shop", "theirs")
        await bed.until(60.5)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_a_paused_sleeper_that_gets_a_rival_stays_where_it_is() -> None:
    """Paused freezes the count, whoever else comes."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=3, cooldown_period="20", polling_interval="10")
    async with bed:
        await bed.until(60)
        bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}paused": "true"})
        bed.server.add_hpa("theirs", orders)
        await bed.until(75)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_a_conflict_on_the_way_to_sleep_means_another_look() -> None:
    """Somebody wrote in between: nothing is forced, the next look decides anew."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20")
    bed.server.inject("scale.set", conflict(), times=2)
    async with bed:
        await bed.until(30)
        assert bed.server.replicas(orders) == 0
        assert [made.error for made in bed.server.sent("scale.set", orders)][-1] == ""


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
async def test_woken_by_another_replica_it_has_its_cooldown_where_this_one_sees_no_lag() -> None:
    """Two that see a lag otherwise (one knows which offsets are markers) do not wake and put to sleep in turn."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        bed.server.scale(orders, 1, manager=FIELD_MANAGER)
        await bed.until(119)
        assert bed.server.replicas(orders) == 1
        await bed.until(126)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_put_to_zero_by_hand_on_the_way_to_sleep_there_is_nothing_left_to_send() -> None:
    """Somebody is a little sooner than the PATCH: no defect to report, and a record wakes it."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        for tick in range(1000):
            await bed.until(19.5 + tick / 1000)
            if bed.replica.tail.joined:  # the read is done, the PATCH not sent
                bed.server.scale(orders, 0)
                break
        await bed.until(30)
        assert not bed.server.sent("scale.set", orders)
        bed.kafka.produce("orders")
        await bed.until(31)
        assert bed.server.replicas(orders) == 1
    assert Reason.INVARIANT_VIOLATED not in {e.decision.reason for e in bed.recorder.evaluations}


@virtual
async def test_an_hpa_that_undoes_a_sleep_at_once_has_one_cooldown() -> None:
    """Its conflict is retried with the stale count before anybody sees the idle one: going back would be a fight."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="5")
    async with bed:
        for tick in range(3000):
            await bed.until(19 + tick / 1000)
            if bed.server.replicas(orders) == 0:
                bed.server.scale(orders, 1, manager="kube-controller-manager")
                break
        undone = 19 + tick / 1000
        await bed.until(undone + 19)
        assert bed.server.replicas(orders) == 1
        await bed.until(undone + 22)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_raised_and_lowered_again_on_the_way_to_sleep_it_has_its_cooldown() -> None:
    """An HPA raises it, and its next sync lowers it, between the read and the PATCH: the count is that of before."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until_true(lambda: bool(bed.replica.tail.joined))
        raised = bed.now_seconds()
        bed.server.scale(orders, 2, manager="kube-controller-manager")
        bed.server.scale(orders, 1, manager="kube-controller-manager")
        await bed.until(raised + 19)
        assert bed.server.replicas(orders) == 1
        await bed.until(raised + 22)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_a_raise_that_is_told_after_the_scale_was_read_is_no_old_news() -> None:
    """Raised and lowered again before the scale is read, and told of while the sleep is written down."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until(10)
        bed.server.watch_lag = timedelta(seconds=0.6)
        bed.server.delay_next("scale.get", 0.5)
        bed.server.delay_next("state.save", 1.0)
        await bed.until_true(lambda: bed.now_seconds() > 19 and bed.replica.activator.targets[orders].busy)
        raised = bed.now_seconds()
        bed.server.scale(orders, 2, manager="kube-controller-manager")
        await bed.until(raised + 0.001)
        bed.server.scale(orders, 1, manager="kube-controller-manager")
        await bed.until(raised + 19)
        assert bed.server.replicas(orders) == 1
        await bed.until(raised + 23)
        assert bed.server.replicas(orders) == 0


@virtual
@pytest.mark.parametrize(
    ("manager", "raised"), [("kube-controller-manager", True), (FIELD_MANAGER, False), (None, False)]
)
async def test_a_raise_is_another_hands_where_that_is_known(manager: str | None, *, raised: bool) -> None:
    """A kind that has nothing but /scale does not tell by whose hand: our own wake would begin its cooldown twice."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until(3)
        bed.server.scale(orders, 2, manager=manager)
        await bed.until(3.1)
        assert (bed.replica.activator.targets[orders].raised_at is not None) is raised


@virtual
async def test_a_gitops_tool_that_writes_replicas_back_is_named() -> None:
    """Three writes of one hand are told in one Event that names it, and our writes stay bounded by the cooldown."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="10")
    async with bed:
        for second in range(70, 700, 10):
            await bed.until(second)
            if bed.server.replicas(orders) == 0:
                bed.server.scale(orders, 2, manager="argocd-controller")
        sleeps = [made for made in bed.server.sent("scale.set", orders) if made.replicas == 0]
        assert len(sleeps) <= 700 / 60
        (warning,) = bed.server.scale_targets[orders][1].warnings
        assert warning.startswith("argocd-controller writes spec.replicas back; leave replicas out of what it manages")
        assert "RespectIgnoreDifferences=true" in warning
        await bed.until(700 + 16 * 60)
        assert bed.server.scale_targets[orders][1].warnings == ()
    told = [notice for notice in bed.recorder.notices if notice.reason == "ForeignWrites"]
    assert told
    assert "argocd-controller" in told[0].message


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
