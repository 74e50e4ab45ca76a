"""The requests of the lag reader, each in the newest version that pays and the oldest that brokers in use offer.

Every decoder is a generator of rows (see `client.rows`). Layouts: https://kafka.apache.org/protocol.html; the ranges
lie within what Kafka 4 still accepts (KIP-896).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from activator.kafka.member_topics import add_topics_of_classic_member, topics_of_member
from activator.kafka.wire import KafkaRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activator.kafka.wire import Reader, Writer

EARLIEST_TIMESTAMP = -2
LATEST_TIMESTAMP = -1
NO_OFFSET = -1
NO_LEADER = -1

_GROUP_KEY = 0
_CONSUMER = -1  # replica id
_WITH_TOPIC_ID = 10  # Metadata
_OPERATIONS_NOT_TOLD = -(2**31)  # what a broker answers that was not asked for them, or knows none
_UUID_BYTES = 16
_CONSUMERS = "consumer"  # protocol type of groups that share topics; Kafka Connect's workers have one of their own
_STABLE = "Stable"

_PARTITION_AND_TIMESTAMP = struct.Struct(">iq")
_LISTED_OFFSET = struct.Struct(">ihqq")
_COMMIT_V3 = struct.Struct(">iq")
_COMMIT_V8 = struct.Struct(">iqi")
_METADATA_PARTITION = struct.Struct(">hii")


class BrokerRow(NamedTuple):
    """A broker of the cluster."""

    node_id: int
    host: str
    port: int


class TopicRow(NamedTuple):
    """A topic as a broker sees it."""

    error: int
    topic: str
    leaders: dict[int, int]
    """Leader by partition number, `NO_LEADER` where there is none."""
    topic_id: str | None = None
    """As Kafka's tools write it (KIP-516); None: brokers before Kafka 2.8 have none."""
    operations: int | None = None
    """What we may do to it (KIP-430), a bit for each `AclOperation`; None: not asked, or not told."""


@dataclass(frozen=True, slots=True)
class Metadata(KafkaRequest[Iterator[BrokerRow | TopicRow]]):
    """Who leads the partitions of these topics (and no others); never creates a topic. v10 tells their ids."""

    API_KEY: ClassVar = 3
    VERSIONS: ClassVar = (5, 10)
    FLEXIBLE_FROM: ClassVar = 9

    topics: Sequence[str] | None
    """None: every topic that we may describe."""
    with_operations: bool = False
    """Ask also what we may do to them; brokers before Kafka 2.8 are asked in vain."""

    def encode(self, out: Writer, version: int) -> None:
        """Write the body. An empty list asks for brokers alone, null for every topic there is."""
        out.array(-1 if self.topics is None else len(self.topics))
        for topic in self.topics or ():
            if version >= _WITH_TOPIC_ID:
                out.raw(bytes(_UUID_BYTES))  # by its name
            out.string(topic)
            out.tags()
        out.int8(0)  # allow_auto_topic_creation
        if version >= _WITH_TOPIC_ID:
            out.int8(0)  # include_cluster_authorized_operations
            out.int8(self.with_operations)  # include_topic_authorized_operations
        out.tags()

    def decode(self, answer: Reader, version: int) -> Iterator[BrokerRow | TopicRow]:
        """Yield the brokers, then the topics."""
        with_id = version >= _WITH_TOPIC_ID
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            yield BrokerRow(answer.int32(), answer.string(), answer.int32())
            answer.skip_strings(1)  # rack
            answer.tags()
        answer.skip_strings(1)  # cluster id
        answer.int32()  # controller
        for _ in range(answer.array()):
            error, topic = answer.int16(), answer.string()
            topic_id = _uuid_text(answer.fixed(_UUID_BYTES)) if with_id else None
            answer.int8()  # is internal
            leaders = {}
            for _ in range(answer.array()):
                _, partition, leader = answer.unpack(_METADATA_PARTITION)
                leaders[partition] = leader
                if with_id:
                    answer.int32()  # leader epoch
                answer.skip_int32_arrays(3)  # replicas, in sync, offline
                answer.tags()
            operations = answer.int32() if with_id else _OPERATIONS_NOT_TOLD
            answer.tags()
            told = operations if self.with_operations and operations != _OPERATIONS_NOT_TOLD else None
            yield TopicRow(error, topic, leaders, topic_id, told)


