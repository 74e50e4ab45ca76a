"""Limits by count and bytes, per share and in all."""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import Admission, Limits, Refusal, Share, Ticket

WIDE = Limits(events=100, size=100)
ORDERS, PAYMENTS = Share("topics", "orders"), Share("topics", "payments")


def granted(ticket: Ticket | Refusal) -> Ticket:
    """A ticket that was granted."""
    assert isinstance(ticket, Ticket)
    return ticket


@pytest.mark.parametrize(
    ("share", "total", "refusal"),
    [
        (Limits(1, 100), WIDE, Refusal.ROUTE_EVENTS),
        (Limits(100, 15), WIDE, Refusal.ROUTE_BYTES),
        (WIDE, Limits(1, 100), Refusal.TOTAL_EVENTS),
        (WIDE, Limits(100, 15), Refusal.TOTAL_BYTES),
    ],
)
def test_each_limit(share: Limits, total: Limits, refusal: Refusal) -> None:
    """The second request of ten bytes meets the limit; once the first has ended, it is granted."""
    admission = Admission(total)
    first = granted(admission.enter(ORDERS, share, 10))
    assert admission.enter(ORDERS, share, 10) is refusal
    first.release()
    granted(admission.enter(ORDERS, share, 10))


def test_growth_is_all_or_nothing() -> None:
    """What has no room as a whole is not granted in part."""
    admission = Admission(WIDE)
    ticket = granted(admission.enter(ORDERS, Limits(5, 50), 10))
    assert ticket.grow(events=4, size=41) is Refusal.ROUTE_BYTES
    assert (admission.total.events, admission.total.size) == (1, 10)
    assert ticket.grow(events=4, size=40) is None
    assert (admission.total.events, admission.total.size) == (5, 50)


def test_shares_do_not_touch() -> None:
    """A full topic leaves the other one its room."""
    admission = Admission(WIDE)
    granted(admission.enter(ORDERS, Limits(1, 10), 10))
    granted(admission.enter(PAYMENTS, Limits(1, 10), 10))


def test_released_twice() -> None:
    """Releasing twice gives back once, also where the share began anew in between."""
    admission = Admission(WIDE)
    first = granted(admission.enter(ORDERS, Limits(1, 10), 10))
    first.release()
    granted(admission.enter(ORDERS, Limits(1, 10), 10))
    first.release()
    assert admission.enter(ORDERS, Limits(1, 10), 1) is Refusal.ROUTE_EVENTS


@pytest.mark.parametrize(
    ("handed_over", "error", "held"),
    [
        (False, None, 0),
        (False, RuntimeError(), 0),
        (False, CancelledError(), 0),
        (True, None, 10),
        (True, RuntimeError(), 0),
        (True, CancelledError(), 10),
    ],
)
def test_end_of_the_context(handed_over: bool, error: BaseException | None, held: int) -> None:  # noqa: FBT001 - a column
    """A ticket outlives its context where it was handed over, unless that ends in an error."""
    admission = Admission(WIDE)
    with suppress(RuntimeError, CancelledError), granted(admission.enter(ORDERS, WIDE, 10)) as ticket:
        release = ticket.hand_over() if handed_over else ticket.release
        if error is not None:
            raise error
    assert admission.total.size == held
    release()
    assert admission.total.size == 0


def test_nothing_is_remembered_of_the_idle() -> None:
    """Any number of names may be asked for; only what is under way takes memory."""
    admission = Admission(WIDE)
    for at in range(1000):
        granted(admission.enter(Share("topics", str(at)), WIDE, 1)).release()
        assert admission.enter(Share("topics", str(at)), Limits(0, 0), 1) is Refusal.ROUTE_EVENTS
    assert admission.shares() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 2), st.integers(0, 30)),
        st.tuples(st.just("grow"), st.integers(0, 20), st.integers(0, 30)),
        st.tuples(st.just("release"), st.integers(0, 20), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_limits_hold_and_everything_comes_back(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is asked in whatever order, no limit is passed; in the end nothing is left."""
    admission, limits = Admission(Limits(6, 60)), Limits(3, 40)
    tickets: list[Ticket] = []
    for step, which, size in steps:
        if step == "enter":
            ticket = admission.enter(Share("r", str(which)), limits, size)
            if isinstance(ticket, Ticket):
                tickets.append(ticket)
        elif which < len(tickets):
            if step == "release":
                tickets.pop(which).release()
            else:
                tickets[which].grow(events=1, size=size)
        usages = [usage for _, usage in admission.shares()]
        assert all(usage.events <= 3 and usage.size <= 40 for usage in usages)
        assert (admission.total.events, admission.total.size) == (
            sum(usage.events for usage in usages),
            sum(usage.size for usage in usages),
        )
        assert admission.total.events <= 6
        assert admission.total.size <= 60
    for ticket in tickets:
        ticket.release()
    assert admission.shares() == []
    assert (admission.total.events, admission.total.size) == (0, 0)
