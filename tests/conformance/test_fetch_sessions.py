"""Fetch over time: the long poll, and incremental sessions (KIP-227)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance import world as w
from tests.conformance.raw_client import RawClient, batch_of, partitions_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.local.broker.protocol import Body
    from tests.conformance.world import World

VERSION = 11
LONG_MS = 30_000
SOON_SECONDS = 5.0
ABSENT = 9


class Session:
    """A client's side of one fetch session."""

    def __init__(self, client: RawClient, topic: str) -> None:
        self.client = client
        self.topic = topic
        self.session_id = 0
        self.epoch = 0

    def ask(
        self,
        *positions: Body,
        forgotten: list[int] | None = None,
        wait_ms: int = 0,
        min_bytes: int = 1,
        epoch: int | None = None,
    ) -> Body:
        """One request with the next epoch, and its answer."""
        self.send(*positions, forgotten=forgotten, wait_ms=wait_ms, min_bytes=min_bytes, epoch=epoch)
        return self.receive()

    def send(
        self,
        *positions: Body,
        forgotten: list[int] | None = None,
        wait_ms: int = 0,
        min_bytes: int = 1,
        epoch: int | None = None,
    ) -> None:
        """The request alone."""
        body = w.fetch(
            w.topics(self.topic, *positions) if positions else [],
            wait_ms=wait_ms,
            min_bytes=min_bytes,
            session_id=self.session_id,
            epoch=self.epoch if epoch is None else epoch,
            forgotten=w.topics(self.topic, *forgotten) if forgotten else [],
        )
        self.client.send(ApiKey.FETCH, VERSION, body)

    def receive(self) -> Body:
        """The answer alone."""
        answer = self.client.receive()
        if answer["error_code"] == ErrorCode.NONE:
            self.session_id = answer["session_id"]
            self.epoch += 1
        return answer

    def partitions(self, answer: Body) -> list[int]:
        """Which partitions an answer is about."""
        return sorted(partitions_of(answer, self.topic))


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    """A session that is open on partitions 0 and 1, both at their end, and was answered once."""
    with RawClient(world.bootstrap_servers) as client:
        session = Session(client, world.topic)
        opened = session.ask(w.position(0, 5), w.position(1, 0))
        assert session.session_id != 0
        assert session.partitions(opened) == [0, 1]
        yield session


def test_a_waiting_fetch_is_answered_by_the_record_it_waits_for(world: World) -> None:
    """A fetch at the end of a partition waits, and returns with the record as soon as it is there."""
    with RawClient(world.bootstrap_servers) as waiting:
        waiting.send(ApiKey.FETCH, VERSION, w.fetch(w.topics(world.topic, w.position(1, 0)), wait_ms=LONG_MS))
        produced_at = time.monotonic()
        world.produce(1, batch_of([b"wake up"]))
        answer = partitions_of(waiting.receive(), world.topic)[1]
    assert b"wake up" in bytes(answer["records"])
    assert answer["high_watermark"] == 1
    assert time.monotonic() - produced_at < SOON_SECONDS


def test_a_waiting_fetch_gives_up_after_its_wait(world: World) -> None:
    """Without a record the answer comes after `max_wait_ms`, empty."""
    began = time.monotonic()
    body = w.fetch(w.topics(world.topic, w.position(1, 0)), wait_ms=300)
    answer = partitions_of(world.client.call(ApiKey.FETCH, VERSION, body), world.topic)[1]
    assert 0.29 <= time.monotonic() - began < SOON_SECONDS
    assert bytes(answer["records"]) == b""


def test_a_fetch_waits_for_as_many_bytes_as_it_asks_for(world: World) -> None:
    """With `min_bytes` a first small record does not end the wait; the second, large one does."""
    with RawClient(world.bootstrap_servers) as waiting:
        wanted = w.topics(world.topic, w.position(1, 0))
        waiting.send(ApiKey.FETCH, VERSION, w.fetch(wanted, wait_ms=LONG_MS, min_bytes=500))
        world.produce(1, batch_of([b"small"]))
        world.produce(1, batch_of([b"x" * 500]))
        records = bytes(partitions_of(waiting.receive(), world.topic)[1]["records"])
    assert b"small" in records
    assert b"x" * 500 in records


def test_requests_behind_a_waiting_fetch_wait_with_it(world: World) -> None:
    """A connection is served in order: what comes after a long poll is answered after it."""
    with RawClient(world.bootstrap_servers) as client:
        began = time.monotonic()
        client.send(ApiKey.FETCH, VERSION, w.fetch(w.topics(world.topic, w.position(1, 0)), wait_ms=400))
        client.send(ApiKey.METADATA, 1, {"topics": []})
        assert partitions_of(client.receive(), world.topic)[1]["high_watermark"] == 0
        assert client.receive()["controller_id"] == 1
    assert time.monotonic() - began > 0.3


