"""What `kubectl get scaledobject` and KEDA's dashboards read: conditions and Events by what was decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activator.core.model import (
    Cluster,
    Decision,
    Evaluation,
    Fallback,
    Lag,
    Observation,
    Outcome,
    Phase,
    Policy,
    Reason,
    ScaledObject,
    Step,
    TargetRef,
    TraceIds,
    Trigger,
)
from activator.core.schedule import Schedule
from activator.kubernetes.scaled_object_status import Remembered, events, is_news, patch, status
from activator.ports import HandoffView
from activator.specs.keda import cron

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
POLICY = Policy(
    triggers=(Trigger(Cluster("kafka:9092"), "orders", "workers"),),
    scaled_object=ScaledObject("orders", "so-1", "keda-hpa-orders"),
)
GOOD = Lag(known=0, complete=True, partitions=5, readable=5, read_at=NOW)
BROKEN = Lag(known=0, complete=False, partitions=5, problems=("Kafka kafka:9092: no answer",))
KNOWN = Remembered(2, NOW, HandoffView(ours=True, scaling_active=True))


def evaluation(
    replicas: int, wanted: int, *reasons: Reason, lag: Lag = GOOD, policy: Policy = POLICY, **changes: Any
) -> Evaluation:
    """A look that ended so."""
    steps = tuple(Step("a step", wanted, reason, f"because {reason}") for reason in reasons)
    made = Evaluation(
        ref=TargetRef("shop", "Deployment", "orders"),
        policy=policy,
        seen=Observation(replicas=replicas, ready_replicas=replicas, lags=(lag,)),
        decision=Decision(wanted, steps, NOW),
        outcome=Outcome.HELD if replicas == wanted else Outcome.APPLIED,
        phase=Phase.AWAKE,
        now=NOW,
        ids=TraceIds("a" * 32, "b" * 16),
    )
    return replace(made, **changes)


ACTIVITY: dict[str, tuple[Lag, Policy, dict[str, bool]]] = {
    "lag": (replace(GOOD, known=1), POLICY, {"s0-kafka-orders": True}),
    "none": (GOOD, POLICY, {"s0-kafka-orders": False}),
    "the known part of a broken one": (replace(BROKEN, known=3), POLICY, {"s0-kafka-orders": True}),
    "no more than the activation threshold": (
        replace(GOOD, known=5),
        replace(POLICY, triggers=(replace(POLICY.triggers[0], activation_lag_threshold=5),)),
        {"s0-kafka-orders": False},
    ),
    "a window that is open, and one that is not": (
        GOOD,
        replace(
            POLICY,
            schedules=tuple(
                Schedule(cron.expression(start), cron.expression(end), "UTC", 3, index)
                for index, (start, end) in enumerate((("0 8 * * *", "0 10 * * *"), ("0 10 * * *", "0 12 * * *")), 1)
            ),
        ),
        {"s0-kafka-orders": False, "s1-cron-UTC-08xxx-010xxx": True, "s2-cron-UTC-010xxx-012xxx": False},
    ),
}


@pytest.mark.parametrize(("lag", "policy", "active"), ACTIVITY.values(), ids=ACTIVITY)
def test_each_trigger_says_whether_it_is_active(lag: Lag, policy: Policy, active: dict[str, bool]) -> None:
    """By the name of its external metric, as KEDA's `triggersActivity`."""
    written = status(evaluation(2, 2, Reason.LAG, lag=lag, policy=policy), KNOWN)
    assert written["triggersActivity"] == {name: {"isActive": is_active} for name, is_active in active.items()}


def test_what_is_written_by_metric_forgets_metrics_that_are_gone() -> None:
    """A merge patch leaves alone what it does not name."""
    before = status(evaluation(2, 2, Reason.LAG, policy=FALLING_BACK), KNOWN)
    renamed = replace(FALLING_BACK, triggers=(replace(POLICY.triggers[0], topic="mails"),))
    sent = patch(before, status(evaluation(2, 2, Reason.LAG, policy=renamed), KNOWN))
    assert sent["triggersActivity"] == {"s0-kafka-orders": None, "s0-kafka-mails": {"isActive": False}}
    assert sent["health"]["s0-kafka-orders"] is None
    assert sent["health"]["s0-kafka-mails"]["status"] == "Happy"


def test_a_warning_stands_beside_ready_and_is_news() -> None:
    """It comes and goes while nothing else changes, and it does not make the ScaledObject any less ready."""
    quiet = status(evaluation(2, 2, Reason.LAG), KNOWN)
    warned = status(evaluation(2, 2, Reason.LAG), replace(KNOWN, warnings=("flux writes spec.replicas back",)))
    (ready,) = [entry for entry in warned["conditions"] if entry["type"] == "Ready"]
    assert (ready["status"], ready["message"].endswith("; flux writes spec.replicas back")) == ("True", True)
    assert is_news(quiet, warned)
    assert is_news(warned, quiet)
    assert not is_news(warned, warned)


def test_the_next_trouble_takes_the_place_of_the_one_that_was_mended() -> None:
    """Of the same reason, and yet news: a user who mends the CA must not read of it while the password is wrong."""
    ca, password = (
        status(evaluation(2, 2, Reason.UNREADABLE, lag=replace(BROKEN, problems=(problem,))), KNOWN)
        for problem in ("Kafka kafka:9092: certificate verify failed", "Kafka kafka:9092: refused the credentials")
    )
    assert is_news(ca, password)
    assert not is_news(password, password)


