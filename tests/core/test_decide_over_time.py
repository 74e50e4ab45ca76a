"""Decisions as timelines: each story is a row of looks, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from activator.core.decide import decide
from activator.core.model import (
    GroupState,
    Lag,
    Memory,
    Observation,
    OffsetReset,
    Policy,
    Reason,
    SleepFrom,
    WakeTo,
)
from tests.core.decisions import MAILS, NEVER_READ, NINE, ORDERS, OUTAGE, TAIL, at, lag, policy, remembered, seen


@dataclass
class Story:
    """A target that is looked at again and again, and set to what is decided unless somebody else sets it."""

    policy: Policy = field(default_factory=policy)
    replicas: int = 1
    memory: Memory = field(default_factory=lambda: Memory(taken_over_at=at(-3600)))
    looks_next: datetime = NINE
    text: str = ""

    def look(self, seconds: float, *lags: Lag, by: int | None = None, ready: int | None = None) -> tuple[int, Reason]:
        """Look once, after another hand has set the count to `by`; return the count afterwards, and why."""
        self.replicas = self.replicas if by is None else by
        observation = seen(
            self.replicas,
            *lags,
            ready_replicas=self.replicas if ready is None else ready,
        )
        decision, self.memory = decide(self.policy, self.memory, observation, at(seconds))
        self.memory = replace(self.memory, replicas=decision.replicas)  # it is set at once
        self.replicas, self.looks_next, self.text = decision.replicas, decision.look_again_at, decision.text
        return decision.replicas, decision.reason

    def next_look(self, after: float) -> float:
        """Return the seconds from a look to the next one that was asked for."""
        return (self.looks_next - at(after)).total_seconds()


def test_it_sleeps_when_the_cooldown_is_over_and_not_sooner() -> None:
    """Lag until 0 s, a cooldown of 60 s: the look at its very end is asked for, and puts it to sleep."""
    story = Story()
    assert story.look(0, lag(4)) == (1, Reason.LAG)
    assert story.look(15) == (1, Reason.COOLING_DOWN)
    assert story.next_look(15) == 15
    assert story.look(50) == (1, Reason.COOLING_DOWN)
    assert story.next_look(50) == 10
    assert story.look(59.999) == (1, Reason.COOLING_DOWN)
    assert story.next_look(59.999) == 0.1
    assert story.look(60) == (0, Reason.QUIET)
    assert story.next_look(60) == 1


def test_one_record_in_the_cooldown_begins_it_again() -> None:
    """The quiet period is one without a break."""
    story = Story()
    assert story.look(0, lag(4)) == (1, Reason.LAG)
    assert story.look(59, lag(1)) == (1, Reason.LAG)
    assert story.look(61) == (1, Reason.COOLING_DOWN)
    assert story.look(118.9) == (1, Reason.COOLING_DOWN)
    assert story.look(119) == (0, Reason.QUIET)


def test_records_that_come_and_go_between_looks_keep_it_awake() -> None:
    """A consumer that keeps up shows no lag at any look, and must not be put to sleep and woken every minute."""
    story = Story()
    for seconds in range(0, 300, 15):
        assert story.look(seconds, lag(0, arrived=7)) == (1, Reason.COOLING_DOWN)
    assert story.look(344) == (1, Reason.COOLING_DOWN)
    assert story.look(345) == (0, Reason.QUIET)


def test_no_target_sleeps_before_its_initial_cooldown() -> None:
    """It was taken over at 0 s without any lag: both periods are waited for, the later one is told."""
    story = Story(
        policy(cooldown=timedelta(seconds=30), initial_cooldown=timedelta(seconds=90)),
        memory=Memory(taken_over_at=NINE),
    )
    assert story.look(0) == (1, Reason.INITIAL_COOLDOWN)
    assert story.look(31) == (1, Reason.INITIAL_COOLDOWN)
    assert story.look(70, lag(1)) == (1, Reason.LAG)
    assert story.look(90) == (1, Reason.COOLING_DOWN)
    assert story.look(100) == (0, Reason.QUIET)


def test_after_a_takeover_the_cooldown_counts_from_it() -> None:
    """A target that has never been active does not sleep at the first look, even without an initial cooldown."""
    story = Story(memory=Memory(taken_over_at=NINE))
    assert story.look(0) == (1, Reason.COOLING_DOWN)
    assert story.look(60) == (0, Reason.QUIET)


def test_sleep_from_floor_waits_for_the_hpa() -> None:
    """The HPA comes down from five to its minimum; only then does it sleep."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR, min_replicas=2), replicas=5)
    assert story.look(0, lag(50)) == (5, Reason.LAG)
    assert story.look(60) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(200, by=3) == (3, Reason.WAITING_FOR_FLOOR)
    assert story.look(201, by=2) == (0, Reason.QUIET)


