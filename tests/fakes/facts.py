"""Facts as the loop tells them, with everything filled in that a test does not care about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from activator.core.model import (
    Applied,
    BatchRead,
    Cluster,
    Decision,
    EpisodePhase,
    Evaluation,
    Lag,
    Observation,
    Outcome,
    Phase,
    Policy,
    Push,
    PushSource,
    Reason,
    Step,
    TargetRef,
    TraceIds,
    Trigger,
)

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
KAFKA = Cluster("kafka:9092")
ORDERS = TargetRef("shop", "Deployment", "orders")
POLICY = Policy(triggers=(Trigger(KAFKA, "pizza", "orders"),), config_hash="c0ffee")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

_numbers = count(1)


def at(seconds: float) -> datetime:
    """Return a moment by its distance from the start."""
    return START + timedelta(seconds=seconds)


def new_ids(trace_id: str | None = None) -> TraceIds:
    """Return ids that no other span has."""
    number = next(_numbers)
    return TraceIds(trace_id or f"{number:032x}", f"{number:016x}")


def lag(known: int = 0, *, seconds: float = 0, problems: tuple[str, ...] = ()) -> Lag:
    """Return a lag as read at a moment; with problems it is a lower bound."""
    return Lag(known=known, complete=not problems, partitions=5, problems=problems, read_at=at(seconds))


def push(source: PushSource = PushSource.TAIL, *, seconds: float = 0, traceparent: str | None = TRACEPARENT) -> Push:
    """Return the push of one record."""
    return Push(KAFKA.bootstrap_servers, "pizza", source, at(seconds), partition=3, offset=41, traceparent=traceparent)


def evaluation(seconds: float = 0, **changes: Any) -> Evaluation:
    """Return one look that held a sleeping target, or what the changes make of it.

    `replicas` is (seen, decided); `reason`, `text`, `lags` and `pushed` go into decision and observation; anything
    else is a field of the Evaluation.
    """
    now = at(seconds)
    seen, decided = changes.pop("replicas", (0, 0))
    reason, text = changes.pop("reason", Reason.QUIET), changes.pop("text", "no lag")
    observation = Observation(
        replicas=seen,
        ready_replicas=seen,
        lags=changes.pop("lags", (lag(seconds=seconds),)),
        pushed=changes.pop("pushed", None),
    )
    step = Step("follow triggers", decided, reason, text)
    made = Evaluation(
        ref=ORDERS,
        policy=POLICY,
        seen=observation,
        decision=Decision(decided, (step,), now + timedelta(seconds=30)),
        outcome=Outcome.HELD,
        phase=Phase.ASLEEP,
        now=now,
        ids=changes.pop("ids", None) or new_ids(),
    )
    return replace(made, **changes)


def hold(*seconds: float, **changes: Any) -> list[Evaluation]:
    """Return the evaluations of one hold, with the ids that the loop gives them all."""
    ids = new_ids()
    return [
        evaluation(second, ids=ids, started=at(seconds[0]), evaluations=number, **changes)
        for number, second in enumerate(seconds, 1)
    ]


def wake(seconds: float = 0, **changes: Any) -> Evaluation:
    """Return an applied wake from 0 to 1 whose PATCH took 4 ms, 3 ms after the record was seen."""
    asked: dict[str, Any] = {
        "replicas": (0, 1),
        "reason": Reason.RECORD_ARRIVED,
        "text": "a record has arrived on pizza",
        "outcome": Outcome.APPLIED,
        "phase": Phase.WAKING,
        "pushed": push(seconds=seconds - 0.003),
        "applied": Applied(at(seconds), at(seconds + 0.004), "ok"),
    }
    return evaluation(seconds, **(asked | changes))


def batch_read(seconds: float = 0, *, unreadable: int = 0, problem: str | None = None) -> BatchRead:
    """Return a batched read of twenty milliseconds."""
    return BatchRead(KAFKA, new_ids(), at(seconds), at(seconds + 0.02), 12, unreadable, problem)


def stretch(
    name: str, seconds: float, *, whole: TraceIds, link: TraceIds | None = None, missing: tuple[str, ...] = ()
) -> EpisodePhase:
    """Return a stretch of a wake that began at the start, or with an empty name the whole."""
    ids = new_ids(whole.trace_id) if name else whole
    return EpisodePhase(
        ref=ORDERS,
        episode="wake",
        name=name,
        episode_id=whole.trace_id,
        ids=ids,
        started_at=START,
        ended_at=at(seconds),
        parent=whole if name else None,
        link=link,
        missing=missing,
    )
