"""One classic consumer group: who is in it, and the rebalances by which its members agree on an assignment.

```
            join                      all members have joined, or the
  Empty ------------> Preparing  ---- rebalance time-out is over -----> Completing
    ^                 Rebalance  <--- a member joins, leaves or expires  Rebalance
    |                   ^   |                                              |
    +-- nobody is left -----+                                              | the leader sent
                        |                                                  v the assignment
                        +------ a member joins, leaves or expires ------ Stable
```
The broker compares protocol names and nothing else: eager and cooperative assignment (KIP-429) are the members' own.
Static members (KIP-345) hold their place over a restart; a new member must join again with its new id (KIP-394).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from activator.local.broker.protocol import ApiError, Body, ErrorCode, Outcome, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.local.broker.config import BrokerConfig
    from activator.local.broker.timers import Timers

_FIRST_VERSION_THAT_KNOWS_ITS_ID = 4  # JoinGroup, KIP-394
_FIRST_VERSION_THAT_NAMES_ITS_PROTOCOL = 5  # SyncGroup, KIP-559
_FIRST_VERSION_THAT_SKIPS_ASSIGNMENT = 9  # JoinGroup, KIP-814


class GroupState(StrEnum):
    """As DescribeGroups shows it."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@dataclass(slots=True)
class Member:
    """One member; `joining` and `syncing` are its requests that wait for the others."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: list[tuple[str, bytes]]
    assignment: bytes = b""
    joining: Request | None = None
    syncing: Request | None = None

    def metadata_for(self, protocol: str | None) -> bytes:
        """What the member said about itself under this protocol."""
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")


class Group:
    """The members of one group; answers that come late are put into `outbox`."""

    def __init__(
        self, group_id: str, config: BrokerConfig, timers: Timers, outbox: list[Outcome], now_ms: float
    ) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.generation_id = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.empty_since_ms = now_ms
        self._config = config
        self._timers = timers
        self._outbox = outbox
        self._leader: str | None = None
        self._members: dict[str, Member] = {}
        self._static: dict[str, str] = {}
        self._pending: set[str] = set()
        self._unsynced: set[str] = set()
        self._alone_until_ms = now_ms

    @property
    def members(self) -> Iterator[Member]:
        """Its members in the order they came."""
        return iter(self._members.values())

    # -- join ---------------------------------------------------------------------------------------------------

    def join(self, request: Request, new_id: str, now_ms: float) -> Body | None:
        """Take a member in, or in again; the answer comes when all have joined.

        `new_id` is the member id it gets if it has none yet.

        Raises:
            ApiError: the code that JoinGroup answers.
        """
        body = request.body
        self._check_protocols(body)
        member_id, instance = body["member_id"], body["group_instance_id"]
        if member_id:
            return self._join_again(request, now_ms)
        self._check_size()
        if instance in self._static:
            return self._replace_static(request, new_id, now_ms)
        if instance is None and request.version >= _FIRST_VERSION_THAT_KNOWS_ITS_ID:
            self._pending.add(new_id)
            timer = self._session_timer(new_id)
            self._timers.set(timer, now_ms + body["session_timeout_ms"], lambda late: self._drop_pending(new_id, late))
            return {"error_code": ErrorCode.MEMBER_ID_REQUIRED, "member_id": new_id}
        self._add(request, new_id, now_ms)
        return None

    def _check_protocols(self, body: Body) -> None:
        names = {protocol["name"] for protocol in body["protocols"]}
        if not body["protocol_type"] or not names:
            raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        others = [member for member in self.members if member.member_id != body["member_id"]]
        if others and (body["protocol_type"] != self.protocol_type or not names & self._common_protocols(others)):
            raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)

    def _check_size(self) -> None:
        if len(self._members) + len(self._pending) >= self._config.group_max_size:
            raise ApiError(ErrorCode.GROUP_MAX_SIZE_REACHED)

    def _join_again(self, request: Request, now_ms: float) -> Body | None:
        body = request.body
        member_id = body["member_id"]
        if member_id in self._pending and body["group_instance_id"] is None:
            self._pending.remove(member_id)
            self._add(request, member_id, now_ms)
            return None
        member = self.member(member_id, body["group_instance_id"])
        changed = member.protocols != _protocols_of(body)
        follows = self.state == GroupState.STABLE and member_id != self._leader
        if not changed and (self.state == GroupState.COMPLETING_REBALANCE or follows):
            self._keep_alive(member, now_ms)
            return self._join_answer(member)
        self._update(member, request)
        self._rebalance(now_ms)
        return None

    def _add(self, request: Request, member_id: str, now_ms: float) -> None:
        body = request.body
        member = Member(
            member_id, body["group_instance_id"], request.client_id, request.client_host, 0, 0, _protocols_of(body)
        )
        if not self._members:
            self.protocol_type = body["protocol_type"]
        self._members[member_id] = member
        if member.group_instance_id is not None:
            self._static[member.group_instance_id] = member_id
        if self._leader is None:
            self._leader = member_id
        self._update(member, request)
        self._rebalance(now_ms)

    def _update(self, member: Member, request: Request) -> None:
        """Take over what the member says now; while it waits for the others its session cannot expire."""
        body = request.body
        self._answer_join(member, {"error_code": ErrorCode.REBALANCE_IN_PROGRESS, "member_id": member.member_id})
        member.session_timeout_ms = body["session_timeout_ms"]
        rebalance_ms = body["rebalance_timeout_ms"]
        member.rebalance_timeout_ms = member.session_timeout_ms if rebalance_ms < 0 else rebalance_ms
        member.protocols = _protocols_of(body)
        member.joining = request
        self._timers.cancel(self._session_timer(member.member_id))

    def _replace_static(self, request: Request, new_id: str, now_ms: float) -> Body | None:
        """A static member is back under a new id: no rebalance if the group's protocol stays the same."""
        body = request.body
        instance = body["group_instance_id"]
        old_id = self._static[instance]
        member = self._members[old_id]
        self._fail_waiting(member, ErrorCode.FENCED_INSTANCE_ID)
        self._timers.cancel(self._session_timer(old_id))
        member.member_id = self._static[instance] = new_id
        self._members = {one.member_id: one for one in self.members}
        led = self._leader == old_id
        if led:
            self._leader = new_id
        self._update(member, request)
        if self.state == GroupState.STABLE and self._elect_protocol() == self.protocol_name:
            member.joining = None
            self._keep_alive(member, now_ms)
            return self._static_answer(member, request, old_leader=old_id if led else None)
        self._rebalance(now_ms)
        return None

    def _static_answer(self, member: Member, request: Request, old_leader: str | None) -> Body:
        """A leader that is back must not assign anew: it is told to skip that (KIP-814), or not to be the leader."""
        answer = self._join_answer(member)
        if old_leader is not None:
            if request.version >= _FIRST_VERSION_THAT_SKIPS_ASSIGNMENT:
                answer["skip_assignment"] = True
            else:
                answer |= {"leader": old_leader, "members": ()}
        return answer

    def _drop_pending(self, member_id: str, now_ms: float) -> None:
        self._pending.discard(member_id)
        self._timers.cancel(self._session_timer(member_id))
        self._complete_join_if_all_here(now_ms)

    # -- rebalance ----------------------------------------------------------------------------------------------

    def _rebalance(self, now_ms: float) -> None:
        """Ask everybody to join (again), unless that is under way."""
        if self.state != GroupState.PREPARING_REBALANCE:
            for member in self.members:
                member.assignment = b""
                if member.syncing is not None:
                    self._answer_sync(member, ErrorCode.REBALANCE_IN_PROGRESS)
                    self._keep_alive(member, now_ms)
            self._timers.cancel(("sync", self.group_id))
            if self.state == GroupState.EMPTY:
                self._alone_until_ms = now_ms + self._config.group_first_member_wait_ms
                self._timers.set(("alone", self.group_id), self._alone_until_ms, self._complete_join_if_all_here)
            self.state = GroupState.PREPARING_REBALANCE
            self._await_joins(now_ms)
        self._complete_join_if_all_here(now_ms)

    def _await_joins(self, now_ms: float) -> None:
        self._timers.set(("join", self.group_id), now_ms + self._rebalance_timeout_ms(), self._complete_join)

    def _rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members), default=0)

    def _complete_join_if_all_here(self, now_ms: float) -> None:
        if self.state != GroupState.PREPARING_REBALANCE or self._pending:
            return
        if len(self._members) == 1 and now_ms < self._alone_until_ms:
            return
        if all(member.joining is not None for member in self.members):
            self._complete_join(now_ms)

    def _complete_join(self, now_ms: float) -> None:
        """Go on with who is here; absent static members keep their place until their session expires."""
        for member in tuple(self.members):
            if member.joining is None and member.group_instance_id is None:
                self._forget(member)
        joined = [member for member in self.members if member.joining is not None]
        if self._members and not joined:
            self._await_joins(now_ms)
            return
        for timer in ("alone", "join"):
            self._timers.cancel((timer, self.group_id))
        self.generation_id += 1
        if not self._members:
            self.state, self.protocol_name, self.empty_since_ms = GroupState.EMPTY, None, now_ms
            return
        if self._leader is None or self._members[self._leader].joining is None:
            self._leader = joined[0].member_id
        self.protocol_name = self._elect_protocol()
        self.state = GroupState.COMPLETING_REBALANCE
        self._unsynced = {member.member_id for member in joined}
        self._timers.set(("sync", self.group_id), now_ms + self._rebalance_timeout_ms(), self._expire_sync)
        for member in joined:
            self._answer_join(member, self._join_answer(member))
            self._keep_alive(member, now_ms)

    def _common_protocols(self, members: list[Member]) -> set[str]:
        return set.intersection(*({name for name, _ in member.protocols} for member in members))

    def _elect_protocol(self) -> str:
        """Each member votes for the first of its protocols that all of them know."""
        members = list(self.members)
        common = self._common_protocols(members)
        votes = Counter(next(name for name, _ in member.protocols if name in common) for member in members)
        return votes.most_common(1)[0][0]

    def _join_answer(self, member: Member) -> Body:
        leads = member.member_id == self._leader
        return {
            "generation_id": self.generation_id,
            "protocol_type": self.protocol_type,
            "protocol_name": self.protocol_name,
            "leader": self._leader,
            "member_id": member.member_id,
            "members": [self._join_entry(one) for one in self.members] if leads else (),
        }

    def _join_entry(self, member: Member) -> Body:
        return {
            "member_id": member.member_id,
            "group_instance_id": member.group_instance_id,
            "metadata": member.metadata_for(self.protocol_name),
        }

    # -- sync ---------------------------------------------------------------------------------------------------

    def sync(self, request: Request, now_ms: float) -> Body | None:
        """Hand the leader's assignment to every member; who asks early waits for it.

        Raises:
            ApiError: the code that SyncGroup answers.
        """
        body = request.body
        member = self.member(body["member_id"], body["group_instance_id"])
        self._check_generation(body)
        given, agreed = (body["protocol_type"], body["protocol_name"]), (self.protocol_type, self.protocol_name)
        if request.version >= _FIRST_VERSION_THAT_NAMES_ITS_PROTOCOL and given != agreed:
            raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        self._unsynced.discard(member.member_id)
        match self.state:
            case GroupState.STABLE:
                self._keep_alive(member, now_ms)
                return self._sync_answer(member)
            case GroupState.COMPLETING_REBALANCE:
                member.syncing = request
                self._timers.cancel(self._session_timer(member.member_id))
                if member.member_id == self._leader:
                    self._assign(body["assignments"], now_ms)
                return None
            case _:
                raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)

    def _assign(self, assignments: list[Body], now_ms: float) -> None:
        given = {one["member_id"]: one["assignment"] for one in assignments}
        self.state = GroupState.STABLE
        for member in self.members:
            member.assignment = given.get(member.member_id) or b""
            if member.syncing is not None:
                self._answer_sync(member, ErrorCode.NONE)
                self._keep_alive(member, now_ms)

    def _expire_sync(self, now_ms: float) -> None:
        """Members that joined but did not ask for their assignment in time are gone."""
        late = [self._members[member_id] for member_id in self._unsynced if member_id in self._members]
        for member in late:
            self._forget(member)
        if late:
            self._rebalance(now_ms)

    def _sync_answer(self, member: Member) -> Body:
        return {
            "protocol_type": self.protocol_type,
            "protocol_name": self.protocol_name,
            "assignment": member.assignment,
        }

    # -- stay and leave -----------------------------------------------------------------------------------------

    def heartbeat(self, body: Body, now_ms: float) -> None:
        """Keep a member's session alive.

        Raises:
            ApiError: the code that Heartbeat answers; REBALANCE_IN_PROGRESS asks the member to join again.
        """
        member = self.member(body["member_id"], body["group_instance_id"])
        self._check_generation(body)
        self._keep_alive(member, now_ms)
        if self.state == GroupState.PREPARING_REBALANCE:
            raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)

    def check_commit(self, body: Body, now_ms: float) -> None:
        """Whether these offsets may be committed: by a member of this generation, or by anybody while it is empty.

        Raises:
            ApiError: the code that OffsetCommit answers for every partition.
        """
        member_id, instance, generation = body["member_id"], body["group_instance_id"], body["generation_id"]
        if generation < 0 and self.state == GroupState.EMPTY:
            return
        if generation < 0 and not member_id and instance is None:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        member = self.member(member_id, instance)
        self._check_generation(body)
        if self.state == GroupState.COMPLETING_REBALANCE:
            raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)
        self._keep_alive(member, now_ms)

    def leave(self, member_id: str, instance: str | None, now_ms: float) -> None:
        """A member goes; an administrator may name a static one by its instance id alone.

        Raises:
            ApiError: UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
        """
        if member_id in self._pending:
            self._drop_pending(member_id, now_ms)
            return
        if instance is not None and not member_id:
            member_id = self._static.get(instance, "")
        self._remove(self.member(member_id, instance), now_ms)

    def member(self, member_id: str, instance: str | None) -> Member:
        """A member by its id.

        Raises:
            ApiError: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID where another took its static place.
        """
        if instance is not None:
            if instance not in self._static:
                raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
            if self._static[instance] != member_id:
                raise ApiError(ErrorCode.FENCED_INSTANCE_ID)
        if member_id not in self._members:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        return self._members[member_id]

    def _check_generation(self, body: Body) -> None:
        if body["generation_id"] != self.generation_id:
            raise ApiError(ErrorCode.ILLEGAL_GENERATION)

    def _keep_alive(self, member: Member, now_ms: float) -> None:
        """Begin the member's session time-out anew, unless it waits for us."""
        if member.joining is None and member.syncing is None:
            timer = self._session_timer(member.member_id)
            self._timers.set(timer, now_ms + member.session_timeout_ms, lambda late: self._remove(member, late))

    def _session_timer(self, member_id: str) -> tuple[str, str, str]:
        return ("session", self.group_id, member_id)

    def _remove(self, member: Member, now_ms: float) -> None:
        self._forget(member)
        if self.state != GroupState.EMPTY:
            self._rebalance(now_ms)

    def _forget(self, member: Member) -> None:
        self._fail_waiting(member, ErrorCode.UNKNOWN_MEMBER_ID)
        self._timers.cancel(self._session_timer(member.member_id))
        del self._members[member.member_id]
        if member.group_instance_id is not None:
            del self._static[member.group_instance_id]
        if self._leader == member.member_id:
            self._leader = next(iter(self._members), None)

    def close(self) -> None:
        """The group is deleted: nothing of it waits any more."""
        self.state = GroupState.DEAD
        for member_id in (*self._members, *self._pending):
            self._timers.cancel(self._session_timer(member_id))
        for timer in ("alone", "join", "sync"):
            self._timers.cancel((timer, self.group_id))

    # -- answers ------------------------------------------------------------------------------------------------

    def _answer_join(self, member: Member, answer: Body) -> None:
        if member.joining is not None:
            self._outbox.append(Reply(member.joining.token, answer))
            member.joining = None

    def _answer_sync(self, member: Member, error: ErrorCode) -> None:
        if member.syncing is not None:
            answer = {"error_code": error} if error else self._sync_answer(member)
            self._outbox.append(Reply(member.syncing.token, answer))
            member.syncing = None

    def _fail_waiting(self, member: Member, error: ErrorCode) -> None:
        self._answer_join(member, {"error_code": error, "member_id": member.member_id})
        self._answer_sync(member, error)


def _protocols_of(body: Body) -> list[tuple[str, bytes]]:
    return [(protocol["name"], protocol["metadata"]) for protocol in body["protocols"]]