def test_sleep_from_floor_waits_no_longer_than_the_window_and_half_a_minute() -> None:
    """An HPA that is stuck keeps nothing awake for ever: 300 s of scale-down window and 30 s more."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR), replicas=5)
    assert story.look(0, lag(50)) == (5, Reason.LAG)
    assert story.look(60) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(389) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.next_look(389) == 1
    assert story.look(390) == (0, Reason.QUIET)


@pytest.mark.parametrize(
    "between",
    [lag(1), OUTAGE, lag(0, group_state=GroupState.RECONCILING), lag(0, arrived=1)],
    ids=["lag", "an outage", "a rebalance", "records that came and went"],
)
def test_what_ends_the_quiet_ends_the_wait_for_the_floor(between: Lag) -> None:
    """After the next cooldown the HPA gets the whole window again, not what was left of the one before."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR), replicas=5)
    story.look(0, lag(50))
    assert story.look(60) == (5, Reason.WAITING_FOR_FLOOR)
    story.look(380, between)
    assert story.look(390)[1] is Reason.COOLING_DOWN
    assert story.look(440) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(769) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(770) == (0, Reason.QUIET)


def test_without_a_cooldown_a_rebalance_ends_the_wait_for_the_floor_too() -> None:
    """A group that rebalances is not quiet, however short the quiet has to be."""
    story = Story(policy(sleep_from=SleepFrom.FLOOR, cooldown=timedelta(0)), replicas=5)
    assert story.look(0) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(320, lag(0, group_state=GroupState.ASSIGNING)) == (5, Reason.REBALANCING)
    assert story.look(340) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(669) == (5, Reason.WAITING_FOR_FLOOR)
    assert story.look(670) == (0, Reason.QUIET)


def test_keep_awake_holds_and_lets_go() -> None:
    """While it is set it does not sleep; when it is taken away it sleeps at the next look, having been quiet long."""
    story = Story(policy(keep_awake=True))
    assert story.look(0, lag(1)) == (1, Reason.LAG)
    assert story.look(600) == (1, Reason.KEEP_AWAKE)
    assert story.look(660, by=0) == (1, Reason.KEEP_AWAKE)
    story.policy = policy()
    assert story.look(661) == (0, Reason.QUIET)


def test_paused_freezes_whatever_happens() -> None:
    """Lag does not wake it, quiet does not put it to sleep, and afterwards it goes on as if it had been watched."""
    story = Story(policy(paused=True))
    assert story.look(0, lag(900)) == (1, Reason.PAUSED)
    assert story.look(600) == (1, Reason.PAUSED)
    assert story.look(601, lag(1), by=0) == (0, Reason.PAUSED)
    story.policy = policy()
    assert story.look(602, lag(1)) == (1, Reason.LAG)


def test_dry_run_decides_the_same_at_every_look_and_changes_nothing() -> None:
    """It says what it would do, for as long as it would do it."""
    story = Story(policy(dry_run=True), replicas=4)
    assert story.look(0, lag(40)) == (4, Reason.LAG)
    assert story.look(30) == (4, Reason.COOLING_DOWN)
    for seconds in (60, 75, 90):
        assert story.look(seconds) == (4, Reason.DRY_RUN)
        assert story.text == "dry run: would go from 4 to 0"
        assert story.next_look(seconds) == 15


