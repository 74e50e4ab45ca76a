"""One request, one answer: error codes and fields, the same from the embedded broker and from a real Kafka."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.conformance.rows import differences
from tests.conformance.rows_groups import GROUPS, MEMBERSHIP, OFFSETS
from tests.conformance.rows_records import DELETE_RECORDS, FETCH, LIST_OFFSETS, PRODUCE
from tests.conformance.rows_topics import CREATE_TOPICS, PARTITIONS, SETTINGS, TOPICS

if TYPE_CHECKING:
    from tests.conformance.rows import Row
    from tests.conformance.world import World

TABLES = {
    "create topic": CREATE_TOPICS,
    "create partitions": PARTITIONS,
    "settings": SETTINGS,
    "topics": TOPICS,
    "produce": PRODUCE,
    "list offsets": LIST_OFFSETS,
    "fetch": FETCH,
    "delete records": DELETE_RECORDS,
    "membership": MEMBERSHIP,
    "offsets": OFFSETS,
    "groups": GROUPS,
}

_EVENTUAL_SECONDS = 5.0


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{table}: {row.name}") for table, rows in TABLES.items() for row in rows]
)
def test_a_request_is_answered_as_kafka_does(row: Row, world: World) -> None:
    """The answer has the error codes and fields that the row names."""
    row.given(world)
    request, expected = row.request(world), row.answer(world)
    deadline = time.monotonic() + _EVENTUAL_SECONDS
    while True:
        found = differences(expected, world.client.call(row.api, row.version, request))
        if not (found and row.eventual and time.monotonic() < deadline):
            break
    assert found == []
