"""What viewers are sent: the whole at first, then what has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import Applied, Notice, Outcome, Phase, Reason, Severity, TargetRef
from activator.web.board import Board
from activator.web.board_views import PAGE_ROWS, OverviewFeed, Query, TargetFeed
from tests.fakes.facts import ORDERS, START, at, batch_read, evaluation, lag, new_ids, stretch, wake

MAIL = replace(ORDERS, name="mail")


def told(feed: OverviewFeed | TargetFeed, seconds: float = 0) -> tuple[str, dict[str, Any]]:
    """Return the next message, which must be there and must be JSON."""
    message = feed.next(at(seconds))
    assert message is not None
    json.dumps(message[1], allow_nan=False)
    return message


def fleet(count: int) -> Board:
    """Return a board of so many sleepers."""
    board = Board()
    for number in range(count):
        board.record(evaluation(0, ref=replace(ORDERS, name=f"d{number:04}")))
    return board


def test_an_overview_begins_whole_and_goes_on_with_changes() -> None:
    """Rows that did not change are not sent again; without news nothing is."""
    board = Board()
    board.record(evaluation(0))
    board.record(evaluation(0, ref=MAIL))
    feed = OverviewFeed(board, Query())
    name, data = told(feed)
    assert name == "snapshot"
    assert [row["id"] for row in data["rows"]] == ["shop/Deployment/mail", "shop/Deployment/orders"]
    assert (data["total"], data["phases"], data["wrong"]["targets"]) == (2, {"Asleep": 2}, 0)
    assert feed.next(at(1)) is None
    board.record(wake(5))
    name, data = told(feed, 5)
    assert name == "update"
    assert [(row["id"], row["phase"]) for row in data["rows"]] == [("shop/Deployment/orders", "Waking")]
    assert data["phases"] == {"Asleep": 1, "Waking": 1}


def test_a_look_that_changes_no_total_sends_its_row_only() -> None:
    """At a hundred looks a second the head would be most of the traffic."""
    board = fleet(2)
    feed = OverviewFeed(board, Query())
    told(feed)
    board.record(evaluation(5, ref=replace(ORDERS, name="d0001")))
    assert set(told(feed, 5)[1]) == {"now", "rows"}


def test_a_change_on_another_page_is_not_sent() -> None:
    """Unless it changes the totals."""
    board = fleet(PAGE_ROWS + 1)
    feed = OverviewFeed(board, Query())
    told(feed)
    last = replace(ORDERS, name=f"d{PAGE_ROWS:04}")
    board.record(evaluation(5, ref=last))
    assert feed.next(at(5)) is None
    board.record(wake(6, ref=last))
    name, data = told(feed, 6)
    assert (name, data["rows"], data["phases"]["Waking"]) == ("update", [], 1)


def test_a_target_that_comes_or_goes_sends_the_whole() -> None:
    """The rows of a page have moved."""
    board = fleet(2)
    feed = OverviewFeed(board, Query())
    told(feed)
    board.forget(replace(ORDERS, name="d0000"))
    name, data = told(feed, 1)
    assert (name, len(data["rows"]), data["total"]) == ("snapshot", 1, 1)


@pytest.mark.parametrize(("page", "shown", "rows"), [(1, 1, 100), (3, 3, 50), (9, 3, 50)])
def test_pages(page: int, shown: int, rows: int) -> None:
    """A page past the end is the last one."""
    _, data = told(OverviewFeed(fleet(250), Query(page=page)))
    assert (data["page"], data["pages"], len(data["rows"]), data["matching"]) == (shown, 3, rows, 250)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"q": "MAIL"}, ["mail"]),
        ({"q": "shop/o"}, ["orders"]),
        ({"q": "pizza"}, ["mail", "orders"]),
        ({"show": "Waking"}, ["orders"]),
        ({"show": "wrong"}, ["mail"]),
        ({"show": "nonsense", "page": "x"}, ["mail", "orders"]),
        ({"q": "nothing"}, []),
    ],
)
def test_search_and_filters(query: dict[str, str], ids: list[str]) -> None:
    """By name, topic or group; by phase, or what is wrong; nonsense means its default."""
    board = Board()
    board.record(wake(0))
    board.record(evaluation(0, ref=MAIL, reason=Reason.UNREADABLE))
    _, data = told(OverviewFeed(board, Query.read(query)))
    assert [row["name"] for row in data["rows"]] == ids


@pytest.mark.parametrize("page", ["0", "-1", "", "²", "99999999999999999999", "1.5"])
def test_a_page_that_is_no_number_is_the_first(page: str) -> None:
    """URLs are typed by people."""
    assert Query.read({"page": page}).page == 1


def test_what_is_wrong_is_listed_with_its_clusters() -> None:
    """At most fifty targets; their number is told all the same."""
    board = Board()
    for number in range(60):
        board.record(
            evaluation(number, ref=replace(ORDERS, name=f"d{number:02}"), reason=Reason.UNREADABLE, text="broken")
        )
    board.record(batch_read(60, unreadable=4, problem="kafka:9092: refused"))
    _, data = told(OverviewFeed(board, Query()), 60)
    wrong = data["wrong"]
    assert (wrong["targets"], len(wrong["list"])) == (60, 50)
    assert wrong["list"][0] == {
        "label": "unreadable",
        "id": "shop/Deployment/d00",
        "text": "broken",
        "since": round(START.timestamp() * 1000),
    }
    assert wrong["clusters"][0]["text"] == "4 of 12 triggers unreadable: kafka:9092: refused"


def test_a_row_tells_unknown_from_zero() -> None:
    """A lower bound is marked, and a target that was never valid has no figures."""
    board = Board()
    board.record(evaluation(0, lags=(lag(problems=("no leader",)),)))
    board.record(Notice(MAIL, "uid", Severity.WARNING, "InvalidConfiguration", "typo", START))
    _, data = told(OverviewFeed(board, Query()))
    mail, orders = data["rows"]
    assert (orders["lag"], orders["complete"]) == (None, False)
    assert "lag" not in mail
    assert "replicas" not in mail
    assert (mail["phase"], mail["text"]) == ("Invalid", "typo")


def orders_feed(board: Board) -> TargetFeed:
    """Return the feed of the target's page."""
    return TargetFeed(board, "shop", "Deployment", "orders")


