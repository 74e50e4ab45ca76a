"""KEDA's own YAML on the real parts: a ScaledObject as printed takes a consumer 0 -> 5 -> 0, errs, and is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka import Producer

from testbed import workloads
from testbed.errors import ApiError
from testbed.stage import Consumer, Stage, install_keda_crds, remove_keda_crds, until
from tests.keda_documents import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.bed import Testbed

pytestmark = pytest.mark.real

NAMESPACE, TOPIC, GROUP, PARTITIONS = "pipeline", "pizzaOrders", "streams-pipeline-app", 5
NAME = "streams-pipeline-app-scaler"


@pytest.fixture(scope="module")
def keda_bed(quick_bed: Testbed) -> Iterator[Testbed]:
    """With KEDA's CRDs as they are written here."""
    install_keda_crds(quick_bed)
    yield quick_bed
    remove_keda_crds(quick_bed)


@pytest.fixture
def stage(keda_bed: Testbed) -> Iterator[Stage]:
    """A stage on it."""
    made = Stage.on(keda_bed)
    yield made
    made.close()


@pytest.fixture
def pipeline(keda_bed: Testbed) -> Iterator[Stage]:
    """The namespace that the document names."""
    made = Stage(keda_bed, NAMESPACE)
    made.api.create_namespaces([NAMESPACE])
    yield made
    made.close()


def path_of(stage: Stage) -> str:
    """Of the ScaledObject, at the API server."""
    return f"/apis/keda.sh/v1alpha1/namespaces/{stage.namespace}/scaledobjects/{NAME}"


def deploy(stage: Stage, topic: str = TOPIC) -> Consumer:
    """The document's Deployment, without any annotation, and its topic."""
    servers = stage.bed.kafka.bootstrap_servers
    stage.bed.kafka.create_topic(topic, partitions=PARTITIONS)
    path = stage.bed.run_directory / f"{topic}.ledger"
    stage.api.apply(
        workloads.consumer_deployment(
            "streams-pipeline-app",
            namespace=stage.namespace,
            bootstrap_servers=servers,
            topic=topic,
            group=topic if topic != TOPIC else GROUP,
            ledger=path,
            auto_offset_reset="latest",
            work_milliseconds=60,
            commit_milliseconds=200,
        )
    )
    return Consumer(stage, "streams-pipeline-app", path)


def produce(stage: Stage, count: int) -> None:
    """Orders, spread over the partitions and acknowledged."""
    producer = Producer({"bootstrap.servers": stage.bed.kafka.bootstrap_servers, "linger.ms": 0})
    for number in range(count):
        producer.produce(TOPIC, value=f"{number}".encode(), partition=number % PARTITIONS)
    assert producer.flush(30) == 0


def scaled_object(stage: Stage) -> dict[str, Any]:
    """The ScaledObject as it is; empty: it is gone."""
    try:
        found: dict[str, Any] = stage.api.get(path_of(stage))
    except ApiError:
        return {}
    return found


def condition(stage: Stage, kind: str) -> dict[str, str]:
    """One of its conditions; empty: not set yet."""
    conditions = scaled_object(stage).get("status", {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})


def is_condition(stage: Stage, kind: str, status: str, reason: str) -> bool:
    """Whether a condition says this."""
    found = condition(stage, kind)
    return (found.get("status"), found.get("reason")) == (status, reason)


def test_the_first_document_as_it_is_printed(pipeline: Stage) -> None:
    """0 -> 5 -> 0 by an HPA of KEDA's name, a mistake that strands nothing, and a deletion that leaves the count."""
    stage = pipeline
    consumer = deploy(stage)
    stage.wakegate().start()
    document = yaml.safe_load(FIRST.replace("host.docker.internal:29092", stage.bed.kafka.bootstrap_servers))
    stage.api.apply(document)
    until("it is Ready", lambda: is_condition(stage, "Ready", "True", "ScaledObjectReady"), 30)
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
    until("it says so", lambda: is_condition(stage, "Active", "False", "ScalerNotActive"), 30)
    assert [hpa["metadata"]["name"] for hpa in stage.hpas()] == [f"keda-hpa-{NAME}"]

    produce(stage, 1)
    until("one order wakes it", lambda: consumer.replicas() == 1, 10)
    produce(stage, 500)
    until("the HPA takes it to five", lambda: consumer.replicas() == PARTITIONS, 60)
    until("it is Active", lambda: is_condition(stage, "Active", "True", "ScalerActive"), 30)
    until("every order is consumed", lambda: consumer.consumed() == 501, 120)
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    until("it was told", lambda: stage.events("KEDAScaleTargetDeactivated", NAME), 30)
    assert stage.events("KEDAScaleTargetActivated", NAME)

    status = scaled_object(stage)["status"]
    assert status["scaleTargetKind"] == "apps/v1.Deployment"
    assert status["originalReplicaCount"] == 1
    assert status["externalMetricNames"] == ["s0-kafka-pizzaOrders"]
    assert status["triggersTypes"] == "kafka"

    stage.api.patch(path_of(stage), {"spec": {"triggers": [{**document["spec"]["triggers"][0], "type": "kafak"}]}})
    until("the mistake is named", lambda: is_condition(stage, "Ready", "False", "ScaledObjectCheckFailed"), 30)
    assert "did you mean kafka?" in condition(stage, "Ready")["message"]
    produce(stage, 1)
    until("the last valid words hold", lambda: consumer.replicas() >= 1, 15)
    stage.api.patch(path_of(stage), {"spec": {"triggers": document["spec"]["triggers"]}})
    until("it is Ready again", lambda: is_condition(stage, "Ready", "True", "ScaledObjectReady"), 30)
    until("and sleeps", lambda: consumer.replicas() == 0, 60)

    stage.api.delete(path_of(stage))
    until("its HPA is gone", lambda: not stage.hpas(), 30)
    until("it is gone itself", lambda: not scaled_object(stage), 30)
    assert consumer.replicas() == 0, "without restoreToOriginalReplicaCount the count stays"


def test_a_target_that_is_not_there_and_one_to_be_restored(stage: Stage) -> None:
    """A missing target is said and picked up when it comes; restoreToOriginalReplicaCount puts the count back."""
    stage.wakegate().start()
    document = yaml.safe_load(FIRST)
    document["metadata"]["namespace"] = stage.namespace
    document["spec"]["advanced"] = {"restoreToOriginalReplicaCount": True}
    topic = f"{stage.namespace}-orders"
    document["spec"]["triggers"][0]["metadata"] |= {
        "bootstrapServers": stage.bed.kafka.bootstrap_servers,
        "topic": topic,
        "consumerGroup": topic,
    }
    stage.api.apply(document)
    until("it is said", lambda: is_condition(stage, "Ready", "False", "ScaledObjectCheckFailed"), 30)
    assert "there is no Deployment" in condition(stage, "Ready")["message"]
    consumer = deploy(stage, topic)
    until("it sleeps", lambda: consumer.replicas() == 0, 90)
    stage.api.delete(path_of(stage))
    until("it is put back", lambda: consumer.replicas() == 1, 30)
    until("it is gone", lambda: not scaled_object(stage), 30)
