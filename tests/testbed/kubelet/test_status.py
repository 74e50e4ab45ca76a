"""What the kubelet reports."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from testbed.kubelet import status
from testbed.kubelet.address import pod_ip

T0 = dt.datetime(2026, 1, 1, 10, 0, 0, tzinfo=dt.UTC)
T1 = T0 + dt.timedelta(seconds=90)
POD: dict[str, Any] = {
    "metadata": {"name": "orders-1", "uid": "u1"},
    "spec": {"containers": [{"name": "main", "image": "x"}]},
}


def verdicts(reported: dict[str, Any]) -> dict[str, str]:
    """Condition type -> status."""
    return {condition["type"]: condition["status"] for condition in reported["conditions"]}


def test_running_is_ready() -> None:
    """A running Pod is Ready, has an address and a start time."""
    reported = status.running(POD, T0, restarts=0)
    assert reported["phase"] == "Running"
    assert set(verdicts(reported).values()) == {"True"}
    assert (reported["podIP"], reported["startTime"]) == (pod_ip(POD), "2026-01-01T10:00:00Z")
    assert reported["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-01T10:00:00Z"}}


def test_running_and_not_ready() -> None:
    """With a readiness probe that fails a container runs since it started, and its Pod is not Ready."""
    reported = status.running(POD, T1, restarts=0, ready=False, started=T0)
    assert reported["phase"] == "Running"
    assert (verdicts(reported)["Ready"], verdicts(reported)["PodScheduled"]) == ("False", "True")
    assert reported["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-01T10:00:00Z"}}


@pytest.mark.parametrize(("restarts", "phase"), [(0, "Pending"), (1, "Running")])
def test_waiting(restarts: int, phase: str) -> None:
    """Before the first start a Pod is Pending, between restarts it counts as Running; never Ready."""
    reported = status.pending(POD, T0, reason="CrashLoopBackOff", message="m", restarts=restarts)
    assert reported["phase"] == phase
    assert verdicts(reported)["Ready"] == "False"
    assert reported["containerStatuses"][0]["state"]["waiting"] == {"reason": "CrashLoopBackOff", "message": "m"}


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (137, "Failed", "Error")])
def test_terminated(code: int, phase: str, reason: str) -> None:
    """The exit code decides between Succeeded and Failed."""
    reported = status.terminated(POD, T1, started=T0, exit_code=code, restarts=0)
    assert reported["phase"] == phase
    assert reported["containerStatuses"][0]["state"]["terminated"] == {
        "exitCode": code,
        "reason": reason,
        "startedAt": "2026-01-01T10:00:00Z",
        "finishedAt": "2026-01-01T10:01:30Z",
    }
    assert verdicts(reported)["Ready"] == "False"


def test_transition_times_move_only_with_the_verdict() -> None:
    """While a condition holds, its transition time and the Pod's start time stay."""
    pod = {**POD, "status": status.running(POD, T0, restarts=0)}
    again = status.running(pod, T1, restarts=0)
    assert {condition["lastTransitionTime"] for condition in again["conditions"]} == {"2026-01-01T10:00:00Z"}
    down = status.pending(pod, T1, reason="r", message="m", restarts=1)
    times = {condition["type"]: condition["lastTransitionTime"] for condition in down["conditions"]}
    assert times["PodScheduled"] == down["startTime"] == "2026-01-01T10:00:00Z"
    assert times["Ready"] == "2026-01-01T10:01:30Z"


@pytest.mark.parametrize(("returncode", "expected"), [(0, 0), (3, 3), (-9, 137), (-15, 143)])
def test_exit_codes(returncode: int, expected: int) -> None:
    """A signal is reported as 128 plus its number."""
    assert status.exit_code_of(returncode) == expected
