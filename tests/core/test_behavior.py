"""HPA's algorithm against tables worked from the Kubernetes documentation and KEP-853, each row named."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.behavior import Answer, Bounds, Metric, forget_last, recommend
from activator.core.model import (
    Behavior,
    BehaviorMemory,
    Reason,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
)

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DEFAULT = Behavior()
WIDE = Bounds(1, 10_000)


def seconds(count: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=count)


def pods(value: int, period: float) -> ScalingPolicy:
    """At most so many pods in so many seconds."""
    return ScalingPolicy("Pods", value, seconds(period))


def percent(value: int, period: float) -> ScalingPolicy:
    """At most so many percent in so many seconds."""
    return ScalingPolicy("Percent", value, seconds(period))


def down(*policies: ScalingPolicy, window: float = 0, select: SelectPolicy = SelectPolicy.MAX) -> Behavior:
    """Kubernetes' defaults, but for scaling down."""
    rules = replace(DEFAULT.scale_down, stabilization=seconds(window), select=select)
    return replace(DEFAULT, scale_down=replace(rules, policies=policies) if policies else rules)


def up(*policies: ScalingPolicy, window: float = 0, select: SelectPolicy = SelectPolicy.MAX) -> Behavior:
    """Kubernetes' defaults, but for scaling up."""
    return replace(DEFAULT, scale_up=ScalingRules(seconds(window), policies or DEFAULT.scale_up.policies, select))


@dataclass
class Controller:
    """Syncs as an HPA controller does: what is recommended is set, unless a test says otherwise."""

    behavior: Behavior = DEFAULT
    bounds: Bounds = WIDE
    replicas: int = 1
    target: int = 1
    """One unit of the metric asks for one replica, so that tables read as counts."""
    memory: BehaviorMemory = field(default_factory=BehaviorMemory)

    def look(self, at: float, *values: int | None) -> Answer:
        """Sync without setting anything."""
        metrics = [Metric(value, self.target) for value in values]
        return recommend(self.behavior, self.bounds, metrics, self.memory, self.replicas, START + seconds(at))

    def sync(self, at: float, *values: int | None) -> int:
        """Sync once; return the count afterwards."""
        answer = self.look(at, *values)
        self.memory, self.replicas = answer.memory, answer.replicas
        return self.replicas

    def every(self, step: float, value: int, times: int) -> list[int]:
        """Sync so many times in steps of so many seconds, with one value."""
        return [self.sync(step * index, value) for index in range(times)]


@pytest.mark.parametrize(
    ("row", "value", "target", "current", "expected"),
    [
        ("twice the target doubles", 200, 100, 1, 2),
        ("half the target halves", 400, 100, 8, 4),
        ("a part of a replica is a whole one", 201, 100, 1, 3),
        ("nothing to do asks for nothing, the minimum holds", 0, 100, 5, 1),
        ("10 % above is tolerated", 110, 10, 10, 10),
        ("more than 10 % above is not", 111, 10, 10, 12),
        ("10 % below is tolerated", 90, 10, 10, 10),
        ("more than 10 % below is not", 89, 10, 10, 9),
        ("on the target", 100, 10, 10, 10),
    ],
)
def test_the_metric_asks(row: str, value: int, target: int, current: int, expected: int) -> None:
    """ceil(value / target), unless the ratio is within the tolerance of 1 (documentation, "Algorithm details")."""
    controller = Controller(down(), replicas=current, target=target)
    controller.memory = BehaviorMemory(recommendations=((0, START - seconds(1)),))  # it has been at work before
    assert controller.sync(0, value) == expected, row


@pytest.mark.parametrize(
    ("row", "up_tolerance", "down_tolerance", "value", "expected"),
    [
        ("up 1 % down 5 %: 2 % above scales up", "0.01", "0.05", 102, 11),
        ("up 1 % down 5 %: 4 % below is tolerated", "0.01", "0.05", 96, 10),
        ("up 1 % down 5 %: 6 % below scales down", "0.01", "0.05", 84, 9),
        ("no tolerance at all", "0", "0", 101, 11),
        ("only up is set: down has the controller's 10 %", "0", None, 91, 10),
    ],
)
def test_tolerance_by_direction(
    row: str, up_tolerance: str | None, down_tolerance: str | None, value: int, expected: int
) -> None:
    """Each direction may have a tolerance of its own (KEP-4951)."""
    behavior = down()
    behavior = replace(
        behavior,
        scale_up=replace(behavior.scale_up, tolerance=up_tolerance),
        scale_down=replace(behavior.scale_down, tolerance=down_tolerance),
    )
    controller = Controller(behavior, replicas=10, target=10)
    controller.memory = BehaviorMemory(recommendations=((0, START - seconds(1)),))
    assert controller.sync(0, value) == expected, row


