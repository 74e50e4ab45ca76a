"""Which facts a person should find under `kubectl describe`, in which words, and the Event that says them. Pure.

Source: Kubernetes API reference, Event (core/v1). It is used rather than events.k8s.io/v1 because there the note of an
Event that repeats cannot change, and ours names the trace of the latest decision.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from activator.core.model import APPLIED_OK, Evaluation, Notice, Outcome, Reason, Severity
from activator.core.naming import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.model import Decision, TargetRef

_LONGEST_MESSAGE = 1024
_LONGEST_NAME = 200
_NAME_DIGITS = 16

Held = tuple[Outcome, Reason]
"""Outcome and reason of an evaluation that changed nothing: it is news only where they differ from the last ones."""

_WORTH_TELLING: Mapping[Reason, tuple[Severity, str]] = {
    Reason.NO_COMMITTED_OFFSET: (Severity.WARNING, "NoCommittedOffset"),
    Reason.UNREADABLE: (Severity.WARNING, "LagUnreadable"),
    Reason.RIVAL: (Severity.WARNING, "AnotherAutoscaler"),
    Reason.INVARIANT_VIOLATED: (Severity.WARNING, "InvariantViolated"),
    Reason.NO_REPLICA_READY: (Severity.WARNING, "NoReplicaReady"),
    Reason.PAUSED: (Severity.NORMAL, "Paused"),
    Reason.KEEP_AWAKE: (Severity.NORMAL, "KeptAwake"),
    Reason.DRY_RUN: (Severity.NORMAL, "DryRun"),
}
"""Why a target holds: Event type and reason. The other holds are the ordinary course of things."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing to say about a target."""

    ref: TargetRef
    uid: str
    severity: Severity
    reason: str
    message: str
    now: datetime
    trace_id: str | None
    same_as: str
    """What makes two happenings of one target and reason the same Event: their message, or nothing but the reason."""

    @property
    def key(self) -> tuple[TargetRef, str, str, str]:
        """Equal for happenings that become one Event with a count."""
        return self.ref, self.uid, self.reason, self.same_as

    @property
    def text(self) -> str:
        """The message with its trace, within what an Event may hold."""
        trace = f" (trace {self.trace_id})" if self.trace_id else ""
        room = _LONGEST_MESSAGE - len(trace)
        message = self.message if len(self.message) <= room else f"{self.message[: room - 3]}..."
        return message + trace


def of_notice(notice: Notice) -> Happening:
    """Say a notice as it is."""
    return Happening(
        ref=notice.ref,
        uid=notice.uid,
        severity=notice.severity,
        reason=notice.reason,
        message=notice.message,
        now=notice.now,
        trace_id=notice.trace_id,
        same_as=notice.message,
    )


def of_evaluation(evaluation: Evaluation, uid: str, before: Held | None) -> Happening | None:
    """Say what an evaluation changed, failed to change, or newly holds for; None: nothing worth telling.

    `before` is the outcome and the reason of the target's evaluation before this one.
    """
    decision = evaluation.decision
    move = f"from {evaluation.seen.replicas} to {decision.replicas}"
    match evaluation.outcome:
        case Outcome.APPLIED:
            told = (Severity.NORMAL, _applied_reason(evaluation), f"{move}{_how(evaluation)}: {_steps(decision)}")
        case Outcome.FAILED:
            status = evaluation.applied.status if evaluation.applied else "not sent"
            told = (Severity.WARNING, "ScaleFailed", f"{move} failed, it is tried again: {status}")
        case _ if (evaluation.outcome, decision.reason) == before:
            return None
        case _ if decision.reason in _WORTH_TELLING:
            told = (*_WORTH_TELLING[decision.reason], _steps(decision))
        case _ if before is not None and before[1] is Reason.UNREADABLE and decision.reason is not Reason.NEVER_READ:
            told = (Severity.NORMAL, "LagReadable", f"the lag can be read again: {_steps(decision)}")
        case _:
            return None
    severity, reason, message = told
    changed = evaluation.outcome in {Outcome.APPLIED, Outcome.FAILED}
    return Happening(
        ref=evaluation.ref,
        uid=uid,
        severity=severity,
        reason=reason,
        message=message,
        now=evaluation.now,
        trace_id=evaluation.ids.trace_id,
        same_as=message if changed else "",  # the words of a hold hold figures that move from look to look
    )


def body(happening: Happening, count: int, first: datetime, reporter: str) -> dict[str, Any]:
    """Return the Event of something that happened `count` times since `first`."""
    ref = happening.ref
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name(happening, first), "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": ref.api_version,
            "kind": ref.kind,
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": happening.uid,
        },
        "type": happening.severity.value,
        "reason": happening.reason,
        "firstTimestamp": _timestamp(first),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": reporter,
        **repetition(happening, count),
    }


def repetition(happening: Happening, count: int) -> dict[str, Any]:
    """Return what of an Event changes when it happens again."""
    return {"message": happening.text, "count": count, "lastTimestamp": _timestamp(happening.now)}


def name(happening: Happening, first: datetime) -> str:
    """Name an Event by what it says and since when: sent twice because an answer was lost, it is made once."""
    digest = hashlib.sha256(repr((happening.key, first)).encode()).hexdigest()[:_NAME_DIGITS]
    return f"{happening.ref.name[:_LONGEST_NAME].rstrip('-.')}.{digest}"


def _applied_reason(evaluation: Evaluation) -> str:
    idle = evaluation.policy.idle_replicas
    if evaluation.decision.replicas == idle:
        return "PutToSleep"
    return "Woken" if evaluation.seen.replicas == idle else "Scaled"


def _how(evaluation: Evaluation) -> str:
    """Say what is not ordinary about a PATCH that was applied."""
    status = evaluation.applied.status if evaluation.applied else APPLIED_OK
    return "" if status == APPLIED_OK else f" ({status})"


def _steps(decision: Decision) -> str:
    return "; ".join(step.text for step in decision.steps if step.text)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
