"""Consumer groups over time: joins, rebalances, static members, sessions that expire."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance import world as w
from tests.conformance.conftest import MIN_SESSION_TIMEOUT_MS
from tests.conformance.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.local.broker.protocol import Body
    from tests.conformance.world import World

JOIN_VERSION, JOIN_VERSION_WITHOUT_ID = 9, 3
SOON_SECONDS = 5.0


class Member:
    """One member with a connection of its own."""

    def __init__(
        self,
        world: World,
        *,
        instance: str | None = None,
        session_ms: int = 30_000,
        rebalance_ms: int = 30_000,
        protocols: tuple[tuple[str, bytes], ...] = (("range", w.SUBSCRIPTION),),
    ) -> None:
        self.client = RawClient(world.bootstrap_servers)
        self.group = world.group
        self.instance = instance
        self.session_ms = session_ms
        self.rebalance_ms = rebalance_ms
        self.protocols = protocols
        self.member_id = ""
        self.generation = -1

    def send_join(self, version: int = JOIN_VERSION_WITHOUT_ID) -> None:
        """Ask to be in the group; the answer comes when all have asked."""
        body = w.join(
            self.group,
            member=self.member_id,
            instance=self.instance,
            session_ms=self.session_ms,
            rebalance_ms=self.rebalance_ms,
            protocols=self.protocols,
        )
        self.client.send(ApiKey.JOIN_GROUP, JOIN_VERSION if self.instance else version, body)

    def joined(self) -> Body:
        """The answer to the join."""
        answer = self.client.receive()
        assert answer["error_code"] == ErrorCode.NONE, answer
        self.member_id, self.generation = answer["member_id"], answer["generation_id"]
        return answer

    def join(self) -> Body:
        """Join and wait for the answer."""
        self.send_join()
        return self.joined()

    def send_sync(self, assignments: dict[str, bytes] | None = None) -> None:
        """Ask for the assignment; the leader brings it."""
        given = [{"member_id": key, "assignment": value} for key, value in (assignments or {}).items()]
        body = w.sync(self.group, self.generation, self.member_id, *given, group_instance_id=self.instance)
        self.client.send(ApiKey.SYNC_GROUP, 4, body)

    def synced(self) -> tuple[ErrorCode, bytes]:
        """The answer to the sync."""
        answer = self.client.receive()
        return ErrorCode(answer["error_code"]), bytes(answer["assignment"])

    def heartbeat(self) -> ErrorCode:
        """What a heartbeat is answered."""
        body = w.heartbeat(self.group, self.generation, self.member_id, self.instance)
        return ErrorCode(self.client.call(ApiKey.HEARTBEAT, 4, body)["error_code"])

    def leave(self) -> None:
        """Go."""
        self.client.call(ApiKey.LEAVE_GROUP, 4, w.leave(self.group, self.member_id, self.instance))


class Members:
    """Makes members and closes their connections."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: list[Member] = []

    def new(self, **more: object) -> Member:
        """One more."""
        member = Member(self.world, **more)  # type: ignore[arg-type]
        self.made.append(member)
        return member

    def alone(self, **more: object) -> Member:
        """The only member of a stable group."""
        member = self.new(**more)
        assert member.join()["leader"] == member.member_id
        member.send_sync({member.member_id: b"everything"})
        assert member.synced() == (ErrorCode.NONE, b"everything")
        return member


@pytest.fixture
def members(world: World) -> Iterator[Members]:
    """Members of the world's group."""
    members = Members(world)
    yield members
    for member in members.made:
        member.client.close()


def test_two_members_share_a_group(members: Members) -> None:
    """The second joins, the first is told to rejoin, the leader assigns, both get their part."""
    first = members.alone()
    second = members.new()
    second.send_join()
    wait_for(first, ErrorCode.REBALANCE_IN_PROGRESS)
    leader = first.join()
    follower = second.joined()
    assert leader["generation_id"] == follower["generation_id"] == 2
    assert {one["member_id"] for one in leader["members"]} == {first.member_id, second.member_id}
    assert (leader["leader"], follower["leader"], follower["members"]) == (first.member_id, first.member_id, [])
    second.send_sync()
    first.send_sync({first.member_id: b"one", second.member_id: b"two"})
    assert first.synced() == (ErrorCode.NONE, b"one")
    assert second.synced() == (ErrorCode.NONE, b"two")
    assert first.heartbeat() == second.heartbeat() == ErrorCode.NONE


