"""Which faults struck in which phases, and which reasons were given: what a set of seeds has not seen is not tested."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.core.model import Reason
from tests.world.faults import FAULTS

if TYPE_CHECKING:
    from tests.world.run import Result


NOT_HERE: dict[Reason, str] = {
    Reason.INVARIANT_VIOLATED: "a defect of ours: the oracle takes it for a violation",
    Reason.SCHEDULE: "only ScaledObjects have windows",
    Reason.FORCED: "only ScaledObjects have it",
    Reason.SCALE_IN_PAUSED: "only ScaledObjects have it",
    Reason.SCALE_OUT_PAUSED: "only ScaledObjects have it",
}
"""Reasons that no target of these worlds can be given: all of them are annotated workloads."""


@dataclass
class Coverage:
    """What a set of runs has seen."""

    strikes: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one run."""
        self.strikes.update(result.strikes)
        self.reasons.update(result.reasons)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every pair that there is."""
        return [(fault.name, str(phase)) for fault in FAULTS.values() for phase in sorted(fault.phases)]

    @property
    def unseen(self) -> list[str]:
        """Pairs and reasons that were not seen."""
        pairs = [f"{fault} x {phase}" for fault, phase in self.pairs if not self.strikes[fault, phase]]
        return [*pairs, *(f"reason {reason}" for reason in self.expected if not self.reasons[reason])]

    @property
    def expected(self) -> list[Reason]:
        """Every reason that a world can see."""
        return [reason for reason in Reason if reason not in NOT_HERE]

    def report(self, *, every: bool = False) -> str:
        """Say in a line, or name by name, what was seen."""
        unseen, pairs = self.unseen, self.pairs
        missing = sum(1 for name in unseen if not name.startswith("reason "))
        line = (
            f"{len(FAULTS)} faults, {len(pairs) - missing} of {len(pairs)} fault x phase pairs and "
            f"{len(self.expected) - len(unseen) + missing} of {len(self.expected)} reasons seen"
        )
        shown = [*unseen, *(f"reason {reason}: {why}" for reason, why in NOT_HERE.items())] if every else []
        return "\n".join([line, *(f"  not seen: {name}" for name in shown)])
