"""What the embedded broker must know about the inside of a record batch, read by aiokafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterable


class AiokafkaRecordFormat:
    """`batch.RecordFormat` with every codec that aiokafka has."""

    def crc32c(self, data: memoryview) -> int:
        """The Castagnoli checksum of these bytes."""
        return calc_crc32c(data)  # type: ignore[arg-type]  # any buffer will do

    def timestamps(self, batch: bytes) -> Iterable[tuple[int, int]]:
        """(offset, timestamp in milliseconds) of each record of the batch, in order."""
        for record in DefaultRecordBatch(batch):
            yield record.offset, record.timestamp
