"""Triggers as a user wrote them: one over several topics is read topic by topic, and counts as one.

Each topic of such a trigger is a `Trigger` of its own with `topics` set: offsets, the tail and the offsets guard are
about a topic. What asks for replicas (lag against a threshold, the HPA's metric, the number of partitions) is about
what one consumer of the group is given, which is of all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.model import Lag
from activator.core.steps.draft import REBALANCING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.core.model import Trigger


def joined(triggers: Sequence[Trigger], lags: Sequence[Lag]) -> list[tuple[Trigger, Lag]]:
    """Return each trigger with its lag, those over several topics as one whose `topic` names them all."""
    if not any(trigger.topics or trigger.topics_of_group for trigger in triggers):
        return list(zip(triggers, lags, strict=True))
    found: dict[Trigger, list[Lag]] = {}
    for trigger, lag in zip(triggers, lags, strict=True):
        found.setdefault(_whole(trigger), []).append(lag)
    return [(trigger, sum_of(parts)) for trigger, parts in found.items()]


def whole_triggers(triggers: Sequence[Trigger]) -> list[Trigger]:
    """Return each trigger as it was written."""
    return list(dict.fromkeys(map(_whole, triggers)))


def sum_of(lags: Sequence[Lag]) -> Lag:
    """Return the lag of one group on several topics; what is not known of one is not known of the whole."""
    if len(lags) == 1:
        return lags[0]
    partitions = [lag.partitions for lag in lags]
    read = [lag.read_at for lag in lags]
    # One read may have met the group in another state than the next: the one that holds a target awake counts.
    states = sorted((lag.group_state for lag in lags), key=lambda state: state not in REBALANCING)
    return Lag(
        known=sum(lag.known for lag in lags),
        complete=all(lag.complete for lag in lags),
        partitions=None if None in partitions else sum(count for count in partitions if count is not None),
        readable=sum(lag.readable for lag in lags),
        partitions_with_lag=sum(lag.partitions_with_lag for lag in lags),
        scalable=sum(lag.scalable for lag in lags),
        arrived=sum(lag.arrived for lag in lags),
        uncommitted=any(lag.uncommitted for lag in lags),
        passed=any(lag.passed for lag in lags),
        problems=tuple(problem for lag in lags for problem in lag.problems),
        read_at=None if None in read else min(moment for moment in read if moment is not None),
        group_state=states[0],
    )


def _whole(trigger: Trigger) -> Trigger:
    if trigger.topics_of_group:  # by the name of none: its metric is the same whichever there are
        return replace(trigger, topic="")
    return replace(trigger, topic=",".join(trigger.topics)) if trigger.topics else trigger
