"""The door to Kafka: picks partitions, keeps deadlines, and joins lanes, brokers and control."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from aiokafka.record.default_records import DefaultRecordBatch

from gateway.producer.broker import Broker
from gateway.producer.control import Control
from gateway.producer.lane import Lane, Next
from gateway.producer.outcome import Failure, Reason
from gateway.producer.partitioner import partition_of
from gateway.producer.shipment import Pending, Shipment
from gateway.producer.view import NO_LEADER, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.kafka.connection import Address, SecurityOptions
    from gateway.cloudevents.kafka import Record
    from gateway.producer.lane import Batch, Identity
    from gateway.producer.outcome import Outcome

log = logging.getLogger(__name__)

COMPRESSIONS: Final = {
    "none": DefaultRecordBatch.CODEC_NONE,
    "gzip": DefaultRecordBatch.CODEC_GZIP,
    "snappy": DefaultRecordBatch.CODEC_SNAPPY,
    "lz4": DefaultRecordBatch.CODEC_LZ4,
    "zstd": DefaultRecordBatch.CODEC_ZSTD,
}
MAX_BATCH_BYTES: Final = 1024 * 1024
"""Kafka's own default of max.message.bytes, less the twelve bytes it adds."""
_DOWN_SECONDS: Final = 5.0
"""Once Kafka has been unreachable for so long, records are answered at once instead of at their deadlines."""
_SEALED_SECONDS: Final = 60.0
"""How long a batch of unknown fate is repeated after the last who waited for it was answered."""
_SWEEP_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.1
_STALLED_SECONDS: Final = 0.5
"""A broker that has not answered for so long gets no more records that could go elsewhere."""


class Observer(Protocol):
    """Is told what metrics want to know."""

    def batch_retried(self, reason: str) -> None:
        """A batch was not taken at once, for this reason."""

    def identity_renewed(self, reason: str) -> None:
        """A partition had to go on under a new producer id."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a cluster and how to write to it."""

    bootstrap: tuple[Address, ...]
    security: Callable[[], SecurityOptions]
    client_id: str = "wakegate-gateway"
    compression: str = "none"
    max_batch_bytes: int = MAX_BATCH_BYTES


