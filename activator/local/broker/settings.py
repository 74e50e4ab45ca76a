"""What DescribeConfigs answers: the settings in force, of topics and of the broker."""

from __future__ import annotations

from activator.local.broker.config import TOPIC_CONFIG_TYPES, BrokerConfig, ConfigSource, ConfigType
from activator.local.broker.protocol import NODE_ID, ApiError, Body, ErrorCode, Request
from activator.local.broker.topics import Topics, check_name

_TOPIC_RESOURCE, _BROKER_RESOURCE = 2, 4

_BROKER_CONFIGS = {
    "auto.create.topics.enable": ("auto_create_topics_enable", ConfigType.BOOLEAN),
    "group.max.session.timeout.ms": ("group_max_session_timeout_ms", ConfigType.INT),
    "group.min.session.timeout.ms": ("group_min_session_timeout_ms", ConfigType.INT),
    "log.retention.bytes": ("retention_bytes", ConfigType.LONG),
    "log.retention.ms": ("retention_ms", ConfigType.LONG),
    "message.max.bytes": ("max_message_bytes", ConfigType.INT),
    "num.partitions": ("num_partitions", ConfigType.INT),
}
"""Kafka's name of each setting that is shown -> the field of `BrokerConfig`, and its type."""


class Settings:
    """The settings of every topic and of the broker."""

    def __init__(self, config: BrokerConfig, topics: Topics) -> None:
        self._config = config
        self._topics = topics

    def describe(self, request: Request, _now_ms: float) -> Body:
        """DescribeConfigs of topics and of the broker."""
        answers = []
        for resource in request.body["resources"]:
            answer: Body = {key: resource[key] for key in ("resource_type", "resource_name")}
            try:
                answer["configs"] = self._configs_of(resource)
            except ApiError as error:
                answer |= {"error_code": error.code, "error_message": error.message}
            answers.append(answer)
        return {"results": answers}

    def _configs_of(self, resource: Body) -> list[Body]:
        kind, name = resource["resource_type"], resource["resource_name"]
        if kind == _TOPIC_RESOURCE:
            check_name(name)
            config = self._topics[name].config
            entries = [
                _entry(key, value, config.source_of(key), TOPIC_CONFIG_TYPES.get(key, ConfigType.STRING))
                for key, value in config.values().items()
            ]
        elif kind == _BROKER_RESOURCE and name in {"", str(NODE_ID)}:
            entries = self._broker_configs()
        else:
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                f"Resource type {kind} with name '{name}': this broker describes topics (2) and itself (4, {NODE_ID}).",
            )
        keys = resource["configuration_keys"]
        return [entry for entry in entries if not keys or entry["name"] in keys]

    def _broker_configs(self) -> list[Body]:
        defaults = BrokerConfig()
        entries = []
        for key, (attribute, kind) in _BROKER_CONFIGS.items():
            value = getattr(self._config, attribute)
            source = ConfigSource.DEFAULT if value == getattr(defaults, attribute) else ConfigSource.STATIC_BROKER
            entries.append(_entry(key, str(value).lower(), source, kind) | {"read_only": True})
        return entries


def _entry(name: str, value: str, source: ConfigSource, kind: ConfigType) -> Body:
    return {"name": name, "value": value, "config_source": source, "config_type": kind}
