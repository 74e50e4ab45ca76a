"""What is answered about groups: their members, their offsets, and what administrators ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance import world as w
from tests.conformance.rows import NONE, Row, nothing, partition_says, says
from tests.conformance.world import NOBODY, UNKNOWN, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.local.broker.protocol import Body

JOINED, SYNCED = World.join, World.join_and_sync


def invited(world: World) -> None:
    """A member id was given, but its member has not come back with it."""
    world.member = world.client.call(ApiKey.JOIN_GROUP, 5, w.join(world.group))["member_id"]
    world.generation = 0


def committed(world: World) -> None:
    """An administrator committed offset 4 for partition 0."""
    world.commit(4)


def joining(
    name: str, error: ErrorCode, given: Callable[[World], None] = nothing, *, group: str | None = None, **more: Any
) -> Row:
    """JoinGroup that is refused."""
    return Row(
        f"join {name}",
        ApiKey.JOIN_GROUP,
        5,
        lambda world: w.join(world.group if group is None else group, **more),
        says(error_code=error, generation_id=-1),
        given,
    )


def of_a_member(
    name: str, error: ErrorCode, *, group: str | None = None, ahead: int = 0, member: str | None = None
) -> list[Row]:
    """Heartbeat and SyncGroup, by the world's member unless the row says otherwise."""

    def built(build: Callable[[str, int, str], Body]) -> Callable[[World], Body]:
        return lambda world: build(
            world.group if group is None else group,
            world.generation + ahead,
            world.member if member is None else member,
        )

    return [
        Row(f"heartbeat {name}", ApiKey.HEARTBEAT, 3, built(w.heartbeat), says(error_code=error), SYNCED),
        Row(f"sync {name}", ApiKey.SYNC_GROUP, 3, built(w.sync), says(error_code=error), SYNCED),
    ]


def syncing(name: str, error: ErrorCode, assignment: bytes = b"", **protocol: str) -> Row:
    """SyncGroup in the version that names the protocol."""
    return Row(
        f"sync {name}",
        ApiKey.SYNC_GROUP,
        5,
        lambda world: w.sync(world.group, world.generation, world.member, **protocol),
        says(error_code=error, assignment=assignment),
        SYNCED,
    )


def leaving(name: str, version: int, given: Callable[[World], None], answer: Callable[[World], Body]) -> Row:
    """LeaveGroup of somebody who is no member."""
    return Row(f"leave {name}", ApiKey.LEAVE_GROUP, version, lambda world: w.leave(world.group, NOBODY), answer, given)


STRANGER = says(error_code=NONE, members=[{"member_id": NOBODY, "error_code": ErrorCode.UNKNOWN_MEMBER_ID}])
UNKNOWN_MEMBER = says(error_code=ErrorCode.UNKNOWN_MEMBER_ID)

