"""The agenda: who is due, in what order, and which push brought a look forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from activator.core.agenda import Agenda, Due
from activator.core.model import Push, PushSource, TargetRef

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ORDERS = TargetRef("shop", "Deployment", "orders")
MAILS = TargetRef("shop", "Deployment", "mails")
BILLS = TargetRef("shop", "StatefulSet", "bills")


def at(seconds: float) -> datetime:
    """Name a moment by its distance from nine o'clock."""
    return NINE + timedelta(seconds=seconds)


def record(seconds: float, offset: int = 0) -> Push:
    """Build the push of a record that was seen at a moment."""
    return Push("kafka:9092", "orders", PushSource.TAIL, at(seconds), 0, offset)


def test_nothing_is_due_on_an_empty_agenda() -> None:
    """Without deadlines there is nothing to wait for."""
    agenda = Agenda()
    assert agenda.next_begin() is None
    assert list(agenda.take_due(at(0))) == []


def test_the_longest_waiting_comes_first_and_each_once() -> None:
    """Targets are taken in the order of their deadlines; one that was taken has none until it gets a new one."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(30))
    agenda.schedule(MAILS, at(10))
    agenda.schedule(BILLS, at(31))
    assert agenda.next_begin() == at(10)
    assert list(agenda.take_due(at(30))) == [Due(MAILS, at(10)), Due(ORDERS, at(30))]
    assert list(agenda.take_due(at(30))) == []
    assert agenda.next_begin() == at(31)


def test_a_later_deadline_replaces_the_earlier_one() -> None:
    """A target has one deadline, the last that was set: also where that is later, and where it was set before."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(10))
    agenda.schedule(ORDERS, at(40))
    assert agenda.next_begin() == at(40)
    agenda.schedule(ORDERS, at(10))
    assert list(agenda.take_due(at(60))) == [Due(ORDERS, at(10))]
    assert agenda.next_begin() is None


def test_bringing_forward_never_postpones() -> None:
    """What is due sooner already stays so."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(10))
    agenda.bring_forward(ORDERS, at(20))
    assert agenda.next_begin() == at(10)
    agenda.bring_forward(ORDERS, at(5))
    assert agenda.next_begin() == at(5)
    agenda.bring_forward(MAILS, at(7))
    assert list(agenda.take_due(at(7))) == [Due(ORDERS, at(5)), Due(MAILS, at(7))]


def test_of_a_burst_the_first_record_is_the_one_that_woke_it() -> None:
    """Two hundred records are one look, and the first of them is told as its cause."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(300))
    for offset in range(200):
        agenda.wake(ORDERS, record(100 + offset / 1000, offset))
    assert list(agenda.take_due(at(101))) == [Due(ORDERS, at(100), record(100, 0))]
    assert agenda.next_begin() is None


def test_a_push_is_told_once() -> None:
    """The look after the one that a push brought forward has no push."""
    agenda = Agenda()
    agenda.wake(ORDERS, record(1))
    assert [due.push for due in agenda.take_due(at(2))] == [record(1)]
    agenda.schedule(ORDERS, at(3))
    assert list(agenda.take_due(at(3))) == [Due(ORDERS, at(3))]


def test_a_push_that_was_acted_upon_in_vain_is_kept_for_the_next_look() -> None:
    """It neither brings that look forward nor takes the place of a push that is there."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(10))
    agenda.carry(ORDERS, record(1))
    agenda.carry(ORDERS, record(2))
    assert list(agenda.take_due(at(9))) == []
    assert list(agenda.take_due(at(10))) == [Due(ORDERS, at(10), record(1))]


def test_a_push_joins_a_look_that_is_overdue() -> None:
    """How late the look is counts from its own deadline, which was sooner than the push."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(1))
    agenda.wake(ORDERS, record(5))
    assert list(agenda.take_due(at(5))) == [Due(ORDERS, at(1), record(5))]


