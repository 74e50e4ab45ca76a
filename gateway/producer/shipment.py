"""The records of one request on their way: who waits for them, until when, and how long they take memory. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.producer.outcome import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.cloudevents.kafka import Record
    from gateway.producer.outcome import Outcome


class Shipment:
    """The records of one request: answered together, at the latest by a deadline, and held until the last is known.

    Args:
        count: how many records.
        answered: called once, when every record has an outcome.
        released: called once, when every record has left memory; that may be long after they were answered.
    """

    __slots__ = ("_answered", "_held", "_open", "_released", "outcomes")

    def __init__(self, count: int, answered: Callable[[], None], released: Callable[[], None]) -> None:
        self.outcomes: list[Outcome | None] = [None] * count
        self._open = count
        self._held = count
        self._answered = answered
        self._released = released

    def answer(self, index: int, outcome: Outcome) -> None:
        """Give one record its outcome; the first one counts."""
        if self.outcomes[index] is None:
            self.outcomes[index] = outcome
            self._open -= 1
            if not self._open:
                self._answered()

    def release(self) -> None:
        """Note that one record has left memory."""
        self._held -= 1
        if not self._held:
            self._released()


class Pending:
    """One record between its request and Kafka."""

    __slots__ = ("index", "record", "sent", "shipment")

    def __init__(self, record: Record, shipment: Shipment, index: int) -> None:
        self.record: Record | None = record
        """None: it was dropped from the queue, or is done."""
        self.shipment = shipment
        self.index = index
        self.sent = False
        """Whether it is in a batch that is under way."""

    def finish(self, outcome: Outcome) -> None:
        """Answer it and let go of it."""
        if self.record is not None:
            self.record = None
            self.shipment.answer(self.index, outcome)
            self.shipment.release()

    def expire(self, detail: str) -> None:
        """Answer it now: what was not sent never will be, of what was sent nobody knows yet."""
        if self.record is None:
            return
        if self.sent:
            self.shipment.answer(self.index, Failure(Reason.UNAVAILABLE, detail, maybe_written=True))
        else:
            self.finish(Failure(Reason.UNAVAILABLE, detail))
