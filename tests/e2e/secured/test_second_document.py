"""The second document's ScaledObject on the real parts, by each of its two ways to log in, with the times it sets."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from testbed.kafka_config import render_properties
from testbed.stage import Stage, until
from tests.e2e.pipeline import PARTITIONS, Pipeline
from tests.e2e.secured.ground import (
    CANARY,
    FIRST,
    USER,
    client_certificate,
    everything_told,
    grant,
    has_replicas,
    login,
    put_secret,
    start,
    trigger_authentication,
)
from tests.keda_documents import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.bed import Testbed
    from testbed.mongo import Mongo

pytestmark = pytest.mark.real

NAME, AUTHENTICATION, SECRET, HPA = "consumer-demo", "kafka-auth", "kafka-auth-secret", "kafka-hpa"
"""As the document names them, or stands for."""
ORDERS = 1_601
"""One that wakes it; and a backlog that at 25 a second is still worth five replicas when the HPA may take it there."""
COOLDOWN, POLLING, SCALE_UP_WINDOW = dt.timedelta(seconds=60), dt.timedelta(seconds=10), dt.timedelta(seconds=30)
"""As the document sets them."""
HPA_SYNC = dt.timedelta(seconds=2)
SLACK = dt.timedelta(seconds=40)
"""Of a busy machine."""


@pytest.fixture
def other(bed: Testbed) -> Iterator[Stage]:
    """A second namespace: both have an HPA of the one name that the document gives it."""
    made = Stage.on(bed)
    yield made
    made.close()


def second_document(pipeline: Pipeline, servers: str) -> dict[str, Any]:
    """The document as it is printed, with what it leaves to its reader: namespace, address, topic and group."""
    document: dict[str, Any] = yaml.safe_load(SECOND)
    document["metadata"]["namespace"] = pipeline.stage.namespace
    filled = {"bootstrapServers": servers, "topic": pipeline.topic, "consumerGroup": pipeline.group}
    document["spec"]["triggers"][0]["metadata"] |= filled
    return document


def client_properties(secret: Mapping[str, str]) -> str:
    """Credentials as Kafka's own clients take them."""
    trust = {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": secret["ca"]}
    if "sasl" in secret:
        module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return render_properties(
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.jaas.config": f'{module} required username="{USER}" password="{secret["password"]}";',
                **trust,
            }
        )
    return render_properties(
        {
            "security.protocol": "SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": secret["cert"],
            "ssl.keystore.key": secret["key"],
            **trust,
        }
    )


def deploy(
    stage: Stage, mongo: Mongo, listener: str, orders: range, *, client: Mapping[str, str], ours: Mapping[str, str]
) -> Pipeline:
    """Put a pipeline on a listener that asks who one is, and the document's objects beside it.

    Args:
        stage: a namespace of its own.
        mongo: where it stores.
        listener: of the broker.
        orders: ids that are its own.
        client: what the pipeline logs in with.
        ours: what wakegate logs in with, in the document's Secret.
    """
    topic = f"{stage.namespace}-orders"
    pipeline = Pipeline(stage, NAME, mongo, topic=topic, group=topic, orders=orders)
    servers = stage.bed.kafka.bootstrap_servers_of(listener)
    put_secret(stage, "client", **{"client.properties": client_properties(client)})
    pipeline.deploy(servers=servers, client_secret="client")
    put_secret(stage, SECRET, **ours)
    stage.api.apply(
        trigger_authentication(stage, AUTHENTICATION, *ours, secret=SECRET), second_document(pipeline, servers)
    )
    return pipeline


def is_followed(pipeline: Pipeline) -> bool:
    """Whether the HPA of the document's name has computed a count for the one replica that there is."""
    (hpa,) = pipeline.stage.hpas()
    assert hpa["metadata"]["name"] == HPA
    conditions = {entry["type"]: entry["status"] for entry in hpa["status"].get("conditions") or ()}
    return conditions.get("ScalingActive") == "True" and hpa["status"].get("currentReplicas") == 1


def check_times(pipeline: Pipeline, backlog_since: dt.datetime) -> None:
    """Up after the window, never down but to zero, and that after the cooldown."""
    changes = pipeline.changes()
    (five_at,) = [at for at, count, _ in changes if count == PARTITIONS]
    waited = five_at - backlog_since
    # The last lower count was computed up to one sync before the backlog came.
    assert SCALE_UP_WINDOW - HPA_SYNC <= waited <= SCALE_UP_WINDOW + POLLING + HPA_SYNC + SLACK
    counts = [count for _, count, _ in changes]
    assert (counts[0], counts[-1]) == (0, 0)
    assert counts[1:-1] == sorted(counts[1:-1]), f"scaleDown.stabilizationWindowSeconds: 300, and yet {counts}"
    assert COOLDOWN - dt.timedelta(seconds=1) <= pipeline.quiet(NAME) <= COOLDOWN + POLLING + SLACK


def test_the_second_document_as_it_is_printed(stage: Stage, other: Stage, mongo: Mongo) -> None:
    """0 -> 5 -> 0 with each order one document, and restored: by SCRAM-SHA-512 over TLS and by an encrypted key.

    The pipelines are the example's, side by side, and log in in the same way; only that on Java 17 Kafka's own clients
    read no key under PBES2, so that theirs is plain.
    """
    password, certificate = login(stage, FIRST), client_certificate(stage)
    assert "BEGIN ENCRYPTED PRIVATE KEY" in certificate["key"]
    plain = client_certificate(stage, form="EC, PKCS#8")
    pipelines = {
        "scram": deploy(stage, mongo, "SCRAM", range(ORDERS), client=password, ours=password),
        "mtls": deploy(other, mongo, "MTLS", range(ORDERS, 2 * ORDERS), client=plain, ours=certificate),
    }
    for managed in (stage, other):
        grant(managed, "wakegate-secrets-reader", to=stage)
    wakegate = start(stage, other, keda="on")
    for name, pipeline in pipelines.items():
        until(f"{name} sleeps", pipeline.asleep, 120)
    backlog_since = {}
    for name, pipeline in pipelines.items():
        pipeline.begin()
        until(f"the HPA follows {name}", partial(is_followed, pipeline), 30)
        backlog_since[name] = dt.datetime.now(dt.UTC)  # noqa: TID251 - beside the API server's own clock
        pipeline.produce(pipeline.orders[1:])
    for name, pipeline in pipelines.items():
        until(f"the HPA takes {name} to five", partial(has_replicas, pipeline, PARTITIONS), 90)
    for name, pipeline in pipelines.items():
        until(f"every order of {name} is stored", pipeline.has_stored_all, 300)
    for name, pipeline in pipelines.items():
        until(f"{name} sleeps again", partial(has_replicas, pipeline, 0), 120)
        assert sorted(pipeline.stored()) == list(pipeline.orders)
        check_times(pipeline, backlog_since[name])

    told = everything_told(stage, wakegate, other)
    assert CANARY not in told
    assert certificate["key"].splitlines()[3] not in told
    for pipeline in pipelines.values():
        pipeline.stage.api.delete(pipeline.stage.scaled_object_path(NAME))
    for name, pipeline in pipelines.items():
        until(f"{name} is put back", partial(has_replicas, pipeline, 1), 30)
