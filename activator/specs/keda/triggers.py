"""The trigger types that are understood, each by the table of its parameters."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from activator.core.model import Cluster, MetricType, OffsetReset, ResourceMetric, Trigger
from activator.core.schedule import Schedule
from activator.errors import SpecError
from activator.specs import values
from activator.specs.authentication import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    FROM_TRIGGER,
    TRIGGER,
    TRIGGER_AUTHENTICATION,
    AuthenticationSource,
)
from activator.specs.keda import cron
from activator.specs.keda.environment import UNKNOWN
from activator.specs.keda.fields import (
    Field,
    Treatment,
    boolean,
    nearest,
    one_of,
    read_fields,
    shown,
    text,
    whole,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.specs.defaults import AnnotationDefaults

SAME, BETTER, NO_EFFECT = Treatment.SAME, Treatment.BETTER, Treatment.NO_EFFECT
_FROM_ENVIRONMENT = "FromEnv"
_LARGEST_PARTITION = 100_000
_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")


def _partitions(value: str) -> frozenset[int]:
    found: set[int] = set()
    for part in filter(None, map(str.strip, value.split(","))):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < _LARGEST_PARTITION:
            raise ValueError("partition numbers and ranges, such as 1,2,10-20")
        found.update(range(first, last + 1))
    return frozenset(found)


def _go_boolean(value: str) -> bool:
    """Read what Go's strconv.ParseBool takes, as KEDA does."""
    cleaned = value.strip()
    if cleaned in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if cleaned in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise ValueError("true or false")


def _one_word(*choices: str) -> Callable[[Any, str], str]:
    def parse(value: str) -> str:
        if value.strip() not in choices:
            near = nearest(value, choices)
            raise ValueError(" or ".join(choices) + (f" (did you mean {near}?)" if near else ""))
        return value.strip()

    return written(parse)


def _one_topic(value: str) -> tuple[str, ...]:
    if "," in value:
        raise ValueError("one topic: a trigger of type apache-kafka takes a list, and sums its lag")
    return (values.topic(value),)


def _topics(value: str) -> tuple[str, ...]:
    named = [values.topic(part) for part in value.split(",") if part.strip()]
    if not named:
        raise ValueError("a topic, or several with commas between them")
    return tuple(dict.fromkeys(named))


_SWITCH = written(_go_boolean)
_OFFSET_RESET = written(values.one_of(OffsetReset))
_WITHOUT_TOPIC = (
    "Without one, those that the group has committed on or consumes, as one sum: kept while it sleeps, when commits "
    "expire; one that does not exist counts for nothing, where KEDA fails the trigger. While none is known it is held "
    "awake; KEDA counts the whole cluster."
)
_KAFKA_IN_COMMON: tuple[Field, ...] = (
    Field("bootstrapServers", written(values.bootstrap_servers), "", "required", SAME, "HOST:PORT, comma-separated.",
          from_environment=True),
    Field("consumerGroup", written(values.text), "", "required", SAME, "The group.", from_environment=True),
    Field("partitionLimitation", written(_partitions), "all", "1,2,10-20", SAME, "The only partitions that count."),
    Field("lagThreshold", written(values.integer(1)), "10", "at least 1", SAME, "Records a replica is to carry."),
    Field("activationLagThreshold", written(values.integer(0)), "0", "at least 0", SAME, "Wakes on more than this."),
    Field("offsetResetPolicy", _OFFSET_RESET, "latest", "latest or earliest", BETTER,
          "Where a consumer without a commit starts. With latest its offsets are kept for it, so that the record that "
          "wakes it is not skipped; KEDA holds such a target at one replica a partition."),
    Field("allowIdleConsumers", _SWITCH, "false", "", SAME, "More replicas than partitions."),
    Field("excludePersistentLag", _SWITCH, "false", "", SAME, "A partition whose commit stands asks for no replica."),
    Field("scaleToZeroOnInvalidOffset", _SWITCH, "false", "", SAME, "No commit counts as no lag: lossy with latest."),
    Field("limitToPartitionsWithLag", _SWITCH, "false", "", SAME, "No more replicas than partitions with lag."),
    Field("ensureEvenDistributionOfPartitions", _SWITCH, "false", "", SAME,
          "Asks for a count that divides the number of partitions."),
    Field("sasl", _one_word("none", "plaintext", "scram_sha256", "scram_sha512", "oauthbearer"), "none",
          "none, plaintext, scram_sha256, scram_sha512, oauthbearer", SAME,
          "With authenticationRef, which gives username and password. gssapi is refused by name."),
    Field("tls", _one_word("enable", "disable"), "disable", "enable or disable", SAME,
          "Without authenticationRef by the system's authorities, and as nobody."),
)  # fmt: skip

