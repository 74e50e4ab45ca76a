"""Deadlines by name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activator.local.broker.timers import Timers


class Recorded:
    """Timers that note what ran when."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.ran: list[tuple[str, float]] = []

    def set(self, name: str, due_ms: float) -> None:
        """Set a deadline that is noted when it runs."""
        self.timers.set(name, due_ms, lambda now_ms: self.ran.append((name, now_ms)))


def test_actions_run_in_the_order_of_their_deadlines() -> None:
    """What is due runs, earliest first; the rest is what `next_ms` tells."""
    recorded = Recorded()
    for name, due_ms in (("c", 30), ("a", 10), ("b", 20)):
        recorded.set(name, due_ms)
    recorded.timers.run(25)
    assert recorded.ran == [("a", 25), ("b", 25)]
    assert recorded.timers.next_ms() == 30


def test_a_deadline_that_moves_runs_once_at_its_last_place() -> None:
    """Later and earlier again, as heartbeats and rebalances move them."""
    recorded = Recorded()
    for due_ms in (10, 50, 20):
        recorded.set("session", due_ms)
    recorded.timers.run(19)
    assert recorded.ran == []
    recorded.timers.run(60)
    assert recorded.ran == [("session", 60)]
    assert recorded.timers.next_ms() is None


def test_a_deadline_that_moves_on_does_not_grow_the_heap() -> None:
    """A member that sends heartbeats for days costs one entry."""
    recorded = Recorded()
    for now_ms in range(10_000):
        recorded.timers.run(now_ms)
        recorded.set("session", now_ms + 100)
        if now_ms % 3 == 0:
            recorded.timers.cancel("session")
    assert len(recorded.timers._heap) <= 2
    assert recorded.ran == []


def test_a_cancelled_deadline_does_not_run() -> None:
    """And it is no reason to wake up."""
    recorded = Recorded()
    recorded.set("a", 10)
    recorded.timers.cancel("a")
    recorded.timers.cancel("never set")
    assert recorded.timers.next_ms() is None
    recorded.timers.run(20)
    assert recorded.ran == []


def test_an_action_may_set_its_own_next_deadline() -> None:
    """As the look after retention does."""
    timers, ran = Timers(), []

    def again(now_ms: float) -> None:
        ran.append(now_ms)
        timers.set("retention", now_ms + 10, again)

    timers.set("retention", 10, again)
    for now_ms in (10, 15, 20, 30):
        timers.run(now_ms)
    assert ran == [10, 20, 30]


STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "cancel", "run"]), st.sampled_from("abc"), st.integers(0, 20)), max_size=60
)


@given(STEPS)
def test_timers_do_what_a_dictionary_and_a_scan_would(steps: list[tuple[str, str, int]]) -> None:
    """Against the obvious implementation: the same actions at the same steps, the same next deadline."""
    recorded, model, expected, now = Recorded(), {}, [], 0
    for action, name, value in steps:
        if action == "set":
            recorded.set(name, now + value)
            model[name] = now + value
        elif action == "cancel":
            recorded.timers.cancel(name)
            model.pop(name, None)
        else:
            now += value
            recorded.timers.run(now)
            due = sorted(due for due in model.values() if due <= now)
            expected += [(one, now) for one in sorted(model, key=lambda one: model[one]) if model[one] <= now]
            model = {one: due_ms for one, due_ms in model.items() if due_ms > now}
            assert len(due) <= len(expected)
        assert recorded.timers.next_ms() == min(model.values(), default=None)
    assert sorted(recorded.ran) == sorted(expected)
