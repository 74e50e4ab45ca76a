"""Commits for groups without members: what a broker may answer, and the permissions that they need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from activator.core.model import Cluster, Trigger, TriggerOffsets
from activator.errors import ConflictError, DeniedError, NotFoundError, UnavailableError
from activator.kafka import commits
from activator.kafka.client import Connections
from activator.kafka.commits import KafkaGroupOffsets
from activator.kafka.connection import SecurityOptions
from activator.kafka.lag import KafkaLagReader
from activator.kafka.topology import Topic
from activator.local.broker.faults import Delay, DropConnection, Fail, Fault
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.contracts.kafka_fixtures import ONE_MINUTE
from tests.contracts.kafka_worlds import NOW, eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from activator.local.broker.server import EmbeddedBroker
CHECKED_FOR_SECONDS = 3.0
"""Several times Kafka's look at what is past its retention, and what the groups were left apart."""

PASSING = [
    pytest.param(Fault(ApiKey.OFFSET_COMMIT, Fail(ErrorCode.NOT_COORDINATOR), times=2), id="moved"),
    pytest.param(Fault(ApiKey.OFFSET_FETCH, Fail(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS), times=2), id="loading"),
    pytest.param(Fault(ApiKey.FIND_COORDINATOR, Fail(ErrorCode.COORDINATOR_NOT_AVAILABLE), times=2), id="none yet"),
]


@pytest.fixture
def offsets(broker: EmbeddedBroker, connections: Connections) -> KafkaGroupOffsets:
    """What is tested, on a broker with one topic."""
    broker.create_topic("orders", partitions=2)
    return KafkaGroupOffsets(connections)


@pytest.mark.parametrize("fault", PASSING)
async def test_a_coordinator_that_moves_has_a_moment(
    broker: EmbeddedBroker, offsets: KafkaGroupOffsets, cluster: Cluster, fault: Fault
) -> None:
    """It is looked up again, and asked again until it has loaded the group."""
    broker.faults.add(fault)
    assert await offsets.commit_missing(cluster, "workers", "orders", {0: 5, 1: 0}) == {0: 5, 1: 0}


LASTING = [
    pytest.param(ApiKey.OFFSET_COMMIT, ErrorCode.GROUP_AUTHORIZATION_FAILED, DeniedError, "Read on Group workers"),
    pytest.param(ApiKey.OFFSET_COMMIT, ErrorCode.TOPIC_AUTHORIZATION_FAILED, DeniedError, "Read on Topic orders"),
    pytest.param(ApiKey.FIND_COORDINATOR, ErrorCode.GROUP_AUTHORIZATION_FAILED, DeniedError, "Read on Group workers"),
    pytest.param(ApiKey.OFFSET_COMMIT, ErrorCode.UNKNOWN_MEMBER_ID, ConflictError, "'workers' has members"),
    pytest.param(ApiKey.OFFSET_COMMIT, ErrorCode.REBALANCE_IN_PROGRESS, ConflictError, "'workers' has members"),
    pytest.param(ApiKey.OFFSET_COMMIT, ErrorCode.REQUEST_TIMED_OUT, UnavailableError, "REQUEST_TIMED_OUT"),
    pytest.param(ApiKey.OFFSET_COMMIT, ErrorCode.NOT_COORDINATOR, UnavailableError, "NOT_COORDINATOR"),
]


@pytest.mark.parametrize(("key", "code", "error", "text"), LASTING)
async def test_what_a_broker_refuses(
    broker: EmbeddedBroker,
    offsets: KafkaGroupOffsets,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    key: ApiKey,
    code: ErrorCode,
    error: type[Exception],
    text: str,
) -> None:
    """Each becomes the error that says what can be done about it, with Kafka's name."""
    monkeypatch.setattr(commits, "COORDINATOR_SECONDS", 0.2)
    broker.faults.add(Fault(key, Fail(code), group="workers"))
    with pytest.raises(error, match=text):
        await offsets.commit_missing(cluster, "workers", "orders", {0: 5})


