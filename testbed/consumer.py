"""A sample Kafka consumer that writes down everything it does, so that tests can prove what was read how often.

Environment: BOOTSTRAP_SERVERS, TOPIC, GROUP, LEDGER (file to append to), POD_NAME; optional AUTO_OFFSET_RESET
(`earliest`), WORK_MS (0, time spent on each record), COMMIT_MS (200, at most one commit in this time), GROUP_PROTOCOL
(`classic`; `consumer` is KIP-848's, see `testbed.consumer_848`).
It commits what it has processed, never more; on SIGTERM it finishes the record in hand, commits and leaves the group.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from testbed.consumer_settings import ConsumerSettings
from testbed.ledger import LedgerWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import ConsumerRecord

log = logging.getLogger(__name__)

POLL_MILLISECONDS = 200
BATCH_RECORDS = 100
START_RETRY_SECONDS = 0.5


class RecordingConsumer(ConsumerRebalanceListener):
    """A member of a classic consumer group."""

    def __init__(self, settings: ConsumerSettings, ledger: LedgerWriter) -> None:
        self._settings = settings
        self._ledger = ledger
        self._stopping = asyncio.Event()
        self._processed: dict[TopicPartition, int] = {}
        self._generation = 0
        self._last_commit = 0.0
        self._consumer: Any  # aiokafka's methods have no annotations: narrowed where values enter

    def stop(self) -> None:
        """Finish the record in hand, commit, leave."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until `stop`."""
        if not await self._join():
            return
        self._ledger.write("started")
        try:
            while not self._stopping.is_set():
                batches = await self._consumer.getmany(timeout_ms=POLL_MILLISECONDS, max_records=BATCH_RECORDS)
                await self._process(batches.values())
                await self._commit_if_due()
            await self._commit()
        finally:
            await self._consumer.stop()
            self._ledger.write("stopped")

    async def _join(self) -> bool:
        """Start the client, again and again while Kafka is away; False if stopped meanwhile."""
        while not self._stopping.is_set():
            self._consumer = AIOKafkaConsumer(  # type: ignore[no-untyped-call]
                bootstrap_servers=self._settings.bootstrap_servers,
                group_id=self._settings.group,
                client_id=self._settings.pod,
                auto_offset_reset=self._settings.auto_offset_reset,
                enable_auto_commit=False,
                session_timeout_ms=6_000,
                heartbeat_interval_ms=1_000,
            )
            self._consumer.subscribe([self._settings.topic], listener=self)
            try:
                await self._consumer.start()
            except KafkaError as error:
                log.warning("Kafka is not there: %s", error)
                await self._consumer.stop()
                await asyncio.sleep(START_RETRY_SECONDS)
            else:
                return True
        return False

    async def _process(self, batches: Iterable[list[ConsumerRecord[bytes, bytes]]]) -> None:
        """Work on records until all are done, a stop, or a rebalance: then the rest is no longer ours."""
        generation = self._generation
        for batch in batches:
            for record in batch:
                if self._stopping.is_set() or self._generation != generation:
                    return
                if self._settings.work_seconds:
                    await asyncio.sleep(self._settings.work_seconds)
                    if self._generation != generation:
                        return
                key = record.key.decode(errors="replace") if record.key else None
                self._ledger.write("record", partition=record.partition, offset=record.offset, key=key)
                self._processed[_partition_of(record)] = record.offset + 1
                await self._commit_if_due()

    async def _commit_if_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._last_commit >= self._settings.commit_seconds:
            await self._commit()

    async def _commit(self) -> None:
        """Commit what was processed since the last time; what fails is tried again with the next one."""
        self._last_commit = asyncio.get_running_loop().time()
        if not self._processed:
            return
        offsets = self._processed
        self._processed = {}
        try:
            await self._consumer.commit(offsets)
        except KafkaError as error:
            log.warning("commit failed: %r", error)
            self._processed = {**offsets, **self._processed}
            return
        for partition, offset in offsets.items():
            self._ledger.write("committed", partition=partition.partition, offset=offset)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Commit while the partitions are still ours, and drop what was fetched from them."""
        self._generation += 1
        await self._commit()
        self._processed = {}
        for partition in revoked:
            self._ledger.write("revoked", partition=partition.partition)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note what is ours from here on."""
        self._generation += 1
        for partition in assigned:
            self._ledger.write("assigned", partition=partition.partition)


def _partition_of(record: ConsumerRecord[bytes, bytes]) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


async def _run(settings: ConsumerSettings) -> None:
    ledger = LedgerWriter(settings.ledger, settings.pod)
    consumer = RecordingConsumer(settings, ledger)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, consumer.stop)
    try:
        await consumer.run()
    finally:
        ledger.close()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = ConsumerSettings.from_environment(os.environ)
    if settings.group_protocol == "consumer":
        from testbed.consumer_848 import run  # noqa: PLC0415 - librdkafka is loaded where it is used

        run(settings)
    else:
        asyncio.run(_run(settings))


if __name__ == "__main__":
    main()
