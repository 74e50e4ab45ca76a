"""What a cluster lets us see, on the embedded broker and on answers with rights in them."""

from __future__ import annotations

from datetime import UTC, datetime

from activator.core.model import Cluster
from activator.doctor.facts import Access
from activator.kafka import access
from activator.kafka.client import ClusterClient
from activator.kafka.error_codes import ErrorCode
from activator.kafka.requests import TopicRow
from activator.local.broker.server import EmbeddedBroker
from activator.local.sample_producer import send

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def test_topics_groups_and_brokers() -> None:
    """What is there is told from what is not, with all names for a near one; every broker was reached."""
    async with EmbeddedBroker(now=lambda: NOW) as broker:
        broker.create_topic("orders", 2)
        await send(broker.bootstrap_servers, "orders", 1)
        client = ClusterClient(Cluster(broker.bootstrap_servers))
        found = await access.look(client, {"orders", "order"}, {"shop"})
        await client.close()
    assert found.problem == ""
    assert [reach.problem for reach in found.brokers] == [""]
    assert {name: told.exists for name, told in found.topics.items()} == {"orders": True, "order": False}
    assert found.topic_names == ("orders",)
    assert found.groups["shop"].exists is False


async def test_nobody_answers() -> None:
    """It is told with the address and what happened, and nothing is pretended about topics."""
    client = ClusterClient(Cluster("127.0.0.1:1"))
    found = await access.look(client, {"orders"}, {"shop"})
    await client.close()
    assert "127.0.0.1:1" in found.problem
    assert not found.denied
    assert (found.topics, found.groups) == ({}, {})


def test_what_a_topic_s_answer_means() -> None:
    """Denied, absent, readable or not, and where the broker does not tell."""
    assert access._topic(TopicRow(ErrorCode.TOPIC_AUTHORIZATION_FAILED, "t", {})) == Access(exists=None, describe=False)
    assert access._topic(TopicRow(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "t", {})) == Access(exists=False)
    assert access._topic(TopicRow(0, "t", {}, None, 1 << 3 | 1 << 8)) == Access(exists=True, read=True)
    assert access._topic(TopicRow(0, "t", {}, None, 1 << 8)) == Access(exists=True, read=False)
    assert access._topic(TopicRow(0, "t", {})) == Access(exists=True, read=None)
