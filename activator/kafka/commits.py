"""`GroupOffsets`: commits for groups without members, where they have no commit, or once more what they have.

A commit without a member id and with generation -1 is what `kafka-consumer-groups --reset-offsets` sends: the broker
takes it for a group that is Empty or does not exist, of the classic and of the new protocol (KIP-848) alike, and
refuses it with UNKNOWN_MEMBER_ID while the group has a member. So a consumer that joins in between is never overruled.
Kafka has no conditional commit: what is there is read right before, and an offset that somebody else resets within
that one round trip is lost.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from activator.errors import ConflictError, DeniedError, NotFoundError, UnavailableError
from activator.kafka.client import LAG
from activator.kafka.error_codes import COORDINATOR_MOVED, ErrorCode, error_name
from activator.kafka.requests import NO_OFFSET, CommitRow, OffsetFetch, OffsetFetchGroups
from activator.kafka.topology import Failure, Topology, batched
from activator.kafka.wire import KafkaRequest
from activator.ports import OFFSETS_KEPT_FOR

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from activator.core.model import Cluster
    from activator.kafka.client import ClusterClient, Connections
    from activator.kafka.wire import Reader, Writer

_Answer = TypeVar("_Answer")

COORDINATOR_SECONDS = 3.0
"""How long a coordinator that has just moved may take to load its groups."""
RETRY_SECONDS = 0.1
COMMITS_PER_REQUEST = 1000
READ_BEFORE_SECONDS = 2.0
"""So long after a group's commits were read one that follows from them may be sent: it would undo a newer one."""
NO_GENERATION = -1
NO_SUCH_PARTITION = 2**31 - 1
"""A commit to it is refused after the permissions have been checked, and stores nothing."""

_COMMIT_V3 = struct.Struct(">iq")
_COMMIT_V6 = struct.Struct(">iqi")
_UNKNOWN_EPOCH = -1
_WITH_LEADER_EPOCH = 6
_WITHOUT_RETENTION = 5
_WITH_INSTANCE_ID = 7

_HAS_MEMBERS = frozenset(
    {
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.FENCED_INSTANCE_ID,
    }
)


class Commit(NamedTuple):
    """What is committed on one partition."""

    offset: int
    metadata: str = ""
    """The group's own: Kafka Streams keeps the time of the partition there."""


class CommitAnswer(NamedTuple):
    """What became of the commit of one partition."""

    topic: str
    partition: int
    error: int


@dataclass(frozen=True, slots=True)
class OffsetCommit(KafkaRequest[Iterator[CommitAnswer]]):
    """Offsets for a group, as nobody's member. v8 is the first flexible version."""

    API_KEY: ClassVar = 8
    VERSIONS: ClassVar[tuple[int, ...]] = (3, 8)
    FLEXIBLE_FROM: ClassVar = 8
    RETENTION_MILLISECONDS: ClassVar = -1
    """How long they are kept, where a version has it; -1: as the broker says."""

    group: str
    topic: str
    commits: Mapping[int, Commit]
    """By partition."""

    def encode(self, out: Writer, version: int) -> None:
        """Write the body."""
        out.string(self.group)
        out.int32(NO_GENERATION)
        out.string("")  # member id
        if version >= _WITH_INSTANCE_ID:
            out.raw(b"\0")  # group instance id: null
        if version < _WITHOUT_RETENTION:
            out.int64(self.RETENTION_MILLISECONDS)
        out.array(1)
        out.string(self.topic)
        out.array(len(self.commits))
        for partition, commit in self.commits.items():
            if version >= _WITH_LEADER_EPOCH:
                out.raw(_COMMIT_V6.pack(partition, commit.offset, _UNKNOWN_EPOCH))
            else:
                out.raw(_COMMIT_V3.pack(partition, commit.offset))
            out.string(commit.metadata)
            out.tags()
        out.tags()
        out.tags()

    def decode(self, answer: Reader, _version: int) -> Iterator[CommitAnswer]:
        """Yield one row a partition."""
        answer.int32()  # throttle time
        for _ in range(answer.array()):
            topic = answer.string()
            for _ in range(answer.array()):
                yield CommitAnswer(topic, answer.int32(), answer.int16())
                answer.tags()
            answer.tags()


