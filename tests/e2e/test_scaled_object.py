"""KEDA's own YAML on the real parts: a ScaledObject as printed takes a pipeline 0 -> 5 -> 0, errs, and is deleted."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from testbed.errors import ApiError
from testbed.stage import Stage, until
from tests.e2e.pipeline import EXAMPLE, PARTITIONS, Pipeline
from tests.keda_documents import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.bed import Testbed
    from testbed.mongo import Mongo

pytestmark = pytest.mark.real

NAMESPACE, DEPLOYMENT = "pipeline", "streams-pipeline-app"
NAME = "streams-pipeline-app-scaler"
ADDRESS = "host.docker.internal:29092"
"""As the document and the example write it."""
ORDERS = 1001


@pytest.fixture
def bed(keda_bed: Testbed) -> Testbed:
    """With KEDA's CRDs."""
    return keda_bed


@pytest.fixture
def pipeline(bed: Testbed) -> Iterator[Stage]:
    """The namespace that the document names."""
    made = Stage(bed, NAMESPACE)
    made.api.create_namespaces([NAMESPACE])
    yield made
    made.close()


def scaled_object(stage: Stage) -> dict[str, Any]:
    """The ScaledObject as it is; empty: it is gone."""
    try:
        found: dict[str, Any] = stage.api.get(stage.scaled_object_path(NAME))
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


def test_the_example_says_what_the_document_says() -> None:
    """The ScaledObject beside the example is the document's, word by word."""
    assert (EXAMPLE / "scaled-object.yaml").read_text().strip() == FIRST.strip()


def test_the_first_document_as_it_is_printed(pipeline: Stage, mongo: Mongo) -> None:
    """0 -> 5 -> 0 with each order one document, a mistake that strands nothing, a deletion that leaves the count.

    The pipeline is the example's, a Kafka Streams application.
    """
    stage = pipeline
    consumer = Pipeline(stage, DEPLOYMENT, mongo, orders=range(ORDERS))
    consumer.deploy()
    stage.wakegate().start()
    document = yaml.safe_load(FIRST.replace(ADDRESS, stage.bed.kafka.bootstrap_servers))
    stage.api.apply(document)
    until("it is Ready", lambda: is_condition(stage, "Ready", "True", "ScaledObjectReady"), 30)
    until("it sleeps", consumer.asleep, 90)
    until("it says so", lambda: is_condition(stage, "Active", "False", "ScalerNotActive"), 30)
    assert [hpa["metadata"]["name"] for hpa in stage.hpas()] == [f"keda-hpa-{NAME}"]

    consumer.begin()
    consumer.produce(consumer.orders[1:])
    until("the HPA takes it to five", lambda: consumer.replicas() == PARTITIONS, 60)
    until("it is Active", lambda: is_condition(stage, "Active", "True", "ScalerActive"), 30)
    until("every order is stored", consumer.has_stored_all, 150)
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    assert sorted(consumer.stored()) == list(consumer.orders)
    assert dt.timedelta(seconds=9) <= consumer.quiet(NAME) <= dt.timedelta(seconds=30), "cooldownPeriod: 10"
    until("it was told", lambda: stage.events("KEDAScaleTargetDeactivated", NAME), 30)
    assert stage.events("KEDAScaleTargetActivated", NAME)

    status = scaled_object(stage)["status"]
    assert status["scaleTargetKind"] == "apps/v1.Deployment"
    assert status["originalReplicaCount"] == 1
    assert status["externalMetricNames"] == ["s0-kafka-pizzaOrders"]
    assert status["triggersTypes"] == "kafka"

    path = stage.scaled_object_path(NAME)
    stage.api.patch(path, {"spec": {"triggers": [{**document["spec"]["triggers"][0], "type": "kafak"}]}})
    until("the mistake is named", lambda: is_condition(stage, "Ready", "False", "ScaledObjectCheckFailed"), 30)
    assert "did you mean kafka?" in condition(stage, "Ready")["message"]
    consumer.produce(range(ORDERS, ORDERS + 1))
    until("the last valid words hold", lambda: consumer.replicas() >= 1, 15)
    stage.api.patch(path, {"spec": {"triggers": document["spec"]["triggers"]}})
    until("it is Ready again", lambda: is_condition(stage, "Ready", "True", "ScaledObjectReady"), 30)
    until("and sleeps", lambda: consumer.replicas() == 0, 60)

    stage.api.delete(path)
    until("its HPA is gone", lambda: not stage.hpas(), 30)
    until("it is gone itself", lambda: not scaled_object(stage), 30)
    assert consumer.replicas() == 0, "without restoreToOriginalReplicaCount the count stays"


def test_a_target_that_is_not_there_and_one_to_be_restored(stage: Stage) -> None:
    """A missing target is said and picked up when it comes; restoreToOriginalReplicaCount puts the count back."""
    stage.wakegate().start()
    document = yaml.safe_load(FIRST)
    document["metadata"]["namespace"] = stage.namespace
    document["spec"]["advanced"] = {"restoreToOriginalReplicaCount": True}
    topic = f"{stage.namespace}-streams-pipeline-app"
    document["spec"]["triggers"][0]["metadata"] |= {
        "bootstrapServers": stage.bed.kafka.bootstrap_servers,
        "topic": topic,
        "consumerGroup": topic,
    }
    stage.api.apply(document)
    until("it is said", lambda: is_condition(stage, "Ready", "False", "ScaledObjectCheckFailed"), 30)
    assert "there is no Deployment" in condition(stage, "Ready")["message"]
    consumer = stage.bare_consumer("streams-pipeline-app")
    until("it sleeps", lambda: consumer.replicas() == 0, 90)
    stage.api.delete(stage.scaled_object_path(NAME))
    until("it is put back", lambda: consumer.replicas() == 1, 30)
    until("it is gone", lambda: not scaled_object(stage), 30)