async def test_a_check_tells_what_a_commit_would_meet(
    broker: EmbeddedBroker, offsets: KafkaGroupOffsets, cluster: Cluster
) -> None:
    """Without the permission it says which is missing."""
    await offsets.check(cluster, "workers", "orders")
    broker.faults.add(Fault(ApiKey.OFFSET_COMMIT, Fail(ErrorCode.GROUP_AUTHORIZATION_FAILED), group="workers"))
    with pytest.raises(DeniedError, match="grant the ACL Read on Group workers"):
        await offsets.check(cluster, "workers", "orders")


async def test_a_connection_that_is_cut_leaves_it_open(
    broker: EmbeddedBroker, offsets: KafkaGroupOffsets, cluster: Cluster
) -> None:
    """It may or may not have been committed; asked again, what is there is told."""
    broker.faults.add(Fault(ApiKey.OFFSET_COMMIT, DropConnection(), times=2))
    with pytest.raises(UnavailableError):
        await offsets.commit_missing(cluster, "workers", "orders", {0: 5})

    async def is_committed() -> bool:
        try:
            return await offsets.commit_missing(cluster, "workers", "orders", {0: 5}) == {0: 5}
        except UnavailableError:  # the connection is in its back-off
            return False

    await eventually(is_committed)


async def test_a_lag_read_does_not_stand_behind_a_commit(
    broker: EmbeddedBroker, offsets: KafkaGroupOffsets, connections: Connections, cluster: Cluster
) -> None:
    """A broker holds a commit until it is replicated, and answers what else came on that connection after it."""
    background = KafkaGroupOffsets(connections, purpose="background")
    await offsets.commit_missing(cluster, "others", "orders", {0: 1})
    broker.faults.add(Fault(ApiKey.OFFSET_COMMIT, Delay(300), group="workers", times=1))
    commit = asyncio.create_task(background.commit_again(cluster, "workers", "orders", {0: 5}))

    async def it_strikes() -> bool:
        return not broker.faults

    await eventually(it_strikes)
    trigger = Trigger(cluster, "orders", "others", index=0)
    (reading,) = (await KafkaLagReader(connections).read(cluster, [trigger], NOW)).values()
    assert isinstance(reading, TriggerOffsets)
    assert not commit.done()
    assert await commit == {0: 5}


