"""KEDA's own YAML on the real parts: a ScaledObject as printed takes a pipeline 0 -> 5 -> 0, errs, and is deleted."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka import Producer

from testbed import builds
from testbed.errors import ApiError
from testbed.mongo import Mongo
from testbed.stage import Stage, until
from tests.keda_documents import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.bed import Testbed

pytestmark = pytest.mark.real

NAMESPACE, TOPIC, GROUP, PARTITIONS = "pipeline", "pizzaOrders", "streams-pipeline-app", 5
NAME = "streams-pipeline-app-scaler"
EXAMPLE = Path(__file__).parents[2] / "examples" / "pizza-orders" / "kubernetes"
ADDRESS = "host.docker.internal:29092"
"""As the document and the example write it."""
ORDER_MILLISECONDS = "40"
ORDERS = 1001


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


@pytest.fixture
def mongo(keda_bed: Testbed) -> Iterator[Mongo]:
    """Where the pipeline stores what it makes of the orders."""
    with Mongo(keda_bed.run_directory) as running:
        yield running


@dataclass
class Pipeline:
    """The example's Deployment and the documents that its Pods store."""

    stage: Stage
    mongo: Mongo

    @classmethod
    def deploy(cls, stage: Stage, mongo: Mongo) -> Pipeline:
        """Apply the example's Deployment as it is, but for where its jars lie and whom it talks to; and its topic."""
        stage.bed.kafka.create_topic(TOPIC, partitions=PARTITIONS)
        deployment = yaml.safe_load((EXAMPLE / "deployment.yaml").read_text())
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        jars = builds.ensure(builds.PIZZA_ORDERS) / "target" / "lib"
        container["command"] = [word.replace("/app/lib", str(jars)) for word in container["command"]]
        env = {entry["name"]: entry for entry in container["env"]}
        env["BOOTSTRAP_SERVERS"]["value"] = stage.bed.kafka.bootstrap_servers
        env["MONGODB_URI"]["value"] = mongo.uri
        env["WORK_MILLISECONDS"]["value"] = ORDER_MILLISECONDS
        stage.api.apply(deployment)
        return cls(stage, mongo)

    def replicas(self) -> int:
        """spec.replicas as it is."""
        path = f"/apis/apps/v1/namespaces/{self.stage.namespace}/deployments/streams-pipeline-app"
        return int(self.stage.api.get(path)["spec"].get("replicas", 0))

    def last_sleep(self) -> dt.datetime:
        """When it was last put to zero."""
        return max(
            event.completed_at
            for event in self.stage.bed.control_plane.audit_events()
            if event.is_scale_write
            and (event.namespace, event.name) == (self.stage.namespace, "streams-pipeline-app")
            and (event.status, event.requested_replicas) == (HTTPStatus.OK, 0)
        )

    def stored(self) -> list[int]:
        """The id of each document."""
        return [document["_id"] for document in self._collection.find()]

    def documents(self) -> int:
        """How many there are."""
        return int(self._collection.count_documents({}))

    @property
    def _collection(self) -> Any:
        return self.mongo.client["pipelineSink"]["pizzaOrderAnalysis"]


def produce(stage: Stage, orders: range) -> None:
    """Orders, spread over the partitions and acknowledged."""
    producer = Producer({"bootstrap.servers": stage.bed.kafka.bootstrap_servers, "linger.ms": 0})
    for number in orders:
        lines = [{"product": "margherita", "quantity": 1 + number % 3}]
        order = {"orderId": number, "storeId": number % 40, "status": "accepted", "orderLines": lines}
        producer.produce(TOPIC, value=json.dumps(order).encode(), partition=number % PARTITIONS)
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


def test_the_example_says_what_the_document_says() -> None:
    """The ScaledObject beside the example is the document's, word by word."""
    assert (EXAMPLE / "scaled-object.yaml").read_text().strip() == FIRST.strip()


def test_the_first_document_as_it_is_printed(pipeline: Stage, mongo: Mongo) -> None:
    """0 -> 5 -> 0 with each order one document, a mistake that strands nothing, a deletion that leaves the count.

    The pipeline is the example's, a Kafka Streams application.
    """
    stage = pipeline
    consumer = Pipeline.deploy(stage, mongo)
    stage.wakegate().start()
    document = yaml.safe_load(FIRST.replace(ADDRESS, stage.bed.kafka.bootstrap_servers))
    stage.api.apply(document)
    until("it is Ready", lambda: is_condition(stage, "Ready", "True", "ScaledObjectReady"), 30)
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
    until("it says so", lambda: is_condition(stage, "Active", "False", "ScalerNotActive"), 30)
    assert [hpa["metadata"]["name"] for hpa in stage.hpas()] == [f"keda-hpa-{NAME}"]

    produce(stage, range(1))
    until("one order wakes it", lambda: consumer.replicas() == 1, 10)
    produce(stage, range(1, ORDERS))
    until("the HPA takes it to five", lambda: consumer.replicas() == PARTITIONS, 60)
    until("it is Active", lambda: is_condition(stage, "Active", "True", "ScalerActive"), 30)
    until("every order is stored", lambda: consumer.documents() == ORDERS, 150)
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    assert sorted(consumer.stored()) == list(range(ORDERS))
    active_at = dt.datetime.fromisoformat(scaled_object(stage)["status"]["lastActiveTime"])
    asleep_at = consumer.last_sleep()
    assert dt.timedelta(seconds=9) <= asleep_at - active_at <= dt.timedelta(seconds=30), "cooldownPeriod: 10"
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
    produce(stage, range(ORDERS, ORDERS + 1))
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
    stage.api.delete(path_of(stage))
    until("it is put back", lambda: consumer.replicas() == 1, 30)
    until("it is gone", lambda: not scaled_object(stage), 30)
