"""Requests and answers against aiokafka's schema types: another hand's reading of the protocol."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.commit import (
    OffsetCommitRequest_v3,
    OffsetCommitResponse_v3,
    OffsetFetchRequest_v3,
    OffsetFetchResponse_v3,
)
from aiokafka.protocol.coordination import FindCoordinatorRequest_v1, FindCoordinatorResponse_v1
from aiokafka.protocol.fetch import FetchRequest_v7, FetchRequest_v11, FetchResponse_v7, FetchResponse_v11
from aiokafka.protocol.metadata import MetadataRequest_v5, MetadataResponse_v5
from aiokafka.protocol.offset import OffsetRequest_v3, OffsetResponse_v3
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from activator.kafka.commits import Commit, CommitAnswer, LastingOffsetCommit, OffsetCommit, StableOffsetFetch
from activator.kafka.fetch import Fetch, FetchedPartition
from activator.kafka.requests import (
    BrokerRow,
    CommitRow,
    ConsumerGroupDescribe,
    CoordinatorRow,
    DescribeGroups,
    FindCoordinator,
    FindCoordinators,
    GroupErrorRow,
    GroupRow,
    ListOffsets,
    Metadata,
    OffsetFetch,
    OffsetFetchGroups,
    OffsetRow,
    TopicRow,
)
from activator.kafka.wire import MALFORMED, Frame, KafkaRequest, Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

TAGS = ("tags", TaggedFields)
TEXT = CompactString("utf-8")

FETCH_V8 = Schema(
    ("throttle", Int32),
    (
        "groups",
        CompactArray(
            ("group", TEXT),
            (
                "topics",
                CompactArray(
                    ("topic", TEXT),
                    (
                        "partitions",
                        CompactArray(
                            ("partition", Int32),
                            ("offset", Int64),
                            ("epoch", Int32),
                            ("metadata", TEXT),
                            ("error", Int16),
                            TAGS,
                        ),
                    ),
                    TAGS,
                ),
            ),
            ("error", Int16),
            TAGS,
        ),
    ),
    TAGS,
)
COORDINATORS_V4 = Schema(
    ("throttle", Int32),
    (
        "coordinators",
        CompactArray(
            ("key", TEXT),
            ("node", Int32),
            ("host", TEXT),
            ("port", Int32),
            ("error", Int16),
            ("message", TEXT),
            TAGS,
        ),
    ),
    TAGS,
)
DESCRIBE_V5 = Schema(
    ("throttle", Int32),
    (
        "groups",
        CompactArray(
            ("error", Int16),
            ("group", TEXT),
            ("state", TEXT),
            ("protocol_type", TEXT),
            ("protocol", TEXT),
            (
                "members",
                CompactArray(
                    ("member", TEXT),
                    ("instance", TEXT),
                    ("client", TEXT),
                    ("host", TEXT),
                    ("metadata", CompactBytes),
                    ("assignment", CompactBytes),
                    TAGS,
                ),
            ),
            ("operations", Int32),
            TAGS,
        ),
    ),
    TAGS,
)
ASSIGNMENT = Schema(
    (
        "topics",
        CompactArray(("id_high", Int64), ("id_low", Int64), ("name", TEXT), ("partitions", CompactArray(Int32)), TAGS),
    ),
    TAGS,
)
CONSUMER_DESCRIBE_V0 = Schema(
    ("throttle", Int32),
    (
        "groups",
        CompactArray(
            ("error", Int16),
            ("message", TEXT),
            ("group", TEXT),
            ("state", TEXT),
            ("epoch", Int32),
            ("assignment_epoch", Int32),
            ("assignor", TEXT),
            (
                "members",
                CompactArray(
                    ("member", TEXT),
                    ("instance", TEXT),
                    ("rack", TEXT),
                    ("epoch", Int32),
                    ("client", TEXT),
                    ("host", TEXT),
                    ("topics", CompactArray(TEXT)),
                    ("regex", TEXT),
                    ("assignment", ASSIGNMENT),
                    ("target", ASSIGNMENT),
                    TAGS,
                ),
            ),
            ("operations", Int32),
            TAGS,
        ),
    ),
    TAGS,
)
UNKNOWN_TAG = {9: b"\x01x"}  # with its size before it, which aiokafka leaves out
SUBSCRIBED = b"\0\3" + b"\0\0\0\2" + b"\0\1t" + b"\0\1u"
"""ConsumerProtocolSubscription to t and u, up to the topics."""
ASSIGNED = b"\0\3" + b"\0\0\0\1" + b"\0\1v" + b"\0\0\0\2" + bytes(8) + b"\xff\xff\xff\xff"
"""ConsumerProtocolAssignment of two partitions of v."""
MEMBER_V0: tuple[Any, ...] = (
    "m",
    None,
    "rack",
    3,
    "c",
    "h",
    ["t", "u"],
    None,
    ([(1, 2, "t", [0, 1], {})], {}),
    ([], {}),
    {},
)

BY_PATTERN_V0 = (*MEMBER_V0[:6], [], "v|w", ([(3, 4, "v", [0], {})], {}), ([(5, 6, "w", [0], {})], {}), {})

METADATA_V10 = Schema(
    ("throttle", Int32),
    ("brokers", CompactArray(("node", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT), TAGS)),
    ("cluster", TEXT),
    ("controller", Int32),
    (
        "topics",
        CompactArray(
            ("error", Int16),
            ("name", TEXT),
            ("id_high", Int64),
            ("id_low", Int64),
            ("internal", Boolean),
            (
                "partitions",
                CompactArray(
                    ("error", Int16),
                    ("partition", Int32),
                    ("leader", Int32),
                    ("epoch", Int32),
                    ("replicas", CompactArray(Int32)),
                    ("isr", CompactArray(Int32)),
                    ("offline", CompactArray(Int32)),
                    TAGS,
                ),
            ),
            ("operations", Int32),
            TAGS,
        ),
    ),
    ("operations", Int32),
    TAGS,
)
COMMIT_ANSWER_V8 = Schema(
    ("throttle", Int32),
    (
        "topics",
        CompactArray(
            ("topic", TEXT),
            ("partitions", CompactArray(("partition", Int32), ("error", Int16), TAGS)),
            TAGS,
        ),
    ),
    TAGS,
)

PARTITIONS_V10: list[tuple[Any, ...]] = [(0, 0, 2, 7, [1, 2], [2], [], {}), (5, 1, -1, 7, [1], [], [1], {})]

ANSWERS: list[Any] = [
    pytest.param(
        Metadata(["t"]),
        10,
        METADATA_V10.encode(
            [
                0,
                [(1, "one", 9092, None, {}), (2, "two", 9093, "rack", UNKNOWN_TAG)],
                "cluster",
                1,
                [
                    (0, "t", 1 << 56, 2, False, PARTITIONS_V10, -(1 << 31), {}),
                    (3, "gone", 0, 0, False, [], -(1 << 31), {}),
                ],
                -(1 << 31),
                {},
            ]
        ),
        [
            BrokerRow(1, "one", 9092),
            BrokerRow(2, "two", 9093),
            TopicRow(0, "t", {0: 2, 1: -1}, "AQAAAAAAAAAAAAAAAAAAAg"),
            TopicRow(3, "gone", {}),
        ],
        id="Metadata-v10",
    ),
    pytest.param(
        OffsetCommit("g", "t", {0: Commit(5), 1: Commit(7, "mine")}),
        3,
        OffsetCommitResponse_v3(0, [("t", [(0, 0), (1, 25)])]).encode(),
        [CommitAnswer("t", 0, 0), CommitAnswer("t", 1, 25)],
        id="OffsetCommit-v3",
    ),
    pytest.param(
        OffsetCommit("g", "t", {0: Commit(5), 1: Commit(7, "mine")}),
        8,
        COMMIT_ANSWER_V8.encode([0, [("t", [(0, 0, {}), (1, 25, UNKNOWN_TAG)], {})], {}]),
        [CommitAnswer("t", 0, 0), CommitAnswer("t", 1, 25)],
        id="OffsetCommit-v8",
    ),
    pytest.param(
        Metadata(["t"]),
        5,
        MetadataResponse_v5(
            0,
            [(1, "one", 9092, None), (2, "two", 9093, "rack")],
            "cluster",
            1,
            [(0, "t", False, [(0, 0, 2, [1, 2], [2], []), (5, 1, -1, [1], [], [1])]), (3, "gone", False, [])],
        ).encode(),
        [
            BrokerRow(1, "one", 9092),
            BrokerRow(2, "two", 9093),
            TopicRow(0, "t", {0: 2, 1: -1}),
            TopicRow(3, "gone", {}),
        ],
        id="Metadata-v5",
    ),
    pytest.param(
        FindCoordinator("g"),
        1,
        FindCoordinatorResponse_v1(0, 15, "not yet", 3, "three", 9094).encode(),
        [CoordinatorRow(15, "g", BrokerRow(3, "three", 9094))],
        id="FindCoordinator-v1",
    ),
    pytest.param(
        FindCoordinators(["g", "h"]),
        4,
        COORDINATORS_V4.encode([0, [("g", 1, "one", 9092, 0, None, {}), ("h", -1, "", -1, 15, "no", {})], {}]),
        [CoordinatorRow(0, "g", BrokerRow(1, "one", 9092)), CoordinatorRow(15, "h", BrokerRow(-1, "", -1))],
        id="FindCoordinator-v4",
    ),
    pytest.param(
        ListOffsets({"t": [0, 1]}, -1),
        3,
        OffsetResponse_v3(0, [("t", [(0, 0, -1, 1 << 40), (1, 6, -1, -1)])]).encode(),
        [OffsetRow("t", 0, 0, 1 << 40), OffsetRow("t", 1, 6, -1)],
        id="ListOffsets-v3",
    ),
    pytest.param(
        OffsetFetch("g", {"t": [0, 1]}),
        3,
        OffsetFetchResponse_v3(0, [("t", [(0, 7, "", 0), (1, -1, None, 29)])], 0).encode(),
        [CommitRow("g", "t", 0, 0, 7), CommitRow("g", "t", 1, 29, -1), GroupErrorRow("g", 0)],
        id="OffsetFetch-v3",
    ),
    pytest.param(
        OffsetFetchGroups({"g": {"t": [0]}, "h": {}}),
        8,
        FETCH_V8.encode([0, [("g", [("t", [(0, 7, 1, "m", 0, {})], {})], 0, {}), ("h", [], 16, UNKNOWN_TAG)], {}]),
        [CommitRow("g", "t", 0, 0, 7, "m"), GroupErrorRow("g", 0), GroupErrorRow("h", 16)],
        id="OffsetFetch-v8",
    ),
    pytest.param(
        DescribeGroups(["g", "h"]),
        3,
        DescribeGroupsResponse_v3(
            0,
            [
                (0, "g", "Stable", "consumer", "range", [("m", "c", "h", SUBSCRIBED, ASSIGNED)] * 2, -1),
                (0, "h", "Empty", "", "", [], -1),
            ],
        ).encode(),
        [GroupRow(0, "g", "Stable", 2, None, frozenset("tuv")), GroupRow(0, "h", "Empty", 0)],
        id="DescribeGroups-v3",
    ),
    pytest.param(
        DescribeGroups(["g", "h"]),
        5,
        DESCRIBE_V5.encode(
            [
                0,
                [
                    (0, "g", "Stable", "consumer", "range", [("m", None, "c", "h", b"x" * 200, b"", {})] * 2, 0, {}),
                    (30, "h", "", "", "", [], 0, {}),
                ],
                {},
            ]
        ),
        [GroupRow(0, "g", "Stable", 2), GroupRow(30, "h", "", 0)],
        id="DescribeGroups-v5",
    ),
    pytest.param(
        ConsumerGroupDescribe(["g", "h"]),
        0,
        CONSUMER_DESCRIBE_V0.encode(
            [
                0,
                [
                    (0, None, "g", "Reconciling", 4, 3, "uniform", [MEMBER_V0, MEMBER_V0], 0, {}),
                    (69, "not found", "h", "", 0, 0, "", [], 0, {}),
                ],
                {},
            ]
        ),
        [GroupRow(0, "g", "Reconciling", 2), GroupRow(69, "h", "", 0)],
        id="ConsumerGroupDescribe-v0",
    ),
    pytest.param(
        ConsumerGroupDescribe(["g"]),
        0,
        CONSUMER_DESCRIBE_V0.encode(
            [0, [(0, None, "g", "Stable", 4, 4, "uniform", [MEMBER_V0, BY_PATTERN_V0], 0, {})], {}]
        ),
        [GroupRow(0, "g", "Stable", 2, None, frozenset("tuvw"))],
        id="topics-of-the-new-protocol",
    ),
    *(
        pytest.param(
            DescribeGroups(["g"]),
            3,
            DescribeGroupsResponse_v3(
                0, [(0, "g", state, kind, "range", [("m", "c", "h", *member) for member in members], -1)]
            ).encode(),
            [GroupRow(0, "g", state, len(members), None, topics)],
            id=f"topics-{id_}",
        )
        for id_, state, kind, members, topics in (
            ("of-one-without-an-assignment", "Stable", "consumer", [(SUBSCRIBED, b"")], frozenset("tu")),
            ("of-no-consumers", "Stable", "connect", [(SUBSCRIBED, ASSIGNED)], None),
            ("in-a-rebalance", "CompletingRebalance", "consumer", [(b"", b"")], None),
            ("in-a-form-of-its-own", "Stable", "consumer", [(SUBSCRIBED, ASSIGNED), (b"meta", b"")], None),
            ("cut-short", "Stable", "consumer", [(SUBSCRIBED[:-1], ASSIGNED)], None),
            ("of-a-length-that-lies", "Stable", "consumer", [(SUBSCRIBED, b"\0\0\x7f\xff\xff\xff")], None),
        )
    ),
]


@pytest.mark.parametrize(("request_", "version", "encoded", "rows"), ANSWERS)
def test_answers_are_read(request_: KafkaRequest[Iterable[Any]], version: int, encoded: bytes, rows: list[Any]) -> None:
    """Every field lands where it belongs, and nothing is left over."""
    answer = Reader(encoded, flexible=Frame(request_, version).flexible)

    assert list(request_.decode(answer, version)) == rows
    if not answer.flexible:
        assert answer.at == len(encoded)


@pytest.mark.parametrize(("request_", "version", "encoded", "rows"), ANSWERS)
def test_an_answer_that_ends_early_is_malformed(
    request_: KafkaRequest[Iterable[Any]], version: int, encoded: bytes, rows: list[Any]
) -> None:
    """However an answer is cut off, what is read of it is whole rows, or it is refused by one of the known errors."""
    for length in range(len(encoded)):
        answer = Reader(encoded[:length], flexible=Frame(request_, version).flexible)
        found: list[Any] = []
        with suppress(*MALFORMED):
            found.extend(request_.decode(answer, version))
        assert found == rows[: len(found)]


FETCH = Fetch(
    {"t": {0: 5, 1: 1 << 40}},
    max_wait_ms=1000,
    max_bytes=65536,
    partition_max_bytes=8192,
    read_committed=True,
    session_id=42,
    session_epoch=7,
    forgotten={"u": [2, 3]},
)
COMMIT_V8 = Schema(
    ("group", TEXT),
    ("generation", Int32),
    ("member", TEXT),
    ("instance", TEXT),
    (
        "topics",
        CompactArray(
            ("topic", TEXT),
            (
                "partitions",
                CompactArray(("partition", Int32), ("offset", Int64), ("epoch", Int32), ("metadata", TEXT), TAGS),
            ),
            TAGS,
        ),
    ),
    TAGS,
)
REQUESTS: list[Any] = [
    pytest.param(
        Metadata(["t", "u"]),
        10,
        Schema(
            ("topics", CompactArray(("high", Int64), ("low", Int64), ("name", TEXT), TAGS)),
            ("create", Boolean),
            ("cluster_operations", Boolean),
            ("topic_operations", Boolean),
            TAGS,
        ).encode([[(0, 0, "t", {}), (0, 0, "u", {})], False, False, False, {}]),
        id="Metadata-v10",
    ),
    pytest.param(
        OffsetCommit("g", "t", {0: Commit(5), 1: Commit(7, "mine")}),
        3,
        OffsetCommitRequest_v3("g", -1, "", -1, [("t", [(0, 5, ""), (1, 7, "mine")])]).encode(),
        id="OffsetCommit-v3",
    ),
    pytest.param(
        LastingOffsetCommit("g", "t", {0: Commit(5, "mine")}),
        3,
        OffsetCommitRequest_v3("g", -1, "", 365 * 24 * 3_600_000, [("t", [(0, 5, "mine")])]).encode(),
        id="OffsetCommit-v3-lasting",
    ),
    pytest.param(
        OffsetCommit("g", "t", {0: Commit(5), 1: Commit(7, "mine")}),
        8,
        COMMIT_V8.encode(["g", -1, "", None, [("t", [(0, 5, -1, "", {}), (1, 7, -1, "mine", {})], {})], {}]),
        id="OffsetCommit-v8",
    ),
    pytest.param(
        StableOffsetFetch({"g": {"t": [0, 1]}}),
        8,
        Schema(
            (
                "groups",
                CompactArray(
                    ("group", TEXT),
                    ("topics", CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)),
                    TAGS,
                ),
            ),
            ("stable", Boolean),
            TAGS,
        ).encode([[("g", [("t", [0, 1], {})], {})], True, {}]),
        id="OffsetFetch-v8-stable",
    ),
    pytest.param(
        OffsetFetch("g", None),
        3,
        b"\0\1g" + b"\xff\xff\xff\xff",  # null: all topics; aiokafka's class writes no null
        id="OffsetFetch-v3-everywhere",
    ),
    pytest.param(
        OffsetFetchGroups({"g": None}),
        8,
        b"\2" + b"\2g" + b"\0" + b"\0" + b"\0" + b"\0",  # one group, its name, null, tags, not stable, tags
        id="OffsetFetch-v8-everywhere",
    ),
    pytest.param(Metadata(["t", "u"]), 5, MetadataRequest_v5(["t", "u"], False).encode(), id="Metadata-v5"),
    pytest.param(FindCoordinator("g"), 1, FindCoordinatorRequest_v1("g", 0).encode(), id="FindCoordinator-v1"),
    pytest.param(
        FindCoordinators(["g", "h"]),
        4,
        Schema(("type", Int8), ("keys", CompactArray(TEXT)), TAGS).encode([0, ["g", "h"], {}]),
        id="FindCoordinator-v4",
    ),
    pytest.param(
        ListOffsets({"t": [0, 1]}, -2, read_committed=True),
        3,
        OffsetRequest_v3(-1, 1, [("t", [(0, -2), (1, -2)])]).encode(),
        id="ListOffsets-v3",
    ),
    pytest.param(
        OffsetFetch("g", {"t": [0, 1]}), 3, OffsetFetchRequest_v3("g", [("t", [0, 1])]).encode(), id="OffsetFetch-v3"
    ),
    pytest.param(
        OffsetFetchGroups({"g": {"t": [0, 1]}, "h": {}}),
        8,
        Schema(
            (
                "groups",
                CompactArray(
                    ("group", TEXT),
                    ("topics", CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)),
                    TAGS,
                ),
            ),
            ("stable", Boolean),
            TAGS,
        ).encode([[("g", [("t", [0, 1], {})], {}), ("h", [], {})], False, {}]),
        id="OffsetFetch-v8",
    ),
    pytest.param(
        DescribeGroups(["g"]),
        3,
        DescribeGroupsRequest_v3(["g"], False).encode(),
        id="DescribeGroups-v3",
    ),
    pytest.param(
        DescribeGroups(["g"]),
        5,
        Schema(("groups", CompactArray(TEXT)), ("operations", Boolean), TAGS).encode([["g"], False, {}]),
        id="DescribeGroups-v5",
    ),
    pytest.param(
        FETCH,
        7,
        FetchRequest_v7(
            -1, 1000, 1, 65536, 1, 42, 7, [("t", [(0, 5, -1, 8192), (1, 1 << 40, -1, 8192)])], [("u", [2, 3])]
        ).encode(),
        id="Fetch-v7",
    ),
    pytest.param(
        FETCH,
        11,
        FetchRequest_v11(
            -1,
            1000,
            1,
            65536,
            1,
            42,
            7,
            [("t", [(0, -1, 5, -1, 8192), (1, -1, 1 << 40, -1, 8192)])],
            [("u", [2, 3])],
            "",
        ).encode(),
        id="Fetch-v11",
    ),
]


@pytest.mark.parametrize(("request_", "version", "expected"), REQUESTS)
def test_requests_are_written(request_: KafkaRequest[Any], version: int, expected: bytes) -> None:
    """The bytes are those of the protocol."""
    assert Frame(request_, version).encode() == expected


@pytest.mark.parametrize("version", [7, 11])
def test_a_fetch_answer_is_read(version: int) -> None:
    """Errors, watermarks, aborted transactions and records of every partition."""
    answered = {7: FetchResponse_v7, 11: FetchResponse_v11}[version]
    replica = (-1,) if version == 11 else ()
    partitions = [(0, 0, 9, 8, 1, [(77, 3)], *replica, b"records"), (1, 6, -1, -1, -1, None, *replica, None)]
    encoded = answered(0, 0, 42, [("t", partitions)]).encode()

    fetched = FETCH.decode(Reader(encoded), version)

    assert (fetched.error, fetched.session_id) == (0, 42)
    assert list(fetched.partitions) == [
        FetchedPartition("t", 0, 0, 9, 8, [(77, 3)], b"records"),
        FetchedPartition("t", 1, 6, -1, -1, [], b""),
    ]


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 16_383, 16_384])
def test_compact_strings_of_any_length(length: int) -> None:
    """The length is a varint: its borders are where codecs break."""
    out = Writer(flexible=True)
    out.string("x" * length)

    assert out.getvalue() == TEXT.encode("x" * length)
    assert Reader(out.getvalue(), flexible=True).string() == "x" * length


def test_a_frame_bears_the_header_of_its_version() -> None:
    """Flexible versions end their header in tags, the others do not."""
    old = Frame(DescribeGroups(["g"]), 3).build_request_header(9, "me").encode()
    new = Frame(DescribeGroups(["g"]), 5).build_request_header(9, "me").encode()

    assert old == struct.pack(">hhih2s", 15, 3, 9, 2, b"me")
    assert new == struct.pack(">hhih2sB", 15, 5, 9, 2, b"me", 0)
