"""What may go wrong, as one table: name, whom it concerns, in which phases it may strike, how long it lasts.

`begin` strikes and returns how to end it; None: it was over at once; `nothing`: there was nothing to strike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.world.plan import TargetPlan
    from tests.world.strikes import Hit


class Phase(StrEnum):
    """Where a target is, by the truth."""

    ASLEEP = "asleep"
    WAKING = "waking"
    BUSY = "busy"
    QUIET = "quiet"
    FALLING = "falling-asleep"
    """Between the GET of its scale and the answer of the PATCH that puts it to idle."""


class Scope(StrEnum):
    """Whom a fault disturbs while it lasts."""

    TARGET = "target"
    CLUSTER = "cluster"
    ALL = "all"
    LEASE = "lease"
    """Every target; but nobody needs the Lease to wake one."""
    NOBODY = "nobody"
    """It is no excuse for anything."""


End = Callable[[], None]
ANY = frozenset(Phase)
AWAKE = frozenset({Phase.WAKING, Phase.BUSY, Phase.QUIET})
FALLING_ASLEEP = frozenset({Phase.FALLING})
EMPTY_GROUP = frozenset({Phase.ASLEEP, Phase.WAKING})
"""Only then will Kafka change a group's offsets for an operator."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row."""

    name: str
    family: str
    scope: Scope
    phases: frozenset[Phase]
    lasts: tuple[float, float]
    """Seconds, at least and at most."""
    begin: Callable[[Hit], End | None]
    text: str
    aimed_at: Callable[[TargetPlan], bool] | None = None
    """Of which targets it makes a situation that chance makes too seldom: drawn from a stream of its own."""
    fits: Callable[[TargetPlan], bool] | None = None
    """Which targets it can strike at all; None: any."""


FAULTS: dict[str, Fault] = {}


def nothing() -> None:
    """End a strike that found nothing to strike: it does not count as one."""


def anyone(_: TargetPlan) -> bool:
    """Aim at any target."""
    return True


def fault(
    family: str,
    scope: Scope,
    phases: frozenset[Phase] = ANY,
    lasts: tuple[float, float] = (0.0, 0.0),
    aimed_at: Callable[[TargetPlan], bool] | None = None,
    fits: Callable[[TargetPlan], bool] | None = None,
) -> Callable[[Callable[[Hit], End | None]], Callable[[Hit], End | None]]:
    """Add a fault to the table: its name is the function's, with hyphens, and its text the docstring."""

    def add(begin: Callable[[Hit], End | None]) -> Callable[[Hit], End | None]:
        name = begin.__name__.strip("_").replace("_", "-")
        text = (begin.__doc__ or "").strip()
        FAULTS[name] = Fault(name, family, scope, phases, lasts, begin, text, aimed_at, fits)
        return begin

    return add
