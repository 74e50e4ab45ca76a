"""The HorizontalPodAutoscaler of a target as a document, and whether one that is there says the same. Pure.

Source: Kubernetes API reference, HorizontalPodAutoscaler (autoscaling/v2); apimachinery's resource.Quantity for how
numbers are written back.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from activator.core.naming import FIELD_MANAGER, TARGET_LABEL, hpa_name, metric_name, target_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Behavior, Policy, ScalingRules, TargetRef, Trigger

API_VERSION = "autoscaling/v2"
PLURAL = "horizontalpodautoscalers"
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
            "name": hpa_name(ref),
            "namespace": ref.namespace,
            "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, TARGET_LABEL: target_label(ref)},
            "ownerReferences": [{"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name, "uid": uid}],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name},
            "minReplicas": max(1, policy.min_replicas),
            "maxReplicas": max(policy.min_replicas, 1, cap),
            "metrics": [_metric(ref, trigger) for trigger in policy.triggers],
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


def _metric(ref: TargetRef, trigger: Trigger) -> dict[str, Any]:
    return {
        "type": "External",
        "external": {
            "metric": {
                "name": metric_name(trigger),
                "selector": {"matchLabels": {TARGET_LABEL: target_label(ref)}},
            },
            "target": {"type": "AverageValue", "averageValue": quantity(trigger.lag_threshold)},
        },
    }


def _behavior(behavior: Behavior) -> Mapping[str, Any]:
    return {"scaleUp": _rules(behavior.scale_up), "scaleDown": _rules(behavior.scale_down)}


def _rules(rules: ScalingRules) -> dict[str, Any]:
    written: dict[str, Any] = {
        "stabilizationWindowSeconds": int(rules.stabilization.total_seconds()),
        "selectPolicy": rules.select.value,
        "policies": [
            {"type": policy.type, "value": policy.value, "periodSeconds": int(policy.period.total_seconds())}
            for policy in rules.policies
        ],
    }
    if rules.tolerance is not None:
        written["tolerance"] = quantity(rules.tolerance)
    return written
