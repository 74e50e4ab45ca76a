"""Whoever else writes counts: other autoscalers, HPAs, owners, GitOps tools, another replica of ours."""

from __future__ import annotations

from datetime import timedelta

import pytest

from activator.core.model import Outcome, Reason
from activator.core.naming import ANNOTATION_PREFIX, FIELD_MANAGER
from tests.fakes.api_server import conflict
from tests.fakes.bed import Bed
from tests.virtual_time import virtual


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
        bed.server.unannotate(orders)
        await bed.until(120)
        assert bed.server.replicas(orders) == 0


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
