"""Workloads that go while they are being looked at: what was under way then must not come out after them."""

from __future__ import annotations

import pytest

from activator.core.model import Outcome
from tests.fakes.bed import Bed, orders
from tests.virtual_time import virtual

SLEEPS_AT_SECONDS = 20.0
"""The look that puts it to sleep begins here, and takes some fifteen milliseconds."""
MOMENTS = [number / 1000 for number in range(0, 24, 2)]


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
        bed.server.annotate(target, dict.fromkeys(bed.server.workloads[target].annotations))
        await bed.until(SLEEPS_AT_SECONDS + 10)
        assert bed.server.replicas(target) == 1
        assert bed.server.hpa_of(target) is None
        assert target not in bed.server.scale_targets
        assert bed.replica.tail.joined == {}
        put_to_zero = [r for r in bed.server.sent("scale.set", target) if r.replicas == 0 and not r.error]
        told = [e for e in bed.recorder.evaluations if e.decision.replicas == 0 and e.outcome is Outcome.APPLIED]
        assert len(told) == len(put_to_zero)
