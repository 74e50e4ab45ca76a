"""What a person finds under kubectl describe, and in which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from activator.core.model import (
    FOUND_APPLIED,
    Applied,
    Decision,
    Evaluation,
    Notice,
    Observation,
    Outcome,
    Phase,
    Policy,
    Reason,
    Severity,
    Step,
    TargetRef,
    TraceIds,
)
from activator.kubernetes import event_object

if TYPE_CHECKING:
    from activator.kubernetes.event_object import Held

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ORDERS = TargetRef("shop", "Deployment", "orders")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def evaluation(
    outcome: Outcome = Outcome.HELD,
    *,
    reason: Reason = Reason.NO_LAG,
    replicas: tuple[int, int] = (1, 1),
    texts: tuple[str, ...] = ("why",),
    status: str = "ok",
    idle: int | None = 0,
) -> Evaluation:
    """An evaluation from one count to another, by steps with these texts."""
    steps = tuple(Step("step", replicas[1], reason, text) for text in texts)
    return Evaluation(
        ref=ORDERS,
        policy=Policy(triggers=(), idle_replicas=idle),
        seen=Observation(replicas=replicas[0], ready_replicas=replicas[0], lags=()),
        decision=Decision(replicas[1], steps, NOON + timedelta(seconds=30)),
        outcome=outcome,
        phase=Phase.AWAKE,
        now=NOON,
        ids=TraceIds(TRACE, "00f067aa0ba902b7"),
        applied=Applied(NOON, NOON, status) if outcome in {Outcome.APPLIED, Outcome.FAILED} else None,
    )


@pytest.mark.parametrize(
    ("given", "before", "told"),
    [
        pytest.param(
            evaluation(Outcome.APPLIED, replicas=(0, 2), texts=("a record arrived", "", "the HPA does the rest")),
            None,
            ("Normal", "Woken", "from 0 to 2: a record arrived; the HPA does the rest"),
            id="a wake, by every step that said something",
        ),
        pytest.param(
            evaluation(Outcome.APPLIED, replicas=(0, 2), status=FOUND_APPLIED),
            None,
            ("Normal", "Woken", "from 0 to 2 (applied, answer lost, found at the next look): why"),
            id="a wake whose answer was lost",
        ),
        pytest.param(
            evaluation(Outcome.APPLIED, replicas=(5, 0), texts=("no lag for 300 s",)),
            None,
            ("Normal", "PutToSleep", "from 5 to 0: no lag for 300 s"),
            id="a sleep",
        ),
        pytest.param(
            evaluation(Outcome.APPLIED, replicas=(0, 1), idle=None, texts=("min",)),
            None,
            ("Normal", "Scaled", "from 0 to 1: min"),
            id="a change of one that never sleeps",
        ),
        pytest.param(
            evaluation(Outcome.FAILED, replicas=(0, 1), status="429 slow down"),
            None,
            ("Warning", "ScaleFailed", "from 0 to 1 failed, it is tried again: 429 slow down"),
            id="a failure, each time",
        ),
        pytest.param(evaluation(reason=Reason.NO_LAG), None, None, id="an ordinary hold"),
        pytest.param(
            evaluation(reason=Reason.UNREADABLE, texts=("holds 1: no leader",)),
            (Outcome.HELD, Reason.NO_LAG),
            ("Warning", "LagUnreadable", "holds 1: no leader"),
            id="a new hold that somebody should look at",
        ),
        pytest.param(
            evaluation(reason=Reason.UNREADABLE), (Outcome.HELD, Reason.UNREADABLE), None, id="the same hold again"
        ),
        pytest.param(
            evaluation(reason=Reason.NO_LAG, texts=("no lag",)),
            (Outcome.HELD, Reason.UNREADABLE),
            ("Normal", "LagReadable", "the lag can be read again: no lag"),
            id="the end of an unreadable stretch",
        ),
        pytest.param(
            evaluation(Outcome.REFUSED, reason=Reason.RIVAL, texts=("an HPA drives this target too",)),
            (Outcome.HELD, Reason.NO_LAG),
            ("Warning", "AnotherAutoscaler", "an HPA drives this target too"),
            id="a refusal",
        ),
        pytest.param(
            evaluation(reason=Reason.DRY_RUN, texts=("dry run: would go from 1 to 0",)),
            None,
            ("Normal", "DryRun", "dry run: would go from 1 to 0"),
            id="a dry run",
        ),
    ],
)
def test_what_is_told_of_an_evaluation(
    given: Evaluation, before: Held | None, told: tuple[str, str, str] | None
) -> None:
    """A change, a failure, or why it holds where that is new and worth a look."""
    happening = event_object.of_evaluation(given, "uid-1", before)
    assert (happening and (happening.severity.value, happening.reason, happening.message)) == told
    if happening:
        assert happening.text == f"{happening.message} (trace {TRACE})"


def notice(message: str = "sleeps at 0 after 300 s without lag", trace_id: str | None = None) -> Notice:
    """A notice at noon."""
    return Notice(ORDERS, "uid-1", Severity.NORMAL, "TakenOver", message, NOON, trace_id)


def test_the_whole_event() -> None:
    """Kubectl describe finds it by the uid of the workload."""
    happening = event_object.of_notice(notice())
    body = event_object.body(happening, 3, NOON - timedelta(minutes=5), "wakegate-0")
    assert body.pop("metadata") == {
        "name": event_object.name(happening, NOON - timedelta(minutes=5)),
        "namespace": "shop",
    }
    assert body == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "orders",
            "namespace": "shop",
            "uid": "uid-1",
        },
        "type": "Normal",
        "reason": "TakenOver",
        "message": "sleeps at 0 after 300 s without lag",
        "count": 3,
        "firstTimestamp": "2026-01-05T11:55:00Z",
        "lastTimestamp": "2026-01-05T12:00:00Z",
        "source": {"component": "wakegate"},
        "reportingComponent": "wakegate",
        "reportingInstance": "wakegate-0",
    }


def test_a_long_message_keeps_its_trace() -> None:
    """An Event holds 1024 characters."""
    text = event_object.of_notice(notice("x" * 5000, TRACE)).text
    assert len(text) == 1024
    assert text.endswith(f"... (trace {TRACE})")


def test_the_name_fits_and_tells_events_apart() -> None:
    """Of one target: by what it says and since when."""
    long = replace(notice(), ref=replace(ORDERS, name="a" * 199 + ".b" * 20))
    one = event_object.name(event_object.of_notice(long), NOON)
    assert len(one) <= 253
    assert ".." not in one
    names = {
        event_object.name(event_object.of_notice(notice("a")), NOON),
        event_object.name(event_object.of_notice(notice("b")), NOON),
        event_object.name(event_object.of_notice(notice("a")), NOON + timedelta(seconds=1)),
    }
    assert len(names) == 3


def test_holds_of_one_reason_are_one_event() -> None:
    """Their words hold figures that move with every look; a wake and the next are two."""
    said = (Outcome.HELD, Reason.NO_LAG)
    holds = [
        event_object.of_evaluation(evaluation(reason=Reason.UNREADABLE, texts=(text,)), "uid-1", said) for text in "ab"
    ]
    wakes = [
        event_object.of_evaluation(evaluation(Outcome.APPLIED, replicas=(0, 1), texts=(text,)), "uid-1", None)
        for text in "ab"
    ]
    assert len({happening.key for happening in holds if happening}) == 1
    assert len({happening.key for happening in wakes if happening}) == 2