def _uuid_text(value: bytes) -> str | None:
    """Write a UUID as Kafka does; zero is none."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=") if any(value) else None


class CoordinatorRow(NamedTuple):
    """The coordinator of a group."""

    error: int
    group: str
    broker: BrokerRow


@dataclass(frozen=True, slots=True)
class FindCoordinators(KafkaRequest[Iterator[CoordinatorRow]]):
    """The coordinators of many groups (KIP-699, Kafka 3.0)."""

    API_KEY: ClassVar = 10
    VERSIONS: ClassVar = (4,)
    FLEXIBLE_FROM: ClassVar = 3

    groups: Sequence[str]

    def encode(self, out: Writer, _version: int) -> None:
        """Write the body."""
        out.int8(_GROUP_KEY)
        out.array(len(self.groups))
        for group in self.groups:
            out.string(group)
        out.tags()

    def decode(self, answer: Reader, _version: int) -> Iterator[CoordinatorRow]:
        """Yield one row a group."""
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            group = answer.string()
            broker = BrokerRow(answer.int32(), answer.string(), answer.int32())
            error = answer.int16()
            answer.skip_strings(1)  # message
            answer.tags()
            yield CoordinatorRow(error, group, broker)


@dataclass(frozen=True, slots=True)
class FindCoordinator(KafkaRequest[Iterator[CoordinatorRow]]):
    """The coordinator of one group, for brokers before Kafka 3.0."""

    API_KEY: ClassVar = 10
    VERSIONS: ClassVar = (1,)
    FLEXIBLE_FROM: ClassVar = 3

    group: str

    def encode(self, out: Writer, _version: int) -> None:
        """Write the body."""
        out.string(self.group)
        out.int8(_GROUP_KEY)

    def decode(self, answer: Reader, _version: int) -> Iterator[CoordinatorRow]:
        """Yield the one row."""
        answer.int32()  # throttle time
        error = answer.int16()
        answer.skip_strings(1)  # message
        yield CoordinatorRow(error, self.group, BrokerRow(answer.int32(), answer.string(), answer.int32()))


class OffsetRow(NamedTuple):
    """One offset of one partition; -1: none."""

    topic: str
    partition: int
    error: int
    offset: int


@dataclass(frozen=True, slots=True)
class ListOffsets(KafkaRequest[Iterator[OffsetRow]]):
    """Where logs end or begin. v2 brought the isolation level, v3 is the same."""

    API_KEY: ClassVar = 2
    VERSIONS: ClassVar = (2, 3)
    FLEXIBLE_FROM: ClassVar = 6

    partitions: Mapping[str, Sequence[int]]
    timestamp: int
    """`EARLIEST_TIMESTAMP` or `LATEST_TIMESTAMP`."""
    read_committed: bool = False
    """The end is the last stable offset instead of the high watermark."""

    def encode(self, out: Writer, _version: int) -> None:
        """Write the body."""
        out.int32(_CONSUMER)
        out.int8(self.read_committed)
        out.array(len(self.partitions))
        for topic, numbers in self.partitions.items():
            out.string(topic)
            out.array(len(numbers))
            out.raw(b"".join([_PARTITION_AND_TIMESTAMP.pack(number, self.timestamp) for number in numbers]))

    def decode(self, answer: Reader, _version: int) -> Iterator[OffsetRow]:
        """Yield one row a partition."""
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            topic = answer.string()
            for _ in range(answer.array()):
                partition, error, _, offset = answer.unpack(_LISTED_OFFSET)
                yield OffsetRow(topic, partition, error, offset)


class GroupErrorRow(NamedTuple):
    """An error that holds for a whole group; code 0 ends a group that has none."""

    group: str
    error: int


class CommitRow(NamedTuple):
    """A group's committed offset of one partition, -1: none, and what it wrote beside it."""

    group: str
    topic: str
    partition: int
    error: int
    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class OffsetFetchGroups(KafkaRequest[Iterator[CommitRow | GroupErrorRow]]):
    """The committed offsets of many groups (KIP-709, Kafka 3.0).

    `require_stable` is off: while a transactional commit is pending the last stable one is answered, which can only
    overstate the lag.
    """

    REQUIRE_STABLE: ClassVar = False

    API_KEY: ClassVar = 9
    VERSIONS: ClassVar = (8,)
    FLEXIBLE_FROM: ClassVar = 6

    groups: Mapping[str, Mapping[str, Sequence[int]] | None]
    """Partitions by topic, by group; None: everywhere where the group has committed and we may describe the topic."""

    def encode(self, out: Writer, _version: int) -> None:
        """Write the body."""
        out.array(len(self.groups))
        for group, topics in self.groups.items():
            out.string(group)
            _write_topics(out, topics)
            out.tags()
        out.int8(self.REQUIRE_STABLE)
        out.tags()

    def decode(self, answer: Reader, _version: int) -> Iterator[CommitRow | GroupErrorRow]:
        """Yield one row a partition and, after them, one a group."""
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            group = answer.string()
            for _ in range(answer.array()):
                topic = answer.string()
                for _ in range(answer.array()):
                    partition, offset, _ = answer.unpack(_COMMIT_V8)
                    metadata = answer.string()
                    yield CommitRow(group, topic, partition, answer.int16(), offset, metadata)
                    answer.tags()
                answer.tags()
            yield GroupErrorRow(group, answer.int16())
            answer.tags()


