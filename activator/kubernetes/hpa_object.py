"""The HorizontalPodAutoscaler of a target as a document, and whether one that is there says the same. Pure.

Source: Kubernetes API reference, HorizontalPodAutoscaler (autoscaling/v2); apimachinery's resource.Quantity for how
numbers are written back.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from activator.core.joined import whole_triggers
from activator.core.model import MetricType
from activator.core.naming import (
    FIELD_MANAGER,
    TARGET_LABEL,
    hpa_name_of,
    metric_name,
    schedule_metric_name,
    target_label,
    target_metric_selector,
)
from activator.specs.behavior import write_behavior

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Behavior, Policy, ResourceMetric, ScaledObject, TargetRef

API_VERSION = "autoscaling/v2"
PLURAL = "horizontalpodautoscalers"
SCALED_OBJECT_API_VERSION = "keda.sh/v1alpha1"
_LONGEST_LABEL = 63
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"

_SUFFIXES = (("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3))


def build(ref: TargetRef, uid: str, policy: Policy, partitions: int | None) -> dict[str, Any]:
    """Return the HPA that moves a target between its minimum and maximum by our external metrics.

    `partitions` caps the maximum (None: unknown, or lifted). The minimum is at least 1: to zero and from zero is
    wakegate's. `behavior` is always written out, because without one the controller lifts a re-woken target to the
    highest recommendation of the last five minutes. No blockOwnerDeletion: it would need the right to update the
    owner's finalizers where the admission plugin OwnerReferencesPermissionEnforcement is on, as on OpenShift.
    """
    cap = policy.max_replicas if partitions is None else min(policy.max_replicas, partitions)
    return {
        "apiVersion": API_VERSION,
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": hpa_name_of(ref, policy),
            "namespace": ref.namespace,
            "labels": {
                **_labels(policy.scaled_object),
                MANAGED_BY_LABEL: FIELD_MANAGER,
                TARGET_LABEL: target_label(ref),
            },
            "ownerReferences": [_owner(ref, uid, policy.scaled_object)],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name},
            "minReplicas": max(1, policy.min_replicas),
            "maxReplicas": max(policy.min_replicas, 1, cap),
            "metrics": _metrics(ref, policy),
            "behavior": _behavior(policy.behavior),
        },
    }


def says(there: Any, wanted: Any) -> bool:
    """Tell whether everything wanted is there: mappings may hold more (the server's defaults), lists may not."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(key in there and says(there[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return isinstance(there, list) and len(there) == len(wanted) and all(map(says, there, wanted))
    return bool(there == wanted)


def quantity(number: str | int) -> str:
    """Write a quantity as the API server writes it back (1000 -> 1k, 0.05 -> 50m); what is none stays as it is."""
    try:
        value = Decimal(number)
    except InvalidOperation:
        return str(number)
    if value == 0:
        return "0"
    for suffix, exponent in _SUFFIXES:
        scaled = value.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return f"{scaled:.0f}{suffix}"
    return str(number)


def _labels(scaled_object: ScaledObject | None) -> dict[str, str]:
    """Return the labels that people look for on the HPA of a ScaledObject, and those it hands down."""
    if scaled_object is None:
        return {}
    return {
        **dict(scaled_object.labels),
        "app.kubernetes.io/name": scaled_object.hpa_name[:_LONGEST_LABEL],
        "app.kubernetes.io/part-of": scaled_object.name[:_LONGEST_LABEL],
    }


def _owner(ref: TargetRef, uid: str, scaled_object: ScaledObject | None) -> dict[str, Any]:
    if scaled_object is not None:
        api_version, kind, name = SCALED_OBJECT_API_VERSION, "ScaledObject", scaled_object.name
        return {"apiVersion": api_version, "kind": kind, "name": name, "uid": scaled_object.uid}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name, "uid": uid}


def _metrics(ref: TargetRef, policy: Policy) -> list[dict[str, Any]]:
    selector = target_metric_selector(ref, policy)
    of_lag = [
        _external(metric_name(trigger), selector, trigger.metric_type, trigger.lag_threshold)
        for trigger in whole_triggers(policy.triggers)
    ]
    of_windows = [
        _external(schedule_metric_name(schedule), selector, MetricType.AVERAGE_VALUE, 1)
        for schedule in policy.schedules
    ]
    return [*of_lag, *of_windows, *map(_resource, policy.resources)]


def _external(name: str, selector: Mapping[str, str], kind: MetricType, target: int) -> dict[str, Any]:
    return {
        "type": "External",
        "external": {
            "metric": {"name": name, "selector": {"matchLabels": dict(selector)}},
            "target": _target(kind, quantity(target)),
        },
    }


def _resource(metric: ResourceMetric) -> dict[str, Any]:
    wanted = {"name": metric.resource, "target": _target(metric.metric_type, metric.value)}
    if metric.container:
        return {"type": "ContainerResource", "containerResource": {**wanted, "container": metric.container}}
    return {"type": "Resource", "resource": wanted}


def _target(kind: MetricType, value: str) -> dict[str, Any]:
    match kind:
        case MetricType.UTILIZATION:
            return {"type": kind.value, "averageUtilization": int(value)}
        case MetricType.VALUE:
            return {"type": kind.value, "value": quantity(value)}
        case MetricType.AVERAGE_VALUE:
            return {"type": kind.value, "averageValue": quantity(value)}


def _behavior(behavior: Behavior) -> Mapping[str, Any]:
    written = write_behavior(behavior)
    for rules in written.values():
        if "tolerance" in rules:
            rules["tolerance"] = quantity(rules["tolerance"])
    return written
