"""Where groups stand on parts of a topic (`partitionLimitation`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.bed import Bed
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from activator.core.model import TargetRef

POLICIES = pytest.mark.parametrize("policy", ["latest", "earliest"])


def limited_to(*limitations: str, policy: str) -> dict[str, str]:
    """Return the annotations of a target with a trigger for each part of the topic `orders`."""
    trigger = (
        "- type: kafka\n  metadata:\n    topic: orders\n    consumerGroup: orders\n"
        "    bootstrapServers: kafka:9092\n    partitionLimitation: '{}'\n    offsetResetPolicy: {}\n"
    )
    return {
        f"{ANNOTATION_PREFIX}triggers": "".join(trigger.format(limitation, policy) for limitation in limitations),
        f"{ANNOTATION_PREFIX}cooldown-period": "20",
        f"{ANNOTATION_PREFIX}polling-interval": "30",
    }


def deployed(bed: Bed, *limitations: str, policy: str) -> TargetRef:
    """Deploy a target on parts of a topic of four partitions."""
    orders = bed.deploy(partitions=4, offset_reset_policy=policy)
    annotations = limited_to(*limitations, policy=policy)
    bed.server.workloads[orders] = replace(bed.server.workloads[orders], annotations=annotations)
    return orders


@POLICIES
@pytest.mark.parametrize(
    ("before", "after"),
    [(["0-3"], ["0-1"]), (["0-3"], ["0-1", "2-3"]), (["0-1", "2-3"], ["0-3"])],
    ids=["narrower", "split", "joined"],
)
@virtual
async def test_another_limitation_makes_no_other_topic(before: list[str], after: list[str], policy: str) -> None:
    """Its offsets have expired when the partitions to count are changed: none of the ten records is read again."""
    bed = Bed(hpa=False)
    orders = deployed(bed, *before, policy=policy)
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(60)
        assert (bed.server.replicas(orders), bed.consumed) == (0, {"orders": 10})
        bed.kafka.expire("orders")
        bed.server.annotate(orders, limited_to(*after, policy=policy))
        await bed.until(100)
        bed.kafka.produce("orders", 0, 1)
        await bed.until(130)
        assert bed.consumed == {"orders": 11}


@POLICIES
@pytest.mark.parametrize("partition", [0, 3])
@virtual
async def test_of_two_triggers_on_parts_of_one_topic_both_are_kept(partition: int, policy: str) -> None:
    """The next process knows where the group stands on every partition, whichever trigger counts it."""
    bed = Bed(hpa=False)
    orders = deployed(bed, "0-1", "2-3", policy=policy)
    async with bed:
        bed.kafka.produce("orders", partition, 10)
        await bed.until(60)
        assert (bed.server.replicas(orders), bed.consumed) == (0, {"orders": 10})
        await bed.replica.kill()
        bed.kafka.expire("orders")
        bed.start_next()
        await bed.until(120)
        bed.kafka.produce("orders", partition, 1)
        await bed.until(150)
        assert bed.consumed == {"orders": 11}


@POLICIES
@virtual
async def test_narrowed_while_nobody_looked_it_is_no_other_topic(policy: str) -> None:
    """What the next process finds kept is of more partitions than it reads."""
    bed = Bed(hpa=False)
    orders = deployed(bed, "0-3", policy=policy)
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(60)
        assert (bed.server.replicas(orders), bed.consumed) == (0, {"orders": 10})
        await bed.replica.kill()
        bed.kafka.expire("orders")
        bed.server.annotate(orders, limited_to("0-1", policy=policy))
        bed.start_next()
        await bed.until(120)
        bed.kafka.produce("orders", 0, 1)
        await bed.until(150)
        assert bed.consumed == {"orders": 11}
