"""One partition's way into Kafka: what waits, the batch under way, and the sequence number that is next. Pure.

At most one batch is under way, so that order holds without counting requests. It is one of two things:

- *open*: whether it was written is decided by the answer to the one attempt that was made. Refused, its records go
  back to the front of the queue and its sequence numbers are free again.
- *sealed*: an attempt went unanswered, or was answered by who is not the leader any more, so it may be written already.
  It is repeated as it is, under the same sequence numbers, until Kafka says that it has it; nothing overtakes it. Its
  records may have been answered "unknown" long before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from gateway.producer.outcome import Failure, Reason, Receipt
from gateway.producer.verdicts import Action, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.producer.shipment import Pending

_MAGIC: Final = 2
_SEQUENCES: Final = 2**31
_DUPLICATE_OFFSET: Final = -1


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are to Kafka's duplicate detection (KIP-98)."""

    producer_id: int
    epoch: int


class Batch:
    """Records in one record batch, as bytes with their sequence numbers."""

    __slots__ = ("base_sequence", "data", "forgotten_at", "identity", "pendings", "sealed")

    def __init__(self, pendings: list[Pending], data: bytes, identity: Identity, base_sequence: int) -> None:
        self.pendings = pendings
        self.data = data
        self.identity = identity
        self.base_sequence = base_sequence
        self.sealed = False
        self.forgotten_at: float | None = None
        """When nobody was seen to wait for it any more, in seconds of the monotonic clock; None: not yet."""

    @property
    def awaited(self) -> bool:
        """Whether anyone still waits for what becomes of it."""
        return any(pending.shipment.outcomes[pending.index] is None for pending in self.pendings)


class Next(Enum):
    """What a lane asks for after an answer."""

    SEND = "send"
    """It may send again at once, if it has something."""
    WAIT = "wait"
    """It should wait a moment first."""
    FIND_LEADER = "find leader"
    """It needs the metadata read again."""
    RENEW = "renew"
    """It needs an identity other than the one it used."""


_MAYBE_WRITTEN: Final = {Action.RETRY_WRITTEN: Next.WAIT, Action.RETRY_ELSEWHERE: Next.FIND_LEADER}
"""What to do after answers that leave open whether the batch was appended."""


