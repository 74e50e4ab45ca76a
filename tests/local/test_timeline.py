"""What the demo draws: readable in colours, without them, and where only ASCII can be shown."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from activator.core.model import (
    Applied,
    Decision,
    Evaluation,
    GroupState,
    Lag,
    Notice,
    Observation,
    Outcome,
    Phase,
    Policy,
    Push,
    PushSource,
    Reason,
    Severity,
    Step,
    TargetRef,
    TraceIds,
)
from activator.local.console import Lines
from activator.local.timeline import Timeline
from activator.local.verdict import Check

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
PIZZA = TargetRef("default", "Deployment", "pizza")
RECORD = Push("kafka:9092", "orders", PushSource.TAIL, START, partition=0, offset=7)


def evaluation(
    before: int,
    after: int,
    text: str,
    *,
    known: int = 0,
    ready: int | None = None,
    pushed: Push | None = None,
    outcome: Outcome | None = None,
) -> Evaluation:
    """A decision as the loop tells it, applied 4 ms after the start where it changes something."""
    if outcome is None:
        outcome = Outcome.APPLIED if after != before else Outcome.HELD
    lag = Lag(known=known, complete=True, partitions=5, readable=5, group_state=GroupState.EMPTY)
    applied = Applied(START, START + timedelta(milliseconds=4), "ok" if outcome is Outcome.APPLIED else "it said no")
    return Evaluation(
        ref=PIZZA,
        policy=Policy(triggers=()),
        seen=Observation(
            before, before if ready is None else ready, (lag,), pushed=pushed, push_is_proof=pushed is not None
        ),
        decision=Decision(after, (Step("step", after, Reason.LAG, text),), START),
        outcome=outcome,
        phase=Phase.AWAKE,
        now=START,
        ids=TraceIds("0" * 32, "0" * 16),
        applied=applied if outcome in {Outcome.APPLIED, Outcome.FAILED} else None,
    )


class Clock:
    """A clock that a test moves."""

    seconds = 0.0

    def now(self) -> datetime:
        """The moment it shows."""
        return START + timedelta(seconds=self.seconds)


def drawn(*, encoding: str = "utf-8", terminal: bool = False, width: int = 60) -> tuple[Timeline, Clock, io.BytesIO]:
    """A timeline over a file of some encoding."""
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, encoding=encoding, write_through=True),
        highlight=False,
        soft_wrap=True,
        force_terminal=terminal,
        width=width,
        no_color=True,
    )
    clock = Clock()
    return Timeline(console, clock.now, full=100, most=5), clock, raw


def test_a_line_of_lag_and_replicas_and_each_decision_with_its_reason() -> None:
    """Lag as a number and a bar, replicas as marks, and who decided what for which reason."""
    timeline, clock, raw = drawn()
    timeline.record(evaluation(0, 1, "record 7 arrived", pushed=RECORD, ready=0))
    clock.seconds = 2.0
    timeline.output("pizza-0", "done orders 0 7 margherita")
    timeline.record(evaluation(1, 5, "asks for 9, the maximum is 5", known=50, ready=1))
    assert raw.getvalue().decode().splitlines() == [
        "         0 -> 1  WOKE 4 ms after the record was seen: record 7 arrived",
        "   0.0 s  lag     1 █░░░░░░░░░░░░░░░░░░░  replicas ◐○○○○ 1  done 0",
        "         1 -> 5  asks for 9, the maximum is 5",
        "   2.0 s  lag    50 ██████████░░░░░░░░░░  replicas ●◐◐◐◐ 5  done 1",
    ]


def test_ascii_is_enough() -> None:
    """A terminal that knows ASCII alone gets other marks, and the legend says which."""
    timeline, _, raw = drawn(encoding="ascii")
    timeline.record(evaluation(3, 3, "", known=100, ready=2))
    assert raw.getvalue().decode("ascii") == ("   0.0 s  lag   100 ####################  replicas OOo.. 3  done 0\n")
    assert timeline.legend == "O runs   o starts   . not there"


def test_no_more_than_a_line_a_second_and_none_that_says_nothing_new() -> None:
    """What changes within a second waits; what does not change is not repeated."""
    timeline, clock, raw = drawn()
    for seconds, known in [(0.0, 10), (0.5, 20), (1.0, 30), (2.0, 30), (9.0, 30)]:
        clock.seconds = seconds
        timeline.record(evaluation(1, 1, "", known=known))
    assert [line.split()[3] for line in raw.getvalue().decode().splitlines()] == ["10", "30"]


def test_on_a_terminal_long_reasons_are_wrapped() -> None:
    """A reason that is longer than the terminal is wide goes on below, indented."""
    timeline, _, raw = drawn(terminal=True, width=40)
    timeline.record(evaluation(1, 2, "a reason that is longer than what fits here"))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", raw.getvalue().decode()).splitlines()
    assert lines[:2] == ["         1 -> 2  a reason that is longer", "           than what fits here"]


def test_it_keeps_count() -> None:
    """Records done once and again, the most replicas there were, when it was woken, and whether it has settled."""
    timeline, _, _ = drawn()
    for line in (
        "done orders 0 7 funghi",
        "done orders 1 7 funghi",
        "done orders 0 7 funghi",
        "assigned partitions: 0",
    ):
        timeline.output("pizza-0", line)
    timeline.record(evaluation(0, 1, "", pushed=RECORD))
    timeline.record(evaluation(1, 5, ""))
    timeline.record(evaluation(5, 0, ""))
    assert (len(timeline.done), timeline.done_again) == (2, 1)
    assert (timeline.most_replicas, timeline.replicas) == (5, 0)
    assert timeline.woken_at == [START + timedelta(milliseconds=4)]
    assert timeline.settled


async def test_waiting_ends_when_it_holds_or_in_time() -> None:
    """`until` tells whether what was waited for came."""
    timeline, _, _ = drawn()
    timeline.output("pizza-0", "done orders 0 7 funghi")
    assert await timeline.until(lambda: len(timeline.done) == 1, 5)
    assert not await timeline.until(lambda: len(timeline.done) == 2, 0)


def test_what_goes_wrong_is_shown() -> None:
    """Warnings, failures and what a consumer writes besides are on the screen."""
    timeline, _, raw = drawn()
    timeline.output("pizza-0", "ConnectionError: no broker")
    timeline.record(Notice(PIZZA, "uid", Severity.WARNING, "InvalidConfiguration", "topik is wrong", START))
    timeline.record(Notice(PIZZA, "uid", Severity.NORMAL, "TakenOver", "not shown", START))
    timeline.record(evaluation(1, 2, "asks for 2", outcome=Outcome.FAILED))
    timeline.say("pizza-0 ended with exit code 1; it starts again in 1 s")
    assert [line.strip() for line in raw.getvalue().decode().splitlines() if " lag " not in line] == [
        "pizza-0 | ConnectionError: no broker",
        "topik is wrong",
        "failed: asks for 2 it said no",
        "pizza-0 ended with exit code 1; it starts again in 1 s",
    ]


def test_the_verdict_comes_first() -> None:
    """One line, then target beside measured, and a miss in capitals."""
    timeline, _, raw = drawn()
    timeline.verdict("MISS: b", [Check("a", "<= 1", "0", kept=True), Check("bb", "5", "4", kept=False)])
    assert raw.getvalue().decode().splitlines() == [
        "",
        "MISS: b",
        "            target  measured",
        "  ok    a   <= 1    0",
        "  MISS  bb  5       4",
    ]


@pytest.mark.parametrize(
    ("row", "fact", "line"),
    [
        (
            "a wake",
            evaluation(0, 1, "record 7 arrived", pushed=RECORD),
            "pizza: 0 -> 1  record 7 arrived (4 ms after it was seen)",
        ),
        ("a hold", evaluation(2, 2, "asks for 2"), "pizza: stays at 2  asks for 2"),
        (
            "a failure",
            evaluation(2, 3, "asks for 3", outcome=Outcome.FAILED),
            "pizza: 2 -> 3  asks for 3 [failed: it said no]",
        ),
        ("a notice", Notice(PIZZA, "u", Severity.NORMAL, "TakenOver", "sleeps at 0", START), "pizza: sleeps at 0"),
    ],
)
def test_the_lines_of_local_mode(row: str, fact: Evaluation | Notice, line: str) -> None:
    """`wakegate local` writes one line a decision, and the same hold only once."""
    text = io.StringIO()
    lines = Lines(Console(file=text, highlight=False, soft_wrap=True), lambda: START)
    lines.record(fact)
    if row == "a hold":
        assert isinstance(fact, Evaluation)
        lines.record(replace(fact, now=START + timedelta(seconds=1)))
    assert [written.partition(" ")[2] for written in text.getvalue().splitlines()] == [line]


def test_output_of_replicas_is_marked_and_never_taken_for_markup() -> None:
    """What a replica writes comes behind its name, as it is."""
    text = io.StringIO()
    Lines(Console(file=text, highlight=False, soft_wrap=True), lambda: START).output(
        "pizza-0", "[red]a[/red] \x1b[31mb"
    )
    assert text.getvalue() == "pizza-0 | [red]a[/red] b\n"
