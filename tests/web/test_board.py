"""What the dashboard remembers, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from activator.core.model import Applied, Notice, Outcome, Phase, Reason, Severity, TargetRef
from activator.web.board import UNKNOWN_LAG, Board, Points, Track
from tests.fakes.facts import ORDERS, at, batch_read, evaluation, hold, lag, new_ids, stretch, wake


def board(*facts: object) -> Board:
    """Return a board that has been told these facts."""
    made = Board()
    for fact in facts:
        made.record(fact)  # type: ignore[arg-type]  # facts of any kind
    return made


def only(made: Board) -> Track:
    """Return the one target."""
    [track] = made.tracks()
    return track


def notice(reason: str, message: str = "...", seconds: float = 0) -> Notice:
    """Return a warning about the target."""
    return Notice(ORDERS, "uid", Severity.WARNING, reason, message, at(seconds))


def test_equal_looks_are_one_entry() -> None:
    """Also where the loop ends a hold after five minutes and begins another for the same reason."""
    track = only(board(*hold(0, 30), *hold(300, 330), wake(400)))
    assert [(entry.evaluations, entry.first, entry.last) for entry in track.entries] == [
        (4, at(0), at(330)),
        (1, at(400), at(400)),
    ]


def test_an_entry_shows_the_last_look_that_it_stands_for() -> None:
    """Its id stays that of the first, so that its URL lasts."""
    first, last = hold(0)[0], hold(300, text="no lag for 5 min")[0]
    [entry] = only(board(first, last)).entries
    assert entry.fact is last
    assert entry.id == first.ids.trace_id


def test_applied_decisions_are_never_merged() -> None:
    """Two wakes are two wakes."""
    assert len(only(board(wake(0), wake(100))).entries) == 2


def test_notices_and_episodes_stand_among_the_decisions() -> None:
    """What a person was told, and how long a wake took, are part of a target's past."""
    facts = [
        type(entry.fact).__name__
        for entry in only(board(wake(0), stretch("ready", 2, whole=new_ids()), notice("ForeignWrites"))).entries
    ]
    assert facts == ["Evaluation", "EpisodePhase", "Notice"]


PROBLEM = ("pizza/3: LEADER_NOT_AVAILABLE",)


@pytest.mark.parametrize(
    ("look", "label", "text"),
    [
        (evaluation(0), None, None),
        (wake(0), None, None),
        (
            wake(0, outcome=Outcome.FAILED, applied=Applied(at(0), at(5), "no answer within 5 s")),
            "failed",
            "no answer within 5 s",
        ),
        (
            evaluation(0, outcome=Outcome.REFUSED, reason=Reason.RIVAL, text="an HPA drives it"),
            "refused",
            "an HPA drives it",
        ),
        (evaluation(0, reason=Reason.UNREADABLE, text="cannot be read"), "unreadable", "cannot be read"),
        (evaluation(0, reason=Reason.LEFT_TO_HPA, lags=(lag(4, problems=PROBLEM),)), "unreadable", PROBLEM[0]),
        (evaluation(0, reason=Reason.NO_COMMITTED_OFFSET, text="held"), "no commit", "held"),
        (evaluation(0, reason=Reason.NO_REPLICA_READY, text="0/1 nodes"), "not ready", "0/1 nodes"),
        (evaluation(0, reason=Reason.PAUSED, text="paused"), None, None),
    ],
)
def test_what_is_wrong(look: object, label: str | None, text: str | None) -> None:
    """A person is needed for some reasons and not for others."""
    wrong = only(board(look)).wrong
    assert (wrong.label if wrong else None, wrong.text if wrong else None) == (label, text)


def test_what_is_wrong_keeps_the_moment_it_began() -> None:
    """Until something else is wrong, or nothing."""
    made = board(evaluation(0, reason=Reason.UNREADABLE), evaluation(30, reason=Reason.UNREADABLE, text="still"))
    wrong = only(made).wrong
    assert wrong is not None
    assert (wrong.text, wrong.since) == ("still", at(0))
    made.record(evaluation(60, reason=Reason.NO_REPLICA_READY))
    wrong = only(made).wrong
    assert wrong is not None
    assert wrong.since == at(60)
    made.record(evaluation(90))
    assert only(made).wrong is None


def test_invalid_configuration_stays_wrong_until_it_is_valid_again() -> None:
    """The last valid policy works on meanwhile: its looks do not hide the mistake."""
    made = board(evaluation(0), notice("InvalidConfiguration", "lag-treshold?", 10), evaluation(30))
    wrong = only(made).wrong
    assert wrong is not None
    assert (wrong.label, wrong.text, wrong.since) == ("invalid", "lag-treshold?", at(10))
    assert only(made).phase is Phase.INVALID
    made.record(notice("TakenOver", seconds=40))
    assert only(made).wrong is None
    assert only(made).phase is Phase.ASLEEP


def test_a_target_that_was_never_valid_is_there() -> None:
    """It has no look to show, and that is what has to be said."""
    track = only(board(notice("InvalidConfiguration")))
    assert (track.last, track.phase) == (None, Phase.INVALID)


