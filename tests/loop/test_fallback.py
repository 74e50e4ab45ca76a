"""The fallback from any state: what a broker that is away for long makes of a target, and its return of that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Fallback, FallbackBehavior, Policy, Reason, TargetRef
from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.bed import Bed, Replica
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.errors import SpecError

AWAY_AT, BACK_AT = 100, 400
AFTER_SECONDS = 60
HPA_SYNCS_SECONDS = 45
"""In which the fake HPA has read the metric twice, which is all it takes it."""
STATIC, CURRENT = FallbackBehavior.STATIC, FallbackBehavior.CURRENT
IF_HIGHER, IF_LOWER = FallbackBehavior.CURRENT_IF_HIGHER, FallbackBehavior.CURRENT_IF_LOWER


@dataclass(frozen=True)
class Row:
    """A target of 1..5 that falls back to 3 (one replica carries ten records), and the counts that it has."""

    replicas: int
    """When the broker goes away."""
    during: int
    after: int
    """In the end, the broker being back."""
    behavior: FallbackBehavior = IF_HIGHER
    """Annotated targets have IF_HIGHER, ScaledObjects STATIC where they say nothing."""
    lag: int = 0
    """Nobody works it off, so that the count stays what it asks for."""
    ready: bool = True
    """Its Pods are."""
    at_start: bool = False
    """The broker is away already when wakegate starts, and so has never been read."""
    handoff: str = "hpa"


ROWS = {
    "asleep": Row(0, 3, 0),
    "asleep, static": Row(0, 3, 0, STATIC),
    # KEDA counts a trigger in fallback as active: at least the minimum, however few there are.
    "asleep, as many as there are": Row(0, 1, 0, CURRENT),
    "asleep, no more than there are": Row(0, 1, 0, IF_LOWER),
    "asleep, without an HPA": Row(0, 3, 0, handoff="direct"),
    "in the middle of a wake": Row(1, 3, 1, lag=1, ready=False),
    "in the middle of a wake, static": Row(1, 3, 1, STATIC, lag=1, ready=False),
    "in the middle of a wake, without an HPA": Row(1, 3, 1, lag=1, ready=False, handoff="direct"),
    "awake below it": Row(2, 3, 2, lag=15),
    "awake below it, static": Row(2, 3, 2, STATIC, lag=15),
    "awake below it, as many as there are": Row(2, 2, 2, CURRENT, lag=15),
    "awake below it, no more than there are": Row(2, 2, 2, IF_LOWER, lag=15),
    "awake below it, without an HPA": Row(2, 3, 2, lag=15, handoff="direct"),
    "awake above it": Row(5, 5, 5, lag=50),
    "awake above it, static: KEDA's lowers it": Row(5, 3, 5, STATIC, lag=50),
    "awake above it, as many as there are": Row(5, 5, 5, CURRENT, lag=50),
    "awake above it, no more than the fallback": Row(5, 3, 5, IF_LOWER, lag=50),
    "awake above it, without an HPA": Row(5, 5, 5, lag=50, handoff="direct"),
    "at zero and away at the start": Row(0, 3, 0, at_start=True),
    "at zero and away at the start, static": Row(0, 3, 0, STATIC, at_start=True),
    "at zero and away at the start, without an HPA": Row(0, 3, 0, at_start=True, handoff="direct"),
    "awake below it and away at the start": Row(1, 3, 0, at_start=True),
    "awake above it and away at the start": Row(4, 4, 0, at_start=True),
    "awake above it and away at the start, static": Row(4, 3, 0, STATIC, at_start=True),
    "awake above it and away at the start, without an HPA": Row(4, 4, 0, at_start=True, handoff="direct"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_from_any_state_and_back(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held until the fallback is due, then lifted to it and never below what KEDA's behavior leaves, and back."""
    read = Replica.parse

    def parse(
        replica: Replica, annotations: Mapping[str, str], ref: TargetRef
    ) -> tuple[Policy | None, tuple[SpecError, ...]]:
        policy, problems = read(replica, annotations, ref)
        assert policy is not None
        assert isinstance(policy.fallback, Fallback)
        return replace(policy, fallback=replace(policy.fallback, behavior=row.behavior)), problems

    monkeypatch.setattr(Replica, "parse", parse)
    play(row)


@virtual
async def play(row: Row) -> None:
    """Bring a target into the row's state, take the broker away and give it back."""
    bed = Bed(records_per_second=0)
    orders = bed.deploy(
        replicas=row.replicas if row.at_start else 1,
        handoff=row.handoff,
        fallback_replicas="3",
        fallback_after=f"{AFTER_SECONDS}s",
        cooldown_period="30",
        polling_interval="5",
        max_replica_count="5",
        behavior="{scaleDown: {stabilizationWindowSeconds: 0}}",
    )
    if row.at_start:
        bed.kafka.stop()
    away_at = 0 if row.at_start else AWAY_AT
    async with bed:
        if not row.at_start:
            await bed.until(60)
            assert bed.server.replicas(orders) == 0
            bed.server.pods_become_ready = row.ready
            for partition in range(5 if row.lag > 1 else row.lag):
                bed.kafka.produce("orders", partition, max(1, row.lag // 5))
            await bed.until(AWAY_AT)
            bed.kafka.stop()
        await bed.until(away_at + AFTER_SECONDS - 5)
        assert bed.server.replicas(orders) == row.replicas, "held until it is due"
        await bed.until(away_at + AFTER_SECONDS + 5 + HPA_SYNCS_SECONDS)
        assert bed.server.replicas(orders) == row.during
        assert bed.recorder.evaluations_of(orders)[-1].decision.reason is Reason.FALLBACK
        await bed.until(BACK_AT)
        assert bed.server.replicas(orders) == row.during, "and held there"
        bed.kafka.heal()
        await bed.until(BACK_AT + 150)
        assert bed.server.replicas(orders) == row.after
        assert bed.recorder.evaluations_of(orders)[-1].decision.reason is not Reason.FALLBACK


@virtual
async def test_a_short_outage_is_no_fallback() -> None:
    """A broker that is back before it is due leaves nothing behind, and the next outage begins to count anew."""
    bed = Bed(hpa=False)
    orders = bed.deploy(
        fallback_replicas="3", fallback_after=f"{AFTER_SECONDS}s", cooldown_period="30", polling_interval="5"
    )
    async with bed:
        await bed.until(60)
        for begins in (100, 165):
            await bed.until(begins)
            bed.kafka.stop()
            await bed.until(begins + 50)
            bed.kafka.heal()
        await bed.until(300)
        assert bed.server.replicas(orders) == 0
    assert all(e.decision.reason is not Reason.FALLBACK for e in bed.recorder.evaluations_of(orders))


@virtual
@pytest.mark.parametrize("handoff", ["hpa", "direct"])
async def test_a_threshold_that_changes_while_it_falls_back_lifts_it_past_no_partition(handoff: str) -> None:
    """How many partitions there are was read before the outage, under another threshold: they are no more since."""
    bed = Bed()
    orders = bed.deploy(
        partitions=2,
        handoff=handoff,
        fallback_replicas="3",
        fallback_after="30s",
        cooldown_period="20",
        polling_interval="5",
    )
    async with bed:
        await bed.until(60)
        bed.kafka.stop()
        await bed.until(75)
        bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}lag-threshold": "7"})
        await bed.until(160)
        assert bed.recorder.evaluations_of(orders)[-1].decision.reason in {Reason.FALLBACK, Reason.PARTITION_CAP}
        assert bed.server.replicas(orders) == 2
