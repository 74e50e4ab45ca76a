"""What the steps of a decision hand on, one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.model import GroupState, Memory, Observation, Policy, Reason, Step

if TYPE_CHECKING:
    from datetime import datetime

    from activator.core.behavior import Answer

FOLLOW_TRIGGERS = "follow triggers"
FALL_BACK = "fall back"
REBALANCING = frozenset(
    {
        GroupState.PREPARING_REBALANCE,
        GroupState.COMPLETING_REBALANCE,
        GroupState.ASSIGNING,
        GroupState.RECONCILING,
    }
)
"""Nobody can be reading just now."""


@dataclass(slots=True)
class Draft:
    """What the steps hand on, one to the next: nobody else holds it, so that `say` need not copy it."""

    policy: Policy
    seen: Observation
    memory: Memory
    now: datetime
    replicas: int
    active: bool = False
    steps: tuple[Step, ...] = ()
    wake_at: datetime | None = None
    """A moment at which a step's answer changes by itself."""
    smoothed: Answer | None = None
    """What an HPA would set, where it is us who move 1..N."""

    def hold(self, name: str, reason: Reason, text: str, *, least: int = 0) -> Draft:
        """Keep it from idle: at the count that is there, or where an HPA would move that count meanwhile."""
        held = self.say(name, max(least, self.seen.replicas), reason, text)
        smoothed = self.smoothed
        if smoothed is None or max(least, smoothed.replicas) == held.replicas:
            return held
        return held.say("smooth", max(least, smoothed.replicas), smoothed.reason, smoothed.text)

    def look_at(self, moment: datetime | None) -> Draft:
        """Ask for a look at a moment, where no earlier one is asked for."""
        if moment is not None and (self.wake_at is None or moment < self.wake_at):
            self.wake_at = moment
        return self

    def say(self, name: str, replicas: int, reason: Reason, text: str) -> Draft:
        """Set the count, and why."""
        self.replicas, self.steps = replicas, (*self.steps, Step(name, replicas, reason, text))
        return self

    def cause(self) -> Step:
        """Return the step that wakes it: how far it is woken is no reason for waking."""
        return [step for step in self.steps if step.name in {FOLLOW_TRIGGERS, FALL_BACK}][-1]


def readable(draft: Draft) -> bool:
    """Tell whether all of the lag is known."""
    return all(lag.complete for lag in draft.seen.lags)


def held(draft: Draft) -> int:
    """Return the count below which no cap may go: what is there, where not all of the lag is known."""
    return 0 if readable(draft) else draft.seen.replicas