@dataclass(frozen=True, slots=True)
class OffsetFetch(KafkaRequest[Iterator[CommitRow | GroupErrorRow]]):
    """The committed offsets of one group, for brokers before Kafka 3.0."""

    API_KEY: ClassVar = 9
    VERSIONS: ClassVar = (3,)
    FLEXIBLE_FROM: ClassVar = 6

    group: str
    partitions: Mapping[str, Sequence[int]] | None

    def encode(self, out: Writer, _version: int) -> None:
        """Write the body."""
        out.string(self.group)
        _write_topics(out, self.partitions)

    def decode(self, answer: Reader, _version: int) -> Iterator[CommitRow | GroupErrorRow]:
        """Yield one row a partition and then the group's."""
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            topic = answer.string()
            for _ in range(answer.array()):
                partition, offset = answer.unpack(_COMMIT_V3)
                metadata = answer.string()
                yield CommitRow(self.group, topic, partition, answer.int16(), offset, metadata)
        yield GroupErrorRow(self.group, answer.int16())


class GroupRow(NamedTuple):
    """A group's state and number of members."""

    error: int
    group: str
    state: str
    members: int
    operations: int | None = None
    """What we may do to it, as in `TopicRow`."""
    topics: frozenset[str] | None = None
    """What its members are subscribed to or assigned; None: not known, as in the midst of a rebalance."""


@dataclass(frozen=True, slots=True)
class DescribeGroups(KafkaRequest[Iterator[GroupRow]]):
    """State and members of classic groups; a KIP-848 group is answered as Dead."""

    API_KEY: ClassVar = 15
    VERSIONS: ClassVar = (3, 5)
    FLEXIBLE_FROM: ClassVar = 5

    groups: Sequence[str]
    with_operations: bool = False
    """Ask also what we may do to them."""

    def encode(self, out: Writer, _version: int) -> None:
        """Write the body."""
        _write_groups(out, self.groups, with_operations=self.with_operations)

    def decode(self, answer: Reader, version: int) -> Iterator[GroupRow]:
        """Yield one row a group."""
        with_instance_id = version >= 4  # noqa: PLR2004 - KIP-345 came with v4
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            error, group, state = answer.int16(), answer.string(), answer.string()
            # Any other state of a classic group shows no member's topics, and another type not in this form.
            topics: set[str] | None = set() if answer.string() == _CONSUMERS and state == _STABLE else None
            answer.skip_strings(1)  # protocol
            members = answer.array()
            for _ in range(members):
                answer.skip_strings(4 if with_instance_id else 3)  # member, instance, client, host
                topics = add_topics_of_classic_member(topics, answer)
                answer.tags()
            operations = answer.int32()
            answer.tags()
            told = operations if self.with_operations and operations != _OPERATIONS_NOT_TOLD else None
            yield GroupRow(error, group, state, members, told, None if topics is None else frozenset(topics))


@dataclass(frozen=True, slots=True)
class ConsumerGroupDescribe(KafkaRequest[Iterator[GroupRow]]):
    """State and members of groups on the new protocol (KIP-848, Kafka 4.0)."""

    API_KEY: ClassVar = 69
    VERSIONS: ClassVar = (0,)
    FLEXIBLE_FROM: ClassVar = 0

    groups: Sequence[str]

    def encode(self, out: Writer, _version: int) -> None:
        """Write the body."""
        _write_groups(out, self.groups)

    def decode(self, answer: Reader, _version: int) -> Iterator[GroupRow]:
        """Yield one row a group."""
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            error = answer.int16()
            answer.skip_strings(1)  # message
            group, state = answer.string(), answer.string()
            answer.int32()  # group epoch
            answer.int32()  # assignment epoch
            answer.skip_strings(1)  # assignor
            topics: set[str] = set()
            members = answer.array()
            for _ in range(members):
                topics.update(topics_of_member(answer))
            answer.int32()  # authorized operations
            answer.tags()
            yield GroupRow(
                error, group, state, members, topics=frozenset(topics) if state == _STABLE and not error else None
            )


@dataclass(frozen=True, slots=True)
class ListGroups(KafkaRequest[Iterator[str]]):
    """The groups that one broker coordinates and that we may describe, of either protocol."""

    API_KEY: ClassVar = 16
    VERSIONS: ClassVar = (2, 4)
    FLEXIBLE_FROM: ClassVar = 3

    def encode(self, out: Writer, version: int) -> None:
        """Write the body."""
        if version >= self.FLEXIBLE_FROM:
            out.array(0)  # states: any
        out.tags()

    def decode(self, answer: Reader, version: int) -> Iterator[str]:
        """Yield each group's name; an error of the whole answer (still loading) yields none."""
        answer.int32()  # throttle time
        answer.int16()  # error
        for _ in range(answer.array()):
            yield answer.string()
            answer.skip_strings(2 if version >= self.FLEXIBLE_FROM else 1)  # protocol type and state
            answer.tags()


def _write_groups(out: Writer, groups: Sequence[str], *, with_operations: bool = False) -> None:
    out.array(len(groups))
    for group in groups:
        out.string(group)
    out.int8(with_operations)  # include_authorized_operations
    out.tags()


def _write_topics(out: Writer, topics: Mapping[str, Sequence[int]] | None) -> None:
    out.array(-1 if topics is None else len(topics))
    for topic, numbers in (topics or {}).items():
        out.string(topic)
        out.int32_array(numbers)
        out.tags()
