"""Named sets of defaults, one for each way in which load comes: what an annotated workload leaves out is taken there.

Whatever is annotated beside the profile wins. The reference in `docs/annotations.md` is made from this table.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Profile(StrEnum):
    """A way in which load comes."""

    FAST = "fast"
    STEADY = "steady"
    PEAKS = "peaks"
    BOOTSTRAP = "bootstrap"
    CONSTANT = "constant"


MEANINGS: Mapping[Profile, str] = {
    Profile.FAST: "Low inertia: it follows every change at once, and sleeps as soon as it is quiet.",
    Profile.STEADY: "High inertia: replicas that are slow to start, or dear to move, stay through short changes.",
    Profile.PEAKS: "Known peak hours: a base for the average, room above it, and no sleep inside a peak.",
    Profile.BOOTSTRAP: "An initial load: a backlog is worked off by many at once, and then it is over.",
    Profile.CONSTANT: "Load that never ends: it never sleeps, and only 1..N is managed.",
}


class ProfileDefault(NamedTuple):
    """What one annotation defaults to under a profile."""

    annotation: str
    """Without the prefix."""
    value: str
    """As a user would write it."""
    why: str


def _behavior(up_seconds: int, down_seconds: int) -> str:
    up, down = (f"{{stabilizationWindowSeconds: {seconds}}}" for seconds in (up_seconds, down_seconds))
    return f"{{scaleUp: {up}, scaleDown: {down}}}"


_HIGH = ProfileDefault(
    "max-replica-count", "100", "High: the number of partitions is what bounds it, and that cap is applied anyway."
)

PROFILES: Mapping[Profile, tuple[ProfileDefault, ...]] = {
    Profile.FAST: (
        ProfileDefault("polling-interval", "5", "Low: lag that no push tells of is seen within 5 s."),
        ProfileDefault(
            "cooldown-period", "30", "Minimal: below it, the time in which a group settles looks like quiet."
        ),
        ProfileDefault("min-replica-count", "1", "Low: the HPA adds the others within 15 s."),
        _HIGH,
        ProfileDefault("behavior", _behavior(0, 30), "Low: up at once, down after two looks of the HPA that agree."),
    ),
    Profile.STEADY: (
        ProfileDefault("polling-interval", "60", "Raised: what moves slowly need not be looked at often."),
        ProfileDefault("cooldown-period", "900", "High: a quarter of an hour without a record is an end, not a gap."),
        ProfileDefault("min-replica-count", "2", "High: one goes on while the other is drained or updated."),
        ProfileDefault("max-replica-count", "20", "Moderate: a surge is worked off over time, not by a crowd."),
        ProfileDefault(
            "behavior", _behavior(120, 600), "Raised: lag must last two minutes to add, and be gone for ten to remove."
        ),
    ),
    Profile.PEAKS: (
        ProfileDefault("polling-interval", "30", "Moderate: the same as without a profile."),
        ProfileDefault("cooldown-period", "300", "Moderate: gaps within a peak are shorter than five minutes."),
        ProfileDefault(
            "min-replica-count", "2", "To be fitted to your average load, which nobody else knows: 2 is a beginning."
        ),
        _HIGH,
        ProfileDefault(
            "behavior", _behavior(30, 600), "Moderate up, so that a spike is no peak; high down, so that a dip is none."
        ),
    ),
    Profile.BOOTSTRAP: (
        ProfileDefault("polling-interval", "5", "Low: the end of the backlog is seen within 5 s."),
        ProfileDefault("cooldown-period", "60", "Low: after the load there is nothing to wait for."),
        ProfileDefault("min-replica-count", "3", "Moderate: the first rebalance spreads the backlog at once."),
        _HIGH,
        ProfileDefault("wake-to", "lag", "The backlog is there before the wake: it wakes to what that asks for."),
        ProfileDefault("behavior", _behavior(0, 60), "Low: up at once, down a minute after the lag has shrunk."),
    ),
    Profile.CONSTANT: (
        ProfileDefault("polling-interval", "45", "Moderately high: while an HPA is at work it is 15 s anyway."),
        ProfileDefault("idle-replica-count", "none", "It never sleeps, and so the cooldown is not relevant."),
        ProfileDefault("min-replica-count", "3", "High: the load goes on when a node, or a zone of three, is lost."),
        ProfileDefault("max-replica-count", "500", "Very high: the number of partitions is what bounds it."),
        ProfileDefault(
            "behavior", _behavior(60, 300), "Moderate: a minute's rise counts, and five minutes must be lower to fall."
        ),
    ),
}
"""By profile, in the order of the reference. Each says both bounds, so that none of them meets a default's."""