class Lane:
    """One partition."""

    def __init__(self, topic: str, partition: int, *, max_batch_bytes: int, compression: int = 0) -> None:
        self.topic = topic
        self.partition = partition
        self.queue: deque[Pending] = deque()
        self.batch: Batch | None = None
        self.busy = False
        """Whether the batch is on its way to a broker and not answered yet."""
        self.identity: Identity | None = None
        self.spent: Identity | None = None
        """The last identity that was given up: its sequence numbers mean something to Kafka that is not known here."""
        self.next_sequence = 0
        self._max_batch_bytes = max_batch_bytes
        self._compression = compression

    def __repr__(self) -> str:
        under_way = "nothing" if self.batch is None else "a sealed batch" if self.batch.sealed else "a batch"
        return f"<Lane {self.topic}-{self.partition}: {len(self.queue)} waiting, {under_way} under way>"

    @property
    def has_work(self) -> bool:
        """Whether there is something to send."""
        self._drop_finished()
        return bool(self.queue) or self.batch is not None

    @property
    def blocked(self) -> bool:
        """Whether what is appended now would wait behind a batch of unknown fate."""
        return self.batch is not None and self.batch.sealed

    def append(self, pendings: Iterable[Pending]) -> None:
        """Queue records."""
        self.queue.extend(pendings)

    def next_batch(self, current: Identity | None) -> Batch | None:
        """Return what to send now: the sealed batch, or one made of what waits. None: nothing can be sent.

        Args:
            current: the identity that a lane without one takes, unless it is the one it had to give up.
        """
        if self.busy:
            return None
        if self.batch is None:
            self._drop_finished()
            if self.identity is None and current != self.spent:
                self.identity, self.next_sequence = current, 0
            if not self.queue or self.identity is None:
                return None
            self.batch = self._cut(self.identity)
        self.busy = True
        return self.batch

    def answered(
        self,
        verdict: Verdict | None,
        base_offset: int,
        culprits: Mapping[int, str],
        message: str | None,
    ) -> Next:
        """Take Kafka's answer to the batch under way.

        Args:
            verdict: of its error code; None: a code that says nothing about whether it was written.
            base_offset: the offset of its first record, where it was acknowledged.
            culprits: the records that an INVALID_RECORD is about, by their place in the batch (Produce v8, KIP-467).
            message: the broker's own words.
        """
        self.busy = False
        batch = self.batch
        if batch is None:  # it was given up meanwhile
            return Next.SEND
        if verdict is None:
            self._let_go(batch, message or "the broker answered with an error of unknown meaning")
            return Next.RENEW
        if verdict.action is Action.ACKNOWLEDGE:
            self._acknowledge(batch, base_offset)
            return Next.SEND
        if verdict.action in _MAYBE_WRITTEN:
            batch.sealed = True
            return _MAYBE_WRITTEN[verdict.action]
        if batch.sealed:
            return self._refused_when_sealed(batch, verdict)
        return self._refused(batch, verdict, culprits, message)

    def lost(self) -> None:
        """Note that the batch under way went unanswered: it may be written, or be written yet."""
        self.busy = False
        if self.batch is not None:
            self.batch.sealed = True

    def abandon(self, detail: str) -> None:
        """Give up a sealed batch, whose fate stays unknown, and go on under a new identity."""
        if self.batch is not None:
            self._let_go(self.batch, detail)

    def fail_queue(self, failure: Failure) -> None:
        """Answer everything that waits; what is under way is not touched."""
        for pending in self.queue:
            pending.finish(failure)
        self.queue.clear()

    def _refused_when_sealed(self, batch: Batch, verdict: Verdict) -> Next:
        """An earlier attempt may have succeeded, so that a refusal of this one proves nothing."""
        if verdict.action is Action.RETRY:
            return Next.WAIT
        self._let_go(batch, f"an attempt went unanswered, the next was refused ({verdict.name})")
        return Next.RENEW

    def _refused(self, batch: Batch, verdict: Verdict, culprits: Mapping[int, str], message: str | None) -> Next:
        if verdict.action is Action.REFUSE:
            self._refuse(batch, verdict, culprits, message)
            return Next.SEND
        if verdict.action is Action.SPLIT and len(batch.pendings) == 1:
            self._refuse(batch, verdict, {}, message)
            return Next.SEND
        if verdict.action is Action.SPLIT:
            # The topic takes smaller batches than we make (max.message.bytes); halving finds its limit in a few steps.
            self._max_batch_bytes = max(len(batch.data) // 2, 1)
        self._requeue(batch)
        match verdict.action:
            case Action.NEW_IDENTITY:
                self._spend_identity()
                return Next.RENEW
            case Action.SPLIT:
                return Next.SEND
            case _:
                return Next.WAIT

    def _acknowledge(self, batch: Batch, base_offset: int) -> None:
        self.batch = None
        self.next_sequence = (self.next_sequence + len(batch.pendings)) % _SEQUENCES
        for place, pending in enumerate(batch.pendings):
            offset = None if base_offset <= _DUPLICATE_OFFSET else base_offset + place
            pending.finish(Receipt(self.partition, offset))

    def _refuse(self, batch: Batch, verdict: Verdict, culprits: Mapping[int, str], message: str | None) -> None:
        """Answer the records at fault, or all where the broker does not say which; the others wait again."""
        innocent: list[Pending] = []
        for place, pending in enumerate(batch.pendings):
            if culprits and place not in culprits:
                innocent.append(pending)
                continue
            detail = culprits.get(place) or message or "no reason given"
            pending.finish(Failure(verdict.reason, f"Kafka refused it ({verdict.name}): {detail}"))
        batch.pendings = innocent
        self._requeue(batch)

    def _requeue(self, batch: Batch) -> None:
        self.batch = None
        waiting: Sequence[Pending] = [pending for pending in batch.pendings if pending.record is not None]
        for pending in waiting:
            pending.sent = False
            if pending.shipment.outcomes[pending.index] is not None:
                # Its time ran out while it was under way. It was not written, so nobody has to wait for it any more.
                pending.finish(Failure(Reason.UNAVAILABLE, ""))
        self.queue.extendleft(reversed([pending for pending in waiting if pending.record is not None]))

    def _let_go(self, batch: Batch, detail: str) -> None:
        self.batch = None
        self._spend_identity()
        for pending in batch.pendings:
            pending.finish(Failure(Reason.UNAVAILABLE, detail, maybe_written=True))

    def _spend_identity(self) -> None:
        self.spent = self.identity or self.spent
        self.identity = None

    def _cut(self, identity: Identity) -> Batch:
        """Take from the front of the queue what fits into one batch; the first record always does."""
        builder = DefaultRecordBatchBuilder(
            magic=_MAGIC,
            compression_type=self._compression,
            is_transactional=0,
            producer_id=identity.producer_id,
            producer_epoch=identity.epoch,
            base_sequence=self.next_sequence,
            batch_size=self._max_batch_bytes,
        )
        taken: list[Pending] = []
        queue = self.queue
        while queue:
            pending = queue[0]
            record = pending.record
            if record is not None:
                if builder.append(len(taken), None, record.key, record.value, _nullable(record.headers)) is None:
                    break
                pending.sent = True
                taken.append(pending)
            queue.popleft()
        return Batch(taken, bytes(builder.build()), identity, self.next_sequence)

    def _drop_finished(self) -> None:
        """Forget what was dropped at the front: in a long outage nothing else would."""
        while self.queue and self.queue[0].record is None:
            self.queue.popleft()


def _nullable(headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes | None]]:
    return cast("list[tuple[str, bytes | None]]", headers)
