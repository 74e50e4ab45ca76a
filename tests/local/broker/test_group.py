"""Consumer groups: the deadlines that a real broker shows only after a long wait, and the order of answers."""

from __future__ import annotations

from typing import Any

import pytest

from activator.local.broker.config import BrokerConfig
from activator.local.broker.protocol import ApiKey, Body, ErrorCode
from tests.local.broker.driver import Driver, join_body

SESSION_MS, REBALANCE_MS = 10_000, 30_000
WITHOUT_ID = 3
"""A version of JoinGroup that takes a member in at its first request."""


def joining(driver: Driver, member: str = "", **more: Any) -> int:
    """Send a join."""
    return driver.send(ApiKey.JOIN_GROUP, join_body(member=member, **more), WITHOUT_ID)


def joined(driver: Driver, token: int) -> Body:
    """The answer to a join."""
    answer = driver.answers.pop(token)
    assert answer is not None
    return answer


def sync(driver: Driver, member: str, generation: int, assignments: dict[str, bytes] | None = None) -> int:
    """Send a sync."""
    given = [{"member_id": key, "assignment": value} for key, value in (assignments or {}).items()]
    body = {"group_id": "group", "generation_id": generation, "member_id": member, "assignments": given}
    return driver.send(ApiKey.SYNC_GROUP, body, 4)


def heartbeat(driver: Driver, member: str, generation: int) -> ErrorCode:
    """What a heartbeat is answered."""
    body = {"group_id": "group", "generation_id": generation, "member_id": member}
    return ErrorCode(driver.ask(ApiKey.HEARTBEAT, body).get("error_code", 0))


def stable(driver: Driver) -> str:
    """A group of one member, and its id."""
    member = str(joined(driver, joining(driver))["member_id"])
    sync(driver, member, 1, {member: b"all"})
    assert driver.state_of() == "Stable"
    return member


def test_two_members_that_start_together_are_one_rebalance() -> None:
    """The first one waits a moment for a second; with two the group does not wait on."""
    driver = Driver(BrokerConfig(group_first_member_wait_ms=50))
    first = joining(driver)
    driver.advance(49)
    assert first in driver.waiting
    second = joining(driver)
    assert joined(driver, first)["generation_id"] == joined(driver, second)["generation_id"] == 1


def test_a_member_that_stays_alone_goes_on_after_a_moment() -> None:
    """And one that was given an id by then is waited for."""
    driver = Driver(BrokerConfig(group_first_member_wait_ms=50))
    first = joining(driver)
    driver.advance(50)
    assert joined(driver, first)["generation_id"] == 1
    another = driver.send(ApiKey.JOIN_GROUP, join_body("other"), WITHOUT_ID)
    invited = driver.ask(ApiKey.JOIN_GROUP, join_body("other"), 5)["member_id"]
    driver.advance(50)
    assert another in driver.waiting
    driver.send(ApiKey.JOIN_GROUP, join_body("other", member=invited), 5)
    assert len(joined(driver, another)["members"]) == 2


def test_an_id_that_is_never_used_is_forgotten() -> None:
    """A rebalance waits for a member that was given an id, but not for longer than its session."""
    driver = Driver()
    member = stable(driver)
    invited = driver.ask(ApiKey.JOIN_GROUP, join_body(), 5)
    assert invited["error_code"] == ErrorCode.MEMBER_ID_REQUIRED
    again = joining(driver, member)
    driver.advance(SESSION_MS - 1)
    assert again in driver.waiting
    driver.advance(1)
    assert joined(driver, again)["generation_id"] == 2


@pytest.mark.parametrize("silent", ["leader", "follower"])
def test_a_member_that_never_asks_for_its_assignment_is_removed(silent: str) -> None:
    """After the rebalance time-out of its generation; the other one goes on."""
    driver = Driver()
    first = stable(driver)
    second_token = joining(driver)
    first_token = joining(driver, first)
    second = str(joined(driver, second_token)["member_id"])
    joined(driver, first_token)
    leader, follower = first, second
    speaking = follower if silent == "leader" else leader
    token = sync(driver, speaking, 2, {leader: b"1", follower: b"2"})
    elapsed = 0
    while elapsed < REBALANCE_MS:
        driver.advance(SESSION_MS / 2)
        elapsed += SESSION_MS // 2
        for member in (leader, follower):
            body = {"group_id": "group", "generation_id": 2, "member_id": member}
            driver.send(ApiKey.HEARTBEAT, body)
    if silent == "leader":
        assert (driver.answers[token] or {})["error_code"] == ErrorCode.REBALANCE_IN_PROGRESS
    rest = joined(driver, joining(driver, speaking))
    assert [one["member_id"] for one in rest["members"]] == [speaking]