def test_a_member_that_leaves_starts_a_rebalance(members: Members) -> None:
    """The other one is told at its next heartbeat, and goes on alone as the leader."""
    first, second = pair(members)
    first.leave()
    wait_for(second, ErrorCode.REBALANCE_IN_PROGRESS)
    answer = second.join()
    assert (answer["leader"], answer["generation_id"]) == (second.member_id, 3)


def test_a_member_that_is_silent_is_removed_after_its_session(members: Members) -> None:
    """Without heartbeats for the session time-out it is gone, and the others rebalance."""
    first = members.alone()
    second = members.new(session_ms=MIN_SESSION_TIMEOUT_MS)
    second.send_join()
    wait_for(first, ErrorCode.REBALANCE_IN_PROGRESS)
    first.send_join()
    second.joined()
    first.joined()
    first.send_sync({second.member_id: b"two"})
    first.synced()
    wait_for(first, ErrorCode.REBALANCE_IN_PROGRESS)
    assert [one["member_id"] for one in first.join()["members"]] == [first.member_id]
    assert second.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_that_does_not_rejoin_in_time_is_removed(members: Members) -> None:
    """A rebalance waits for it no longer than the rebalance time-out."""
    first = members.alone(rebalance_ms=500)
    second = members.new(rebalance_ms=500)
    began = time.monotonic()
    second.send_join()
    answer = second.joined()
    assert 0.4 < time.monotonic() - began < SOON_SECONDS
    assert [one["member_id"] for one in answer["members"]] == [second.member_id]
    assert first.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


def test_who_waits_for_an_assignment_is_sent_back_by_a_rebalance(members: Members) -> None:
    """A join while the leader still assigns answers the waiting syncs with REBALANCE_IN_PROGRESS."""
    first, second = pair(members, synced=False)
    second.send_sync()
    third = members.new()
    third.send_join()
    assert second.synced()[0] == ErrorCode.REBALANCE_IN_PROGRESS
    first.send_join()
    second.send_join()
    assert {first.joined()["generation_id"], second.joined()["generation_id"], third.joined()["generation_id"]} == {3}


def test_a_follower_that_joins_again_unchanged_disturbs_nobody(members: Members) -> None:
    """It is answered at once with the generation that is in force; the leader's join is a wish to rebalance."""
    first, second = pair(members)
    assert second.join()["generation_id"] == 2
    assert first.heartbeat() == ErrorCode.NONE
    first.send_join()
    wait_for(second, ErrorCode.REBALANCE_IN_PROGRESS)
    second.send_join()
    assert first.joined()["generation_id"] == second.joined()["generation_id"] == 3


def test_a_new_subscription_starts_a_rebalance(members: Members) -> None:
    """A follower that joins with other metadata is waited for, and so are the others."""
    first, second = pair(members)
    second.protocols = (("range", b"\0\0\0\0\0\0\0\0\0\1x"),)
    second.send_join()
    wait_for(first, ErrorCode.REBALANCE_IN_PROGRESS)
    members_seen = first.join()["members"]
    assert {bytes(one["metadata"]) for one in members_seen} == {w.SUBSCRIPTION, b"\0\0\0\0\0\0\0\0\0\1x"}


def test_the_protocol_is_the_one_that_all_know_and_most_prefer(members: Members) -> None:
    """Two prefer `b`, one `a`; all know both: `b` it is."""
    first = members.alone(protocols=(("a", b"a1"), ("b", b"b1")))
    second, third = (members.new(protocols=(("b", b"b2"), ("a", b"a2"))) for _ in range(2))
    second.send_join()
    third.send_join()
    wait_for(first, ErrorCode.REBALANCE_IN_PROGRESS)
    wait_until_pending(members, 3)
    answer = first.join()
    assert answer["protocol_name"] == second.joined()["protocol_name"] == third.joined()["protocol_name"] == "b"
    assert sorted(bytes(one["metadata"]) for one in answer["members"]) == [b"b1", b"b2", b"b2"]


def test_a_static_member_comes_back_without_a_rebalance(members: Members) -> None:
    """Under a new id, with its old assignment; the old id is fenced (KIP-345)."""
    first = members.alone(instance="pod-0")
    again = members.new(instance="pod-0")
    answer = again.join()
    assert (answer["generation_id"], answer["skip_assignment"]) == (1, True)
    assert again.member_id != first.member_id
    again.send_sync()
    assert again.synced() == (ErrorCode.NONE, b"everything")
    assert first.heartbeat() == ErrorCode.FENCED_INSTANCE_ID
    assert again.heartbeat() == ErrorCode.NONE


