"""Record batches: which a consumer would be given, and the traceparent of one record."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from unittest.mock import AsyncMock

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from activator.kafka import records
from activator.kafka.fetch import Fetched, FetchedPartition
from activator.kafka.probe import any_record
from activator.kafka.records import Batch, traceparent, visible, walk
from activator.kafka.topology import Topic
from tests.kafka.batches import batch

if TYPE_CHECKING:
    from activator.kafka.client import ClusterClient
    from activator.kafka.topology import Topology

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033%02d-01"


def built(codec: str, count: int = 3, *, first: int = 0, value: bytes = b"value") -> bytes:
    """Encode records with aiokafka's builder, the n-th with a traceparent that ends in n."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=CODECS[codec],
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 24,
    )
    for number in range(count):
        headers: list[tuple[str, bytes | None]] = [("other", b"x"), ("traceparent", TRACE % number)]
        builder.append(number, timestamp=number, key=None, value=value, headers=headers)
    whole = bytearray(builder.build())
    whole[:8] = first.to_bytes(8, "big")
    return bytes(whole)


@pytest.mark.parametrize("codec", CODECS)
def test_the_traceparent_of_each_record_is_found(codec: str) -> None:
    """Whatever the codec, the header is that of the first record at or past the offset."""
    (only,) = walk(built(codec, first=100))

    assert [traceparent(only, offset) for offset in (99, 100, 101, 102)] == [
        (TRACE % number).decode() for number in (0, 0, 1, 2)
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_inflates_without_end_is_left_alone(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a limit is decompressed, and a record that lies beyond it has no link: a wake does not wait."""
    monkeypatch.setattr(records, "MAX_BATCH_BYTES", 4096)

    (only,) = walk(built(codec, value=b"\0" * 1_000_000))

    assert traceparent(only, 2) is None


def test_a_record_without_the_header_has_no_trace() -> None:
    """No header, no link, no error."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
    builder.append(0, timestamp=0, key=b"key", value=None, headers=[])
    (only,) = walk(bytes(builder.build()))

    assert traceparent(only, 0) is None


def test_a_batch_that_was_cut_off_is_left_out() -> None:
    """A fetch answer ends at its size limit, in the middle of a batch."""
    whole = built("none", first=5) + built("none", first=8)

    assert [(found.first, found.last) for found in walk(whole)] == [(5, 7), (8, 10)]
    assert [found.first for found in walk(whole[:-1])] == [5]
    assert list(walk(whole[:20])) == []


def test_old_message_formats_count_as_records() -> None:
    """Topics written before Kafka 0.11 and never rewritten still wake."""
    magic_1 = (7).to_bytes(8, "big") + (22).to_bytes(4, "big") + b"\0" * 4 + b"\1" + b"\0" * 17

    (found,) = visible(walk(magic_1))

    assert found.first == 7
    assert traceparent(found, 7) is None


VISIBLE = [
    pytest.param([batch(0, 2)], [], [0], id="records"),
    pytest.param([batch(0, 1, control=True)], [], [], id="marker"),
    pytest.param([batch(0, 0)], [], [], id="emptied-by-compaction"),
    pytest.param([batch(0, 2, transactional=True, producer=1)], [], [0], id="committed"),
    pytest.param([batch(0, 2, transactional=True, producer=1)], [(1, 0)], [], id="aborted"),
    pytest.param(
        [batch(0, 1, transactional=True, producer=1), batch(1, 1, transactional=True, producer=2)],
        [(1, 0)],
        [1],
        id="another-producer-between",
    ),
    pytest.param([batch(0, 1, producer=1)], [(1, 0)], [0], id="outside-any-transaction"),
    pytest.param(
        [
            batch(0, 1, transactional=True, producer=1),
            batch(1, 1, control=True, transactional=True, producer=1),
            batch(2, 1, transactional=True, producer=1),
        ],
        [(1, 0)],
        [2],
        id="the-next-transaction-of-the-same-producer",
    ),
    pytest.param(
        [
            batch(0, 1, transactional=True, producer=1),
            batch(1, 1, control=True, transactional=True, producer=1),
            batch(2, 1, transactional=True, producer=1),
        ],
        [(1, 2), (1, 0)],
        [],
        id="two-aborted-in-a-row-named-in-any-order",
    ),
]


@pytest.mark.parametrize(("batches", "aborted", "expected"), VISIBLE)
def test_what_a_consumer_would_be_given(
    batches: list[bytes], aborted: list[tuple[int, int]], expected: list[int]
) -> None:
    """Neither markers nor aborted nor empty batches are given to a consumer."""
    assert [found.first for found in visible(walk(b"".join(batches)), aborted)] == expected


@given(st.binary(max_size=200), st.integers(0, 7), st.integers(-5, 5))
def test_no_bytes_break_the_search_for_a_trace(payload: bytes, codec: int, offset: int) -> None:
    """What cannot be read has no trace: nothing is raised into the path of a wake."""
    found = traceparent(Batch(0, 3, 4, codec, False, False, -1, payload), offset)

    assert found is None or isinstance(found, str)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_walk(data: bytes) -> None:
    """A walk over anything ends, and never past the data."""
    for found in walk(data):
        assert len(found.payload) <= len(data)


def test_a_batch_that_is_shorter_than_its_header_is_left_out() -> None:
    """A broker's disk or a proxy may damage anything; it is no record, and no error in the path of a wake."""
    for length in range(1, 49):
        data = struct.pack(">qi4xb", 0, length, 2).ljust(12 + length, b"\0")[: 12 + length]
        assert list(walk(data)) == [], length


async def test_a_batch_that_is_damaged_tells_nothing() -> None:
    """Whether a record is there is not known then: who asks is not told by an error of another kind."""
    damaged = struct.pack(">qi", 0, 20) + b"\0\0\0\0\2" + b"\0" * 15
    answer = Fetched(0, 0, iter([FetchedPartition("orders", 0, 0, 5, 5, [], damaged)]))
    client = SimpleNamespace(request=AsyncMock(return_value=answer))
    topology = SimpleNamespace(topics=AsyncMock(return_value={"orders": Topic({0: 1}, 0.0)}))
    found = await any_record(cast("ClusterClient", client), cast("Topology", topology), ("orders", 0), 0, 5)
    assert found is None