KAFKA: tuple[Field, ...] = (
    *_KAFKA_IN_COMMON,
    Field("topic", written(_one_topic), "those of the group's commits", "", BETTER,
          f"One topic; a trigger of type apache-kafka takes several. {_WITHOUT_TOPIC}", from_environment=True),
    Field("unsafeSsl", _SWITCH, "false", "", SAME, "With tls: the broker's certificate is not verified."),
    Field("saslTokenProvider", _one_word("bearer"), "bearer", "bearer", SAME, "aws_msk_iam is refused by name."),
    Field("version", written(values.text), "1.0.0", "", NO_EFFECT, "Protocol versions are negotiated."),
    Field("fullMetadata", _SWITCH, "true", "", NO_EFFECT, "Only the topics that are needed are ever asked for."),
)  # fmt: skip
APACHE_KAFKA: tuple[Field, ...] = (
    *_KAFKA_IN_COMMON,
    Field("topic", written(_topics), "those of the group's commits", "", BETTER,
          "One topic, or several with commas between them: their lag is one sum, and a topic that is missing is told, "
          f"where KEDA counts it as no lag. {_WITHOUT_TOPIC}", from_environment=True),
)  # fmt: skip

CRON: tuple[Field, ...] = (
    Field("timezone", written(cron.time_zone), "", "required", SAME, "An IANA name."),
    Field("start", written(cron.expression), "", "required", BETTER, "Five fields. At once, not at the next poll."),
    Field("end", written(cron.expression), "", "required", SAME, "Five fields, other than start."),
    Field("desiredReplicas", written(values.integer(1)), "", "required", SAME, "At least so many inside the window."),
)

RESOURCE: tuple[Field, ...] = (
    Field("value", written(values.text), "", "required", SAME, "A percentage for Utilization, else a quantity."),
    Field("type", _one_word("Utilization", "AverageValue"), "", "", SAME, "The old place of metricType."),
    Field("containerName", written(values.text), "the whole Pod", "", SAME, "The only container that counts."),
)

ENTRY: tuple[Field, ...] = (
    Field("type", text, "", "kafka, apache-kafka, cron, cpu, memory", SAME, "Every other type is refused by name."),
    Field("name", text, "", "unique", SAME, ""),
    Field("metadata", whole, "", "", SAME, "The parameters, as strings."),
    Field("metricType", one_of("AverageValue", "Value", "Utilization"), "AverageValue", "", SAME,
          "Utilization for cpu and memory alone; Value for Kafka."),
    Field("useCachedMetrics", boolean, "false", "", BETTER,
          "The HPA is always served the last reading, 15 s old at most. Refused for cpu, memory and cron, as by KEDA."),
    Field("authenticationRef.name", text, "", "", SAME,
          "Reread every ten seconds; KEDA reads it once. Its sources: env, configMapTargetRef, secretTargetRef, "
          "boundServiceAccountToken and filePath; every other is refused by name."),
    Field("authenticationRef.kind", one_of(TRIGGER_AUTHENTICATION, CLUSTER_TRIGGER_AUTHENTICATION),
          TRIGGER_AUTHENTICATION, "", SAME, ""),
)  # fmt: skip
"""Of each entry of `spec.triggers`."""

