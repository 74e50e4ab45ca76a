"""A ScaledObject is read as KEDA's users mean it, and every mistake is named with its place and the fix."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml

from activator.core.model import (
    Cluster,
    Fallback,
    FallbackBehavior,
    MetricType,
    OffsetReset,
    OnRelease,
    Policy,
    ResourceMetric,
    SelectPolicy,
    Trigger,
)
from activator.core.naming import metric_name
from activator.specs import authentication
from activator.specs.credentials import KafkaCredentials
from activator.specs.defaults import AnnotationDefaults
from activator.specs.keda.environment import environment_of
from activator.specs.keda.fields import Treatment
from activator.specs.keda.scaled_object import pack, parse_packed, read_scaled_object
from activator.specs.keda.table import SPEC
from activator.specs.keda.triggers import TYPES
from tests.keda_documents import FIRST, SECOND


def read(document: dict[str, Any], **environment: str) -> Policy:
    """Read a document that is right."""
    policy, problems = read_scaled_object(document, environment, AnnotationDefaults())
    assert policy is not None, list(map(str, problems))
    return policy


def changed(path: str, value: Any) -> dict[str, Any]:
    """The first document with one thing changed; None removes it, a leading ``!`` renames the last step."""
    document: dict[str, Any] = yaml.safe_load(FIRST)
    *parents, last = path.split("/")
    node: Any = document
    for step in parents:
        node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
    if last.startswith("!"):
        node[value] = node.pop(last[1:])
    elif isinstance(node, list):
        node[int(last)] = value
    elif value is None:
        del node[last]
    else:
        node[last] = value
    return document


def without_topic(*switches: str) -> dict[str, Any]:
    """The first document with no topic and with these parameters on."""
    document = changed(f"{PARAMETERS}/topic", None)
    document["spec"]["triggers"][0]["metadata"].update(dict.fromkeys(switches, "true"))
    return document


def test_without_a_topic_those_of_the_group_s_commits_count() -> None:
    """The trigger names none, its metric is called after the group as KEDA does, and partitionLimitation is told."""
    document = without_topic()
    document["spec"]["triggers"][0]["metadata"]["partitionLimitation"] = "1,2"
    policy = read(document)
    (trigger,) = policy.triggers
    assert (trigger.topic, trigger.topics, trigger.topics_of_group) == ("", (), True)
    assert trigger.partition_limitation == frozenset()
    assert metric_name(trigger) == "s0-kafka-streams-pipeline-app-topics"
    assert "spec.triggers[0].metadata.partitionLimitation has no effect: no topic is named" in policy.notes


def test_the_first_document_as_it_is_printed() -> None:
    """Every number in it is in the policy, and what has no effect here is said."""
    policy = read(yaml.safe_load(FIRST))
    assert policy.triggers == (
        Trigger(Cluster("host.docker.internal:29092"), "pizzaOrders", "streams-pipeline-app", lag_threshold=10),
    )
    assert (policy.min_replicas, policy.max_replicas, policy.idle_replicas) == (1, 5, 0)
    assert (policy.polling_interval, policy.cooldown) == (timedelta(seconds=5), timedelta(seconds=10))
    assert policy.on_release is OnRelease.KEEP
    assert policy.scaled_object is not None
    assert policy.scaled_object.hpa_name == "keda-hpa-streams-pipeline-app-scaler"
    assert policy.notes == ("spec.triggers[0].metadata.version has no effect: protocol versions are negotiated",)


def test_the_second_document_with_its_indentation_repaired() -> None:
    """The HPA's name and windows, the restoration, and where its credentials are."""
    policy = read(yaml.safe_load(SECOND))
    assert policy.scaled_object is not None
    assert policy.scaled_object.hpa_name == "kafka-hpa"
    assert policy.behavior.scale_down.stabilization == timedelta(seconds=300)
    assert policy.behavior.scale_up.stabilization == timedelta(seconds=30)
    assert policy.on_release is OnRelease.ORIGINAL
    assert policy.triggers[0].cluster == Cluster("kafka:9093", "TriggerAuthentication demo/kafka-auth")


TRIGGER = "spec/triggers/0"
PARAMETERS = f"{TRIGGER}/metadata"
ANNOTATION = "metadata/annotations"

