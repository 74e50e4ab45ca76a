"""Fetch sessions that a real broker shows only after minutes or with a thousand clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.local.broker.config import BrokerConfig
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.local.broker.driver import Driver

if TYPE_CHECKING:
    from activator.local.broker.protocol import Body

SLOTS = 3
SAFE_MS = 120_000


@pytest.fixture
def driver() -> Driver:
    """A broker with a topic of twenty partitions and room for three sessions."""
    driver = Driver(BrokerConfig(max_incremental_fetch_session_cache_slots=SLOTS))
    driver.create(partitions=20)
    return driver


def opened(driver: Driver, *partitions: int) -> int:
    """Open a session and answer its id; 0 if the broker has no room."""
    positions = [(partition, 0) for partition in partitions]
    return int(driver.ask(ApiKey.FETCH, driver.fetch_body(*positions, session_epoch=0))["session_id"])


def asked(driver: Driver, session_id: int, epoch: int, *positions: tuple[int, int]) -> Body:
    """The next fetch of a session."""
    body = driver.fetch_body(*positions, session_id=session_id, session_epoch=epoch)
    answer: Body = driver.ask(ApiKey.FETCH, body)
    return answer


def partitions(answer: Body) -> list[int]:
    """Which partitions an answer is about, in its order."""
    return [one["partition"] for topic in answer["topics"] for one in topic["partitions"]]


def test_a_full_cache_declines_while_its_sessions_are_young(driver: Driver) -> None:
    """Session id 0 tells the client to go on without one."""
    assert all(opened(driver, 0) for _ in range(SLOTS))
    driver.advance(SAFE_MS)
    assert opened(driver, 0, 1) == 0


def test_the_session_that_was_not_used_for_longest_gives_way(driver: Driver) -> None:
    """After two minutes without a fetch; the others stay."""
    first, second, third = (opened(driver, 0) for _ in range(SLOTS))
    driver.advance(SAFE_MS / 2)
    for session_id in (first, third):
        asked(driver, session_id, 1)
    driver.advance(SAFE_MS / 2 + 1)
    assert opened(driver, 0) not in {0, first, second, third}
    assert asked(driver, second, 1)["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert asked(driver, first, 2)["session_id"] == first


def test_a_small_session_gives_way_to_a_larger_one_after_a_while(driver: Driver) -> None:
    """All are in use, but a session over many partitions saves more than one over a single one."""
    sessions = [opened(driver, 0, 1, 2) for _ in range(SLOTS - 1)]
    small = opened(driver, 0)
    driver.advance(SAFE_MS + 1)
    for session_id in (*sessions, small):
        asked(driver, session_id, 1)
    assert opened(driver, 0) == 0
    assert opened(driver, 0, 1) not in {0, *sessions, small}
    assert asked(driver, small, 2)["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_session_is_answered_by_the_connection_that_asked_last(driver: Driver) -> None:
    """A client that comes back on another connection ends the wait of its old one."""
    session_id = opened(driver, 0)
    old = driver.send(ApiKey.FETCH, driver.fetch_body(session_id=session_id, session_epoch=1, max_wait_ms=30_000))
    new = driver.send(ApiKey.FETCH, driver.fetch_body(session_id=session_id, session_epoch=2, max_wait_ms=30_000))
    assert old in driver.answers
    assert new in driver.waiting
    driver.produce(b"a")
    assert partitions(driver.answers[new] or {}) == [0]


def test_epochs_begin_again_at_1(driver: Driver) -> None:
    """After the largest number: 0 would open another session."""
    session_id = opened(driver, 0)
    driver.broker._fetches._sessions[session_id].epoch = 2**31 - 1
    asked(driver, session_id, 2**31 - 1)
    assert asked(driver, session_id, 1)["session_id"] == session_id


def test_a_busy_partition_does_not_starve_the_others(driver: Driver) -> None:
    """With room for one batch an answer, every partition has its turn."""
    session_id = opened(driver, 0, 1, 2)
    seen = []
    for epoch in range(1, 7):
        for partition in range(3):
            driver.produce(b"x" * 100, partition=partition)
        body = driver.fetch_body(session_id=session_id, session_epoch=epoch, max_bytes=1)
        answer = driver.ask(ApiKey.FETCH, body)
        with_records = [one["partition"] for one in answer["topics"][0]["partitions"] if one["records"]]
        assert len(with_records) == 1
        seen += with_records
    assert sorted(seen) == [0, 0, 1, 1, 2, 2]


def test_an_error_that_is_over_is_followed_by_the_end_offset(driver: Driver) -> None:
    """The client heard -1 last, so it is told again although nothing changed."""
    driver.create("later", 1)
    body = driver.fetch_body((0, 0), topic="soon", session_epoch=0)
    session_id = int(driver.ask(ApiKey.FETCH, body)["session_id"])
    assert partitions(asked(driver, session_id, 1)) == [0]
    driver.create("soon", 1)
    assert partitions(asked(driver, session_id, 2)) == [0]
    assert partitions(asked(driver, session_id, 3)) == []


def test_a_waiting_fetch_leaves_nothing_behind(driver: Driver) -> None:
    """Answered, given up or abandoned: nobody watches a partition for it, and no timer is set."""
    answered = driver.send(ApiKey.FETCH, driver.fetch_body((0, 0), (1, 0), max_wait_ms=30_000))
    gone = driver.send(ApiKey.FETCH, driver.fetch_body((0, 0), max_wait_ms=30_000))
    late = driver.send(ApiKey.FETCH, driver.fetch_body((5, 0), max_wait_ms=100))
    driver.broker.cancel(gone)
    driver.produce(b"a")
    driver.advance(100)
    assert {answered, late} <= set(driver.answers)
    assert gone in driver.waiting
    assert not driver.broker._fetches._watchers
    assert not driver.broker._fetches._waiting


def test_a_closed_session_leaves_nothing_behind(driver: Driver) -> None:
    """By the final epoch, or because nothing is left in it."""
    first, second = opened(driver, 0, 1), opened(driver, 2)
    asked(driver, first, -1, (0, 0))
    forgotten = [{"name": "orders", "partitions": [2]}]
    body = driver.fetch_body(session_id=second, session_epoch=1, forgotten_topics=forgotten)
    assert driver.ask(ApiKey.FETCH, body)["session_id"] == 0
    assert driver.broker._fetches.session_count == 0
    assert not driver.broker._fetches._watchers


def test_an_idle_session_costs_nothing_per_partition(driver: Driver) -> None:
    """Once it has told all ends, only partitions with news are looked at again."""
    session_id = opened(driver, *range(20))
    view = driver.broker._fetches._sessions[session_id]
    assert not view.ready
    driver.produce(b"a", partition=7)
    assert list(view.ready) == [("orders", 7)]


def test_a_partition_that_joins_a_waiting_session_is_told_at_the_end_of_the_wait(driver: Driver) -> None:
    """Its end offset is news, but none that ends the wait."""
    session_id = opened(driver, 0)
    body = driver.fetch_body((1, 0), session_id=session_id, session_epoch=1, max_wait_ms=500)
    token = driver.send(ApiKey.FETCH, body)
    driver.advance(499)
    assert token in driver.waiting
    driver.advance(1)
    assert partitions(driver.answers[token] or {}) == [1]


def test_a_wait_that_is_over_does_not_shorten_the_next_one(driver: Driver) -> None:
    """The deadline of an answered fetch goes with it."""
    session_id = opened(driver, 0)
    driver.send(ApiKey.FETCH, driver.fetch_body(session_id=session_id, session_epoch=1, max_wait_ms=500))
    driver.produce(b"a")
    body = driver.fetch_body((0, 1), session_id=session_id, session_epoch=2, max_wait_ms=30_000)
    token = driver.send(ApiKey.FETCH, body)
    driver.advance(29_999)
    assert token in driver.waiting
    driver.advance(1)
    assert token in driver.answers