def test_an_administrator_removes_a_static_member_by_its_instance(members: Members) -> None:
    """LeaveGroup with the instance id alone; the group is empty then."""
    world, first = members.world, members.alone(instance="pod-0")
    answer = world.client.call(ApiKey.LEAVE_GROUP, 4, w.leave(world.group, "", "pod-0"))
    assert [one["error_code"] for one in answer["members"]] == [ErrorCode.NONE]
    assert first.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_id_must_come_back(members: Members) -> None:
    """Version 4 and later give a new member an id first; a join with that id is taken (KIP-394)."""
    member = members.new()
    member.send_join(version=5)
    answer = member.client.receive()
    assert (answer["error_code"], answer["generation_id"]) == (ErrorCode.MEMBER_ID_REQUIRED, -1)
    assert answer["member_id"].startswith("conformance-")
    member.member_id = answer["member_id"]
    assert member.join()["leader"] == member.member_id


def test_a_group_is_empty_after_its_last_member(members: Members) -> None:
    """Its offsets stay, anybody may commit then, and it can be deleted."""
    world, member = members.world, members.alone()
    member.leave()
    world.commit(3)
    body = {"group_id": world.group, "topics": None}
    assert world.client.call(ApiKey.OFFSET_FETCH, 5, body)["topics"][0]["partitions"][0]["committed_offset"] == 3
    deleted = world.client.call(ApiKey.DELETE_GROUPS, 1, {"groups_names": [world.group]})["results"]
    assert [one["error_code"] for one in deleted] == [ErrorCode.NONE]
    assert world.client.call(ApiKey.OFFSET_FETCH, 5, body)["topics"] == []


def test_offsets_of_a_subscribed_topic_cannot_be_deleted(world: World, members: Members) -> None:
    """GROUP_SUBSCRIBED_TO_TOPIC for a topic that a member reads, NONE for any other (KIP-496)."""
    other = world.new_topic(1)
    name = world.topic.encode()
    subscription = b"\0\0\0\0\0\1" + len(name).to_bytes(2, "big") + name + b"\0\0\0\0"
    members.alone(protocols=(("range", subscription),))
    asked = [{"name": topic, "partitions": [{"partition": 0}]} for topic in (world.topic, other)]
    answer = world.client.call(ApiKey.OFFSET_DELETE, 0, {"group_id": world.group, "topics": asked})
    assert {one["name"]: one["partitions"][0]["error_code"] for one in answer["topics"]} == {
        world.topic: ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
        other: ErrorCode.NONE,
    }


def test_offsets_go_with_their_topic(world: World) -> None:
    """After a topic is deleted nothing is committed for it any more."""
    world.commit(3)
    world.client.call(ApiKey.DELETE_TOPICS, 4, {"topic_names": [world.topic], "timeout_ms": 9000})
    deadline = time.monotonic() + SOON_SECONDS
    while world.client.call(ApiKey.OFFSET_FETCH, 5, {"group_id": world.group, "topics": None})["topics"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def pair(members: Members, *, synced: bool = True) -> tuple[Member, Member]:
    """Two members of one generation, the first of them its leader."""
    first = members.alone()
    second = members.new()
    second.send_join()
    wait_for(first, ErrorCode.REBALANCE_IN_PROGRESS)
    first.send_join()
    first.joined()
    second.joined()
    if synced:
        first.send_sync({first.member_id: b"one", second.member_id: b"two"})
        second.send_sync()
        assert first.synced()[0] == second.synced()[0] == ErrorCode.NONE
    return first, second


def wait_for(member: Member, error: ErrorCode) -> None:
    """Send heartbeats until one is answered so."""
    deadline = time.monotonic() + SOON_SECONDS
    while (found := member.heartbeat()) != error:
        assert found == ErrorCode.NONE, found.name
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_pending(members: Members, count: int) -> None:
    """Until the group has so many members, joined or not."""
    deadline = time.monotonic() + SOON_SECONDS
    while True:
        answer = members.world.client.call(ApiKey.DESCRIBE_GROUPS, 4, {"groups": [members.world.group]})
        if len(answer["groups"][0]["members"]) == count:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)
