"""One broker: its connection, and one Produce request at a time with a batch of each lane that it leads.

Requests are not pipelined: while one is on its way the next batches grow, so that the rate of records does not depend
on the rate of requests, and order is kept without counting what is under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from activator.kafka.connection import open_connection
from gateway.producer.lane import Next
from gateway.producer.outcome import FAILURES
from gateway.producer.requests import Produce, produce_answers
from gateway.producer.verdicts import Action, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.kafka.connection import Address, BrokerConnection, SecurityOptions
    from gateway.producer.lane import Batch, Identity, Lane
    from gateway.producer.requests import PartitionAnswer

log = logging.getLogger(__name__)

ACKNOWLEDGE_MS: Final = 3000
"""How long the leader may wait for its replicas before it answers REQUEST_TIMED_OUT."""
_REQUEST_SECONDS: Final = 4.0
"""How long we wait for the answer: longer than the leader, so that its word comes first."""
_MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
_SENDERS_FAULT: Final = frozenset({Action.REFUSE, Action.SPLIT})
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Broker:
    """Sends what its lanes have.

    Args:
        address: where it listens.
        security: as `Control` takes it.
        client_id: as `Control` takes it.
        identity: the current identity, or None while there is none.
        after: told of each lane what it asks for next, and the error code's name where there was one.
    """

    def __init__(
        self,
        address: Address,
        security: Callable[[], SecurityOptions],
        client_id: str,
        *,
        identity: Callable[[], Identity | None],
        after: Callable[[Lane, Next, str | None], None],
    ) -> None:
        self.address = address
        self._security = security
        self._client_id = client_id
        self._identity = identity
        self._after = after
        self._ready: dict[Lane, None] = {}
        self._wake = asyncio.Event()
        self._connection: BrokerConnection | None = None
        self._asked_at: float | None = None

    def silent_for(self, now: float) -> float:
        """Return for how many seconds it has owed an answer, to a request or to being connected to."""
        return 0.0 if self._asked_at is None else now - self._asked_at

    def offer(self, lane: Lane) -> None:
        """Note that a lane has something for this broker."""
        self._ready[lane] = None
        self._wake.set()

    def withdraw_all(self) -> list[Lane]:
        """Take back what was offered: the broker is not one any more."""
        lanes = list(self._ready)
        self._ready.clear()
        return lanes

    async def run(self) -> None:
        """Send until cancelled."""
        pause = _FIRST_PAUSE
        try:
            while True:
                self._asked_at = None
                await self._wake.wait()
                self._wake.clear()
                self._asked_at = asyncio.get_running_loop().time()
                try:
                    connection = await self._connected()
                except FAILURES as error:
                    log.debug("broker %s: %s", self.address, error)
                    for lane in self.withdraw_all():
                        self._after(lane, Next.FIND_LEADER, "unreachable")
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                pause = _FIRST_PAUSE
                batches = self._gather()
                if batches:
                    await self._send(connection, batches)
        finally:
            self._drop()

    def _gather(self) -> dict[tuple[str, int], tuple[Lane, Batch]]:
        """Take a batch of each lane, as many as fit into one request; the others keep their turn."""
        batches: dict[tuple[str, int], tuple[Lane, Batch]] = {}
        size = 0
        for lane in list(self._ready):
            if size >= _MAX_REQUEST_BYTES:
                self._wake.set()
                break
            del self._ready[lane]
            batch = lane.next_batch(self._identity())
            if batch is not None:
                batches[lane.topic, lane.partition] = (lane, batch)
                size += len(batch.data)
            elif lane.has_work and not lane.busy:
                self._after(lane, Next.WAIT, "no producer id")
        return batches

    async def _send(self, connection: BrokerConnection, batches: dict[tuple[str, int], tuple[Lane, Batch]]) -> None:
        by_topic: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for (topic, partition), (_, batch) in batches.items():
            by_topic[topic].append((partition, batch.data))
        try:
            response = await connection.send(Produce(by_topic, ACKNOWLEDGE_MS), seconds=_REQUEST_SECONDS)
        except asyncio.CancelledError:
            self._lose(batches)
            raise
        except FAILURES as error:
            log.warning("no answer to a Produce of %d batches: %s; they are sent again", len(batches), error)
            self._drop()
            self._lose(batches)
            return
        for answer in produce_answers(response):
            answered = batches.pop((answer.topic, answer.partition), None)
            if answered is not None:
                self._take(answered[0], answer)
        self._lose(batches)  # those that the answer does not name at all

    def _lose(self, batches: dict[tuple[str, int], tuple[Lane, Batch]]) -> None:
        for lane, _ in batches.values():
            lane.lost()
            self._after(lane, Next.FIND_LEADER, "unanswered")

    def _take(self, lane: Lane, answer: PartitionAnswer) -> None:
        found = verdict(answer.code)
        asks = lane.answered(found, answer.base_offset, answer.culprits, answer.message)
        if found is not None and found.action is Action.ACKNOWLEDGE:
            self._after(lane, asks, None)
            return
        name = found.name if found is not None else f"error code {answer.code}"
        # What is wrong with a record is its sender's to know, and told in the answer.
        level = logging.DEBUG if found is not None and found.action in _SENDERS_FAULT else logging.WARNING
        log.log(level, "%s-%d: %s from broker %s", lane.topic, lane.partition, name, self.address)
        self._after(lane, asks, name)

    async def _connected(self) -> BrokerConnection:
        if self._connection is None or not self._connection.is_open():
            self._drop()
            self._connection = await open_connection(self.address, self._security(), client_id=self._client_id)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
