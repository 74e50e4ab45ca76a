"""Scripted faults: which answers a rule spoils, how, and how many times."""

from __future__ import annotations

import pytest

from activator.local.broker.faults import Delay, DropConnection, EndOffset, Fail, Fault
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.local.broker.driver import Driver, join_body, sole_partition


@pytest.fixture
def driver() -> Driver:
    """A broker with a topic of two partitions and a record in the first."""
    driver = Driver()
    driver.create(partitions=2)
    driver.produce(b"a")
    return driver


def test_a_failing_partition_is_answered_with_the_code_and_nothing_is_done(driver: Driver) -> None:
    """As many times as the rule says; other partitions are served."""
    driver.broker.faults.add(
        Fault(ApiKey.PRODUCE, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER), topic="orders", partition=0, times=2)
    )
    answers = [driver.produce(b"b")["error_code"] for _ in range(3)]
    assert answers == [ErrorCode.NOT_LEADER_OR_FOLLOWER] * 2 + [ErrorCode.NONE]
    assert driver.produce(b"b", partition=1)["error_code"] == ErrorCode.NONE
    assert driver.end_offset()["offset"] == 2


def test_a_rule_holds_until_it_is_removed(driver: Driver) -> None:
    """Without `times` it is for ever; a `with` block removes it."""
    with driver.broker.faults.injected(Fault(ApiKey.LIST_OFFSETS, Fail(ErrorCode.LEADER_NOT_AVAILABLE))):
        assert {driver.end_offset()["error_code"] for _ in range(3)} == {ErrorCode.LEADER_NOT_AVAILABLE}
    assert driver.end_offset()["error_code"] == ErrorCode.NONE
    fault = driver.broker.faults.add(Fault(ApiKey.LIST_OFFSETS, EndOffset(0), topic="orders"))
    assert driver.end_offset()["offset"] == 0
    driver.broker.faults.remove(fault)
    driver.broker.faults.remove(fault)
    assert driver.end_offset()["offset"] == 1


def test_the_first_rule_that_fits_is_applied(driver: Driver) -> None:
    """A narrow rule before a wide one is its exception."""
    faults = driver.broker.faults
    faults.add(Fault(ApiKey.LIST_OFFSETS, Fail(ErrorCode.REQUEST_TIMED_OUT), partition=1))
    faults.add(Fault(ApiKey.LIST_OFFSETS, Fail(ErrorCode.KAFKA_STORAGE_ERROR)))
    assert driver.end_offset(partition=1)["error_code"] == ErrorCode.REQUEST_TIMED_OUT
    assert driver.end_offset(partition=0)["error_code"] == ErrorCode.KAFKA_STORAGE_ERROR
    faults.clear()
    assert driver.end_offset()["error_code"] == ErrorCode.NONE


def test_a_topic_without_a_leader(driver: Driver) -> None:
    """LEADER_NOT_AVAILABLE for the topic, or for one partition, which then has no leader."""
    wanted = {"topics": [{"name": "orders"}]}
    with driver.broker.faults.injected(Fault(ApiKey.METADATA, Fail(ErrorCode.LEADER_NOT_AVAILABLE), topic="orders")):
        (topic,) = driver.ask(ApiKey.METADATA, wanted)["topics"]
        assert topic["error_code"] == ErrorCode.LEADER_NOT_AVAILABLE
    with driver.broker.faults.injected(
        Fault(ApiKey.METADATA, Fail(ErrorCode.LEADER_NOT_AVAILABLE), topic="orders", partition=1)
    ):
        (topic,) = driver.ask(ApiKey.METADATA, wanted)["topics"]
        assert [(one["error_code"], one["leader_id"]) for one in topic["partitions"]] == [
            (ErrorCode.NONE, 1),
            (ErrorCode.LEADER_NOT_AVAILABLE, -1),
        ]


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (ApiKey.JOIN_GROUP, join_body()),
        (ApiKey.HEARTBEAT, {"group_id": "group", "generation_id": 1, "member_id": "m"}),
        (ApiKey.SYNC_GROUP, {"group_id": "group", "generation_id": 1, "member_id": "m"}),
        (ApiKey.LEAVE_GROUP, {"group_id": "group", "members": [{"member_id": "m"}]}),
    ],
)
def test_a_group_whose_coordinator_moved(driver: Driver, api: ApiKey, body: dict[str, object]) -> None:
    """NOT_COORDINATOR for the group of the rule."""
    driver.broker.faults.add(Fault(api, Fail(ErrorCode.NOT_COORDINATOR), group="group", times=1))
    assert driver.ask(api, body)["error_code"] == ErrorCode.NOT_COORDINATOR
    assert not driver.broker.faults