def test_a_foreign_hand_that_wakes_it_gets_one_cooldown() -> None:
    """Somebody scales a sleeper to 3: going back at once would be a fight, so one cooldown passes."""
    story = Story(replicas=0)
    assert story.look(0) == (0, Reason.NO_LAG)
    assert story.look(100, by=3) == (3, Reason.COOLING_DOWN)
    assert story.text == "cooldown-period of 60 s has 60.0 s left"
    assert story.look(130, by=3) == (3, Reason.COOLING_DOWN)
    assert story.look(160, by=3) == (0, Reason.QUIET)


def test_a_foreign_hand_that_lowers_it_begins_nothing() -> None:
    """The HPA coming down step by step must not put the sleep off with every step."""
    story = Story(replicas=5)
    story.look(0, lag(50))
    assert story.look(20, by=4) == (4, Reason.COOLING_DOWN)
    assert story.look(40, by=2) == (2, Reason.COOLING_DOWN)
    assert story.look(60, by=1) == (0, Reason.QUIET)


def test_a_foreign_hand_that_puts_it_to_sleep_is_overruled_by_lag() -> None:
    """Work that waits is worked off, whoever set it to zero."""
    story = Story()
    story.look(0, lag(5))
    assert story.look(10, lag(5), by=0) == (1, Reason.LAG)


def test_our_own_wake_is_no_foreign_hand() -> None:
    """A wake that turned out to be for nothing costs one cooldown, counted from what woke it."""
    story = Story(replicas=0)
    assert story.look(0, lag(1)) == (1, Reason.LAG)
    assert story.look(10) == (1, Reason.COOLING_DOWN)
    assert story.look(60) == (0, Reason.QUIET)


def test_an_outage_puts_nothing_to_sleep_and_begins_the_quiet_again() -> None:
    """Kafka is away from 30 s to 90 s: nothing moves, and the cooldown counts from the last look without an answer."""
    story = Story(replicas=2)
    story.look(0, lag(20))
    for seconds in (30, 45, 60, 75, 90):
        assert story.look(seconds, OUTAGE) == (2, Reason.UNREADABLE)
    assert story.look(105) == (2, Reason.COOLING_DOWN)
    assert story.look(149) == (2, Reason.COOLING_DOWN)
    assert story.look(150) == (0, Reason.QUIET)


def test_an_outage_wakes_nothing_and_is_not_activity_of_a_sleeper() -> None:
    """Asleep it stays asleep; a record that is there afterwards wakes it."""
    story = Story(replicas=0)
    for seconds in (0, 60):
        assert story.look(seconds, OUTAGE) == (0, Reason.UNREADABLE)
    assert story.memory.last_active is None
    assert story.look(75) == (0, Reason.NO_LAG)
    assert story.look(90, lag(1)) == (1, Reason.LAG)


def test_what_was_never_read_is_held_from_the_first_look() -> None:
    """Kafka is away when it is taken over: it stays as it was found, for as long as that takes."""
    story = Story(policy(cooldown=timedelta(0)), replicas=3, memory=Memory(taken_over_at=NINE))
    assert story.look(0, NEVER_READ) == (3, Reason.NEVER_READ)
    never = Lag(known=0, complete=False, partitions=None, problems=("Kafka kafka:9092: no answer",))
    assert story.look(3600, never) == (3, Reason.UNREADABLE)
    assert story.look(3615) == (0, Reason.QUIET)


def test_a_group_without_a_commit_is_kept_running_until_it_has_one() -> None:
    """With latest, the record that wakes such a consumer is the one that it skips."""
    story = Story(policy(replace(ORDERS, offset_reset=OffsetReset.LATEST)))
    for seconds in (0, 600, 1200):
        assert story.look(seconds, lag(0, uncommitted=True)) == (1, Reason.NO_COMMITTED_OFFSET)
    assert story.look(1230) == (1, Reason.COOLING_DOWN)
    assert story.look(1260) == (0, Reason.QUIET)
    assert story.look(1300, lag(0, uncommitted=True)) == (1, Reason.NO_COMMITTED_OFFSET)


