"""One partition: what Kafka's answers do to a batch, to those that wait behind it and to the sequence numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cloudevents.kafka import Record
from gateway.producer.lane import Batch, Identity, Lane, Next
from gateway.producer.outcome import Failure, Outcome, Reason, Receipt
from gateway.producer.shipment import Pending, Shipment
from gateway.producer.verdicts import NO_ERROR, Action, verdict

FIRST, SECOND = Identity(1, 0), Identity(2, 0)


@dataclass
class Sender:
    """Puts records into a lane and remembers what became of them."""

    lane: Lane = field(default_factory=lambda: Lane("orders", 0, max_batch_bytes=1000))
    answered: int = 0
    released: int = 0
    shipments: list[Shipment] = field(default_factory=list)
    pendings: list[Pending] = field(default_factory=list)

    def put(self, *values: bytes) -> None:
        """Queue records, each a request of its own."""
        for value in values:
            shipment = Shipment(1, self._answered, self._released)
            pending = Pending(Record(b"k", value, []), shipment, 0)
            self.shipments.append(shipment)
            self.pendings.append(pending)
            self.lane.append([pending])

    def next(self, identity: Identity | None = FIRST) -> Batch | None:
        """Ask for the next batch."""
        return self.lane.next_batch(identity)

    def answer(self, code: int, base_offset: int = -1, culprits: dict[int, str] | None = None) -> Next:
        """Answer the batch under way."""
        return self.lane.answered(verdict(code), base_offset, culprits or {}, None)

    def expire(self, at: int) -> None:
        """Let a record's time run out."""
        self.pendings[at].expire("late")

    @property
    def outcomes(self) -> list[Outcome | None]:
        """What became of the records."""
        return [shipment.outcomes[0] for shipment in self.shipments]

    def _answered(self) -> None:
        self.answered += 1

    def _released(self) -> None:
        self.released += 1


def values(batch: Batch | None) -> list[bytes]:
    """The records in a batch's bytes."""
    assert batch is not None
    return [record.value or b"" for record in DefaultRecordBatch(batch.data)]


def sequence(batch: Batch | None) -> tuple[int, int]:
    """Producer id and base sequence in a batch's bytes."""
    assert batch is not None
    read = DefaultRecordBatch(batch.data)
    return read.producer_id, read.base_sequence


def test_acknowledged() -> None:
    """What is acknowledged has consecutive offsets, and the next batch begins where its sequence ended."""
    sender = Sender()
    sender.put(b"a", b"b")
    assert values(sender.next()) == [b"a", b"b"]
    sender.put(b"c")
    assert sender.next() is None, "one batch is under way at a time"
    assert sender.answer(0, 40) is Next.SEND
    assert sender.outcomes == [Receipt(0, 40), Receipt(0, 41), None]
    third = sender.next()
    assert (values(third), sequence(third)) == ([b"c"], (1, 2))
    assert (sender.answered, sender.released) == (2, 2)


def test_duplicate_is_success_without_an_offset() -> None:
    """DUPLICATE_SEQUENCE_NUMBER says that Kafka has it; its offset of -1 is none."""
    sender = Sender()
    sender.put(b"a")
    sender.next()
    sender.lane.lost()
    sender.next()
    assert sender.answer(46) is Next.SEND
    assert sender.outcomes == [Receipt(0, None)]


@pytest.mark.parametrize(
    ("code", "asks", "reason"),
    [
        (29, Next.SEND, Reason.DENIED),
        (87, Next.SEND, Reason.REFUSED),
        (2, Next.SEND, Reason.REFUSED),
        (17, Next.SEND, Reason.TOPIC_MISSING),
        (10, Next.SEND, Reason.TOO_LARGE),
    ],
)
def test_refused_batch_gives_its_sequence_back(code: int, asks: Next, reason: Reason) -> None:
    """After a refusal the next batch takes the same sequence numbers: Kafka has seen none of them."""
    sender = Sender()
    sender.put(b"a")
    sender.next()
    assert sender.answer(code) is asks
    outcome = sender.outcomes[0]
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.maybe_written, outcome.reason.permanent) == (reason, False, True)
    sender.put(b"b")
    assert sequence(sender.next()) == (1, 0)


