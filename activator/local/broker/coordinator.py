"""The coordinator of every group: membership, committed offsets, and what administrators ask about groups."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from activator.local.broker.group import Group, GroupState, Member
from activator.local.broker.offsets import Committed, CommittedOffsets
from activator.local.broker.protocol import NO_RETENTION, NODE_ID, ApiError, ApiKey, Body, ErrorCode, Outcome, Request
from activator.local.broker.wire import ALL, INT16, STRING, Array, Field, Message

if TYPE_CHECKING:
    from random import Random

    from activator.local.broker.config import BrokerConfig
    from activator.local.broker.faults import Faults
    from activator.local.broker.timers import Timers
    from activator.local.broker.topics import Topics

_GROUP_KEY, _TRANSACTION_KEY = 0, 1
_FIRST_BATCHED_FIND = 4
_FIRST_BATCHED_OFFSET_FETCH = 8
_FIRST_BATCHED_LEAVE = 3
_CONSUMER = "consumer"
_CLASSIC = "classic"
_SUBSCRIPTION = Message((Field("version", INT16), Field("topics", Array(STRING))), flexible_since=ALL).codec(0)


class Coordinator:
    """Every group by its id, and the requests about groups."""

    def __init__(
        self,
        config: BrokerConfig,
        topics: Topics,
        faults: Faults,
        timers: Timers,
        outbox: list[Outcome],
        random: Random,
    ) -> None:
        self._config = config
        self._topics = topics
        self._faults = faults
        self._timers = timers
        self._outbox = outbox
        self._random = random
        self._groups: dict[str, Group] = {}
        self._offsets: dict[str, CommittedOffsets] = {}

    def find(self, request: Request, _now_ms: float) -> Body:
        """FindCoordinator: for groups it is this broker; transactions have none."""
        body = request.body
        if request.version < _FIRST_BATCHED_FIND:
            return self._coordinator_of(body["key"], body["key_type"])
        return {"coordinators": [self._coordinator_of(key, body["key_type"]) for key in body["coordinator_keys"]]}

    def _coordinator_of(self, key: str, kind: int) -> Body:
        error = self._faults.error(ApiKey.FIND_COORDINATOR, group=key)
        message = None
        if error is None and kind == _TRANSACTION_KEY:
            error, message = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not supported"
        elif error is None and kind != _GROUP_KEY:
            error, message = ErrorCode.INVALID_REQUEST, f"coordinator type {kind} is not known"
        if error is not None:
            return {
                "key": key, "error_code": error, "error_message": message, "node_id": -1, "host": "", "port": -1
            }  # fmt: skip
        listener = self._topics.listener
        return {"key": key, "node_id": NODE_ID, "host": listener.host, "port": listener.port}

    # -- members ------------------------------------------------------------------------------------------------

    def join(self, request: Request, now_ms: float) -> Body | None:
        """JoinGroup: parked until the group has agreed on who is in it."""
        body = request.body
        try:
            group = self._group_to_join(body, now_ms)
            new_id = f"{body['group_instance_id'] or request.client_id}-{self._random.getrandbits(128):032x}"
            return group.join(request, new_id, now_ms)
        except ApiError as error:
            return {"error_code": error.code, "member_id": body["member_id"]}

    def _group_to_join(self, body: Body, now_ms: float) -> Group:
        self._check_id(ApiKey.JOIN_GROUP, body["group_id"])
        smallest, largest = self._config.group_min_session_timeout_ms, self._config.group_max_session_timeout_ms
        if not smallest <= body["session_timeout_ms"] <= largest:
            raise ApiError(ErrorCode.INVALID_SESSION_TIMEOUT)
        if body["group_id"] not in self._groups and body["member_id"]:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        return self._group_or_new(body["group_id"], now_ms)

    def sync(self, request: Request, now_ms: float) -> Body | None:
        """SyncGroup: parked until the leader has sent the assignment."""
        try:
            return self._member_group(ApiKey.SYNC_GROUP, request.body).sync(request, now_ms)
        except ApiError as error:
            return {"error_code": error.code}

    def heartbeat(self, request: Request, now_ms: float) -> Body:
        """Heartbeat."""
        try:
            self._member_group(ApiKey.HEARTBEAT, request.body).heartbeat(request.body, now_ms)
        except ApiError as error:
            return {"error_code": error.code}
        return {}

    def leave(self, request: Request, now_ms: float) -> Body:
        """LeaveGroup: of one member, or from version 3 on of several, each with its own answer."""
        body = request.body
        batched = request.version >= _FIRST_BATCHED_LEAVE
        leaving = body["members"] if batched else [{"member_id": body["member_id"], "group_instance_id": None}]
        try:
            self._check_id(ApiKey.LEAVE_GROUP, body["group_id"])
        except ApiError as error:
            return {"error_code": error.code}
        answers = [self._leave_one(body["group_id"], one, now_ms) for one in leaving]
        return {"members": answers} if batched else {"error_code": answers[0]["error_code"]}

    def _leave_one(self, group_id: str, leaving: Body, now_ms: float) -> Body:
        member_id, instance = leaving["member_id"], leaving["group_instance_id"]
        try:
            self._known(group_id).leave(member_id, instance, now_ms)
        except ApiError as error:
            return {"member_id": member_id, "group_instance_id": instance, "error_code": error.code}
        return {"member_id": member_id, "group_instance_id": instance, "error_code": ErrorCode.NONE}

    def _member_group(self, api: ApiKey, body: Body) -> Group:
        self._check_id(api, body["group_id"])
        return self._known(body["group_id"])

    def _known(self, group_id: str) -> Group:
        if group_id not in self._groups:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        return self._groups[group_id]

    def _check_id(self, api: ApiKey, group_id: str) -> None:
        self._faults.check(api, group=group_id)
        if not group_id:
            raise ApiError(ErrorCode.INVALID_GROUP_ID)

    def _group_or_new(self, group_id: str, now_ms: float) -> Group:
        if group_id not in self._groups:
            if len(self._groups) >= self._config.max_groups:
                raise ApiError(ErrorCode.GROUP_MAX_SIZE_REACHED)
            self._groups[group_id] = Group(group_id, self._config, self._timers, self._outbox, now_ms)
            self._offsets[group_id] = CommittedOffsets()
        return self._groups[group_id]

    # -- offsets ------------------------------------------------------------------------------------------------

    def commit(self, request: Request, now_ms: float) -> Body:
        """OffsetCommit: every partition is answered by itself."""
        body = request.body
        refused: ErrorCode | None = None
        try:
            self._check_commit(body, now_ms)
        except ApiError as error:
            refused = error.code
        answers = [
            {
                "name": topic["name"],
                "partitions": [
                    {
                        "partition": one["partition"],
                        "error_code": refused or self._commit_one(body, topic["name"], one, now_ms),
                    }
                    for one in topic["partitions"]
                ],
            }
            for topic in body["topics"]
        ]
        return {"topics": answers}

    def _check_commit(self, body: Body, now_ms: float) -> None:
        group_id = body["group_id"]  # even an empty one, unlike everywhere else
        self._faults.check(ApiKey.OFFSET_COMMIT, group=group_id)
        if group_id not in self._groups and not self._has_any(body["topics"]):
            return  # each partition is refused for itself, before anybody asks for the group: none comes of it
        if group_id not in self._groups and body["generation_id"] >= 0:
            raise ApiError(ErrorCode.ILLEGAL_GENERATION)
        self._group_or_new(group_id, now_ms).check_commit(body, now_ms)

    def _has_any(self, wanted: list[Body]) -> bool:
        places = [(topic["name"], one["partition"]) for topic in wanted for one in topic["partitions"]]
        return any(self._topics.has(name, partition) for name, partition in places)

    def _commit_one(self, body: Body, topic: str, wanted: Body, now_ms: float) -> ErrorCode:
        group_id, retention_ms = body["group_id"], body["retention_time_ms"]
        partition, metadata = wanted["partition"], wanted["committed_metadata"] or ""
        error = self._faults.error(ApiKey.OFFSET_COMMIT, topic=topic, partition=partition, group=group_id)
        if error is not None:
            return error
        try:
            self._topics.partition(topic, partition)
        except ApiError as unknown:
            return unknown.code
        if len(metadata.encode()) > self._config.offset_metadata_max_bytes:
            return ErrorCode.OFFSET_METADATA_TOO_LARGE
        expires_ms = None if retention_ms == NO_RETENTION else now_ms + retention_ms
        committed = Committed(
            wanted["committed_offset"], wanted["committed_leader_epoch"], metadata, now_ms, expires_ms
        )
        self._offsets[group_id].commit(topic, partition, committed)
        return ErrorCode.NONE

    def fetch_offsets(self, request: Request, _now_ms: float) -> Body:
        """OffsetFetch: of one group, or from version 8 on of several (KIP-709)."""
        body = request.body
        if request.version >= _FIRST_BATCHED_OFFSET_FETCH:
            return {"groups": [self._fetch_group(group) for group in body["groups"]]}
        return self._fetch_group(body)

    def _fetch_group(self, wanted: Body) -> Body:
        group_id = wanted["group_id"]
        error = self._faults.error(ApiKey.OFFSET_FETCH, group=group_id)
        if error is not None:
            return {"group_id": group_id, "error_code": error, "topics": ()}
        topics = self._offsets.get(group_id, CommittedOffsets()).fetch(wanted["topics"])
        for topic in topics:
            for answer in topic["partitions"]:
                error = self._faults.error(
                    ApiKey.OFFSET_FETCH, topic=topic["name"], partition=answer["partition"], group=group_id
                )
                if error is not None:
                    answer |= {"error_code": error, "committed_offset": -1}
        return {"group_id": group_id, "topics": topics}

    def delete_offsets(self, request: Request, _now_ms: float) -> Body:
        """OffsetDelete (KIP-496): not for a topic that a member is subscribed to."""
        body = request.body
        group_id = body["group_id"]
        if not group_id:
            return {"error_code": ErrorCode.INVALID_GROUP_ID}
        if group_id not in self._groups:
            return {"error_code": ErrorCode.GROUP_ID_NOT_FOUND}
        group = self._groups[group_id]
        if group.state != GroupState.EMPTY and group.protocol_type != _CONSUMER:
            return {"error_code": ErrorCode.NON_EMPTY_GROUP}
        subscribed = {topic for member in group.members for topic in _subscription(member, group.protocol_name)}
        answers = []
        for topic in body["topics"]:
            name, numbers = topic["name"], [one["partition"] for one in topic["partitions"]]
            partitions = [
                {"partition": number, "error_code": self._delete_offset(group_id, name, number, subscribed)}
                for number in numbers
            ]
            answers.append({"name": name, "partitions": partitions})
        return {"topics": answers}

    def _delete_offset(self, group_id: str, topic: str, partition: int, subscribed: set[str]) -> ErrorCode:
        try:
            self._topics.partition(topic, partition)
        except ApiError as unknown:
            return unknown.code
        if topic in subscribed:
            return ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
        self._offsets[group_id].delete(topic, partition)
        return ErrorCode.NONE

    def topic_deleted(self, name: str) -> None:
        """A topic is gone, and what was committed for it with it."""
        for offsets in self._offsets.values():
            offsets.delete_topic(name)

    def expire(self, now_ms: float) -> None:
        """Forget offsets that outlived their group's last member, and groups of which nothing is left."""
        for group_id, group in tuple(self._groups.items()):
            if group.state == GroupState.EMPTY:
                offsets = self._offsets[group_id]
                empty_since_ms = None if group.protocol_type is None else group.empty_since_ms
                offsets.expire(now_ms, self._config.offsets_retention_ms, empty_since_ms)
                if not offsets.by_topic:
                    self._drop(group_id)

    def expire_offsets(self, group_id: str) -> None:
        """Forget a group's offsets now, as if their retention were over."""
        if group_id in self._offsets:
            self._offsets[group_id].by_topic.clear()

    def _drop(self, group_id: str) -> None:
        self._groups.pop(group_id).close()
        del self._offsets[group_id]

    # -- administration -----------------------------------------------------------------------------------------

    def describe(self, request: Request, _now_ms: float) -> Body:
        """DescribeGroups; a group that is not there is shown as Dead."""
        return {"groups": [self._describe(group_id) for group_id in request.body["groups"]]}

    def _describe(self, group_id: str) -> Body:
        error = self._faults.error(ApiKey.DESCRIBE_GROUPS, group=group_id)
        if error is not None:
            return {"group_id": group_id, "error_code": error}
        group = self._groups.get(group_id)
        if group is None:
            return {"group_id": group_id, "group_state": GroupState.DEAD}
        stable = group.state == GroupState.STABLE
        protocol = group.protocol_name if stable else None
        return {
            "group_id": group_id,
            "group_state": group.state,
            "protocol_type": group.protocol_type or "",
            "protocol_data": protocol or "",
            "members": [_describe_member(member, protocol) for member in group.members],
        }

    def list_groups(self, request: Request, _now_ms: float) -> Body:
        """ListGroups, of these states and types where any are named."""
        states = {state.lower() for state in request.body["states_filter"]}
        types = {kind.lower() for kind in request.body["types_filter"]}
        groups = [
            {
                "group_id": group_id,
                "protocol_type": group.protocol_type or "",
                "group_state": group.state,
                "group_type": _CLASSIC,
            }
            for group_id, group in self._groups.items()
            if (not states or group.state.lower() in states) and (not types or _CLASSIC in types)
        ]
        return {"groups": groups}

    def delete_groups(self, request: Request, _now_ms: float) -> Body:
        """DeleteGroups: only groups without members."""
        return {"results": [self._delete(group_id) for group_id in request.body["groups_names"]]}

    def _delete(self, group_id: str) -> Body:
        group = self._groups.get(group_id)
        error = ErrorCode.NONE
        if group is None:
            error = ErrorCode.GROUP_ID_NOT_FOUND
        elif group.state != GroupState.EMPTY:
            error = ErrorCode.NON_EMPTY_GROUP
        else:
            self._drop(group_id)
        return {"group_id": group_id, "error_code": error}


def _describe_member(member: Member, protocol: str | None) -> Body:
    stable = protocol is not None
    return {
        "member_id": member.member_id,
        "group_instance_id": member.group_instance_id,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "member_metadata": member.metadata_for(protocol),
        "member_assignment": member.assignment if stable else b"",
    }


def _subscription(member: Member, protocol: str | None) -> list[str]:
    """The topics a consumer is subscribed to: every version of its metadata begins with version and topics."""
    metadata = memoryview(member.metadata_for(protocol))
    try:
        subscription, _ = _SUBSCRIPTION.read(metadata, 0)
    except (struct.error, ValueError):
        return []  # not a consumer's metadata: it is the members' own affair
    return list(subscription["topics"] or ())
