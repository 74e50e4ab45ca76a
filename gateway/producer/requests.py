"""The three requests of a producer, and the shapes of their answers.

aiokafka has the structures but not all of them in use: Produce stops at v7, which does not say which record of a batch
was invalid (KIP-467), and InitProducerId wants a transactional id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka.protocol.api import Request
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import (
    ProduceRequest_v3,
    ProduceRequest_v4,
    ProduceRequest_v5,
    ProduceRequest_v6,
    ProduceRequest_v7,
    ProduceRequest_v8,
)
from aiokafka.protocol.transaction import InitProducerIdRequest_v0

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ALL_IN_SYNC_REPLICAS: Final = -1
_LONGEST_TRANSACTION: Final = 2**31 - 1
_WITH_RECORD_ERRORS: Final = 8


class Produce(
    Request[  # aiokafka builds a request's versions from this union
        ProduceRequest_v3
        | ProduceRequest_v4
        | ProduceRequest_v5
        | ProduceRequest_v6
        | ProduceRequest_v7
        | ProduceRequest_v8
    ]
):
    """Record batches for the partitions that one broker leads, acknowledged by all in-sync replicas."""

    API_KEY = 0

    def __init__(self, batches: Mapping[str, list[tuple[int, bytes]]], acknowledge_within_ms: int) -> None:
        self._batches = list(batches.items())
        self._acknowledge_within_ms = acknowledge_within_ms

    def __repr__(self) -> str:
        return f"Produce({', '.join(topic for topic, _ in self._batches)})"

    def build(self, request_struct_class: Any) -> Any:
        """Fill in the version that was agreed on."""
        return request_struct_class(None, _ALL_IN_SYNC_REPLICAS, self._acknowledge_within_ms, self._batches)


@dataclass(frozen=True, slots=True)
class PartitionAnswer:
    """What a broker says about one batch."""

    topic: str
    partition: int
    code: int
    base_offset: int
    culprits: Mapping[int, str]
    message: str | None


def produce_answers(response: Any) -> Iterator[PartitionAnswer]:
    """Read a Produce answer of any version from 3 to 8."""
    detailed = response.API_VERSION >= _WITH_RECORD_ERRORS
    for topic, partitions in response.topics:
        for partition, code, base_offset, *rest in partitions:
            culprits = {place: text or "" for place, text in rest[2]} if detailed else {}
            yield PartitionAnswer(topic, partition, code, base_offset, culprits, rest[3] if detailed else None)


class InitProducerId(Request[InitProducerIdRequest_v0]):
    """Ask for a producer id without a transactional id."""

    API_KEY = 22

    def __repr__(self) -> str:
        return "InitProducerId()"

    def build(self, request_struct_class: Any) -> Any:
        """Fill in the one version."""
        return request_struct_class(None, _LONGEST_TRANSACTION)


def metadata(topics: Iterable[str]) -> Any:
    """Ask for the brokers and for some topics, without creating any (v4 and up); no topics: the brokers alone."""
    return MetadataRequest(list(topics), allow_auto_topic_creation=False)