async def test_what_was_read_long_ago_is_not_committed(
    broker: EmbeddedBroker, offsets: KafkaGroupOffsets, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the coordinator moves a member may have come, committed, and gone: nobody knows where the group stands."""
    monkeypatch.setattr(commits, "READ_BEFORE_SECONDS", 1.5 * commits.RETRY_SECONDS)
    for commit in (offsets.commit_again, offsets.commit_missing):
        broker.faults.add(Fault(ApiKey.OFFSET_COMMIT, Fail(ErrorCode.NOT_COORDINATOR), times=3))
        with pytest.raises(UnavailableError, match="was not sent LastingOffsetCommit: too late"):
            await commit(cluster, "workers", "orders", {0: 5})
        broker.faults.clear()
    assert await offsets.commit_missing(cluster, "workers", "orders", {0: 7}) == {0: 7}


async def test_how_long_the_read_takes_does_not_count(
    broker: EmbeddedBroker, offsets: KafkaGroupOffsets, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that loads its groups for a while tells in the end what is there now."""
    monkeypatch.setattr(commits, "READ_BEFORE_SECONDS", 3 * commits.RETRY_SECONDS)
    broker.faults.add(Fault(ApiKey.OFFSET_FETCH, Fail(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS), times=5))
    assert await offsets.commit_again(cluster, "workers", "orders", {0: 5}) == {0: 5}


async def test_a_commit_that_comes_too_late_leaves_its_connection_alone(
    offsets: KafkaGroupOffsets, connections: Connections, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before it is sent: whatever else is on that connection goes on."""
    client = connections.client(cluster)
    await offsets.check(cluster, "workers", "orders")
    monkeypatch.setattr(commits, "READ_BEFORE_SECONDS", -1.0)
    with pytest.raises(UnavailableError, match="too late"):
        await offsets.commit_again(cluster, "workers", "orders", {0: 5})
    assert client.connections() == 1


async def test_a_topic_that_is_gone_is_told(offsets: KafkaGroupOffsets, cluster: Cluster) -> None:
    """Nothing is committed on it."""
    with pytest.raises((UnavailableError, NotFoundError), match="UNKNOWN_TOPIC_OR_PARTITION"):
        await offsets.commit_missing(cluster, "workers", "gone", {0: 5}, topic_id="4ZGHnBRhQ3WDs4rcOSLrnQ")


async def test_commits_again_keep_what_was_written_beside_them(offsets: KafkaGroupOffsets, cluster: Cluster) -> None:
    """Kafka Streams has the time of the partition there, and would take late records for new ones without it."""
    await asyncio.to_thread(commit, cluster, "workers", {0: (3, "streams, 17:05"), 1: (4, "")})
    assert await offsets.commit_again(cluster, "workers", "orders", {0: 9, 1: 9}) == {0: 3, 1: 4}
    assert await asyncio.to_thread(committed, cluster, "workers") == {0: (3, "streams, 17:05"), 1: (4, "")}


async def test_a_broker_without_retention_in_its_requests_goes_by_its_own(
    offsets: KafkaGroupOffsets, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that it does not offer is not sent; what there is to commit is committed all the same."""
    monkeypatch.setattr(commits.LastingOffsetCommit, "VERSIONS", (1,))
    assert await offsets.commit_again(cluster, "workers", "orders", {0: 9}) == {0: 9}


@pytest.mark.real
async def test_what_is_committed_for_a_group_outlasts_its_retention(tmp_path: Path) -> None:
    """On a real Kafka: a group that was left a while ago loses its offsets, not what was committed for it since then.

    A commit without a retention of its own would not do for a classic group: it counts from when its last member left.
    """
    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is for the real tests alone

    with KafkaCluster(tmp_path, properties=ONE_MINUTE) as kafka:
        kafka.create_topic("orders")
        cluster = Cluster(kafka.bootstrap_servers)
        connections = Connections(lambda _: SecurityOptions())
        offsets = KafkaGroupOffsets(connections)
        for protocol in ("classic", "consumer"):
            for group in (f"{protocol}-forgotten", f"{protocol}-again"):
                await asyncio.to_thread(join_commit_and_leave, cluster, group, protocol)
            assert await offsets.commit_again(cluster, f"{protocol}-again", "orders", {0: 9}) == {0: 5}

        async def are_forgotten() -> bool:
            groups = ("classic-forgotten", "consumer-forgotten")
            return [await asyncio.to_thread(committed, cluster, group) for group in groups] == [{}, {}]

        await eventually(are_forgotten, within_seconds=120)
        for protocol in ("classic", "consumer"):
            assert await offsets.commit_missing(cluster, f"{protocol}-forgotten", "orders", {0: 7}) == {0: 7}
        await asyncio.sleep(CHECKED_FOR_SECONDS)
        for protocol in ("classic", "consumer"):
            assert await asyncio.to_thread(committed, cluster, f"{protocol}-again") == {0: (5, "mine")}
            assert await asyncio.to_thread(committed, cluster, f"{protocol}-forgotten") == {0: (7, "")}
        await connections.close()


@pytest.mark.real
async def test_the_acls_that_it_takes(tmp_path: Path) -> None:
    """On a real Kafka: Describe reads, Read on group and topic commits; each that is missing is named."""
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # noqa: PLC0415 - only here
        AclBinding,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is for the real tests alone
    from testbed.kafka_config import Listener  # noqa: PLC0415

    listener = Listener("SASL_PLAINTEXT", sasl_mechanism="PLAIN", users={"wakegate": "secret"})
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with KafkaCluster(tmp_path, properties=properties, listeners=[listener]) as kafka:
        kafka.create_topic("orders")

        def grant(kind: ResourceType, name: str, operation: AclOperation) -> None:
            binding = AclBinding(
                kind, name, ResourcePatternType.LITERAL, "User:wakegate", "*", operation, AclPermissionType.ALLOW
            )
            admin = kafka.admin()
            admin.create_acls([binding])[binding].result(10)

        cluster = Cluster(kafka.bootstrap_servers_of("SASL_PLAINTEXT"))
        security = SecurityOptions("SASL_PLAINTEXT", sasl_username="wakegate", sasl_password="secret")
        connections = Connections(lambda _: security)
        offsets = KafkaGroupOffsets(connections)

        async def becomes(missing: str) -> None:
            """Wait until a check misses this: a broker knows of an ACL a little after the controller has it.

            And one that has just started takes a while until it answers a login, and has coordinators.
            """

            async def is_so() -> bool:
                try:
                    await offsets.check(cluster, "workers", "orders")
                except DeniedError as error:
                    return bool(missing) and missing in str(error)
                except UnavailableError:
                    return False
                return not missing

            await eventually(is_so)

        try:
            grant(ResourceType.TOPIC, "orders", AclOperation.DESCRIBE)
            grant(ResourceType.GROUP, "workers", AclOperation.DESCRIBE)
            await becomes("Read on Group workers")
            grant(ResourceType.GROUP, "workers", AclOperation.READ)
            await becomes("Read on Topic orders")
            grant(ResourceType.TOPIC, "orders", AclOperation.READ)
            await becomes("")
            assert await offsets.commit_missing(cluster, "workers", "orders", {0: 0}) == {0: 0}
        finally:
            await connections.close()


def commit(cluster: Cluster, group: str, commits: Mapping[int, tuple[int, str]]) -> None:
    """Commit offsets and what is written beside them, as nobody's member."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": group})
    places = [TopicPartition("orders", number, offset, metadata) for number, (offset, metadata) in commits.items()]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def committed(cluster: Cluster, group: str) -> dict[int, tuple[int, str]]:
    """What a group has committed, by partition, and what is written beside it."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": group})
    places = consumer.committed([TopicPartition("orders", number) for number in range(2)], timeout=10)
    consumer.close()
    return {place.partition: (place.offset, place.metadata or "") for place in places if place.offset >= 0}


