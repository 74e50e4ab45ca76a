"""Every field of a ScaledObject and every annotation on it, and what we do with each.

They are read by these rows, and `docs/keda-compatibility.md` is made from them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from activator.core.model import FallbackBehavior
from activator.errors import SpecError
from activator.specs import values
from activator.specs.behavior import read_behavior
from activator.specs.keda.fields import Field, Treatment, boolean, integer, one_of, refused, text, whole, written

SAME, BETTER, REFUSED = Treatment.SAME, Treatment.BETTER, Treatment.REFUSED
_LONGEST_NAME = 63
_LABEL_VALUE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def short_name(value: Any, where: str) -> str:
    """Read a name that also stands in a label."""
    name = text(value, where)
    if len(name) > _LONGEST_NAME or _LABEL_VALUE.fullmatch(name) is None:
        raise SpecError(where, name, f"at most {_LONGEST_NAME} of the characters a-z 0-9 . -")
    return name


def _idle(value: Any, where: str) -> int:
    count = integer(0)(value, where)
    if count != 0:
        raise SpecError(where, str(count), "0: any other idle count is one that the HPA raises to its minimum at once")
    return count


def _pause(value: Any, _where: str) -> bool:
    # KEDA: what is no boolean counts as true, so that a typo pauses.
    return str(value).strip() not in {"0", "f", "F", "false", "FALSE", "False"}


_ZERO, _SECOND = timedelta(0), timedelta(seconds=1)

SPEC: tuple[Field, ...] = (
    Field("scaleTargetRef.name", text, "", "required", SAME, "A workload in the same namespace."),
    Field("scaleTargetRef.apiVersion", text, "apps/v1", "", SAME, "Any kind that has /scale."),
    Field("scaleTargetRef.kind", text, "Deployment", "", SAME, "Any kind that has /scale."),
    Field(
        "scaleTargetRef.envSourceContainerName", text, "the first", "", SAME,
        "Whose `env` and `envFrom` give parameters that end in `FromEnv` and those of a TriggerAuthentication's `env`, "
        "out of Secrets and ConfigMaps too: these are reread every ten seconds.",
    ),
    Field(
        "pollingInterval", integer(1), "30", "seconds, at least 1", BETTER,
        "How often lag is read; a record wakes within milliseconds all the same, and with an HPA at work lag is read "
        "every 15 s at least.",
    ),
    Field(
        "initialCooldownPeriod", integer(0), "cooldownPeriod", "seconds", BETTER,
        "Counted from the takeover, and never less than one cooldownPeriod: KEDA's default of 0 puts a new target with "
        "work in hand to sleep at the first poll.",
    ),
    Field(
        "cooldownPeriod", integer(0), "300", "seconds", BETTER,
        "Without lag for so long it sleeps. An outage or a scale-up by another hand begins it again.",
    ),
    Field("idleReplicaCount", _idle, "unset", "0", SAME, "Where it sleeps. Other counts never worked with an HPA."),
    Field(
        "minReplicaCount", integer(0), "0", "at least 0", SAME,
        "0 or unset: sleeps at 0, wakes to 1. With 1 or more it sleeps only where idleReplicaCount is 0.",
    ),
    Field(
        "maxReplicaCount", integer(1), "100", "at least 1", BETTER,
        "The HPA's maximum; lowered to the number of partitions where Kafka alone scales it.",
    ),
    Field(
        "advanced.restoreToOriginalReplicaCount", boolean, "false", "", SAME,
        "When it is deleted: true puts the original count back, false leaves the count as it is.",
    ),
    Field("advanced.horizontalPodAutoscalerConfig.name", short_name, "keda-hpa-{name}", "", SAME, "The HPA's name."),
    Field(
        "advanced.horizontalPodAutoscalerConfig.behavior", read_behavior, "Kubernetes' defaults", "", BETTER,
        "Written out in full, because without one a woken target is lifted to the highest count of the last minutes.",
    ),
    Field(
        "advanced.scalingModifiers", refused("scalingModifiers is not supported: use triggers, the largest counts"),
        "unset", "", REFUSED, "Refused by name.",
    ),
    Field("triggers", whole, "", "at least one", SAME, "The largest count that any asks for; see below."),
    Field(
        "fallback.failureThreshold", integer(0), "", "required in the block", BETTER,
        "The fallback holds once nothing could be read for failureThreshold + 1 polling intervals, also where it never "
        "could; `wakegate.dev/fallback-after` says it in seconds.",
    ),
    Field("fallback.replicas", integer(0), "", "required in the block", SAME, "The count; from 0 it wakes at least."),
    Field(
        "fallback.behavior", one_of(*FallbackBehavior), "static", ", ".join(FallbackBehavior), SAME,
        "How that count and the present one are joined. `scalingModifiers` is refused.",
    ),
)  # fmt: skip
"""Paths below `spec`."""

ANNOTATIONS: tuple[Field, ...] = (
    Field("autoscaling.keda.sh/paused", _pause, "false", "", SAME, "Freezes the count and removes the HPA."),
    Field(
        "autoscaling.keda.sh/paused-replicas", written(values.integer(0)), "", "a whole number", SAME,
        "Sets that count, then as `paused`.",
    ),
    Field(
        "autoscaling.keda.sh/paused-scale-in", _pause, "false", "", SAME,
        "Nothing lowers the count; the HPA's scaleDown is Disabled.",
    ),
    Field(
        "autoscaling.keda.sh/paused-scale-out", _pause, "false", "", SAME,
        "Nothing raises the count; the HPA's scaleUp is Disabled.",
    ),
    Field("autoscaling.keda.sh/force-activation", _pause, "false", "", SAME, "It counts as active."),
    Field(
        "scaledobject.keda.sh/transfer-hpa-ownership", _pause, "false", "", SAME,
        "Takes over the HPA of the name in horizontalPodAutoscalerConfig.name, whoever made it.",
    ),
    Field(
        "scaledobject.keda.sh/hpa-excluded-labels", written(str), "", "label keys, comma-separated", SAME,
        "Labels that are not copied to the HPA.",
    ),
    Field(
        "wakegate.dev/fallback-after", written(values.duration(_SECOND)), "", "duration", BETTER,
        "How long nothing is readable before the fallback holds.",
    ),
    Field("wakegate.dev/adopt", written(values.switch), "false", "", BETTER, "Managed by wakegate beside a live KEDA."),
)  # fmt: skip
"""Of KEDA's own; annotations of ``wakegate.dev/`` that hold for a ScaledObject, too, are named in `scaled_object`."""
