"""librdkafka, as unmodified applications use it: against the embedded broker and against a real Kafka."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.conformance.raw_client import batch_of
from tests.conformance.world import FIRST_MS, UNKNOWN, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SOON_SECONDS = 20.0
RECORDS = 200


@pytest.fixture
def admin(world: World) -> AdminClient:
    """An admin client."""
    return AdminClient({"bootstrap.servers": world.bootstrap_servers, "log_level": 0})


class Consumers:
    """Makes consumers of the world's group and closes them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: list[Consumer] = []

    def new(self, **settings: Any) -> Consumer:
        """One more, not subscribed yet."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.world.bootstrap_servers,
                "group.id": self.world.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 200,
                "log_level": 0,
                **{key.replace("_", "."): value for key, value in settings.items()},
            }
        )
        self.made.append(consumer)
        return consumer

    def subscribed(self, topic: str, **settings: Any) -> Consumer:
        """One more, subscribed to a topic."""
        consumer = self.new(**settings)
        consumer.subscribe([topic])
        return consumer


@pytest.fixture
def consumers(world: World) -> Iterator[Consumers]:
    """Consumers of the world's group."""
    consumers = Consumers(world)
    yield consumers
    for consumer in consumers.made:
        consumer.close()


def poll_until(consumers: Iterable[Consumer], done: Callable[[], bool], into: list[bytes] | None = None) -> None:
    """Poll all of them in turn until `done`, collecting values."""
    deadline = time.monotonic() + SOON_SECONDS
    while not done():
        assert time.monotonic() < deadline
        for consumer in consumers:
            message = consumer.poll(0.02)
            if message is not None and message.error() is None and into is not None:
                into.append(message.value() or b"")


def produce_all(world: World, topic: str, values: Iterable[bytes], **settings: Any) -> None:
    """Send these values and wait until all are acknowledged."""
    errors: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": world.bootstrap_servers, "log_level": 0, "linger.ms": 1, **settings})
    for number, value in enumerate(values):
        producer.produce(
            topic, value, partition=number % 3, on_delivery=lambda error, _: errors.append(error) if error else None
        )
    assert producer.flush(SOON_SECONDS) == 0
    assert errors == []


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_come_out_as_they_went_in(world: World, consumers: Consumers, codec: str) -> None:
    """Every value, whatever its codec, by an idempotent producer."""
    topic = world.new_topic(3)
    values = [f"{codec}-{number}".encode() * 10 for number in range(RECORDS)]
    produce_all(world, topic, values, **{"compression.type": codec, "enable.idempotence": True})
    found: list[bytes] = []
    consumer = consumers.subscribed(topic)
    poll_until([consumer], lambda: len(found) >= RECORDS, found)
    assert sorted(found) == sorted(values)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_two_members_share_three_partitions(world: World, consumers: Consumers, strategy: str) -> None:
    """Each gets a part, together they have all, and who stays takes over what the other left."""
    first = consumers.subscribed(world.topic, partition_assignment_strategy=strategy)
    poll_until([first], lambda: len(first.assignment()) == 3)
    second = consumers.subscribed(world.topic, partition_assignment_strategy=strategy)
    both = [first, second]
    poll_until(both, lambda: sorted(len(one.assignment()) for one in both) == [1, 2])
    assert {part.partition for one in both for part in one.assignment()} == {0, 1, 2}
    consumers.made.remove(second)
    second.close()
    poll_until([first], lambda: len(first.assignment()) == 3)


def test_a_consumer_goes_on_where_its_group_left(world: World, consumers: Consumers) -> None:
    """What was committed is not read again."""
    found: list[bytes] = []
    first = consumers.subscribed(world.topic)
    poll_until([first], lambda: len(found) == 8, found)
    first.commit(asynchronous=False)
    consumers.made.remove(first)
    first.close()
    world.produce(1, batch_of([b"new"]))
    rest: list[bytes] = []
    second = consumers.subscribed(world.topic)
    poll_until([second], lambda: bool(rest), rest)
    assert rest == [b"new"]
    committed = second.committed([TopicPartition(world.topic, 0)], timeout=SOON_SECONDS)
    assert [part.offset for part in committed] == [5]


