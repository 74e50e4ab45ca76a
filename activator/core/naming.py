"""The names that several rooms must agree on: the HPA, its external metrics, and the selector that ties them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Policy, TargetRef, Trigger
    from activator.core.schedule import Schedule

ANNOTATION_PREFIX = "wakegate.dev/"
FIELD_MANAGER = "wakegate"
TARGET_LABEL = "wakegate.dev/target"
"""Label key of the external metric's selector for annotated workloads."""

SCALED_OBJECT_LABEL = "scaledobject.keda.sh/name"
"""Label key of the external metric's selector for ScaledObjects, and of the ScaledObject itself."""

_HPA_PREFIX = "wakegate-"
_NOT_IN_A_METRIC = str.maketrans("/.:%()", "------")
_MAX_NAME = 63
"""Longest label value and DNS label: the HPA's name is also put into a label."""
_HASH_DIGITS = 8


def hpa_name(ref: TargetRef) -> str:
    """Name of the HPA for a target: ``wakegate-{kind}-{name}``, cut and given a hash where that passes 63."""
    return _HPA_PREFIX + target_label(ref)


def target_label(ref: TargetRef) -> str:
    """Value of the selector label: the HPA's name without its prefix."""
    whole = f"{ref.kind}-{ref.name}".lower()
    limit = _MAX_NAME - len(_HPA_PREFIX)
    if len(whole) <= limit:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{whole[: limit - _HASH_DIGITS - 1].rstrip('-.')}-{digest}"


def scale_target_name(ref: TargetRef) -> str:
    """Name of the ScaleTarget object of a target: two kinds may share a name, so the kind is part of it."""
    return f"{ref.kind}-{ref.name}".lower()


def metric_name(trigger: Trigger) -> str:
    """Name of a trigger's external metric: ``s{index}-kafka-{topic}``, or ``s{index}-kafka-{group}-topics``.

    The API server takes the metric's name as a path segment and as an RBAC resource, and users of KEDA know this
    form; what may not stand there becomes a hyphen.
    """
    named = f"{trigger.group}-topics" if trigger.topics_of_group else trigger.topic
    return f"s{trigger.index}-kafka-{_as_metric(named)}"


def schedule_metric_name(schedule: Schedule) -> str:
    """Name of a cron trigger's external metric, as KEDA forms it: ``s0-cron-Europe-Berlin-08xx1-5-018xx1-5``."""
    start, end = (_cron_in_name(text) for text in (schedule.start.text, schedule.end.text))
    return f"s{schedule.index}-cron-{_as_metric(schedule.time_zone)}-{start}-{end}"


def target_metric_selector(ref: TargetRef, policy: Policy) -> Mapping[str, str]:
    """Labels that tie a target's external metrics to its HPA."""
    if policy.scaled_object is not None:
        return {SCALED_OBJECT_LABEL: policy.scaled_object.name}
    return {TARGET_LABEL: target_label(ref)}


def hpa_name_of(ref: TargetRef, policy: Policy) -> str:
    """Name of the HPA that a policy asks for: a ScaledObject names its own."""
    return policy.scaled_object.hpa_name if policy.scaled_object is not None else hpa_name(ref)


def _as_metric(text: str) -> str:
    return text.translate(_NOT_IN_A_METRIC)


def _cron_in_name(text: str) -> str:
    replaced = text.replace(" ", "").replace("*", "x").replace("/", "Sl").replace("?", "Qm")
    return _as_metric(replaced).replace(",", "-")