TYPES: Mapping[str, tuple[Field, ...]] = {
    "kafka": KAFKA,
    "apache-kafka": APACHE_KAFKA,
    "cron": CRON,
    "cpu": RESOURCE,
    "memory": RESOURCE,
}
"""Every type that is supported."""

FROM_ENVIRONMENT = frozenset(
    f"{row.path}{_FROM_ENVIRONMENT}" for table in TYPES.values() for row in table if row.from_environment
)
"""Parameters that name a variable of the target's container."""


KAFKA_TYPES = frozenset({"kafka", "apache-kafka"})


@dataclass(slots=True)
class Triggers:
    """What a list of triggers says, as far as it is right."""

    kafka: list[Trigger] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    resources: list[ResourceMetric] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[SpecError] = field(default_factory=list)

    @property
    def only_resources(self) -> bool:
        """Whether nothing in it can wake: cpu and memory of no Pods are nothing."""
        return bool(self.resources) and not (self.kafka or self.schedules or self.problems)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the triggers of one target are read with."""

    environment: Mapping[str, str]
    """Of the target's container."""
    defaults: AnnotationDefaults
    """The operator's settings."""
    namespace: str
    """Of the target."""
    named: AuthenticationSource | None = None
    """Who says how to log in where a trigger has no authenticationRef."""


def read_triggers(document: Any, around: Surroundings, where: str) -> Triggers:
    """Read a list of triggers, KEDA's `spec.triggers`; every mistake is in the answer, its path below `where`."""
    found = Triggers()
    if not isinstance(document, list) or not document:
        found.problems.append(SpecError(where, shown(document), "a list of at least one trigger"))
        return found
    names: set[str] = set()
    for index, entry in enumerate(document):
        place = f"{where}[{index}]"
        read, problems = read_fields(entry, ENTRY, place)
        found.problems.extend(problems)
        name = read.get("name")
        if name in names:
            found.problems.append(SpecError(f"{place}.name", name, "a name that no other trigger has"))
        names.update([name] if name else [])
        _read_entry(found, read, around, index, place, complete=not problems)
    return found


def _read_entry(
    found: Triggers,
    read: Mapping[str, Any],
    around: Surroundings,
    index: int,
    place: str,
    *,
    complete: bool,
) -> None:
    kind = read.get("type")
    if kind is None:
        if complete:
            found.problems.append(SpecError(f"{place}.type", None, f"it is required; allowed: {', '.join(TYPES)}"))
        return
    if kind not in TYPES:
        allowed = f"{', '.join(TYPES)}; other triggers are not supported"
        found.problems.append(SpecError(f"{place}.type", kind, allowed, nearest(kind, TYPES)))
        return
    if read.get("useCachedMetrics") and kind not in KAFKA_TYPES:
        found.problems.append(SpecError(f"{place}.useCachedMetrics", "true", f"false for a trigger of type {kind}"))
    metadata, problems = _metadata(read.get("metadata", {}), TYPES[kind], around.environment, f"{place}.metadata")
    found.problems.extend(problems)
    if problems:
        return
    if kind == "cron":
        _cron(found, metadata, index, f"{place}.metadata")
    elif kind in {"cpu", "memory"}:
        _resource(found, kind, read, metadata, place)
    else:
        _kafka(found, kind, read, metadata, around, index, place)