def test_a_commit_while_the_group_rebalances_is_refused_or_taken_never_lost(world: World, consumers: Consumers) -> None:
    """A member that commits through a rebalance either gets an error it knows or finds its offset afterwards."""
    first = consumers.subscribed(world.topic)
    poll_until([first], lambda: len(first.assignment()) == 3)
    consumers.subscribed(world.topic)
    refused = _commit(first, TopicPartition(world.topic, 0, 2))
    if refused is None:
        assert first.committed([TopicPartition(world.topic, 0)], timeout=SOON_SECONDS)[0].offset == 2
    else:
        assert refused in {
            KafkaError.REBALANCE_IN_PROGRESS,
            KafkaError.ILLEGAL_GENERATION,
            KafkaError.UNKNOWN_MEMBER_ID,
        }


def _commit(consumer: Consumer, offset: TopicPartition) -> int | None:
    """Commit, and answer the error code if it is refused."""
    try:
        consumer.commit(offsets=[offset], asynchronous=False)
    except KafkaException as refused:
        return int(refused.args[0].code())
    return None


def test_watermarks_and_offsets_by_time(world: World, consumers: Consumers) -> None:
    """Low, high, and the first offset at or after a time."""
    consumer = consumers.new()
    part = TopicPartition(world.topic, 0)
    assert consumer.get_watermark_offsets(part, timeout=SOON_SECONDS) == (0, 5)
    wanted = [TopicPartition(world.topic, 0, FIRST_MS + 3), TopicPartition(world.topic, 2, FIRST_MS + 9)]
    found = consumer.offsets_for_times(wanted, timeout=SOON_SECONDS)
    assert [one.offset for one in found] == [3, OFFSET_END]


def test_an_offset_out_of_range_is_reset(world: World, consumers: Consumers) -> None:
    """A consumer that asks beyond the end begins where its reset policy says."""
    found: list[bytes] = []
    consumer = consumers.new()
    consumer.assign([TopicPartition(world.topic, 0, 99)])
    poll_until([consumer], lambda: len(found) == 5, found)
    assert found == [b"a", b"b", b"c", b"d", b"e"]


