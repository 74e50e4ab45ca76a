"""Connections: made when needed, one a broker and purpose, with a back-off that costs one deadline only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Cluster
from activator.errors import DeniedError, UnavailableError
from activator.kafka import client as client_module
from activator.kafka.client import ANY_BROKER_SECONDS, ClusterClient, Connections
from activator.kafka.connection import CONNECT_SECONDS, SecurityOptions
from activator.kafka.requests import BrokerRow, DescribeGroups, ListOffsets, Metadata
from activator.kafka.topology import GROUPS_PER_REQUEST, Topology
from activator.local.broker.faults import Delay, Fault
from activator.local.broker.protocol import ApiKey
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.kafka.connection import Address
    from activator.local.broker.server import EmbeddedBroker

NODE = 1


async def ask(client: ClusterClient) -> list[BrokerRow]:
    """Learn who the brokers are."""
    brokers = [row for row in await client.rows_of_any(Metadata(())) if isinstance(row, BrokerRow)]
    client.learn_all(brokers)
    return brokers


async def test_one_connection_a_broker_and_purpose(cluster: Cluster, connections: Connections) -> None:
    """Requests of one purpose share a connection, however many are on the way; another purpose has its own."""
    client = connections.client(cluster)
    await ask(client)
    await asyncio.gather(*(client.request(NODE, DescribeGroups(["g"])) for _ in range(20)))
    assert client.connections() == 1

    await client.request(NODE, DescribeGroups(["g"]), purpose="tail")
    assert client.connections() == 2


async def test_equal_clusters_share_a_client(cluster: Cluster, connections: Connections) -> None:
    """Address and credential make a client, not the target that names them."""
    assert connections.client(cluster) is connections.client(Cluster(cluster.bootstrap_servers))
    assert connections.client(cluster) is not connections.client(Cluster(cluster.bootstrap_servers, "team/secret"))


async def test_a_bootstrap_server_that_is_down_is_passed_over(cluster: Cluster, connections: Connections) -> None:
    """The first of the list that answers tells who the brokers are, and stays connected to no other."""
    client = connections.client(Cluster(f"127.0.0.1:1,{cluster.bootstrap_servers}"))

    assert await ask(client)
    assert client.connections() == 1


async def test_nobody_answers(connections: Connections) -> None:
    """The error names the address and what the system said."""
    with pytest.raises(UnavailableError, match=r"^Kafka 127\.0\.0\.1:1: .*Connect call failed"):
        await ask(connections.client(Cluster("127.0.0.1:1")))


async def test_an_address_that_is_none(connections: Connections) -> None:
    """A port that is no number is told as written."""
    with pytest.raises(UnavailableError, match=r"^Kafka kafka:port: not a list of host:port"):
        await ask(connections.client(Cluster("kafka:port")))


NO_ADDRESSES = [
    pytest.param("kafka..shop.svc", 9092, "label empty or too long", id="an-empty-label"),
    pytest.param(f"{'k' * 64}.svc", 9092, "label too long|label empty or too long", id="a-label-too-long"),
    pytest.param("127.0.0.1", 70_000, "port must be 0-65535", id="a-port-that-is-none"),
]
"""What may stand in a policy or in a broker's advertised.listeners, and only whoever looks it up finds to be none."""


@pytest.mark.parametrize(("host", "port", "why"), NO_ADDRESSES)
async def test_a_host_that_is_no_name_is_away_like_any_other(
    cluster: Cluster, connections: Connections, host: str, port: int, why: str
) -> None:
    """The error names it, and a bootstrap server or broker beside it is asked all the same."""
    client = connections.client(Cluster(f"{host}:{port},{cluster.bootstrap_servers}"))

    assert await ask(client)
    client.learn(BrokerRow(77, host, port))
    with pytest.raises(UnavailableError, match=rf"^Kafka {host}:{port}: cannot be talked to: .*({why})"):
        await client.request(77, DescribeGroups(["g"]))


async def test_a_dead_broker_is_left_alone_during_its_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the back-off the same problem is told again without another attempt; then it is tried again."""
    attempts = 0

    async def refuse(*_: object, **__: object) -> None:
        nonlocal attempts
        attempts += 1
        raise UnavailableError("Kafka one:9092", "is down")

    monkeypatch.setattr(client_module, "open_connection", refuse)
    client = ClusterClient(Cluster("one:9092"))
    for _ in range(3):
        with pytest.raises(UnavailableError, match="Kafka one:9092: is down"):
            await ask(client)
    assert attempts == 1

    for link in client._links.values():
        link.retry_at = 0.0
    with pytest.raises(UnavailableError):
        await ask(client)
    assert attempts == 2


@virtual
async def test_brokers_that_say_nothing_cost_one_deadline_for_all() -> None:
    """Whoever asks any broker waits for that long, and not for each of nine, or for each of 200 groups."""

    async def say_nothing(address: Address, *_: object, **__: object) -> None:
        await asyncio.sleep(CONNECT_SECONDS)
        raise UnavailableError(f"Kafka {address}", "did not answer")

    client = ClusterClient(Cluster(",".join(f"broker-{number}:9092" for number in range(9))))
    loop = asyncio.get_running_loop()
    questions: list[Callable[[], Awaitable[object]]] = [
        lambda: client.any_offers(DescribeGroups),
        lambda: client.rows_of_any(Metadata(())),
        lambda: Topology(client).coordinators([f"group-{number}" for number in range(GROUPS_PER_REQUEST)]),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_module, "open_connection", say_nothing)
        for question in questions:
            await client.close()  # and with it every back-off
            began = loop.time()
            with contextlib.suppress(UnavailableError):
                await question()
            assert loop.time() - began == ANY_BROKER_SECONDS


async def test_refused_credentials_are_told_as_such_and_tried_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is not hammered at the broker; another one is tried at once."""
    password = "wrong"
    tried: list[str | None] = []

    def credentials(cluster: Cluster) -> SecurityOptions:
        assert cluster == Cluster("one:9092", "team/secret")
        return SecurityOptions("SASL_PLAINTEXT", sasl_password=password)

    async def refuse(_: object, security: SecurityOptions, **__: object) -> None:
        tried.append(security.sasl_password)
        raise DeniedError("Kafka one:9092: refused the credentials")

    monkeypatch.setattr(client_module, "open_connection", refuse)
    client = ClusterClient(Cluster("one:9092", "team/secret"), credentials)
    for _ in range(3):
        with pytest.raises(DeniedError, match="refused the credentials"):
            await ask(client)
    (link,) = client._links.values()

    assert tried == ["wrong"]
    assert link.retry_at - asyncio.get_running_loop().time() > 5
    password = "another"
    with pytest.raises(DeniedError):
        await ask(client)
    assert tried == ["wrong", "another"]


