"""The status of a Pod, as a kubelet reports it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from testbed.kubelet.address import pod_ip

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST_IP = "127.0.0.1"

Status = dict[str, Any]


def pending(pod: Mapping[str, Any], now: dt.datetime, *, reason: str, message: str, restarts: int = 0) -> Status:
    """Bound, its container not running: waiting for `reason`. Between restarts a Pod's phase stays Running."""
    state = {"waiting": {"reason": reason, "message": message}}
    phase = "Running" if restarts else "Pending"
    return _status(pod, now, phase=phase, ready=False, state=state, restarts=restarts)


def running(
    pod: Mapping[str, Any], now: dt.datetime, *, restarts: int, ready: bool = True, started: dt.datetime | None = None
) -> Status:
    """The container runs; one without a readiness probe is ready from the start."""
    state = {"running": {"startedAt": _time(started or now)}}
    return _status(pod, now, phase="Running", ready=ready, state=state, restarts=restarts)


def terminated(
    pod: Mapping[str, Any], now: dt.datetime, *, started: dt.datetime, exit_code: int, restarts: int
) -> Status:
    """The container has ended for good."""
    succeeded = exit_code == 0
    state = {
        "terminated": {
            "exitCode": exit_code,
            "reason": "Completed" if succeeded else "Error",
            "startedAt": _time(started),
            "finishedAt": _time(now),
        }
    }
    phase = "Succeeded" if succeeded else "Failed"
    return _status(pod, now, phase=phase, ready=False, state=state, restarts=restarts)


def exit_code_of(returncode: int) -> int:
    """Translate Python's negative signal number into the shell's 128 + n, as containers report it."""
    return returncode if returncode >= 0 else 128 - returncode


def node(name: str, now: dt.datetime) -> dict[str, Any]:
    """The node object that Pods are bound to: without one, the Pod garbage collector removes them."""
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the test kubelet runs Pods as local processes",
        "lastHeartbeatTime": _time(now),
        "lastTransitionTime": _time(now),
    }
    room = {"cpu": "2", "memory": "8Gi", "pods": "1000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {
            "conditions": [condition],
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": HOST_IP}, {"type": "Hostname", "address": name}],
        },
    }


def _status(
    pod: Mapping[str, Any], now: dt.datetime, *, phase: str, ready: bool, state: Status, restarts: int
) -> Status:
    container = pod["spec"]["containers"][0]
    old = pod.get("status") or {}
    succeeded = phase == "Succeeded"
    not_ready_reason = "PodCompleted" if succeeded else "ContainersNotReady"
    verdicts = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    conditions = [
        _condition(kind, now, old, holds=holds, reason="" if holds else not_ready_reason)
        for kind, holds in verdicts.items()
    ]
    return {
        "phase": phase,
        "conditions": conditions,
        "hostIP": HOST_IP,
        "podIP": pod_ip(pod),
        "podIPs": [{"ip": pod_ip(pod)}],
        "startTime": old.get("startTime") or _time(now),
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": restarts,
                "state": state,
            }
        ],
    }


def _condition(kind: str, now: dt.datetime, old: Mapping[str, Any], *, holds: bool, reason: str) -> dict[str, str]:
    """A condition whose transition time is kept while its verdict stays."""
    verdict = "True" if holds else "False"
    before = next((item for item in old.get("conditions") or [] if item["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == verdict else _time(now)
    condition = {"type": kind, "status": verdict, "lastTransitionTime": since}
    return {**condition, "reason": reason} if reason else condition


def _time(moment: dt.datetime) -> str:
    """Kubernetes' metav1.Time: UTC, whole seconds."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
