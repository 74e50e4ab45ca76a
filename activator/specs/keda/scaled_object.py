"""A ScaledObject as a document -> Policy, with the rules that several of its fields together must keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from activator.core.model import (
    Behavior,
    Fallback,
    FallbackBehavior,
    OnRelease,
    Policy,
    ScaledObject,
    SelectPolicy,
    TargetRef,
)
from activator.core.naming import ANNOTATION_PREFIX, SCALED_OBJECT_LABEL
from activator.errors import SpecError
from activator.specs import annotations as annotated
from activator.specs.keda.environment import environment_of, objects_needed, unread
from activator.specs.keda.fields import Field, nearest, read_fields, written
from activator.specs.keda.table import ANNOTATIONS, SPEC, short_name
from activator.specs.keda.triggers import FROM_ENVIRONMENT, Surroundings, Triggers, read_triggers

if TYPE_CHECKING:
    from activator.specs.authentication import Reference
    from activator.specs.defaults import AnnotationDefaults
    from activator.specs.keda.environment import Data

API_VERSION = "keda.sh/v1alpha1"
KIND = "ScaledObject"
PACKED_KEY = "keda.sh/ScaledObject"
"""The one key of what is kept of a ScaledObject where of an annotated workload its annotations are."""
_DEFAULT_MAX = 100
_PAUSED = "autoscaling.keda.sh/paused"
OURS = ("handoff", "sleep-from", "keep-awake", "dry-run", "offset-guard")
"""Annotations of workloads that mean the same on a ScaledObject."""

_Parsed = tuple["Policy | None", "tuple[SpecError, ...]"]


def read_scaled_object(
    document: Mapping[str, Any], environment: Mapping[str, str], defaults: AnnotationDefaults
) -> _Parsed:
    """Read a ScaledObject.

    Args:
        document: the whole object, as the API server has it or as a file has it.
        environment: variables of the target's container (`environment_of`).
        defaults: the operator's settings.

    Returns:
        The policy and no mistakes, or None and every mistake there is.
    """
    metadata = document.get("metadata") or {}
    read, problems = read_fields(document.get("spec") or {}, SPEC, "spec")
    said, wrong = _read_annotations(metadata.get("annotations") or {})
    problems += wrong
    triggers = Triggers()
    if "triggers" in read:
        namespace = str(metadata.get("namespace") or "default")
        triggers = read_triggers(read["triggers"], Surroundings(environment, defaults, namespace), "spec.triggers")
        problems += triggers.problems
    problems += _missing(read, problems)
    problems += _together(read, triggers, metadata)
    if problems:
        return None, tuple(problems)
    return _policy(read, said, triggers, document, defaults), ()


def _read_annotations(written_on: Mapping[str, Any]) -> tuple[dict[str, Any], list[SpecError]]:
    """Read what of the annotations is for us: KEDA's that are known, and every one of ours."""
    rows = {row.path: row for row in ANNOTATIONS}
    for row in annotated.TABLE:
        if row.name in OURS:
            name = ANNOTATION_PREFIX + row.name
            rows[name] = Field(name, written(row.parse), row.default or "", row.unit, ANNOTATIONS[0].treatment, row.doc)
    said: dict[str, Any] = {}
    problems: list[SpecError] = []
    for name, value in written_on.items():
        where = f"metadata.annotations[{name}]"
        if name in rows:
            try:
                said[name] = rows[name].parse(value, where)
            except SpecError as error:
                problems.append(error)
        elif name.startswith((ANNOTATION_PREFIX, "autoscaling.keda.sh/")):
            problems.append(
                SpecError(where, None, "there is no such annotation on a ScaledObject", nearest(name, rows))
            )
    return said, problems


def _missing(read: Mapping[str, Any], problems: list[SpecError]) -> list[SpecError]:
    """Return what is required and not there, unless it was misspelt, which is told already."""
    told = {problem.where for problem in problems} | {
        f"{problem.where.rpartition('.')[0]}.{problem.did_you_mean}" for problem in problems
    }
    required = ["scaleTargetRef.name", "triggers"]
    if any(path.startswith("fallback.") for path in read):
        required += ["fallback.failureThreshold", "fallback.replicas"]
    return [
        SpecError(f"spec.{path}", None, "it is required")
        for path in required
        if path not in read and f"spec.{path}" not in told and f"spec.{path.partition('.')[0]}" not in told
    ]


