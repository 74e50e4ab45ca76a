"""Holds become stretches: each evaluation lies in exactly one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import Evaluation, TargetRef
from activator.telemetry.holds import NONE, HoldMerger, Stretch
from tests.fakes.facts import ORDERS, at, evaluation, hold, new_ids, wake

MAIL = replace(ORDERS, name="mail")


def told(stretches: list[Stretch]) -> list[tuple[float, float, int]]:
    """Return each stretch as seconds of its first and last evaluation, and their number."""
    return [
        ((s.first.now - at(0)).total_seconds(), (s.last.now - at(0)).total_seconds(), s.evaluations) for s in stretches
    ]


def test_a_hold_is_one_stretch_from_its_first_to_its_last_evaluation() -> None:
    """It is finished by the decision that ends it, which stands alone."""
    merger = HoldMerger()
    assert [merger.add(look) for look in hold(0, 30, 60)] == [[], [], []]
    assert told(merger.add(wake(70))) == [(0, 60, 3), (70, 70, 1)]
    assert merger.flush() == []


def test_a_hold_for_another_reason_begins_another_stretch() -> None:
    """The loop gives it other ids."""
    merger = HoldMerger()
    for look in hold(0, 30):
        merger.add(look)
    assert told(merger.add(hold(60)[0])) == [(0, 30, 2)]
    assert told(merger.flush()) == [(60, 60, 1)]


def test_an_applied_decision_is_told_at_once() -> None:
    """What changed something does not wait for what comes after."""
    assert told(HoldMerger().add(wake(5))) == [(5, 5, 1)]


def test_a_hold_that_nothing_follows_is_told_after_five_minutes() -> None:
    """A target that is deleted while it is held ends when any other is looked at."""
    merger = HoldMerger()
    for look in hold(0, 30):
        merger.add(look)
    others = hold(329, 331, ref=MAIL)
    assert merger.add(others[0]) == []
    assert told(merger.add(others[1])) == [(0, 30, 2)]


def test_the_end_of_the_process_tells_what_is_open() -> None:
    """The last minutes before a restart are told, too."""
    merger = HoldMerger()
    merger.add(hold(0)[0])
    merger.add(hold(10, ref=MAIL)[0])
    assert told(merger.flush()) == [(0, 0, 1), (10, 10, 1)]
    assert merger.flush() == []


def test_without_merging_each_evaluation_is_a_stretch() -> None:
    """Those after the first say that they go on from it, because they have its ids."""
    merger = HoldMerger(NONE)
    stretches = [stretch for look in hold(0, 30, 60) for stretch in merger.add(look)]
    assert told(stretches) == [(0, 0, 1), (30, 30, 1), (60, 60, 1)]
    assert [stretch.continues for stretch in stretches] == [False, True, True]


def test_an_evaluation_of_a_hold_that_was_told_already_goes_on_from_it() -> None:
    """Two spans must not have the same id."""
    merger = HoldMerger()
    looks = hold(0, 400)
    merger.add(looks[0])
    assert told(merger.add(looks[1])) == [(0, 0, 1)]
    [rest] = merger.flush()
    assert rest.continues


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ORDERS, MAIL, TargetRef("bank", "StatefulSet", "ledger")]),
            st.floats(min_value=0, max_value=200),
            st.sampled_from(["hold", "same", "apply"]),
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_every_evaluation_lies_in_exactly_one_stretch(looks: list[tuple[TargetRef, float, str]], merged: bool) -> None:  # noqa: FBT001 - hypothesis passes it by position
    """Whatever the order of looks, none is lost, none is told twice, and no two stretches claim one id."""
    merger = HoldMerger() if merged else HoldMerger(NONE)
    seconds, stretches, running = 0.0, [], dict[TargetRef, Evaluation]()
    for ref, later, kind in looks:
        seconds += later
        before = running.pop(ref, None)
        if kind == "same" and before is not None:
            look = replace(before, now=at(seconds), evaluations=before.evaluations + 1)
        elif kind == "apply":
            look = evaluation(seconds, ref=ref)
        else:
            look = evaluation(seconds, ref=ref, ids=new_ids(), started=at(seconds))
        if look.started is not None:
            running[ref] = look
        stretches += merger.add(look)
    stretches += merger.flush()
    assert sum(stretch.evaluations for stretch in stretches) == len(looks)
    ids = [stretch.first.ids for stretch in stretches if not stretch.continues]
    assert len(ids) == len(set(ids))
    assert all(stretch.first.now <= stretch.last.now for stretch in stretches)