def test_the_tolerance_is_measured_against_what_runs() -> None:
    """Right after a wake nothing runs yet: 11 at a target of 10 is then no tolerable ratio, and asks for 2."""
    asked = [
        recommend(DEFAULT, WIDE, [Metric(11, 10)], BehaviorMemory(), 1, START, running=running).replicas
        for running in (0, 1)
    ]
    assert asked == [2, 1]


@pytest.mark.parametrize(
    ("row", "behavior", "start", "value", "step", "expected"),
    [
        ("default: 4 pods or 100 %, whichever is more, in 15 s", DEFAULT, 1, 100, 15, [5, 10, 20, 40, 80, 100]),
        ("default: nothing more within the 15 s", DEFAULT, 1, 100, 5, [5, 5, 5, 10, 10, 10]),
        ("KEP-853 story 1, as fast as possible: 900 % in 60 s", up(percent(900, 60)), 1, 1000, 60, [10, 100, 1000]),
        ("KEP-853 story 3, gradually: 1 pod in 600 s", up(pods(1, 600)), 1, 100, 600, [2, 3, 4, 5]),
        ("the least of two policies", up(percent(100, 60), pods(3, 60), select=SelectPolicy.MIN), 2, 99, 60,
         [4, 7, 10]),
        ("disabled", up(select=SelectPolicy.DISABLED), 3, 100, 15, [3, 3]),
        ("a part of a replica is rounded up, or one would stay one", up(percent(10, 60)), 1, 9, 60, [2, 3, 4]),
        ("two policies with periods of their own: 5 in 60 s, but 2 in 10 s",
         up(pods(5, 60), pods(2, 10), select=SelectPolicy.MIN), 1, 99, 10, [3, 5, 6, 6, 6, 6, 8]),
    ],
)  # fmt: skip
def test_scaling_up(row: str, behavior: Behavior, start: int, value: int, step: float, expected: list[int]) -> None:
    """Rate policies allow a change from the count at the start of their period."""
    assert Controller(behavior, replicas=start).every(step, value, len(expected)) == expected, row


@pytest.mark.parametrize(
    ("row", "behavior", "start", "value", "step", "expected"),
    [
        ("default: all at once after the window of 300 s", DEFAULT, 10, 1, 100, [10, 10, 10, 1]),
        ("window of 1 minute", down(window=60), 10, 1, 30, [10, 10, 1]),
        ("documentation: 10 % or 4 pods in 60 s, from 80 to 10", down(pods(4, 60), percent(10, 60)), 80, 10, 60,
         [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10]),
        ("documentation: at most 10 % in 60 s", down(percent(10, 60)), 20, 1, 60, [18, 16, 14, 12, 10, 9, 8, 7]),
        ("documentation: and no more than 5 pods", down(percent(10, 60), pods(5, 60), select=SelectPolicy.MIN), 100, 1,
         60, [95, 90, 85, 80]),
        ("documentation: scale-down disabled", down(select=SelectPolicy.DISABLED), 10, 1, 60, [10, 10]),
        ("KEP-853 story 2, fast up and slow down: 1 pod in 600 s", down(pods(1, 600)), 1000, 1, 600,
         [999, 998, 997]),
        ("down to the minimum and no further", down(), 10, 0, 15, [1, 1]),
    ],
)  # fmt: skip
def test_scaling_down(row: str, behavior: Behavior, start: int, value: int, step: float, expected: list[int]) -> None:
    """Scaling down follows its own window and policies."""
    controller = Controller(behavior, replicas=start)
    if behavior.scale_down.stabilization == timedelta(0) or row.startswith("default"):
        controller.memory = BehaviorMemory(recommendations=((start, START),))
    assert controller.every(step, value, len(expected)) == expected, row


def test_a_spike_is_held_for_the_window() -> None:
    """The highest count asked for within five minutes is kept, and lets go five minutes after it was last asked for."""
    controller = Controller(replicas=2)
    assert [controller.sync(at, value) for at, value in [(0, 2), (15, 6), (30, 2), (60, 4), (314, 2)]] == [
        2,
        6,
        6,
        6,
        6,
    ]
    assert [controller.sync(at, 2) for at in (315, 359, 360)] == [4, 4, 2]


def test_upwards_the_lowest_of_the_window_counts() -> None:
    """With a window for scaling up, a spike shorter than it raises nothing (KEP-853 story 5)."""
    controller = Controller(up(window=60), replicas=2)
    assert [controller.sync(at, value) for at, value in [(0, 2), (15, 6), (30, 2), (45, 6), (60, 5)]] == [2] * 5
    assert [controller.sync(at, 6) for at in (89, 90, 104, 120)] == [2, 5, 5, 6]


