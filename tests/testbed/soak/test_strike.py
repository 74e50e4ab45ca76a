"""One strike: what is told when all becomes normal, and what when it does not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from testbed.api import ApiClient
from testbed.kubeconfig import Credentials
from testbed.soak import effects
from testbed.soak import strike as striking
from testbed.soak.oracle import Sent
from testbed.soak.plan import Fault
from testbed.soak.strike import Strike
from testbed.soak.targets import Observer, Target

if TYPE_CHECKING:
    from testbed.soak.report import Outcome
    from testbed.soak.scene import Scene
    from testbed.stage import Wakegate

LIMIT_SECONDS = 0.2


@dataclass
class FakeScene:
    """One sleeper, one target with a standing lag, one replica; what does not work is said."""

    wakes: bool = True
    reads: bool = True
    sleepers: list[Target] = field(default_factory=lambda: [Target("orders", "orders", 1, None)])
    steady: Target = field(default_factory=lambda: Target("steady", "steady", 1, None))

    def __post_init__(self) -> None:
        """Everything has been asleep for long."""
        self.observer = Observer(ApiClient(Credentials("https://127.0.0.1:1", "", "")), "case")
        self.observer.replicas = {"orders": 0, "steady": 1}
        self.observer.since = {"orders": 0.0, "steady": 0.0}
        self.sender = self
        self.replicas = [SimpleNamespace(process=SimpleNamespace(name="wakegate-a"))]
        self.targets = [*self.sleepers, self.steady]

    def send(self, target: Target, count: int = 1) -> None:
        """Have records acknowledged at once, and the sleeper woken."""
        now = _now()
        target.sent += [Sent(0, len(target.sent) + number, now) for number in range(count)]
        if target.name == "orders" and self.wakes:
            self.observer.replicas = {**self.observer.replicas, "orders": 1}
            self.observer.woke_at["orders"] = now
        self.observer.seen_at = now + 3600.0

    def served(self, _: Wakegate) -> int:
        """The lag of the steady target, or one that was read before."""
        return len(self.steady.sent) if self.reads else 0


def _now() -> float:
    return time.time()  # noqa: TID251 - the strike reads the same clock


def strike(monkeypatch: pytest.MonkeyPatch, scene: FakeScene, kind: str = "kafka-cut") -> Outcome:
    """Strike with a fault that does nothing."""
    monkeypatch.setattr(effects, "strike", lambda *_: lambda: None)
    monkeypatch.setattr(striking, "NEVER_SECONDS", 1.0)
    monkeypatch.setattr(striking, "LOOK_SECONDS", 0.02)
    fault = Fault(1, kind, 1, 0.1, 0.0, 0.1, 1, record_meanwhile=True, choice=0.0)
    return Strike(cast("Scene", scene), fault, LIMIT_SECONDS).run()


def test_all_becomes_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sleeper was woken and the reading is fresh: no violation."""
    outcome = strike(monkeypatch, FakeScene())
    assert outcome.violations == ()
    assert outcome.normal_seconds is not None
    assert outcome.woken_seconds == 0.0, "it was awake before the fault ended"


def test_a_wake_that_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sleeper with an unread record after the limit."""
    outcome = strike(monkeypatch, FakeScene(wakes=False))
    assert [violation.what for violation in outcome.violations] == ["missed-wake"]
    assert outcome.normal_seconds is None
    assert outcome.woken_seconds is None


def test_a_reading_that_stays_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that serves what was read before the fault."""
    outcome = strike(monkeypatch, FakeScene(reads=False))
    assert [(violation.what, violation.target) for violation in outcome.violations] == [("late", "wakegate-a")]


def test_a_wake_that_waits_for_the_other_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """While only one of two replicas is struck, a wake may not wait for its return."""

    class Slow(FakeScene):
        def send(self, target: Target, count: int = 1) -> None:
            super().send(target, count)
            self.observer.woke_at["orders"] = _now() + 5.0

    assert [one.what for one in strike(monkeypatch, Slow(), "leader-stop").violations] == ["missed-wake"]
    assert strike(monkeypatch, Slow(), "kafka-cut").violations == ()


def test_what_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoing that fails is told, and the rest is looked at all the same."""

    def never(*_: object) -> None:
        raise AssertionError("wakegate-a is ready: not within 60 s")

    scene = FakeScene()
    monkeypatch.setattr(striking, "NEVER_SECONDS", 1.0)
    monkeypatch.setattr(effects, "strike", lambda *_: never)
    fault = Fault(1, "leader-kill", 1, 0.1, 0.0, 0.1, 1, record_meanwhile=False, choice=0.0)
    outcome = Strike(cast("Scene", scene), fault, 5.0).run()
    assert [violation.what for violation in outcome.violations] == ["not-restored"]
    assert outcome.normal_seconds is not None


def test_nobody_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sleeper there is nothing to prove: it is an error, not a fault that passed."""
    scene = FakeScene()
    scene.observer.replicas = {"orders": 1, "steady": 1}
    monkeypatch.setattr(striking, "SLEEPER_SECONDS", 0.1)
    with pytest.raises(AssertionError, match="a target sleeps before"):
        strike(monkeypatch, scene)


def test_an_observer_that_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake that nobody has seen is not taken for one: the last look must be younger than the record."""

    class Blind(FakeScene):
        def send(self, target: Target, count: int = 1) -> None:
            super().send(target, count)
            self.observer.seen_at = 0.0

    assert [(one.what, one.target) for one in strike(monkeypatch, Blind()).violations] == [("late", "observer")]
