"""Lag that nobody will ever work off: the group has members, and none of them consumes the topic.

Its commits stand, its lag stays, and what it asks for is never seen to: the workload is awake for ever, or has more
replicas than it needs. That is told and never acted on: a consumer that comes back would find its records lost.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from activator.core.kept_offsets import WITHOUT_MEMBERS
from activator.core.model import GroupState

if TYPE_CHECKING:
    from datetime import datetime

    from activator.core.model import Lag, Trigger, TriggerOffsets

TOLD_AFTER = timedelta(minutes=5)
"""A consumer that subscribes by pattern finds a topic no later (`metadata.max.age.ms`)."""
_TOPICS_SHOWN = 3


class NotConsumed(NamedTuple):
    """A topic with lag that no member of the group consumes, although the group has members."""

    since: datetime
    """Of the first of the readings that agree on it."""
    consumed: frozenset[str]
    """What they do consume."""


def follow(before: NotConsumed | None, trigger: Trigger, reading: TriggerOffsets, lag: Lag) -> NotConsumed | None:
    """Carry over to another reading whether a topic is consumed by none of its group's members.

    What cannot be told just now, in the midst of a rebalance for one, leaves what was known.
    """
    in_the_way = lag.known > 0 or lag.uncommitted
    if not in_the_way or reading.group_state in WITHOUT_MEMBERS:
        return None
    if reading.group_state is not GroupState.STABLE or reading.consumed is None:
        return before
    if trigger.topic in reading.consumed:
        return None
    return NotConsumed(before.since if before is not None else reading.read_at, reading.consumed)


def describe(trigger: Trigger, found: NotConsumed) -> str:
    """Say what stands in the way and what to do, without a figure that changes from one look to the next."""
    names = sorted(found.consumed)
    more = f" and {len(names) - _TOPICS_SHOWN} more" if len(names) > _TOPICS_SHOWN else ""
    consumed = f"they consume {', '.join(names[:_TOPICS_SHOWN])}{more}" if names else "they consume no topic"
    return (
        f"no member of consumer group {trigger.group} is subscribed to topic {trigger.topic} or assigned any of its"
        f" partitions ({consumed}): its lag stays, and with it the replicas that it asks for. Consume it, or name in"
        " the trigger only what is consumed; offsets that are not needed any more are deleted by"
        f" kafka-consumer-groups.sh --bootstrap-server {trigger.cluster.bootstrap_servers} --group {trigger.group}"
        f" --topic {trigger.topic} --delete-offsets"
    )
