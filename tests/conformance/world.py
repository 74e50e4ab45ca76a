"""What the cases of the conformance suite start from, and how their requests are put together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance.raw_client import batch_of, partitions_of, sole

if TYPE_CHECKING:
    from activator.local.broker.protocol import Body
    from tests.conformance.raw_client import RawClient

FIRST_MS = 1_000_000_000_000
"""Time of the first record; each of the five is a millisecond after the one before."""

NOBODY = "nobody-is-called-this"
UNKNOWN = "there-is-no-such-topic"
SUBSCRIPTION = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
"""ConsumerProtocolSubscription v0 of no topics."""

_TIMEOUT_MS = 10_000
_LEADER_SECONDS = 60.0  # a Kafka that deletes a thousand topics is busy for a while
_names = count(1)
_run = uuid4().hex[:6]


@dataclass
class World:
    """A group, and a topic of three partitions: 0 has records 0..2 and 3..4 in two batches, 1 none, 2 three in gzip."""

    bootstrap_servers: str
    client: RawClient
    group: str = field(default_factory=lambda: f"group-{_run}-{next(_names)}")
    member: str = ""
    generation: int = -1

    def __post_init__(self) -> None:
        """Make the topic and its records."""
        self.topic = self.new_topic(3)
        self.produce(0, batch_of([b"a", b"b", b"c"], timestamp_ms=FIRST_MS))
        self.produce(0, batch_of([b"d", b"e"], timestamp_ms=FIRST_MS + 3))
        self.produce(2, batch_of([b"f" * 100] * 3, timestamp_ms=FIRST_MS, compression=1))

    def new_topic(self, partitions: int, **configs: str) -> str:
        """Make a topic and wait until its partitions have a leader."""
        name = f"topic-{_run}-{next(_names)}"
        settings = [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]
        wanted = new_topic(name, partitions, configs=settings)
        created = sole(self.client.call(ApiKey.CREATE_TOPICS, 5, create_topics(wanted))["topics"])
        assert created["error_code"] == ErrorCode.NONE, created
        asked = [latest(partition) for partition in range(partitions)]
        deadline = time.monotonic() + _LEADER_SECONDS
        while True:
            answer = self.client.call(ApiKey.LIST_OFFSETS, 5, list_offsets(name, *asked))
            if not any(one["error_code"] for one in partitions_of(answer, name).values()):
                return name
            assert time.monotonic() < deadline, f"{name} has no leader"
            time.sleep(0.02)

    def produce(self, partition: int, batch: bytes, topic: str | None = None) -> Body:
        """Append a batch."""
        name = topic or self.topic
        answer = self.client.call(ApiKey.PRODUCE, 8, produce(name, partition, batch))
        return partitions_of(answer, name)[partition]

    def commit(self, offset: int, partition: int = 0) -> None:
        """Commit as an administrator does for a group without members."""
        body = commit(self.group, self.topic, partition, offset)
        answer = self.client.call(ApiKey.OFFSET_COMMIT, 7, body)
        assert not partitions_of(answer, self.topic)[partition]["error_code"]

    def join(self) -> None:
        """Be the only member of the group, without an assignment yet."""
        asked = self.client.call(ApiKey.JOIN_GROUP, 5, join(self.group))
        assert asked["error_code"] == ErrorCode.MEMBER_ID_REQUIRED
        self.member = asked["member_id"]
        joined = self.client.call(ApiKey.JOIN_GROUP, 5, join(self.group, member=self.member))
        assert joined["error_code"] == ErrorCode.NONE
        self.generation = joined["generation_id"]

    def join_and_sync(self) -> None:
        """Be the only member of the group, with an assignment."""
        self.join()
        assignment = {"member_id": self.member, "assignment": b"mine"}
        body = sync(self.group, self.generation, self.member, assignment)
        assert not self.client.call(ApiKey.SYNC_GROUP, 3, body)["error_code"]


def topics(name: str, *partitions: Any) -> list[Body]:
    """One topic with these partitions."""
    return [{"name": name, "partitions": list(partitions)}]


def new_topic(name: str, partitions: int = 1, replication_factor: int = 1, **more: Any) -> Body:
    """One topic to be made."""
    return {"name": name, "num_partitions": partitions, "replication_factor": replication_factor, **more}


def create_topics(*wanted: Body, validate_only: bool = False) -> Body:
    """CreateTopics."""
    return {"topics": list(wanted), "timeout_ms": _TIMEOUT_MS, "validate_only": validate_only}


def produce(topic: str, partition: int, *batches: bytes, acks: int = -1) -> Body:
    """Produce."""
    one = {"partition": partition, "records": list(batches)}
    return {"transactional_id": None, "acks": acks, "timeout_ms": _TIMEOUT_MS, "topics": topics(topic, one)}


def position(partition: int, offset: int, *, max_bytes: int = 1 << 20, leader_epoch: int = -1) -> Body:
    """From where a Fetch wants one partition."""
    return {
        "partition": partition,
        "fetch_offset": offset,
        "partition_max_bytes": max_bytes,
        "current_leader_epoch": leader_epoch,
    }


def fetch(
    wanted: list[Body],
    *,
    wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    session_id: int = 0,
    epoch: int = -1,
    forgotten: list[Body] | None = None,
) -> Body:
    """Fetch; without a session unless its epoch says so."""
    return {
        "replica_id": -1,
        "max_wait_ms": wait_ms,
        "min_bytes": min_bytes,
        "max_bytes": max_bytes,
        "session_id": session_id,
        "session_epoch": epoch,
        "topics": wanted,
        "forgotten_topics": forgotten or [],
    }


def at(partition: int, timestamp: int, leader_epoch: int = -1) -> Body:
    """One partition of ListOffsets."""
    return {"partition": partition, "timestamp": timestamp, "current_leader_epoch": leader_epoch}


def latest(partition: int) -> Body:
    """The end of one partition."""
    return at(partition, -1)


def list_offsets(topic: str, *wanted: Body) -> Body:
    """ListOffsets."""
    return {"replica_id": -1, "isolation_level": 0, "topics": topics(topic, *wanted)}


def join(
    group: str,
    *,
    member: str = "",
    instance: str | None = None,
    session_ms: int = 30_000,
    rebalance_ms: int = 30_000,
    protocol_type: str = "consumer",
    protocols: tuple[tuple[str, bytes], ...] = (("range", SUBSCRIPTION),),
) -> Body:
    """JoinGroup."""
    return {
        "group_id": group,
        "session_timeout_ms": session_ms,
        "rebalance_timeout_ms": rebalance_ms,
        "member_id": member,
        "group_instance_id": instance,
        "protocol_type": protocol_type,
        "protocols": [{"name": name, "metadata": metadata} for name, metadata in protocols],
    }


def sync(group: str, generation: int, member: str, *assignments: Body, **more: Any) -> Body:
    """SyncGroup."""
    return {
        "group_id": group,
        "generation_id": generation,
        "member_id": member,
        "assignments": list(assignments),
        **more,
    }


def heartbeat(group: str, generation: int, member: str, instance: str | None = None) -> Body:
    """Heartbeat."""
    return {"group_id": group, "generation_id": generation, "member_id": member, "group_instance_id": instance}


def leave(group: str, member: str, instance: str | None = None) -> Body:
    """LeaveGroup, in every version's way."""
    members = [{"member_id": member, "group_instance_id": instance}]
    return {"group_id": group, "member_id": member, "members": members}


def commit(
    group: str,
    topic: str,
    partition: int,
    offset: int,
    *,
    generation: int = -1,
    member: str = "",
    instance: str | None = None,
    metadata: str | None = None,
) -> Body:
    """OffsetCommit of one partition."""
    one = {"partition": partition, "committed_offset": offset, "committed_metadata": metadata}
    return {
        "group_id": group,
        "generation_id": generation,
        "member_id": member,
        "group_instance_id": instance,
        "topics": topics(topic, one),
    }
