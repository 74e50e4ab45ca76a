"""When a target is looked at again, where the decision's own moment is not the last word."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.decide import HPA_SYNC_PERIOD
from activator.core.model import Handover

if TYPE_CHECKING:
    from datetime import datetime

    from activator.loop.target import Target

FIRST_BACK_OFF = timedelta(milliseconds=250)
LONGEST_BACK_OFF = timedelta(seconds=5)
"""A failed act is tried again no later than this, so that everything is normal 10 s after a dependency is back."""
CLOSE_LOOKS = ((timedelta(seconds=30), timedelta(seconds=1)), (timedelta(minutes=10), timedelta(seconds=5)))
"""While a wake has no commit yet: for how long after it, and how often, its target is looked at."""
COMPANY = 0.2
"""By which share of its interval a regular look may come sooner, in company."""
AHEAD, LONGEST_AHEAD = 0.02, timedelta(milliseconds=100)
"""By which share of its interval, and at most by how much, a regular look is begun sooner: it is due when it decides,
and reading comes before."""
NON_LEADER_LOOK = timedelta(seconds=15)


def after_a_failure(target: Target, *, leads: bool, retry_after: timedelta | None) -> timedelta:
    """Say how long to wait after a failure, or a change of mind: little, then more and more."""
    wait: timedelta = min(FIRST_BACK_OFF * 2 ** min(target.failures - 1, 10), LONGEST_BACK_OFF)
    if not leads and retry_after is None and not target.asleep:
        wait = min(target.policy.polling_interval, NON_LEADER_LOOK)  # the leader acts, the catalog tells us
    return max(wait, retry_after or wait)


def while_a_wake_is_fresh(target: Target, at: datetime, now: datetime) -> datetime:
    """Look more often while a wake has no commit yet: the HPA needs a fresh lag, and a person an answer."""
    if target.episode is None or target.episode.kind != "wake":
        return at
    often = next((often for longest, often in CLOSE_LOOKS if now - target.episode.changed_at < longest), None)
    return min(at, now + often) if often is not None else at


def sooner(target: Target, at: datetime, now: datetime) -> tuple[datetime, datetime | None]:
    """Say when a look that is due at `at` is begun, and from when on it may come together with others.

    None: not in company. Only regular looks come sooner: a cooldown's end, say, is a moment of its own, and where we
    move 1..N ourselves looks keep the HPA's rhythm.
    """
    if not target.asleep and target.handoff is Handover.DIRECT:
        return at, None
    polling = target.policy.polling_interval
    regular = polling if target.asleep else min(polling, HPA_SYNC_PERIOD)
    if at - now < regular:
        return at, None
    return at - min(regular * AHEAD, LONGEST_AHEAD), at - regular * COMPANY