def test_a_controller_that_has_just_started_lowers_nothing() -> None:
    """The count at the first look counts as asked for: a restart must not end a window that is under way."""
    controller = Controller(replicas=8)
    assert [controller.sync(at, 1) for at in (0, 299, 300)] == [8, 8, 1]


@pytest.mark.parametrize(
    ("row", "current", "values", "expected", "remembers"),
    [
        ("above the maximum: to it at once, whatever the policies and the metric say", 30, (1,), 20, False),
        ("below the minimum", 2, (9,), 5, False),
        ("the maximum bounds what is asked for", 16, (99,), 20, True),
        ("the minimum does too", 6, (0,), 5, True),
        ("nothing is known: held", 8, (None,), 8, False),
        ("one of two is known and asks for fewer: held", 8, (2, None), 8, False),
        ("one of two is known and asks for more: scaled", 8, (12, None), 12, True),
        ("the largest of two counts", 8, (6, 12), 12, True),
        ("unreadable, but above the maximum: lowered as an HPA does", 30, (None,), 20, False),
    ],
)
def test_bounds_and_the_unknown(
    row: str, current: int, values: tuple[int | None, ...], expected: int, *, remembers: bool
) -> None:
    """Bounds come first; what could not be read lowers nothing and leaves nothing to be remembered."""
    controller = Controller(down(percent(100, 15)), Bounds(5, 20), current)
    before = BehaviorMemory(recommendations=((0, START - seconds(1)),))
    controller.memory = before
    assert controller.sync(0, *values) == expected, row
    assert (controller.memory.recommendations != before.recommendations) is remembers, row


def test_a_change_that_was_not_made_uses_up_no_rate() -> None:
    """A recommendation that came to nothing (a conflict, a dry run) leaves the whole rate for the next."""
    controller = Controller(up(pods(4, 60)), replicas=1)
    failed = controller.look(0, 100)
    assert failed.replicas == 5
    controller.memory = failed.memory
    assert controller.sync(10, 100) == 5
    assert controller.sync(20, 100) == 5


def test_a_change_by_another_hand_uses_up_no_rate() -> None:
    """A person scales from 1 to 20 meanwhile: four more are allowed on top."""
    controller = Controller(up(pods(4, 60)), replicas=1)
    controller.sync(0, 1)
    controller.replicas = 20
    assert controller.sync(10, 100) == 24


def test_what_was_removed_within_the_period_may_come_back() -> None:
    """A period begins with the count that it had: after 10 -> 6 scaling up may go to 10 + 4 at once."""
    controller = Controller(replace(down(pods(4, 60)), scale_up=up(pods(4, 60)).scale_up), replicas=10)
    controller.memory = BehaviorMemory(recommendations=((0, START - seconds(1)),))
    assert [controller.sync(0, 1), controller.sync(10, 100)] == [6, 14]


def test_an_outdated_change_makes_room_for_one_new_one() -> None:
    """As in the controller, a change that its direction counts no more still counts for the other until replaced."""
    behavior = replace(down(pods(1, 60)), scale_up=up(pods(4, 15)).scale_up)
    controller = Controller(behavior, replicas=1)
    assert [controller.sync(at, 99) for at in (0, 16, 32)] == [5, 9, 13]
    controller.sync(33, 99)
    # Of the three changes of +4 the first two were overwritten in turn: the period of 60 s starts at 13 - 4 = 9.
    assert [change.replicas for change in controller.memory.added] == [4]
    assert controller.look(34, 1).text.startswith("the lag asks for 1, the policy of 1 pod in 60 s allows")


def test_no_recommendation_is_followed_across_a_sleep() -> None:
    """A wake to the count that was recommended before the sleep is no change that an HPA made."""
    controller = Controller(down(), replicas=5)
    controller.memory = BehaviorMemory(recommendations=((0, START - seconds(1)),))
    assert controller.look(0, 1).replicas == 1
    controller.memory, controller.replicas = forget_last(controller.look(0, 1).memory), 1
    controller.sync(5, 1)
    assert (controller.memory.added, controller.memory.removed) == ((), ())


