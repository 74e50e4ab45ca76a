"""DescribeConfigs: settings of topics and of the broker, with where they come from."""

from __future__ import annotations

from activator.local.broker.config import BrokerConfig
from activator.local.broker.protocol import ApiKey
from tests.local.broker.driver import Driver


def test_settings_without_effect_in_memory_are_kept_and_shown() -> None:
    """So that tools made for a real Kafka work."""
    driver = Driver()
    driver.create(segment_ms="1000", min_insync_replicas="1")
    keys = ["segment.ms", "min.insync.replicas"]
    resource = {"resource_type": 2, "resource_name": "orders", "configuration_keys": keys}
    (answer,) = driver.ask(ApiKey.DESCRIBE_CONFIGS, {"resources": [resource]})["results"]
    assert {entry["name"]: (entry["value"], entry["config_source"]) for entry in answer["configs"]} == {
        "segment.ms": ("1000", 1),
        "min.insync.replicas": ("1", 1),
    }


def test_the_brokers_own_settings_are_shown() -> None:
    """With where they come from: 4 is the start of the broker, 5 the default."""
    driver = Driver(BrokerConfig(num_partitions=7))
    resource = {"resource_type": 4, "resource_name": "1", "configuration_keys": None}
    (answer,) = driver.ask(ApiKey.DESCRIBE_CONFIGS, {"resources": [resource]})["results"]
    found = {entry["name"]: (entry["value"], entry["config_source"]) for entry in answer["configs"]}
    assert found["num.partitions"] == ("7", 4)
    assert found["auto.create.topics.enable"] == ("false", 5)
