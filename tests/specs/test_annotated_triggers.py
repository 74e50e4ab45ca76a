"""`wakegate.dev/triggers`: KEDA's list of triggers on a Deployment, with the other annotations as their defaults."""

from __future__ import annotations

import pytest

from activator.core.model import (
    Cluster,
    IsolationLevel,
    MetricType,
    OffsetReset,
    Policy,
    ResourceMetric,
    Trigger,
)
from activator.core.naming import ANNOTATION_PREFIX
from activator.specs.annotations import parse
from activator.specs.defaults import AnnotationDefaults

DEFAULTS = AnnotationDefaults(bootstrap_servers="kafka:9092")
TWO = """
- type: kafka
  metadata: {topic: orders}
- type: apache-kafka
  metadata: {topic: returns, consumerGroup: others, bootstrapServers: "other:9092", lagThreshold: "100"}
"""


def read(**written: str) -> tuple[Policy | None, list[str]]:
    """Read annotations, given with underscores."""
    names = {ANNOTATION_PREFIX + name.replace("_", "-"): value for name, value in written.items()}
    policy, problems = parse(names, DEFAULTS, "shop")
    return policy, [str(problem) for problem in problems]


def accepted(**written: str) -> Policy:
    """Read annotations without a mistake."""
    policy, problems = read(**written)
    assert problems == []
    assert policy is not None
    return policy


def test_several_topics() -> None:
    """Each trigger has its own group and threshold; what one leaves out is taken from the annotations."""
    policy = accepted(triggers=TWO, consumer_group="workers", lag_threshold="7", offset_reset_policy="earliest")
    common = {"offset_reset": OffsetReset.EARLIEST}
    assert policy.triggers == (
        Trigger(Cluster("kafka:9092"), "orders", "workers", 0, lag_threshold=7, **common),  # type: ignore[arg-type]
        Trigger(Cluster("other:9092"), "returns", "others", 1, lag_threshold=100, **common),  # type: ignore[arg-type]
    )


def test_the_isolation_level_holds_for_all() -> None:
    """It has no parameter of KEDA's."""
    policy = accepted(triggers=TWO, consumer_group="workers", isolation_level="read_committed")
    assert {trigger.isolation for trigger in policy.triggers} == {IsolationLevel.READ_COMMITTED}


def test_a_window_and_cpu_beside_lag() -> None:
    """What a ScaledObject can be driven by, a Deployment can."""
    policy = accepted(
        consumer_group="workers",
        triggers="""
- {type: kafka, metadata: {topic: orders}}
- {type: cron, metadata: {timezone: UTC, start: 0 8 * * *, end: 0 18 * * *, desiredReplicas: "2"}}
- {type: cpu, metricType: Utilization, metadata: {value: "60"}}
""",
    )
    assert [trigger.topic for trigger in policy.triggers] == ["orders"]
    assert [(schedule.index, schedule.replicas) for schedule in policy.schedules] == [(1, 2)]
    assert policy.resources == (ResourceMetric("cpu", MetricType.UTILIZATION, "60"),)


CREDENTIALS = {
    "a Secret for all": ({"authentication_secret": "kafka"}, "", "Secret shop/kafka"),
    "a TriggerAuthentication for all": ({"authentication_ref": "kafka"}, "", "TriggerAuthentication shop/kafka"),
    "one of its own": (
        {"authentication_secret": "kafka"},
        "authenticationRef: {name: own}, ",
        "TriggerAuthentication shop/own",
    ),
}


@pytest.mark.parametrize(("annotation", "entry", "credential"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_who_says_how_to_log_in(annotation: dict[str, str], entry: str, credential: str) -> None:
    """The trigger's own authenticationRef before the annotations'; all in the workload's namespace."""
    triggers = f"[{{type: kafka, {entry}metadata: {{topic: orders, consumerGroup: g}}}}]"
    assert accepted(triggers=triggers, **annotation).triggers[0].cluster.credential == credential


KAFKA = "[{type: kafka, metadata: {topic: orders}}]"
CPU = "[{type: cpu, metricType: Utilization, metadata: {value: '60'}}]"
MISTAKES: dict[str, tuple[dict[str, str], list[str]]] = {
    "a topic beside them": (
        {"triggers": KAFKA, "consumer_group": "g", "topic": "mails"},
        ["wakegate.dev/topic is 'mails'; allowed: only without triggers, which name theirs"],
    ),
    "no group anywhere": (
        {"triggers": KAFKA},
        ["wakegate.dev/triggers[0].metadata.consumerGroup: it is required"],
    ),
    "a type that there is not": (
        {"triggers": "[{type: kafak, metadata: {topic: orders}}]"},
        [
            (
                "wakegate.dev/triggers[0].type is 'kafak'; allowed: kafka, apache-kafka, cron, cpu, memory; other "
                "triggers are not supported; did you mean kafka?"
            )
        ],
    ),
    "a misspelt parameter of the second": (
        {"consumer_group": "g", "triggers": f"{KAFKA[:-1]}, {{type: kafka, metadata: {{topc: mails}}}}]"},
        [
            (
                "wakegate.dev/triggers[1].metadata.topc: there is no such field, only activationLagThreshold, "
                "allowIdleConsumers, bootstrapServers, consumerGroup, ensureEvenDistributionOfPartitions, "
                "excludePersistentLag, fullMetadata, lagThreshold, limitToPartitionsWithLag, offsetResetPolicy, "
                "partitionLimitation, sasl, saslTokenProvider, scaleToZeroOnInvalidOffset, tls, topic, unsafeSsl, "
                "version; did you mean topic?"
            )
        ],
    ),
    "the container's env": (
        {"consumer_group": "g", "triggers": "[{type: kafka, metadata: {topicFromEnv: TOPIC}}]"},
        ["wakegate.dev/triggers[0].metadata.topicFromEnv: not in an annotation: write the parameter itself"],
    ),
    "nothing that could wake it": (
        {"triggers": CPU},
        [
            (
                "wakegate.dev/idle-replica-count is '0'; allowed: none where cpu and memory are the only triggers: "
                "they cannot wake"
            )
        ],
    ),
    "a fallback for nothing": (
        {"triggers": CPU, "idle_replica_count": "none", "fallback_replicas": "3"},
        ["wakegate.dev/fallback-replicas: only with a trigger that is neither cpu nor memory"],
    ),
}


@pytest.mark.parametrize(("written", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_once_with_its_path(written: dict[str, str], expected: list[str]) -> None:
    """Below the annotation's key, so that its line is found in a file."""
    policy, problems = read(**written)
    assert policy is None
    assert problems == expected
