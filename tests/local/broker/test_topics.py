"""Topics: what the embedded broker does by its own settings, beyond what every Kafka does alike."""

from __future__ import annotations

import pytest

from activator.local.broker.config import BrokerConfig
from activator.local.broker.protocol import ApiError, ApiKey, ErrorCode
from tests.local.broker.driver import Driver


def metadata(driver: Driver, *names: str, allowed: bool = True) -> dict[str, tuple[ErrorCode, int]]:
    """(error, partitions) of topics by name."""
    body = {"topics": [{"name": name} for name in names], "allow_auto_topic_creation": allowed}
    topics = driver.ask(ApiKey.METADATA, body)["topics"]
    return {topic["name"]: (ErrorCode(topic["error_code"]), len(topic["partitions"])) for topic in topics}


def test_asking_for_a_topic_does_not_make_it() -> None:
    """Unless the broker was told to; a typo should show."""
    driver = Driver()
    unknown = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)
    assert metadata(driver, "typo") == {"typo": unknown}
    assert metadata(driver, "typo") == {"typo": unknown}


def test_asking_for_a_topic_makes_it_where_broker_and_client_allow_it() -> None:
    """With the broker's number of partitions; a name that cannot be stays an error."""
    driver = Driver(BrokerConfig(auto_create_topics_enable=True, num_partitions=3))
    assert metadata(driver, "orders", allowed=False) == {"orders": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)}
    assert metadata(driver, "orders", "a b") == {
        "orders": (ErrorCode.NONE, 3),
        "a b": (ErrorCode.INVALID_TOPIC_EXCEPTION, 0),
    }


def test_null_asks_for_all_topics_and_so_does_an_empty_list_in_version_0() -> None:
    """Later versions take an empty list at its word."""
    driver = Driver()
    driver.create("orders")
    answers = [
        driver.ask(ApiKey.METADATA, {"topics": topics}, version)["topics"]
        for version, topics in ((12, None), (0, []), (1, []))
    ]
    assert [len(topics) for topics in answers] == [1, 1, 0]


def test_a_topic_that_is_made_again_is_another_one() -> None:
    """Its id tells it from the one that was deleted (KIP-516), and it is empty."""
    driver = Driver()
    ids = []
    for _ in range(2):
        driver.create()
        driver.produce(b"a")
        (topic,) = driver.ask(ApiKey.METADATA, {"topics": None})["topics"]
        ids.append(topic["topic_id"])
        assert driver.end_offset()["offset"] == 1
        (found,) = driver.ask(ApiKey.METADATA, {"topics": [{"name": None, "topic_id": topic["topic_id"]}]})["topics"]
        assert found["name"] == "orders"
        driver.broker.delete_topic("orders")
    assert ids[0] != ids[1]


def test_the_number_of_partitions_is_bounded() -> None:
    """POLICY_VIOLATION names the limit; deleting makes room."""
    driver = Driver(BrokerConfig(max_partitions=5))
    driver.create("a", 3)
    with pytest.raises(ApiError, match="6 partitions are over this broker's limit of 5") as refused:
        driver.create("b", 3)
    assert refused.value.code == ErrorCode.POLICY_VIOLATION
    body = {"topics": [{"name": "a", "count": 6, "assignments": None}]}
    (grown,) = driver.ask(ApiKey.CREATE_PARTITIONS, body)["results"]
    assert grown["error_code"] == ErrorCode.POLICY_VIOLATION
    driver.broker.delete_topic("a")
    driver.create("b", 5)


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ({"cleanup_policy": "compact"}, "Invalid value compact for configuration cleanup.policy"),
        ({"message_timestamp_type": "Mine"}, "this broker knows CreateTime, LogAppendTime"),
        ({"retention_ms": "-2"}, "an integer of at least -1 is allowed"),
        ({"retention": "1"}, "Unknown topic config name: retention"),
    ],
)
def test_a_setting_that_is_refused_says_why(configs: dict[str, str], message: str) -> None:
    """The key, the value and what is allowed."""
    with pytest.raises(ApiError, match=message) as refused:
        Driver().create("orders", 1, **configs)
    assert refused.value.code == ErrorCode.INVALID_CONFIG
