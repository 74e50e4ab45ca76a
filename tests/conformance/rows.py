"""A row of the conformance tables: one request, and what its answer must say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance.world import UNKNOWN, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.local.broker.protocol import Body

NONE = ErrorCode.NONE


def nothing(_: World) -> None:
    """Nothing has to be done before the request."""


@dataclass(frozen=True)
class Row:
    """A request in a world, and the fields that its answer must have; fields that are not named may be anything.

    `given` is done before. Where Kafka shows what was just done only after it is replicated, the row is `eventual`.
    """

    name: str
    api: ApiKey
    version: int
    request: Callable[[World], Body]
    answer: Callable[[World], Body]
    given: Callable[[World], Any] = nothing
    eventual: bool = False


def says(**fields: Any) -> Callable[[World], Body]:
    """An answer with these fields."""
    return lambda _: fields


def partition_says(partition: int, error: ErrorCode = NONE, **fields: Any) -> Callable[[World], Body]:
    """An answer about one partition of the world's topic."""
    return lambda world: {
        "topics": [{"name": world.topic, "partitions": [{"partition": partition, "error_code": error, **fields}]}]
    }


def unknown_says(partition: int, **fields: Any) -> Callable[[World], Body]:
    """An answer about a partition of a topic that is not there."""
    one = {"partition": partition, "error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, **fields}
    return says(topics=[{"name": UNKNOWN, "partitions": [one]}])


def differences(expected: Any, found: Any, where: str = "answer") -> list[str]:
    """Where `found` is not as `expected`; of a structure only the expected fields are looked at."""
    if isinstance(expected, dict):
        return [line for key, value in expected.items() for line in differences(value, found[key], f"{where}.{key}")]
    if isinstance(expected, list):
        if len(expected) != len(found):
            return [f"{where} has {len(found)} items, not {len(expected)}: {found}"]
        pairs = zip(sorted(expected, key=_name), sorted(found, key=_name), strict=True)
        return [line for index, pair in enumerate(pairs) for line in differences(*pair, f"{where}[{index}]")]
    if isinstance(found, memoryview):
        found = bytes(found)
    return [] if expected == found else [f"{where} is {found!r}, not {expected!r}"]


def _name(item: Any) -> str:
    """Brokers list topics and settings in any order; groups are answered in the order asked."""
    return str(item["name"]) if isinstance(item, dict) and "name" in item else ""
