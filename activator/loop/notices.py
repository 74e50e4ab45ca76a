"""What a person is told about a target outside any decision: Kubernetes Events, in words."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core import naming
from activator.core.model import Handover, Notice, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from activator.core.model import TargetRef, Workload
    from activator.errors import SpecError, WakegateError
    from activator.loop.target import Target

HPA_CONTROLLER = "kube-controller-manager"
"""The field manager of the HPA controller's writes."""
FOREIGN_WRITES = 3
FOREIGN_WINDOW = timedelta(minutes=15)
"""That many writes of one hand within this window are a fight worth telling of."""


def taken_over(target: Target, now: datetime) -> Notice:
    """Say what will happen to a target from now on."""
    return _notice(target.workload, Severity.NORMAL, "TakenOver", _plan(target), now)


def _plan(target: Target) -> str:
    policy = target.policy
    if policy.paused:
        return f"paused: stays at {target.workload.scale.replicas}, without an HPA"
    quiet = f"{policy.cooldown.total_seconds():g} s without lag"
    sleeps = "never sleeps" if policy.idle_replicas is None else f"sleeps at {policy.idle_replicas} after {quiet}"
    if policy.keep_awake:
        sleeps = "is kept awake"
    most = policy.max_replicas
    cap = target.partition_cap()
    capped = f" ({cap} partitions)" if cap is not None and cap < most else ""
    most = max(policy.min_replicas, min(most, cap)) if cap is not None else most
    dry = "dry run, nothing is changed: " if policy.dry_run else ""
    mover = "moved by wakegate" if target.handoff is Handover.DIRECT else "HPA"
    return f"{dry}{sleeps}; wakes to {policy.min_replicas}; {mover} {policy.min_replicas}..{most}{capped}"


def invalid(workload: Workload, problems: Sequence[SpecError], now: datetime, *, in_force: bool) -> Notice:
    """Name every mistake in a target's configuration, and what holds meanwhile."""
    if in_force:
        meanwhile = "the last valid configuration stays in force"
    else:
        meanwhile = "it is not managed until this is corrected"
    message = f"{'; '.join(map(str, problems))}. Until then {meanwhile}."
    return _notice(
        workload, Severity.WARNING, "InvalidConfiguration", message.replace("Until then it is", "It is"), now
    )


def handoff_failed(workload: Workload, error: WakegateError, now: datetime) -> Notice:
    """Say that the HPA is not what it should be."""
    return _notice(workload, Severity.WARNING, "HandoffFailed", f"{error}; it is tried again at the next look", now)


def foreign_write(target: Target, before: Workload, now: datetime) -> Notice | None:
    """Take note of a count that another hand wrote; say so where one hand does it again and again."""
    workload = target.workload
    manager = workload.replicas_manager
    raised_from_idle = before.scale.replicas <= target.idle < workload.scale.replicas
    if manager in {naming.FIELD_MANAGER, None} or (manager == HPA_CONTROLLER and not raised_from_idle):
        return None
    recent = [(at, who) for at, who in target.foreign_writes if now - at < FOREIGN_WINDOW]
    target.foreign_writes = [*recent, (now, str(manager))]
    times = sum(1 for _, who in target.foreign_writes if who == manager)
    if times < FOREIGN_WRITES:
        return None
    target.foreign_writes = []
    message = (
        f"{manager} has written spec.replicas {times} times within {FOREIGN_WINDOW.total_seconds() / 60:g} minutes, "
        f"last from {before.scale.replicas} to {workload.scale.replicas}. Leave replicas out of what it manages"
        " (Argo CD: ignoreDifferences; Flux: omit the field)."
    )
    return _notice(workload, Severity.WARNING, "ForeignWrites", message, now)


def released(ref: TargetRef, uid: str, text: str, now: datetime) -> Notice:
    """Say that a target is managed no more."""
    return Notice(ref, uid, Severity.NORMAL, "Released", text, now)


def _notice(workload: Workload, severity: Severity, reason: str, message: str, now: datetime) -> Notice:
    return Notice(workload.ref, workload.scale.uid, severity, reason, message, now)