class LastingOffsetCommit(OffsetCommit):
    """The same, kept for `OFFSETS_KEPT_FOR` whatever becomes of the group.

    Up to v4 a commit may have a retention of its own, and the broker goes by it (KIP-211, "old expiration semantics").
    Without one the offsets of a classic group go when it has been Empty for `offsets.retention.minutes`, although they
    were committed a moment ago.
    """

    VERSIONS: ClassVar = (3,)
    RETENTION_MILLISECONDS: ClassVar = int(OFFSETS_KEPT_FOR.total_seconds() * 1000)


class StableOffsetFetch(OffsetFetchGroups):
    """The same, but UNSTABLE_OFFSET_COMMIT while a transactional commit is pending (KIP-447).

    A commit of ours in between would be the newer one, and the transaction's be dropped.
    """

    REQUIRE_STABLE: ClassVar = True


class KafkaGroupOffsets:
    """`ports.GroupOffsets` over real brokers.

    Args:
        connections: to every cluster.
        purpose: over which of the connections to a broker offsets are read and committed. A broker holds a commit until
            it is replicated, and with it what comes after it on the same connection.
    """

    def __init__(self, connections: Connections, *, purpose: str = LAG) -> None:
        self._connections = connections
        self._purpose = purpose
        self._topologies: dict[Cluster, Topology] = {}

    async def check(self, cluster: Cluster, group: str, topic: str) -> None:
        """Find out whether we may commit, without committing anything. Raises DeniedError, UnavailableError."""
        try:
            await self._commit(cluster, OffsetCommit(group, topic, {NO_SUCH_PARTITION: Commit(0)}))
        except (ConflictError, _NoSuchPartitionError):
            return

    async def commit_missing(
        self,
        cluster: Cluster,
        group: str,
        topic: str,
        offsets: Mapping[int, int],
        *,
        passed: Collection[int] = (),
        topic_id: str | None = None,
    ) -> Mapping[int, int]:
        """Commit these offsets for a group without members; a commit that is there and in the log is never moved.

        They outlast whatever expires now: committed for as long as the broker says, a classic group that has been Empty
        for longer than its retention would lose them at the broker's next look.

        Raises NotFoundError, ConflictError, DeniedError, UnavailableError.
        """
        await self._check_id(cluster, topic, topic_id)
        found: dict[int, int] = {}
        for batch in batched(list(offsets), COMMITS_PER_REQUEST):
            commits, read_at = await self._read(cluster, group, topic, batch)
            there = {
                partition: commit.offset
                for partition, commit in commits.items()
                if partition not in passed or commit.offset >= offsets[partition]
            }
            missing = {partition: Commit(offsets[partition]) for partition in batch if partition not in there}
            if missing:
                await self._commit(cluster, LastingOffsetCommit(group, topic, missing), read_at)
            found |= {**there, **{partition: commit.offset for partition, commit in missing.items()}}
        return found

    async def commit_again(
        self, cluster: Cluster, group: str, topic: str, offsets: Mapping[int, int], *, topic_id: str | None = None
    ) -> Mapping[int, int]:
        """Have these commits of a group without members outlast whatever expires now, each where it stands.

        Raises NotFoundError, ConflictError, DeniedError, UnavailableError.
        """
        await self._check_id(cluster, topic, topic_id)
        found: dict[int, int] = {}
        for batch in batched(list(offsets), COMMITS_PER_REQUEST):
            there, read_at = await self._read(cluster, group, topic, batch)
            stand = {partition: there.get(partition, Commit(offsets[partition])) for partition in batch}
            await self._commit(cluster, LastingOffsetCommit(group, topic, stand), read_at)
            found |= {partition: commit.offset for partition, commit in stand.items()}
        return found

    async def _check_id(self, cluster: Cluster, topic: str, topic_id: str | None) -> None:
        """Ask anew which topic has this name: what a look knows of it may be half a minute old."""
        if topic_id is None:
            return
        client = self._connections.client(cluster)
        asked_at = asyncio.get_running_loop().time()
        now = (await self._topology(cluster).topics([topic], max_age=0.0))[topic]
        if isinstance(now, Failure):
            raise UnavailableError(client.where, now.text)
        if now.seen_at < asked_at:  # what was told before still holds for reads; here it is what may be wrong
            raise UnavailableError(client.where, f"topic {topic!r}: nobody answers which one it is")
        if now.topic_id not in {None, topic_id}:
            raise NotFoundError(f"{client.where}: topic {topic!r} was recreated: it has another id than {topic_id}")

    async def _read(
        self, cluster: Cluster, group: str, topic: str, partitions: Sequence[int]
    ) -> tuple[dict[int, Commit], float]:
        """Return what a group has committed on these partitions, where it has, and the loop's time before that."""

        async def ask(client: ClusterClient, node: int) -> tuple[dict[int, Commit], float]:
            request: OffsetFetchGroups | OffsetFetch = OffsetFetch(group, {topic: partitions})
            if await client.offers(node, OffsetFetchGroups, purpose=self._purpose):
                request = StableOffsetFetch({group: {topic: partitions}})
            found, read_at = {}, asyncio.get_running_loop().time()
            for row in await client.rows(node, request, purpose=self._purpose):
                _raise_for(row.error, client.place(node), group, topic)
                if isinstance(row, CommitRow) and row.offset != NO_OFFSET:
                    found[row.partition] = Commit(row.offset, row.metadata)
            return found, read_at

        return await self._of_coordinator(cluster, group, ask)

    async def _commit(self, cluster: Cluster, wanted: OffsetCommit, read_at: float = math.inf) -> None:
        """Commit what follows from what was read at that time of the loop; inf: from nothing."""
        not_after = read_at + READ_BEFORE_SECONDS

        async def ask(client: ClusterClient, node: int) -> None:
            request = wanted
            if not await client.offers(
                node, type(wanted), purpose=self._purpose
            ):  # kept for as long as the broker says
                request = OffsetCommit(wanted.group, wanted.topic, wanted.commits)
            for row in await client.rows(node, request, purpose=self._purpose, not_after=not_after):
                _raise_for(row.error, client.place(node), wanted.group, wanted.topic)

        await self._of_coordinator(cluster, wanted.group, ask)

    def _topology(self, cluster: Cluster) -> Topology:
        return self._topologies.setdefault(cluster, Topology(self._connections.client(cluster)))

    async def _of_coordinator(
        self, cluster: Cluster, group: str, ask: Callable[[ClusterClient, int], Awaitable[_Answer]]
    ) -> _Answer:
        """Ask a group's coordinator; one that has moved is looked up again, and has a moment to load the group."""
        client, topology = self._connections.client(cluster), self._topology(cluster)
        begun = asyncio.get_running_loop().time()
        while True:
            try:
                return await ask(client, await _coordinator(topology, group, client.where))
            except _MovedError:
                topology.forget_coordinators([group])
                if asyncio.get_running_loop().time() - begun > COORDINATOR_SECONDS:
                    raise
            except _NoSuchPartitionError:
                raise
            except UnavailableError:  # it does not answer: by the next time another may coordinate it
                topology.forget_coordinators([group])
                raise
            await asyncio.sleep(RETRY_SECONDS)