AUTHENTICATIONS = {
    "none": ("", ""),
    "a TriggerAuthentication": ("TriggerAuthentication shop/kafka", "TriggerAuthentication"),
    "the trigger itself": ('Trigger shop/ {"tls": "enable"}', ""),
}


@pytest.mark.parametrize(("credential", "kinds"), AUTHENTICATIONS.values(), ids=AUTHENTICATIONS)
def test_the_kinds_of_authentication_are_those_that_triggers_name(credential: str, kinds: str) -> None:
    """KEDA's `authenticationsTypes`."""
    policy = replace(POLICY, triggers=(replace(POLICY.triggers[0], cluster=Cluster("kafka:9092", credential)),))
    assert status(evaluation(2, 2, Reason.LAG, policy=policy), KNOWN)["authenticationsTypes"] == kinds


FALLING_BACK = replace(POLICY, fallback=Fallback(3, timedelta(seconds=60)))
CONDITIONS: dict[str, tuple[Evaluation, tuple[str, ...], dict[str, tuple[str, str]]]] = {
    "at work": (
        evaluation(2, 2, Reason.LAG, Reason.LEFT_TO_HPA), (),
        {"Ready": ("True", "ScaledObjectReady"), "Active": ("True", "ScalerActive"),
         "Fallback": ("False", "NoFallbackFound"), "Paused": ("False", "ScaledObjectUnpaused"),
         "HPAActive": ("True", "HPAActive")},
    ),
    "cooling down": (evaluation(2, 2, Reason.NO_LAG, Reason.COOLING_DOWN), (), {"Active": ("False", "ScalerCooldown")}),
    "quiet": (evaluation(0, 0, Reason.NO_LAG), (), {"Active": ("False", "ScalerNotActive")}),
    "unreadable": (
        evaluation(2, 2, Reason.UNREADABLE, lag=BROKEN), (),
        {"Ready": ("False", "TriggerError"), "Active": ("Unknown", "UnknownState")},
    ),
    "unreadable, with a fallback to come": (
        evaluation(2, 2, Reason.UNREADABLE, lag=BROKEN, policy=FALLING_BACK), (),
        {"Ready": ("True", "ScaledObjectReady"), "Fallback": ("False", "NoFallbackFound")},
    ),
    "falling back": (
        evaluation(0, 3, Reason.FALLBACK, lag=BROKEN, policy=FALLING_BACK), (),
        {"Ready": ("True", "ScaledObjectReady"), "Active": ("True", "ScalerActive"),
         "Fallback": ("True", "FallbackExists")},
    ),
    "paused": (
        evaluation(2, 2, Reason.PAUSED, policy=replace(POLICY, paused=True)), (),
        {"Paused": ("True", "ScaledObjectPaused")},
    ),
    "wrong words": (
        evaluation(2, 2, Reason.LAG), ("spec.triggers: it is required",),
        {"Ready": ("False", "ScaledObjectCheckFailed")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "problems", "expected"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions(seen: Evaluation, problems: tuple[str, ...], expected: dict[str, tuple[str, str]]) -> None:
    """Status and reason are KEDA's own."""
    written = status(seen, replace(KNOWN, problems=problems))["conditions"]
    found = {entry["type"]: (entry["status"], entry["reason"]) for entry in written}
    assert {kind: found[kind] for kind in expected} == expected


EVENTS: dict[str, tuple[Evaluation, list[str]]] = {
    "woken": (evaluation(0, 1, Reason.LAG), ["KEDAScaleTargetActivated"]),
    "put to sleep": (evaluation(4, 0, Reason.QUIET), ["KEDAScaleTargetDeactivated"]),
    "not woken": (evaluation(0, 1, Reason.LAG, outcome=Outcome.FAILED), ["KEDAScaleTargetActivationFailed"]),
    "held": (evaluation(2, 2, Reason.LAG), []),
    "paused": (evaluation(2, 2, Reason.PAUSED, policy=replace(POLICY, paused=True)), ["ScaledObjectPaused"]),
    "falling back": (
        evaluation(3, 3, Reason.FALLBACK, lag=BROKEN, policy=FALLING_BACK), ["ScaledObjectFallbackActivated"]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), EVENTS.values(), ids=EVENTS)
def test_events(seen: Evaluation, expected: list[str]) -> None:
    """By KEDA's reasons, of what has changed since the status before."""
    before = status(evaluation(2, 2, Reason.LAG), KNOWN)
    assert [reason for _, reason, _ in events(seen, KNOWN, before)] == expected


def test_the_first_status_says_ready() -> None:
    """Once."""
    first = evaluation(2, 2, Reason.LAG)
    assert [reason for _, reason, _ in events(first, KNOWN, {})] == ["ScaledObjectReady"]
    assert list(events(first, KNOWN, status(first, KNOWN))) == []


def test_what_is_worth_writing() -> None:
    """A message whose figures move is not, and lastActiveTime only coarsely."""
    written = status(evaluation(2, 2, Reason.LAG), KNOWN)
    later = replace(KNOWN, last_active=NOW + timedelta(seconds=10))
    assert not is_news(written, status(evaluation(2, 2, Reason.LAG, Reason.LEFT_TO_HPA), later))
    assert is_news(
        written, status(evaluation(2, 2, Reason.LAG), replace(KNOWN, last_active=NOW + timedelta(minutes=1)))
    )
    assert is_news(written, status(evaluation(2, 2, Reason.NO_LAG, Reason.COOLING_DOWN), KNOWN))