def test_offsets_of_a_group_whose_coordinator_moved(driver: Driver) -> None:
    """OffsetFetch and OffsetCommit of that group, and of no other."""
    for api in (ApiKey.OFFSET_FETCH, ApiKey.OFFSET_COMMIT):
        driver.broker.faults.add(Fault(api, Fail(ErrorCode.NOT_COORDINATOR), group="moved"))
    assert driver.commit(1, group="moved") == ErrorCode.NOT_COORDINATOR
    assert driver.commit(1, group="group") == ErrorCode.NONE
    body = {"groups": [{"group_id": name, "topics": None} for name in ("moved", "group")]}
    codes = [group.get("error_code", 0) for group in driver.ask(ApiKey.OFFSET_FETCH, body)["groups"]]
    assert codes == [ErrorCode.NOT_COORDINATOR, ErrorCode.NONE]


def test_an_offset_of_one_partition_that_cannot_be_read(driver: Driver) -> None:
    """A rule may name the topic and partition inside a group's answer."""
    driver.commit(1)
    driver.broker.faults.add(
        Fault(ApiKey.OFFSET_FETCH, Fail(ErrorCode.UNKNOWN_SERVER_ERROR), topic="orders", partition=0)
    )
    body = {"groups": [{"group_id": "group", "topics": None}]}
    answer = sole_partition(driver.ask(ApiKey.OFFSET_FETCH, body)["groups"][0])
    assert (answer["error_code"], answer["committed_offset"]) == (ErrorCode.UNKNOWN_SERVER_ERROR, -1)


def test_a_delayed_request_is_looked_at_later(driver: Driver) -> None:
    """It is answered with what is true then, not with what was true when it came."""
    driver.broker.faults.add(Fault(ApiKey.LIST_OFFSETS, Delay(500), times=1))
    body = {"topics": [{"name": "orders", "partitions": [{"partition": 0, "timestamp": -1}]}]}
    token = driver.send(ApiKey.LIST_OFFSETS, body)
    driver.advance(499)
    driver.produce(b"b")
    assert token in driver.waiting
    driver.advance(1)
    assert sole_partition(driver.answers[token] or {})["offset"] == 2


def test_a_delayed_request_of_a_client_that_left_is_dropped(driver: Driver) -> None:
    """It is neither answered nor done."""
    driver.broker.faults.add(Fault(ApiKey.DELETE_TOPICS, Delay(500)))
    token = driver.send(ApiKey.DELETE_TOPICS, {"topic_names": ["orders"]})
    driver.broker.cancel(token)
    driver.advance(1000)
    assert driver.end_offset()["error_code"] == ErrorCode.NONE


def test_a_dropped_connection_may_have_done_what_was_asked(driver: Driver) -> None:
    """Before the effect, or after it: an acknowledgement that is lost."""
    for after_effect, end in ((False, 1), (True, 2)):
        driver.broker.faults.add(Fault(ApiKey.PRODUCE, DropConnection(after_effect=after_effect), times=1))
        with pytest.raises(AssertionError, match="PRODUCE waits"):
            driver.produce(b"lost")
        assert driver.disconnected
        assert driver.end_offset()["offset"] == end


def test_a_fault_on_a_topic_meets_the_sessions_that_hold_it(driver: Driver) -> None:
    """A fetch in a session names no topic, and still the rule fits."""
    opened = driver.ask(ApiKey.FETCH, driver.fetch_body((0, 1), session_epoch=0))
    driver.broker.faults.add(Fault(ApiKey.FETCH, DropConnection(), topic="orders", times=1))
    again = driver.fetch_body(session_id=opened["session_id"], session_epoch=1)
    assert driver.send(ApiKey.FETCH, again) in driver.disconnected


def test_a_failing_partition_ends_the_wait_of_a_fetch(driver: Driver) -> None:
    """An error is told at once, as Kafka tells it."""
    driver.broker.faults.add(Fault(ApiKey.FETCH, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER), partition=0))
    answer = driver.ask(ApiKey.FETCH, driver.fetch_body((0, 1), (1, 0), max_wait_ms=30_000))
    codes = {one["partition"]: one["error_code"] for one in answer["topics"][0]["partitions"]}
    assert codes == {0: ErrorCode.NOT_LEADER_OR_FOLLOWER, 1: ErrorCode.NONE}