def test_administration(world: World, admin: AdminClient, consumers: Consumers) -> None:
    """Topics are made, grown, described and deleted; groups are listed, described, moved and deleted."""
    name = f"{world.group}-administered"
    _done(admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "1000"})]))
    _soon(lambda: len(admin.list_topics(name, timeout=SOON_SECONDS).topics[name].partitions) == 2)
    _done(admin.create_partitions([NewPartitions(name, 4)]))
    _soon(lambda: len(admin.list_topics(name, timeout=SOON_SECONDS).topics[name].partitions) == 4)
    settings = _done(admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)]))[0]
    assert settings["retention.ms"].value == "1000"
    latest, earliest = OffsetSpec.latest(), OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    ends = _done(admin.list_offsets({TopicPartition(world.topic, 0): latest}))
    assert [one.offset for one in ends] == [5]

    consumer = consumers.subscribed(world.topic)
    poll_until([consumer], lambda: len(consumer.assignment()) == 3)
    consumer.commit(offsets=[TopicPartition(world.topic, 0, 4)], asynchronous=False)
    described = _done(admin.describe_consumer_groups([world.group]))[0]
    assert described.state == ConsumerGroupState.STABLE
    assert {part.partition for part in described.members[0].assignment.topic_partitions} == {0, 1, 2}
    listed = admin.list_consumer_groups().result(SOON_SECONDS).valid
    assert world.group in {group.group_id for group in listed}
    consumers.made.remove(consumer)
    consumer.close()

    moved = ConsumerGroupTopicPartitions(world.group, [TopicPartition(world.topic, 0, 1)])
    _done(admin.alter_consumer_group_offsets([moved]))
    read = _done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(world.group)]))[0]
    assert [(part.partition, part.offset) for part in read.topic_partitions] == [(0, 1)]
    _done(admin.delete_consumer_groups([world.group]))
    _done(admin.delete_records([TopicPartition(world.topic, 0, 3)]))
    start = _done(admin.list_offsets({TopicPartition(world.topic, 0): earliest}))
    assert [one.offset for one in start] == [3]
    _done(admin.delete_topics([name]))
    _soon(lambda: name not in admin.list_topics(timeout=SOON_SECONDS).topics)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (lambda admin, world: admin.create_topics([NewTopic(world.topic, 1, 1)]), KafkaError.TOPIC_ALREADY_EXISTS),
        (lambda admin, _: admin.create_topics([NewTopic("rf3", 1, 3)]), KafkaError.INVALID_REPLICATION_FACTOR),
        (lambda admin, _: admin.create_topics([NewTopic("a b", 1, 1)]), KafkaError.TOPIC_EXCEPTION),
        (
            lambda admin, _: admin.create_topics([NewTopic("c", 1, 1, config={"retention": "1"})]),
            KafkaError.INVALID_CONFIG,
        ),
        (lambda admin, _: admin.delete_topics([UNKNOWN]), KafkaError.UNKNOWN_TOPIC_OR_PART),
        (lambda admin, world: admin.create_partitions([NewPartitions(world.topic, 2)]), KafkaError.INVALID_PARTITIONS),
        (lambda admin, _: admin.delete_consumer_groups(["nobody"]), KafkaError.GROUP_ID_NOT_FOUND),
    ],
)
def test_a_refusal_reaches_the_client(
    world: World, admin: AdminClient, asked: Callable[[AdminClient, World], Any], code: int
) -> None:
    """The client raises the error that the broker answered."""
    with pytest.raises(KafkaException) as refused:
        _done(asked(admin, world))
    assert refused.value.args[0].code() == code


def test_a_thousand_topics_are_made_in_one_request(world: World, admin: AdminClient) -> None:
    """All of them, and all of them are there afterwards."""
    names = [f"{world.group}-{number}" for number in range(1000)]
    _done(admin.create_topics([NewTopic(name, 1, 1) for name in names], operation_timeout=60, request_timeout=60))
    _soon(lambda: set(names) <= set(admin.list_topics(timeout=SOON_SECONDS).topics))
    _done(admin.delete_topics(names, operation_timeout=60, request_timeout=60))


def test_metadata_of_an_unknown_topic_does_not_make_it(consumers: Consumers, admin: AdminClient) -> None:
    """Asking for a topic leaves no topic behind, even if the client allows it."""
    consumer = consumers.new(**{"allow.auto.create.topics": True})
    assert consumer.list_topics(UNKNOWN, timeout=SOON_SECONDS).topics[UNKNOWN].error is not None
    assert UNKNOWN not in admin.list_topics(timeout=SOON_SECONDS).topics


def test_reading_from_the_beginning_and_from_the_end(world: World, consumers: Consumers) -> None:
    """Logical offsets mean what they say."""
    found: list[bytes] = []
    consumer = consumers.new()
    consumer.assign([TopicPartition(world.topic, 0, OFFSET_BEGINNING), TopicPartition(world.topic, 2, OFFSET_END)])
    poll_until([consumer], lambda: len(found) == 5, found)
    assert found == [b"a", b"b", b"c", b"d", b"e"]


def _done(futures: Any) -> list[Any]:
    """The results of an admin call."""
    return [future.result(SOON_SECONDS * 3) for future in futures.values()]


def _soon(check: Callable[[], bool]) -> None:
    """What an admin client is shown may lag behind what it did."""
    deadline = time.monotonic() + SOON_SECONDS
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)