async def test_rotated_credentials_are_in_use_with_the_next_request(
    broker: EmbeddedBroker, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is made anew and no request is lost: what is under way is answered on the old one, then closed."""
    caplog.set_level(logging.INFO)
    options = SecurityOptions(sasl_password="old")
    connections = Connections(lambda _: options)
    client = connections.client(cluster)
    await ask(client)
    (link,) = client._links.values()
    old = link.connection
    assert old is not None
    broker.faults.add(Fault(ApiKey.DESCRIBE_GROUPS, Delay(milliseconds=1500), times=1))
    under_way = asyncio.create_task(client.request(NODE, DescribeGroups(["g"])))
    for _ in range(20):
        await asyncio.sleep(0)
    assert old._under_way

    assert "credentials" not in caplog.text
    options = SecurityOptions(sasl_password="new")
    await ask(client)

    assert caplog.text.count(", lag: connected with the new credentials") == 1
    assert link.connection is not old
    assert old.is_open()
    assert list(await under_way)
    assert not old.is_open()
    assert client.connections() == 1
    await ask(client)
    assert client.connections() == 1
    await connections.close()


async def test_a_connection_is_made_anew_before_its_token_ends(
    cluster: Cluster, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker would hang up at the token's end, in the middle of a wake."""
    client = connections.client(cluster)
    await ask(client)
    (link,) = client._links.values()
    old = link.connection
    assert old is not None
    monkeypatch.setattr(old, "_fresh_until", asyncio.get_running_loop().time())
    await ask(client)
    assert link.connection is not old
    assert not old.is_open()


async def test_a_late_answer_closes_its_connection(
    broker: EmbeddedBroker, cluster: Cluster, connections: Connections
) -> None:
    """Answers come in order, so what is asked next goes over another connection and does not wait."""
    client = connections.client(cluster)
    await ask(client)
    broker.faults.add(Fault(ApiKey.DESCRIBE_GROUPS, Delay(milliseconds=60_000), times=1))
    with pytest.raises(UnavailableError, match=r"did not answer DescribeGroups v5 within 0\.5 s"):
        await client.request(NODE, DescribeGroups(["g"]))
    for link in client._links.values():
        link.retry_at = 0.0

    assert list(await client.request(NODE, DescribeGroups(["g"])))


async def test_a_connection_that_breaks_under_many_requests_counts_once(
    broker: EmbeddedBroker, cluster: Cluster, connections: Connections
) -> None:
    """A burst of requests that fail together does not make the back-off long."""
    client = connections.client(cluster)
    await ask(client)
    broker.faults.add(Fault(ApiKey.DESCRIBE_GROUPS, Delay(milliseconds=60_000)))

    requests = (client.request(NODE, DescribeGroups(["g"])) for _ in range(20))
    answers = await asyncio.gather(*requests, return_exceptions=True)

    assert all(isinstance(answer, UnavailableError) for answer in answers)
    assert [link.failures for link in client._links.values()] == [1]


async def test_a_request_that_is_not_offered_harms_no_other(
    cluster: Cluster, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what would have been asked; the connection stays."""
    client = connections.client(cluster)
    await ask(client)
    monkeypatch.setattr(ListOffsets, "VERSIONS", (98, 99))

    with pytest.raises(UnavailableError, match="does not offer ListOffsets v98 or v99"):
        await client.request(NODE, ListOffsets({"t": [0]}, -1))

    assert await client.offers(NODE, DescribeGroups)
    assert not await client.offers(NODE, ListOffsets)
    assert client.connections() == 1


async def test_a_broker_that_left_the_cluster_is_named(cluster: Cluster, connections: Connections) -> None:
    """Asking for a node that metadata no longer tells is an error of that node alone."""
    client = connections.client(cluster)
    await ask(client)

    with pytest.raises(UnavailableError, match="broker 7 is not among the brokers just now"):
        await client.request(7, DescribeGroups(["g"]))


def test_a_password_never_shows() -> None:
    """Options may be logged as they are."""
    assert "secret" not in repr(SecurityOptions(sasl_username="me", sasl_password="secret"))
