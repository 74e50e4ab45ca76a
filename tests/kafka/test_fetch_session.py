"""The client's half of a fetch session, against a model of the broker's half (KIP-227)."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from activator.kafka.fetch_session import MAX_EPOCH, FetchSession, SessionAnswer, SessionRequest

A, B = ("orders", 0), ("orders", 1)


def told(request: SessionRequest) -> tuple[int, int, dict[tuple[str, int], int], set[tuple[str, int]]]:
    """Flatten a request: session, epoch, changed partitions, forgotten partitions."""
    changed = {(topic, number): offset for topic, some in request.offsets.items() for number, offset in some.items()}
    forgotten = {(topic, number) for topic, numbers in request.forgotten.items() for number in numbers}
    return request.session_id, request.epoch, changed, forgotten


def test_a_session_is_opened_kept_and_changed() -> None:
    """First everything, then only what is new, moved or no longer wanted."""
    session = FetchSession()
    session.put(A, 5)
    session.put(B, 7)
    assert told(session.next_request()) == (0, 0, {A: 5, B: 7}, set())
    assert session.answered(42, lost=False) is SessionAnswer.KEPT
    assert told(session.next_request()) == (42, 1, {}, set())
    assert session.answered(42, lost=False) is SessionAnswer.KEPT
    session.put(A, 6)
    session.drop(B)
    assert told(session.next_request()) == (42, 2, {A: 6}, {B})


def test_what_comes_and_goes_between_two_requests_is_never_told() -> None:
    """A partition that was put and dropped, or dropped and put back alike, changes nothing at the broker."""
    session = FetchSession()
    session.put(A, 5)
    session.next_request()
    session.answered(42, lost=False)
    session.put(B, 0)
    session.drop(B)
    session.drop(A)
    session.put(A, 5)

    assert told(session.next_request()) in [(42, 1, {}, set()), (42, 1, {A: 5}, set())]


def test_a_lost_session_is_opened_anew_with_everything() -> None:
    """After FETCH_SESSION_ID_NOT_FOUND, or a broken connection, the next request is a full one."""
    session = FetchSession()
    session.put(A, 5)
    session.next_request()
    session.answered(42, lost=False)
    session.drop(A)
    session.put(B, 7)
    assert session.answered(0, lost=True) is SessionAnswer.LOST

    assert told(session.next_request()) == (0, 0, {B: 7}, set())


def test_session_id_zero_declines() -> None:
    """A broker without room for sessions answers id 0, and its answer holds all the same."""
    session = FetchSession()
    session.put(A, 5)
    session.next_request()

    assert session.answered(0, lost=False) is SessionAnswer.DECLINED
    assert session.asked_from(A) == 5
    assert told(session.next_request()) == (0, 0, {A: 5}, set())


def test_what_was_dropped_while_declined_is_told_when_it_comes_back() -> None:
    """A partition that a later session has never heard of is told again, although its offset is as before."""
    session = FetchSession()
    session.put(A, 5)
    session.next_request()
    session.answered(0, lost=False)
    session.drop(A)
    session.put(B, 7)
    session.next_request()
    session.answered(42, lost=False)
    session.put(A, 5)

    assert told(session.next_request()) == (42, 1, {A: 5}, set())


def test_epochs_wrap_to_one() -> None:
    """Epoch 0 opens a session, so the last epoch is followed by 1."""
    session = FetchSession()
    session.put(A, 5)
    session.next_request()
    session.answered(42, lost=False)
    session._epoch = MAX_EPOCH

    session.answered(42, lost=False)

    assert session.next_request().epoch == 1


class BrokerHalf(RuleBasedStateMachine):
    """Whatever happens in whatever order, the broker fetches exactly what we want after each request."""

    def __init__(self) -> None:
        super().__init__()
        self.session = FetchSession()
        self.wanted: dict[tuple[str, int], int] = {}
        self.at_broker: dict[tuple[str, int], int] = {}
        self.broker_session = 0

    @rule(partition=st.integers(0, 4), offset=st.integers(0, 3))
    def put(self, partition: int, offset: int) -> None:
        """Want a partition from an offset."""
        self.session.put(("t", partition), offset)
        self.wanted["t", partition] = offset

    @rule(partition=st.integers(0, 4))
    def drop(self, partition: int) -> None:
        """Want a partition no more."""
        self.session.drop(("t", partition))
        self.wanted.pop(("t", partition), None)

    @rule(decline=st.booleans())
    def fetch(self, decline: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Send a request that the broker answers."""
        session_id, epoch, changed, forgotten = told(self.session.next_request())
        if session_id == 0:
            assert epoch == 0
            self.at_broker = changed
            self.broker_session += 0 if decline else 1
            self.session.answered(0 if decline else self.broker_session, lost=False)
        else:
            assert forgotten <= self.at_broker.keys()
            assert not forgotten & changed.keys()
            for partition in forgotten:
                del self.at_broker[partition]
            self.at_broker |= changed
            self.session.answered(session_id, lost=False)
        assert self.at_broker == self.wanted

    @rule()
    def lose(self) -> None:
        """Send a request whose answer is that the session is gone."""
        self.session.next_request()
        self.session.answered(0, lost=True)

    @rule()
    def break_off(self) -> None:
        """Lose the connection."""
        self.session.next_request()
        self.session.reset()

    @invariant()
    def knows_what_is_wanted(self) -> None:
        """The list of partitions is what was put and not dropped."""
        assert set(self.session.partitions()) == self.wanted.keys()
        assert len(self.session) == len(self.wanted)


TestBrokerHalf = BrokerHalf.TestCase