def test_a_mistake_that_was_corrected_while_another_replica_led_is_gone() -> None:
    """That one told of it; this one knows by what is managed."""
    corrected, never_valid, awaited = (replace(ORDERS, name=name) for name in ("corrected", "never-valid", "awaited"))
    made = board(evaluation(0), evaluation(0, ref=corrected))
    for ref in (ORDERS, corrected, never_valid, awaited):
        made.record(replace(notice("InvalidConfiguration", seconds=10), ref=ref))
    made.managed = lambda: {ORDERS: True, corrected: False, awaited: False}
    sequence = made.sequence
    made.refresh(at(20))
    assert {track.ref: (track.phase, track.wrong is None) for track in made.tracks()} == {
        corrected: (Phase.ASLEEP, True),
        never_valid: (Phase.INVALID, False),
        ORDERS: (Phase.INVALID, False),
    }
    assert [track.ref for track in made.tracks() if track.sequence > sequence] == [corrected]  # viewers are told
    made.record(evaluation(30, ref=awaited))
    assert {track.phase for track in made.tracks() if track.ref == awaited} == {Phase.ASLEEP}


def test_a_released_target_is_gone() -> None:
    """The record of its release is the last of it."""
    assert board(evaluation(0), evaluation(30, reason=Reason.UNMANAGED)).tracks() == []


def test_a_target_that_nobody_looks_at_any_more_is_gone() -> None:
    """Five minutes after the look that did not come."""
    made = board(evaluation(0), batch_read(0))
    made.refresh(at(330))
    assert len(made.tracks()) == 1
    made.refresh(at(331))
    assert made.tracks() == []
    assert made.reads == {}


def test_what_is_told_of_a_released_target_is_gone_after_a_while() -> None:
    """A notice that follows its release is no look; one that was never valid stays until it is corrected."""
    never_valid = replace(ORDERS, name="never-valid")
    invalid = replace(notice("InvalidConfiguration"), ref=never_valid)
    made = board(
        evaluation(0), evaluation(30, reason=Reason.UNMANAGED), notice("WokenWithoutOffsets", seconds=31), invalid
    )
    made.refresh(at(331))
    assert [track.ref for track in made.tracks()] == [never_valid, ORDERS]
    made.refresh(at(332))
    assert [track.ref for track in made.tracks()] == [never_valid]


def test_clusters_with_a_problem_are_wrong() -> None:
    """One that can be read again is not."""
    made = board(batch_read(0, unreadable=2, problem="refused"))
    assert [read.problem for _, read in made.wrong_clusters()] == ["refused"]
    made.record(batch_read(30))
    assert list(made.wrong_clusters()) == []


def test_targets_are_in_order_of_namespace_and_name() -> None:
    """Whatever the order in which they came."""
    refs = [
        TargetRef("shop", "Deployment", "b"),
        TargetRef("bank", "Deployment", "z"),
        TargetRef("shop", "Deployment", "a"),
    ]
    made = board(*(evaluation(0, ref=ref) for ref in refs))
    assert [f"{track.ref.namespace}/{track.ref.name}" for track in made.tracks()] == ["bank/z", "shop/a", "shop/b"]
    made.forget(refs[1])
    assert len(made.tracks()) == 2


def test_the_chart_steps_where_a_decision_was_applied() -> None:
    """From the count that was seen to the one that was set, at one moment."""
    points = only(board(evaluation(0), wake(60))).points
    assert list(points.replicas) == [0, 0, 1]
    assert list(points.times) == [at(0).timestamp(), at(60).timestamp(), at(60).timestamp()]


def test_an_unknown_lag_is_no_zero_on_the_chart() -> None:
    """A gap is drawn there."""
    assert list(only(board(evaluation(0, lags=(lag(problems=PROBLEM),)))).points.lags) == [UNKNOWN_LAG]


def test_a_stretch_without_change_takes_two_points() -> None:
    """A sleeper of a week costs what one of a minute costs."""
    points = Points()
    for second in range(1000):
        points.add(second, 0, 0, most=100)
    points.add(1000, 5, 0, most=100)
    assert list(points.times) == [0, 999, 1000]


def test_points_are_bounded_and_say_how_many_are_gone() -> None:
    """The oldest go first."""
    points = Points()
    for second in range(1000):
        points.add(second, second, 0, most=100)
    assert len(points) <= 125
    assert points.times[-1] == 999
    assert points.dropped + len(points) == 1000
    assert len(points.times) == len(points.lags) == len(points.replicas)


def test_a_target_s_past_is_bounded() -> None:
    """And shorter where there are many targets: memory is for all of them together."""
    few = board(*(wake(second) for second in range(200)))
    assert len(only(few).entries) == 100
    many = Board()
    for number in range(4000):
        many.record(evaluation(0, ref=replace(ORDERS, name=f"d{number}")))
    for second in range(20):
        many.record(wake(second, ref=replace(ORDERS, name="d7")))
    track = many.find("shop", "Deployment", "d7")
    assert track is not None
    assert len(track.entries) == 6
