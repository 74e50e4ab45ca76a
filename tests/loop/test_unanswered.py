"""A PATCH whose answer is lost: what became of it is found out by a look, and told once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from activator.core.model import APPLIED_OK, FOUND_APPLIED, Outcome, Reason
from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.api_server import conflict_with_ourselves, server_error, unanswered, unreachable
from tests.fakes.bed import Bed
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.core.model import Evaluation, TargetRef
    from activator.errors import WakegateError


async def asleep(bed: Bed, ref: TargetRef, *, by: float = 100) -> None:
    """Let a target fall asleep, and forget how."""
    await bed.until(by)
    assert bed.server.replicas(ref) == 0
    bed.recorder.facts.clear()
    bed.server.requests.clear()


@asynccontextmanager
async def sleeper(*, by: float = 100, cooldown_period: str = "60") -> AsyncIterator[tuple[Bed, TargetRef]]:
    """A target that has fallen asleep, and no trace of how: what is recorded and sent from here on is the test's."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period=cooldown_period, polling_interval="300")
    async with bed:
        await asleep(bed, orders, by=by)
        yield bed, orders


def told(bed: Bed, ref: TargetRef) -> list[tuple[int, int, Outcome, str]]:
    """What was recorded of PATCHes: from, to, outcome and status."""
    return [
        (made.seen.replicas, made.decision.replicas, made.outcome, made.applied.status)
        for made in bed.recorder.evaluations_of(ref)
        if made.applied is not None
    ]


def episodes(bed: Bed, kind: str) -> list[str]:
    """The ids of episodes of a kind that were told of."""
    return list(dict.fromkeys(phase.episode_id for phase in bed.recorder.episodes if phase.episode == kind))


def applied(bed: Bed, ref: TargetRef) -> Evaluation:
    """The one evaluation that was applied."""
    [made] = [made for made in bed.recorder.applied if made.ref == ref]
    return made


@virtual
@pytest.mark.parametrize("error", [unanswered(), server_error(), conflict_with_ourselves()])
async def test_a_wake_that_was_applied_is_told_as_applied_once(error: WakegateError) -> None:
    """The next look finds the count that was asked for: its episode begins with the record, and no PATCH follows."""
    async with sleeper() as (bed, orders):
        bed.server.inject("scale.set", error, applied=True)
        bed.kafka.produce("orders")
        await bed.until(105)
        assert told(bed, orders) == [(0, 1, Outcome.APPLIED, FOUND_APPLIED)]
        assert len(bed.server.sent("scale.set")) == 1
        wake = applied(bed, orders)
        assert wake.seen.pushed is not None
        assert [phase.name for phase in bed.recorder.episodes] == ["ready", "first_commit", ""]
        assert episodes(bed, "wake") == [wake.episode_id]
        assert bed.recorder.episodes[-1].started_at == wake.seen.pushed.seen_at
        await bed.until(300)
        assert episodes(bed, "wake") == [wake.episode_id]
        assert [made.decision.replicas for made in bed.recorder.applied] == [1, 0]


@virtual
async def test_a_wake_that_was_not_applied_is_told_as_failed_and_made_again() -> None:
    """The scale is as it was: the act had failed, and the record wakes its target by another PATCH."""
    async with sleeper() as (bed, orders):
        bed.server.inject("scale.set", unanswered())
        bed.kafka.produce("orders")
        await bed.until(105)
        assert [outcome for _, _, outcome, _ in told(bed, orders)] == [Outcome.FAILED, Outcome.APPLIED]
        assert len(episodes(bed, "wake")) == 1


@virtual
async def test_a_wake_that_cannot_have_been_applied_is_told_as_failed_at_once() -> None:
    """Where nobody was there to apply it, nothing is asked before the next PATCH."""
    async with sleeper() as (bed, orders):
        bed.server.inject("scale.set", unreachable())
        bed.kafka.produce("orders")
        await bed.until(105)
        assert [outcome for _, _, outcome, _ in told(bed, orders)] == [Outcome.FAILED, Outcome.APPLIED]
        assert [request.call for request in bed.server.requests if request.call.startswith("scale.")] == [
            "scale.set",
            "scale.set",
        ]


