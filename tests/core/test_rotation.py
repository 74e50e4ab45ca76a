"""The order in which certificates follow each other: no client ever meets one whose CA it has not been given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activator.core.rotation import Action, RotationTimes, Seen, Term, plan

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
TIMES = RotationTimes(timedelta(days=90))
SETTLED = timedelta(days=-1)


def term(since_days: float, lasts_days: float = 90) -> Term:
    """A generation that was made so many days after the start."""
    since = START + timedelta(days=since_days)
    return Term(since, since + timedelta(days=lasts_days))


LONG_AGO = START + SETTLED
FIRST, SECOND = term(0), term(60)
TABLE = {
    "nothing is there": (0.0, Seen(None), Action.ISSUE),
    "it expired and no next one was made": (91.0, Seen(FIRST, published_since=LONG_AGO), Action.ISSUE),
    "it expired while nobody led, but the next one is there": (91.0, Seen(FIRST, SECOND), Action.SHOW),
    "both expired": (200.0, Seen(FIRST, SECOND, published_since=LONG_AGO), Action.ISSUE),
    "the API server has another bundle": (1.0, Seen(FIRST), Action.PUBLISH),
    "all is well": (59.0, Seen(FIRST, published_since=LONG_AGO), Action.WAIT),
    "two thirds have passed": (60.0, Seen(FIRST, published_since=LONG_AGO), Action.STAGE),
    "staged, but the API server does not know its CA": (60.1, Seen(FIRST, SECOND), Action.PUBLISH),
    "staged and published this moment": (
        60.1,
        Seen(FIRST, SECOND, published_since=START + timedelta(days=60.1)),
        Action.WAIT,
    ),
    "staged and settled": (60.1, Seen(FIRST, SECOND, published_since=START + timedelta(days=60)), Action.SHOW),
    "the one before may still be shown by somebody": (
        80.0,
        Seen(SECOND, retired=(FIRST,), published_since=LONG_AGO),
        Action.WAIT,
    ),
    "the one before has expired": (90.0, Seen(SECOND, retired=(FIRST,), published_since=LONG_AGO), Action.PRUNE),
}


@pytest.mark.parametrize(("day", "seen", "action"), TABLE.values(), ids=TABLE.keys())
def test_what_is_next(day: float, seen: Seen, action: Action) -> None:
    """Each state has one next thing to do."""
    now = START + timedelta(days=day)
    decided = plan(seen, TIMES, now)
    assert decided.action is action
    if action is not Action.WAIT:
        assert decided.look_again_at == now, "what is done is looked at"
    else:
        assert now < decided.look_again_at <= now + TIMES.look


@pytest.mark.parametrize("lifetime", [timedelta(minutes=1), timedelta(days=1), timedelta(days=365)])
def test_a_rotation_ends_long_before_the_old_one_expires(lifetime: timedelta) -> None:
    """Everybody looks several times before a staged one is shown, and all that well within the last third."""
    times = RotationTimes(lifetime)
    assert times.look * 2 < times.settle
    assert times.renewal + 2 * times.settle < lifetime


class World:
    """A clock in seconds, one who rotates, and what was shown and published at each second."""

    def __init__(self, times: RotationTimes) -> None:
        self.times = times
        self.shown: Term | None = None
        self.staged: Term | None = None
        self.trusted: list[Term] = []
        self.published: list[Term] = []
        self.published_since = START
        self.history: list[tuple[Term | None, list[Term]]] = []

    def turn(self, now: datetime) -> None:
        """Do the one next thing."""
        retired = tuple(one for one in self.trusted if one not in (self.shown, self.staged))
        known = self.published_since if self.published == self.trusted else None
        match plan(Seen(self.shown, self.staged, retired, known), self.times, now).action:
            case Action.ISSUE:
                self.shown = Term(now, now + self.times.lifetime)
                self.trusted.append(self.shown)
            case Action.STAGE:
                self.staged = Term(now, now + self.times.lifetime)
                self.trusted.append(self.staged)
            case Action.SHOW:
                self.shown, self.staged = self.staged, None
            case Action.PRUNE:
                self.trusted = [one for one in self.trusted if now < one.until]
            case Action.PUBLISH:
                self.published, self.published_since = list(self.trusted), now

    def known_to(self, second: int, looks_late: int) -> tuple[Term | None, list[Term]]:
        """What somebody knows at a second who learns of everything so many looks late."""
        return self.history[max(second - looks_late * int(self.times.look.total_seconds()), 0)]


@settings(max_examples=30)
@given(
    replica_looks_late=st.integers(min_value=0, max_value=2),
    api_server_looks_late=st.integers(min_value=0, max_value=2),
    nobody_leads=st.tuples(st.integers(min_value=0, max_value=400), st.integers(min_value=0, max_value=60)),
    deaf=st.tuples(st.integers(min_value=30, max_value=400), st.integers(min_value=0, max_value=500)),
)
@example(replica_looks_late=0, api_server_looks_late=0, nobody_leads=(0, 31), deaf=(30, 0))
def test_no_client_meets_what_it_cannot_verify(
    replica_looks_late: int, api_server_looks_late: int, nobody_leads: tuple[int, int], deaf: tuple[int, int]
) -> None:
    """What any replica shows can be verified by every API server until it expires.

    Both learn of a change up to two looks late, nobody leads for a while, and another replica hears nothing at all for
    a while, in which it goes on showing what it had.
    """
    world = World(RotationTimes(timedelta(seconds=360)))
    of_the_deaf: Term | None = None
    for second in range(1200):
        now = START + timedelta(seconds=second)
        if second not in range(nobody_leads[0], sum(nobody_leads)):
            world.turn(now)
        world.history.append((world.shown, list(world.published)))
        shown, _ = world.known_to(second, replica_looks_late)
        _, verifiable = world.known_to(second, api_server_looks_late)
        if of_the_deaf is None or second not in range(deaf[0], sum(deaf)):
            of_the_deaf = shown
        if not verifiable and len(world.trusted) < 2:
            continue  # the very first one is shown before anybody knows of it, whenever somebody first leads
        settled = second - 100 > sum(nobody_leads)
        assert not settled or (shown is not None and now < shown.until), "renewed in time"
        for term in (shown, of_the_deaf):
            if term is not None and now < term.until:
                assert term in verifiable