def join_commit_and_leave(cluster: Cluster, group: str, protocol: str) -> None:
    """Be a member of a group for as long as it takes to commit 5 on the first partition."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": group, "group.protocol": protocol})
    consumer.subscribe(["orders"])
    while not consumer.assignment():
        consumer.poll(0.1)
    consumer.commit(offsets=[TopicPartition("orders", 0, 5, "mine")], asynchronous=False)
    consumer.close()


async def test_a_topic_whose_id_is_not_answered(broker: EmbeddedBroker) -> None:
    """What was known of the name before is no answer: it may be another topic's by now."""
    connections = Connections(request_seconds=0.5)
    background = KafkaGroupOffsets(connections, purpose="background")  # another connection than that of reads
    broker.create_topic("orders", partitions=1)
    cluster = Cluster(broker.bootstrap_servers)
    try:
        topic = (await background._topology(cluster).topics(["orders"]))["orders"]
        assert isinstance(topic, Topic)
        await background.commit_missing(cluster, "workers", "orders", {0: 0}, topic_id=topic.topic_id)
        broker.delete_topic("orders")
        broker.create_topic("orders", partitions=1)
        broker.faults.add(Fault(ApiKey.METADATA, Delay(milliseconds=60_000)))
        with pytest.raises(UnavailableError, match="nobody answers which one it is"):
            await background.commit_again(cluster, "workers", "orders", {0: 1000}, topic_id=topic.topic_id)
    finally:
        await connections.close()