def _metadata(
    document: Any, table: tuple[Field, ...], environment: Mapping[str, str], where: str
) -> tuple[dict[str, Any], list[SpecError]]:
    """Read parameters; those that end in ``FromEnv`` from the environment, where the parameter itself is not given."""
    if not isinstance(document, dict):
        return {}, [SpecError(where, shown(document), "a mapping of parameters")]
    problems: list[SpecError] = []
    plain = {name: value for name, value in document.items() if not (isinstance(value, str) and not value.strip())}
    variables: dict[str, tuple[str, str]] = {}
    for row in table:
        name = f"{row.path}{_FROM_ENVIRONMENT}"
        variable = plain.pop(name, None) if row.from_environment else None
        if variable is None or row.path in plain:
            continue
        value = environment.get(str(variable))
        if value is None:
            allowed = "the name of a variable in the target container's env"
            problems.append(SpecError(f"{where}.{name}", str(variable), allowed, nearest(str(variable), environment)))
        elif value.startswith(UNKNOWN):
            problems.append(SpecError(f"{where}.{name}", None, f"{variable}: {value.removeprefix(UNKNOWN)}"))
        else:
            plain[row.path] = value
            variables[f"{where}.{row.path}"] = f"{where}.{name}", str(variable)
    read, wrong = read_fields(plain, table, where)
    for problem in wrong:
        if problem.where in variables:  # the value is not shown: whoever mixes up two variables may have named a secret
            place, variable = variables[problem.where]
            problems.append(SpecError(place, variable, f"a variable that holds {problem.allowed}"))
        else:
            problems.append(problem)
    misspelt = {problem.where.rpartition(".")[2] for problem in problems} | {
        problem.did_you_mean or "" for problem in problems
    }
    problems += [
        SpecError(f"{where}.{row.path}", None, "it is required")
        for row in table
        if row.path in _REQUIRED and row.path not in read and not misspelt & {row.path, f"{row.path}FromEnv"}
    ]
    return read, problems


_REQUIRED = frozenset({"bootstrapServers", "consumerGroup", "timezone", "start", "end", "desiredReplicas", "value"})


def _kafka(
    found: Triggers,
    kind: str,
    read: Mapping[str, Any],
    metadata: Mapping[str, Any],
    around: Surroundings,
    index: int,
    place: str,
) -> None:
    where = f"{place}.metadata"
    problems = _kafka_together(read, metadata, around.defaults, around.named, place)
    found.problems.extend(problems)
    if problems:
        return
    for row in TYPES[kind]:
        if row.treatment is NO_EFFECT and row.path in metadata:
            found.notes.append(f"{where}.{row.path} has no effect: {row.doc[0].lower()}{row.doc[1:].rstrip('.')}")
    topics: tuple[str, ...] = metadata.get("topic", ("",))
    limitation: frozenset[int] = metadata.get("partitionLimitation", frozenset())
    if topics == ("",) and limitation:  # by KEDA's rule
        limitation = frozenset()
        found.notes.append(f"{where}.partitionLimitation has no effect: no topic is named")
    found.kafka.extend(
        Trigger(
            cluster=Cluster(metadata["bootstrapServers"], _credential(read, metadata, around.namespace, around.named)),
            topic=topic,
            group=metadata["consumerGroup"],
            index=index,
            lag_threshold=metadata.get("lagThreshold", 10),
            activation_lag_threshold=metadata.get("activationLagThreshold", 0),
            offset_reset=metadata.get("offsetResetPolicy", OffsetReset.LATEST),
            allow_idle_consumers=metadata.get("allowIdleConsumers", False),
            limit_to_partitions_with_lag=metadata.get("limitToPartitionsWithLag", False),
            exclude_persistent_lag=metadata.get("excludePersistentLag", False),
            ensure_even_distribution=metadata.get("ensureEvenDistributionOfPartitions", False),
            partition_limitation=limitation,
            scale_to_zero_on_invalid_offset=metadata.get("scaleToZeroOnInvalidOffset", False),
            metric_type=MetricType(read.get("metricType", MetricType.AVERAGE_VALUE)),
            topics=topics if len(topics) > 1 else (),
            topics_of_group=topic == "",
        )
        for topic in topics
    )