class _MovedError(UnavailableError):
    """Another broker coordinates the group now, or none yet."""


class _NoSuchPartitionError(UnavailableError):
    """The topic has no such partition."""


async def _coordinator(topology: Topology, group: str, where: str) -> int:
    node = (await topology.coordinators([group]))[group]
    if isinstance(node, Failure):
        _raise_for(node.code, where, group, "")
        raise UnavailableError(where, node.text.removeprefix(f"{where}: "))
    return node


def _raise_for(code: int, where: str, group: str, topic: str) -> None:
    """Translate an error code of a group's offsets; 0 is none."""
    name = error_name(code)
    match code:
        case ErrorCode.NONE:
            return
        case ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise DeniedError(f"{where}: {name}: grant the ACL Read on Group {group}")
        case ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            raise DeniedError(f"{where}: {name}: grant the ACL Read on Topic {topic}")
        case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            raise _NoSuchPartitionError(where, f"{name}: topic {topic!r}")
        case _ if code in _HAS_MEMBERS:
            raise ConflictError(f"{where}: {name}: consumer group {group!r} has members")
        case _ if code in COORDINATOR_MOVED:
            raise _MovedError(where, f"{name}: consumer group {group!r}")
        case _:
            raise UnavailableError(where, f"{name}: consumer group {group!r}")