@virtual
@pytest.mark.parametrize(("by", "to"), [("kubectl", 1), ("kubectl", 3)])
async def test_a_count_that_another_hand_wrote_is_not_taken_for_ours(by: str, to: int) -> None:
    """Somebody scales it while our PATCH is lost: ours has failed, whatever the count is."""
    async with sleeper() as (bed, orders):
        bed.server.inject("scale.set", unanswered())
        bed.kafka.produce("orders")
        await bed.until(100.1)
        bed.server.scale(orders, to, manager=by)
        await bed.until(105)
        assert [outcome for _, _, outcome, _ in told(bed, orders)] == [Outcome.FAILED]
        assert episodes(bed, "wake") == []


@virtual
async def test_what_cannot_be_read_yet_is_found_out_later() -> None:
    """The API server stays away for a minute after it has applied a wake: it is told as soon as it is back."""
    async with sleeper(by=400, cooldown_period="300") as (bed, orders):
        bed.server.inject("scale.set", unanswered(), applied=True)
        bed.server.watch_lag = timedelta(minutes=5)
        bed.kafka.produce("orders")
        await bed.until(400.006)
        assert bed.server.replicas(orders) == 1
        bed.server.start_outage()
        await bed.until(460)
        assert not bed.recorder.applied
        bed.server.end_outage()
        await bed.until(470)
        assert told(bed, orders)[-1] == (0, 1, Outcome.APPLIED, FOUND_APPLIED)
        assert {outcome for _, _, outcome, _ in told(bed, orders)[:-1]} == {Outcome.FAILED}
        assert len(episodes(bed, "wake")) == 1
        assert len([request for request in bed.server.sent("scale.set") if not request.error]) == 0


@virtual
async def test_what_is_sent_again_before_it_is_found_out_is_one_act() -> None:
    """The scale cannot be read after a lost answer, and the PATCH is sent once more: it is told once, as sent twice."""
    async with sleeper() as (bed, orders):
        bed.server.inject("scale.set", unanswered())
        bed.server.inject("scale.get", server_error())
        bed.kafka.produce("orders")
        await bed.until(105)
        wake = applied(bed, orders)
        assert told(bed, orders) == [(0, 1, Outcome.APPLIED, "ok")]
        assert wake.applied is not None
        assert wake.applied.attempts == 2


@virtual
@pytest.mark.parametrize("error", [unanswered(), conflict_with_ourselves()])
async def test_a_sleep_that_was_applied_is_ours(error: WakegateError) -> None:
    """It is told as applied, a record wakes it, and it is given back when its annotations go: it sleeps by our hand."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="30", replicas=3)
    async with bed:
        bed.server.inject("scale.set", error, applied=True)
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        assert told(bed, orders) == [(3, 0, Outcome.APPLIED, FOUND_APPLIED)]
        assert len(episodes(bed, "sleep")) == 1
        assert bed.server.scale_targets[orders][1].asleep_by_us
        bed.kafka.produce("orders")
        await bed.until(100.1)
        assert bed.server.replicas(orders) == 1
        await bed.until(200)
        assert bed.server.replicas(orders) == 0
        unmanage(bed, orders)
        await bed.until(210)
        assert bed.server.replicas(orders) == 3


def unmanage(bed: Bed, ref: TargetRef) -> None:
    """Take the annotations away."""
    ours = [key for key in bed.server.workloads[ref].annotations if key.startswith(ANNOTATION_PREFIX)]
    bed.server.annotate(ref, dict.fromkeys(ours))


@virtual
async def test_unmanaged_before_the_answer_is_found_out_it_is_given_back() -> None:
    """A sleep without an answer may have been made: what goes before that is known is put back, and told as failed."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="30", replicas=3)
    async with bed:
        bed.server.watch_lag = timedelta(seconds=0.1)
        bed.server.inject("scale.set", unanswered(), applied=True)
        slept = asyncio.Event()
        bed.server.subscribe(lambda: slept.set() if not bed.server.replicas(orders) else None)
        await slept.wait()
        await asyncio.sleep(0.01)
        unmanage(bed, orders)
        await asyncio.sleep(10)
        assert bed.server.replicas(orders) == 3


LOST: dict[str, WakegateError] = {
    "no answer": unanswered(),
    "500": server_error(),
    "a conflict with ourselves": conflict_with_ourselves(),
}