MEMBERSHIP = [
    joining("a group without a name", ErrorCode.INVALID_GROUP_ID, group=""),
    joining("with a session that is too short", ErrorCode.INVALID_SESSION_TIMEOUT, session_ms=10),
    joining("with a session that is too long", ErrorCode.INVALID_SESSION_TIMEOUT, session_ms=10**9),
    joining("with an id nobody gave", ErrorCode.UNKNOWN_MEMBER_ID, member=NOBODY),
    joining("without a protocol", ErrorCode.INCONSISTENT_GROUP_PROTOCOL, protocols=()),
    joining("without a kind of protocol", ErrorCode.INCONSISTENT_GROUP_PROTOCOL, protocol_type=""),
    joining("for the first time", ErrorCode.MEMBER_ID_REQUIRED),
    joining("with another protocol", ErrorCode.INCONSISTENT_GROUP_PROTOCOL, SYNCED, protocols=(("other", b""),)),
    joining("with another kind", ErrorCode.INCONSISTENT_GROUP_PROTOCOL, SYNCED, protocol_type="connect"),
    *of_a_member("of a member", NONE),
    *of_a_member("of another generation", ErrorCode.ILLEGAL_GENERATION, ahead=5),
    *of_a_member("of a stranger", ErrorCode.UNKNOWN_MEMBER_ID, member=NOBODY),
    *of_a_member("in a group that is not there", ErrorCode.UNKNOWN_MEMBER_ID, group=NOBODY),
    *of_a_member("in a group without a name", ErrorCode.INVALID_GROUP_ID, group=""),
    syncing("again", NONE, b"mine", protocol_type="consumer", protocol_name="range"),
    syncing("without its protocol", ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
    syncing("by another kind", ErrorCode.INCONSISTENT_GROUP_PROTOCOL, protocol_type="x", protocol_name="range"),
    syncing("by another name", ErrorCode.INCONSISTENT_GROUP_PROTOCOL, protocol_type="consumer", protocol_name="x"),
    leaving("as a stranger", 4, SYNCED, STRANGER),
    leaving("as a stranger in v2", 2, SYNCED, UNKNOWN_MEMBER),
    leaving("a group that is not there", 4, nothing, STRANGER),
    leaving("a group that is not there in v1", 1, nothing, UNKNOWN_MEMBER),
    Row(
        "leave a group without a name",
        ApiKey.LEAVE_GROUP,
        4,
        lambda _: w.leave("", NOBODY),
        says(error_code=ErrorCode.INVALID_GROUP_ID),
    ),
    Row(
        "leave as a member",
        ApiKey.LEAVE_GROUP,
        4,
        lambda world: w.leave(world.group, world.member),
        says(error_code=NONE, members=[{"error_code": NONE}]),
        SYNCED,
    ),
]


def commit(
    name: str,
    error: ErrorCode,
    given: Callable[[World], None] = nothing,
    *,
    group: str | None = None,
    generation: int | None = None,
    ahead: int = 0,
    member: str | None = None,
    partition: int = 0,
    metadata: str | None = None,
) -> Row:
    """OffsetCommit, by the world's member unless the row says otherwise."""

    def request(world: World) -> Body:
        return w.commit(
            world.group if group is None else group,
            world.topic,
            partition,
            3,
            generation=world.generation + ahead if generation is None else generation,
            member=world.member if member is None else member,
            metadata=metadata,
        )

    return Row(f"commit {name}", ApiKey.OFFSET_COMMIT, 7, request, partition_says(partition, error), given)


def fetched(version: int) -> Row:
    """OffsetFetch of a partition with a commit, and of a topic that is not there."""
    none: Body = {"partition": 0, "committed_offset": -1, "metadata": "", "error_code": NONE}
    return Row(
        f"fetch v{version}",
        ApiKey.OFFSET_FETCH,
        version,
        lambda world: {
            "group_id": world.group,
            "topics": [{"name": name, "partitions": [0]} for name in (world.topic, UNKNOWN)],
        },
        lambda world: {
            "error_code": NONE,
            "topics": [
                {"name": world.topic, "partitions": [none | {"committed_offset": 4}]},
                {"name": UNKNOWN, "partitions": [none]},
            ],
        },
        committed,
    )


def of_several_groups(world: World) -> Body:
    """With and without topics, there or not."""
    return {
        "groups": [
            {"group_id": world.group, "topics": None},
            {"group_id": world.group, "topics": [{"name": world.topic, "partitions": [1]}]},
            {"group_id": NOBODY, "topics": None},
            {"group_id": NOBODY, "topics": [{"name": world.topic, "partitions": [0]}]},
        ]
    }


def to_several_groups(world: World) -> Body:
    """A group that is not there has no offsets, which is no error."""

    def answer(group: str, *offsets: tuple[int, int]) -> Body:
        topics = [
            {"name": world.topic, "partitions": [{"partition": partition, "committed_offset": offset}]}
            for partition, offset in offsets
        ]
        return {"group_id": group, "error_code": NONE, "topics": topics}

    return {
        "groups": [answer(world.group, (0, 4)), answer(world.group, (1, -1)), answer(NOBODY), answer(NOBODY, (0, -1))]
    }


def forgetting(name: str, answer: Callable[[World], Body], *, group: str | None = None, partition: int = 0) -> Row:
    """OffsetDelete of one partition."""
    return Row(
        f"delete {name}",
        ApiKey.OFFSET_DELETE,
        0,
        lambda world: {
            "group_id": world.group if group is None else group,
            "topics": w.topics(world.topic, {"partition": partition}),
        },
        answer,
        committed,
    )


ADMINISTRATOR: dict[str, Any] = {"generation": -1, "member": ""}

OFFSETS = [
    commit("as a member", NONE, SYNCED),
    commit("for another generation", ErrorCode.ILLEGAL_GENERATION, SYNCED, ahead=1),
    commit("as a stranger", ErrorCode.UNKNOWN_MEMBER_ID, SYNCED, member=NOBODY),
    commit("while the assignment is made", ErrorCode.REBALANCE_IN_PROGRESS, JOINED),
    commit("with an id that is given but not used", ErrorCode.UNKNOWN_MEMBER_ID, invited),
    commit("with a long text", ErrorCode.OFFSET_METADATA_TOO_LARGE, SYNCED, metadata="x" * 5_000),
    commit("for an absent partition", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, SYNCED, partition=9),
    commit("as a member without a generation", ErrorCode.ILLEGAL_GENERATION, SYNCED, generation=-1),
    commit("as an administrator to a group with members", ErrorCode.UNKNOWN_MEMBER_ID, SYNCED, **ADMINISTRATOR),
    commit("as an administrator to a new group", NONE, **ADMINISTRATOR),
    commit("as an administrator to an empty group", NONE, committed, **ADMINISTRATOR),
    commit("to a group without a name", NONE, group="", **ADMINISTRATOR),
    commit("for a generation of an empty group", ErrorCode.UNKNOWN_MEMBER_ID, committed, generation=1, member=NOBODY),
    commit("for a generation of a group that is not there", ErrorCode.ILLEGAL_GENERATION, generation=3),
    *(fetched(version) for version in range(1, 8)),
    Row(
        "fetch all of a group",
        ApiKey.OFFSET_FETCH,
        2,
        lambda world: {"group_id": world.group, "topics": None},
        partition_says(0, committed_offset=4),
        committed,
    ),
    Row("fetch of several groups", ApiKey.OFFSET_FETCH, 8, of_several_groups, to_several_groups, committed),
    forgetting("of an empty group", partition_says(0)),
    forgetting("of an absent partition", partition_says(9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), partition=9),
    forgetting("of a group that is not there", says(error_code=ErrorCode.GROUP_ID_NOT_FOUND, topics=[]), group=NOBODY),
    forgetting("of a group without a name", says(error_code=ErrorCode.INVALID_GROUP_ID), group=""),
]


def description(name: str, given: Callable[[World], None], group: str | None = None, **fields: Any) -> Row:
    """DescribeGroups of one group."""
    return Row(
        f"describe {name}",
        ApiKey.DESCRIBE_GROUPS,
        5,
        lambda world: {"groups": [world.group if group is None else group]},
        says(groups=[{"error_code": NONE, **fields}]),
        given,
        eventual=True,
    )


def group_deletion(name: str, error: ErrorCode, given: Callable[[World], None], group: str | None = None) -> Row:
    """DeleteGroups of one group."""
    return Row(
        f"delete {name}",
        ApiKey.DELETE_GROUPS,
        2,
        lambda world: {"groups_names": [group or world.group]},
        says(results=[{"error_code": error}]),
        given,
    )


def found(key: str) -> Body:
    """The coordinator of a group."""
    return {"key": key, "error_code": NONE, "node_id": 1, "host": "127.0.0.1"}


MEMBER: Body = {"group_instance_id": None, "client_id": "conformance", "client_host": "/127.0.0.1"}
ASSIGNED = MEMBER | {"member_metadata": w.SUBSCRIPTION, "member_assignment": b"mine"}
UNASSIGNED = MEMBER | {"member_metadata": b"", "member_assignment": b""}

GROUPS = [
    description("a group that is not there", nothing, NOBODY, group_state="Dead", protocol_type="", members=[]),
    description("a group of offsets", committed, group_state="Empty", protocol_type="", protocol_data="", members=[]),
    description("a group that waits for its first member", invited, group_state="Empty", members=[]),
    description(
        "a group that makes its assignment",
        JOINED,
        group_state="CompletingRebalance",
        protocol_type="consumer",
        protocol_data="",
        members=[UNASSIGNED],
    ),
    description(
        "a stable group",
        SYNCED,
        group_state="Stable",
        protocol_type="consumer",
        protocol_data="range",
        members=[ASSIGNED],
    ),
    group_deletion("a group with members", ErrorCode.NON_EMPTY_GROUP, SYNCED),
    group_deletion("an empty group", NONE, committed),
    group_deletion("a group that is not there", ErrorCode.GROUP_ID_NOT_FOUND, nothing, NOBODY),
    Row(
        "find the coordinator of a group",
        ApiKey.FIND_COORDINATOR,
        2,
        lambda world: {"key": world.group, "key_type": 0},
        says(error_code=NONE, node_id=1, host="127.0.0.1"),
    ),
    Row(
        "find the coordinators of several groups",
        ApiKey.FIND_COORDINATOR,
        4,
        lambda _: {"key_type": 0, "coordinator_keys": ["a", "b"]},
        says(coordinators=[found("a"), found("b")]),
    ),
    Row(
        "find the coordinator of something else",
        ApiKey.FIND_COORDINATOR,
        2,
        lambda _: {"key": "a", "key_type": 9},
        says(error_code=ErrorCode.INVALID_REQUEST),
    ),
]