def _together(read: Mapping[str, Any], triggers: Triggers, metadata: Mapping[str, Any]) -> list[SpecError]:
    """Return the mistakes that only several fields together make."""
    problems: list[SpecError] = []
    least, most = read.get("minReplicaCount"), read.get("maxReplicaCount", _DEFAULT_MAX)
    if least is not None and least > most:
        allowed = f"no more than maxReplicaCount, which is {most}"
        problems.append(SpecError("spec.minReplicaCount", str(least), allowed))
    if triggers.only_resources and (not least or "idleReplicaCount" in read):
        allowed = "at least 1, without idleReplicaCount, where cpu and memory are the only triggers: they cannot wake"
        problems.append(SpecError("spec.minReplicaCount", str(least or 0), allowed))
    if triggers.only_resources and "fallback.replicas" in read:
        problems.append(SpecError("spec.fallback", None, "it needs a trigger that is neither cpu nor memory"))
    try:
        short_name(metadata.get("name"), "metadata.name")
    except SpecError as error:
        problems.append(error)
    transfers = (metadata.get("annotations") or {}).get("scaledobject.keda.sh/transfer-hpa-ownership") == "true"
    if transfers and "advanced.horizontalPodAutoscalerConfig.name" not in read:
        where = "spec.advanced.horizontalPodAutoscalerConfig.name"
        problems.append(SpecError(where, None, "it is required where transfer-hpa-ownership is true: which HPA?"))
    return problems


def _policy(
    read: Mapping[str, Any],
    said: Mapping[str, Any],
    triggers: Triggers,
    document: Mapping[str, Any],
    defaults: AnnotationDefaults,
) -> Policy:
    least = read.get("minReplicaCount", 0)
    sleeps = least == 0 or "idleReplicaCount" in read
    cooldown = timedelta(seconds=read.get("cooldownPeriod", 300))
    initial = read.get("initialCooldownPeriod")
    polling = timedelta(seconds=read.get("pollingInterval", 30))
    paused_at = said.get(f"{_PAUSED}-replicas")
    scale_in, scale_out = said.get(f"{_PAUSED}-scale-in", False), said.get(f"{_PAUSED}-scale-out", False)
    behavior = read.get("advanced.horizontalPodAutoscalerConfig.behavior", Behavior())
    policy = Policy(
        triggers=tuple(triggers.kafka),
        schedules=tuple(triggers.schedules),
        resources=tuple(triggers.resources),
        min_replicas=max(1, least),
        max_replicas=read.get("maxReplicaCount", _DEFAULT_MAX),
        idle_replicas=0 if sleeps else None,
        polling_interval=polling,
        cooldown=cooldown,
        initial_cooldown=cooldown if initial is None else timedelta(seconds=initial),
        behavior=_directions(behavior, scale_in=scale_in, scale_out=scale_out),
        handoff=said.get(f"{ANNOTATION_PREFIX}handoff", defaults.handoff),
        paused=said.get(_PAUSED, False) or paused_at is not None,
        paused_replicas=paused_at,
        pause_scale_in=scale_in,
        pause_scale_out=scale_out,
        force_active=said.get("autoscaling.keda.sh/force-activation", False),
        keep_awake=said.get(f"{ANNOTATION_PREFIX}keep-awake", False),
        dry_run=said.get(f"{ANNOTATION_PREFIX}dry-run", False) or defaults.dry_run,
        fallback=_fallback(read, said, polling),
        on_release=OnRelease.ORIGINAL if read.get("advanced.restoreToOriginalReplicaCount") else OnRelease.KEEP,
        scaled_object=_named(read, said, document.get("metadata") or {}),
        notes=tuple(triggers.notes),
        config_hash=config_hash(document),
    )
    for name, field in (("sleep-from", "sleep_from"), ("offset-guard", "offset_guard")):
        if ANNOTATION_PREFIX + name in said:
            policy = replace(policy, **{field: said[ANNOTATION_PREFIX + name]})
    return policy


def _directions(behavior: Behavior, *, scale_in: bool, scale_out: bool) -> Behavior:
    """Return the behavior of an HPA that may not move one way."""
    if scale_in:
        behavior = replace(behavior, scale_down=replace(behavior.scale_down, select=SelectPolicy.DISABLED))
    if scale_out:
        behavior = replace(behavior, scale_up=replace(behavior.scale_up, select=SelectPolicy.DISABLED))
    return behavior


def _fallback(read: Mapping[str, Any], said: Mapping[str, Any], polling: timedelta) -> Fallback | None:
    if "fallback.replicas" not in read:
        return None
    # KEDA falls back once more than failureThreshold reads have failed in a row.
    after = said.get(f"{ANNOTATION_PREFIX}fallback-after", polling * (read["fallback.failureThreshold"] + 1))
    return Fallback(read["fallback.replicas"], after, FallbackBehavior(read.get("fallback.behavior", "static")))


def _named(read: Mapping[str, Any], said: Mapping[str, Any], metadata: Mapping[str, Any]) -> ScaledObject:
    excluded = {key.strip() for key in said.get("scaledobject.keda.sh/hpa-excluded-labels", "").split(",")}
    name = str(metadata["name"])
    # Its own label is put on it once it is ours: there or not yet, what it asks for is the same.
    labeled = {**(metadata.get("labels") or {}), SCALED_OBJECT_LABEL: name}
    labels = {key: value for key, value in labeled.items() if key not in excluded}
    return ScaledObject(
        name=name,
        uid=str(metadata.get("uid", "")),
        hpa_name=read.get("advanced.horizontalPodAutoscalerConfig.name", f"keda-hpa-{name}"),
        labels=tuple(sorted(labels.items())),
        transfers_hpa=said.get("scaledobject.keda.sh/transfer-hpa-ownership", False),
    )