@pytest.mark.parametrize(
    ("row", "controller", "at", "value", "reason", "text", "changes_at"),
    [
        ("metric", Controller(replicas=2), 0, 3, Reason.LAG, "a lag of 3, 1 a replica: asks for 3", None),
        ("tolerance", Controller(replicas=10, target=10), 0, 109, Reason.WITHIN_TOLERANCE,
         "a lag of 109 is within the tolerance of 10 a replica: asks for 10", None),
        ("stabilized", Controller(replicas=8), 0, 1, Reason.STABILIZED,
         "the lag asks for 1, but asked for 8 0 s ago: scale-down is stabilized over 300 s", 300),
        ("rate", Controller(replicas=1), 0, 99, Reason.RATE_LIMITED,
         "the lag asks for 99, the policy of 4 pods in 15 s allows 5 just now", None),
        ("rate in percent", Controller(replicas=9), 0, 99, Reason.RATE_LIMITED,
         "the lag asks for 99, the policy of 100 % in 15 s allows 18 just now", None),
        ("disabled", Controller(up(select=SelectPolicy.DISABLED)), 0, 9, Reason.RATE_LIMITED,
         "the lag asks for 9, selectPolicy Disabled allows 1 just now", None),
        ("maximum", Controller(bounds=Bounds(1, 3)), 0, 9, Reason.MAX_REPLICAS,
         "the lag asks for 9, the maximum is 3", None),
    ],
)  # fmt: skip
def test_the_rule_that_settled_it_says_so(
    row: str, controller: Controller, at: float, value: int, reason: Reason, text: str, changes_at: float | None
) -> None:
    """The answer carries the rule that settled it, in words, and when a window lets go."""
    answer = controller.look(at, value)
    assert (answer.reason, answer.text) == (reason, text), row
    assert answer.changes_at == (None if changes_at is None else START + seconds(changes_at)), row


def test_a_used_up_rate_says_when_it_is_free_again() -> None:
    """The next look is due when the change leaves the policy's period, and then more is allowed."""
    controller = Controller(replicas=1)
    assert controller.sync(0, 99) == 5
    answer = controller.look(1, 99)
    assert (answer.replicas, answer.changes_at) == (5, START + seconds(15))
    assert controller.sync(15, 99) == 10


counts = st.integers(min_value=1, max_value=60)
policies = st.builds(
    ScalingPolicy,
    st.sampled_from(["Pods", "Percent"]),
    st.integers(min_value=1, max_value=300),
    st.integers(min_value=1, max_value=90).map(seconds),
)
rules = st.builds(
    ScalingRules,
    st.integers(min_value=0, max_value=120).map(seconds),
    st.lists(policies, min_size=1, max_size=3).map(tuple),
    st.sampled_from(SelectPolicy),
    st.sampled_from([None, "0", "0.05", "0.5"]),
)
behaviors = st.builds(Behavior, rules, rules)
histories = st.lists(st.tuples(st.integers(min_value=0, max_value=200), st.integers(1, 40)), max_size=12)


def _after(behavior: Behavior, bounds: Bounds, history: list[tuple[int, int]], start: int) -> tuple[Controller, float]:
    controller, at = Controller(behavior, bounds, start, target=3), 0.0
    for value, step in history:
        at += step
        controller.sync(at, value)
    return controller, at


@given(behaviors, counts, counts, histories, counts, st.integers(0, 300), st.integers(0, 300))
def test_more_lag_never_asks_for_fewer(
    behavior: Behavior, least: int, span: int, history: list[tuple[int, int]], start: int, value: int, more: int
) -> None:
    """Whatever has happened before, a higher metric never gives a lower count, and both stay within the bounds."""
    bounds = Bounds(least, least + span)
    controller, at = _after(behavior, bounds, history, start)
    less, greater = (controller.look(at + 1, asked).replicas for asked in (value, value + more))
    assert bounds.least <= less <= greater <= bounds.most


@given(behaviors, histories, counts, st.lists(st.integers(0, 300), max_size=2))
def test_the_unreadable_never_lowers(
    behavior: Behavior, history: list[tuple[int, int]], start: int, known: list[int]
) -> None:
    """With a metric unreadable nothing is lowered, whatever the others say."""
    controller, at = _after(behavior, WIDE, history, start)
    assert controller.look(at + 1, None, *known).replicas >= controller.replicas


@given(behaviors, histories, counts, st.integers(0, 300))
def test_nothing_changes_before_it_says_so(
    behavior: Behavior, history: list[tuple[int, int]], start: int, value: int
) -> None:
    """With the metric as it is, a count that was held keeps being the answer until the moment that it names."""
    controller, at = _after(behavior, WIDE, history, start)
    controller.sync(at + 1, value)
    answer = controller.look(at + 2, value)
    if answer.replicas != controller.replicas or answer.changes_at is None:
        return
    controller.memory = answer.memory
    just_before = (answer.changes_at - START).total_seconds() - 0.001
    if just_before > at + 2:
        assert controller.look(just_before, value).replicas == controller.replicas


@given(behaviors, histories, counts)
def test_the_memory_stays_small(behavior: Behavior, history: list[tuple[int, int]], start: int) -> None:
    """One entry a count that was asked for, at most one a change."""
    controller, _ = _after(behavior, WIDE, history, start)
    asked = [count for count, _ in controller.memory.recommendations]
    assert len(asked) == len(set(asked)) <= len(history) + 1
    assert len(controller.memory.added) + len(controller.memory.removed) <= len(history)
