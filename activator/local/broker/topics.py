"""The topics of the embedded broker: what exists, with which settings, and what clients are told about it."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from activator.local.broker.config import BrokerConfig, TopicConfig
from activator.local.broker.log import PartitionLog
from activator.local.broker.protocol import NODE_ID, ApiError, ApiKey, Body, ErrorCode, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from activator.local.broker.faults import Faults

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_NO_ID = uuid.UUID(int=0).bytes
_TOPIC_RESOURCE, _BROKER_RESOURCE = 2, 4


class Listener(NamedTuple):
    """The address that clients are told to connect to."""

    host: str
    port: int


@dataclass(slots=True)
class Topic:
    """One topic; `topic_id` tells it from one of the same name that was deleted (KIP-516)."""

    name: str
    topic_id: bytes
    config: TopicConfig
    partitions: list[PartitionLog] = field(default_factory=list)


class Topics:
    """Every topic by name, and the requests about them.

    `changed(name, partition)` is called for a partition that came or went, `deleted(name)` for a topic that went.
    """

    def __init__(
        self,
        config: BrokerConfig,
        faults: Faults,
        *,
        changed: Callable[[str, int], None],
        deleted: Callable[[str], None],
    ) -> None:
        self.listener = Listener("", 0)
        self._config = config
        self._faults = faults
        self._changed = changed
        self._deleted = deleted
        self._topics: dict[str, Topic] = {}
        self._names_by_id: dict[bytes, str] = {}
        self._metric_names: set[str] = set()
        self._partition_count = 0
        self._created = 0

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._topics.values())

    def __getitem__(self, name: str) -> Topic:
        """The topic of this name.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        try:
            return self._topics[name]
        except KeyError:
            raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) from None

    def partition(self, name: str, partition: int) -> PartitionLog:
        """One partition of a topic.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        if not self.has(name, partition):
            raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return self._topics[name].partitions[partition]

    def has(self, name: str, partition: int) -> bool:
        """Tell whether a topic is there and has this partition."""
        return name in self._topics and 0 <= partition < len(self._topics[name].partitions)

    # -- metadata -----------------------------------------------------------------------------------------------

    def metadata(self, request: Request, _now_ms: float) -> Body:
        """Brokers, and the topics asked for; null asks for all (in version 0 an empty list does)."""
        wanted = request.body["topics"]
        if wanted is None or (request.version == 0 and not wanted):
            topics = [self._describe(topic) for topic in self]
        else:
            topics = [self._metadata_of(one, request) for one in wanted]
        return {
            "brokers": [self._broker()],
            "cluster_id": self._config.cluster_id,
            "controller_id": NODE_ID,
            "topics": topics,
        }

    def cluster(self, _request: Request, _now_ms: float) -> Body:
        """The cluster and its one broker."""
        return {"cluster_id": self._config.cluster_id, "controller_id": NODE_ID, "brokers": [self._broker()]}

    def _broker(self) -> Body:
        return {"node_id": NODE_ID, "host": self.listener.host, "port": self.listener.port}

    def _metadata_of(self, wanted: Body, request: Request) -> Body:
        name, topic_id = wanted["name"], wanted["topic_id"]
        if name is None:
            name = self._names_by_id.get(topic_id)
            if name is None:
                return {"error_code": ErrorCode.UNKNOWN_TOPIC_ID, "name": None, "topic_id": topic_id}
        elif name not in self._topics:
            try:
                self._create_automatically(name, allowed=request.body["allow_auto_topic_creation"])
            except ApiError as error:
                return {"error_code": error.code, "name": name}
        return self._describe(self._topics[name])

    def _create_automatically(self, name: str, *, allowed: bool) -> None:
        check_name(name)
        if not (allowed and self._config.auto_create_topics_enable):
            raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        self.create(name, self._config.num_partitions)

    def _describe(self, topic: Topic) -> Body:
        error = self._faults.error(ApiKey.METADATA, topic=topic.name)
        if error is not None:
            return {"error_code": error, "name": topic.name, "topic_id": topic.topic_id}
        partitions = [self._describe_partition(topic.name, number) for number in range(len(topic.partitions))]
        return {"name": topic.name, "topic_id": topic.topic_id, "partitions": partitions}

    def _describe_partition(self, name: str, number: int) -> Body:
        error = self._faults.error(ApiKey.METADATA, topic=name, partition=number)
        return {
            "partition": number,
            "error_code": error or ErrorCode.NONE,
            "leader_id": NODE_ID if error is None else -1,
            "replica_nodes": (NODE_ID,),
            "isr_nodes": (NODE_ID,),
        }

    # -- create, grow, delete -----------------------------------------------------------------------------------

    def create(self, name: str, partitions: int, configs: dict[str, str | None] | None = None) -> Topic:
        """Make a topic.

        Raises:
            ApiError: with the code that CreateTopics answers.
        """
        config = self._check_new(name, partitions, configs or {})
        self._created += 1
        topic_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{self._config.cluster_id}/{self._created}").bytes
        topic = Topic(name, topic_id, config, [PartitionLog() for _ in range(partitions)])
        self._topics[name] = topic
        self._names_by_id[topic_id] = name
        self._metric_names.add(_metric_name(name))
        self._partition_count += partitions
        self._announce(topic, range(partitions))
        return topic

    def delete(self, name: str) -> None:
        """Remove a topic with its records.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        topic = self[name]
        del self._topics[name], self._names_by_id[topic.topic_id]
        self._metric_names.remove(_metric_name(name))
        self._partition_count -= len(topic.partitions)
        self._announce(topic, range(len(topic.partitions)))
        self._deleted(name)

    def _announce(self, topic: Topic, partitions: range) -> None:
        for partition in partitions:
            self._changed(topic.name, partition)

    def _check_new(self, name: str, partitions: int, configs: dict[str, str | None]) -> TopicConfig:
        check_name(name)
        if name in self._topics:
            raise ApiError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
        if _metric_name(name) in self._metric_names:
            raise ApiError(
                ErrorCode.INVALID_TOPIC_EXCEPTION,
                f"Topic '{name}' collides with an existing topic: '.' and '_' are the same in metric names.",
            )
        if partitions < 1:
            raise ApiError(
                ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
            )
        self._check_room(partitions)
        return TopicConfig.parse(self._config, configs)

    def _check_room(self, more: int) -> None:
        total = self._partition_count + more
        if total > self._config.max_partitions:
            raise ApiError(
                ErrorCode.POLICY_VIOLATION,
                f"{total} partitions are over this broker's limit of {self._config.max_partitions}.",
            )

    def create_topics(self, request: Request, _now_ms: float) -> Body:
        """CreateTopics: each topic succeeds or fails by itself."""
        create = partial(self._create_wanted, validate_only=request.body["validate_only"])
        return {"topics": _each(request.body["topics"], create)}

    def _create_wanted(self, wanted: Body, *, validate_only: bool) -> Body:
        name = wanted["name"]
        self._faults.check(ApiKey.CREATE_TOPICS, topic=name)
        partitions = self._wanted_partitions(wanted)
        configs = {config["name"]: config["value"] for config in wanted["configs"]}
        answer: Body = {"name": name, "num_partitions": partitions, "replication_factor": 1}
        if validate_only:
            config = self._check_new(name, partitions, configs)
        else:
            topic = self.create(name, partitions, configs)
            config = topic.config
            answer["topic_id"] = topic.topic_id
        answer["configs"] = [
            {"name": key, "value": value, "config_source": config.source_of(key)}
            for key, value in config.values().items()
        ]
        return answer

    def _wanted_partitions(self, wanted: Body) -> int:
        partitions, replicas = wanted["num_partitions"], wanted["replication_factor"]
        assignments = wanted["assignments"]
        if assignments:
            if partitions != -1 or replicas != -1:
                raise ApiError(
                    ErrorCode.INVALID_REQUEST, "An assignment goes with num_partitions -1 and replication_factor -1."
                )
            _check_assignments([one["broker_ids"] for one in assignments])
            return len(assignments)
        if replicas not in {-1, 1}:
            raise ApiError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"Unable to replicate the partition {replicas} time(s): only 1 broker is registered.",
            )
        return self._config.num_partitions if partitions == -1 else int(partitions)

    def create_partitions(self, request: Request, _now_ms: float) -> Body:
        """CreatePartitions: topics only ever grow."""
        grow = partial(self._grow, validate_only=request.body["validate_only"])
        return {"results": _each(request.body["topics"], grow)}

    def _grow(self, wanted: Body, *, validate_only: bool) -> Body:
        topic = self[wanted["name"]]
        have, count = len(topic.partitions), wanted["count"]
        if count == have:
            raise ApiError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {have} partition(s).")
        if count < have:
            raise ApiError(
                ErrorCode.INVALID_PARTITIONS,
                f"The topic {topic.name} currently has {have} partition(s); {count} would not be an increase.",
            )
        if wanted["assignments"] is not None:
            if len(wanted["assignments"]) != count - have:
                raise ApiError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"Attempted to add {count - have} additional partition(s), "
                    f"but only {len(wanted['assignments'])} assignment(s) were specified.",
                )
            _check_assignments([one["broker_ids"] for one in wanted["assignments"]])
        self._check_room(count - have)
        if not validate_only:
            topic.partitions.extend(PartitionLog() for _ in range(count - have))
            self._partition_count += count - have
            self._announce(topic, range(have, count))
        return {"name": topic.name}

    def delete_topics(self, request: Request, _now_ms: float) -> Body:
        """DeleteTopics: each topic succeeds or fails by itself."""
        return {"responses": _each([{"name": name} for name in request.body["topic_names"]], self._delete_wanted)}

    def _delete_wanted(self, wanted: Body) -> Body:
        try:
            self.delete(wanted["name"])
        except ApiError as error:
            raise ApiError(error.code, "This server does not host this topic-partition.") from None
        return wanted


