"""Settings: every default that is promised, and which values a topic may have."""

from __future__ import annotations

import pytest

from activator.local.broker.config import BrokerConfig, TopicConfig
from activator.local.broker.protocol import ApiError, ErrorCode

DAY_MS = 86_400_000


def test_the_defaults_are_those_that_are_promised() -> None:
    """Kafka's own, but for the ones whose docstring says why not."""
    config = BrokerConfig()
    assert config.memory_bytes == 256 * 1024 * 1024
    assert not config.auto_create_topics_enable
    assert (config.retention_ms, config.retention_bytes) == (7 * DAY_MS, -1)
    assert (config.group_min_session_timeout_ms, config.group_max_session_timeout_ms) == (6_000, 1_800_000)
    assert config.group_first_member_wait_ms == 50
    assert config.offsets_retention_ms == 7 * DAY_MS
    assert config.max_incremental_fetch_session_cache_slots == 1_000
    assert config.max_message_bytes == 1_048_588


def test_a_topics_own_settings_go_before_the_brokers() -> None:
    """What it does not set is the broker's."""
    broker = BrokerConfig(retention_ms=1_000, max_message_bytes=500)
    topic = TopicConfig.parse(broker, {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"})
    assert (topic.retention_ms, topic.retention_bytes, topic.max_message_bytes) == (None, None, 500)
    assert topic.log_append_time
    assert TopicConfig.parse(broker, {}).retention_ms == 1_000


@pytest.mark.parametrize("value", ["", "1.5", "1h", "--1", "-2", "\u0661", None])
def test_a_number_is_a_number(value: str | None) -> None:
    """Anything else is refused, as Kafka does."""
    with pytest.raises(ApiError) as refused:
        TopicConfig.parse(BrokerConfig(), {"retention.ms": value})
    assert refused.value.code == ErrorCode.INVALID_CONFIG
