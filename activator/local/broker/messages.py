"""The layout of every request and response the embedded broker speaks, in each of the versions it advertises.

Source: the message definitions of Apache Kafka 4.1 (clients/src/main/resources/common/message), checked field by field
against its compiled schemas. The lower bounds are Kafka 4's own (KIP-896); the upper bounds leave out what the broker
does not do: topic ids in Fetch and Produce (KIP-516), the new group protocol (KIP-848), share groups, transactions.
One name for one thing: a topic is `name`, a partition's number is `partition` and an error is `error_code` in every
message, where the definitions have `topic`, `index` or `partition_index` in turn: one rule finds what a request
is about.
"""

from __future__ import annotations

from dataclasses import dataclass

from activator.local.broker.protocol import LEADER_EPOCH, NO_OFFSET, NO_RETENTION, NO_TIMESTAMP, ApiKey
from activator.local.broker.wire import (
    ALL,
    BOOLEAN,
    BYTES,
    INT8,
    INT16,
    INT32,
    INT64,
    RECORDS,
    STRING,
    UUID,
    Array,
    Field,
    Message,
)

NO_OPERATIONS = -(1 << 31)
"""Authorized operations that were not asked for."""


@dataclass(frozen=True)
class Api:
    """One kind of request: the versions spoken, and both layouts."""

    key: ApiKey
    first: int
    last: int
    flexible: int
    request: Message
    response: Message

    @property
    def versions(self) -> range:
        """The versions spoken."""
        return range(self.first, self.last + 1)


def _api(
    key: ApiKey, versions: tuple[int, int], flexible: int, request: tuple[Field, ...], response: tuple[Field, ...]
) -> Api:
    return Api(key, *versions, flexible, Message(request, flexible), Message(response, flexible))


_NAME = Field("name", STRING)
_PARTITION = Field("partition", INT32)
_ERROR = Field("error_code", INT16)
_MESSAGE = Field("error_message", STRING, default=None)
_GROUP = Field("group_id", STRING)
_MEMBER = Field("member_id", STRING)
_THROTTLE = Field("throttle_time_ms", INT32)


_CONFIG = (
    _NAME,
    Field("value", STRING, default=None),
    Field("read_only", BOOLEAN),
    Field("config_source", INT8, default=-1),
    Field("is_sensitive", BOOLEAN),
)


def _message(since: int, until: int = ALL) -> Field:
    return Field("error_message", STRING, since, until, default=None)


def _throttle(since: int) -> Field:
    return Field("throttle_time_ms", INT32, since)


def _instance(since: int) -> Field:
    return Field("group_instance_id", STRING, since, default=None)


def _reason(since: int) -> Field:
    return Field("reason", STRING, since, default=None)


def _topics(*partition: Field, since: int = 0, until: int = ALL) -> Field:
    """Topics by name, each with partitions of these fields."""
    return Field("topics", Array((_NAME, Field("partitions", Array(partition)))), since, until)


def _topic_partitions(since: int = 0, until: int = ALL) -> Field:
    """Topics by name, each with partition numbers; null asks for all of them."""
    return Field("topics", Array((_NAME, Field("partitions", Array(INT32)))), since, until)


