"""Records: retention by time and size, and the cap on memory."""

from __future__ import annotations

import pytest

from activator.local.broker.config import BrokerConfig
from activator.local.broker.log import BATCH_OVERHEAD
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance.raw_client import batch_of
from tests.local.broker.driver import Driver, sole_partition

HOUR_MS = 3_600_000


def start_offset(driver: Driver, topic: str = "orders", partition: int = 0) -> int:
    """Where a partition begins."""
    return driver.broker.log(topic, partition).start_offset


def test_records_go_after_their_topics_retention() -> None:
    """At the next look after it; a topic without limit keeps them."""
    driver = Driver()
    driver.create("short", retention_ms=str(HOUR_MS))
    driver.create("forever", retention_ms="-1")
    for topic in ("short", "forever"):
        driver.produce(b"a", topic=topic)
    driver.advance(HOUR_MS)
    assert start_offset(driver, "short") == 0
    driver.advance(driver.broker.config.retention_check_interval_ms)
    assert start_offset(driver, "short") == 1
    driver.advance(9 * HOUR_MS)
    assert start_offset(driver, "forever") == 0


def test_retention_goes_by_the_records_own_time() -> None:
    """A record from the past goes at once, one from the future stays, as in Kafka."""
    driver = Driver()
    driver.create("orders", 2, retention_ms=str(HOUR_MS))
    driver.produce(b"old", timestamp_ms=0)
    driver.produce(b"young", partition=1, timestamp_ms=int(driver.now_ms) + 9 * HOUR_MS)
    driver.advance(9 * HOUR_MS)
    assert (start_offset(driver, partition=0), start_offset(driver, partition=1)) == (1, 0)


def test_retention_of_a_record_without_a_time_goes_by_its_append() -> None:
    """As in Kafka, which then goes by its segment's last change."""
    driver = Driver()
    driver.create(retention_ms=str(HOUR_MS))
    driver.produce(b"no time", timestamp_ms=-1)
    driver.advance(HOUR_MS)
    assert start_offset(driver) == 0
    driver.advance(driver.broker.config.retention_check_interval_ms)
    assert start_offset(driver) == 1


def test_log_append_time_is_the_brokers() -> None:
    """And retention goes by it."""
    driver = Driver()
    driver.create(message_timestamp_type="LogAppendTime")
    assert driver.produce(b"old", timestamp_ms=0)["log_append_time_ms"] == int(driver.now_ms)
    driver.advance(HOUR_MS)
    assert start_offset(driver) == 0


def test_a_partition_keeps_its_retention_bytes() -> None:
    """The oldest batches go at the next look."""
    driver = Driver()
    driver.create(retention_bytes="1000")
    for _ in range(20):
        driver.produce(b"x" * 100)
    driver.advance(driver.broker.config.retention_check_interval_ms)
    log = driver.broker.log("orders", 0)
    assert log.end_offset == 20
    assert 1000 <= log.size_bytes < 1200


def test_memory_is_bounded() -> None:
    """Whatever the retention: the broker's oldest batches go, wherever they are, and the youngest stay."""
    cap = 200_000
    driver = Driver(BrokerConfig(memory_bytes=cap))
    driver.create("orders", 4)
    for number in range(400):
        driver.advance(1)
        driver.produce(b"x" * 1000, partition=number % 4)
        assert driver.broker.memory_bytes <= cap + 1000 + 2 * BATCH_OVERHEAD
    starts = [start_offset(driver, partition=partition) for partition in range(4)]
    ends = [driver.broker.log("orders", partition).end_offset for partition in range(4)]
    assert ends == [100] * 4
    assert max(starts) - min(starts) <= 1
    assert sum(ends) - sum(starts) > cap * 0.9 / (1100 + BATCH_OVERHEAD)


def test_an_idle_topic_gives_way_to_a_busy_one() -> None:
    """The cap is the broker's: age decides, not the topic."""
    driver = Driver(BrokerConfig(memory_bytes=50_000))
    driver.create("idle")
    driver.create("busy")
    driver.produce(b"x" * 1000, topic="idle")
    for _ in range(100):
        driver.advance(1)
        driver.produce(b"x" * 1000, topic="busy")
    assert start_offset(driver, "idle") == 1


def test_a_consumer_of_evicted_records_is_told() -> None:
    """OFFSET_OUT_OF_RANGE, and the start that is left."""
    driver = Driver(BrokerConfig(memory_bytes=10_000))
    driver.create()
    for _ in range(30):
        driver.produce(b"x" * 1000)
    answer = sole_partition(driver.ask(ApiKey.FETCH, driver.fetch_body((0, 0))))
    assert answer["error_code"] == ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_waiting_fetch_learns_that_its_records_are_lost() -> None:
    """A log that is truncated below the position it waits at answers it at once."""
    driver = Driver()
    driver.create()
    for value in (b"a", b"b", b"c"):
        driver.produce(value)
    waiting = driver.send(ApiKey.FETCH, driver.fetch_body((0, 3), max_wait_ms=30_000))
    driver.broker.truncate("orders", 0, 1)
    driver.take(driver.broker.flush())
    assert sole_partition(driver.answers[waiting] or {})["error_code"] == ErrorCode.OFFSET_OUT_OF_RANGE
    assert driver.end_offset()["offset"] == 1


@pytest.mark.parametrize(("acks", "answered"), [(0, False), (1, True), (-1, True)])
def test_a_produce_without_acks_is_not_answered(acks: int, *, answered: bool) -> None:
    """Its records are there all the same."""
    driver = Driver()
    driver.create()
    records = memoryview(batch_of([b"a"]))
    topics = [{"name": "orders", "partitions": [{"partition": 0, "records": records}]}]
    answer = driver.ask(ApiKey.PRODUCE, {"transactional_id": None, "acks": acks, "topics": topics})
    assert (answer is not None) == answered
    assert driver.end_offset()["offset"] == 1


def test_transactions_are_refused() -> None:
    """Where they begin: the coordinator, the producer id, and the batch."""
    driver = Driver()
    driver.create()
    code = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    (coordinator,) = driver.ask(ApiKey.FIND_COORDINATOR, {"key_type": 1, "coordinator_keys": ["t"]})["coordinators"]
    assert (coordinator["error_code"], coordinator["error_message"]) == (code, "transactions are not supported")
    assert driver.ask(ApiKey.INIT_PRODUCER_ID, {"transactional_id": "t"})["error_code"] == code
    records = memoryview(batch_of([b"a"]))
    topics = [{"name": "orders", "partitions": [{"partition": 0, "records": records}]}]
    body = {"transactional_id": "t", "acks": -1, "topics": topics}
    assert sole_partition(driver.ask(ApiKey.PRODUCE, body))["error_code"] == code
