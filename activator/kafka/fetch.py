"""The Fetch request, alone or within a fetch session (KIP-227)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from activator.kafka.wire import KafkaRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from activator.kafka.wire import Reader, Writer

NO_SESSION = 0
FINAL_EPOCH = -1
"""With `NO_SESSION`: a fetch that opens no session."""
INITIAL_EPOCH = 0
"""With `NO_SESSION`: a full fetch that asks for a session."""

_CONSUMER = -1  # replica id
_UNKNOWN = -1  # log start of a replica; leader epoch
_LEADER_EPOCH_SINCE = 9
_RACK_SINCE = 11

_PARTITION_V7 = struct.Struct(">iqqi")
_PARTITION_V9 = struct.Struct(">iiqqi")
_ANSWERED = struct.Struct(">ihqqq")
_ABORTED = struct.Struct(">qq")


class FetchedPartition(NamedTuple):
    """What a broker answers of one partition."""

    topic: str
    partition: int
    error: int
    high_watermark: int
    last_stable_offset: int
    aborted: Sequence[tuple[int, int]]
    """Producer id and first offset of aborted transactions in `records`; only with read_committed."""
    records: bytes


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to one fetch; within a session only partitions that have something new."""

    error: int
    session_id: int
    partitions: Iterator[FetchedPartition]
    """Decoded as it is walked, which may raise one of `wire.MALFORMED`."""


@dataclass(frozen=True, slots=True)
class Fetch(KafkaRequest[Fetched]):
    """Records from some offsets on. v7 brought sessions, v9 leader epochs, v10 zstd, v11 racks.

    The first batch is answered whole, however large.
    """

    API_KEY: ClassVar = 1
    VERSIONS: ClassVar = (7, 8, 9, 10, 11)
    FLEXIBLE_FROM: ClassVar = 12

    offsets: Mapping[str, Mapping[int, int]]
    """Offset by partition, by topic: all of them, or within a session those that are new or changed."""
    max_wait_ms: int
    max_bytes: int
    partition_max_bytes: int
    read_committed: bool = False
    session_id: int = NO_SESSION
    session_epoch: int = FINAL_EPOCH
    forgotten: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def encode(self, out: Writer, version: int) -> None:
        """Write the body."""
        out.int32(_CONSUMER)
        out.int32(self.max_wait_ms)
        out.int32(1)  # min bytes: anything at all ends the wait
        out.int32(self.max_bytes)
        out.int8(self.read_committed)
        out.int32(self.session_id)
        out.int32(self.session_epoch)
        out.array(len(self.offsets))
        for topic, partitions in self.offsets.items():
            out.string(topic)
            out.array(len(partitions))
            for number, offset in partitions.items():
                if version >= _LEADER_EPOCH_SINCE:
                    out.raw(_PARTITION_V9.pack(number, _UNKNOWN, offset, _UNKNOWN, self.partition_max_bytes))
                else:
                    out.raw(_PARTITION_V7.pack(number, offset, _UNKNOWN, self.partition_max_bytes))
        out.array(len(self.forgotten))
        for topic, numbers in self.forgotten.items():
            out.string(topic)
            out.int32_array(numbers)
        if version >= _RACK_SINCE:
            out.string("")

    def decode(self, answer: Reader, version: int) -> Fetched:
        """Read what holds for the whole answer, and leave the partitions to be walked."""
        answer.int32()  # throttle time
        return Fetched(answer.int16(), answer.int32(), _partitions(answer, version))


def _partitions(answer: Reader, version: int) -> Iterator[FetchedPartition]:
    for _ in range(answer.array()):
        topic = answer.string()
        for _ in range(answer.array()):
            number, code, high_watermark, last_stable, _ = answer.unpack(_ANSWERED)
            aborted = [
                (producer, first) for producer, first in (answer.unpack(_ABORTED) for _ in range(answer.array()))
            ]
            if version >= _RACK_SINCE:
                answer.int32()  # preferred read replica
            yield FetchedPartition(topic, number, code, high_watermark, last_stable, aborted, answer.blob())
