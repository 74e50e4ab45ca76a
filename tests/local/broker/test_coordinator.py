"""Groups and their offsets: what is forgotten, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.local.broker.config import BrokerConfig
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.local.broker.driver import Driver, join_body

if TYPE_CHECKING:
    from activator.local.broker.protocol import Body

HOUR_MS = 3_600_000
CONFIG = BrokerConfig(
    offsets_retention_ms=HOUR_MS, offsets_retention_check_interval_ms=60_000, group_first_member_wait_ms=0
)


@pytest.fixture
def driver() -> Driver:
    """A broker whose group offsets are kept for an hour."""
    driver = Driver(CONFIG)
    driver.create()
    return driver


def member_of(driver: Driver, group: str = "group") -> str:
    """The only member of a stable group."""
    token = driver.send(ApiKey.JOIN_GROUP, join_body(group, session_timeout_ms=1_800_000), 3)
    member = str((driver.answers.pop(token) or {})["member_id"])
    assignments = [{"member_id": member, "assignment": b""}]
    body = {"group_id": group, "generation_id": 1, "member_id": member, "assignments": assignments}
    driver.ask(ApiKey.SYNC_GROUP, body, 4)
    return member


def test_offsets_of_a_group_without_members_expire(driver: Driver) -> None:
    """An hour after the commit, and the group with them."""
    driver.commit(5)
    driver.advance(HOUR_MS - 60_000)
    assert driver.committed() == 5
    driver.advance(120_000)
    assert driver.committed() == -1
    assert driver.state_of() == "Dead"


def test_offsets_outlive_their_age_while_the_group_has_members(driver: Driver) -> None:
    """The hour begins when the last one leaves (KIP-211)."""
    member = member_of(driver)
    driver.commit(5, generation_id=1, member_id=member)
    for _ in range(8):
        driver.advance(HOUR_MS / 4)
        driver.ask(ApiKey.HEARTBEAT, {"group_id": "group", "generation_id": 1, "member_id": member})
    assert driver.committed() == 5
    driver.ask(ApiKey.LEAVE_GROUP, {"group_id": "group", "members": [{"member_id": member}]})
    driver.advance(HOUR_MS - 60_000)
    assert driver.committed() == 5
    driver.advance(120_000)
    assert driver.committed() == -1


def test_an_administrators_commit_begins_the_hour_anew(driver: Driver) -> None:
    """Only what was not committed again in the last hour goes."""
    driver.create("payments")
    for topic in ("orders", "payments"):
        driver.commit(5, topic=topic)
    driver.advance(HOUR_MS * 0.9)
    driver.commit(6)
    driver.advance(HOUR_MS * 0.5)
    assert (driver.committed(), driver.committed(topic="payments")) == (6, -1)


@pytest.mark.parametrize(("retention_time_ms", "after"), [(-1, -1), (3 * HOUR_MS, 6)])
def test_of_a_group_that_had_members_only_a_commit_with_its_own_retention_outlasts_the_hour(
    driver: Driver, retention_time_ms: int, after: int
) -> None:
    """The hour counts from when its last member left, whatever is committed since (KIP-211)."""
    member = member_of(driver)
    driver.commit(5, generation_id=1, member_id=member)
    driver.ask(ApiKey.LEAVE_GROUP, {"group_id": "group", "members": [{"member_id": member}]})
    driver.advance(HOUR_MS * 0.9)
    driver.commit(6, version=3, retention_time_ms=retention_time_ms)
    driver.advance(HOUR_MS * 0.5)
    assert driver.committed() == after
    driver.advance(HOUR_MS * 3)
    assert driver.committed() == -1


def test_offsets_expire_on_command(driver: Driver) -> None:
    """For a test of what happens then, without the wait."""
    driver.commit(5)
    driver.broker.expire_offsets("group")
    driver.broker.expire_offsets("no such group")
    assert driver.committed() == -1


def test_a_group_that_left_nothing_is_forgotten(driver: Driver) -> None:
    """At the next look, not at once: an administrator may want to see that it is empty."""
    member = member_of(driver)
    driver.ask(ApiKey.LEAVE_GROUP, {"group_id": "group", "members": [{"member_id": member}]})
    assert driver.state_of() == "Empty"
    driver.advance(60_000)
    assert driver.state_of() == "Dead"


def test_a_commit_on_a_partition_that_is_not_there_makes_no_group(driver: Driver) -> None:
    """As in Kafka, which refuses it before it looks for the group."""
    assert driver.commit(5, topic="gone") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert driver.state_of() == "Dead"
    driver.commit(5)
    assert driver.state_of() == "Empty"


def test_the_number_of_groups_is_bounded() -> None:
    """One more is refused; a group that is there goes on."""
    driver = Driver(BrokerConfig(max_groups=1))
    driver.create()
    assert driver.commit(1, group="first") == ErrorCode.NONE
    assert driver.commit(1, group="second") == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert driver.ask(ApiKey.JOIN_GROUP, join_body("second"))["error_code"] == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert driver.commit(2, group="first") == ErrorCode.NONE


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, {"empty", "stable"}),
        ({"states_filter": ["Stable"]}, {"stable"}),
        ({"states_filter": ["empty"]}, {"empty"}),
        ({"states_filter": ["Unheard"]}, set()),
        ({"types_filter": ["Classic"]}, {"empty", "stable"}),
        ({"types_filter": ["consumer"]}, set()),
    ],
)
def test_groups_are_listed_by_state_and_type(driver: Driver, asked: Body, found: set[str]) -> None:
    """Any case of letters; no filter lists all."""
    driver.commit(1, group="empty")
    member_of(driver, "stable")
    groups = driver.ask(ApiKey.LIST_GROUPS, asked)["groups"]
    assert {group["group_id"] for group in groups} == found
    assert {group["group_type"] for group in groups} <= {"classic"}


def test_metadata_that_is_no_consumers_subscribes_to_nothing(driver: Driver) -> None:
    """Another kind of member may say of itself what it likes; its group's offsets can be deleted."""
    driver.commit(1)
    token = driver.send(ApiKey.JOIN_GROUP, join_body(protocols=[{"name": "range", "metadata": b"\0\0\0\0\0\x7f?"}]), 3)
    assert (driver.answers[token] or {})["error_code"] == ErrorCode.NONE
    body = {"group_id": "group", "topics": [{"name": "orders", "partitions": [{"partition": 0}]}]}
    assert driver.ask(ApiKey.OFFSET_DELETE, body)["topics"][0]["partitions"][0]["error_code"] == ErrorCode.NONE
