"""The sample consumer on the new group protocol (KIP-848), over librdkafka: aiokafka does not speak it.

It writes the same ledger, commits what it has processed and never more, and finishes the record in hand on SIGTERM.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

from testbed.ledger import LedgerWriter

if TYPE_CHECKING:
    from confluent_kafka import Message

    from testbed.consumer_settings import ConsumerSettings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


class RecordingConsumer848:
    """A member of a consumer group that the broker assigns."""

    def __init__(self, settings: ConsumerSettings, ledger: LedgerWriter, stopping: threading.Event) -> None:
        self._settings = settings
        self._ledger = ledger
        self._stopping = stopping
        self._processed: dict[int, int] = {}
        self._last_commit = 0.0
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "group.id": settings.group,
                "group.protocol": "consumer",
                "client.id": settings.pod,
                "auto.offset.reset": settings.auto_offset_reset,
                "enable.auto.commit": False,
            }
        )

    def run(self) -> None:
        """Consume until told to stop."""
        self._consumer.subscribe([self._settings.topic], on_assign=self._assigned, on_revoke=self._revoked)
        self._ledger.write("started")
        try:
            while not self._stopping.is_set():
                message = self._consumer.poll(POLL_SECONDS)
                if message is not None and message.error() is None:
                    self._process(message)
                if time.monotonic() - self._last_commit >= self._settings.commit_seconds:
                    self._commit()
            self._commit()
        finally:
            self._consumer.close()
            self._ledger.write("stopped")

    def _process(self, message: Message) -> None:
        partition, offset, key = message.partition(), message.offset(), message.key()
        if partition is None or offset is None:
            return
        time.sleep(self._settings.work_seconds)
        text = key.decode(errors="replace") if isinstance(key, bytes) else None
        self._ledger.write("record", partition=partition, offset=offset, key=text)
        self._processed[partition] = offset + 1

    def _commit(self) -> None:
        """Commit what was processed since the last time; what fails is tried again with the next one."""
        self._last_commit = time.monotonic()
        if not self._processed:
            return
        offsets = [TopicPartition(self._settings.topic, partition, at) for partition, at in self._processed.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            log.warning("commit failed: %r", error)
            return
        self._processed = {}
        for place in offsets:
            self._ledger.write("committed", partition=place.partition, offset=place.offset)

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            self._ledger.write("assigned", partition=place.partition)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit()
        for place in partitions:
            self._ledger.write("revoked", partition=place.partition)


def run(settings: ConsumerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    ledger = LedgerWriter(settings.ledger, settings.pod)
    try:
        RecordingConsumer848(settings, ledger, stopping).run()
    finally:
        ledger.close()
