"""What came of each fault: a line while it runs, a table and a file at the end."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from testbed.soak.oracle import Violation
    from testbed.soak.plan import Fault, Kind


@dataclass(frozen=True)
class Outcome:
    """One fault that struck.

    Attributes:
        fault: which.
        probe: the sleeping target that a record had to wake.
        slept_seconds: how long that target had been asleep.
        struck_at: when, in seconds since the epoch.
        answered_seconds: from undoing it until what was struck answered.
        woken_seconds: from then (or from the record's acknowledgement, the later) until the target was seen awake.
        normal_seconds: from when what was struck answered until every target with unread records was awake and every
            replica of ours served a reading that was made after it; None: not within the time that is waited.
        load: the machine's load average then: on two cores, ten times as much makes everything ten times as slow.
        violations: what must not have happened.
    """

    fault: Fault
    probe: str
    slept_seconds: float
    struck_at: float
    answered_seconds: float
    woken_seconds: float | None
    normal_seconds: float | None
    load: float
    violations: tuple[Violation, ...] = ()

    def line(self) -> str:
        """One line of progress."""
        normal = "NOT NORMAL" if self.normal_seconds is None else f"normal after {self.normal_seconds:.1f} s"
        woken = "not woken" if self.woken_seconds is None else f"woken after {self.woken_seconds:.1f} s"
        slept = f"{self.probe} (asleep {self.slept_seconds:.0f} s)"
        said = f"#{self.fault.number:<4}{self.fault}: {normal}; {slept} {woken}"
        return "\n".join([f"{said} (load {self.load:.0f})", *(f"     {violation}" for violation in self.violations)])


@dataclass(frozen=True)
class Skip:
    """One fault that does not count.

    Attributes:
        fault: which.
        reason: what there was not to strike, or why nothing can be said of what came of it.
    """

    fault: Fault
    reason: str

    def __str__(self) -> str:
        return f"skipped #{self.fault.number} {self.fault}: {self.reason}"


@dataclass
class Report:
    """One run."""

    seed: int
    outcomes: list[Outcome] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    """Faults that had nothing to strike, or showed nothing."""
    after: list[Violation] = field(default_factory=list)
    """Found once everything had ended."""
    facts: dict[str, object] = field(default_factory=dict)
    unproven: list[str] = field(default_factory=list)
    """What a run must have seen to prove anything, and has not."""
    ended_early: str = ""
    """Which part of the testbed did not come back."""

    @property
    def violations(self) -> list[Violation]:
        """All of them."""
        return [violation for outcome in self.outcomes for violation in outcome.violations] + self.after

    @property
    def passed(self) -> bool:
        """Nothing was found, and enough was seen for that to mean something."""
        return not (self.violations or self.unproven or self.ended_early)

    def table(self) -> str:
        """Faults by kind, with how long it took until all was normal."""
        lines = [f"{'fault':<24}{'times':>6}{'skipped':>9}{'median s':>10}{'worst s':>9}{'violations':>12}"]
        skips = Counter(skip.fault.kind for skip in self.skipped)
        for kind in sorted({outcome.fault.kind for outcome in self.outcomes} | set(skips)):
            of_kind = [outcome for outcome in self.outcomes if outcome.fault.kind == kind]
            lines.append(_row(kind, of_kind, skips[kind]))
        lines.append(_row("all", self.outcomes, skips.total()))
        lines += [f"{name}: {value}" for name, value in self.facts.items()]
        lines += [str(skip) for skip in self.skipped]
        lines += [str(violation) for violation in self.after]
        lines += [f"NOT PROVEN: {text}" for text in self.unproven]
        if self.ended_early:
            lines.append(f"ENDED EARLY: {self.ended_early}")
        lines.append(f"seed {self.seed}: {len(self.outcomes)} faults, {len(self.violations)} violations")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))


def unproven(
    report: Report, kinds: Collection[Kind], sleepers: Iterable[str], sleeps: Mapping[str, Sequence[float]]
) -> list[str]:
    """Name what a run must have seen to prove anything, and has not.

    Args:
        report: what came of each fault.
        kinds: of the plan; once a whole round of them was drawn each of them must have struck.
        sleepers: targets, each of which must have been put to sleep.
        sleeps: by target, the PATCHes to zero that the API server's audit log has.
    """
    found = [] if report.outcomes else ["no fault struck"]
    struck = {outcome.fault.kind for outcome in report.outcomes}
    if len(report.outcomes) + len(report.skipped) >= sum(kind.weight for kind in kinds):
        found += [f"{kind.name} never struck" for kind in kinds if kind.name not in struck]
    return found + [f"{name} was never put to sleep" for name in sleepers if not sleeps.get(name)]


def _row(name: str, outcomes: list[Outcome], skipped: int) -> str:
    seconds = [outcome.normal_seconds for outcome in outcomes if outcome.normal_seconds is not None]
    never = len(outcomes) - len(seconds)
    violations = sum(len(outcome.violations) for outcome in outcomes)
    median = f"{statistics.median(seconds):.1f}" if seconds else "-"
    worst = "never" if never else f"{max(seconds):.1f}" if seconds else "-"
    return f"{name:<24}{len(outcomes):>6}{skipped:>9}{median:>10}{worst:>9}{violations:>12}"