EFFECTS: dict[str, tuple[str, Any, str, Any]] = {
    "kind": ("spec/scaleTargetRef/kind", "StatefulSet", "min_replicas", 1),
    "min 0": ("spec/minReplicaCount", 0, "idle_replicas", 0),
    "max": ("spec/maxReplicaCount", 7, "max_replicas", 7),
    "initial cooldown": ("spec/initialCooldownPeriod", 90, "initial_cooldown", timedelta(seconds=90)),
    "fallback": (
        "spec/fallback",
        {"failureThreshold": 3, "replicas": 4},
        "fallback",
        Fallback(4, timedelta(seconds=20), FallbackBehavior.STATIC),
    ),
    "fallback's behavior": (
        "spec/fallback",
        {"failureThreshold": 0, "replicas": 4, "behavior": "currentReplicasIfLower"},
        "fallback",
        Fallback(4, timedelta(seconds=5), FallbackBehavior.CURRENT_IF_LOWER),
    ),
    "paused": (ANNOTATION, {"autoscaling.keda.sh/paused": "true"}, "paused", True),
    "paused by a typo": (ANNOTATION, {"autoscaling.keda.sh/paused": "yes please"}, "paused", True),
    "not paused": (ANNOTATION, {"autoscaling.keda.sh/paused": "false"}, "paused", False),
    "paused at a count": (ANNOTATION, {"autoscaling.keda.sh/paused-replicas": "2"}, "paused_replicas", 2),
    "scale-in": (ANNOTATION, {"autoscaling.keda.sh/paused-scale-in": "true"}, "pause_scale_in", True),
    "scale-out": (ANNOTATION, {"autoscaling.keda.sh/paused-scale-out": "true"}, "pause_scale_out", True),
    "forced": (ANNOTATION, {"autoscaling.keda.sh/force-activation": "true"}, "force_active", True),
    "dry run": (ANNOTATION, {"wakegate.dev/dry-run": "true"}, "dry_run", True),
    "cpu": (
        "spec/triggers/0",
        {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}},
        "resources",
        None,
    ),
}


@pytest.mark.parametrize(("path", "value", "field", "expected"), EFFECTS.values(), ids=EFFECTS)
def test_a_field_has_its_effect(path: str, value: Any, field: str, expected: Any) -> None:
    """What is read is in the policy."""
    if field == "resources":
        document = changed(path, value)
        del document["spec"]["idleReplicaCount"]
        assert read(document).resources == (ResourceMetric("cpu", MetricType.UTILIZATION, "60"),)
        return
    assert getattr(read(changed(path, value)), field) == expected


PARAMETER_EFFECTS: dict[str, tuple[str, str, Any]] = {
    "lagThreshold": ("7", "lag_threshold", 7),
    "activationLagThreshold": ("3", "activation_lag_threshold", 3),
    "offsetResetPolicy": ("earliest", "offset_reset", OffsetReset.EARLIEST),
    "allowIdleConsumers": ("true", "allow_idle_consumers", True),
    "excludePersistentLag": ("True", "exclude_persistent_lag", True),
    "limitToPartitionsWithLag": ("1", "limit_to_partitions_with_lag", True),
    "ensureEvenDistributionOfPartitions": ("true", "ensure_even_distribution", True),
    "scaleToZeroOnInvalidOffset": ("true", "scale_to_zero_on_invalid_offset", True),
    "partitionLimitation": ("1,2,10-12", "partition_limitation", frozenset({1, 2, 10, 11, 12})),
    "topic": (" orders ", "topic", "orders"),
    "consumerGroup": ("workers", "group", "workers"),
    "bootstrapServers": ("a:1, b:2", "cluster", Cluster("a:1,b:2")),
}


@pytest.mark.parametrize("name", PARAMETER_EFFECTS)
def test_a_parameter_of_kafka_has_its_effect(name: str) -> None:
    """What is read is in the trigger; white space around a value is no part of it."""
    value, field, expected = PARAMETER_EFFECTS[name]
    assert getattr(read(changed(f"{PARAMETERS}/{name}", value)).triggers[0], field) == expected


def test_every_parameter_is_tried() -> None:
    """A parameter that is read and has no effect would be a silent loss."""
    elsewhere = {"sasl", "tls", "unsafeSsl", "saslTokenProvider"}  # what the credential's key holds
    of_table = {row.path for row in TYPES["kafka"] if row.treatment is not Treatment.NO_EFFECT}
    assert of_table - elsewhere == set(PARAMETER_EFFECTS)