def test_a_woken_target_without_a_ready_replica_says_so_after_five_minutes() -> None:
    """An image that cannot be pulled: the count stays, the reason tells, and it ends with the first ready replica."""
    story = Story(replicas=0)
    assert story.look(0, lag(5)) == (1, Reason.LAG)
    assert story.look(1, lag(5), ready=0) == (1, Reason.LAG)
    assert story.next_look(1) == 5
    assert story.look(300, lag(5), ready=0) == (1, Reason.LAG)
    assert story.look(301, lag(5), ready=0) == (1, Reason.NO_REPLICA_READY)
    assert story.text == "no replica of 1 has been ready for 300 s"
    assert story.look(400, lag(5), ready=1) == (1, Reason.LAG)
    assert story.look(800, lag(5), ready=0) == (1, Reason.LAG)


def test_a_target_that_nobody_can_start_still_goes_to_sleep() -> None:
    """Without lag there is nothing to wait for, ready or not."""
    story = Story(replicas=0)
    story.look(0, lag(5))
    for seconds in (1, 301):
        story.look(seconds, lag(5), ready=0)
    assert story.look(362, ready=0) == (0, Reason.QUIET)


def test_wake_to_lag_wakes_to_what_is_asked_for_and_leaves_the_rest_to_the_hpa() -> None:
    """41 records wake it to five at once; from there every move is the HPA's."""
    story = Story(policy(wake_to=WakeTo.LAG), replicas=0)
    assert story.look(0, lag(41)) == (5, Reason.LAG)
    assert story.look(15, lag(11)) == (5, Reason.LAG)
    assert story.look(30, by=2) == (2, Reason.COOLING_DOWN)


def test_wake_to_lag_wakes_to_min_where_the_lag_is_not_known_yet() -> None:
    """The tail proves one record, not how many."""
    target = policy(wake_to=WakeTo.LAG, min_replicas=2)
    observation = seen(0, pushed=TAIL, push_is_proof=True)
    decision, _ = decide(target, remembered(), observation, NINE)
    assert (decision.replicas, decision.reason) == (2, Reason.RECORD_ARRIVED)


def test_two_topics_are_quiet_together_or_not_at_all() -> None:
    """The cooldown begins when the last of them has gone quiet."""
    story = Story(policy(ORDERS, MAILS))
    story.look(0, lag(1), lag(1))
    assert story.look(45, lag(0), lag(1)) == (1, Reason.LAG)
    assert story.look(61, lag(0), lag(0)) == (1, Reason.COOLING_DOWN)
    assert story.look(105, lag(0), lag(0)) == (0, Reason.QUIET)


def test_a_topic_that_grows_lifts_the_cap() -> None:
    """Eight partitions feed eight consumers, from the look that sees them on."""
    story = Story(policy(wake_to=WakeTo.LAG), replicas=0)
    assert story.look(0, lag(500, partitions=5)) == (5, Reason.PARTITION_CAP)
    story.replicas = 0
    assert story.look(15, lag(500, partitions=8)) == (8, Reason.PARTITION_CAP)


def test_a_sleeper_is_looked_at_less_and_less_often() -> None:
    """Its group is Empty only once its consumers have left: soon at first, then by the polling interval."""
    story = Story(policy(polling_interval=timedelta(seconds=30)), replicas=0)
    now, distances = 0.0, []
    for _ in range(9):
        story.look(now)
        distances.append(story.next_look(now))
        now += distances[-1]
    assert distances == [1, 1, 2, 4, 8, 16, 30, 30, 30]


POLLS: dict[str, tuple[float, Observation, float]] = {
    "awake with an HPA, long interval: as often as it looks": (300, seen(2, lag(20)), 15),
    "awake, short interval": (5, seen(2, lag(20)), 5),
    "waking": (300, seen(2, lag(20), ready_replicas=0), 5),
    "waking, short interval": (2, seen(2, lag(20), ready_replicas=0), 2),
    "woken just now": (300, seen(0, lag(20)), 1),
    "an outage, long interval: its end is noticed soon": (300, seen(2, OUTAGE), 5),
    "an outage, short interval": (2, seen(2, OUTAGE), 2),
}


@pytest.mark.parametrize(("interval", "observation", "distance"), POLLS.values(), ids=POLLS)
def test_when_it_looks_again(interval: float, observation: Observation, distance: float) -> None:
    """By the polling interval, and sooner where somebody waits for the answer."""
    decision, _ = decide(policy(polling_interval=timedelta(seconds=interval)), remembered(), observation, NINE)
    assert (decision.look_again_at - NINE).total_seconds() == distance