@pytest.mark.parametrize("code", [19, 89])
def test_not_taken_now(code: int) -> None:
    """What was certainly not written waits again, in order and before what came later, and may still expire unsent."""
    sender = Sender()
    sender.put(b"a", b"b")
    sender.next()
    sender.put(b"c")
    assert sender.answer(code) is Next.WAIT
    sender.expire(0)
    assert sender.outcomes[0] == Failure(Reason.UNAVAILABLE, "late", maybe_written=False)
    batch = sender.next()
    assert (values(batch), sequence(batch)) == ([b"b", b"c"], (1, 0))


@pytest.mark.parametrize("code", [45, 47, 59, 90])
def test_new_identity(code: int) -> None:
    """After a fatal answer to a first attempt nothing is lost: the same records go out under another producer id."""
    sender = Sender()
    sender.put(b"a", b"b")
    sender.next()
    assert sender.answer(code) is Next.RENEW
    assert sender.next(FIRST) is None, "the spent identity is not taken up again"
    batch = sender.next(SECOND)
    assert (values(batch), sequence(batch)) == ([b"a", b"b"], (2, 0))
    assert sender.outcomes == [None, None]


def test_unanswered_batch_is_repeated_as_it_is() -> None:
    """What may be written is sent again byte for byte, before everything else, until Kafka says that it has it."""
    sender = Sender()
    sender.put(b"a")
    first = sender.next()
    sender.put(b"b")
    sender.lane.lost()
    assert first is not None
    assert sender.lane.blocked
    for code, asks in ((6, Next.FIND_LEADER), (19, Next.WAIT), (7, Next.WAIT), (20, Next.WAIT)):
        again = sender.next(SECOND)
        assert again is not None
        assert again.data == first.data
        assert sender.answer(code) is asks
    sender.next(SECOND)
    assert sender.answer(0, 9) is Next.SEND
    batch = sender.next(SECOND)
    assert (values(batch), sequence(batch)) == ([b"b"], (1, 1))


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        (7, Next.WAIT),
        (20, Next.WAIT),
        (6, Next.FIND_LEADER),
        (5, Next.FIND_LEADER),
        (3, Next.FIND_LEADER),
        (56, Next.FIND_LEADER),
    ],
)
def test_what_may_be_appended_keeps_its_sequence_numbers(code: int, asks: Next) -> None:
    """Too few replicas have it, or its leader has gone since: what comes next must not be taken for it (KIP-98)."""
    sender = Sender()
    sender.put(b"a")
    first = sender.next()
    assert sender.answer(code) is asks
    sender.expire(0)
    assert sender.outcomes[0] == Failure(Reason.UNAVAILABLE, "late", maybe_written=True)
    sender.put(b"b")
    again = sender.next()
    assert first is not None
    assert again is not None
    assert again.data == first.data


@pytest.mark.parametrize("code", [29, 45, 47, 59, 10, 87])
def test_refusal_of_a_sealed_batch_proves_nothing(code: int) -> None:
    """An earlier attempt may have been written: the client is told that nobody knows, and a new identity begins."""
    sender = Sender()
    sender.put(b"a")
    sender.next()
    sender.lane.lost()
    sender.next()
    assert sender.answer(code) is Next.RENEW
    outcome = sender.outcomes[0]
    assert isinstance(outcome, Failure)
    assert outcome.maybe_written
    sender.put(b"b")
    assert sender.next(FIRST) is None
    assert sequence(sender.next(SECOND)) == (2, 0)


