"""What tests of the offsets guard look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.model import GroupOnTopic, KeptOffsets

if TYPE_CHECKING:
    from activator.core.model import TargetRef
    from tests.fakes.bed import Bed

PLACE = GroupOnTopic("kafka:9092", "orders", "orders")


def commits(bed: Bed, name: str = "orders") -> dict[int, int]:
    """What the group has committed, by partition."""
    return {number: offset for (_, number), offset in sorted(bed.kafka.groups[name].commits.items())}


def told(bed: Bed) -> list[str]:
    """The reasons of the Events outside any decision, but the takeover."""
    return [notice.reason for notice in bed.recorder.notices if notice.reason != "TakenOver"]


def kept(bed: Bed, target: TargetRef) -> KeptOffsets | None:
    """What the target's ScaleTarget has of its group."""
    return bed.server.scale_targets[target][1].kept.get(PLACE)