def test_a_decision_is_sent_with_everything_that_explains_it() -> None:
    """Steps in words, who brought it forward, the PATCH, and the trace id."""
    board = Board()
    decided = wake(5, applied=Applied(at(5), at(5.004), "ok", attempts=2))
    board.record(decided)
    name, data = told(orders_feed(board), 5)
    assert name == "snapshot"
    [entry] = data["entries"]
    assert entry["trace"] == decided.ids.trace_id
    assert (entry["from"], entry["to"], entry["outcome"]) == (0, 1, "applied")
    assert entry["steps"] == [
        {"name": "follow triggers", "replicas": 1, "reason": "record-arrived", "text": "a record has arrived on pizza"}
    ]
    assert (entry["push"]["source"], entry["push"]["partition"], entry["push"]["offset"]) == ("the tail", 3, 41)
    assert entry["apply"] == {"status": "ok", "attempts": 2, "milliseconds": pytest.approx(4.0)}
    assert data["policy"]["triggers"][0]["topic"] == "pizza"


def test_notices_and_episodes_are_sent_in_words() -> None:
    """With what went wrong marked as such."""
    board = Board()
    whole = new_ids()
    facts = (
        wake(0),
        stretch("first_commit", 3.4, whole=whole),
        stretch("", 600, whole=whole, missing=("handoff",)),
        Notice(ORDERS, "uid", Severity.WARNING, "ForeignWrites", "argocd", START),
    )
    for fact in facts:
        board.record(fact)
    _, data = told(orders_feed(board))
    assert [(entry["kind"], entry["text"], entry.get("bad")) for entry in data["entries"]] == [
        ("notice", "argocd", True),
        ("episode", "closed after 600 s without handoff", True),
        ("episode", "first commit after 3.40 s", False),
        ("decision", "a record has arrived on pizza", None),
    ]


def test_a_target_s_page_goes_on_with_new_entries_and_points() -> None:
    """An entry that grew is sent again under its id; points go on from the last one, which may have moved."""
    board = Board()
    board.record(evaluation(0))
    feed = orders_feed(board)
    _, first = told(feed)
    assert first["points"]["from"] == 0
    assert feed.next(at(1)) is None
    board.record(evaluation(30))
    name, data = told(feed, 30)
    assert name == "update"
    assert [(entry["id"], entry["evaluations"]) for entry in data["entries"]] == [(first["entries"][0]["id"], 2)]
    assert (data["points"]["from"], len(data["points"]["time"])) == (0, 2)


def test_a_target_that_is_not_there_is_said_once() -> None:
    """And when it comes, or comes again, it is sent whole."""
    board = Board()
    feed = orders_feed(board)
    assert told(feed)[1]["row"] is None
    assert feed.next(at(1)) is None
    board.record(evaluation(2))
    assert told(feed, 2)[0] == "snapshot"
    board.forget(ORDERS)
    assert told(feed, 3)[1]["row"] is None
    board.record(evaluation(4))
    name, data = told(feed, 4)
    assert (name, data["points"]["from"], len(data["points"]["time"])) == ("snapshot", 0, 1)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=300))
def test_a_viewer_that_puts_the_pieces_together_has_what_the_board_has(looks: list[tuple[int, int, bool]]) -> None:
    """However changes fall between two messages, the points of the chart are those of the board."""
    board = Board()
    feed = orders_feed(board)
    first, times = 0, list[int]()
    for second, (known, replicas, read) in enumerate(looks):
        made = evaluation(second, replicas=(replicas, replicas), lags=(lag(known),))
        board.record(made)
        if read:
            points = told(feed, second)[1]["points"]
            if not times:
                first = points["from"]
            times = times[: points["from"] - first] + points["time"]
            times, first = times[points["dropped"] - first :], points["dropped"]
            track = board.find("shop", "Deployment", "orders")
            assert track is not None
            assert times == [round(time * 1000) for time in track.points.times]


def test_points_that_were_dropped_are_dropped_by_the_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that stays open for days does not grow."""
    monkeypatch.setattr("activator.web.board._MOST_POINTS", 100)
    board = Board()
    feed = orders_feed(board)
    for second in range(300):
        board.record(evaluation(second, lags=(lag(second),)))
        points = told(feed, second)[1]["points"]
    assert points["dropped"] > 0
    assert points["from"] == 298


def test_a_name_in_two_kinds_is_two_targets() -> None:
    """The kind is part of the URL."""
    board = Board()
    board.record(evaluation(0))
    board.record(wake(0, ref=TargetRef("shop", "StatefulSet", "orders"), phase=Phase.WAKING))
    assert told(TargetFeed(board, "shop", "StatefulSet", "orders"))[1]["row"]["phase"] == "Waking"
    assert told(orders_feed(board))[1]["row"]["phase"] == "Asleep"


def test_a_failed_change_shows_the_count_that_is() -> None:
    """What was decided and not done is not what runs."""
    board = Board()
    board.record(wake(0, outcome=Outcome.FAILED))
    assert told(orders_feed(board))[1]["row"]["replicas"] == 0