def test_unknown_error_code() -> None:
    """A code that says nothing about whether it was written leaves it unknown."""
    assert verdict(-1) is None
    sender = Sender()
    sender.put(b"a")
    sender.next()
    assert sender.answer(-1) is Next.RENEW
    outcome = sender.outcomes[0]
    assert isinstance(outcome, Failure)
    assert outcome.maybe_written


def test_time_runs_out_in_the_queue() -> None:
    """What was not sent is never sent."""
    sender = Sender()
    sender.put(b"a", b"b")
    sender.expire(0)
    assert sender.outcomes[0] == Failure(Reason.UNAVAILABLE, "late")
    assert (sender.answered, sender.released) == (1, 1)
    assert values(sender.next()) == [b"b"]


def test_time_runs_out_under_way() -> None:
    """Of what was sent nobody knows yet; its memory is held, and a late acknowledgement changes no answer."""
    sender = Sender()
    sender.put(b"a")
    sender.next()
    sender.expire(0)
    assert sender.outcomes[0] == Failure(Reason.UNAVAILABLE, "late", maybe_written=True)
    assert (sender.answered, sender.released) == (1, 0)
    assert sender.lane.batch is not None
    assert not sender.lane.batch.awaited
    sender.answer(0, 3)
    assert (sender.answered, sender.released) == (1, 1)
    assert sender.outcomes[0] == Failure(Reason.UNAVAILABLE, "late", maybe_written=True)


def test_time_ran_out_and_then_it_was_refused() -> None:
    """A record that was answered while under way, and then certainly not written, is not sent again."""
    sender = Sender()
    sender.put(b"a", b"b")
    sender.next()
    sender.expire(0)
    sender.answer(19)
    assert values(sender.next()) == [b"b"]
    assert sender.released == 1


def test_too_large_batch_is_halved() -> None:
    """A topic with a smaller limit than ours gets smaller batches; only the record that is too large itself fails."""
    sender = Sender()
    sender.put(b"a" * 100, b"b" * 400, b"c" * 100)
    assert len(values(sender.next())) == 3
    assert sender.answer(10) is Next.SEND
    assert values(sender.next()) == [b"a" * 100]
    sender.answer(0, 0)
    assert values(sender.next()) == [b"b" * 400]
    assert sender.answer(10) is Next.SEND
    assert values(sender.next()) == [b"c" * 100]
    sender.answer(0, 1)
    outcome = sender.outcomes[1]
    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.TOO_LARGE
    assert [sender.outcomes[0], sender.outcomes[2]] == [Receipt(0, 0), Receipt(0, 1)]


def test_only_the_culprit_of_a_batch_fails() -> None:
    """Where the broker says which record is invalid, the others are sent again without it (KIP-467)."""
    sender = Sender()
    sender.put(b"a", b"b", b"c")
    sender.next()
    assert sender.answer(87, culprits={1: "a key is needed"}) is Next.SEND
    assert sender.outcomes[1] == Failure(Reason.REFUSED, "Kafka refused it (INVALID_RECORD): a key is needed")
    batch = sender.next()
    assert (values(batch), sequence(batch)) == ([b"a", b"c"], (1, 0))


def test_abandoned() -> None:
    """A batch that is given up leaves its records unknown, and a late answer to it touches nothing that came after."""
    sender = Sender()
    sender.put(b"a")
    sender.next()
    sender.lane.abandon("no word")
    sender.put(b"b")
    assert sender.next(SECOND) is None, "the request of the abandoned batch is still under way"
    assert sender.answer(0, 5) is Next.SEND
    assert sequence(sender.next(SECOND)) == (2, 0)
    assert sender.outcomes == [Failure(Reason.UNAVAILABLE, "no word", maybe_written=True), None]


def test_no_identity_no_batch() -> None:
    """Without a producer id nothing is sent, and nothing is lost."""
    sender = Sender()
    sender.put(b"a")
    assert sender.next(None) is None
    assert values(sender.next(FIRST)) == [b"a"]


