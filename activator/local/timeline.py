"""The demo as a newcomer sees it: a line a second of lag and replicas, and under it every decision with its reason."""

from __future__ import annotations

import asyncio
import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from activator.core.model import Evaluation, GroupState, Notice, Outcome, PushSource, Severity
from activator.local.sample_consumer import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from rich.console import Console

    from activator.core.model import Fact
    from activator.local.verdict import Check

BAR_WIDTH = 20
LINE_EVERY_SECONDS = 1.0
_INDENT = " " * 9
_TOLD_BY = {PushSource.TAIL: "the record was seen", PushSource.GATEWAY: "the gateway told of the record"}


class Timeline:
    """Draws and keeps count. It is a `ports.Recorder`, and takes the consumers' output.

    Args:
        console: where to.
        now: the clock.
        full: the lag that fills the bar.
        most: the replicas that there may be.
    """

    def __init__(self, console: Console, now: Callable[[], datetime], *, full: int, most: int) -> None:
        self._console = console
        self._now = now
        self._started = now()
        self._full = max(1, full)
        self._most = most
        self._bar = ("#", "-") if console.options.ascii_only else ("█", "░")
        self._marks = ("O", "o", ".") if console.options.ascii_only else ("●", "◐", "○")
        self._drawn: tuple[int, int, int] | None = None
        self._drawn_at = float("-inf")
        self._changed = asyncio.Event()
        self.done: set[tuple[str, str]] = set()
        """Partition and offset of every record that was done."""
        self.done_again = 0
        self.most_replicas = 0
        self.replicas = 0
        self.lag = 0
        """As last known."""
        self.settled = False
        """It sleeps, and its consumers have left the group."""
        self.woken_at: list[datetime] = []
        """When each wake had been answered."""

    @property
    def legend(self) -> str:
        """What the marks of replicas mean."""
        running, starting, absent = self._marks
        return f"{running} runs   {starting} starts   {absent} not there"

    # ------------------------------------------------------------------------------------------------- what comes in

    def output(self, replica: str, line: str) -> None:
        """Take a line of a consumer: count what is done, show what is not as expected."""
        match line.split():
            case [word, _topic, partition, offset, *_] if word == DONE:
                if (partition, offset) in self.done:
                    self.done_again += 1
                self.done.add((partition, offset))
                self._changed.set()
            case ["assigned", *_] | ["left", *_]:
                pass
            case _:
                self._console.print(Text(f"{_INDENT}{replica} | {line}", "yellow"))

    def say(self, sentence: str) -> None:
        """Show one sentence."""
        self._print(sentence, "yellow")

    def record(self, fact: Fact) -> None:
        """Show what a fact says."""
        match fact:
            case Evaluation():
                self._evaluation(fact)
            case Notice() if fact.severity is Severity.WARNING:
                self._print(fact.message, "yellow")

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds; tell whether it did within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # ------------------------------------------------------------------------------------------------ what is drawn

    def chapter(self, title: str) -> None:
        """Show what is about to be done."""
        self._drawn = None
        self._console.print()
        self._console.print(Text(f"{self._seconds():6.1f} s  {title}", "bold"))

    def verdict(self, line: str, checks: Sequence[Check]) -> None:
        """Show the verdict first, then each promise beside what was measured."""
        passed = line.startswith("PASS")
        self._console.print()
        self._console.print(Text(line, "bold green" if passed else "bold red"))
        width = max(len(check.name) for check in checks)
        target_width = max(len("target"), *(len(check.target) for check in checks))
        self._console.print(Text(f"  {'':4}  {'':{width}}  {'target':{target_width}}  measured", "dim"))
        for check in checks:
            mark = ("ok  ", "green") if check.kept else ("MISS", "bold red")
            line = f"  {check.name:{width}}  {check.target:{target_width}}  {check.measured}"
            self._console.print(Text.assemble("  ", mark, line))

    def _evaluation(self, fact: Evaluation) -> None:
        applied = fact.outcome is Outcome.APPLIED
        self.replicas = fact.decision.replicas if applied else fact.seen.replicas
        self.most_replicas = max(self.most_replicas, self.replicas)
        if fact.seen.push_is_proof:  # it was woken before anything was read
            self.lag = max(1, self.lag)
        elif all(lag.complete for lag in fact.seen.lags):
            self.lag = sum(lag.known for lag in fact.seen.lags)
        left = all(lag.group_state in {GroupState.EMPTY, GroupState.DEAD} for lag in fact.seen.lags)
        self.settled = left and self.replicas == 0
        if applied and fact.applied and fact.seen.replicas == 0:
            self.woken_at.append(fact.applied.ended_at)
        self._changed.set()
        if applied:
            self._decision(fact)
        elif fact.outcome is not Outcome.HELD:
            status = fact.applied.status if fact.applied else ""
            self._print(f"{fact.outcome}: {fact.decision.text} {status}", "bold red")
        self._line(fact.seen.ready_replicas)

    def _decision(self, fact: Evaluation) -> None:
        before, after = fact.seen.replicas, fact.decision.replicas
        took = ""
        if before == 0 and fact.applied and fact.seen.pushed:
            seconds = (fact.applied.ended_at - fact.seen.pushed.seen_at).total_seconds()
            source = _TOLD_BY[fact.seen.pushed.source]
            took = f"WOKE {max(0.0, seconds) * 1000:.0f} ms after {source}: "
        style = "bold green" if after > before else "bold blue"
        self._print(f"{before} -> {after}  {took}{fact.decision.text}", style)

    def _line(self, ready: int) -> None:
        state = (self.lag, self.replicas, min(ready, self.replicas))
        seconds = self._seconds()
        if state == self._drawn or (self._drawn is not None and seconds - self._drawn_at < LINE_EVERY_SECONDS):
            return
        self._drawn, self._drawn_at = state, seconds
        lag, replicas, ready = state
        filled = min(BAR_WIDTH, -(-lag * BAR_WIDTH // self._full))
        full, empty = self._bar
        running, starting, absent = self._marks
        marks = running * ready + starting * (replicas - ready) + absent * (self._most - replicas)
        self._console.print(
            Text.assemble(
                (f"{seconds:6.1f} s", "dim"),
                f"  lag {lag:5} ",
                (full * filled, "yellow"),
                (empty * (BAR_WIDTH - filled), "dim"),
                "  replicas ",
                (marks, "cyan"),
                f" {replicas}  done {len(self.done)}",
            )
        )

    def _print(self, sentence: str, style: str) -> None:
        width = self._console.width if self._console.is_terminal else 10_000
        text = textwrap.fill(sentence, width, initial_indent=_INDENT, subsequent_indent=f"{_INDENT}  ")
        self._console.print(Text(text, style))

    def _seconds(self) -> float:
        return (self._now() - self._started).total_seconds()
