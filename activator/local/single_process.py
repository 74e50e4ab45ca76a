"""Ports that are nothing to think about where one process is all there is: on a laptop, mostly."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from activator.ports import HandoffView

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.model import Policy, ScaledObject, TargetRef, TargetState

_NO_HPA = HandoffView()


class SoleLeader:
    """`ports.Leadership` where nobody else could lead."""

    def remaining(self) -> timedelta:
        """Always enough."""
        return timedelta.max

    def others_led_until(self) -> datetime | None:
        """There are no others."""
        return None


class NoHpa:
    """`ports.Handoff` where there is no HPA: every target's hand-off is `direct`."""

    def look(self, _ref: TargetRef, _scaled_object: ScaledObject | None = None) -> HandoffView:
        """Tell that there is none, ours or another's."""
        return _NO_HPA

    async def ensure(self, ref: TargetRef, uid: str, policy: Policy, partitions: int | None) -> None:
        """Do nothing; the loop does not ask for an HPA where the hand-off is `direct`."""

    async def remove(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> None:
        """Do nothing: none is there."""


class StateInMemory:
    """`ports.StateStore` that keeps nothing beyond the process: the replicas end with it, too."""

    def __init__(self) -> None:
        self._states: dict[TargetRef, TargetState] = {}

    async def load(self) -> Mapping[TargetRef, TargetState]:
        """Return what this process has kept."""
        return dict(self._states)

    async def save(self, ref: TargetRef, _uid: str, state: TargetState) -> None:
        """Keep a target's state."""
        self._states[ref] = state

    async def forget(self, ref: TargetRef) -> None:
        """Drop a target's state."""
        self._states.pop(ref, None)
