"""The pizza-orders example on the real parts: a Kafka Streams application that stores each order as one document."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from confluent_kafka import Producer

from testbed import builds
from testbed.stage import Workload, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.mongo import Mongo

EXAMPLE = Path(__file__).parents[2] / "examples" / "pizza-orders" / "kubernetes"
PARTITIONS = 5
ORDER_MILLISECONDS = "40"
MOUNT = "/etc/kafka"
SHORT_LIFE = "-XX:TieredStopAtLevel=1"
"""Five or ten JVMs that start at once on two cores: the optimizing compiler costs more than it brings."""


@dataclass
class Pipeline(Workload):
    """The example's Deployment, its topic and the documents that its Pods store."""

    mongo: Mongo
    topic: str = "pizzaOrders"
    group: str = "streams-pipeline-app"
    orders: range = range(1_000_000)
    """The ids that are its own."""

    def deploy(self, *, servers: str = "", client_secret: str = "") -> None:
        """Apply the example's Deployment as it is, but for where its jars lie and whom it talks to; and its topic.

        Args:
            servers: of Kafka, where not those in plain text.
            client_secret: a Secret with Kafka's own `client.properties`.
        """
        self.stage.bed.kafka.create_topic(self.topic, partitions=PARTITIONS)
        deployment = yaml.safe_load((EXAMPLE / "deployment.yaml").read_text())
        deployment["metadata"] |= {"name": self.name, "namespace": self.stage.namespace}
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        jars = builds.ensure(builds.PIZZA_ORDERS) / "target" / "lib"
        container["command"] = [word.replace("/app/lib", str(jars)) for word in container["command"]]
        env = {entry["name"]: entry["value"] for entry in container["env"]} | {
            "BOOTSTRAP_SERVERS": servers or self.stage.bed.kafka.bootstrap_servers,
            "MONGODB_URI": self.mongo.uri,
            "WORK_MILLISECONDS": ORDER_MILLISECONDS,
            "TOPIC": self.topic,
            "APPLICATION_ID": self.group,
            "JAVA_TOOL_OPTIONS": SHORT_LIFE,
        }
        if client_secret:
            env["CLIENT_PROPERTIES"] = f"{MOUNT}/client.properties"
            pod["volumes"] = [{"name": "kafka", "secret": {"secretName": client_secret}}]
            container["volumeMounts"] = [{"name": "kafka", "mountPath": MOUNT}]
        container["env"] = [{"name": name, "value": value} for name, value in env.items()]
        self.stage.api.apply(deployment)

    def produce(self, orders: Sequence[int]) -> None:
        """Orders, spread over the partitions and acknowledged."""
        producer = Producer({"bootstrap.servers": self.stage.bed.kafka.bootstrap_servers, "linger.ms": 0})
        for number in orders:
            lines = [{"product": "margherita", "quantity": 1 + number % 3}]
            order = {"orderId": number, "storeId": number % 40, "status": "accepted", "orderLines": lines}
            producer.produce(self.topic, value=json.dumps(order).encode(), partition=number % PARTITIONS)
        assert producer.flush(30) == 0

    def begin(self) -> None:
        """Let its first order wake it."""
        self.produce(self.orders[:1])
        until(f"one order wakes {self.stage.namespace}/{self.name}", lambda: self.replicas() == 1, 10)

    def quiet(self, scaled_object: str) -> dt.timedelta:
        """How long its ScaledObject had not been active when it was last put to zero."""
        status = self.stage.api.get(self.stage.scaled_object_path(scaled_object))["status"]
        return self.put_to(0) - dt.datetime.fromisoformat(status["lastActiveTime"])

    def has_stored_all(self) -> bool:
        """Whether each of its orders is a document."""
        return self.documents() == len(self.orders)

    def stored(self) -> list[int]:
        """The id of each document of its own."""
        return [document["_id"] for document in self._collection.find(self._own)]

    def documents(self) -> int:
        """How many there are."""
        return int(self._collection.count_documents(self._own))

    @property
    def _own(self) -> dict[str, Any]:
        return {"_id": {"$gte": self.orders.start, "$lt": self.orders.stop}}

    @property
    def _collection(self) -> Any:
        return self.mongo.client["pipelineSink"]["pizzaOrderAnalysis"]