# ------------------------------------------------------------------------------------------ as the loop carries it


def pack(document: Mapping[str, Any], workload: Mapping[str, Any], data: Data = unread) -> dict[str, str]:
    """Return what of a ScaledObject a policy is read from, in the place of a workload's annotations.

    Args:
        document: the ScaledObject.
        workload: its target, for the variables of its container.
        data: what is in each of `objects_needed_by`.
    """
    metadata, wanted = document.get("metadata") or {}, variables_of(document)
    environment = environment_of(workload, container_of(document), wanted=wanted, data=data)
    used = {name: environment[name] for name in sorted(wanted) if name in environment}
    known = {row.path for row in ANNOTATIONS}
    notes = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key in known or key.startswith((ANNOTATION_PREFIX, "autoscaling.keda.sh/"))
    }
    kept = {
        "metadata": {
            **{key: metadata[key] for key in ("name", "namespace", "uid", "labels") if metadata.get(key)},
            **({"annotations": notes} if notes else {}),
        },
        "spec": document.get("spec") or {},
        **({"environment": used} if used else {}),
    }
    return {PACKED_KEY: json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"))}


def objects_needed_by(document: Mapping[str, Any], workload: Mapping[str, Any]) -> frozenset[Reference]:
    """Return the Secrets and ConfigMaps that a ScaledObject's triggers take something from."""
    return objects_needed(workload, container_of(document), variables_of(document))


def container_of(document: Mapping[str, Any]) -> str:
    """Return the name of the container whose variables count; empty: the first."""
    spec = document.get("spec")
    target = spec.get("scaleTargetRef") if isinstance(spec, Mapping) else None
    return str((target.get("envSourceContainerName") if isinstance(target, Mapping) else None) or "")


def container_of_packed(annotations: Mapping[str, str]) -> str:
    """Return the same of what stands in the place of annotations, or of annotations, which name none."""
    return container_of(unpack(annotations)) if is_packed(annotations) else ""


def is_packed(annotations: Mapping[str, str]) -> bool:
    """Tell whether this is a ScaledObject in the place of annotations."""
    return PACKED_KEY in annotations


def unpack(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return a packed ScaledObject as a document."""
    kept: dict[str, Any] = json.loads(annotations[PACKED_KEY])
    return kept


def parse_packed(annotations: Mapping[str, str], defaults: AnnotationDefaults) -> _Parsed:
    """Read a packed ScaledObject."""
    kept = unpack(annotations)
    return read_scaled_object(kept, kept.get("environment", {}), defaults)


def target_of(document: Mapping[str, Any]) -> TargetRef | None:
    """Return the workload that a ScaledObject names; None: it names none."""
    spec = document.get("spec")
    target = spec.get("scaleTargetRef") if isinstance(spec, Mapping) else None
    if not isinstance(target, Mapping) or not target.get("name"):
        return None
    namespace = document["metadata"].get("namespace") or "default"
    kind, version = target.get("kind") or "Deployment", target.get("apiVersion") or "apps/v1"
    return TargetRef(str(namespace), str(kind), str(target["name"]), str(version))


def hpa_name_of_scaled_object(document: Mapping[str, Any]) -> str:
    """Return the name of a ScaledObject's HPA, as far as what it says is right."""
    node: Any = document.get("spec")
    for step in ("advanced", "horizontalPodAutoscalerConfig", "name"):
        node = node.get(step) if isinstance(node, Mapping) else None
    return node if isinstance(node, str) and node else f"keda-hpa-{document['metadata']['name']}"


def variables_of(document: Mapping[str, Any]) -> set[str]:
    """Return the names of environment variables that triggers refer to, by parameters that may."""
    spec = document.get("spec") or {}
    triggers = spec.get("triggers") if isinstance(spec, Mapping) else None
    found = set()
    for entry in triggers if isinstance(triggers, list) else []:
        metadata = entry.get("metadata") if isinstance(entry, Mapping) else None
        for name, value in (metadata if isinstance(metadata, Mapping) else {}).items():
            if name in FROM_ENVIRONMENT:
                found.add(str(value))
    return found


def config_hash(document: Mapping[str, Any]) -> str:
    """Return a short digest of what the user wrote."""
    metadata = document.get("metadata") or {}
    written_down = json.dumps([document.get("spec"), metadata.get("annotations")], sort_keys=True, default=str)
    return hashlib.sha256(written_down.encode()).hexdigest()[:12]
