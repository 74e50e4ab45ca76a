"""The names that several rooms must agree on: the HPA, its external metrics, and the selector that ties them."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.core.model import TargetRef, Trigger

ANNOTATION_PREFIX = "wakegate.dev/"
FIELD_MANAGER = "wakegate"
TARGET_LABEL = "wakegate.dev/target"
"""Label key of the external metric's selector for annotated workloads."""

_HPA_PREFIX = "wakegate-"
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
    """Name of a trigger's external metric: ``s{index}-kafka-{topic}``.

    The API server takes the metric's name as a path segment and as an RBAC resource, and users of KEDA know this
    form; what may not stand there becomes a hyphen.
    """
    return f"s{trigger.index}-kafka-{re.sub(r'[/.:%()]', '-', trigger.topic)}"
