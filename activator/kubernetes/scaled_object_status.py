"""The status of a ScaledObject as KEDA's users know it, and the Events that their dashboards count. Pure.

Conditions have no lastTransitionTime, as KEDA's have none; a message of ours says more than KEDA's fixed sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from activator.core.decide import HPA_SYNC_PERIOD
from activator.core.joined import joined, whole_triggers
from activator.core.model import Outcome, Reason, Severity
from activator.core.naming import metric_name, schedule_metric_name
from activator.core.schedule import window_at
from activator.specs.authentication import TRIGGER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.core.model import Evaluation, Policy
    from activator.ports import HandoffView

LAST_ACTIVE_COARSE = HPA_SYNC_PERIOD * 2
"""lastActiveTime alone is written no more often than this: KEDA writes it at every poll."""
READY_TEXT = "ScaledObject is defined correctly and is ready for scaling"
_FOLLOWING = frozenset({Reason.LAG, Reason.RECORD_ARRIVED, Reason.SCHEDULE, Reason.FORCED, Reason.NO_COMMITTED_OFFSET})
_COOLING = frozenset({Reason.COOLING_DOWN, Reason.INITIAL_COOLDOWN, Reason.WAITING_FOR_FLOOR, Reason.REBALANCING})


@dataclass(frozen=True, slots=True)
class Remembered:
    """What of a target is known besides its evaluation."""

    original_replicas: int
    last_active: datetime | None
    hpa: HandoffView
    problems: tuple[str, ...] = ()
    """What is wrong with its present words, while earlier ones stay in force."""
    warnings: tuple[str, ...] = ()
    """What a person should see to, although it is ready."""


def ready_condition_of_problems(problems: tuple[str, ...]) -> dict[str, str]:
    """Return the condition of one that cannot be followed as it is."""
    return _condition("Ready", "False", "ScaledObjectCheckFailed", "; ".join(problems))


def status(evaluation: Evaluation, known: Remembered) -> dict[str, Any]:
    """Return the whole status after an evaluation; what does not apply is None, which a merge patch removes."""
    policy, ref = evaluation.policy, evaluation.ref
    group, _, version = ref.api_version.rpartition("/")
    names = _metric_names(policy)
    fallback = any(step.reason is Reason.FALLBACK for step in evaluation.decision.steps)
    lags = joined(policy.triggers, evaluation.seen.lags)
    return {
        "scaleTargetKind": f"{ref.api_version}.{ref.kind}",
        "scaleTargetGVKR": {"group": group, "version": version, "kind": ref.kind, "resource": f"{ref.kind.lower()}s"},
        "originalReplicaCount": known.original_replicas,
        "lastActiveTime": known.last_active.strftime("%Y-%m-%dT%H:%M:%SZ") if known.last_active else None,
        "externalMetricNames": names,
        "resourceMetricNames": [metric.resource for metric in policy.resources],
        "hpaName": policy.scaled_object.hpa_name if policy.scaled_object and known.hpa.ours else None,
        "pausedReplicaCount": policy.paused_replicas,
        "triggersTypes": ",".join(dict.fromkeys(_types(policy))),
        "authenticationsTypes": ",".join(sorted(_authentications(policy))),
        "triggersActivity": dict(_activity(evaluation)),
        "health": {
            metric_name(trigger): {
                "numberOfFailures": 0 if lag.complete else 1,
                "status": "Happy" if lag.complete else "Failing",
            }
            for trigger, lag in lags
        }
        if policy.fallback is not None
        else None,
        "conditions": [
            _ready(evaluation, known),
            _active(evaluation, fallback=fallback),
            _condition(
                "Fallback", "True", "FallbackExists", "At least one trigger is falling back on this scaled object"
            )
            if fallback
            else _condition("Fallback", "False", "NoFallbackFound", "No fallbacks are active on this scaled object"),
            _paused(policy),
            *_hpa_active(evaluation, known.hpa),
        ],
    }


def events(evaluation: Evaluation, known: Remembered, before: dict[str, Any]) -> Iterator[tuple[Severity, str, str]]:
    """Yield type, reason and message of what has happened since the status before."""
    policy, ref = evaluation.policy, evaluation.ref
    seen, wanted = evaluation.seen.replicas, evaluation.decision.replicas
    idle = policy.idle_replicas or 0
    move = f"{ref.kind.lower()} {ref.namespace}/{ref.name} from {seen} to {wanted}"
    why = f": {evaluation.decision.text}"
    if evaluation.outcome in {Outcome.APPLIED, Outcome.FAILED} and wanted != seen and not policy.paused:
        failed = evaluation.outcome is Outcome.FAILED
        severity = Severity.WARNING if failed else Severity.NORMAL
        if seen <= idle:
            reason = "KEDAScaleTargetActivationFailed" if failed else "KEDAScaleTargetActivated"
            yield severity, reason, f"Scaled {move}{why}"
        elif wanted <= idle:
            reason = "KEDAScaleTargetDeactivationFailed" if failed else "KEDAScaleTargetDeactivated"
            yield severity, reason, f"Deactivated {move}{why}"
    was = {entry["type"]: entry for entry in before.get("conditions") or ()}
    paused = "True" if policy.paused or policy.pause_scale_in or policy.pause_scale_out else "False"
    if paused != was.get("Paused", {}).get("status", "False"):
        reason = "ScaledObjectPaused" if paused == "True" else "ScaledObjectUnpaused"
        yield Severity.NORMAL, reason, evaluation.decision.text
    fallback = "True" if any(step.reason is Reason.FALLBACK for step in evaluation.decision.steps) else "False"
    if fallback != was.get("Fallback", {}).get("status", "False"):
        reason = "ScaledObjectFallbackActivated" if fallback == "True" else "ScaledObjectFallbackDeactivated"
        yield Severity.NORMAL, reason, evaluation.decision.text
    ready = _ready(evaluation, known)
    if was.get("Ready", {}).get("reason") != "ScaledObjectReady" and ready["status"] == "True":
        yield Severity.NORMAL, "ScaledObjectReady", READY_TEXT


def is_news(written: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Tell whether a status is worth writing: lastActiveTime alone is not, unless half a minute has passed."""
    blurred = {**wanted, "lastActiveTime": written.get("lastActiveTime"), "conditions": _without_text(wanted)}
    if blurred != {**written, "conditions": _without_text(written)}:
        return True
    old, new = written.get("lastActiveTime"), wanted.get("lastActiveTime")
    return new is not None and (old is None or _seconds(new) - _seconds(old) >= LAST_ACTIVE_COARSE.total_seconds())


