"""An HPA as `wakegate explain` tells it: its bounds, what it wants and sees, and each of its metrics.

Source: Kubernetes API reference, HorizontalPodAutoscaler (autoscaling/v2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.views.words import ago, moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from activator.doctor.facts import Document

_KINDS = {
    "External": "external",
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
}
"""Type of a metric -> the key that it stands under."""
_FIELDS = {"AverageValue": "averageValue", "Value": "value", "Utilization": "averageUtilization"}
"""Type of a target -> the key of its number, in what is wanted and in what is seen."""
_UNITS = {"AverageValue": ("", " a replica"), "Value": ("", " in all"), "Utilization": ("%", "% of the requests")}
"""Type of a target -> what is said after the number that is seen, and after the one that is wanted."""
_UNKNOWN = "unknown"


def summary(hpa: Document) -> dict[str, Any]:
    """Return what `-o json` tells of it."""
    spec, status = hpa["spec"], hpa.get("status") or {}
    seen = status.get("currentMetrics") or ()
    return {
        "name": hpa["metadata"]["name"],
        "min": spec.get("minReplicas", 1),
        "max": spec["maxReplicas"],
        "desired": status.get("desiredReplicas"),
        "current": status.get("currentReplicas"),
        "lastScaleTime": status.get("lastScaleTime"),
        "metrics": [
            _metric(wanted, seen[number] if number < len(seen) else {})
            for number, wanted in enumerate(spec.get("metrics") or ())
        ],
        "conditions": [
            {key: condition.get(key, "") for key in ("type", "status", "reason", "message")}
            for condition in status.get("conditions") or ()
        ],
    }


def lines(told: Document, now: datetime) -> Iterator[str]:
    """Tell a summary to a person."""
    wants, sees = _count(told["desired"]), _count(told["current"])
    yield f"{told['name']} {told['min']}..{told['max']}: wants {wants}, sees {sees}"
    if scaled := ago(moment(told["lastScaleTime"]), now):
        yield f"scaled last {scaled}"
    for metric in told["metrics"]:
        sign, unit = _UNITS.get(metric["type"], ("", ""))
        yield f"{metric['name']} {_with(metric['current'], sign)}, {_with(metric['target'], unit)}"
    for condition in told["conditions"]:
        yield f"{condition['type']} {condition['status']}: {condition['message']}"


def _metric(wanted: Document, seen: Document) -> dict[str, str]:
    """Return a metric's target beside what the controller last saw: both lists of an HPA have the same order."""
    kind = str(wanted.get("type", _UNKNOWN))
    key = _KINDS.get(kind, "")
    body = wanted.get(key) or {}
    target = body.get("target") or {}
    field = _FIELDS.get(target.get("type", ""), "")
    current = (seen.get(key) or {}).get("current") or {}
    return {
        "name": str(body.get("name") or (body.get("metric") or {}).get("name") or kind),
        "type": str(target.get("type", _UNKNOWN)),
        "target": str(target.get(field, _UNKNOWN)),
        "current": str(current.get(field, _UNKNOWN)),
    }


def _with(number: str, unit: str) -> str:
    return number if number == _UNKNOWN else f"{number}{unit}"


def _count(replicas: int | None) -> str:
    return "none yet" if replicas is None else str(replicas)