_APIS = (
    _api(
        ApiKey.PRODUCE,
        (3, 9),
        9,
        (
            Field("transactional_id", STRING, default=None),
            Field("acks", INT16),
            Field("timeout_ms", INT32),
            _topics(_PARTITION, Field("records", RECORDS, default=None)),
        ),
        (
            _topics(
                _PARTITION,
                _ERROR,
                Field("base_offset", INT64, default=NO_OFFSET),
                Field("log_append_time_ms", INT64, default=NO_TIMESTAMP),
                Field("log_start_offset", INT64, 5, default=NO_OFFSET),
                Field(
                    "record_errors",
                    Array((Field("batch_index", INT32), Field("batch_index_error_message", STRING, default=None))),
                    8,
                ),
                _message(8),
            ),
            _THROTTLE,
        ),
    ),
    _api(
        ApiKey.FETCH,
        (4, 12),
        12,
        (
            Field("replica_id", INT32, default=-1),
            Field("max_wait_ms", INT32),
            Field("min_bytes", INT32),
            Field("max_bytes", INT32),
            Field("isolation_level", INT8),
            Field("session_id", INT32, 7),
            Field("session_epoch", INT32, 7, default=-1),
            _topics(
                _PARTITION,
                Field("current_leader_epoch", INT32, 9, default=-1),
                Field("fetch_offset", INT64),
                Field("last_fetched_epoch", INT32, 12, default=-1),
                Field("log_start_offset", INT64, 5, default=NO_OFFSET),
                Field("partition_max_bytes", INT32),
            ),
            Field("forgotten_topics", Array((_NAME, Field("partitions", Array(INT32)))), 7),
            Field("rack_id", STRING, 11),
        ),
        (
            _THROTTLE,
            Field("error_code", INT16, 7),
            Field("session_id", INT32, 7),
            _topics(
                _PARTITION,
                _ERROR,
                Field("high_watermark", INT64, default=NO_OFFSET),
                Field("last_stable_offset", INT64, default=NO_OFFSET),
                Field("log_start_offset", INT64, 5, default=NO_OFFSET),
                Field(
                    "aborted_transactions",
                    Array((Field("producer_id", INT64), Field("first_offset", INT64))),
                    default=None,
                ),
                Field("preferred_read_replica", INT32, 11, default=-1),
                Field("records", RECORDS),
            ),
        ),
    ),
    _api(
        ApiKey.LIST_OFFSETS,
        (1, 7),
        6,
        (
            Field("replica_id", INT32, default=-1),
            Field("isolation_level", INT8, 2),
            _topics(_PARTITION, Field("current_leader_epoch", INT32, 4, default=-1), Field("timestamp", INT64)),
        ),
        (
            _throttle(2),
            _topics(
                _PARTITION,
                _ERROR,
                Field("timestamp", INT64, default=NO_TIMESTAMP),
                Field("offset", INT64, default=NO_OFFSET),
                Field("leader_epoch", INT32, 4, default=-1),
            ),
        ),
    ),
    _api(
        ApiKey.METADATA,
        (0, 12),
        9,
        (
            Field("topics", Array((Field("topic_id", UUID, 10), _NAME))),
            Field("allow_auto_topic_creation", BOOLEAN, 4, default=True),
            Field("include_cluster_authorized_operations", BOOLEAN, 8, 10),
            Field("include_topic_authorized_operations", BOOLEAN, 8),
        ),
        (
            _throttle(3),
            Field(
                "brokers",
                Array(
                    (
                        Field("node_id", INT32),
                        Field("host", STRING),
                        Field("port", INT32),
                        Field("rack", STRING, 1, default=None),
                    )
                ),
            ),
            Field("cluster_id", STRING, 2, default=None),
            Field("controller_id", INT32, 1),
            Field(
                "topics",
                Array(
                    (
                        _ERROR,
                        _NAME,
                        Field("topic_id", UUID, 10),
                        Field("is_internal", BOOLEAN, 1),
                        Field(
                            "partitions",
                            Array(
                                (
                                    _ERROR,
                                    _PARTITION,
                                    Field("leader_id", INT32),
                                    Field("leader_epoch", INT32, 7, default=LEADER_EPOCH),
                                    Field("replica_nodes", Array(INT32)),
                                    Field("isr_nodes", Array(INT32)),
                                    Field("offline_replicas", Array(INT32), 5),
                                )
                            ),
                        ),
                        Field("topic_authorized_operations", INT32, 8, default=NO_OPERATIONS),
                    )
                ),
            ),
            Field("cluster_authorized_operations", INT32, 8, 10, default=NO_OPERATIONS),
        ),
    ),
    _api(
        ApiKey.OFFSET_COMMIT,
        (2, 8),
        8,
        (
            _GROUP,
            Field("generation_id", INT32, default=-1),
            _MEMBER,
            _instance(7),
            Field("retention_time_ms", INT64, 2, 4, default=NO_RETENTION),
            _topics(
                _PARTITION,
                Field("committed_offset", INT64),
                Field("committed_leader_epoch", INT32, 6, default=-1),
                Field("committed_metadata", STRING, default=None),
            ),
        ),
        (_throttle(3), _topics(_PARTITION, _ERROR)),
    ),
    _api(
        ApiKey.OFFSET_FETCH,
        (1, 8),
        6,
        (
            Field("group_id", STRING, 0, 7),
            _topic_partitions(until=7),
            Field("groups", Array((_GROUP, _topic_partitions())), 8),
            Field("require_stable", BOOLEAN, 7),
        ),
        (
            _throttle(3),
            _topics(
                _PARTITION,
                Field("committed_offset", INT64),
                Field("committed_leader_epoch", INT32, 5, default=-1),
                Field("metadata", STRING),
                _ERROR,
                until=7,
            ),
            Field("error_code", INT16, 2, 7),
            Field(
                "groups",
                Array(
                    (
                        _GROUP,
                        _topics(
                            _PARTITION,
                            Field("committed_offset", INT64),
                            Field("committed_leader_epoch", INT32, default=-1),
                            Field("metadata", STRING),
                            _ERROR,
                        ),
                        _ERROR,
                    )
                ),
                8,
            ),
        ),
    ),
    _api(
        ApiKey.FIND_COORDINATOR,
        (0, 4),
        3,
        (
            Field("key", STRING, 0, 3),
            Field("key_type", INT8, 1),
            Field("coordinator_keys", Array(STRING), 4),
        ),
        (
            _throttle(1),
            Field("error_code", INT16, 0, 3),
            _message(1, 3),
            Field("node_id", INT32, 0, 3),
            Field("host", STRING, 0, 3),
            Field("port", INT32, 0, 3),
            Field(
                "coordinators",
                Array(
                    (
                        Field("key", STRING),
                        Field("node_id", INT32),
                        Field("host", STRING),
                        Field("port", INT32),
                        _ERROR,
                        _MESSAGE,
                    )
                ),
                4,
            ),
        ),
    ),
    _api(
        ApiKey.JOIN_GROUP,
        (0, 9),
        6,
        (
            _GROUP,
            Field("session_timeout_ms", INT32),
            Field("rebalance_timeout_ms", INT32, 1, default=-1),
            _MEMBER,
            _instance(5),
            Field("protocol_type", STRING),
            Field("protocols", Array((_NAME, Field("metadata", BYTES)))),
            _reason(8),
        ),
        (
            _throttle(2),
            _ERROR,
            Field("generation_id", INT32, default=-1),
            Field("protocol_type", STRING, 7, default=None),
            Field("protocol_name", STRING),
            Field("leader", STRING),
            Field("skip_assignment", BOOLEAN, 9),
            _MEMBER,
            Field("members", Array((_MEMBER, _instance(5), Field("metadata", BYTES)))),
        ),
    ),
    _api(
        ApiKey.HEARTBEAT,
        (0, 4),
        4,
        (_GROUP, Field("generation_id", INT32), _MEMBER, _instance(3)),
        (_throttle(1), _ERROR),
    ),
    _api(
        ApiKey.LEAVE_GROUP,
        (0, 5),
        4,
        (
            _GROUP,
            Field("member_id", STRING, 0, 2),
            Field("members", Array((_MEMBER, _instance(3), _reason(5))), 3),
        ),
        (_throttle(1), _ERROR, Field("members", Array((_MEMBER, _instance(3), _ERROR)), 3)),
    ),
    _api(
        ApiKey.SYNC_GROUP,
        (0, 5),
        4,
        (
            _GROUP,
            Field("generation_id", INT32),
            _MEMBER,
            _instance(3),
            Field("protocol_type", STRING, 5, default=None),
            Field("protocol_name", STRING, 5, default=None),
            Field("assignments", Array((_MEMBER, Field("assignment", BYTES)))),
        ),
        (
            _throttle(1),
            _ERROR,
            Field("protocol_type", STRING, 5, default=None),
            Field("protocol_name", STRING, 5, default=None),
            Field("assignment", BYTES),
        ),
    ),
    _api(
        ApiKey.DESCRIBE_GROUPS,
        (0, 5),
        5,
        (Field("groups", Array(STRING)), Field("include_authorized_operations", BOOLEAN, 3)),
        (
            _throttle(1),
            Field(
                "groups",
                Array(
                    (
                        _ERROR,
                        _GROUP,
                        Field("group_state", STRING),
                        Field("protocol_type", STRING),
                        Field("protocol_data", STRING),
                        Field(
                            "members",
                            Array(
                                (
                                    _MEMBER,
                                    _instance(4),
                                    Field("client_id", STRING),
                                    Field("client_host", STRING),
                                    Field("member_metadata", BYTES),
                                    Field("member_assignment", BYTES),
                                )
                            ),
                        ),
                        Field("authorized_operations", INT32, 3, default=NO_OPERATIONS),
                    )
                ),
            ),
        ),
    ),
    _api(
        ApiKey.LIST_GROUPS,
        (0, 5),
        3,
        (Field("states_filter", Array(STRING), 4), Field("types_filter", Array(STRING), 5)),
        (
            _throttle(1),
            _ERROR,
            Field(
                "groups",
                Array(
                    (
                        _GROUP,
                        Field("protocol_type", STRING),
                        Field("group_state", STRING, 4),
                        Field("group_type", STRING, 5),
                    )
                ),
            ),
        ),
    ),
    _api(
        ApiKey.API_VERSIONS,
        (0, 4),
        3,
        (Field("client_software_name", STRING, 3), Field("client_software_version", STRING, 3)),
        (
            _ERROR,
            Field(
                "api_keys",
                Array((Field("api_key", INT16), Field("min_version", INT16), Field("max_version", INT16))),
            ),
            _throttle(1),
        ),
    ),
    _api(
        ApiKey.CREATE_TOPICS,
        (2, 7),
        5,
        (
            Field(
                "topics",
                Array(
                    (
                        _NAME,
                        Field("num_partitions", INT32),
                        Field("replication_factor", INT16),
                        Field("assignments", Array((_PARTITION, Field("broker_ids", Array(INT32))))),
                        Field("configs", Array((_NAME, Field("value", STRING, default=None)))),
                    )
                ),
            ),
            Field("timeout_ms", INT32),
            Field("validate_only", BOOLEAN),
        ),
        (
            _THROTTLE,
            Field(
                "topics",
                Array(
                    (
                        _NAME,
                        Field("topic_id", UUID, 7),
                        _ERROR,
                        _MESSAGE,
                        Field("num_partitions", INT32, 5, default=-1),
                        Field("replication_factor", INT16, 5, default=-1),
                        Field(
                            "configs",
                            Array(_CONFIG),
                            5,
                        ),
                    )
                ),
            ),
        ),
    ),
    _api(
        ApiKey.DELETE_TOPICS,
        (1, 5),
        4,
        (Field("topic_names", Array(STRING)), Field("timeout_ms", INT32)),
        (_THROTTLE, Field("responses", Array((_NAME, _ERROR, _message(5))))),
    ),
    _api(
        ApiKey.DELETE_RECORDS,
        (0, 2),
        2,
        (_topics(_PARTITION, Field("offset", INT64)), Field("timeout_ms", INT32)),
        (_THROTTLE, _topics(_PARTITION, Field("low_watermark", INT64, default=NO_OFFSET), _ERROR)),
    ),
    _api(
        ApiKey.INIT_PRODUCER_ID,
        (0, 4),
        2,
        (
            Field("transactional_id", STRING, default=None),
            Field("transaction_timeout_ms", INT32),
            Field("producer_id", INT64, 3, default=-1),
            Field("producer_epoch", INT16, 3, default=-1),
        ),
        (
            _THROTTLE,
            _ERROR,
            Field("producer_id", INT64, default=-1),
            Field("producer_epoch", INT16, default=-1),
        ),
    ),
    _api(
        ApiKey.DESCRIBE_CONFIGS,
        (1, 4),
        4,
        (
            Field(
                "resources",
                Array(
                    (
                        Field("resource_type", INT8),
                        Field("resource_name", STRING),
                        Field("configuration_keys", Array(STRING)),
                    )
                ),
            ),
            Field("include_synonyms", BOOLEAN),
            Field("include_documentation", BOOLEAN, 3),
        ),
        (
            _THROTTLE,
            Field(
                "results",
                Array(
                    (
                        _ERROR,
                        _MESSAGE,
                        Field("resource_type", INT8),
                        Field("resource_name", STRING),
                        Field(
                            "configs",
                            Array(
                                (
                                    *_CONFIG,
                                    Field(
                                        "synonyms",
                                        Array((_NAME, Field("value", STRING, default=None), Field("source", INT8))),
                                    ),
                                    Field("config_type", INT8, 3),
                                    Field("documentation", STRING, 3, default=None),
                                )
                            ),
                        ),
                    )
                ),
            ),
        ),
    ),
    _api(
        ApiKey.CREATE_PARTITIONS,
        (0, 3),
        2,
        (
            Field(
                "topics",
                Array(
                    (
                        _NAME,
                        Field("count", INT32),
                        Field("assignments", Array((Field("broker_ids", Array(INT32)),)), default=None),
                    )
                ),
            ),
            Field("timeout_ms", INT32),
            Field("validate_only", BOOLEAN),
        ),
        (_THROTTLE, Field("results", Array((_NAME, _ERROR, _MESSAGE)))),
    ),
    _api(
        ApiKey.DELETE_GROUPS,
        (0, 2),
        2,
        (Field("groups_names", Array(STRING)),),
        (_THROTTLE, Field("results", Array((_GROUP, _ERROR)))),
    ),
    _api(
        ApiKey.OFFSET_DELETE,
        (0, 0),
        ALL,
        (_GROUP, _topics(_PARTITION)),
        (_ERROR, _THROTTLE, _topics(_PARTITION, _ERROR)),
    ),
    _api(
        ApiKey.DESCRIBE_CLUSTER,
        (0, 0),
        0,
        (Field("include_cluster_authorized_operations", BOOLEAN),),
        (
            _THROTTLE,
            _ERROR,
            _MESSAGE,
            Field("cluster_id", STRING),
            Field("controller_id", INT32),
            Field(
                "brokers",
                Array(
                    (
                        Field("node_id", INT32),
                        Field("host", STRING),
                        Field("port", INT32),
                        Field("rack", STRING, default=None),
                    )
                ),
            ),
            Field("cluster_authorized_operations", INT32, default=NO_OPERATIONS),
        ),
    ),
)

APIS: dict[ApiKey, Api] = {api.key: api for api in _APIS}
"""Every API that is spoken, by its key."""
