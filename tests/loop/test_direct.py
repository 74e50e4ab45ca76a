"""Hand-off `direct`: the loop itself moves 1..N, in virtual time, with consumers that consume."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.model import Handover, Outcome, Reason, ScaledObject
from tests.fakes.api_server import conflict, unreachable
from tests.fakes.bed import Bed, Replica, ref
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Policy, TargetRef

FAST_DOWN = "{scaleDown: {stabilizationWindowSeconds: 30}}"


def settle(bed: Bed, auto: Handover | None) -> None:
    """Let the cluster's external metrics API lead to us (HPA), to somebody else (DIRECT), or be unknown yet."""
    bed.auto_handoff = auto


@virtual
async def test_zero_to_five_to_zero_without_an_hpa() -> None:
    """One record wakes it to 1, the rates take it to 5, the window to 1, the cooldown to 0; no HPA is ever made."""
    bed = Bed(hpa=False, records_per_second=1)
    orders = bed.deploy(handoff="direct", cooldown_period="60", behavior=FAST_DOWN)
    async with bed:
        await bed.until(70)
        assert bed.server.replicas(orders) == 0
        for partition in range(5):
            bed.kafka.produce("orders", partition, 60)
        await bed.until(300)
        assert bed.server.replicas(orders) == 0
        assert bed.server.hpa_of(orders) is None
        assert not bed.server.sent("hpa.ensure")
    assert bed.consumed == {"orders": 300}
    counts = [e.decision.replicas for e in bed.recorder.applied]
    assert counts == [0, 1, 5, *sorted(counts[3:-1], reverse=True), 0]
    assert counts[-2] == 1
    assert bed.recorder.applied[1].decision.reason is Reason.RECORD_ARRIVED


@virtual
async def test_a_wake_is_one_episode_whatever_moves_after_it() -> None:
    """A move between 1 and N begins no episode, and a wake without an HPA does not miss the hand-off to one."""
    bed = Bed(hpa=False, records_per_second=1)
    bed.deploy(handoff="direct", cooldown_period="60", behavior=FAST_DOWN)
    async with bed:
        await bed.until(70)
        bed.kafka.produce("orders", 0, 60)
        await bed.until(240)
    wakes = [phase for phase in bed.recorder.episodes if phase.episode == "wake" and not phase.name]
    assert [(wake.missing) for wake in wakes] == [()]
    named = [phase.name for phase in bed.recorder.episodes if phase.episode_id == wakes[0].episode_id]
    assert named == ["ready", "first_commit", ""]