def _each(topics: Sequence[Body], answer: Callable[[Body], Body]) -> list[Body]:
    """Answer for each topic by itself; one that is named twice is refused."""
    named = Counter(topic["name"] for topic in topics)
    answers = []
    for name, wanted in {topic["name"]: topic for topic in topics}.items():
        if named[name] > 1:
            code, message = ErrorCode.INVALID_REQUEST, "Duplicate topic name."
            answers.append({"name": name, "error_code": code, "error_message": message})
            continue
        try:
            answers.append(answer(wanted))
        except ApiError as error:
            answers.append({"name": name, "error_code": error.code, "error_message": error.message})
    return answers


def _metric_name(name: str) -> str:
    return name.replace(".", "_")


def check_name(name: str) -> None:
    """Refuse a name that no topic can have.

    Raises:
        ApiError: INVALID_TOPIC_EXCEPTION.
    """
    if not _LEGAL_NAME.fullmatch(name) or name in {".", ".."}:
        raise ApiError(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"Topic name '{name}' is illegal: 1 to 249 of ASCII letters and digits, '.', '_' and '-' are allowed.",
        )


def _check_assignments(replicas: Sequence[Sequence[int]]) -> None:
    if any(list(ids) != [NODE_ID] for ids in replicas):
        raise ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"Only broker {NODE_ID} is registered: each partition has it alone."
        )