_CONFLICTS = (
    ("allowIdleConsumers", "limitToPartitionsWithLag"),
    ("limitToPartitionsWithLag", "ensureEvenDistributionOfPartitions"),
)
"""Of these only one may be true."""
_OF_A_TOPIC = ("limitToPartitionsWithLag", "ensureEvenDistributionOfPartitions")
"""These are about the partitions of topics that are named."""


def _kafka_together(
    read: Mapping[str, Any],
    metadata: Mapping[str, Any],
    defaults: AnnotationDefaults,
    named: AuthenticationSource | None,
    place: str,
) -> list[SpecError]:
    where = f"{place}.metadata"
    problems = [
        SpecError(f"{where}.{one}", "true", f"false where {other} is true")
        for one, other in _CONFLICTS
        if metadata.get(one) and metadata.get(other)
    ]
    if "topic" not in metadata:
        problems += [
            SpecError(f"{where}.{name}", "true", "false where no topic is named")
            for name in _OF_A_TOPIC
            if metadata.get(name)
        ]
    if read.get("metricType") == MetricType.UTILIZATION:
        problems.append(SpecError(f"{place}.metricType", "Utilization", "AverageValue or Value for a Kafka trigger"))
    if refused := defaults.refused(metadata["bootstrapServers"]):
        problems.append(SpecError(f"{where}.bootstrapServers", refused, defaults.in_words()))
    if metadata.get("sasl", "none") != "none" and named is None and "authenticationRef.name" not in read:
        what = "only together with authenticationRef, which says with what"
        problems.append(SpecError(f"{where}.sasl", metadata["sasl"], what))
    if "authenticationRef.kind" in read and "authenticationRef.name" not in read:
        problems.append(SpecError(f"{place}.authenticationRef.name", None, "it is required"))
    return problems


def _credential(
    read: Mapping[str, Any], metadata: Mapping[str, Any], namespace: str, named: AuthenticationSource | None
) -> str:
    """Return the key under which the credentials are looked up; empty: none are named.

    A trigger that asks for TLS and names nobody who says with what shows no credentials: not the operator's either.
    """
    said = tuple((key, _as_written(metadata[key])) for key in sorted(FROM_TRIGGER) if key in metadata)
    if name := read.get("authenticationRef.name"):
        kind = read.get("authenticationRef.kind", TRIGGER_AUTHENTICATION)
        return AuthenticationSource(kind, namespace, name, said).key()
    if named is not None:
        return replace(named, metadata=said).key()
    if metadata.get("tls") == "enable":
        return AuthenticationSource(TRIGGER, namespace, "", said).key()
    return ""


def _as_written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _cron(found: Triggers, metadata: Mapping[str, Any], index: int, where: str) -> None:
    start, end = metadata["start"], metadata["end"]
    if start.text == end.text:
        found.problems.append(SpecError(f"{where}.end", end.text, "another moment than start"))
        return
    found.schedules.append(Schedule(start, end, metadata["timezone"], metadata["desiredReplicas"], index))


def _resource(found: Triggers, kind: str, read: Mapping[str, Any], metadata: Mapping[str, Any], place: str) -> None:
    metric_type, value = read.get("metricType") or metadata.get("type"), metadata["value"]
    if metric_type not in {MetricType.UTILIZATION, MetricType.AVERAGE_VALUE}:
        allowed = f"Utilization or AverageValue for a trigger of type {kind}"
        found.problems.append(SpecError(f"{place}.metricType", metric_type, allowed))
    elif metric_type == MetricType.UTILIZATION and not (value.isascii() and value.isdecimal() and int(value) > 0):
        found.problems.append(SpecError(f"{place}.metadata.value", value, "a percentage, such as 60"))
    elif metric_type == MetricType.AVERAGE_VALUE and _QUANTITY.fullmatch(value) is None:
        found.problems.append(SpecError(f"{place}.metadata.value", value, "a quantity, such as 500m or 100Mi"))
    else:
        container = metadata.get("containerName", "")
        found.resources.append(ResourceMetric(kind, MetricType(metric_type), value, container))