def patch(before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch to a status: what is by metric takes the place of what was there, renamed ones go."""
    gone = {
        field: dict.fromkeys(set(before.get(field) or ()) - set(wanted[field]))
        for field in ("health", "triggersActivity")
        if wanted.get(field) is not None
    }
    return {**wanted, **{field: {**names, **wanted[field]} for field, names in gone.items()}}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _without_text(status: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the conditions without their messages, which hold figures that move with every look.

    That of Ready holds none. It is where warnings come and go, and where the next trouble takes the place of the one
    that was mended: a CA that is right now, and then a password that is wrong.
    """
    return [
        (entry["type"], entry["status"], entry["reason"], entry["message"] if entry["type"] == "Ready" else "")
        for entry in status.get("conditions") or ()
    ]


def _ready(evaluation: Evaluation, known: Remembered) -> dict[str, str]:
    policy, seen = evaluation.policy, evaluation.seen
    if known.problems:
        return ready_condition_of_problems(known.problems)
    problems = [problem for lag in seen.lags for problem in lag.problems if not lag.complete]
    if seen.rival is not None:
        return _condition("Ready", "False", "ScaledObjectCheckFailed", evaluation.decision.text)
    if problems and policy.fallback is None:
        partly = any(lag.complete for lag in seen.lags)
        unknown = ("Unknown", "PartialTriggerError") if partly else ("False", "TriggerError")
        return _condition("Ready", *unknown, "; ".join(problems))
    return _condition("Ready", "True", "ScaledObjectReady", "; ".join([READY_TEXT, *policy.notes, *known.warnings]))


def _active(evaluation: Evaluation, *, fallback: bool) -> dict[str, str]:
    steps = evaluation.decision.steps
    if fallback or any(step.reason in _FOLLOWING and step.replicas > 0 for step in steps):
        return _condition("Active", "True", "ScalerActive", "Scaling is performed because triggers are active")
    cooling = [step for step in steps if step.reason in _COOLING]
    if cooling:
        return _condition("Active", "False", "ScalerCooldown", cooling[-1].text)
    if any(not lag.complete for lag in evaluation.seen.lags):
        return _condition("Active", "Unknown", "UnknownState", evaluation.decision.text)
    return _condition("Active", "False", "ScalerNotActive", "Scaling is not performed because triggers are not active")


def _paused(policy: Policy) -> dict[str, str]:
    ways = [
        words
        for words, is_set in (
            (f"paused at {policy.paused_replicas}", policy.paused_replicas is not None),
            ("paused", policy.paused and policy.paused_replicas is None),
            ("scale in is paused", policy.pause_scale_in),
            ("scale out is paused", policy.pause_scale_out),
        )
        if is_set
    ]
    if ways:
        return _condition("Paused", "True", "ScaledObjectPaused", ", ".join(ways))
    return _condition("Paused", "False", "ScaledObjectUnpaused", "pause annotation is not set for ScaledObject")


def _hpa_active(evaluation: Evaluation, hpa: HandoffView) -> Iterator[dict[str, str]]:
    if not hpa.ours or hpa.scaling_active is None:
        return
    if evaluation.seen.replicas == 0 and not hpa.scaling_active:
        yield _condition("HPAActive", "True", "ScalingDisabled", "the target is at zero, where an HPA does not act")
    elif hpa.scaling_active:
        yield _condition("HPAActive", "True", "HPAActive", hpa.message)
    else:
        yield _condition("HPAActive", "False", "HPAMetricsUnavailable", hpa.message)


def _metric_names(policy: Policy) -> list[str]:
    return [*map(metric_name, whole_triggers(policy.triggers)), *map(schedule_metric_name, policy.schedules)]


def _types(policy: Policy) -> Iterator[str]:
    yield from ("kafka" for _ in policy.triggers)
    yield from ("cron" for _ in policy.schedules)
    yield from (metric.resource for metric in policy.resources)


def _authentications(policy: Policy) -> set[str]:
    """Return the kinds of what triggers name to log in with; what a trigger says itself is none of them."""
    return {trigger.cluster.credential.partition(" ")[0] for trigger in policy.triggers} - {"", TRIGGER}


def _activity(evaluation: Evaluation) -> Iterator[tuple[str, dict[str, bool]]]:
    """Yield for each external metric whether its trigger alone would keep the target awake.

    One that cannot be read is as active as the part that is known: KEDA says false of it.
    """
    policy, seen = evaluation.policy, evaluation.seen
    for trigger, lag in joined(policy.triggers, seen.lags):
        held = lag.uncommitted or lag.passed
        yield metric_name(trigger), {"isActive": held or lag.known > trigger.activation_lag_threshold}
    for schedule in policy.schedules:
        yield schedule_metric_name(schedule), {"isActive": window_at(schedule, evaluation.now).is_open}


def _condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}
