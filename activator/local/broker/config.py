"""What the embedded broker can be told: limits and time-outs of the broker, and the settings of a topic."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from activator.local.broker.protocol import ApiError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, kw_only=True)
class BrokerConfig:
    """Limits and time-outs; each is named as Kafka's broker setting, with its default unless a reason is given."""

    memory_bytes: int = 256 * 1024 * 1024
    """Cap of all record batches together; beyond it the oldest batches of the broker go, whatever their retention;
    the first time, the log says so."""
    max_partitions: int = 20_000
    """Cap of all partitions together; a topic beyond it is refused with POLICY_VIOLATION."""
    max_groups: int = 20_000
    """Cap of all groups together; a member of one more is refused with GROUP_MAX_SIZE_REACHED."""
    num_partitions: int = 1
    """Partitions of a topic that is created without a number."""
    auto_create_topics_enable: bool = False
    """Whether asking for an unknown topic's metadata may create it. Kafka says yes; here a typo should show."""
    retention_ms: int = 7 * _DAY_MS
    """A topic's `retention.ms` unless it has its own; -1 is for ever."""
    retention_bytes: int = -1
    """A topic's `retention.bytes` per partition unless it has its own; -1 is without limit."""
    retention_check_interval_ms: int = 5_000
    """How often retention is looked at (Kafka: every five minutes; in memory it is a matter of microseconds)."""
    max_message_bytes: int = 1_048_588
    """A topic's `max.message.bytes` unless it has its own: the largest batch that is accepted."""
    fetch_max_bytes: int = 55 * 1024 * 1024
    """Cap of one fetch response, whatever the client asks for."""
    max_incremental_fetch_session_cache_slots: int = 1_000
    """How many fetch sessions are kept (KIP-227)."""
    min_incremental_fetch_session_eviction_ms: int = 120_000
    """How long an unused session is safe from being evicted for a new one."""
    group_first_member_wait_ms: int = 50
    """How long the first member of an empty group waits for a second, so that two that start together are one rebalance
    and not two, of which the second is told by the next heartbeat (3 s). Kafka's `group.initial.rebalance.delay.ms`
    makes any number wait all of it, 3 s."""
    group_min_session_timeout_ms: int = 6_000
    """Smallest session time-out a member may ask for."""
    group_max_session_timeout_ms: int = 1_800_000
    """Largest session time-out a member may ask for."""
    group_max_size: int = 1_000
    """Members a group may have (Kafka: no limit)."""
    offsets_retention_ms: int = 7 * _DAY_MS
    """How long the offsets of a group outlive its last member."""
    offsets_retention_check_interval_ms: int = 600_000
    """How often expired offsets, and groups of which nothing is left, are looked for."""
    offset_metadata_max_bytes: int = 4_096
    """Longest text that may go with a committed offset."""
    cluster_id: str = "wakegate-embedded-kafka"
    """What Metadata calls the cluster."""


class ConfigType(IntEnum):
    """How DescribeConfigs names the type of a value."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    LIST = 7


class ConfigSource(IntEnum):
    """Where DescribeConfigs says that a value comes from."""

    DYNAMIC_TOPIC = 1
    STATIC_BROKER = 4
    DEFAULT = 5


RETENTION_MS, RETENTION_BYTES = "retention.ms", "retention.bytes"
MAX_MESSAGE_BYTES, TIMESTAMP_TYPE, CLEANUP_POLICY = "max.message.bytes", "message.timestamp.type", "cleanup.policy"

TOPIC_CONFIG_TYPES = {
    CLEANUP_POLICY: ConfigType.LIST,
    MAX_MESSAGE_BYTES: ConfigType.INT,
    TIMESTAMP_TYPE: ConfigType.STRING,
    RETENTION_BYTES: ConfigType.LONG,
    RETENTION_MS: ConfigType.LONG,
}
"""The settings of a topic that change what this broker does."""

_INTEGER = re.compile("-?[0-9]{1,18}")
_SMALLEST = {MAX_MESSAGE_BYTES: 0, RETENTION_BYTES: -1, RETENTION_MS: -1}
_ALLOWED = {CLEANUP_POLICY: ("delete",), TIMESTAMP_TYPE: ("CreateTime", "LogAppendTime")}

_WITHOUT_EFFECT = frozenset(
    {
        "compression.type",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "follower.replication.throttled.replicas",
        "index.interval.bytes",
        "leader.replication.throttled.replicas",
        "local.retention.bytes",
        "local.retention.ms",
        "max.compaction.lag.ms",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "preallocate",
        "remote.storage.enable",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
        "unclean.leader.election.enable",
    }
)
"""Settings of Kafka that mean nothing in memory and on one node: accepted and shown, so that real tools work."""


@dataclass(frozen=True)
class TopicConfig:
    """A topic's own settings over the broker's."""

    broker: BrokerConfig
    own: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, broker: BrokerConfig, own: Mapping[str, str | None]) -> TopicConfig:
        """Check a topic's settings.

        Raises:
            ApiError: INVALID_CONFIG names the key, the value and what is allowed.
        """
        for key, value in own.items():
            _check(key, value)
        return cls(broker, {key: value for key, value in own.items() if value is not None})

    @property
    def retention_ms(self) -> int | None:
        """How old records may get; None is for ever."""
        return _unlimited(int(self.own.get(RETENTION_MS, self.broker.retention_ms)))

    @property
    def retention_bytes(self) -> int | None:
        """How many bytes a partition keeps; None is without limit."""
        return _unlimited(int(self.own.get(RETENTION_BYTES, self.broker.retention_bytes)))

    @property
    def max_message_bytes(self) -> int:
        """The largest batch that is accepted."""
        return int(self.own.get(MAX_MESSAGE_BYTES, self.broker.max_message_bytes))

    @property
    def log_append_time(self) -> bool:
        """Whether records get the time of their append in place of their own."""
        return self.own.get(TIMESTAMP_TYPE) == "LogAppendTime"

    def source_of(self, key: str) -> ConfigSource:
        """Where the value of this setting comes from."""
        return ConfigSource.DYNAMIC_TOPIC if key in self.own else ConfigSource.DEFAULT

    def values(self) -> dict[str, str]:
        """Every setting with the value in force."""
        defaults = {
            CLEANUP_POLICY: "delete",
            MAX_MESSAGE_BYTES: str(self.broker.max_message_bytes),
            TIMESTAMP_TYPE: "CreateTime",
            RETENTION_BYTES: str(self.broker.retention_bytes),
            RETENTION_MS: str(self.broker.retention_ms),
        }
        return {**defaults, **self.own}


def _unlimited(value: int) -> int | None:
    return None if value < 0 else value


def _check(key: str, value: str | None) -> None:
    if key in _WITHOUT_EFFECT:
        return
    if key not in TOPIC_CONFIG_TYPES:
        raise ApiError(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {key}")
    if value is None:
        raise ApiError(ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {key}")
    if key in _ALLOWED:
        if value not in _ALLOWED[key]:
            allowed = ", ".join(_ALLOWED[key])
            raise ApiError(
                ErrorCode.INVALID_CONFIG, f"Invalid value {value} for configuration {key}: this broker knows {allowed}"
            )
    elif not _INTEGER.fullmatch(value) or int(value) < _SMALLEST[key]:
        raise ApiError(
            ErrorCode.INVALID_CONFIG,
            f"Invalid value {value} for configuration {key}: an integer of at least {_SMALLEST[key]} is allowed",
        )