def test_sequence_wraps() -> None:
    """Sequence numbers begin again at 0 after 2^31 - 1, as Kafka's do."""
    sender = Sender()
    sender.put(b"a", b"b")
    sender.next()
    sender.lane.next_sequence = 2**31 - 1
    sender.answer(0, 0)
    assert sender.lane.next_sequence == 1


def test_failed_queue() -> None:
    """A topic that is gone answers what waits for it."""
    sender = Sender()
    sender.put(b"a", b"b")
    gone = Failure(Reason.TOPIC_MISSING, "gone")
    sender.lane.fail_queue(gone)
    assert sender.outcomes == [gone, gone]
    assert not sender.lane.has_work


def test_verdicts_are_whole() -> None:
    """Each action is asked for by some code, and success is success."""
    found = {known.action for known in map(verdict, range(-1, 120)) if known is not None}
    assert found == set(Action)
    assert verdict(0) is NO_ERROR


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 3)),
        st.tuples(st.just("expire"), st.integers(0, 30)),
        st.tuples(st.just("answer"), st.sampled_from([0, 46, 6, 19, 7, 45, 10, 29, -1])),
        st.tuples(st.just("append and answer"), st.sampled_from([7, 20, 6, 3, 56])),
        st.tuples(st.just("write and lose"), st.booleans()),
    ),
    max_size=60,
)


class Partition:
    """Kafka's duplicate check: the next sequence of each producer id; and the log."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self._next: dict[int, int] = {}

    def append(self, batch: Batch) -> int:
        """Append a batch or say why not, by error code."""
        producer, base = sequence(batch)
        expected = self._next.get(producer, 0)
        if base + len(batch.pendings) <= expected:
            return 46
        if base != expected:
            return 45
        self._next[producer] = base + len(batch.pendings)
        self.log.extend(values(batch))
        return 0


class World:
    """A lane and its partition, driven step by step."""

    def __init__(self) -> None:
        self.sender = Sender()
        self.partition = Partition()
        self._identity = FIRST

    def step(self, name: str, value: int) -> None:
        """Do one thing."""
        sent = len(self.sender.pendings)
        if name == "put":
            self.sender.put(*(b"%04d" % (sent + at) for at in range(value)))
        elif name == "expire":
            if value < sent:
                self.sender.expire(value)
        elif (batch := self.send()) is not None:
            if name == "answer":
                self.answer(batch, value)
            elif name == "append and answer":
                self.partition.append(batch)
                self.sender.answer(value, 0)
            else:
                if value:
                    self.partition.append(batch)
                self.sender.lane.lost()

    def send(self) -> Batch | None:
        """Take the next batch, under a new identity where the last one is spent."""
        if self.sender.lane.spent == self._identity:
            self._identity = Identity(self._identity.producer_id + 1, 0)
        return self.sender.next(self._identity)

    def answer(self, batch: Batch, code: int) -> None:
        """Let the broker have the batch, and say what the script says; of success it has the last word itself."""
        if code in {0, 46}:
            code = self.partition.append(batch)
        self.sender.answer(code, 0)


@settings(max_examples=500)
@given(STEPS)
def test_no_record_is_lost_doubled_or_overtaken(steps: list[tuple[str, int]]) -> None:
    """Whatever a partition answers, and however many answers get lost, the log and what senders were told agree.

    Each record is in the log at most once and in its order of arrival; what was acknowledged is in it, what was told
    "not written" is not; and every record is released in the end.
    """
    world = World()
    for name, value in steps:
        world.step(name, value)
    while (batch := world.send()) is not None:
        world.answer(batch, 0)

    log, sender = world.partition.log, world.sender
    assert log == sorted(set(log))
    for number, outcome in enumerate(sender.outcomes):
        written = b"%04d" % number in log
        assert outcome is not None
        assert written or not isinstance(outcome, Receipt)
        assert not written or isinstance(outcome, Receipt) or outcome.maybe_written
    assert sender.released == sender.answered == len(sender.pendings)
