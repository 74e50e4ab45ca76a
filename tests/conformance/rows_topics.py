"""What is answered about topics, their partitions and settings, and the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance import world as w
from tests.conformance.rows import NONE, Row, says
from tests.conformance.world import UNKNOWN, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.local.broker.protocol import Body

_TIMEOUT_MS = 9_000


def creation(name: str, error: ErrorCode, topic: str, partitions: int = 1, replicas: int = 1, **more: Any) -> Row:
    """CreateTopics of one topic."""
    request = w.create_topics(w.new_topic(topic, partitions, replicas, **more))
    return Row(name, ApiKey.CREATE_TOPICS, 4, lambda _: request, says(topics=[{"name": topic, "error_code": error}]))


def setting(value: str | None, key: str = "retention.ms") -> list[Body]:
    """One setting of a new topic."""
    return [{"name": key, "value": value}]


def assignment(*broker_ids: int) -> list[Body]:
    """A new topic's partitions, each on one broker."""
    return [{"partition": number, "broker_ids": [broker]} for number, broker in enumerate(broker_ids)]


def dotted_twin(world: World) -> Body:
    """A topic whose name differs from one that is there by dot and underscore."""
    return w.create_topics(w.new_topic(f"{world.group}.a"))


CREATE_TOPICS = [
    Row(
        "a topic that is there",
        ApiKey.CREATE_TOPICS,
        4,
        lambda world: w.create_topics(w.new_topic(world.topic)),
        says(topics=[{"error_code": ErrorCode.TOPIC_ALREADY_EXISTS}]),
    ),
    creation("more replicas than brokers", ErrorCode.INVALID_REPLICATION_FACTOR, "rf3", replicas=3),
    creation("no replica", ErrorCode.INVALID_REPLICATION_FACTOR, "rf0", replicas=0),
    creation("no partition", ErrorCode.INVALID_PARTITIONS, "p0", partitions=0),
    creation("a blank in the name", ErrorCode.INVALID_TOPIC_EXCEPTION, "a b"),
    creation("a name of one dot", ErrorCode.INVALID_TOPIC_EXCEPTION, "."),
    creation("an empty name", ErrorCode.INVALID_TOPIC_EXCEPTION, ""),
    creation("a name of 250 characters", ErrorCode.INVALID_TOPIC_EXCEPTION, "x" * 250),
    creation("an unknown setting", ErrorCode.INVALID_CONFIG, "c1", configs=setting("1", "retention")),
    creation("a setting that is no number", ErrorCode.INVALID_CONFIG, "c2", configs=setting("1h")),
    creation("a setting that is too small", ErrorCode.INVALID_CONFIG, "c3", configs=setting("-2")),
    creation("a setting without a value", ErrorCode.INVALID_CONFIG, "c4", configs=setting(None)),
    creation(
        "a broker that is not there", ErrorCode.INVALID_REPLICA_ASSIGNMENT, "a1", -1, -1, assignments=assignment(7)
    ),
    creation("an assignment beside a number", ErrorCode.INVALID_REQUEST, "a2", 2, 1, assignments=assignment(1)),
    Row(
        "a question whether it could be made",
        ApiKey.CREATE_TOPICS,
        4,
        lambda _: w.create_topics(w.new_topic("maybe"), validate_only=True),
        says(topics=[{"name": "maybe", "error_code": NONE}]),
    ),
    Row(
        "the same topic twice",
        ApiKey.CREATE_TOPICS,
        4,
        lambda _: w.create_topics(w.new_topic("twice"), w.new_topic("twice")),
        says(topics=[{"name": "twice", "error_code": ErrorCode.INVALID_REQUEST}]),
    ),
    Row(
        "a name that differs by dot and underscore",
        ApiKey.CREATE_TOPICS,
        4,
        dotted_twin,
        says(topics=[{"error_code": ErrorCode.INVALID_TOPIC_EXCEPTION}]),
        given=lambda world: world.client.call(
            ApiKey.CREATE_TOPICS, 4, w.create_topics(w.new_topic(f"{world.group}_a"))
        ),
    ),
    Row(
        "a number of partitions left to the broker",
        ApiKey.CREATE_TOPICS,
        5,
        lambda world: w.create_topics(w.new_topic(f"{world.group}-default", -1, -1)),
        says(topics=[{"error_code": NONE, "num_partitions": 1, "replication_factor": 1}]),
    ),
    Row(
        "an assignment",
        ApiKey.CREATE_TOPICS,
        5,
        lambda world: w.create_topics(w.new_topic(f"{world.group}-as", -1, -1, assignments=assignment(1, 1))),
        says(topics=[{"error_code": NONE, "num_partitions": 2}]),
    ),
]


def growth(name: str, error: ErrorCode, count: int, times: int = 1, topic: str | None = None, **more: Any) -> Row:
    """CreatePartitions of the world's topic, which has three."""

    def request(world: World) -> Body:
        wanted = {"name": topic or world.topic, "count": count, **more}
        return {"topics": [wanted] * times, "timeout_ms": _TIMEOUT_MS}

    return Row(name, ApiKey.CREATE_PARTITIONS, 1, request, says(results=[{"error_code": error}]))