@pytest.mark.parametrize("error", LOST.values(), ids=LOST)
@virtual
async def test_a_sleeper_that_was_put_back_for_a_rival_is_told_as_applied_once(error: WakegateError) -> None:
    """It is put back with one PATCH, does not sleep by our hand any more, and what its group has outlasts its start."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300", replicas=3)
    async with bed:
        await asleep(bed, orders)
        bed.server.inject("scale.set", error, applied=True)
        bed.server.add_hpa("theirs", orders)
        await bed.until(105)
        assert told(bed, orders) == [(0, 3, Outcome.APPLIED, FOUND_APPLIED)]
        assert len(bed.server.sent("scale.set")) == 1
        assert applied(bed, orders).decision.reason is Reason.RIVAL
        assert episodes(bed, "wake") == [applied(bed, orders).episode_id]
        assert not bed.server.scale_targets[orders][1].asleep_by_us
        assert bed.replica.group_offsets.renewals[-1][0] == "orders"


@virtual
async def test_a_sleeper_that_was_not_put_back_is_told_as_failed_and_put_back_then() -> None:
    """The scale is as it was: told with the count that it was to get, and sent again."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300", replicas=3)
    async with bed:
        await asleep(bed, orders)
        bed.server.inject("scale.set", unanswered())
        bed.server.add_hpa("theirs", orders)
        await bed.until(105)
        assert [made[:3] for made in told(bed, orders)] == [(0, 3, Outcome.FAILED), (0, 3, Outcome.APPLIED)]


@pytest.mark.parametrize("error", LOST.values(), ids=LOST)
@virtual
async def test_what_was_given_back_is_told_as_applied_once(error: WakegateError) -> None:
    """Its annotations go while it sleeps: the try that follows finds the count that the first one asked for."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300", replicas=3)
    async with bed:
        await asleep(bed, orders)
        bed.server.inject("scale.set", error, applied=True)
        unmanage(bed, orders)
        await bed.until(110)
        assert bed.server.replicas(orders) == 3
        assert told(bed, orders) == [(0, 3, Outcome.APPLIED, FOUND_APPLIED)]
        assert len(bed.server.sent("scale.set")) == 1
        assert orders not in bed.server.scale_targets


@virtual
async def test_what_was_not_given_back_is_sent_again() -> None:
    """The count is as it was: the try that follows is told as what it is."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="60", polling_interval="300", replicas=3)
    async with bed:
        await asleep(bed, orders)
        bed.server.inject("scale.set", unanswered())
        unmanage(bed, orders)
        await bed.until(110)
        assert told(bed, orders) == [(0, 3, Outcome.APPLIED, APPLIED_OK)]


@virtual
async def test_of_two_replicas_whose_answers_are_lost_the_leader_tells() -> None:
    """Both have sent a wake, neither has heard of it: one episode, told by the one that leads."""
    bed = Bed(hpa=False, replicas=2)
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        for replica in bed.replicas_of_wakegate:
            replica.recorder.facts.clear()
        bed.server.watch_lag = timedelta(seconds=1)
        bed.server.inject("scale.set", unanswered(), applied=True)
        bed.server.inject("scale.set", conflict_with_ourselves())
        bed.kafka.produce("orders")
        await bed.until(110)
        told_by = [
            made.applied.status
            for replica in bed.replicas_of_wakegate
            for made in replica.recorder.applied
            if made.applied
        ]
        assert told_by == [FOUND_APPLIED]


@asynccontextmanager
async def unanswered_sleep(
    *, applied: bool = True, watch_lag: timedelta = timedelta(0)
) -> AsyncIterator[tuple[Bed, TargetRef]]:
    """The PATCH that puts a target to sleep was sent just now, and its answer will not come."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(19)
        bed.server.watch_lag = watch_lag
        bed.server.inject("scale.set", unanswered(), applied=applied)
        await bed.until_true(lambda: bool(bed.server.sent("scale.set")))
        assert bed.server.replicas(orders) == (0 if applied else 1)
        yield bed, orders


@virtual
async def test_a_sleep_whose_answer_is_lost_is_watched_until_it_is_known() -> None:
    """The scale cannot be read either, and no watch tells: a record wakes it all the same."""
    async with unanswered_sleep(watch_lag=timedelta(seconds=60)) as (bed, orders):
        bed.server.inject("scale.get", unreachable(), times=1)
        await bed.until(bed.now_seconds() + 0.4)  # the first look has found out nothing
        assert orders in bed.replica.tail.joined
        bed.kafka.produce("orders")
        await bed.until(22)
        assert bed.server.replicas(orders) == 1


@asynccontextmanager
async def lease_lost_in_a_sleep(*, applied: bool) -> AsyncIterator[tuple[Bed, TargetRef]]:
    """A target's sleep has no answer, and the lease of who sent it has run out since; nobody else has taken it."""
    async with unanswered_sleep(applied=applied) as (bed, orders):
        bed.replica.leadership.left = timedelta(0)
        yield bed, orders


