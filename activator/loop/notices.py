"""What a person is told about a target outside any decision: Kubernetes Events, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core import consumption, naming
from activator.core.model import Handover, Notice, Severity
from activator.loop.target import FOREIGN_WINDOW, Fight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from activator.core.kept_offsets import MissingCommit
    from activator.core.model import TargetRef, Trigger, Workload
    from activator.errors import SpecError, WakegateError
    from activator.loop.target import Target

HPA_CONTROLLER = "kube-controller-manager"
"""The field manager of the HPA controller's writes."""
_OFFSETS_SHOWN = 10
FOREIGN_WRITES = 3
"""That many writes of one hand within `FOREIGN_WINDOW` are a fight worth telling of."""
EXEMPTION = (
    "leave replicas out of what it manages (Argo CD: ignoreDifferences of /spec/replicas with "
    "RespectIgnoreDifferences=true; Flux: no spec.replicas in the manifest, or driftDetection.ignore in a HelmRelease)"
)


def taken_over(target: Target, now: datetime) -> Notice:
    """Say what will happen to a target from now on."""
    return _notice(target.workload, Severity.NORMAL, "TakenOver", _plan(target), now)


def _plan(target: Target) -> str:
    policy = target.policy
    said = "".join(f"; {note}" for note in (*policy.notes, *_unfollowed(target)))
    return f"{_what_happens(target)}{said}"


def _unfollowed(target: Target) -> Iterator[str]:
    """Yield what the way it is handed off leaves without effect."""
    if target.handoff is Handover.DIRECT:
        for metric in target.policy.resources:
            yield f"{metric.resource} has no effect: only an HPA can follow it, and here wakegate moves 1..N itself"


def _what_happens(target: Target) -> str:
    policy = target.policy
    if policy.paused_replicas is not None:
        return f"paused at {policy.paused_replicas}, without an HPA"
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
    last = f"last from {before.scale.replicas} to {workload.scale.replicas}"
    target.fight = Fight(now, f"{manager} writes spec.replicas back; {EXEMPTION}")
    message = (
        f"{manager} has written spec.replicas {times} times within {FOREIGN_WINDOW.total_seconds() / 60:g} minutes, "
        f"{last}; {EXEMPTION}"
    )
    return _notice(workload, Severity.WARNING, "ForeignWrites", message, now)


def committed(target: Target, trigger: Trigger, made: tuple[MissingCommit, ...], now: datetime) -> Iterator[Notice]:
    """Say what was committed for a group without members, and what it will never read."""
    lost = [entry for entry in made if not entry.pinned and not entry.passed]
    pinned = [entry for entry in made if entry.pinned]
    passed = [entry for entry in made if entry.passed]
    place = f"group {trigger.group} on {trigger.topic}"
    if lost:
        message = (
            f"{place} had no committed offset any more (expired, or deleted: Kafka does not tell which): "
            f"committed again where it stood: {_offsets(lost)}"
        )
        yield _notice(target.workload, Severity.NORMAL, "OffsetsRestored", message, now)
    if pinned:
        message = (
            f"{place} has never committed there, so that it would skip the record that wakes it: "
            f"committed where it has nothing to read yet: {_offsets(pinned)}"
        )
        yield _notice(target.workload, Severity.NORMAL, "OffsetsPinned", message, now)
    if passed:
        message = (
            f"{place} had committed before the log start, so that at latest it would go on at the end, past the record "
            f"that wakes it: committed at the log start: {_offsets(passed)}"
        )
        yield _notice(target.workload, Severity.NORMAL, "OffsetsMovedToLogStart", message, now)
    if expired := sum(entry.expired for entry in made):
        message = (
            f"{place}: retention has passed {expired} offsets that it had not read, at most as many records (a"
            " transaction's markers take offsets, too); it goes on at the log start"
        )
        yield _notice(target.workload, Severity.WARNING, "RecordsExpired", message, now)


def would_commit(target: Target, trigger: Trigger, missing: tuple[MissingCommit, ...], now: datetime) -> Notice:
    """Say what the offsets guard would do if it were on."""
    message = (
        f"group {trigger.group} on {trigger.topic} has no committed offset, or one before the log start, on some"
        f" partitions; with offset-guard on this would be committed: {_offsets(missing)}"
    )
    return _notice(target.workload, Severity.NORMAL, "OffsetsWouldBeCommitted", message, now)


def offsets_denied(target: Target, error: WakegateError, now: datetime) -> Notice:
    """Say that nothing can be committed for a group, and what that means."""
    message = (
        f"{error}. Until then offsets that Kafka forgets are not committed again, and a group that starts at latest and"
        " has no commit that it can begin from is kept awake. offset-guard: off says that this is meant."
    )
    return _notice(target.workload, Severity.WARNING, "OffsetGuardDenied", message, now)


def woken_without_offsets(target: Target, why: str, now: datetime) -> Notice:
    """Say that a wake could not wait any longer for its group's offsets."""
    message = f"woken although its group could not be given its offsets within 5 s: {why}"
    return _notice(target.workload, Severity.WARNING, "WokenWithoutOffsets", message, now)


def given_back_without_offsets(ref: TargetRef, uid: str, why: str, now: datetime) -> Notice:
    """Say that a sleeper was given back although nobody knows whether its group lacks offsets."""
    message = f"given back although it could not be found out whether its group lacks offsets: {why}"
    return Notice(ref, uid, Severity.WARNING, "WokenWithoutOffsets", message, now)


def not_woken_yet(target: Target, now: datetime) -> Notice:
    """Say why a target with work is left asleep."""
    message = (
        "not woken yet: its group has no committed offset on some partition, and where it stands may be kept in its"
        " ScaleTarget, which cannot be read. Woken now it could skip records or read them again; it is woken as soon as"
        " ScaleTargets can be listed"
    )
    return _notice(target.workload, Severity.WARNING, "WakeWaitsForState", message, now)


def not_consumed(target: Target, now: datetime) -> Iterator[Notice]:
    """Name the topics whose lag keeps a target awake and that no member of its group consumes, each once."""
    for trigger, found in target.not_consumed(now):
        tracker = target.tracker(trigger)
        if not tracker.told:
            tracker.told = True
            message = consumption.describe(trigger, found)
            yield _notice(target.workload, Severity.WARNING, "TopicNotConsumed", message, now)


def _offsets(entries: Sequence[MissingCommit]) -> str:
    shown = ", ".join(f"{entry.offset} on {entry.partition}" for entry in entries[:_OFFSETS_SHOWN])
    more = len(entries) - _OFFSETS_SHOWN
    return f"{shown} and {more} more partitions" if more > 0 else shown


def released(ref: TargetRef, uid: str, text: str, now: datetime) -> Notice:
    """Say that a target is managed no more."""
    return Notice(ref, uid, Severity.NORMAL, "Released", text, now)


def _notice(workload: Workload, severity: Severity, reason: str, message: str, now: datetime) -> Notice:
    return Notice(workload.ref, workload.scale.uid, severity, reason, message, now)