def test_a_waiting_fetch_is_told_that_its_topic_is_deleted(world: World) -> None:
    """The deletion of a topic answers who waits for it, with UNKNOWN_TOPIC_OR_PARTITION."""
    topic = world.new_topic(1)
    with RawClient(world.bootstrap_servers) as waiting:
        waiting.send(ApiKey.FETCH, VERSION, w.fetch(w.topics(topic, w.position(0, 0)), wait_ms=LONG_MS // 3))
        began = time.monotonic()
        world.client.call(ApiKey.DELETE_TOPICS, 4, {"topic_names": [topic], "timeout_ms": 9000})
        answer = partitions_of(waiting.receive(), topic)[0]
    assert answer["error_code"] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert time.monotonic() - began < SOON_SECONDS


def test_a_large_batch_comes_whole_whatever_the_limits(world: World) -> None:
    """The first batch of an answer is never held back for its size (KIP-74)."""
    wanted = w.topics(world.topic, w.position(0, 0, max_bytes=1))
    answer = world.client.call(ApiKey.FETCH, VERSION, w.fetch(wanted, max_bytes=1))
    records = bytes(partitions_of(answer, world.topic)[0]["records"])
    assert b"a" in records
    assert b"d" not in records


def test_a_session_answers_only_what_is_new(world: World, session: Session) -> None:
    """Nothing new: an empty answer; a record: its partition alone, until the client has moved past it."""
    assert session.partitions(session.ask()) == []
    world.produce(1, batch_of([b"news"]))
    assert session.partitions(session.ask()) == [1]
    assert session.partitions(session.ask()) == [1]
    assert session.partitions(session.ask(w.position(1, 1))) == []


def test_a_waiting_session_wakes_for_any_of_its_partitions(world: World, session: Session) -> None:
    """The request names no partition at all, and still the record ends the wait."""
    session.send(wait_ms=LONG_MS)
    began = time.monotonic()
    world.produce(0, batch_of([b"wake up"]))
    answer = partitions_of(session.receive(), world.topic)
    assert list(answer) == [0]
    assert b"wake up" in bytes(answer[0]["records"])
    assert time.monotonic() - began < SOON_SECONDS


def test_a_moved_log_start_is_news(world: World, session: Session) -> None:
    """DeleteRecords of a partition is told in the next answer."""
    body = {"topics": w.topics(world.topic, {"partition": 0, "offset": 3}), "timeout_ms": 9000}
    world.client.call(ApiKey.DELETE_RECORDS, 2, body)
    assert partitions_of(session.ask(), world.topic)[0]["log_start_offset"] == 3


def test_partitions_join_and_leave_a_session(world: World, session: Session) -> None:
    """A partition that is named is answered for once; one that is forgotten is not heard of again."""
    assert session.partitions(session.ask(w.position(2, 3))) == [2]
    assert session.partitions(session.ask(forgotten=[2])) == []
    world.produce(2, batch_of([b"unheard"]))
    assert session.partitions(session.ask()) == []


def test_an_error_in_a_session_is_told_at_once_and_every_time(session: Session) -> None:
    """A position that is out of range makes each answer come at once, until it is forgotten."""
    first = session.ask(w.position(2, 99), wait_ms=LONG_MS)
    again = session.ask(wait_ms=LONG_MS)
    for answer in (first, again):
        assert partitions_of(answer, session.topic)[2]["error_code"] == ErrorCode.OFFSET_OUT_OF_RANGE
    assert session.partitions(session.ask(forgotten=[2])) == []


def test_a_partition_that_is_not_there_does_not_end_the_wait_of_the_others(session: Session) -> None:
    """It is told in every answer, but no answer comes sooner for it."""
    session.ask(w.position(ABSENT, 0))
    began = time.monotonic()
    answer = partitions_of(session.ask(wait_ms=300), session.topic)
    assert answer[ABSENT]["error_code"] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert time.monotonic() - began >= 0.29


def test_a_wrong_epoch_is_refused_and_does_no_harm(session: Session) -> None:
    """INVALID_FETCH_SESSION_EPOCH, and the session goes on with the right one."""
    wrong = session.ask(epoch=session.epoch + 5)
    assert (wrong["error_code"], wrong["topics"]) == (ErrorCode.INVALID_FETCH_SESSION_EPOCH, [])
    assert session.ask()["error_code"] == ErrorCode.NONE


def test_a_session_that_is_not_there_is_refused(session: Session) -> None:
    """FETCH_SESSION_ID_NOT_FOUND, with session id 0."""
    session.session_id = 123_456_789
    answer = session.ask()
    assert (answer["error_code"], answer["session_id"]) == (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0)


def test_a_session_ends_by_the_final_epoch(session: Session) -> None:
    """Epoch -1 closes it; the answer is that of a full fetch without a session."""
    session_id, epoch = session.session_id, session.epoch
    last = session.ask(w.position(0, 5), epoch=-1)
    assert (last["session_id"], session.partitions(last)) == (0, [0])
    session.session_id, session.epoch = session_id, epoch
    assert session.ask()["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_session_without_partitions_is_closed(session: Session) -> None:
    """When all are forgotten the answer has session id 0."""
    assert session.ask(forgotten=[0, 1])["session_id"] == 0


def test_epoch_0_replaces_the_session(session: Session) -> None:
    """A full fetch that names a session opens another in its place."""
    old, epoch = session.session_id, session.epoch
    assert session.ask(w.position(0, 5), epoch=0)["session_id"] not in {0, old}
    session.session_id, session.epoch = old, epoch
    assert session.ask()["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