@virtual
async def test_a_sleep_is_told_by_who_has_lost_the_lease_since() -> None:
    """Nobody else was seen to lead: it is told before the wake that a record asks for at once."""
    async with lease_lost_in_a_sleep(applied=True) as (bed, orders):
        bed.kafka.produce("orders")
        await bed.until(60)
        assert told(bed, orders) == [(1, 0, Outcome.APPLIED, FOUND_APPLIED), (0, 1, Outcome.APPLIED, APPLIED_OK)]
        assert episodes(bed, "wake") == [bed.recorder.applied[1].episode_id]


@virtual
async def test_a_sleep_that_another_may_have_made_is_left_to_them() -> None:
    """Another led meanwhile: who never leads again tells it neither as applied nor as failed, which it may not be."""
    async with lease_lost_in_a_sleep(applied=True) as (bed, orders):
        bed.server.lease_holder = "wakegate-1"
        bed.server.changed()
        await bed.until(1000)
        assert told(bed, orders) == []
        unmanage(bed, orders)
        await bed.until(1100)
        assert told(bed, orders) == []


@virtual
async def test_a_sleep_that_another_has_woken_from_since_is_not_told_as_failed() -> None:
    """Who has lost the lease cannot know whether its own PATCH was applied before."""
    async with lease_lost_in_a_sleep(applied=True) as (bed, orders):
        bed.server.scale(orders, 1)
        await bed.until(60)
        assert told(bed, orders) == []


@virtual
async def test_a_sleep_that_failed_is_told_by_who_has_lost_the_lease_since() -> None:
    """Nobody else has sent it."""
    async with lease_lost_in_a_sleep(applied=False) as (bed, orders):
        await bed.until(30)
        assert [made[:3] for made in told(bed, orders)] == [(1, 0, Outcome.FAILED)]


@virtual
async def test_of_two_replicas_that_have_both_lost_the_lease_the_next_leader_tells_a_wake() -> None:
    """Any replica wakes: until one of them leads, neither knows whose it was."""
    bed = Bed(hpa=False, replicas=2)
    orders = bed.deploy(cooldown_period="60", polling_interval="300")
    async with bed:
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        one, two = (replica.recorder.facts for replica in bed.replicas_of_wakegate)
        bed.replica.leadership.left = timedelta(0)
        bed.server.watch_lag = timedelta(seconds=1)
        bed.server.inject("scale.set", unanswered(), applied=True)
        bed.server.inject("scale.set", conflict_with_ourselves())
        one.clear()
        two.clear()
        bed.kafka.produce("orders")
        await bed.until(110)
        assert bed.server.replicas(orders) == 1
        assert not [*bed.replicas_of_wakegate[0].recorder.applied, *bed.replicas_of_wakegate[1].recorder.applied]
        bed.replica.leadership.left = timedelta(seconds=15)
        await bed.until(130)
        applied_by = [len(replica.recorder.applied) for replica in bed.replicas_of_wakegate]
        assert applied_by == [1, 0]


@virtual
async def test_a_wake_that_failed_is_told_by_the_leader() -> None:
    """It sends its own: who does not lead tells of none."""
    async with sleeper() as (bed, orders):
        bed.replica.leadership.left = timedelta(0)
        bed.server.inject("scale.set", unreachable())
        bed.kafka.produce("orders")
        await bed.until(110)
        assert told(bed, orders) == [(0, 1, Outcome.APPLIED, APPLIED_OK)]


@virtual
async def test_what_cannot_be_found_out_for_five_minutes_is_given_up() -> None:
    """Neither the scale nor a watch tells: the leader tells that the sleep had no answer, once."""
    async with unanswered_sleep(watch_lag=timedelta(hours=1)) as (bed, orders):
        bed.server.inject("scale.get", unreachable(), times=10_000)
        lost = (1, 0, Outcome.FAILED, str(unanswered()))
        await bed.until(310)
        assert lost not in told(bed, orders)
        await bed.until(400)
        assert told(bed, orders).count(lost) == 1