def test_what_a_trigger_says_of_its_security_goes_with_the_credential() -> None:
    """Two triggers that differ in it share no connection."""
    document: dict[str, Any] = yaml.safe_load(SECOND)
    document["spec"]["triggers"][0]["metadata"] |= {"sasl": "scram_sha512", "tls": "enable"}
    credential = read(document).triggers[0].cluster.credential
    assert credential == 'TriggerAuthentication demo/kafka-auth {"sasl": "scram_sha512", "tls": "enable"}'


def test_several_triggers_with_windows() -> None:
    """Each keeps its index, because it is part of the metric's name."""
    document = yaml.safe_load(FIRST)
    window = {"timezone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "desiredReplicas": "3"}
    document["spec"]["triggers"].insert(0, {"type": "cron", "metadata": window})
    policy = read(document)
    assert [schedule.index for schedule in policy.schedules] == [0]
    assert [trigger.index for trigger in policy.triggers] == [1]
    assert policy.schedules[0].replicas == 3


def test_a_pause_of_one_direction_is_told_to_the_hpa() -> None:
    """By its selectPolicy, so that 1..N is held as well."""
    policy = read(changed(ANNOTATION, {"autoscaling.keda.sh/paused-scale-in": "true"}))
    assert policy.behavior.scale_down.select is SelectPolicy.DISABLED
    assert policy.behavior.scale_up.select is SelectPolicy.MAX


def test_a_parameter_from_the_environment() -> None:
    """As Kubernetes expands it; the parameter itself wins where both are given."""
    container = {
        "name": "app",
        "env": [
            {"name": "STAGE", "value": "live"},
            {"name": "TOPIC", "value": "$(STAGE)-orders"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
    }
    workload = {"spec": {"template": {"spec": {"containers": [container]}}}}
    environment = environment_of(workload)
    document = changed(f"{PARAMETERS}/topic", None)
    document["spec"]["triggers"][0]["metadata"]["topicFromEnv"] = "TOPIC"
    assert read(document, **environment).triggers[0].topic == "live-orders"
    policy, problems = parse_packed(pack(document, workload), AnnotationDefaults())
    assert policy is not None, problems
    document["spec"]["triggers"][0]["metadata"]["topicFromEnv"] = "PASSWORD"
    _, problems = read_scaled_object(document, environment, AnnotationDefaults())
    assert [str(problem) for problem in problems] == [
        (
            "spec.triggers[0].metadata.topicFromEnv: PASSWORD: its value comes from Secret default/s, which is not "
            "read here"
        )
    ]


@pytest.mark.parametrize(
    ("written", "topics"),
    [("orders", ()), ("orders, refunds", ("orders", "refunds")), ("orders,orders,", ())],
    ids=["one", "two", "one twice"],
)
def test_a_list_of_topics(written: str, topics: tuple[str, ...]) -> None:
    """Of apache-kafka: one trigger for each topic, which know of one another where there are several."""
    document = changed(f"{PARAMETERS}/topic", written)
    parameters = {"bootstrapServers", "consumerGroup", "topic", "lagThreshold"}
    (entry,) = document["spec"]["triggers"]
    entry["type"] = "apache-kafka"
    entry["metadata"] = {key: value for key, value in entry["metadata"].items() if key in parameters}
    triggers = read(document).triggers
    assert [(trigger.topic, trigger.topics, trigger.index) for trigger in triggers] == [
        (topic, topics, 0) for topic in topics or ["orders"]
    ]


def test_tls_needs_nobody_else_to_say_with_what() -> None:
    """By the system's authorities and as nobody: the operator's own credentials are not shown there either."""
    document = changed(f"{PARAMETERS}/tls", "enable")
    document["spec"]["triggers"][0]["metadata"]["unsafeSsl"] = "true"
    credential = read(document).triggers[0].cluster.credential
    source = authentication.AuthenticationSource.of_key(credential)
    assert source.kind == authentication.TRIGGER
    plan = authentication.plan_without_document(source)
    assert plan is not None
    assert authentication.resolve(source, plan, {}).credentials == KafkaCredentials(tls=True, verify=False)
    assert read(changed(f"{PARAMETERS}/tls", "disable")).triggers[0].cluster.credential == ""


def test_what_is_kept_is_read_back_alike() -> None:
    """After a restart the last valid one is read from what was kept."""
    document = changed(ANNOTATION, {"wakegate.dev/handoff": "direct", "example.com/team": "a"})
    policy, _ = parse_packed(pack(document, {}), AnnotationDefaults())
    assert policy is not None
    assert replace(policy, config_hash="") == replace(read(document), config_hash="")


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no target": (changed("spec/scaleTargetRef/name", None), "spec.scaleTargetRef.name: it is required"),
    "Triggers": (
        changed("spec/!triggers", "Triggers"),
        ("spec.Triggers: there is no such field, only advanced, cooldownPeriod, fallback, idleReplicaCount, "
        "initialCooldownPeriod, maxReplicaCount, minReplicaCount, pollingInterval, scaleTargetRef, triggers; "
        "did you mean triggers?"),
    ),
    "lost indentation": (
        changed("spec/behavior", {}),
        "spec.behavior: there is no such field here; it belongs to advanced.horizontalPodAutoscalerConfig.behavior",
    ),
    "polling 0": (
        changed("spec/pollingInterval", 0),
        "spec.pollingInterval is '0'; allowed: a whole number from 1 to 2147483647, without quotes",
    ),
    "a count in quotes": (
        changed("spec/maxReplicaCount", "5"),
        "spec.maxReplicaCount is '5'; allowed: a whole number from 1 to 2147483647, without quotes",
    ),
    "idle 1": (
        changed("spec/idleReplicaCount", 1),
        ("spec.idleReplicaCount is '1'; allowed: 0: any other idle count is one that the HPA raises to its minimum at "
        "once"),
    ),
    "min above max": (
        changed("spec/minReplicaCount", 6),
        "spec.minReplicaCount is '6'; allowed: no more than maxReplicaCount, which is 5",
    ),
    "no triggers": (changed("spec/triggers", []), "spec.triggers is '[]'; allowed: a list of at least one trigger"),
    "another type": (
        changed(f"{TRIGGER}/type", "prometheus"),
        ("spec.triggers[0].type is 'prometheus'; allowed: kafka, apache-kafka, cron, cpu, memory; other triggers are "
        "not supported"),
    ),
    "a misspelt type": (
        changed(f"{TRIGGER}/type", "kafak"),
        ("spec.triggers[0].type is 'kafak'; allowed: kafka, apache-kafka, cron, cpu, memory; other triggers are not "
        "supported; did you mean kafka?"),
    ),
    "a misspelt parameter": (
        changed(f"{PARAMETERS}/!lagThreshold", "lagTreshold"),
        "spec.triggers[0].metadata.lagTreshold: there is no such field, only activationLagThreshold, ",
    ),
    "a threshold of 0": (
        changed(f"{PARAMETERS}/lagThreshold", "0"),
        "spec.triggers[0].metadata.lagThreshold is '0'; allowed: a whole number from 1 to 2147483647",
    ),
    "no quotes": (
        changed(f"{PARAMETERS}/lagThreshold", 10),
        "spec.triggers[0].metadata.lagThreshold is '10'; allowed: a string: write \"10\" in quotes",
    ),
    "no topic for a parameter of topics": (
        without_topic("limitToPartitionsWithLag"),
        "spec.triggers[0].metadata.limitToPartitionsWithLag is 'true'; allowed: false where no topic is named",
    ),
    "two topics": (
        changed(f"{PARAMETERS}/topic", "a,b"),
        ("spec.triggers[0].metadata.topic is 'a,b'; allowed: one topic: a trigger of type apache-kafka takes a list, "
        "and sums its lag"),
    ),
    "an unknown policy": (
        changed(f"{PARAMETERS}/offsetResetPolicy", "first"),
        "spec.triggers[0].metadata.offsetResetPolicy is 'first'; allowed: earliest or latest",
    ),
    "gssapi": (
        changed(f"{PARAMETERS}/sasl", "gssapi"),
        ("spec.triggers[0].metadata.sasl is 'gssapi'; allowed: none or plaintext or scram_sha256 or scram_sha512 or "
        "oauthbearer"),
    ),
    "sasl without credentials": (
        changed(f"{PARAMETERS}/sasl", "plaintext"),
        ("spec.triggers[0].metadata.sasl is 'plaintext'; allowed: only together with authenticationRef, which says "
        "with what"),
    ),
    "half a fallback": (changed("spec/fallback", {"replicas": 3}), "spec.fallback.failureThreshold: it is required"),
    "a fallback that is not there": (
        changed("spec/fallback", {"replicas": 3, "failureThreshold": 3, "behavior": "currentReplica"}),
        ("spec.fallback.behavior is 'currentReplica'; allowed: static or currentReplicas or currentReplicasIfHigher or "
        "currentReplicasIfLower; did you mean currentReplicas?"),
    ),
    "scalingModifiers": (
        changed("spec/advanced", {"scalingModifiers": {"formula": "a", "target": "1"}}),
        "spec.advanced.scalingModifiers: scalingModifiers is not supported: use triggers, the largest counts",
    ),
    "an HPA's window": (
        changed(
            "spec/advanced/horizontalPodAutoscalerConfig/behavior",
            {"scaleDown": {"stabilizationWindowSeconds": 4000}},
        ),
        ("spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds is '4000'; "
        "allowed: a whole number from 0 to 3600"),
    ),
    "two names alike": (
        changed(
            "spec/triggers",
            [
                {"type": "cron", "name": "a", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *",
                 "desiredReplicas": "1"}},
                {"type": "cron", "name": "a", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *",
                 "desiredReplicas": "1"}},
            ],
        ),
        "spec.triggers[1].name is 'a'; allowed: a name that no other trigger has",
    ),
    "a zone": (
        changed(
            TRIGGER,
            {"type": "cron", "metadata": {"timezone": "Berlin", "start": "0 8 * * *", "end": "0 9 * * *",
             "desiredReplicas": "1"}},
        ),
        "spec.triggers[0].metadata.timezone is 'Berlin'; allowed: an IANA time zone such as Europe/Berlin or UTC",
    ),
    "a cron expression": (
        changed(
            TRIGGER,
            {"type": "cron", "metadata": {"timezone": "UTC", "start": "0 25 * * *", "end": "0 9 * * *",
             "desiredReplicas": "1"}},
        ),
        ("spec.triggers[0].metadata.start is '0 25 * * *'; allowed: a cron expression; its hour must be 0 to 23, not "
        "'25'"),
    ),
    "cpu that cannot wake": (
        changed(TRIGGER, {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}),
        ("spec.minReplicaCount is '1'; allowed: at least 1, without idleReplicaCount, where cpu and memory are the "
        "only triggers: they cannot wake"),
    ),
    "cached cron": (
        changed(
            TRIGGER,
            {"type": "cron", "useCachedMetrics": True, "metadata": {"timezone": "UTC", "start": "0 8 * * *",
             "end": "0 9 * * *", "desiredReplicas": "1"}},
        ),
        "spec.triggers[0].useCachedMetrics is 'true'; allowed: false for a trigger of type cron",
    ),
    "contrary parameters": (
        changed(PARAMETERS, yaml.safe_load(FIRST)["spec"]["triggers"][0]["metadata"]
                | {"allowIdleConsumers": "true", "limitToPartitionsWithLag": "true"}),
        "spec.triggers[0].metadata.allowIdleConsumers is 'true'; allowed: false where limitToPartitionsWithLag is true",
    ),
    "a misspelt annotation": (
        changed(ANNOTATION, {"autoscaling.keda.sh/pause": "true"}),
        ("metadata.annotations[autoscaling.keda.sh/pause]: there is no such annotation on a ScaledObject; did you mean "
        "autoscaling.keda.sh/paused?"),
    ),
    "a pause at no count": (
        changed(ANNOTATION, {"autoscaling.keda.sh/paused-replicas": "none"}),
        ("metadata.annotations[autoscaling.keda.sh/paused-replicas] is 'none'; allowed: a whole number from 0 to "
        "2147483647"),
    ),
    "an HPA to take over": (
        changed(ANNOTATION, {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}),
        ("spec.advanced.horizontalPodAutoscalerConfig.name: it is required where transfer-hpa-ownership is true: which "
        "HPA?"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(document: dict[str, Any], expected: str) -> None:
    """One sentence: the place, the value, what is allowed, and the name that was meant."""
    policy, problems = read_scaled_object(document, {}, AnnotationDefaults())
    assert policy is None
    assert len(problems) == 1, list(map(str, problems))
    assert str(problems[0]).startswith(expected)


def test_addresses_that_the_operator_does_not_allow() -> None:
    """The same limit as for annotated workloads."""
    defaults = AnnotationDefaults(allowed_bootstrap_servers=frozenset({"kafka:9092"}))
    _, problems = read_scaled_object(yaml.safe_load(FIRST), {}, defaults)
    assert [str(problem) for problem in problems] == [
        "spec.triggers[0].metadata.bootstrapServers is 'host.docker.internal:29092'; allowed: kafka:9092"
    ]


def test_every_field_says_what_becomes_of_it() -> None:
    """The page that is made from the table has a sentence in every row."""
    assert [row.path for row in SPEC if not row.doc] == []
