"""Evaluations that change nothing, merged: one stretch from the first to the last of a hold.

The loop gives the evaluations of one hold the same span id. A stretch is finished when its target is decided about
under another id, or when no evaluation can continue it any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from activator.core.model import Evaluation, TargetRef

LONGEST = timedelta(minutes=5, seconds=30)
"""The loop ends a hold after five minutes; its last evaluation may be recorded a little after others that are later."""
NONE = timedelta(0)
"""Merges nothing: each evaluation is a stretch of its own."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Evaluations in a row that decided the same."""

    first: Evaluation
    last: Evaluation
    evaluations: int = 1
    continues: bool = False
    """It goes on from a stretch with the same span id that has been finished already."""


class HoldMerger:
    """Merges the evaluations of holds; every evaluation lies in exactly one stretch."""

    def __init__(self, longest: timedelta = LONGEST) -> None:
        self._longest = longest
        self._open: dict[TargetRef, Stretch] = {}
        """In the order in which they began."""

    def add(self, evaluation: Evaluation) -> list[Stretch]:
        """Take one evaluation; return the stretches that it finishes, of this target or another, oldest first."""
        finished = self._overdue(evaluation.now)
        stretch = self._open.get(evaluation.ref)
        if stretch is not None and stretch.first.ids == evaluation.ids:
            self._open[evaluation.ref] = Stretch(
                stretch.first, evaluation, stretch.evaluations + 1, continues=stretch.continues
            )
            return finished
        if stretch is not None:
            finished.append(self._open.pop(evaluation.ref))
        begun = Stretch(evaluation, evaluation, continues=evaluation.evaluations > 1)
        if evaluation.started is None or not self._longest:
            finished.append(begun)
        else:
            self._open[evaluation.ref] = begun
        return finished

    def flush(self) -> list[Stretch]:
        """Finish everything."""
        finished = list(self._open.values())
        self._open.clear()
        return finished

    def _overdue(self, now: datetime) -> list[Stretch]:
        overdue = []
        for stretch in self._open.values():
            if now - stretch.first.now < self._longest:
                break
            overdue.append(stretch)
        for stretch in overdue:
            del self._open[stretch.first.ref]
        return overdue
