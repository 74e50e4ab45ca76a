"""The demo's own consumer: what it does when the group changes under it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from activator.local.sample_consumer import Oven

if TYPE_CHECKING:
    import pytest


class Partition(NamedTuple):
    """As aiokafka names one."""

    topic: str
    partition: int


class Record(NamedTuple):
    """As much of one as the consumer looks at."""

    topic: str
    partition: int
    offset: int
    value: bytes = b"margherita"


@dataclass
class FakeConsumer:
    """Has partitions and notes what is committed."""

    partitions: set[Partition]
    commits: list[dict[Partition, int]] = field(default_factory=list)

    def assignment(self) -> set[Partition]:
        """Return what it has."""
        return self.partitions

    async def commit(self, offsets: dict[Partition, int]) -> None:
        """Take a commit."""
        self.commits.append(offsets)


async def test_after_a_rebalance_nothing_of_the_last_poll_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    """The record in hand is finished and committed; the rest, also of other partitions, may be somebody else's."""
    first, second = Partition("orders", 0), Partition("orders", 1)
    consumer = FakeConsumer({first, second})
    oven = Oven(consumer, work_seconds=0.0)
    batches = {first: [Record("orders", 0, 7), Record("orders", 0, 8)], second: [Record("orders", 1, 3)]}
    work = asyncio.create_task(oven.work_off(batches, asyncio.Event()))
    await asyncio.sleep(0)  # it has the first one in hand
    await oven.on_partitions_revoked(consumer.partitions)
    await work
    assert capsys.readouterr().out.splitlines() == ["done orders 0 7 margherita"]
    assert consumer.commits == [{first: 8}]
