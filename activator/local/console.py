"""What a person at a terminal sees of local mode: what replicas write, and what is decided, one line each.

Colours are for a terminal alone and `NO_COLOR` switches them off; a line says the same without them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from activator.core.model import Evaluation, Notice, Outcome, Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from activator.core.model import Fact, TargetRef

_COLOURS = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta", "bright_green")


def terminal() -> Console:
    """Return standard output as a terminal or as a file, whichever it is; long lines are never broken."""
    return Console(highlight=False, soft_wrap=True)


class Lines:
    """Writes the lines of `wakegate local`. It is a `ports.Recorder`.

    Args:
        console: where to.
        now: the clock that stamps lines.
    """

    def __init__(self, console: Console, now: Callable[[], datetime]) -> None:
        self._console = console
        self._now = now
        self._told: dict[TargetRef, tuple[Outcome, str, int]] = {}

    def say(self, sentence: str) -> None:
        """Write one sentence."""
        self._write(Text(sentence))

    def output(self, replica: str, line: str) -> None:
        """Write one line of a replica's output."""
        colour = _COLOURS[zlib.crc32(replica.encode()) % len(_COLOURS)]
        self._console.print(Text.assemble((f"{replica} | ", colour), Text.from_ansi(line)))

    def record(self, fact: Fact) -> None:
        """Write what a fact says, where it says something new."""
        match fact:
            case Evaluation():
                self._decision(fact)
            case Notice():
                style = "yellow" if fact.severity is Severity.WARNING else ""
                self._write(Text(f"{fact.ref.name}: {fact.message}", style))

    def _decision(self, fact: Evaluation) -> None:
        told = (fact.outcome, str(fact.decision.reason), fact.decision.replicas)
        if fact.outcome is Outcome.HELD and self._told.get(fact.ref) == told:
            return
        self._told[fact.ref] = told
        before, after = fact.seen.replicas, fact.decision.replicas
        count = f"{before} -> {after}" if after != before else f"stays at {after}"
        text = Text.assemble(f"{fact.ref.name}: ", (count, _style(fact)), f"  {fact.decision.text}")
        took = wake_seconds(fact)
        if took is not None:
            text.append(f" ({took * 1000:.0f} ms after it was seen)", "bold")
        if fact.outcome in {Outcome.FAILED, Outcome.REFUSED}:
            text.append(f" [{fact.outcome}{': ' + fact.applied.status if fact.applied else ''}]", "bold red")
        self._write(text)

    def _write(self, text: Text) -> None:
        moment = self._now().astimezone().strftime("%H:%M:%S")
        self._console.print(Text.assemble((f"{moment} ", "dim"), text))


def wake_seconds(fact: Evaluation) -> float | None:
    """Return how long a wake took, from the moment the record was seen to the answer; None: it was none."""
    if fact.outcome is not Outcome.APPLIED or fact.applied is None or fact.seen.pushed is None:
        return None
    return max(0.0, (fact.applied.ended_at - fact.seen.pushed.seen_at).total_seconds())


def _style(fact: Evaluation) -> str:
    if fact.outcome is not Outcome.APPLIED:
        return ""
    return "bold green" if fact.decision.replicas > fact.seen.replicas else "bold blue"
