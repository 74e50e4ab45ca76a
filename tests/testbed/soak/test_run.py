"""A run: one fault after the other, and what is asked at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.soak import effects, run
from testbed.soak.run import Bounds, soak
from testbed.soak.scene import FORGOTTEN_SECONDS
from testbed.soak.targets import Ledger, Target
from tests.testbed.soak.fake_scene import NOWHERE, FakeScene

if TYPE_CHECKING:
    from testbed.soak.report import Report
    from tests.testbed.soak.fake_scene import Clock


@pytest.fixture(autouse=True)
def _harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strike with faults that do nothing."""
    monkeypatch.setattr(effects, "strike", lambda *_: lambda: None)


def run_on(scene: FakeScene, monkeypatch: pytest.MonkeyPatch, faults: int = 3, kinds: str = "etcd-") -> Report:
    """Strike so many times."""
    monkeypatch.setattr(run, "Scene", lambda _: scene)
    return soak(Bounds(seed=1, faults=faults, minutes=10, kinds=kinds))


def test_all_is_well(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault strikes, and nothing is found."""
    report = run_on(FakeScene(clock), monkeypatch)
    assert [outcome.fault.number for outcome in report.outcomes] == [1, 2, 3]
    assert report.passed
    assert report.facts["sleeps"] == 4, "also after the last fault"


def test_one_of_several_that_never_sleeps_again(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others can be chosen it is not missed: it is named at the end."""
    awake = Target("awake", "awake", 1, Ledger(NOWHERE))
    scene = FakeScene(clock)
    scene.sleepers.append(awake)
    scene.see("awake", 0)
    clock.at(clock.now + 1.0, lambda: scene.see("awake", 1))
    report = run_on(scene, monkeypatch)
    assert len(report.outcomes) == 3
    assert [(one.what, one.target) for one in report.violations] == [("stuck-awake", "awake")]


def test_nobody_is_stuck_who_falls_asleep_late(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last fault some time is given."""
    scene = FakeScene(clock, sleeps=False)
    clock.at(clock.now + run.LAST_SLEEP_SECONDS - 10.0, lambda: scene.see("orders", 0))
    assert run_on(scene, monkeypatch, faults=1).violations == []


def test_nobody_says_whether_they_sleep(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen before the last record does not count."""

    class Blind(FakeScene):
        def end_flow(self) -> None:
            self.observer.seen_at = 0.0

    [violation] = run_on(Blind(clock), monkeypatch).violations
    assert (violation.what, violation.target) == ("stuck-awake", "orders")


def test_who_was_never_put_to_sleep_is_named(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was at zero from the beginning, by whatever hand: of ours nothing was seen."""
    scene = FakeScene(clock, wakes=False)
    scene.audited.clear()
    assert run_on(scene, monkeypatch).unproven == ["orders was never put to sleep"]


def test_offsets_that_were_forgotten_are_counted_by_what_was_told(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long sleep is counted as one: what Kafka has forgotten in it is another fact."""
    scene = FakeScene(clock)
    scene.tells["OffsetsRestored"] = 2
    clock.sleep(FORGOTTEN_SECONDS + 1.0)
    facts = run_on(scene, monkeypatch).facts
    assert facts["wakes after a sleep longer than the retention"] == 1
    assert (facts["OffsetsRestored told"], facts["OffsetsPinned told"]) == (2, 0)


def test_a_strike_that_shows_nothing_is_skipped(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as one that struck nothing, with its reason; what it broke all the same is kept."""

    def never() -> None:
        raise AssertionError("a part is ready: not within 60 s")

    monkeypatch.setattr(effects, "strike", lambda *_: never)
    report = run_on(FakeScene(clock, refuses="orders"), monkeypatch)
    assert report.outcomes == []
    assert {skip.reason for skip in report.skipped} == {"Kafka refused a record for orders"}
    assert {violation.what for violation in report.violations} == {"not-restored"}
    assert report.unproven == ["no fault struck", "etcd-stop never struck", "etcd-kill never struck"]


def test_a_kafka_that_takes_nothing_ends_the_run(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no violation of ours, also not that nobody sleeps by then, and no run that passed."""
    scene = FakeScene(clock, takes=False)
    clock.at(clock.now + 5.0, lambda: scene.see("orders", 1))
    report = run_on(scene, monkeypatch)
    assert report.ended_early.startswith("Kafka takes no record")
    assert (report.outcomes, report.violations) == ([], [])
    assert not report.passed