def on(*broker_ids: int) -> list[Body]:
    """New partitions, each on one broker."""
    return [{"broker_ids": [broker]} for broker in broker_ids]


PARTITIONS = [
    growth("more", NONE, 5),
    growth("as many as there are", ErrorCode.INVALID_PARTITIONS, 3),
    growth("fewer", ErrorCode.INVALID_PARTITIONS, 1),
    growth("more of a topic that is not there", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 5, topic=UNKNOWN),
    growth("more, twice in one request", ErrorCode.INVALID_REQUEST, 5, times=2),
    growth("fewer assignments than new ones", ErrorCode.INVALID_REPLICA_ASSIGNMENT, 5, assignments=on(1)),
    growth("one on a broker that is not there", ErrorCode.INVALID_REPLICA_ASSIGNMENT, 4, assignments=on(9)),
]


def metadata(version: int) -> Row:
    """Metadata of a topic that is not there."""
    return Row(
        f"metadata v{version} of a topic that is not there, which is not made",
        ApiKey.METADATA,
        version,
        lambda _: {"topics": [{"name": UNKNOWN}], "allow_auto_topic_creation": False},
        says(topics=[{"name": UNKNOWN, "error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "partitions": []}]),
    )


def topic_deletion(name: str, error: ErrorCode, names: Callable[[World], list[str]]) -> Row:
    """DeleteTopics."""
    return Row(
        f"the deletion of {name}",
        ApiKey.DELETE_TOPICS,
        5,
        lambda world: {"topic_names": names(world), "timeout_ms": _TIMEOUT_MS},
        lambda world: {"responses": [{"name": names(world)[0], "error_code": error}]},
    )


TOPICS = [
    metadata(4),
    metadata(9),
    metadata(12),
    Row(
        "metadata of a name that cannot be",
        ApiKey.METADATA,
        9,
        lambda _: {"topics": [{"name": "a b"}], "allow_auto_topic_creation": False},
        says(topics=[{"name": "a b", "error_code": ErrorCode.INVALID_TOPIC_EXCEPTION}]),
    ),
    Row(
        "metadata of no topic",
        ApiKey.METADATA,
        1,
        lambda _: {"topics": []},
        says(topics=[], brokers=[{"node_id": 1, "rack": None}], controller_id=1),
    ),
    Row(
        "metadata of a topic id that is not there",
        ApiKey.METADATA,
        12,
        lambda _: {"topics": [{"name": None, "topic_id": b"?" * 16}], "allow_auto_topic_creation": False},
        says(topics=[{"error_code": ErrorCode.UNKNOWN_TOPIC_ID, "name": None}]),
    ),
    topic_deletion("a topic", NONE, lambda world: [world.topic]),
    topic_deletion("a topic twice in one request", ErrorCode.INVALID_REQUEST, lambda world: [world.topic] * 2),
    topic_deletion("a topic that is not there", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, lambda _: [UNKNOWN]),
    Row(
        "the cluster",
        ApiKey.DESCRIBE_CLUSTER,
        0,
        lambda _: {},
        says(error_code=NONE, controller_id=1, brokers=[{"node_id": 1, "host": "127.0.0.1", "rack": None}]),
    ),
    Row(
        "a client that does not say what it is",
        ApiKey.API_VERSIONS,
        3,
        lambda _: {"client_software_name": "", "client_software_version": "1"},
        says(error_code=ErrorCode.INVALID_REQUEST, api_keys=[]),
    ),
]

_TOPIC, _BROKER, _NO_RESOURCE = 2, 4, 77


def settings(name: str, error: ErrorCode, kind: int, resource: str | None, *configs: Body) -> Row:
    """DescribeConfigs of three settings, of which one is not known."""

    def request(world: World) -> Body:
        keys = ["retention.ms", "cleanup.policy", "no.such.key"]
        one = {"resource_type": kind, "resource_name": resource or world.topic, "configuration_keys": keys}
        return {"resources": [one]}

    return Row(name, ApiKey.DESCRIBE_CONFIGS, 4, request, says(results=[{"error_code": error, "configs": [*configs]}]))


SETTINGS = [
    settings(
        "of a topic",
        NONE,
        _TOPIC,
        None,
        {"name": "cleanup.policy", "value": "delete", "config_source": 5, "config_type": 7, "read_only": False},
        {"name": "retention.ms", "value": "604800000", "config_source": 5, "config_type": 5, "read_only": False},
    ),
    settings("of a topic that is not there", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, _TOPIC, UNKNOWN),
    settings("of a name that cannot be", ErrorCode.INVALID_TOPIC_EXCEPTION, _TOPIC, "a b"),
    settings("of a kind that is not known", ErrorCode.INVALID_REQUEST, _NO_RESOURCE, "x"),
    settings("of a broker that is not there", ErrorCode.INVALID_REQUEST, _BROKER, "9"),
    settings("of a broker whose name is no number", ErrorCode.INVALID_REQUEST, _BROKER, "x"),
]