def test_a_session_does_not_run_out_while_its_member_waits() -> None:
    """Neither in a join nor in a sync: the broker holds it up, not the other way round."""
    driver = Driver()
    first = stable(driver)
    second_token = joining(driver, session_timeout_ms=6_000)
    for _ in range(4):
        driver.advance(5_000)
        assert heartbeat(driver, first, 1) == ErrorCode.REBALANCE_IN_PROGRESS
    first_token = joining(driver, first)
    second = str(joined(driver, second_token)["member_id"])
    joined(driver, first_token)
    waiting = sync(driver, second, 2)
    for _ in range(3):
        driver.advance(5_000)
        assert heartbeat(driver, first, 2) == ErrorCode.NONE
    assert waiting in driver.waiting
    sync(driver, first, 2, {second: b"2"})
    assert (driver.answers[waiting] or {})["assignment"] == b"2"


def test_a_group_that_lost_its_last_member_is_empty() -> None:
    """Its session ran out: a new generation without members."""
    driver = Driver()
    stable(driver)
    driver.advance(SESSION_MS)
    assert driver.state_of() == "Empty"


def test_an_absent_static_member_keeps_its_place() -> None:
    """A rebalance goes on without it after the time-out, and it is a member still (KIP-345)."""
    driver = Driver()
    static = driver.send(ApiKey.JOIN_GROUP, join_body(group_instance_id="pod-0", session_timeout_ms=120_000), 5)
    first = str(joined(driver, static)["member_id"])
    sync(driver, first, 1, {first: b"all"})
    second = joining(driver, session_timeout_ms=120_000)
    driver.advance(REBALANCE_MS)
    answer = joined(driver, second)
    assert answer["leader"] == answer["member_id"]
    assert {one["member_id"] for one in answer["members"]} == {first, answer["member_id"]}


def test_a_group_of_absent_static_members_waits_on() -> None:
    """With nobody to lead it the rebalance is given another time-out, until their sessions are over."""
    driver = Driver()
    token = driver.send(ApiKey.JOIN_GROUP, join_body(group_instance_id="pod-0", session_timeout_ms=100_000), 5)
    first = str(joined(driver, token)["member_id"])
    sync(driver, first, 1, {first: b"all"})
    second = joining(driver)
    driver.ask(ApiKey.LEAVE_GROUP, {"group_id": "group", "members": [{"member_id": _only_other(driver, first)}]})
    assert second in driver.answers
    driver.advance(2 * REBALANCE_MS)
    assert driver.state_of() == "PreparingRebalance"
    driver.advance(100_000)
    assert driver.state_of() == "Empty"


def _only_other(driver: Driver, member: str) -> str:
    (group,) = driver.ask(ApiKey.DESCRIBE_GROUPS, {"groups": ["group"]})["groups"]
    (other,) = [one["member_id"] for one in group["members"] if one["member_id"] != member]
    return str(other)


def test_a_join_that_is_repeated_is_answered_once_more() -> None:
    """A client that asks again while it waits: the old request is sent back, the new one waits."""
    driver = Driver()
    first = stable(driver)
    joining(driver)
    other = _only_other(driver, first)
    again = joining(driver, other)
    assert again in driver.waiting
    joined(driver, joining(driver, first))
    assert joined(driver, again)["member_id"] == other


def test_a_full_group_takes_no_more() -> None:
    """GROUP_MAX_SIZE_REACHED, whether its members have joined or were only given an id."""
    driver = Driver(BrokerConfig(group_max_size=2, group_first_member_wait_ms=0))
    stable(driver)
    assert driver.ask(ApiKey.JOIN_GROUP, join_body(), 5)["error_code"] == ErrorCode.MEMBER_ID_REQUIRED
    assert driver.ask(ApiKey.JOIN_GROUP, join_body(), 5)["error_code"] == ErrorCode.GROUP_MAX_SIZE_REACHED


def test_a_deleted_group_leaves_no_timer() -> None:
    """A member id that was given in it must not wake anybody later."""
    driver = Driver()
    driver.ask(ApiKey.JOIN_GROUP, join_body(), 5)
    driver.ask(ApiKey.DELETE_GROUPS, {"groups_names": ["group"]})
    driver.advance(SESSION_MS * 2)
    assert driver.state_of() == "Dead"


def test_a_member_that_waits_may_send_heartbeats_as_well() -> None:
    """From another connection; that does not start its session's clock."""
    driver = Driver()
    first = stable(driver)
    joining(driver)
    second = _only_other(driver, first)
    for _ in range(3):
        assert heartbeat(driver, second, 1) == heartbeat(driver, first, 1) == ErrorCode.REBALANCE_IN_PROGRESS
        driver.advance(SESSION_MS - 1_000)
    assert heartbeat(driver, first, 1) == ErrorCode.REBALANCE_IN_PROGRESS
    driver.advance(2_000)
    assert len(joined(driver, joining(driver, first))["members"]) == 2