@virtual
async def test_our_own_hpa_goes_first() -> None:
    """Changed to direct, it is left to our HPA until that is confirmed gone: two hands never move one count."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(cooldown_period="60")
    async with bed:
        await bed.until(10)
        assert bed.server.hpa_of(orders) is not None
        bed.server.inject("hpa.remove", unreachable(), times=3)
        bed.kafka.produce("orders", 0, 60)
        bed.server.annotate(orders, {"wakegate.dev/handoff": "direct"})
        await bed.until(40)
        assert bed.server.hpa_of(orders) is not None
        assert bed.server.replicas(orders) == 1
        await bed.until(100)
        assert bed.server.hpa_of(orders) is None
        assert bed.server.replicas(orders) == 5


@pytest.fixture
def of_keda(monkeypatch: pytest.MonkeyPatch) -> ScaledObject:
    """A ScaledObject by which each policy counts as read."""
    found = ScaledObject("orders", "so-1", "keda-hpa-orders")
    read = Replica.parse

    def parse(replica: Replica, annotations: Mapping[str, str], of: TargetRef) -> tuple[Policy | None, Any]:
        policy, problems = read(replica, annotations, of)
        return policy and replace(policy, scaled_object=found), problems

    monkeypatch.setattr(Replica, "parse", parse)
    return found


def test_the_hpa_that_keda_left_goes_first(of_keda: ScaledObject) -> None:
    """It follows cpu and keeps its old bounds without KEDA: until it is gone nothing between 1 and N is moved by us."""

    @virtual
    async def go() -> None:
        bed = Bed(hpa=False, records_per_second=0)
        orders = bed.deploy(handoff="direct", cooldown_period="600")
        bed.server.add_hpa(of_keda.hpa_name, orders, max_replicas=3, owner_uid=of_keda.uid)
        bed.server.inject("hpa.remove", unreachable(), times=3)
        async with bed:
            bed.kafka.produce("orders", 0, 60)
            await bed.until(20)
            assert bed.server.hpas
            assert bed.server.replicas(orders) == 1
            await bed.until(100)
            assert not bed.server.hpas
            assert bed.server.replicas(orders) == 5

    go()


@pytest.mark.parametrize("seconds", [20, 100], ids=["awake", "asleep"])
def test_the_hpa_that_keda_makes_again_is_a_rival(of_keda: ScaledObject, seconds: int) -> None:
    """A KEDA that still watches the namespace has its way once the HPA is back: no loop of deleting and making."""

    @virtual
    async def go() -> None:
        bed = Bed(hpa=False, records_per_second=0)
        orders = bed.deploy(handoff="direct", cooldown_period="60")
        bed.server.add_hpa(of_keda.hpa_name, orders, owner_uid=of_keda.uid)
        async with bed:
            await bed.until(seconds)
            assert not bed.server.hpas
            bed.server.add_hpa(of_keda.hpa_name, orders, owner_uid=of_keda.uid)
            await bed.until(300)
            assert len(bed.server.hpas) == 1
            assert bed.server.replicas(orders) == 1
            assert bed.recorder.evaluations[-1].decision.reason is Reason.RIVAL
            bed.server.delete_hpa("shop", of_keda.hpa_name)
            await bed.until(500)
            assert bed.server.replicas(orders) == 0

    go()


@virtual
async def test_back_to_an_hpa_we_keep_our_hands_off() -> None:
    """Changed to hpa, one is made and nothing between 1 and N is moved by us any more."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(handoff="direct", cooldown_period="600")
    async with bed:
        await bed.until(10)
        bed.server.annotate(orders, {"wakegate.dev/handoff": "hpa"})
        await bed.until(11)
        assert bed.server.hpa_of(orders) is not None
        bed.kafka.produce("orders", 0, 60)
        await bed.until(100)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_auto_is_settled_by_whose_the_metrics_api_is_and_kept() -> None:
    """Not known yet: nobody moves it. Then as it is found, kept over a restart where it is unknown again."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(cooldown_period="600")
    settle(bed, None)
    async with bed:
        bed.kafka.produce("orders", 0, 60)
        await bed.until(40)
        assert (bed.server.replicas(orders), bed.server.hpa_of(orders)) == (1, None)
        settle(bed, Handover.DIRECT)
        await bed.until(80)
        assert (bed.server.replicas(orders), bed.server.hpa_of(orders)) == (5, None)
        await bed.until(120)
        assert bed.server.scale_targets[orders][1].handoff is Handover.DIRECT
        settle(bed, None)
        await bed.until(200)
        assert (bed.server.replicas(orders), bed.server.hpa_of(orders)) == (5, None)


@pytest.mark.parametrize(
    ("row", "asked", "auto", "kept", "settled"),
    [
        ("the annotation wins", Handover.DIRECT, Handover.HPA, Handover.HPA, Handover.DIRECT),
        ("and the other way round", Handover.HPA, Handover.DIRECT, Handover.DIRECT, Handover.HPA),
        ("auto follows the reference", Handover.AUTO, Handover.DIRECT, Handover.HPA, Handover.DIRECT),
        ("unknown: what was settled stays", Handover.AUTO, None, Handover.DIRECT, Handover.DIRECT),
        ("never known: not settled", Handover.AUTO, None, None, None),
    ],
)
def test_settling(
    row: str, asked: Handover, auto: Handover | None, kept: Handover | None, settled: Handover | None
) -> None:
    """Who moves 1..N: the policy's word, else the cluster's, else what was settled before."""
    bed = Bed(hpa=False)

    @virtual
    async def check() -> None:
        bed.deploy(handoff=str(asked))
        async with bed:
            await bed.until(0.5)
            target = bed.replica.activator.targets[ref()]
            target.handoff = kept
            target.settle_handoff(auto)
            assert target.handoff is settled, row

    check()


@virtual
async def test_conflicts_on_the_way() -> None:
    """A status that moved on is no reason to decide again; a count that somebody else moved is."""
    bed = Bed(hpa=False, records_per_second=0)
    bed.deploy(handoff="direct", cooldown_period="600")
    async with bed:
        await bed.until(10)
        bed.server.inject("scale.set", conflict(), times=2)
        bed.kafka.produce("orders", 0, 25)
        await bed.until(40)
        applied = bed.recorder.applied
        assert [e.decision.replicas for e in applied] == [3]
        assert applied[0].applied is not None
        assert applied[0].applied.attempts == 3
        bed.server.inject("scale.set", unreachable())
        bed.kafka.produce("orders", 0, 25)
        await bed.until(60)
        outcomes = [e.outcome for e in bed.recorder.evaluations if e.decision.replicas == 5]
        assert outcomes[:2] == [Outcome.FAILED, Outcome.APPLIED]


@virtual
async def test_who_does_not_lead_moves_nothing_between_one_and_n() -> None:
    """Of two replicas the leader alone moves 1..N; both may wake."""
    bed = Bed(hpa=False, records_per_second=0, replicas=2)
    orders = bed.deploy(handoff="direct", cooldown_period="600")
    async with bed:
        await bed.until(10)
        bed.kafka.produce("orders", 0, 45)
        await bed.until(60)
        assert bed.server.replicas(orders) == 5
        leader = bed.server.lease_holder
        assert {request.by for request in bed.server.sent("scale.set", orders)} == {leader}


@virtual
async def test_an_unreadable_source_holds_the_count() -> None:
    """With a partition unreadable, and then the whole cluster, five stay five beyond window and cooldown."""
    bed = Bed(hpa=False, records_per_second=2)
    orders = bed.deploy(handoff="direct", cooldown_period="60", behavior=FAST_DOWN)
    async with bed:
        await bed.until(10)
        for partition in range(5):
            bed.kafka.produce("orders", partition, 60)
        await bed.until(30)
        assert bed.server.replicas(orders) == 5
        bed.kafka.fail_partition("orders", 3, "LEADER_NOT_AVAILABLE")
        await bed.until(300)
        bed.kafka.stop()
        await bed.until(600)
        assert bed.server.replicas(orders) == 5
        bed.kafka.heal()
        await asyncio.sleep(150)
        assert bed.server.replicas(orders) == 0
