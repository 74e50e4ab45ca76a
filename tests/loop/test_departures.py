"""Workloads that go while they are being looked at: what was under way then must not come out after them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Outcome
from activator.errors import UnavailableError
from tests.fakes.bed import Bed, orders
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from activator.core.model import Scale, TargetRef

SLEEPS_AT_SECONDS = 20.0
"""The look that puts it to sleep begins here, and takes some fifteen milliseconds."""
MOMENTS = [number / 1000 for number in range(0, 24, 2)]


async def sleeps_and_is_given_back(bed: Bed, target: TargetRef) -> None:
    """Its annotations are taken away half a second after it was put to sleep; in the end it is awake."""
    await bed.until(SLEEPS_AT_SECONDS + 0.5)
    assert bed.server.replicas(target) == 0
    bed.server.unannotate(target)
    await bed.until(SLEEPS_AT_SECONDS + 10)
    assert bed.server.replicas(target) == 1


@pytest.mark.parametrize("moment", MOMENTS)
@virtual
async def test_made_anew_in_the_middle_of_a_sleep_it_has_a_cooldown_of_its_own(moment: float) -> None:
    """The look at the old workload neither touches the new one nor takes its next look away."""
    bed = Bed(hpa=False)
    target = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(SLEEPS_AT_SECONDS + moment)
        bed.server.delete(target)
        bed.server.add(target, replicas=1, annotations=orders(cooldown_period="20", polling_interval="300"))
        await bed.until(SLEEPS_AT_SECONDS + 19)
        assert bed.server.replicas(target) == 1
        await bed.until(SLEEPS_AT_SECONDS + 25)
        assert bed.server.replicas(target) == 0
        bed.kafka.produce("orders")
        await bed.until(SLEEPS_AT_SECONDS + 26)
        assert bed.server.replicas(target) == 1


@pytest.mark.parametrize("moment", MOMENTS)
@virtual
async def test_without_its_annotations_in_the_middle_of_a_sleep_it_is_not_left_at_zero(moment: float) -> None:
    """A PATCH that was on its way is told, and taken back; the metrics and the HPA of it are gone."""
    bed = Bed(hpa=False)
    target = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(SLEEPS_AT_SECONDS + moment)
        bed.server.unannotate(target)
        await bed.until(SLEEPS_AT_SECONDS + 10)
        assert bed.server.replicas(target) == 1
        assert bed.server.hpa_of(target) is None
        assert target not in bed.server.scale_targets
        assert bed.replica.tail.joined == {}
        put_to_zero = [r for r in bed.server.sent("scale.set", target) if r.replicas == 0 and not r.error]
        told = [e for e in bed.recorder.evaluations if e.decision.replicas == 0 and e.outcome is Outcome.APPLIED]
        assert len(told) == len(put_to_zero)


@virtual
async def test_a_give_back_whose_answer_is_lost_is_told_although_it_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer to the sleep before it comes between its two tries: what the first has done is not forgotten."""
    bed = Bed(hpa=False)
    target = bed.deploy(cooldown_period="20", polling_interval="300")
    scaler, tried = bed.replica.world.scaler, asyncio.Event()
    set_ = scaler.set

    async def answered_badly(ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        scale = await set_(ref, replicas, seen)
        if replicas == 0:
            await tried.wait()
            await asyncio.sleep(1)
        elif not tried.is_set():
            tried.set()
            raise UnavailableError("API server", "no answer within 5 s", maybe_done=True)
        return scale

    monkeypatch.setattr(scaler, "set", answered_badly)
    async with bed:
        await sleeps_and_is_given_back(bed, target)
        assert len(bed.server.sent("scale.set", target)) == 2
    told = [e.decision.replicas for e in bed.recorder.evaluations if e.outcome is Outcome.APPLIED]
    assert told == [0, 1]


@virtual
async def test_a_sleep_that_is_answered_while_it_is_given_back_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learnt of a target while it is being given back is not over with that: it sleeps by our hand."""
    bed = Bed(hpa=False)
    target = bed.deploy(cooldown_period="20", polling_interval="300")
    scaler, states, forgetting = bed.replica.world.scaler, bed.replica.world.states, asyncio.Event()
    set_, forget = scaler.set, states.forget

    async def answered_late(ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        scale = await set_(ref, replicas, seen)
        if replicas == 0:
            await forgetting.wait()
        return scale

    async def forgotten_slowly(ref: TargetRef) -> None:
        forgetting.set()
        await asyncio.sleep(1)
        await forget(ref)

    monkeypatch.setattr(scaler, "set", answered_late)
    monkeypatch.setattr(states, "forget", forgotten_slowly)
    async with bed:
        await sleeps_and_is_given_back(bed, target)
        assert target not in bed.server.scale_targets


@virtual
async def test_what_was_sent_before_it_is_forgotten_does_not_make_it_anew() -> None:
    """A write that is under way when the annotations are taken away arrives two seconds later: nothing is kept then."""
    bed = Bed(hpa=False)
    target = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(SLEEPS_AT_SECONDS + 10)
        bed.server.delay_next("state.save", 2.0)
        bed.kafka.produce("orders")
        await bed.until(SLEEPS_AT_SECONDS + 10.5)
        bed.server.unannotate(target)
        await bed.until(SLEEPS_AT_SECONDS + 20)
        assert target not in bed.server.scale_targets


@virtual
async def test_annotations_that_are_away_for_a_moment_forget_no_original_count() -> None:
    """It had three replicas when it was first managed: those are what its owner gets back, whatever came between."""
    bed = Bed(hpa=False)
    target = bed.deploy(replicas=3, cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(SLEEPS_AT_SECONDS + 40.2)
        assert bed.server.replicas(target) == 0
        written = dict(bed.server.workloads[target].annotations)
        bed.server.unannotate(target)
        await bed.until(SLEEPS_AT_SECONDS + 40.3)
        assert bed.server.replicas(target) == 0
        bed.server.annotate(target, written)
        await bed.until(SLEEPS_AT_SECONDS + 80)
        bed.server.unannotate(target)
        await bed.until(SLEEPS_AT_SECONDS + 90)
        assert bed.server.replicas(target) == 3


@virtual
async def test_a_workload_made_anew_gets_nothing_of_the_one_that_was_to_be_given_back() -> None:
    """The new one of that name came with one replica, and has never been managed before."""
    bed = Bed(hpa=False)
    target = bed.deploy(replicas=3, cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(SLEEPS_AT_SECONDS + 40.2)
        bed.server.unannotate(target)
        bed.server.delete(target)
        bed.server.add(target, annotations=orders(cooldown_period="20"))
        await bed.until(SLEEPS_AT_SECONDS + 80)
        assert bed.server.replicas(target) == 0
        bed.server.unannotate(target)
        await bed.until(SLEEPS_AT_SECONDS + 90)
        assert bed.server.replicas(target) == 1


async def two_of_which_the_first_takes_long(bed: Bed) -> tuple[TargetRef, TargetRef]:
    """Let two sleepers lose their annotations at one moment: giving the first back takes three seconds."""
    first, second = (bed.deploy(name, cooldown_period="20", polling_interval="300") for name in ("first", "second"))
    await bed.until(SLEEPS_AT_SECONDS + 40)
    assert (bed.server.replicas(first), bed.server.replicas(second)) == (0, 0)
    bed.server.delay_next("hpa.remove", 3.0)
    bed.server.unannotate(first)
    bed.server.unannotate(second)
    await bed.until(SLEEPS_AT_SECONDS + 42)
    return first, second


@virtual
async def test_who_is_managed_again_while_others_are_given_back_is_not_given_back() -> None:
    """It still waits its turn when its annotations come back."""
    async with Bed(hpa=False) as bed:
        _, second = await two_of_which_the_first_takes_long(bed)
        bed.recorder.facts.clear()
        bed.server.annotate(second, orders("second", cooldown_period="20", polling_interval="300"))
        await bed.until(SLEEPS_AT_SECONDS + 50)
        assert [made for made in bed.recorder.applied if made.ref == second] == []
        assert bed.server.replicas(second) == 0
        assert second in bed.server.scale_targets


@virtual
async def test_who_loses_the_lease_in_the_midst_forgets_nothing() -> None:
    """Its PATCH takes three seconds, and another leads when it is answered: what is kept is the other's."""
    bed = Bed(hpa=False)
    target = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(SLEEPS_AT_SECONDS + 40)
        bed.server.delay_next("scale.set", 3.0)
        bed.server.unannotate(target)
        await bed.until(SLEEPS_AT_SECONDS + 42)
        bed.server.lease_holder = "another"
        await bed.until(SLEEPS_AT_SECONDS + 50)
        assert bed.server.replicas(target) == 1
        assert target in bed.server.scale_targets


@virtual
async def test_who_has_lost_the_lease_gives_nothing_more_back() -> None:
    """Another replica leads by the time the first has been given back: it does the rest, also of the first."""
    async with Bed(hpa=False) as bed:
        first, second = await two_of_which_the_first_takes_long(bed)
        bed.server.lease_holder = "another"
        sent = len(bed.server.requests)
        await bed.until(SLEEPS_AT_SECONDS + 50)
        assert [made for made in bed.server.requests[sent:] if made.ref == second] == []
        assert bed.server.sent("scale.set", first)[1:] == []
        assert {first, second} <= bed.server.scale_targets.keys()
