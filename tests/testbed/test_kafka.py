"""Kafka in its other shapes: three nodes, and secured listeners."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # exported, not declared as such
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from testbed.errors import PartFailedError, TestbedError
from testbed.kafka import KafkaCluster
from testbed.kafka_config import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_only_one_or_three_nodes(tmp_path: Path) -> None:
    """Two nodes have no majority without each other: they prove nothing."""
    with pytest.raises(TestbedError, match="1 or 3 nodes here, not 2"):
        KafkaCluster(tmp_path, nodes=2)


@pytest.mark.real
def test_three_nodes_survive_the_loss_of_one(tmp_path: Path) -> None:
    """With one of three nodes killed every partition has a leader again; the node comes back to its port."""
    with KafkaCluster(tmp_path, nodes=3) as cluster:
        cluster.create_topic("orders", partitions=6)
        lost = cluster.node(2)
        address = lost.bootstrap_server
        lost.kill()

        def leaders() -> set[int]:
            return {
                part.leader
                for part in cluster.admin().list_topics("orders", timeout=10).topics["orders"].partitions.values()
            }

        deadline = time.monotonic() + 30
        while leaders() != {1, 3}:
            assert time.monotonic() < deadline, leaders()
            time.sleep(0.1)
        lost.start_and_wait()
        cluster.wait_ready()
        assert lost.bootstrap_server == address


@pytest.mark.real
def test_the_first_commit_of_a_fresh_cluster_holds(tmp_path: Path) -> None:
    """Its coordinator is still loading: it refuses every partition within an answer that is no error."""
    wanted = {("orders", number): 3 for number in range(3)}
    with KafkaCluster(tmp_path) as cluster:
        cluster.create_topic("orders", partitions=3)
        cluster.commit("workers", wanted)
        places = [TopicPartition(topic, number) for topic, number in wanted]
        admin = cluster.admin()
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("workers", places)])
        answer = asked["workers"].result(10).topic_partitions
        assert {(place.topic, place.partition): place.offset for place in answer} == wanted


@pytest.mark.real
def test_a_commit_that_is_refused_is_an_error(kafka: KafkaCluster) -> None:
    """A partition that does not exist is named with what the broker said."""
    kafka.create_topic("commit-of-one")
    with pytest.raises(PartFailedError, match=r"group workers.*commit-of-one.*7.*UNKNOWN_TOPIC_OR_PART"):
        kafka.commit("workers", {("commit-of-one", 0): 0, ("commit-of-one", 7): 0})


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A node with a listener of each kind, and with ACLs."""
    listeners = [
        Listener("SASL_SSL", sasl_mechanism="SCRAM-SHA-512", users={"alice": "wonderland"}),
        Listener("SASL_PLAINTEXT", sasl_mechanism="PLAIN", users={"bob": "builder"}),
        Listener("SSL", require_client_certificate=True),
    ]
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # whoever comes through PLAINTEXT, brokers included
    }
    with KafkaCluster(tmp_path_factory.mktemp("kafka"), properties=properties, listeners=listeners) as cluster:
        yield cluster


def login(protocol: str, mechanism: str, user: str, password: str) -> dict[str, str]:
    """Librdkafka's settings for a login."""
    return {
        "security.protocol": protocol,
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
    }


def brokers(cluster: KafkaCluster, listener: str, settings: dict[str, str], *, seconds: float = 30) -> int:
    """Ask for metadata through a listener; errors of librdkafka are not printed.

    The first login of a broker takes a busy machine some seconds; who is kept out asks until the time is over.
    """
    servers = cluster.bootstrap_servers_of(listener)
    client = AdminClient({"bootstrap.servers": servers, "log_level": "0", **settings})
    return len(client.list_topics(timeout=seconds).brokers)


@pytest.mark.real
def test_secured_listeners_let_the_right_ones_in(secured: KafkaCluster) -> None:
    """SCRAM over TLS, PLAIN and mutual TLS each work beside PLAINTEXT."""
    pair = secured.authority.issue("carol")
    authority = {"ssl.ca.location": str(secured.authority.certificate)}
    mutual = {"ssl.certificate.location": str(pair.certificate), "ssl.key.location": str(pair.key)}
    assert brokers(secured, "PLAINTEXT", {}) == 1
    scram = login("SASL_SSL", "SCRAM-SHA-512", "alice", "wonderland")
    assert brokers(secured, "SASL_SSL", {**scram, **authority}) == 1
    assert brokers(secured, "SASL_PLAINTEXT", login("SASL_PLAINTEXT", "PLAIN", "bob", "builder")) == 1
    assert brokers(secured, "SSL", {"security.protocol": "SSL", **authority, **mutual}) == 1


@pytest.mark.real
def test_secured_listeners_keep_others_out(secured: KafkaCluster) -> None:
    """A wrong password, an unknown authority and a missing client certificate are refused."""
    authority = {"ssl.ca.location": str(secured.authority.certificate)}
    refused = [
        ("SASL_SSL", {**login("SASL_SSL", "SCRAM-SHA-512", "alice", "wrong"), **authority}),
        ("SASL_SSL", login("SASL_SSL", "SCRAM-SHA-512", "alice", "wonderland")),
        ("SASL_PLAINTEXT", login("SASL_PLAINTEXT", "PLAIN", "bob", "wrong")),
        ("SSL", {"security.protocol": "SSL", **authority}),
    ]
    for listener, settings in refused:
        with pytest.raises(KafkaException):
            brokers(secured, listener, settings, seconds=3)


@pytest.mark.real
def test_acls_are_kept(secured: KafkaCluster) -> None:
    """A user sees a topic only once that was granted."""
    secured.create_topic("orders")
    settings = login("SASL_PLAINTEXT", "PLAIN", "bob", "builder")
    bob = AdminClient({"bootstrap.servers": secured.bootstrap_servers_of("SASL_PLAINTEXT"), **settings})
    assert "orders" not in bob.list_topics(timeout=10).topics
    grant = AclBinding(
        ResourceType.TOPIC,
        "orders",
        ResourcePatternType.LITERAL,
        "User:bob",
        "*",
        AclOperation.DESCRIBE,
        AclPermissionType.ALLOW,
    )
    admin = secured.admin()
    admin.create_acls([grant])[grant].result(10)
    deadline = time.monotonic() + 10
    while "orders" not in bob.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline
        time.sleep(0.05)