class Producer:
    """Delivers records while `run` runs."""

    def __init__(self, options: Options, observer: Observer) -> None:
        self._options = options
        self._observer = observer
        self._control = Control(options.bootstrap, options.security, options.client_id, self._changed)
        self._brokers: dict[tuple[int, bool], Broker] = {}
        self._broker_tasks: dict[tuple[int, bool], asyncio.Task[None]] = {}
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._stuck: set[Lane] = set()
        self._favourites: dict[str, int] = {}
        self._news: asyncio.Future[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._ended = False

    async def run(self) -> None:
        """Work until cancelled; then answer what still waits and close all connections.

        Whoever wants Kafka's answers first lets `deliver` return before cancelling.
        """
        try:
            async with self._tasks as tasks:
                tasks.create_task(self._control.run(), name="Kafka control")
                tasks.create_task(self._sweep(), name="Kafka sweep")
        finally:
            self._ended = True
            for lane in self._lanes.values():
                lane.fail_queue(Failure(Reason.UNAVAILABLE, "the gateway is shutting down"))
                lane.abandon("the gateway shut down before Kafka answered")

    def problem(self) -> str | None:
        """Say why nothing can be delivered just now; None: Kafka answers."""
        return self._control.problem

    async def deliver(
        self, topic: str, records: Sequence[Record], *, seconds: float, released: Callable[[], None]
    ) -> list[Outcome]:
        """Deliver records to a topic and return what became of each, in their order.

        Records with the same key, or with none but the same call, keep their order within their partition. Cancelled,
        it drops what was not sent yet.

        Args:
            topic: must exist; it is not created.
            records: at least one.
            seconds: after which every record has an outcome.
            released: called exactly once, when the last of the records has left memory.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        found: Topic | Failure | None = None
        try:
            found = await self._topic(topic, deadline)
        finally:
            if not isinstance(found, Topic):
                released()
        if isinstance(found, Failure):
            return [found] * len(records)
        answered: asyncio.Future[None] = loop.create_future()
        shipment = Shipment(len(records), partial(_set, answered), released)
        pendings = [Pending(record, shipment, index) for index, record in enumerate(records)]
        self._enqueue(topic, found, pendings)
        timer = loop.call_at(deadline, _expire_late, pendings, seconds)
        try:
            await answered
        except asyncio.CancelledError:
            _expire(pendings, "the client has gone")
            raise
        finally:
            timer.cancel()
        return cast("list[Outcome]", shipment.outcomes)

    async def _topic(self, topic: str, deadline: float) -> Topic | Failure:
        control, loop = self._control, asyncio.get_running_loop()
        while True:
            now = loop.time()
            if control.down_since is not None and now - control.down_since > _DOWN_SECONDS:
                return Failure(Reason.UNAVAILABLE, str(control.problem))
            found = control.view.find(topic, now)
            if found is not None:
                return found
            control.want_topic(topic)
            if self._news is None:
                self._news = loop.create_future()
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.shield(self._news)
            except TimeoutError:
                return Failure(Reason.UNAVAILABLE, control.problem or f"Kafka did not say in time where {topic} is")

    def _enqueue(self, topic: str, found: Topic, pendings: list[Pending]) -> None:
        """Put records into lanes; those without a key go together, to a partition that is not stuck."""
        favourite = -1
        by_partition: dict[int, list[Pending]] = {}
        for pending in pendings:
            key = pending.record.key if pending.record is not None else None
            if key is not None:
                partition = partition_of(key, len(found.leaders))
            else:
                favourite = favourite if favourite >= 0 else self._favourite(topic, found)
                partition = favourite
            by_partition.setdefault(partition, []).append(pending)
        lanes = [self._lane(topic, partition) for partition in by_partition]
        for lane, together in zip(lanes, by_partition.values(), strict=True):
            lane.append(together)
        for lane in lanes:
            self._dispatch(lane)

    def _favourite(self, topic: str, found: Topic) -> int:
        """Pick a partition for records without a key, and stay with it until its batch is cut: larger batches."""
        now = asyncio.get_running_loop().time()
        favourite = self._favourites.get(topic, -1)
        lane = self._lanes.get((topic, favourite))
        if lane is not None and lane.queue and self._is_healthy(topic, favourite, found, now):
            return favourite
        partitions = range(len(found.leaders))
        favourite = random.choice(partitions)  # noqa: S311 - nothing to guess
        if not self._is_healthy(topic, favourite, found, now):
            healthy = [partition for partition in partitions if self._is_healthy(topic, partition, found, now)]
            favourite = random.choice(healthy or partitions)  # noqa: S311 - nothing to guess
        self._favourites[topic] = favourite
        return favourite

    def _is_healthy(self, topic: str, partition: int, found: Topic, now: float) -> bool:
        """Whether a record would be sent at once: its leader is known and answers, and nothing is stuck before it."""
        if partition >= len(found.leaders) or found.leaders[partition] == NO_LEADER:
            return False
        lane = self._lanes.get((topic, partition))
        broker = self._brokers.get((found.leaders[partition], False))
        stalled = broker is not None and broker.silent_for(now) > _STALLED_SECONDS
        return not stalled and (lane is None or (lane not in self._stuck and not lane.blocked))

    def _lane(self, topic: str, partition: int) -> Lane:
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = Lane(
                topic,
                partition,
                max_batch_bytes=self._options.max_batch_bytes,
                compression=COMPRESSIONS[self._options.compression],
            )
        return lane

    def _dispatch(self, lane: Lane) -> None:
        """Offer a lane with work to its leader, or wait for the metadata that names one."""
        if self._ended or lane.busy or not lane.has_work:
            return
        leader = self._control.view.leader(lane.topic, lane.partition)
        if leader is None:
            self._stuck.add(lane)
            self._control.want_topic(lane.topic)
        elif leader not in self._control.view.brokers:
            self._stuck.add(lane)
            self._control.want_refresh()
        elif (lane.identity or self._control.identity) is None:
            self._wait_for_identity(lane)
        else:
            self._broker(leader, apart=lane.blocked).offer(lane)

    def _wait_for_identity(self, lane: Lane) -> None:
        """Have the lane tried again with the next answer; after a while its records are answered at once."""
        self._stuck.add(lane)
        lacking = self._control.without_identity
        if lacking is not None and asyncio.get_running_loop().time() - lacking.since > _DOWN_SECONDS:
            lane.fail_queue(Failure(Reason.UNAVAILABLE, lacking.why))

    def _broker(self, node_id: int, *, apart: bool) -> Broker:
        """Return a broker to send by; `apart`: over a connection for batches that went unanswered or unreplicated.

        Kafka answers a request once all its partitions are replicated: over one connection a single partition that is
        short of replicas would hold up all others of its broker at each attempt.
        """
        address = self._control.view.brokers[node_id]
        broker = self._brokers.get((node_id, apart))
        if broker is None or broker.address != address:
            self._retire(node_id, apart=apart)
            options = self._options
            broker = Broker(address, options.security, options.client_id, identity=self._identity, after=self._after)
            self._brokers[node_id, apart] = broker
            task = self._tasks.create_task(broker.run(), name=f"Kafka broker {address}")
            self._broker_tasks[node_id, apart] = task
        return broker

    def _retire(self, node_id: int, *, apart: bool) -> None:
        """End a broker that moved; what was under way with it is of unknown fate."""
        broker = self._brokers.pop((node_id, apart), None)
        if broker is not None:
            self._broker_tasks.pop((node_id, apart)).cancel()
            self._stuck.update(broker.withdraw_all())

    def _identity(self) -> Identity | None:
        return self._control.identity

    def _after(self, lane: Lane, asks: Next, why: str | None) -> None:
        """Do what a lane asks for after an answer, or after the lack of one."""
        if why is None:
            self._stuck.discard(lane)
        else:
            self._observer.batch_retried(why)
        match asks:
            case Next.SEND:
                self._dispatch(lane)
            case Next.WAIT:
                self._stuck.add(lane)
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._dispatch, lane)
            case Next.FIND_LEADER:
                self._stuck.add(lane)
                self._control.want_refresh()
            case Next.RENEW:
                self._renew(lane, why or "")

    def _renew(self, lane: Lane, why: str) -> None:
        """Send a lane on under another identity than the one it has spent."""
        log.warning("%s-%d goes on under a new producer id: %s", lane.topic, lane.partition, why)
        self._observer.identity_renewed(why)
        self._stuck.add(lane)
        if lane.spent is not None:
            self._control.renounce(lane.spent)
        self._dispatch(lane)

    def _give_up(self, lane: Lane, failure: Failure) -> None:
        """Answer all of a lane whose partition there is no more, as far as is known; it may come back."""
        lane.fail_queue(failure)
        if lane.batch is not None:
            lane.abandon(failure.detail)
            self._renew(lane, "abandoned")
        self._stuck.discard(lane)

    def _changed(self) -> None:
        """Use fresh metadata: wake who waits for a topic, and send lanes on their way again."""
        if self._news is not None:
            self._news.set_result(None)
            self._news = None
        stuck, self._stuck = self._stuck, set()
        for lane in stuck:
            self._resettle(lane)

    def _resettle(self, lane: Lane) -> None:
        view = self._control.view
        found = view.find(lane.topic, asyncio.get_running_loop().time())
        if isinstance(found, Failure):
            self._give_up(lane, found)
        elif found is not None and lane.partition >= len(found.leaders):
            self._give_up(lane, Failure(Reason.UNAVAILABLE, f"topic {lane.topic} has fewer partitions than it had"))
        elif view.leader(lane.topic, lane.partition) == NO_LEADER:
            self._stuck.add(lane)
            self._control.want_refresh()
        else:
            self._dispatch(lane)

    async def _sweep(self) -> None:
        """Let go of sealed batches that nobody has waited for in a long time: memory is bounded in time too."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for lane in self._lanes.values():
                if lane.batch is not None and lane.batch.sealed and not lane.batch.awaited:
                    self._let_go_in_time(lane, lane.batch, loop.time())

    def _let_go_in_time(self, lane: Lane, batch: Batch, now: float) -> None:
        if batch.forgotten_at is None:
            batch.forgotten_at = now
        if now - batch.forgotten_at < _SEALED_SECONDS:
            return
        log.warning(
            "%s-%d: gave up a batch of %d records after %g s without a word from Kafka; whether they are written is "
            "not known",
            lane.topic,
            lane.partition,
            len(batch.pendings),
            _SEALED_SECONDS,
        )
        lane.abandon("no word from Kafka")
        self._renew(lane, "abandoned")


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():  # cancelled, where the client has gone
        future.set_result(None)


def _expire_late(pendings: Sequence[Pending], seconds: float) -> None:
    _expire(pendings, f"Kafka did not acknowledge it within {seconds:g} s")


def _expire(pendings: Sequence[Pending], detail: str) -> None:
    for pending in pendings:
        pending.expire(detail)
