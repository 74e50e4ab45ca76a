"""The consumer that the demo runs: reads orders, takes its time over each, commits what is done, leaves in good order.

It is written as any consumer should be that is scaled up and down: SIGTERM finishes the record in hand, commits and
leaves the group, and a rebalance commits before the partition goes to somebody else. So nothing is lost, and in the
ordinary case nothing is done twice.

Environment: KAFKA_BOOTSTRAP_SERVERS, KAFKA_TOPIC, KAFKA_GROUP_ID, WORK_MILLISECONDS (of each record; 40), POD_NAME.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

BATCH_RECORDS = 10
POLL_MILLISECONDS = 200
DONE = "done"
"""First word of the line that tells of a finished record: ``done pizzaOrders 3 41 margherita``."""


class Oven(ConsumerRebalanceListener):
    """Works on records one after the other and keeps the offsets that may be committed."""

    def __init__(self, consumer: Any, work_seconds: float) -> None:
        self._consumer = consumer
        self._work_seconds = work_seconds
        self._done: dict[Any, int] = {}
        self._in_hand = asyncio.Lock()
        self._assignment = 0

    async def on_partitions_revoked(self, _revoked: Collection[Any]) -> None:
        """Finish the record in hand and commit, before the partitions go to somebody else."""
        async with self._in_hand:
            self._assignment += 1
            await self.commit()

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Say what there is to do."""
        numbers = " ".join(str(part.partition) for part in sorted(assigned)) or "none"
        say(f"assigned partitions: {numbers}")

    async def work_off(self, batches: Mapping[Any, list[Any]], stopping: asyncio.Event) -> None:
        """Work on what one poll gave until it is done, the assignment changes, or the process is told to end.

        Of several partitions none is begun after a rebalance: they may be somebody else's by then.
        """
        assignment = self._assignment
        for record in itertools.chain.from_iterable(batches.values()):
            async with self._in_hand:
                if assignment != self._assignment or stopping.is_set():
                    return
                await asyncio.sleep(self._work_seconds)
                self._done[record.partition] = record.offset + 1
                say(f"{DONE} {record.topic} {record.partition} {record.offset} {(record.value or b'').decode()}")

    async def commit(self) -> None:
        """Commit what is done of the partitions that are still ours."""
        ours = {
            part: self._done[part.partition] for part in self._consumer.assignment() if part.partition in self._done
        }
        self._done.clear()
        if ours:
            try:
                await self._consumer.commit(ours)
            except KafkaError as error:  # the group has moved on: somebody else will do these again
                say(f"commit refused: {error}")


def say(line: str) -> None:
    """Write one line."""
    print(line, flush=True)  # noqa: T201 - a consumer's log is its standard output


async def main() -> None:
    """Consume until SIGTERM."""
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it warns of every rebalance
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    name = os.environ.get("POD_NAME", "consumer")
    consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id=os.environ["KAFKA_GROUP_ID"],
        client_id=name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        heartbeat_interval_ms=500,  # it is in the answer to a heartbeat that a member learns of a rebalance
        fetch_max_wait_ms=POLL_MILLISECONDS,
    )
    oven = Oven(consumer, int(os.environ.get("WORK_MILLISECONDS", "40")) / 1000)
    consumer.subscribe([os.environ["KAFKA_TOPIC"]], listener=oven)
    try:
        await consumer.start()
        while not stopping.is_set():
            batches = await consumer.getmany(timeout_ms=POLL_MILLISECONDS, max_records=BATCH_RECORDS)
            await oven.work_off(batches, stopping)
            await oven.commit()
    finally:
        await consumer.stop()
    say("left the group")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (KafkaError, KeyError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
