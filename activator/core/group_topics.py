"""A trigger that names no topic: its topics are those of its group's commits, each a trigger of its own.

Commits expire while a group sleeps, may be made only after a first record, and a broker leaves out those on topics that
we may not describe. So they are not all that is believed:

- While the group is Stable, what its members consume counts too. A topic that we may not describe is unreadable then,
  by its name, and holds the target awake.
- A topic goes only while it is awake and the group Stable, with no commit there and no member that consumes it.
- While it sleeps, topics are only added: whoever commits for it on another topic wants that one read too.
- A group of which nothing of all that is known has no topic yet. Its lag is not zero but unknown: the trigger as it was
  written stays in the policy, and cannot be read.
- A topic that does not exist counts for nothing, however many commits name it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.model import GroupState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Policy, Trigger, TriggerOffsets

MISSING_BELIEVED_AFTER = timedelta(seconds=30)
"""A broker that has just started may not know of a topic for a moment."""


def names_no_topic(trigger: Trigger) -> bool:
    """Tell whether this is a trigger as it was written, whose topics are still to be found."""
    return trigger.topics_of_group and not trigger.topic


def expanded(policy: Policy, topics: Mapping[Trigger, frozenset[str]]) -> Policy:
    """Return the policy with a trigger for each topic that is known of one that names none."""
    if not any(topics.values()):
        return policy
    triggers = (
        each
        for trigger in policy.triggers
        for each in ([replace(trigger, topic=topic) for topic in sorted(topics.get(trigger, ()))] or [trigger])
    )
    return replace(policy, triggers=tuple(triggers))


def follow(known: frozenset[str], reading: TriggerOffsets, *, asleep: bool) -> frozenset[str]:
    """Return the topics that count after another look at the group.

    Args:
        known: those that counted before it.
        reading: of the trigger as it was written.
        asleep: the target is at its idle count.
    """
    committed = reading.topics or frozenset()
    if asleep or reading.group_state is not GroupState.STABLE or reading.consumed is None:
        return known | committed
    return committed | reading.consumed
