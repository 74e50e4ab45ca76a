"""The annotation `triggers`: KEDA's list of triggers, in YAML, where a workload has more than one topic.

What a Kafka trigger leaves out is taken from the annotation that means the same, and the bootstrap servers from the
operator after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from activator.errors import SpecError
from activator.specs.keda.triggers import KAFKA_TYPES, Surroundings, Triggers, read_triggers
from activator.specs.values import plain_yaml

if TYPE_CHECKING:
    from activator.specs.authentication import AuthenticationSource
    from activator.specs.defaults import AnnotationDefaults

PARAMETERS_BY_ANNOTATION = {
    "bootstrap-servers": "bootstrapServers",
    "consumer-group": "consumerGroup",
    "lag-threshold": "lagThreshold",
    "activation-lag-threshold": "activationLagThreshold",
    "offset-reset-policy": "offsetResetPolicy",
    "allow-idle-consumers": "allowIdleConsumers",
    "limit-to-partitions-with-lag": "limitToPartitionsWithLag",
    "exclude-persistent-lag": "excludePersistentLag",
}
"""Annotation -> the parameter that it is the default of."""


def trigger_list(value: str) -> list[Any]:
    """Read the annotation's YAML as far as it is a list. Raises ValueError with what is allowed."""
    document = plain_yaml(value, "a list of triggers")
    if not isinstance(document, list) or not document:
        raise ValueError("YAML of a list of triggers, as in a ScaledObject's spec.triggers")
    return document


def read_annotated_triggers(
    read: Mapping[str, Any],
    defaults: AnnotationDefaults,
    namespace: str,
    named: AuthenticationSource | None,
    where: str,
) -> Triggers:
    """Read the triggers of an annotated workload.

    Args:
        read: the workload's annotations as they were read, by name.
        defaults: the operator's settings.
        namespace: the workload's.
        named: what its annotations name to log in with.
        where: the annotation's key, for messages.
    """
    document = read["triggers"]
    if from_environment := [*_from_environment(document, where)]:
        return Triggers(problems=from_environment)
    said = {name: read[name] for name in PARAMETERS_BY_ANNOTATION if name in read}
    said.setdefault("bootstrap-servers", defaults.bootstrap_servers)
    parameters = {PARAMETERS_BY_ANNOTATION[name]: _as_parameter(value) for name, value in said.items() if value != ""}
    found = read_triggers(
        [_with_defaults(entry, parameters) for entry in document],
        Surroundings({}, defaults, namespace, named),
        where,
    )
    found.kafka = [replace(trigger, isolation=read["isolation-level"]) for trigger in found.kafka]
    return found


def _from_environment(document: list[Any], where: str) -> list[SpecError]:
    """Name parameters that would come from the container's env: the workload may as well say them itself."""
    return [
        SpecError(f"{where}[{index}].metadata.{name}", None, "not in an annotation: write the parameter itself")
        for index, entry in enumerate(document)
        for name in _metadata(entry) or ()
        if str(name).endswith("FromEnv")
    ]


def _with_defaults(entry: Any, parameters: Mapping[str, str]) -> Any:
    metadata = _metadata(entry)
    if metadata is None or entry.get("type") not in KAFKA_TYPES:
        return entry
    return {**entry, "metadata": {**parameters, **metadata}}


def _metadata(entry: Any) -> Mapping[str, Any] | None:
    metadata = entry.get("metadata") or {} if isinstance(entry, Mapping) else None
    return metadata if isinstance(metadata, Mapping) else None


def _as_parameter(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
