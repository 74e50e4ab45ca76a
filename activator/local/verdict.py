"""What the demo promises, beside what was measured. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WAKE_P50_SECONDS = 0.020
SHARE_OF_ALWAYS_ON = 0.60
"""In a minute that is made of work; a consumer that is quiet at night does far better."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the demo has seen."""

    seconds: float
    wakes_seconds: tuple[float, ...]
    """Of each wake: from the gateway's 202 for the record to the replica being asked for."""
    produced: int
    consumed: int
    """Records that were done at least once."""
    twice: int
    """Records that were done more than once."""
    most_replicas: int
    replicas_at_the_end: int
    replica_seconds: float
    interrupted: str = ""
    """Why the story was not told to its end; empty: it was."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise."""

    name: str
    target: str
    measured: str
    kept: bool


def judge(measured: Measured, *, most: int) -> tuple[Check, ...]:
    """Hold what was measured against what is promised; `most`: the replicas that the rush should have reached."""
    p50 = statistics.median(measured.wakes_seconds) if measured.wakes_seconds else None
    always_on = most * measured.seconds
    share = measured.replica_seconds / always_on if always_on else 1.0
    twice = f", {measured.twice} of them twice" if measured.twice else ", none twice"
    return (
        Check(
            "wake p50, 202 -> scaled to 1",
            f"<= {WAKE_P50_SECONDS * 1000:.0f} ms",
            "no wake was seen" if p50 is None else f"{p50 * 1000:.1f} ms ({_milliseconds(measured.wakes_seconds)})",
            p50 is not None and p50 <= WAKE_P50_SECONDS,
        ),
        Check(
            "records produced = consumed",
            str(measured.produced),
            f"{measured.consumed}{twice}",
            measured.produced == measured.consumed,
        ),
        Check("most replicas", str(most), str(measured.most_replicas), measured.most_replicas == most),
        Check("replicas at the end", "0", str(measured.replicas_at_the_end), measured.replicas_at_the_end == 0),
        Check(
            f"replica-seconds, of {most} always on",
            f"<= {SHARE_OF_ALWAYS_ON:.0%}",
            f"{share:.0%} ({measured.replica_seconds:.0f} of {always_on:.0f})",
            share <= SHARE_OF_ALWAYS_ON,
        ),
    )


def headline(checks: Sequence[Check], measured: Measured) -> str:
    """Return the verdict in one line."""
    missed = [check.name.partition(",")[0] for check in checks if not check.kept]
    told = f"0 -> {measured.most_replicas} -> {measured.replicas_at_the_end} in {measured.seconds:.0f} s"
    if measured.interrupted:
        return f"MISS: {measured.interrupted}"
    return f"MISS: {'; '.join(missed)} ({told})" if missed else f"PASS: {told}, every promise kept"


def _milliseconds(seconds: Sequence[float]) -> str:
    return ", ".join(f"{value * 1000:.1f}" for value in seconds)