def test_what_is_forgotten_is_never_due() -> None:
    """A target that is managed no more has neither a deadline nor a push, not even once it comes back."""
    agenda = Agenda()
    agenda.wake(ORDERS, record(1))
    agenda.forget(ORDERS)
    agenda.forget(MAILS)
    assert agenda.next_begin() is None
    agenda.schedule(ORDERS, at(1))
    assert list(agenda.take_due(at(9))) == [Due(ORDERS, at(1))]


def test_a_target_may_be_scheduled_while_the_due_are_taken() -> None:
    """Who gets a new deadline in the future while the others are taken is not taken again."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(1))
    agenda.schedule(MAILS, at(2))
    taken = []
    for due in agenda.take_due(at(5)):
        taken.append(due.ref)
        agenda.schedule(due.ref, at(10))
    assert taken == [ORDERS, MAILS]
    assert agenda.next_begin() == at(10)


def test_who_may_come_in_company_is_taken_along_from_that_moment_on() -> None:
    """The longest waiting first and no more than asked for; who was brought forward has a moment of its own."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(30), in_company_from=at(24))
    agenda.schedule(MAILS, at(29), in_company_from=at(23))
    agenda.schedule(BILLS, at(40), in_company_from=at(10))
    agenda.bring_forward(BILLS, at(35))
    assert list(agenda.take_along(at(22), 9)) == []
    assert list(agenda.take_along(at(24), 1)) == [Due(MAILS, at(29))]
    assert list(agenda.take_along(at(24), 9)) == [Due(ORDERS, at(30))]
    assert agenda.next_begin() == at(35)


def test_a_look_is_begun_sooner_and_due_when_it_was() -> None:
    """Reading takes time: the look is taken when it is to be begun, and is late only from its deadline on."""
    agenda = Agenda()
    agenda.schedule(ORDERS, at(30), begin_at=at(29))
    agenda.schedule(MAILS, at(29.5))
    assert agenda.next_begin() == at(29)
    assert list(agenda.take_due(at(28.9))) == []
    assert list(agenda.take_due(at(29))) == [Due(ORDERS, at(30))]
    agenda.schedule(ORDERS, at(60), begin_at=at(58))
    agenda.schedule(ORDERS, at(70), begin_at=at(69))
    agenda.bring_forward(ORDERS, at(65))
    assert list(agenda.take_due(at(66))) == [Due(MAILS, at(29.5)), Due(ORDERS, at(65))]
    assert agenda.next_begin() is None


TARGETS = st.sampled_from([ORDERS, MAILS, BILLS])
SECONDS = st.integers(0, 20)
ACTIONS = st.one_of(
    st.tuples(st.just("schedule"), TARGETS, SECONDS),
    st.tuples(st.just("bring forward"), TARGETS, SECONDS),
    st.tuples(st.just("forget"), TARGETS, SECONDS),
    st.tuples(st.just("take"), TARGETS, SECONDS),
)


@given(st.lists(ACTIONS, max_size=30))
def test_it_behaves_like_a_dictionary_of_deadlines(actions: list[tuple[str, TargetRef, int]]) -> None:
    """However it is used, it answers as the plain dictionary would that it is a fast form of."""
    agenda, plain = Agenda(), dict[TargetRef, datetime]()
    for action, ref, seconds in actions:
        moment = at(seconds)
        match action:
            case "schedule":
                agenda.schedule(ref, moment)
                plain[ref] = moment
            case "bring forward":
                agenda.bring_forward(ref, moment)
                plain[ref] = min(moment, plain.get(ref, moment))
            case "forget":
                agenda.forget(ref)
                plain.pop(ref, None)
            case "take":
                taken = [(due.at, due.ref) for due in agenda.take_due(moment)]
                assert taken == sorted((due, ref) for ref, due in plain.items() if due <= moment)
                plain = {ref: due for ref, due in plain.items() if due > moment}
        assert agenda.next_begin() == min(plain.values(), default=None)
