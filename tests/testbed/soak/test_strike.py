"""One strike: what is told when all becomes normal, and what when it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from testbed.errors import TestbedError
from testbed.soak import effects
from testbed.soak import strike as striking
from testbed.soak.plan import Fault
from testbed.soak.strike import Strike
from tests.testbed.soak.fake_scene import FakeScene

if TYPE_CHECKING:
    from testbed.soak.report import Outcome
    from testbed.soak.scene import Scene
    from testbed.soak.targets import Target
    from tests.testbed.soak.fake_scene import Clock

LIMIT_SECONDS = 10.0
FAULT = Fault(1, "kafka-cut", 1, 3.0, 0.0, 0.1, 1, record_meanwhile=True, choice=0.0)


@pytest.fixture(autouse=True)
def _harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strike with faults that do nothing."""
    monkeypatch.setattr(effects, "strike", lambda *_: lambda: None)


def strike(scene: FakeScene, fault: Fault = FAULT, limit_seconds: float = LIMIT_SECONDS) -> Outcome:
    """Strike once."""
    return Strike(cast("Scene", scene), fault, limit_seconds).run()


def test_all_becomes_normal(clock: Clock) -> None:
    """The sleeper was woken and the reading is fresh: no violation."""
    outcome = strike(FakeScene(clock))
    assert outcome.violations == ()
    assert outcome.normal_seconds is not None
    assert outcome.woken_seconds == 0.0, "it was awake before the fault ended"


def test_a_wake_that_is_missed(clock: Clock) -> None:
    """A sleeper with an unread record after the limit."""
    outcome = strike(FakeScene(clock, wakes=False))
    assert [violation.what for violation in outcome.violations] == ["missed-wake"]
    assert outcome.normal_seconds is None
    assert outcome.woken_seconds is None


def test_a_reading_that_stays_old(clock: Clock) -> None:
    """A replica that serves what was read before the fault."""
    outcome = strike(FakeScene(clock, reads=False))
    assert [(violation.what, violation.target) for violation in outcome.violations] == [("late", "wakegate-a")]


def test_a_wake_that_waits_for_the_other_replica(clock: Clock) -> None:
    """While only one of two replicas is struck, a wake may not wait for its return."""

    class Slow(FakeScene):
        def send(self, target: Target, count: int = 1) -> None:
            super().send(target, count)
            self.observer.woke_at["orders"] = self.clock.now + LIMIT_SECONDS + 5.0

    assert [one.what for one in strike(Slow(clock), replace(FAULT, kind="leader-stop")).violations] == ["missed-wake"]
    assert strike(Slow(clock)).violations == ()


def test_what_does_not_come_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoing that fails is told, and the rest is looked at all the same."""

    def never(*_: object) -> None:
        raise AssertionError("wakegate-a is ready: not within 60 s")

    monkeypatch.setattr(effects, "strike", lambda *_: never)
    outcome = strike(FakeScene(clock), replace(FAULT, kind="leader-kill", record_meanwhile=False))
    assert [violation.what for violation in outcome.violations] == ["not-restored"]
    assert outcome.normal_seconds is not None


def test_nobody_sleeps(clock: Clock) -> None:
    """Without a sleeper there is nothing to prove: it is an error, not a fault that passed."""
    scene = FakeScene(clock)
    scene.observer.replicas = {"orders": 1, "steady": 1}
    with pytest.raises(AssertionError, match="a target sleeps before"):
        strike(scene)


def test_an_observer_that_hears_nothing(clock: Clock) -> None:
    """A wake that nobody has seen is not taken for one: the last look must be younger than the record."""

    class Blind(FakeScene):
        def send(self, target: Target, count: int = 1) -> None:
            super().send(target, count)
            self.observer.seen_at = 0.0

    assert [(one.what, one.target) for one in strike(Blind(clock)).violations] == [("late", "observer")]


def test_what_is_never_normal_within_a_limit_that_is_longer_than_the_wait(clock: Clock) -> None:
    """Nothing was late, and nothing was well either: that is told, too."""
    outcome = strike(FakeScene(clock, wakes=False), limit_seconds=striking.NEVER_SECONDS + 30)
    assert outcome.normal_seconds is None
    assert [(one.what, one.target) for one in outcome.violations] == [("never-normal", "orders")]


def test_a_kafka_that_takes_no_record(clock: Clock) -> None:
    """Nothing is known of ours while no record gets there: the run ends, and says which part is broken."""
    with pytest.raises(TestbedError, match="Kafka takes no record"):
        strike(FakeScene(clock, takes=False))


def test_a_record_that_is_taken_late(clock: Clock) -> None:
    """The limit counts from its acknowledgement, and however late that was, what is not normal after it is told."""

    class Late(FakeScene):
        def send(self, target: Target, count: int = 1) -> None:
            target.under_way += count

        def arrive(self) -> None:
            for target in (self.steady, *self.sleepers):
                target.under_way = 0
                super().send(target)

    scene = Late(clock, wakes=False)
    clock.at(clock.now + striking.NEVER_SECONDS, scene.arrive)
    outcome = strike(scene)
    assert [(one.what, one.target) for one in outcome.violations] == [("missed-wake", "orders")]
    assert outcome.normal_seconds is None


@pytest.mark.parametrize("refuses", ["orders", "steady"])
def test_a_record_that_is_refused(clock: Clock, refuses: str) -> None:
    """Nobody had to be woken by it, or to read it: what came of the fault was not seen."""
    with pytest.raises(striking.VoidError, match=f"Kafka refused a record for {refuses}"):
        strike(FakeScene(clock, refuses=refuses))
